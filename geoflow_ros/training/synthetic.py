"""Training pairs from ever new synthetic cities, and from the fixed town under ever new appearances.

Each batch draws its places from the windows that are in the pool at that step. Which windows those are, and which
places, follows from the seed and the batch's number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.geo.birds_eye import CAMERA_HEIGHT_M, HORIZON
from geoflow_ros.training.disturbed import disturbed_patches, disturbed_views
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.photometric import changed_pictures
from geoflow_ros.training.pool import PLACES_PER_WINDOW, PoolConfig, SlotPoses, WindowPool
from geoflow_ros.training.targets import attention_target
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.optics import CameraPose
from geoflow_ros.world.orthophoto_windows import Orthophotos
from geoflow_ros.world.photometric import CAMERA, MAP
from geoflow_ros.world.places import Poses
from geoflow_ros.world.priors import HeadingError, MixedHeadingError, offsets_in, patches_around, sample_offsets
from geoflow_ros.world.splits import Split
from geoflow_ros.world.virtual_camera import as_it_stands, virtual_camera

# The camera is mounted and aligned a little differently in every batch.
_CAMERA_HEIGHT_SIGMA_M = 0.03
_HORIZON_SIGMA = 0.006  # row of the horizon, as a share of the image's height

# Frames of one group, from the first.
_FRAME_SPACING_M = 9.0  # the others lie within this distance along the lane
_FRAME_LATERAL_SIGMA_M, _FRAME_TURN_SIGMA_DEG = 0.3, 1.0

_USUAL_HEADING_ERROR = HeadingError(sigma_deg=2.0)
_WIDE_HEADING_ERROR = HeadingError(uniform_deg=10.0)  # as in the data of the release
_MAX_HEADING_ERROR_DEG = 12.0  # of a pair
_LABEL_STRIDE = 8  # pixels of an image per auxiliary label

# The sensors: standard deviations of an image's log gain, of each channel's, and of its shift in grey levels.
_GAIN_SIGMA, _CHANNEL_SIGMA, _SHIFT_SIGMA = 0.15, 0.04, 8.0
_MAX_GRAIN = 6.0  # largest standard deviation of the pixels' noise, grey levels; small ones are the most frequent


@dataclass(frozen=True)
class SyntheticConfig:
    """What synthetic batches look like.

    Attributes:
        seed: of the data; another seed sees other worlds.
        satellite_size: side of the satellite patch in pixels.
        ground_size: (height, width) of the camera image.
        ground_resolution_m: metres per patch pixel.
        search_radius_m: a patch's prior is wrong by up to this on both axes.
        groups: places per batch; each gives `frames` camera images and `patches` satellite patches, all combined.
        frames: camera images of a place.
        patches: satellite patches of a place.
        town_share: part of the windows that are of the fixed town.
        pool: windows alive at a time.
        windows_per_batch: how fast windows are replaced.
        workers: processes that bake windows ahead; 0 bakes in the caller.
        wide_heading_share: part of the patches with a heading error uniform in 10 degrees to both sides (as in the
            release's data); the others have a normal one of 2 degrees.
        conditions: how hard. Places, offsets and headings are the same under all of them.
        photometric_share: part of the camera images, and of the patches, that are changed as by another camera.
        orthophotos: what a share of the windows is made of; None: all are of procedural cities.
        undisturbed_share: part of the batches whose cameras and photos are exact all the same.
    """

    seed: int = 0
    satellite_size: int = 256
    ground_size: tuple[int, int] = (128, 512)
    ground_resolution_m: float = 0.3916
    search_radius_m: float = 20.0
    groups: int = 8
    frames: int = 2
    patches: int = 2
    town_share: float = 0.5
    pool: int = 4
    windows_per_batch: float = 0.1
    workers: int = 1
    wide_heading_share: float = 0.25
    conditions: Conditions = EASY
    photometric_share: float = 0.0
    orthophotos: Orthophotos | None = None
    undisturbed_share: float = 0.0

    @property
    def heading_error(self) -> MixedHeadingError:
        """What draws the errors of the patches' headings."""
        return MixedHeadingError(_USUAL_HEADING_ERROR, _WIDE_HEADING_ERROR, self.wide_heading_share)


@dataclass(frozen=True)
class _Combined:
    """The pairs of a batch.

    Attributes:
        ground_index: (B,) the pair's frame.
        satellite_index: (B,) its patch.
        offset: (B, 2) of the camera in the patch, in search radii.
        heading_error_rad: (B,) the patch's yaw less the camera's.
    """

    ground_index: Int64Array
    satellite_index: Int64Array
    offset: Float64Array
    heading_error_rad: Float64Array


class SyntheticPairs:
    """A `PairSource` that renders its pairs.

    Args:
        config: sizes and mixture.
        device: where batches are wanted; on "cuda" the windows lie there and rendering runs there.
        in_one: whether all windows lie in one set of tensors, so that one call renders a batch; None: on "cuda".
    """

    def __init__(self, config: SyntheticConfig, device: str = "cpu", in_one: bool | None = None) -> None:
        self.config, self.device = config, torch.device(device)
        self._in_one = self.device.type == "cuda" if in_one is None else in_one
        pool = PoolConfig(
            config.seed, config.town_share, config.pool, config.workers, self._in_one, config.conditions,
            config.orthophotos,
        )  # fmt: skip
        self._pool = WindowPool(pool, self.device)

    def close(self) -> None:
        """Stops the workers."""
        self._pool.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process starts with an empty pool: what it gives is the same."""
        return {"config": self.config, "device": str(self.device), "in_one": self._in_one}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def batch(self, index: int) -> PairBatch:
        """Renders the `index`-th batch."""
        c = self.config
        rng = np.random.default_rng([Split.TRAINING.seed(c.seed, 0), 62, index])
        self._pool.hold(int(index * c.windows_per_batch))
        camera = _camera(rng, c)
        slot = np.sort(rng.integers(0, c.pool, c.groups))
        pick = rng.integers(0, PLACES_PER_WINDOW, c.groups)
        first = np.array([self._pool.place(s, i) for s, i in zip(slot, pick, strict=True)])
        frames = _sample_frames(rng, c, first)
        patches = _sample_patches(rng, c, frames)
        of_frames, of_patches = (
            SlotPoses(np.repeat(slot, count), poses) for count, poses in ((c.frames, frames), (c.patches, patches))
        )
        azimuth = None
        stands = [CameraPose()] * len(frames)
        drawn = np.random.default_rng([Split.TRAINING.seed(c.seed, 0), 63, index])
        if c.conditions.disturb and not drawn.random() < c.undisturbed_share:
            ground, depth, ground_label, azimuth, stands = disturbed_views(
                self._pool, camera, of_frames, c.conditions, drawn
            )
            satellite, satellite_label = disturbed_patches(self._pool, c, of_patches, frames, c.groups, drawn)
        else:
            ground, depth, ground_label = self._pool.views(camera, of_frames)
            satellite, satellite_label = self._pool.patches(c.satellite_size, c.ground_resolution_m, of_patches)
        if c.photometric_share > 0:
            changes = np.random.default_rng([Split.TRAINING.seed(c.seed, 0), 64, index])
            ground = changed_pictures(ground, CAMERA, c.photometric_share, changes)
            satellite = changed_pictures(satellite, MAP, c.photometric_share, changes)
        pairs = _combine(c, frames, patches)
        to = self.device
        offset = torch.from_numpy(pairs.offset.astype(np.float32)).to(to)
        heading_error = torch.from_numpy(pairs.heading_error_rad.astype(np.float32)).to(to)
        ground_index = torch.from_numpy(pairs.ground_index).to(to)
        target = attention_target(
            camera, depth, ground_index, offset * c.search_radius_m, heading_error,
            c.satellite_size, c.ground_resolution_m, azimuth,
        )  # fmt: skip
        generator = torch.Generator(device=to).manual_seed(int(rng.integers(2**62)))
        return PairBatch(
            satellite=_sensor(satellite, generator),
            ground=_sensor(ground, generator),
            satellite_index=torch.from_numpy(pairs.satellite_index).to(to),
            ground_index=ground_index,
            offset=offset,
            heading_error_rad=heading_error,
            attention=target,
            satellite_labels=_coarse(satellite_label),
            ground_labels=_coarse(ground_label),
            camera=_truth_of(camera, stands).to(to),
        )


def _camera(rng: np.random.Generator, c: SyntheticConfig) -> Camera:
    """Mounts the batch's camera."""
    height = CAMERA_HEIGHT_M + rng.normal(0, _CAMERA_HEIGHT_SIGMA_M)
    horizon = HORIZON + rng.normal(0, _HORIZON_SIGMA)
    return Camera.perspective(c.ground_size[1], c.ground_size[0], height_m=height, horizon=horizon)


def _truth_of(camera: Camera, stands: Sequence[CameraPose]) -> torch.Tensor:
    """Returns `PairBatch.camera` of cameras that are mounted as `camera` and stand as they stand."""
    mounted = virtual_camera(camera)
    cameras = [as_it_stands(mounted, pose) for pose in stands]
    stood = [(stood.horizon_row_px, stood.height_m, stood.roll_rad) for stood in cameras]
    return torch.tensor(stood, dtype=torch.float32)


def _sample_frames(rng: np.random.Generator, c: SyntheticConfig, first: Float64Array) -> Poses:
    """Draws each group's camera poses, one after another: its place (groups, 3), and others along the lane from it."""
    shape, is_other = (c.groups, c.frames), np.arange(c.frames) > 0
    along = rng.uniform(-_FRAME_SPACING_M, _FRAME_SPACING_M, shape) * is_other
    across = rng.normal(0, _FRAME_LATERAL_SIGMA_M, shape) * is_other
    turn = np.radians(rng.normal(0, _FRAME_TURN_SIGMA_DEG, shape)) * is_other
    cos, sin = np.cos(first[:, None, 2]), np.sin(first[:, None, 2])
    east = first[:, None, 0] + along * cos + across * sin
    north = first[:, None, 1] + along * sin - across * cos
    return Poses(east.ravel(), north.ravel(), (first[:, None, 2] + turn).ravel())


def _sample_patches(rng: np.random.Generator, c: SyntheticConfig, frames: Poses) -> Poses:
    """Draws each group's patches, one after another: each around a wrong prior of one of the group's frames."""
    count = c.groups * c.patches
    of = np.repeat(np.arange(c.groups), c.patches) * c.frames + rng.integers(0, c.frames, count)
    error = c.heading_error.sample(rng, count)
    return patches_around(frames.take(of), sample_offsets(rng, c.search_radius_m, count), error)


def _combine(c: SyntheticConfig, frames: Poses, patches: Poses) -> _Combined:
    """Pairs every frame of a group with every patch of it that holds it."""
    g, f, p = np.meshgrid(np.arange(c.groups), np.arange(c.frames), np.arange(c.patches), indexing="ij")
    ground_index, satellite_index = (g * c.frames + f).ravel(), (g * c.patches + p).ravel()
    cameras, around = frames.take(ground_index), patches.take(satellite_index)
    offset = offsets_in(around, cameras) / c.search_radius_m
    error = np.angle(np.exp(1j * (around.yaw_rad - cameras.yaw_rad)))
    good = np.flatnonzero((np.abs(offset) <= 1).all(axis=1) & (np.abs(error) < np.radians(_MAX_HEADING_ERROR_DEG)))
    if len(good) == 0:  # a patch always holds the frame it was made for, but for rounding
        good = np.arange(len(offset))
    return _Combined(ground_index[good], satellite_index[good], offset[good], error[good])


def _coarse(label: torch.Tensor) -> torch.Tensor:
    """Takes the label in the middle of every square of `_LABEL_STRIDE` pixels."""
    return label[:, _LABEL_STRIDE // 2 :: _LABEL_STRIDE, _LABEL_STRIDE // 2 :: _LABEL_STRIDE].contiguous()


def _sensor(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Applies exposure, colour cast and noise of each image's sensor, (n, h, w, 3) uint8 in and out."""
    n, device = len(images), images.device

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device)

    gain = torch.exp(_GAIN_SIGMA * normal(n, 1, 1, 1) + _CHANNEL_SIGMA * normal(n, 1, 1, 3))
    shift = _SHIFT_SIGMA * normal(n, 1, 1, 1)
    grain = _MAX_GRAIN * torch.rand((n, 1, 1, 1), generator=generator, device=device) ** 2
    noise = normal(n, *images.shape[1:3], 1)
    return (images.float() * gain + shift + grain * noise).clamp(0, 255).to(torch.uint8)
