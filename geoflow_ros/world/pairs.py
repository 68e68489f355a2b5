"""Pairs of a camera image and a satellite patch around a wrong prior, each a function of its number."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import InputError
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.places import CityWindow, city_window, sample_places, town_window
from geoflow_ros.world.priors import HeadingError as HeadingError
from geoflow_ros.world.priors import patches_around, sample_offsets
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.splits import Split
from geoflow_ros.world.windows import Windows

_MAX_PATCH_M = 101.0  # side of a patch that fits the windows
_PAIRS_PER_WINDOW = 32
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
    """

    satellite: UInt8Array
    ground: UInt8Array
    offset_m: Float64Array
    heading_error_rad: float
    yaw_rad: float


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

    Raises:
        InputError: patches that do not fit the windows.
    """

    def __init__(
        self,
        area: Area,
        seed: int,
        satellite_size: int,
        ground_size: tuple[int, int],
        ground_resolution_m: float,
        search_radius_m: float,
        heading_error: HeadingError,
        split: Split = Split.TEST,
    ) -> None:
        if satellite_size * ground_resolution_m > _MAX_PATCH_M:
            raise InputError(
                f"patches of more than {_MAX_PATCH_M:.0f} m do not fit the windows, got {satellite_size} px of "
                f"{ground_resolution_m} m"
            )
        self.area, self.seed, self.split = area, seed, split
        self.satellite_size, self.ground_resolution_m = satellite_size, ground_resolution_m
        self.search_radius_m, self.heading_error = search_radius_m, heading_error
        self.camera = Camera.perspective(ground_size[1], ground_size[0])
        self._windows: OrderedDict[int, CityWindow] = OrderedDict()

    def window(self, k: int) -> CityWindow:
        """Returns the `k`-th window of this sampler; the last two are kept."""
        if k not in self._windows:
            seed = self.split.seed(self.seed, k)
            if self.area is Area.SAME:
                self._windows[k] = town_window(np.random.default_rng([seed, 51]), seed)
            else:
                self._windows[k] = city_window(seed, seed)
            if len(self._windows) > _KEPT_WINDOWS:
                self._windows.popitem(last=False)
        return self._windows[k]

    def pair(self, i: int) -> Pair:
        """Renders the `i`-th pair."""
        k, number = divmod(i, _PAIRS_PER_WINDOW)
        window = self.window(k)
        rng = np.random.default_rng([self.split.seed(self.seed, k), 52, number])
        camera_pose = sample_places(window, rng, 1)
        offset = sample_offsets(rng, self.search_radius_m, 1)
        error = self.heading_error.sample(rng, 1)
        patch_pose = patches_around(camera_pose, offset, error)
        windows, only = Windows.stack([window.raster]), np.zeros(1, np.int64)
        view = render_views(windows, self.camera, only, *camera_pose.float32())
        patch, _ = render_patches(windows, self.satellite_size, self.ground_resolution_m, only, *patch_pose.float32())
        return Pair(patch[0], view.rgb[0], offset[0], float(error[0]), float(patch_pose.yaw_rad[0]))
