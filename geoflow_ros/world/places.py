"""Windows of cities, and places to stand on the lanes in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.cells import CELL_M
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.raster import CityRaster, bake
from geoflow_ros.world.scenes import Scene, scenes_of
from geoflow_ros.world.splits import TOWN_SEED, TOWN_SIDE_M

WINDOW_M = 384.0
_CITY_SIDE_M = 200.0  # of the plan that a window is the middle of; its margin fills the rest
_EDGE_M = 101.0  # a camera stays this far inside: half the diagonal of a 100.3 m patch and 28.3 m of prior error

# How people drive.
_LATERAL_SIGMA_M, _HEADING_SIGMA_DEG = 0.35, 2.0
_TURNING_M, _TURNING_SHARE, _TURNING_DEG = 8.0, 0.4, 70.0  # so near to a junction some are in the middle of a turn
_CLEARANCE_M = 1.2  # no parked car within this on both axes
_FREE_DM = 1  # a kerb is no obstacle


@dataclass(frozen=True)
class Poses:
    """Places and directions, all (n,).

    Attributes:
        east_m: ENU position.
        north_m: likewise.
        yaw_rad: direction of forward, counter-clockwise from east.
    """

    east_m: Float64Array
    north_m: Float64Array
    yaw_rad: Float64Array

    def __len__(self) -> int:
        return len(self.yaw_rad)

    def take(self, index: npt.NDArray[Any]) -> Poses:
        """Returns the poses with these indices."""
        return Poses(self.east_m[index], self.north_m[index], self.yaw_rad[index])

    def float32(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Returns east, north and yaw as the renderer takes them."""
        return self.east_m.astype(np.float32), self.north_m.astype(np.float32), self.yaw_rad.astype(np.float32)


class Window(Protocol):
    """A baked window with places to stand in it."""

    @property
    def raster(self) -> CityRaster:
        """What the renderer reads."""
        ...

    def places(self, rng: np.random.Generator, n: int) -> Poses:
        """Draws `n` poses of a vehicle."""
        ...

    def scenes(self, east_m: float, north_m: float) -> frozenset[Scene]:
        """Returns what a place in it, and its map, are of."""
        ...


@dataclass(frozen=True)
class CityWindow:
    """A baked window and the plan it was baked from."""

    layout: CityLayout
    raster: CityRaster

    @property
    def centre(self) -> Float64Array:
        """The (2,) ENU metres of the window's middle."""
        half = self.raster.side_m / 2
        return np.array([self.raster.west_m + half, self.raster.north_m - half])

    def places(self, rng: np.random.Generator, n: int) -> Poses:
        """Draws `n` poses of a vehicle on the lanes; see `sample_places`."""
        return sample_places(self, rng, n)

    def scenes(self, east_m: float, north_m: float) -> frozenset[Scene]:
        """Returns what a place in it, and its map, are of; night is the camera's alone."""
        return scenes_of(self.layout, self.raster, east_m, north_m)


def city_window(
    layout_seed: int, appearance_seed: int, side_m: float = WINDOW_M, conditions: Conditions = EASY
) -> CityWindow:
    """Bakes the middle of a city of its own."""
    layout = CityLayout.generate(layout_seed, _CITY_SIDE_M)
    appearance = Appearance.under(appearance_seed, conditions)
    return CityWindow(layout, bake(layout, appearance, -side_m / 2, side_m / 2, side_m))


@cache
def town_layout() -> CityLayout:
    """Returns the plan of the fixed town (1.05 square kilometres), laid out once a process."""
    return CityLayout.generate(TOWN_SEED, TOWN_SIDE_M)


def town_window(
    rng: np.random.Generator, appearance_seed: int, side_m: float = WINDOW_M, conditions: Conditions = EASY
) -> CityWindow:
    """Bakes a window somewhere in the town, under any appearance; its cameras cover the town evenly."""
    reach = TOWN_SIDE_M / 2 - (side_m / 2 - _EDGE_M)
    east, north = rng.uniform(-reach, reach, 2)
    layout, appearance = town_layout(), Appearance.under(appearance_seed, conditions)
    return CityWindow(layout, bake(layout, appearance, east - side_m / 2, north + side_m / 2, side_m))


def sample_places(window: CityWindow, rng: np.random.Generator, n: int) -> Poses:
    """Draws `n` poses of a vehicle on the lanes of a window, where no parked car stands.

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
        left = road.lane_offset_m(lane) + rng.normal(0, _LATERAL_SIGMA_M)
        point, yaw = road.at(s, -left if backwards else left)
        yaw += np.pi * backwards + np.radians(rng.normal(0, _HEADING_SIGMA_DEG))
        if min(s, road.length_m - s) < _TURNING_M and rng.random() < _TURNING_SHARE:
            yaw += np.radians(rng.uniform(-_TURNING_DEG, _TURNING_DEG))
        if (np.abs(point - window.centre) < reach).all() and _is_clear(window.raster, point):
            poses.append((point[0], point[1], yaw))
    table = np.array(poses)
    return Poses(table[:, 0], table[:, 1], table[:, 2])


def _is_clear(raster: CityRaster, point: Float64Array) -> bool:
    column, row = int((point[0] - raster.west_m) / CELL_M), int((raster.north_m - point[1]) / CELL_M)
    reach = int(_CLEARANCE_M / CELL_M)
    around = raster.height_dm[row - reach : row + reach + 1, column - reach : column + reach + 1]
    return bool(around.max() <= _FREE_DM)
