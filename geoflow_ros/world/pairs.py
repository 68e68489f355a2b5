"""Places to stand in a city, and the pairs of camera image and satellite patch that they give."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import InputError
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.raster import CELL_M, CityRaster, bake
from geoflow_ros.world.render import Windows, render_patches, render_views
from geoflow_ros.world.splits import TOWN_SEED, TOWN_SIDE_M, Split

WINDOW_M = 384.0
# A camera stays this far from its window's edge: half the diagonal of a 100.3 m patch and 28.3 m of prior error.
_EDGE_M = 101.0
_PAIRS_PER_WINDOW = 32


class Area(Enum):
    """The two protocols of the papers."""

    SAME = "same"  # the fixed town: other drives, other light, an older map than in training
    CROSS = "cross"  # cities that training never saw


@dataclass(frozen=True)
class HeadingError:
    """Error of a patch's heading: normal with ``sigma_deg``, or uniform in ±``uniform_deg`` if that is set."""

    sigma_deg: float = 2.0
    uniform_deg: float | None = None

    def sample(self, rng: np.random.Generator, n: int) -> Float64Array:
        """(n,) radians."""
        if self.uniform_deg is not None:
            return np.radians(rng.uniform(-self.uniform_deg, self.uniform_deg, n))
        return np.radians(rng.normal(0, self.sigma_deg, n))


@dataclass(frozen=True)
class Places:
    """Camera poses on the lanes of a window, ENU metres and radians."""

    east_m: Float64Array
    north_m: Float64Array
    yaw_rad: Float64Array


@dataclass(frozen=True)
class CityWindow:
    """A baked window and the plan it was baked from."""

    layout: CityLayout
    raster: CityRaster

    @property
    def centre(self) -> Float64Array:
        half = self.raster.side_m / 2
        return np.array([self.raster.west_m + half, self.raster.north_m - half])


def city_window(layout_seed: int, appearance_seed: int, side_m: float = WINDOW_M) -> CityWindow:
    """The middle of a city of its own."""
    layout = CityLayout.generate(layout_seed, 200.0)
    return CityWindow(layout, bake(layout, Appearance.sample(appearance_seed), -side_m / 2, side_m / 2, side_m))


_TOWN: list[CityLayout] = []


def town_layout() -> CityLayout:
    """The plan of the fixed town (1.05 km²), laid out once a process."""
    if not _TOWN:
        _TOWN.append(CityLayout.generate(TOWN_SEED, TOWN_SIDE_M))
    return _TOWN[0]


def town_window(rng: np.random.Generator, appearance_seed: int, side_m: float = WINDOW_M) -> CityWindow:
    """A window somewhere in the town, under any appearance; its cameras cover the town evenly."""
    reach = TOWN_SIDE_M / 2 - (side_m / 2 - _EDGE_M)
    east, north = rng.uniform(-reach, reach, 2)
    layout = town_layout()
    return CityWindow(
        layout, bake(layout, Appearance.sample(appearance_seed), east - side_m / 2, north + side_m / 2, side_m)
    )


def sample_places(window: CityWindow, rng: np.random.Generator, n: int) -> Places:
    """``n`` poses of a vehicle on the lanes of a window, where no parked car stands.

    Mostly along a lane, sometimes in the middle of a turn; lateral and heading jitter as of a human driver.
    """
    reach = window.raster.side_m / 2 - _EDGE_M
    roads = [r for r in window.layout.roads if (np.abs(r.points - window.centre) < reach).all(axis=1).any()]
    weights = np.array([r.length_m for r in roads])
    weights /= weights.sum()
    poses: list[tuple[float, float, float]] = []
    while len(poses) < n:
        road = roads[rng.choice(len(roads), p=weights)]
        s = rng.uniform(0, road.length_m)
        lane = int(rng.integers(road.lanes_per_direction))
        backwards = rng.random() < 0.5
        left = road.lane_offset_m(lane) + rng.normal(0, 0.35)
        point, yaw = road.at(s, -left if backwards else left)
        yaw += np.pi * backwards + np.radians(rng.normal(0, 2.0))
        if min(s, road.length_m - s) < 8 and rng.random() < 0.4:
            yaw += np.radians(rng.uniform(-70, 70))
        if (np.abs(point - window.centre) < reach).all() and _clear(window.raster, point):
            poses.append((point[0], point[1], yaw))
    table = np.array(poses)
    return Places(table[:, 0], table[:, 1], table[:, 2])


def _clear(raster: CityRaster, point: Float64Array) -> bool:
    column, row = int((point[0] - raster.west_m) / CELL_M), int((raster.north_m - point[1]) / CELL_M)
    reach = int(1.2 / CELL_M)
    return bool(raster.height_dm[row - reach : row + reach + 1, column - reach : column + reach + 1].max() <= 1)


@dataclass(frozen=True)
class Pair:
    """One camera image and the satellite patch around a wrong prior.

    ``offset_m`` is the camera's true (forward, right) from the patch's centre in the patch's frame.
    """

    satellite: UInt8Array
    ground: UInt8Array
    offset_m: Float64Array
    heading_error_rad: float
    yaw_rad: float


class PairSampler:
    """Pairs of one protocol and split: pair ``i`` is a function of the arguments and ``i`` alone.

    Args:
        area: the fixed town or cities of their own.
        seed: another seed gives other worlds of the same split.
        satellite_size: side of the patch in pixels.
        ground_size: (height, width) of the camera image.
        ground_resolution_m: metres per patch pixel.
        search_radius_m: the prior's error is uniform within ± this on both axes.
        heading_error: of the patch's alignment.
        split: whose worlds; training never draws from any other than TRAINING.
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
        if satellite_size * ground_resolution_m > 101:
            raise InputError(
                f"patches of more than 101 m do not fit the windows, got {satellite_size} px of {ground_resolution_m} m"
            )
        self.area, self.seed, self.split = area, seed, split
        self.satellite_size, self.ground_resolution_m = satellite_size, ground_resolution_m
        self.search_radius_m, self.heading_error = search_radius_m, heading_error
        self.camera = Camera.perspective(ground_size[1], ground_size[0])
        self._windows: OrderedDict[int, CityWindow] = OrderedDict()

    def window(self, k: int) -> CityWindow:
        """The ``k``-th window of this sampler; the last two are kept."""
        if k not in self._windows:
            seed = self.split.seed(self.seed, k)
            if self.area is Area.SAME:
                self._windows[k] = town_window(np.random.default_rng([seed, 51]), seed)
            else:
                self._windows[k] = city_window(seed, seed)
            if len(self._windows) > 2:
                self._windows.popitem(last=False)
        return self._windows[k]

    def pair(self, i: int) -> Pair:
        """The ``i``-th pair."""
        window = self.window(i // _PAIRS_PER_WINDOW)
        rng = np.random.default_rng([self.split.seed(self.seed, i // _PAIRS_PER_WINDOW), 52, i % _PAIRS_PER_WINDOW])
        place = sample_places(window, rng, 1)
        offset = rng.uniform(-self.search_radius_m, self.search_radius_m, 2)
        error = self.heading_error.sample(rng, 1)
        yaw = place.yaw_rad + error
        east, north = patch_centre(place.east_m, place.north_m, yaw, offset[None])
        windows = Windows.stack([window.raster])
        zero = np.zeros(1, np.int64)
        view = render_views(
            windows, self.camera, zero, *(a.astype(np.float32) for a in (place.east_m, place.north_m, place.yaw_rad))
        )
        patch, _ = render_patches(
            windows,
            self.satellite_size,
            self.ground_resolution_m,
            zero,
            *(a.astype(np.float32) for a in (east, north, yaw)),
        )
        return Pair(patch[0], view.rgb[0], offset, float(error[0]), float(yaw[0]))


def patch_centre(
    east_m: Float64Array, north_m: Float64Array, yaw_rad: Float64Array, offset_m: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Centres of patches of heading ``yaw_rad`` in which the cameras stand at ``offset_m`` (n, 2) forward and right."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    forward, right = offset_m[:, 0], offset_m[:, 1]
    return east_m - (forward * c + right * s), north_m - (forward * s - right * c)
