"""The plan of a procedural city: roads, lots, buildings and street furniture as vectors, from one seed.

A layout holds what the map and the street share. What differs between them (cars, light, season, sensor) is an
:mod:`appearance <geoflow_ros.world.appearance>`; pixels appear only when a window of the plan is baked
(:mod:`geoflow_ros.world.raster`), so that the cost of a world follows the area that is looked at.

Frame: ENU metres about the centre of the layout (x east, y north).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import WorldError
from geoflow_ros.world import kinds

_OCCUPANCY_M = 0.5  # cell of the raster that keeps lots from overlapping while a plan is laid out
_MARGIN_M = 130.0  # the plan goes on beyond its nominal side, so that a patch at the edge is not empty


@dataclass(frozen=True)
class Road:
    """One edge of the road graph."""

    start: int
    end: int
    points: Float64Array  # (n, 2) ENU metres, about 1 m apart
    half_width_m: float
    lanes_per_direction: int
    parking: bool
    pavement_m: float

    @cached_property
    def normals(self) -> Float64Array:
        """(n, 2) unit vectors to the left of the direction of travel."""
        tangent = np.gradient(self.points, axis=0)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        return np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)

    @cached_property
    def length_m(self) -> float:
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())

    def lane_offset_m(self, lane: int = 0) -> float:
        """Distance of a lane's centre to the left of the road's centre (right-hand traffic: negative)."""
        carriageway = self.half_width_m - (2.1 if self.parking else 0.0)
        return -(lane + 0.5) * carriageway / self.lanes_per_direction

    def at(self, s_m: float, left_m: float) -> tuple[Float64Array, float]:
        """Point (2,) at arc length ``s_m`` and ``left_m`` to the left, and the yaw of travel there in radians."""
        index = float(np.clip(s_m / self.length_m * (len(self.points) - 1), 0, len(self.points) - 1.001))
        i, f = int(index), index - int(index)
        point = self.points[i] * (1 - f) + self.points[i + 1] * f
        normal = self.normals[i] * (1 - f) + self.normals[i + 1] * f
        normal /= np.linalg.norm(normal)
        return point + left_m * normal, float(np.arctan2(-normal[0], normal[1]))


@dataclass(frozen=True)
class Polygons:
    """Convex or concave quadrilaterals drawn with one kind each: the flat furniture of a city."""

    corners: Float64Array  # (n, 4, 2) ENU metres
    kind: UInt8Array  # (n,)

    def inside(self, low: Float64Array, high: Float64Array) -> Polygons:
        """The polygons whose bounding box meets the window ``low``..``high``."""
        near = ((self.corners.max(axis=1) >= low) & (self.corners.min(axis=1) <= high)).all(axis=1)
        return Polygons(self.corners[near], self.kind[near])


@dataclass(frozen=True)
class Buildings:
    corners: Float64Array  # (n, 4, 2)
    height_m: Float64Array  # (n,)
    roof: UInt8Array  # (n,) kind
    facade: UInt8Array  # (n,) style of the walls, below kinds.FACADE_STYLES
    ridge: npt.NDArray[np.bool_]  # (n,) pitched roof


@dataclass(frozen=True)
class Furniture:
    """Upright things that stand in one place: trees, lamps, signs, bollards."""

    position: Float64Array  # (n, 2)
    sort: UInt8Array  # (n,) one of kinds.Sort
    size_m: Float64Array  # (n,) crown radius of a tree, height of the rest
    tone: Float64Array  # (n,) 0..1, a free number for colour


@dataclass(frozen=True)
class CarSlots:
    """Places where a car may stand; an appearance decides in which of them one does."""

    position: Float64Array  # (n, 2)
    yaw_rad: Float64Array  # (n,)
    on_road: npt.NDArray[np.bool_]  # (n,) in a lane: only the photo has a car there


def _quad(centre: Float64Array, yaw: float, length: float, width: float) -> Float64Array:
    c, s = np.cos(yaw), np.sin(yaw)
    u, v = np.array([c, s]) * length / 2, np.array([-s, c]) * width / 2
    return np.stack([centre + u + v, centre + u - v, centre - u - v, centre - u + v])


@dataclass
class _Draft:
    """What a layout collects while it is laid out."""

    polygons: list[Float64Array] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    furniture: list[tuple[float, float, int, float, float]] = field(default_factory=list)
    slots: list[tuple[float, float, float, bool]] = field(default_factory=list)

    def quad(self, centre: Float64Array, yaw: float, length: float, width: float, kind: int) -> None:
        self.polygons.append(_quad(centre, yaw, length, width))
        self.kind.append(kind)

    def put(self, point: Float64Array, sort: kinds.Sort, size: float, tone: float) -> None:
        self.furniture.append((float(point[0]), float(point[1]), int(sort), size, tone))


@dataclass(frozen=True)
class CityLayout:
    """A square plan of ``side_m`` metres about (0, 0), a function of its seed alone."""

    seed: int
    side_m: float
    nodes: Float64Array  # (n, 2)
    roads: tuple[Road, ...]
    driveways: Polygons
    surface: Polygons  # patches, markings, covers: in drawing order
    buildings: Buildings
    furniture: Furniture
    slots: CarSlots

    @property
    def half_m(self) -> float:
        return self.side_m / 2

    @classmethod
    def generate(cls, seed: int, side_m: float) -> CityLayout:
        """Lay out the city of ``seed``.

        Args:
            seed: any non-negative integer; each gives another city.
            side_m: side of the square in metres, at least 200.

        Raises:
            WorldError: if the side is too small to hold a block.
        """
        if not side_m >= 200:
            raise WorldError(f"a city needs a side of at least 200 m, got {side_m}")
        rng = np.random.default_rng([seed, 11])
        nodes, edges = _road_graph(rng, side_m)
        roads = tuple(_road(np.random.default_rng([seed, 12, k]), nodes, a, b) for k, (a, b) in enumerate(edges))
        occupancy = _Occupancy(side_m + 2 * _MARGIN_M)
        for road in roads:
            occupancy.draw_road(road)
        draft = _Draft()
        driveways = _Draft()
        buildings: list[tuple[Float64Array, float, int, int, bool]] = []
        for k, road in enumerate(roads):
            _lots(np.random.default_rng([seed, 13, k]), road, occupancy, buildings, driveways, draft)
        _back_yards(np.random.default_rng([seed, 14]), side_m, occupancy, buildings, draft)
        for k, road in enumerate(roads):
            _street(np.random.default_rng([seed, 15, k]), road, draft)
        for k in range(len(nodes)):
            _junction(np.random.default_rng([seed, 16, k]), nodes[k], draft)
        table = np.array(draft.furniture, dtype=np.float64).reshape(-1, 5)
        slots = np.array(draft.slots, dtype=np.float64).reshape(-1, 4)
        return cls(
            seed=seed,
            side_m=side_m,
            nodes=nodes,
            roads=roads,
            driveways=_polygons(driveways),
            surface=_polygons(draft),
            buildings=Buildings(
                np.array([b[0] for b in buildings]).reshape(-1, 4, 2),
                np.array([b[1] for b in buildings]),
                np.array([b[2] for b in buildings], dtype=np.uint8),
                np.array([b[3] for b in buildings], dtype=np.uint8),
                np.array([b[4] for b in buildings], dtype=bool),
            ),
            furniture=Furniture(table[:, :2], table[:, 2].astype(np.uint8), table[:, 3], table[:, 4]),
            slots=CarSlots(slots[:, :2], slots[:, 2], slots[:, 3].astype(bool)),
        )


def _polygons(draft: _Draft) -> Polygons:
    return Polygons(np.array(draft.polygons).reshape(-1, 4, 2), np.array(draft.kind, dtype=np.uint8))


class _Occupancy:
    """A coarse raster of what ground is taken."""

    def __init__(self, side_m: float) -> None:
        self.size = int(np.ceil(side_m / _OCCUPANCY_M))
        self.origin = -side_m / 2
        self.taken = np.zeros((self.size, self.size), np.uint8)

    def _cells(self, points: Float64Array) -> npt.NDArray[np.int32]:
        return np.round((points - self.origin) / _OCCUPANCY_M).astype(np.int32)

    def draw_road(self, road: Road) -> None:
        width = 2 * (road.half_width_m + road.pavement_m) / _OCCUPANCY_M
        cv2.polylines(self.taken, [self._cells(road.points)], False, 2, int(np.ceil(width)))

    def free(self, corners: Float64Array) -> bool:
        cells = self._cells(corners)
        low, high = cells.min(axis=0), cells.max(axis=0) + 1
        if (low < 0).any() or (high > self.size).any():
            return False
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cv2.fillPoly(mask, [cells - low], 1)
        return not bool((self.taken[low[1] : high[1], low[0] : high[0]] & (mask * 255)).any())

    def take(self, corners: Float64Array) -> None:
        cv2.fillPoly(self.taken, [self._cells(corners)], 1)

    def free_at(self, point: Float64Array) -> bool:
        x, y = self._cells(point)
        return 0 <= x < self.size and 0 <= y < self.size and not self.taken[y, x]


def _road_graph(rng: np.random.Generator, side_m: float) -> tuple[Float64Array, list[tuple[int, int]]]:
    spacing = rng.uniform(80, 115)
    reach = side_m / 2 + _MARGIN_M
    n = int(np.ceil(1.5 * reach / spacing)) + 1
    grid = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij"), axis=-1).reshape(-1, 2)
    points = grid * spacing + rng.uniform(-0.2, 0.2, grid.shape) * spacing
    turn = rng.uniform(0, 2 * np.pi)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    # a smooth warp, so that no two streets are parallel for long
    wave = rng.uniform(2 * np.pi / 500, 2 * np.pi / 260, (2, 2))
    phase = rng.uniform(0, 2 * np.pi, 2)
    points = points + 16 * np.sin(points @ wave + phase)
    index = {(int(i), int(j)): k for k, (i, j) in enumerate(grid)}
    edges = []
    for (i, j), k in index.items():
        for neighbour in ((i + 1, j), (i, j + 1)):
            if neighbour in index:
                edges.append((k, index[neighbour]))
    degree = np.zeros(len(points), int)
    for a, b in edges:
        degree[a] += 1
        degree[b] += 1
    kept = []
    for e in rng.permutation(len(edges)):
        a, b = edges[e]
        if rng.random() < 0.16 and degree[a] > 3 and degree[b] > 3:
            degree[a] -= 1
            degree[b] -= 1
            continue
        kept.append((a, b))
    near = np.abs(points).max(axis=1) < reach
    return points, [(a, b) for a, b in sorted(kept) if near[a] or near[b]]


def _road(rng: np.random.Generator, nodes: Float64Array, a: int, b: int) -> Road:
    p, q = nodes[a], nodes[b]
    chord = q - p
    length = float(np.linalg.norm(chord))
    normal = np.array([-chord[1], chord[0]]) / length
    n = max(8, int(round(length)))
    s = np.linspace(0, 1, n + 1)
    bulge = rng.normal(0, 5) * np.sin(np.pi * s) + rng.normal(0, 2.5) * np.sin(2 * np.pi * s)
    points = p + s[:, None] * chord + bulge[:, None] * normal
    major = rng.random() < 0.2
    parking = bool(rng.random() < 0.6) and not major
    lanes = 2 if major else 1
    half = lanes * rng.uniform(3.0, 3.4) + (2.1 if parking else rng.uniform(0, 0.5))
    return Road(a, b, points, float(half), lanes, parking, float(rng.uniform(1.6, 3.2)))


def _lots(
    rng: np.random.Generator,
    road: Road,
    occupancy: _Occupancy,
    buildings: list[tuple[Float64Array, float, int, int, bool]],
    driveways: _Draft,
    draft: _Draft,
) -> None:
    terraced = rng.random() < 0.4
    setback = rng.uniform(0.2, 1.5) if terraced else rng.uniform(2.0, 7.0)
    storeys = rng.integers(2, 6) if terraced else rng.integers(1, 4)
    edge = road.half_width_m + road.pavement_m
    for side in (1.0, -1.0):
        s = rng.uniform(7, 12)
        while s < road.length_m - 9:
            width = rng.uniform(8, 20)
            depth = rng.uniform(8, 13)
            front = edge + setback + rng.uniform(-0.2, 1.2)
            centre, yaw = road.at(s + width / 2, side * (front + depth / 2))
            corners = _quad(centre, yaw, width, depth)
            if occupancy.free(_quad(centre, yaw, width + 0.6, depth + 0.6)):
                occupancy.take(corners)
                height = 3.0 * max(1, int(storeys + rng.integers(-1, 2))) + rng.uniform(0.3, 1.5)
                pitched = not terraced or rng.random() < 0.5
                roof = rng.choice(kinds.ROOFS_PITCHED if pitched else kinds.ROOFS_FLAT)
                buildings.append((corners, float(height), int(roof), int(rng.integers(kinds.FACADE_STYLES)), pitched))
                if not pitched:  # what stands on flat roofs
                    for _ in range(rng.integers(0, 4)):
                        at, _ = road.at(
                            s + rng.uniform(1.5, width - 1.5), side * (front + rng.uniform(1.5, depth - 1.5))
                        )
                        buildings.append(
                            (
                                _quad(at, yaw, rng.uniform(1, 3), rng.uniform(1, 2)),
                                float(height + 1),
                                kinds.ROOF_PLANT,
                                0,
                                False,
                            )
                        )
            gap = rng.uniform(0.0, 0.6) if terraced and rng.random() < 0.8 else rng.uniform(2.5, 6.0)
            if gap > 2.5 and rng.random() < 0.75:  # driveway across the pavement, seen from both sides
                drive = rng.uniform(2.4, min(gap, 4.5))
                kind = int(rng.choice(kinds.DRIVEWAYS))
                inner = front + rng.uniform(1.0, 8.0)
                point, yaw = road.at(s + width + gap / 2, side * (road.half_width_m + inner) / 2)
                driveways.quad(point, yaw, drive, inner - road.half_width_m, kind)
                if rng.random() < 0.6:
                    at, yaw = road.at(s + width + gap / 2, side * (front + 2.5))
                    if occupancy.free_at(at):
                        draft.slots.append((at[0], at[1], yaw + np.pi / 2, False))
            elif setback > 1.8 and rng.random() < 0.6:  # hedge or garden wall along the front
                at, yaw = road.at(s + width / 2, side * (edge + 0.4))
                kind = int(rng.choice(kinds.HEDGES))
                draft.quad(at, yaw, width * rng.uniform(0.5, 0.95), 0.6, kind)
            if setback > 1.8:  # garden path from the pavement to the door
                at, yaw = road.at(s + rng.uniform(2, width - 2), side * (edge + setback / 2))
                driveways.quad(at, yaw, rng.uniform(1.0, 1.8), setback + 1.0, int(rng.choice(kinds.DRIVEWAYS)))
                if rng.random() < 0.5:
                    tree, _ = road.at(s + rng.uniform(0, width), side * (edge + rng.uniform(1.0, max(1.2, setback))))
                    if occupancy.free_at(tree):
                        draft.put(tree, kinds.Sort.TREE, rng.uniform(0.8, 2.2), rng.random())
            s += width + gap


def _back_yards(
    rng: np.random.Generator,
    side_m: float,
    occupancy: _Occupancy,
    buildings: list[tuple[Float64Array, float, int, int, bool]],
    draft: _Draft,
) -> None:
    reach = side_m / 2 + _MARGIN_M
    for point in rng.uniform(-reach, reach, (int(0.0018 * (2 * reach) ** 2), 2)):
        yaw, length, width = rng.uniform(0, np.pi), rng.uniform(3, 12), rng.uniform(3, 8)
        if occupancy.free(_quad(point, yaw, length + 3, width + 3)):
            corners = _quad(point, yaw, length, width)
            occupancy.take(corners)
            roof = int(rng.choice(kinds.ROOFS_FLAT))
            buildings.append((corners, float(rng.uniform(2.3, 6)), roof, int(rng.integers(kinds.FACADE_STYLES)), False))
    for point in rng.uniform(-reach, reach, (int(0.004 * (2 * reach) ** 2), 2)):
        if occupancy.free_at(point):
            draft.put(point, kinds.Sort.TREE, rng.uniform(1.2, 4.2), rng.random())


def _street(rng: np.random.Generator, road: Road, draft: _Draft) -> None:
    """What tells how far along a street one is: repairs, covers, markings, crossings, trees, poles, signs."""
    length, half = road.length_m, road.half_width_m
    carriageway = half - (2.1 if road.parking else 0.0)
    # the order is the drawing order: repairs, covers, paint
    for s in np.cumsum(rng.exponential(9.0, int(length / 9) + 2)):
        if s < length - 2:
            at, yaw = road.at(s, rng.uniform(-half + 1, half - 1))
            along = rng.random() < 0.5
            extent = (
                (rng.uniform(1.5, 8.0), rng.uniform(0.6, 2.5))
                if along
                else (rng.uniform(0.5, 1.4), rng.uniform(1.5, half))
            )
            draft.quad(at, yaw + rng.normal(0, 0.05), *extent, int(rng.choice(kinds.REPAIRS)))
    if rng.random() < 0.3:  # a stretch with a new surface
        a = rng.uniform(0.1, 0.6) * length
        b = a + rng.uniform(0.15, 0.35) * length
        kind = int(rng.choice(kinds.REPAIRS))
        for s in np.arange(a, b, 2.0):
            at, yaw = road.at(s, 0)
            draft.quad(at, yaw, 2.3, 2 * half - 0.2, kind)
    for s in np.cumsum(rng.exponential(7.0, int(length / 7) + 2)):
        if s < length - 3:
            at, yaw = road.at(s, rng.uniform(-half + 0.4, half - 0.4))
            draft.quad(at, yaw, 0.75, 0.75, int(rng.choice(kinds.COVERS)))
    for side in (1.0, -1.0):
        for s in np.arange(rng.uniform(4, 20), length - 3, rng.uniform(16, 30)):
            at, yaw = road.at(s, side * (half - 0.25))
            draft.quad(at, yaw, 0.6, 0.4, kinds.GRATE)
        # the pavement: slabs of another colour, covers, cracks
        for s in np.cumsum(rng.exponential(8.0, int(length / 8) + 2)):
            if s < length - 3:
                at, yaw = road.at(s, side * (half + road.pavement_m / 2))
                draft.quad(
                    at,
                    yaw,
                    rng.uniform(0.8, 6.0),
                    road.pavement_m * rng.uniform(0.4, 0.95),
                    int(rng.choice(kinds.SLABS)),
                )
    paint = int(rng.choice(kinds.PAINT))
    if road.lanes_per_direction > 1:
        for s in np.arange(8, length - 8, 1.5):
            at, yaw = road.at(s, 0.0)
            draft.quad(at, yaw, 1.55, 0.18, paint)
        for lane_left in (-carriageway / 2, carriageway / 2):
            for s in np.arange(9 + rng.uniform(0, 4), length - 9, 6.0):
                at, yaw = road.at(s, lane_left)
                draft.quad(at, yaw, 2.4, 0.15, paint)
    elif rng.random() < 0.75:
        period, dash = rng.choice([[6.0, 3.0], [9.0, 3.0], [12.0, 4.5]])
        for s in np.arange(8 + rng.uniform(0, period), length - 8, period):
            at, yaw = road.at(s, 0.0)
            draft.quad(at, yaw, dash, 0.15, paint)
    for side in (1.0, -1.0):
        if road.parking:
            for s in np.arange(9, length - 9, 6.0):
                at, yaw = road.at(s, side * (half - 1.0))
                draft.slots.append((at[0], at[1], yaw + (np.pi if side > 0 else 0), False))
                if rng.random() < 0.8:
                    bay, yaw = road.at(s - 3.0, side * (half - 1.05))
                    draft.quad(bay, yaw, 0.12, 2.0, paint)
        elif rng.random() < 0.5:
            for s in np.arange(7, length - 7, 2.0):
                at, yaw = road.at(s, side * (half - 0.35))
                draft.quad(at, yaw, 2.1, 0.12, paint)
    for s in np.cumsum(rng.exponential(35.0, int(length / 35) + 1)):  # words and symbols on the lane
        if 14 < s < length - 14:
            side = rng.choice([1.0, -1.0])
            at, yaw = road.at(s, side * carriageway / 2)
            _symbol(rng, draft, at, yaw + (np.pi if side > 0 else 0.0), paint)
    for end in (0, 1):
        inner = 9.0 if end == 0 else length - 9.0
        if rng.random() < 0.7:  # zebra
            stripe = rng.choice([0.5, 0.6])
            for left in np.arange(-half + 0.5, half - 0.3, 2 * stripe):
                at, yaw = road.at(inner, left)
                draft.quad(at, yaw, 3.2, stripe, paint)
        stop = 12.0 if end == 0 else length - 12.0
        for side in (1.0, -1.0):
            if (side > 0) == (end == 0) and rng.random() < 0.8:
                at, yaw = road.at(stop, side * carriageway / 2)
                draft.quad(at, yaw, 0.4, carriageway - 0.3, paint)
                if rng.random() < 0.7:
                    at, yaw = road.at(stop + (6 if end == 0 else -6), side * road.lane_offset_m(0) * -1.0)
                    _arrow(draft, at, yaw + (np.pi if side > 0 else 0), paint)
    if rng.random() < 0.25 and length > 60:  # a crossing between junctions
        for left in np.arange(-half + 0.5, half - 0.3, 1.0):
            at, yaw = road.at(length * 0.5, left)
            draft.quad(at, yaw, 3.5, 0.5, paint)
    for s in np.arange(rng.uniform(8, 60), length - 8, rng.uniform(50, 90)):  # speed humps and coloured surfaces
        if rng.random() < 0.5:
            at, yaw = road.at(s, 0)
            draft.quad(at, yaw, rng.uniform(1.5, 4.0), 2 * half - 0.4, int(rng.choice(kinds.COLOURED)))
    # upright things
    for side in (1.0, -1.0):
        kerb = half + 0.5
        if rng.random() < 0.7:
            crown, tone = rng.uniform(1.6, 3.2), rng.random()
            for s in np.cumsum(rng.uniform(7, 18, int(length / 9) + 1)) + 4:
                if s < length - 10:
                    at, _ = road.at(s, side * (kerb + rng.uniform(0.2, 0.5)))
                    size = crown * rng.uniform(0.7, 1.2)
                    draft.put(at, kinds.Sort.TREE, size, float(np.clip(tone + rng.normal(0, 0.1), 0, 1)))
                    pit, yaw = road.at(s, side * (kerb + 0.35))
                    draft.quad(pit, yaw, 1.3, 1.1, kinds.SOIL)
        for s in np.arange(rng.uniform(3, 25), length - 3, rng.uniform(24, 36)):
            at, _ = road.at(s + rng.normal(0, 1.5), side * kerb)
            draft.put(at, kinds.Sort.LAMP, rng.uniform(5.5, 8.0), rng.random())
        for s in np.cumsum(rng.exponential(16.0, int(length / 16) + 2)):
            if 4 < s < length - 4:
                at, _ = road.at(s, side * (kerb + rng.uniform(-0.1, 0.3)))
                draft.put(at, kinds.Sort.SIGN, rng.uniform(2.2, 3.0), rng.random())
        for s in np.cumsum(rng.exponential(22.0, int(length / 22) + 2)):
            if 6 < s < length - 6:
                at, _ = road.at(s, side * (half + road.pavement_m - 0.4))
                draft.put(
                    at,
                    rng.choice([kinds.Sort.BIN, kinds.Sort.HYDRANT, kinds.Sort.CABINET]),
                    rng.uniform(0.7, 1.3),
                    rng.random(),
                )
        if rng.random() < 0.3:
            start = rng.uniform(10, max(11, length - 25))
            for s in np.arange(start, start + 12, rng.uniform(1.5, 2.5)):
                if s < length - 8:
                    at, _ = road.at(s, side * (half + 0.3))
                    draft.put(at, kinds.Sort.BOLLARD, 0.9, 0.5)
    for s in np.cumsum(rng.exponential(30.0, int(length / 30) + 1)):
        if 12 < s < length - 12:
            side = rng.choice([1.0, -1.0])
            at, yaw = road.at(s, side * carriageway / 2)
            draft.slots.append((at[0], at[1], yaw, True))


def _symbol(rng: np.random.Generator, draft: _Draft, at: Float64Array, yaw: float, paint: int) -> None:
    """A block of painted letters: unlike any other along the street."""
    c, s = np.cos(yaw), np.sin(yaw)
    pattern = rng.random((4, 5)) < 0.55
    for i, j in np.argwhere(pattern):
        x, y = (i - 1.5) * 0.65, (j - 2) * 0.36
        draft.quad(at + np.array([c * x - s * y, s * x + c * y]), yaw, 0.65, 0.34, paint)


def _arrow(draft: _Draft, at: Float64Array, yaw: float, paint: int) -> None:
    c, s = np.cos(yaw), np.sin(yaw)
    forward, left = np.array([c, s]), np.array([-s, c])
    draft.quad(at - 1.0 * forward, yaw, 2.8, 0.22, paint)
    draft.polygons.append(
        np.stack(
            [at + 1.9 * forward, at + 0.4 * forward + 0.55 * left, at + 0.4 * forward, at + 0.4 * forward - 0.55 * left]
        )
    )
    draft.kind.append(paint)


def _junction(rng: np.random.Generator, node: Float64Array, draft: _Draft) -> None:
    for _ in range(rng.integers(1, 4)):
        at = node + rng.uniform(-4, 4, 2)
        draft.quad(at, rng.uniform(0, np.pi), rng.uniform(0.8, 4), rng.uniform(0.8, 2), int(rng.choice(kinds.REPAIRS)))
    for _ in range(rng.integers(1, 3)):
        draft.quad(node + rng.uniform(-4, 4, 2), rng.uniform(0, np.pi), 0.75, 0.75, int(rng.choice(kinds.COVERS)))
