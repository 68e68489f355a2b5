"""Training pictures under conditions: rendered where the pool lies, disturbed one by one on the CPU."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from geoflow_ros.training.pool import SlotPoses, WindowPool
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.conditions import Conditions
from geoflow_ros.world.disturbances import draw_height_scale, draw_patch, draw_view
from geoflow_ros.world.disturbed import disturbed_patch, disturbed_view, margin_px
from geoflow_ros.world.optics import CameraPose, rays_of, upright_camera
from geoflow_ros.world.places import Poses
from geoflow_ros.world.priors import offsets_in
from geoflow_ros.world.weather import UprightPicture


class PatchSettings(Protocol):
    """What patches are cut with (`SyntheticConfig` is one)."""

    @property
    def satellite_size(self) -> int:
        """Side of a patch in pixels."""
        ...

    @property
    def ground_resolution_m(self) -> float:
        """Metres per pixel."""
        ...

    @property
    def conditions(self) -> Conditions:
        """How hard."""
        ...


def disturbed_views(
    pool: WindowPool, camera: Camera, at: SlotPoses, conditions: Conditions, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, list[CameraPose]]:
    """Renders the camera images of a batch, each disturbed in its own way; the camera's height is one for the batch.

    Args:
        pool: of windows.
        camera: as it is assumed.
        at: where the frames are taken.
        conditions: how hard.
        rng: draws the disturbances.

    Returns:
        rgb (G, H, W, 3) uint8, depth (G, H, W) float32, label (G, H, W) uint8, (G, H, W) float32 azimuths: where the
        pixels look; and the G poses of the cameras.
    """
    height_scale = draw_height_scale(conditions.camera, rng)
    drawn = [draw_view(conditions, rng, height_scale) for _ in at.slot]
    rays = [rays_of(camera, d.camera) for d in drawn]
    upright = upright_camera(camera, rays, height_scale)
    rgb, depth, label = (t.cpu().numpy() for t in pool.views(upright, at))
    images = []
    for i, slot in enumerate(at.slot):
        place = (float(v[i]) for v in (at.poses.east_m, at.poses.north_m, at.poses.yaw_rad))
        picture = UprightPicture(upright, rgb[i], depth[i], label[i], *place)
        images.append(disturbed_view(picture, rays[i], drawn[i], pool.lamps(int(slot))))
    stacks = (np.stack([getattr(i, name) for i in images]) for name in ("rgb", "depth_m", "label", "azimuth_rad"))
    first, second, third, fourth = (torch.from_numpy(stack).to(pool.device) for stack in stacks)
    return first, second, third, fourth, [d.camera for d in drawn]


def disturbed_patches(
    pool: WindowPool, settings: PatchSettings, at: SlotPoses, frames: Poses, groups: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Renders the satellite patches of a batch, each disturbed in its own way.

    Args:
        pool: of windows.
        settings: sizes and conditions.
        at: the patches' poses, group by group.
        frames: the camera poses, group by group too: a seam lies beyond all cameras of its patch's group.
        groups: how many there are, each with the same number of patches and of frames.
        rng: draws the disturbances.

    Returns:
        rgb (S, P, P, 3) uint8 and label (S, P, P) uint8.
    """
    resolution, conditions = settings.ground_resolution_m, settings.conditions.map
    margin = margin_px(conditions, resolution)
    size = settings.satellite_size + 2 * margin
    rgb, label = (t.cpu().numpy() for t in pool.patches(size, resolution, at))
    height = pool.heights(size, resolution, at).cpu().numpy()
    group_of = np.repeat(np.arange(groups), len(frames) // groups)  # of each frame
    patches = []
    for i in range(len(at.slot)):
        cameras = np.flatnonzero(group_of == i * groups // len(at.slot))
        around = at.poses.take(np.full(len(cameras), i))
        disturbance = draw_patch(conditions, rng, offsets_in(around, frames.take(cameras)))
        patches.append(disturbed_patch(rgb[i], label[i], height[i], disturbance, resolution, margin))
    first, second = (torch.from_numpy(np.stack(part)).to(pool.device) for part in zip(*patches, strict=True))
    return first, second
