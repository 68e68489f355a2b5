"""The lots along a road and behind its houses: buildings, driveways, gardens and trees.

A coarse raster of the ground that is taken keeps them from overlapping.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float64Array
from geoflow_ros.world import kinds
from geoflow_ros.world.draft import Draft, quad
from geoflow_ros.world.plan import Road

_CELL_M = 0.5  # of the raster of the ground that is taken
_LOT, _ROAD = 1, 2  # what takes a cell

# Houses along a road, metres unless stated.
_TERRACED_SHARE = 0.4  # of the roads: houses stand wall to wall
_TERRACE_SETBACK_M, _DETACHED_SETBACK_M = (0.2, 1.5), (2.0, 7.0)  # from the pavement to the wall
_TERRACE_STOREYS, _DETACHED_STOREYS = (2, 6), (1, 4)  # least, and one more than the most
_CORNER_M = (7.0, 12.0)  # from the junction to the first house
_LAST_HOUSE_M = 9.0  # no house begins nearer to the road's end
_WIDTH_M, _DEPTH_M = (8.0, 20.0), (8.0, 13.0)
_FRONT_JITTER_M = (-0.2, 1.2)
_CLEARANCE_M = 0.6  # of ground that must be free, more than the house's own
_STOREY_M, _PARAPET_M = 3.0, (0.3, 1.5)
_TERRACE_PITCHED_SHARE = 0.5  # of terraced houses; detached ones all have pitched roofs
_MAX_ROOF_PLANT = 3  # machines on a flat roof
_ROOF_PLANT_EDGE_M, _ROOF_PLANT_RISE_M = 1.5, 1.0
_ROOF_PLANT_LENGTH_M, _ROOF_PLANT_WIDTH_M = (1.0, 3.0), (1.0, 2.0)

# What lies between and before the houses.
_TERRACE_JOINED_SHARE = 0.8  # of terraced houses: nothing but a slit to the next
_SLIT_M, _GAP_M = (0.0, 0.6), (2.5, 6.0)
_DRIVEWAY_GAP_M, _DRIVEWAY_SHARE = 2.5, 0.75  # the least gap for a driveway, and how often there is one
_DRIVEWAY_M = (2.4, 4.5)  # width
_DRIVEWAY_BEYOND_FRONT_M = (1.0, 8.0)
_CAR_ON_DRIVEWAY_SHARE, _CAR_BEYOND_FRONT_M = 0.6, 2.5
_GARDEN_M = 1.8  # the least setback for a front garden
_HEDGE_SHARE, _HEDGE_INSET_M, _HEDGE_M = 0.6, 0.4, 0.6  # how often, from the pavement, thickness
_HEDGE_LENGTH = (0.5, 0.95)  # of the house's width
_PATH_EDGE_M, _PATH_M, _PATH_OVERLAP_M = 2.0, (1.0, 1.8), 1.0  # from the house's corner, width, onto the pavement
_GARDEN_TREE_SHARE, _GARDEN_TREE_MIN_M, _GARDEN_TREE_CROWN_M = 0.5, (1.0, 1.2), (0.8, 2.2)

# Sheds and trees behind the houses.
_SHEDS_PER_M2, _YARD_TREES_PER_M2 = 0.0018, 0.004  # tried; most find no free ground
_SHED_LENGTH_M, _SHED_WIDTH_M, _SHED_HEIGHT_M = (3.0, 12.0), (3.0, 8.0), (2.3, 6.0)
_SHED_CLEARANCE_M = 3.0
_YARD_TREE_CROWN_M = (1.2, 4.2)

_SIDES = (1.0, -1.0)  # left and right of a road


class Occupancy:
    """A coarse raster of what ground is taken.

    Args:
        side_m: side of the square about (0, 0) that it covers.
    """

    def __init__(self, side_m: float) -> None:
        self.size = int(np.ceil(side_m / _CELL_M))
        self.origin = -side_m / 2
        self.taken = np.zeros((self.size, self.size), np.uint8)

    def _cells(self, points: Float64Array) -> npt.NDArray[np.int32]:
        return np.round((points - self.origin) / _CELL_M).astype(np.int32)

    def take_road(self, road: Road) -> None:
        """Takes the ground of a road and its pavements."""
        width = 2 * (road.half_width_m + road.pavement_m) / _CELL_M
        cv2.polylines(self.taken, [self._cells(road.points)], False, _ROAD, int(np.ceil(width)))

    def take(self, corners: Float64Array) -> None:
        """Takes the ground of a polygon, (n, 2) ENU metres."""
        cv2.fillPoly(self.taken, [self._cells(corners)], _LOT)

    def is_free(self, corners: Float64Array) -> bool:
        """Tells whether nothing takes any of a polygon's ground, and it lies inside the raster."""
        cells = self._cells(corners)
        low, high = cells.min(axis=0), cells.max(axis=0) + 1
        if (low < 0).any() or (high > self.size).any():
            return False
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cv2.fillPoly(mask, [cells - low], 1)
        return not bool((self.taken[low[1] : high[1], low[0] : high[0]] & (mask * 255)).any())

    def is_free_at(self, point: Float64Array) -> bool:
        """Tells whether nothing stands at a point, (2,) ENU metres."""
        x, y = self._cells(point)
        return 0 <= x < self.size and 0 <= y < self.size and not self.taken[y, x]


@dataclass(frozen=True)
class _Row:
    """What the houses along one road have in common."""

    road: Road
    terraced: bool
    setback_m: float
    storeys: int

    @property
    def pavement_edge_m(self) -> float:
        """The distance from the road's centre to where the lots begin."""
        return self.road.half_width_m + self.road.pavement_m

    @property
    def has_gardens(self) -> bool:
        """Whether there is room for a garden before the houses."""
        return self.setback_m > _GARDEN_M


@dataclass(frozen=True)
class _Lot:
    """One lot: from arc length `start_m` of the road, on one side; `front_m` from the road's centre to the wall."""

    side: float
    start_m: float
    width_m: float
    depth_m: float
    front_m: float


def lay_lots(rng: np.random.Generator, road: Road, occupancy: Occupancy, draft: Draft) -> None:
    """Builds up both sides of a road, where the ground is free."""
    terraced = rng.random() < _TERRACED_SHARE
    setback = rng.uniform(*(_TERRACE_SETBACK_M if terraced else _DETACHED_SETBACK_M))
    row = _Row(road, terraced, setback, int(rng.integers(*(_TERRACE_STOREYS if terraced else _DETACHED_STOREYS))))
    for side in _SIDES:
        s = rng.uniform(*_CORNER_M)
        while s < road.length_m - _LAST_HOUSE_M:
            width, depth = rng.uniform(*_WIDTH_M), rng.uniform(*_DEPTH_M)
            front = row.pavement_edge_m + row.setback_m + rng.uniform(*_FRONT_JITTER_M)
            lot = _Lot(side, s, width, depth, front)
            _house(rng, row, lot, occupancy, draft)
            gap = _gap(rng, row)
            if gap > _DRIVEWAY_GAP_M and rng.random() < _DRIVEWAY_SHARE:
                _driveway(rng, row, lot, gap, occupancy, draft)
            elif row.has_gardens and rng.random() < _HEDGE_SHARE:
                _hedge(rng, row, lot, draft)
            if row.has_gardens:
                _front_garden(rng, row, lot, occupancy, draft)
            s += width + gap


def _gap(rng: np.random.Generator, row: _Row) -> float:
    """Draws the distance to the next house."""
    joined = row.terraced and rng.random() < _TERRACE_JOINED_SHARE
    return rng.uniform(*(_SLIT_M if joined else _GAP_M))


def _house(rng: np.random.Generator, row: _Row, lot: _Lot, occupancy: Occupancy, draft: Draft) -> None:
    """Builds the lot's house if its ground is free."""
    centre, yaw = row.road.at(lot.start_m + lot.width_m / 2, lot.side * (lot.front_m + lot.depth_m / 2))
    if not occupancy.is_free(quad(centre, yaw, lot.width_m + _CLEARANCE_M, lot.depth_m + _CLEARANCE_M)):
        return
    corners = quad(centre, yaw, lot.width_m, lot.depth_m)
    occupancy.take(corners)
    height = _STOREY_M * max(1, int(row.storeys + rng.integers(-1, 2))) + rng.uniform(*_PARAPET_M)
    pitched = not row.terraced or rng.random() < _TERRACE_PITCHED_SHARE
    roof = rng.choice(kinds.ROOFS_PITCHED if pitched else kinds.ROOFS_FLAT)
    draft.build(corners, float(height), int(roof), int(rng.integers(kinds.FACADE_STYLES)), pitched)
    if not pitched:
        _roof_plant(rng, row, lot, yaw, height, draft)


def _roof_plant(rng: np.random.Generator, row: _Row, lot: _Lot, yaw: float, height_m: float, draft: Draft) -> None:
    """Puts machines on a flat roof."""
    edge = _ROOF_PLANT_EDGE_M
    for _ in range(rng.integers(0, _MAX_ROOF_PLANT + 1)):
        at, _ = row.road.at(
            lot.start_m + rng.uniform(edge, lot.width_m - edge),
            lot.side * (lot.front_m + rng.uniform(edge, lot.depth_m - edge)),
        )
        corners = quad(at, yaw, rng.uniform(*_ROOF_PLANT_LENGTH_M), rng.uniform(*_ROOF_PLANT_WIDTH_M))
        draft.build(corners, float(height_m + _ROOF_PLANT_RISE_M), kinds.ROOF_PLANT, 0, False)


def _driveway(rng: np.random.Generator, row: _Row, lot: _Lot, gap_m: float, occupancy: Occupancy, draft: Draft) -> None:
    """Leads a driveway across the pavement into the gap after a house; often a car stands at its end."""
    road, kerb = row.road, row.road.half_width_m
    narrowest, widest = _DRIVEWAY_M
    width = rng.uniform(narrowest, min(gap_m, widest))
    kind = int(rng.choice(kinds.DRIVEWAYS))
    inner = lot.front_m + rng.uniform(*_DRIVEWAY_BEYOND_FRONT_M)
    middle = lot.start_m + lot.width_m + gap_m / 2
    point, yaw = road.at(middle, lot.side * (kerb + inner) / 2)
    draft.driveways.quad(point, yaw, width, inner - kerb, kind)
    if rng.random() < _CAR_ON_DRIVEWAY_SHARE:
        at, yaw = road.at(middle, lot.side * (lot.front_m + _CAR_BEYOND_FRONT_M))
        if occupancy.is_free_at(at):
            draft.park(at, yaw + np.pi / 2, on_road=False)


def _hedge(rng: np.random.Generator, row: _Row, lot: _Lot, draft: Draft) -> None:
    """Plants a hedge, or builds a garden wall, along the front."""
    at, yaw = row.road.at(lot.start_m + lot.width_m / 2, lot.side * (row.pavement_edge_m + _HEDGE_INSET_M))
    kind = int(rng.choice(kinds.HEDGES))
    draft.surface.quad(at, yaw, lot.width_m * rng.uniform(*_HEDGE_LENGTH), _HEDGE_M, kind)


def _front_garden(rng: np.random.Generator, row: _Row, lot: _Lot, occupancy: Occupancy, draft: Draft) -> None:
    """Lays the path from the pavement to the door, and sometimes plants a tree."""
    road, edge = row.road, row.pavement_edge_m
    at, yaw = road.at(
        lot.start_m + rng.uniform(_PATH_EDGE_M, lot.width_m - _PATH_EDGE_M), lot.side * (edge + row.setback_m / 2)
    )
    draft.driveways.quad(
        at, yaw, rng.uniform(*_PATH_M), row.setback_m + _PATH_OVERLAP_M, int(rng.choice(kinds.DRIVEWAYS))
    )
    if rng.random() < _GARDEN_TREE_SHARE:
        nearest, least_depth = _GARDEN_TREE_MIN_M
        tree, _ = road.at(
            lot.start_m + rng.uniform(0, lot.width_m),
            lot.side * (edge + rng.uniform(nearest, max(least_depth, row.setback_m))),
        )
        if occupancy.is_free_at(tree):
            draft.put(tree, kinds.Sort.TREE, rng.uniform(*_GARDEN_TREE_CROWN_M), rng.random())


def lay_back_yards(rng: np.random.Generator, reach_m: float, occupancy: Occupancy, draft: Draft) -> None:
    """Spreads sheds and trees over the free ground of the square within `reach_m` of the centre."""
    area_m2 = (2 * reach_m) ** 2
    for point in rng.uniform(-reach_m, reach_m, (int(_SHEDS_PER_M2 * area_m2), 2)):
        yaw, length, width = rng.uniform(0, np.pi), rng.uniform(*_SHED_LENGTH_M), rng.uniform(*_SHED_WIDTH_M)
        if occupancy.is_free(quad(point, yaw, length + _SHED_CLEARANCE_M, width + _SHED_CLEARANCE_M)):
            corners = quad(point, yaw, length, width)
            occupancy.take(corners)
            roof = int(rng.choice(kinds.ROOFS_FLAT))
            height = float(rng.uniform(*_SHED_HEIGHT_M))
            draft.build(corners, height, roof, int(rng.integers(kinds.FACADE_STYLES)), False)
    for point in rng.uniform(-reach_m, reach_m, (int(_YARD_TREES_PER_M2 * area_m2), 2)):
        if occupancy.is_free_at(point):
            draft.put(point, kinds.Sort.TREE, rng.uniform(*_YARD_TREE_CROWN_M), rng.random())
