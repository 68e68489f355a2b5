"""Pairs of a camera image and a satellite patch around a wrong prior, each a function of its number."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.disturbances import draw_patch, draw_view
from geoflow_ros.world.disturbed import disturbed_patch, margin_px, rendered_view
from geoflow_ros.world.optics import CameraPose
from geoflow_ros.world.orthophoto_windows import Orthophotos
from geoflow_ros.world.photometric import CAMERA, MAP, changed
from geoflow_ros.world.places import Poses, Window, city_window, town_window
from geoflow_ros.world.priors import HeadingError as HeadingError
from geoflow_ros.world.priors import HeadingErrors, patches_around, sample_offsets
from geoflow_ros.world.render import patch_heights, render_patches, render_views
from geoflow_ros.world.scenes import Scene
from geoflow_ros.world.splits import Split
from geoflow_ros.world.virtual_camera import as_it_stands, virtual_camera
from geoflow_ros.world.windows import Windows

_MAX_PATCH_M = 101.0  # side of a patch that fits the windows
PAIRS_PER_WINDOW = 32
"""Pairs of one baked window: they have its streets, light and map in common."""
_KEPT_WINDOWS = 2


class Area(Enum):
    """The two protocols of the papers."""

    SAME = "same"  # the fixed town: other drives, other light, an older map than in training
    CROSS = "cross"  # cities that training never saw


@dataclass(frozen=True)
class Pair:
    """One camera image and the satellite patch around a wrong prior.

    Attributes:
        satellite: (P, P, 3) uint8 RGB.
        ground: (H, W, 3) uint8 RGB.
        offset_m: (2,) the camera's true (forward, right) from the patch's centre in the patch's frame.
        heading_error_rad: the patch's yaw less the camera's.
        yaw_rad: the patch's yaw, counter-clockwise from east.
        camera: as it stands above the ground ahead; a localizer knows only how it is mounted.
        centre_m: (2,) east and north of the patch's centre in the map of its world.
        scenes: what it is of.
    """

    satellite: UInt8Array
    ground: UInt8Array
    offset_m: Float64Array
    heading_error_rad: float
    yaw_rad: float
    camera: VirtualCamera
    centre_m: Float64Array
    scenes: frozenset[Scene] = frozenset()


@dataclass(frozen=True)
class PairPictures:
    """What a pair shows.

    Attributes:
        ground: (H, W, 3) uint8 RGB, the camera's image.
        satellite: (P, P, 3) uint8 RGB, the patch.
        stands: how the camera stands.
        is_night: whether the image was taken by night.
    """

    ground: UInt8Array
    satellite: UInt8Array
    stands: CameraPose = CameraPose()
    is_night: bool = False


class PairSampler:
    """Pairs of one protocol and split: pair `i` is a function of the arguments and `i` alone.

    Args:
        area: the fixed town or cities of their own.
        seed: another seed gives other worlds of the same split.
        satellite_size: side of the patch in pixels.
        ground_size: (height, width) of the camera image.
        ground_resolution_m: metres per patch pixel.
        search_radius_m: the prior's error is uniform within this on both sides of both axes.
        heading_error: of the patch's alignment.
        split: whose worlds; training never draws from any other than TRAINING.
        conditions: how hard. Places, offsets and headings are the same under all of them.
        photometric_share: part of the camera images, and of the patches, that are changed as by another camera.
        orthophotos: what the worlds are made of, with maps of another year where there are such; None: procedural
            cities, or the town.
        horizontal_fov_deg: of the camera's lens.

    Raises:
        InputError: patches that do not fit the windows, or no such lens.
    """

    def __init__(
        self,
        area: Area,
        seed: int,
        satellite_size: int,
        ground_size: tuple[int, int],
        ground_resolution_m: float,
        search_radius_m: float,
        heading_error: HeadingErrors,
        split: Split = Split.TEST,
        conditions: Conditions = EASY,
        photometric_share: float = 0.0,
        orthophotos: Orthophotos | None = None,
        horizontal_fov_deg: float = 90.0,
    ) -> None:
        if satellite_size * ground_resolution_m > _MAX_PATCH_M:
            raise InputError(
                f"patches of more than {_MAX_PATCH_M:.0f} m do not fit the windows, got {satellite_size} px of "
                f"{ground_resolution_m} m"
            )
        self.area, self.seed, self.split, self.conditions = area, seed, split, conditions
        self.satellite_size, self.ground_resolution_m = satellite_size, ground_resolution_m
        self.search_radius_m, self.heading_error = search_radius_m, heading_error
        self.camera = Camera.perspective(ground_size[1], ground_size[0], horizontal_fov_deg)
        self.photometric_share, self.orthophotos = photometric_share, orthophotos
        self._mounted = virtual_camera(self.camera)
        self._windows: OrderedDict[int, Window] = OrderedDict()

    def window(self, k: int) -> Window:
        """Returns the `k`-th window of this sampler; the last two are kept."""
        if k not in self._windows:
            seed = self.split.seed(self.seed, k)
            if self.orthophotos is not None:
                self._windows[k] = self.orthophotos.window(self.split, seed, self.conditions, other_year_share=1.0)
            elif self.area is Area.SAME:
                self._windows[k] = town_window(np.random.default_rng([seed, 51]), seed, conditions=self.conditions)
            else:
                self._windows[k] = city_window(seed, seed, conditions=self.conditions)
            if len(self._windows) > _KEPT_WINDOWS:
                self._windows.popitem(last=False)
        return self._windows[k]

    def pair(self, i: int) -> Pair:
        """Renders the `i`-th pair."""
        k, number = divmod(i, PAIRS_PER_WINDOW)
        window = self.window(k)
        rng = np.random.default_rng([self.split.seed(self.seed, k), 52, number])
        camera_pose = window.places(rng, 1)
        offset = sample_offsets(rng, self.search_radius_m, 1)
        error = self.heading_error.sample(rng, 1)
        patch_pose = patches_around(camera_pose, offset, error)
        drawn = np.random.default_rng([self.split.seed(self.seed, k), 53, number])
        shown = self.pictures(window, camera_pose, patch_pose, offset, drawn)
        ground, satellite = shown.ground, shown.satellite
        if self.photometric_share > 0:
            changes = np.random.default_rng([self.split.seed(self.seed, k), 54, number])
            ground = changed(ground, CAMERA, changes, self.photometric_share)
            satellite = changed(satellite, MAP, changes, self.photometric_share)
        camera = as_it_stands(self._mounted, shown.stands)
        centre_m = np.array([patch_pose.east_m[0], patch_pose.north_m[0]])
        scenes = window.scenes(float(camera_pose.east_m[0]), float(camera_pose.north_m[0]))
        return Pair(
            satellite,
            ground,
            offset[0],
            float(error[0]),
            float(patch_pose.yaw_rad[0]),
            camera,
            centre_m,
            scenes | {Scene.NIGHT} if shown.is_night else scenes,
        )

    def pictures(
        self, window: Window, camera: Poses, patch: Poses, offset_m: Float64Array, rng: np.random.Generator
    ) -> PairPictures:
        """Renders the camera's image and the patch of a pair.

        Args:
            window: where both are.
            camera: one pose.
            patch: one pose.
            offset_m: (1, 2) of the camera in the patch.
            rng: of the disturbances.
        """
        if self.conditions.disturb:
            disturbance = draw_view(self.conditions, rng)
            place = float(camera.east_m[0]), float(camera.north_m[0]), float(camera.yaw_rad[0])
            ground = rendered_view(window.raster, self.camera, place, disturbance)
            satellite = self._disturbed_patch(window, patch, offset_m, rng)
            return PairPictures(ground, satellite, disturbance.camera, disturbance.is_night)
        windows, only = Windows.stack([window.raster]), np.zeros(1, np.int64)
        ground = render_views(windows, self.camera, only, *camera.float32()).rgb[0]
        size, resolution = self.satellite_size, self.ground_resolution_m
        satellite = render_patches(windows, size, resolution, only, *patch.float32())[0][0]
        return PairPictures(ground, satellite)

    def _disturbed_patch(
        self, window: Window, pose: Poses, offset_m: Float64Array, rng: np.random.Generator
    ) -> UInt8Array:
        resolution, margin = self.ground_resolution_m, margin_px(self.conditions.map, self.ground_resolution_m)
        size = self.satellite_size + 2 * margin
        windows, only = Windows.stack([window.raster]), np.zeros(1, np.int64)
        rgb, label = render_patches(windows, size, resolution, only, *pose.float32())
        height = patch_heights(windows, size, resolution, only, *pose.float32())
        disturbance = draw_patch(self.conditions.map, rng, offset_m)
        return disturbed_patch(rgb[0], label[0], height[0], disturbance, resolution, margin)[0]
