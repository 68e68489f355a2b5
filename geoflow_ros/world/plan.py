"""What a city's plan consists of: roads, flat polygons, buildings, street furniture and places for cars.

Frame: ENU metres about the centre of the plan (x east, y north).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float64Array, UInt8Array

PARKING_LANE_M = 2.1  # width of a lane of parked cars beside the carriageway


@dataclass(frozen=True)
class Road:
    """One edge of the road graph.

    Attributes:
        start: the node that it begins at.
        end: the node that it ends at.
        points: (n, 2) ENU metres, about 1 m apart.
        half_width_m: half the distance between the kerbs.
        lanes_per_direction: lanes for driving on each side.
        parking: whether there is a lane of parked cars on each side.
        pavement_m: width of the pavement on each side.
    """

    start: int
    end: int
    points: Float64Array
    half_width_m: float
    lanes_per_direction: int
    parking: bool
    pavement_m: float

    @cached_property
    def normals(self) -> Float64Array:
        """The (n, 2) unit vectors to the left of the direction of travel."""
        tangent = np.gradient(self.points, axis=0)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        return np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)

    @cached_property
    def length_m(self) -> float:
        """The arc length of the road's centre line."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())

    @property
    def carriageway_m(self) -> float:
        """The width of the lanes of one direction, without the parked cars."""
        return self.half_width_m - (PARKING_LANE_M if self.parking else 0.0)

    def lane_offset_m(self, lane: int = 0) -> float:
        """Returns the distance of a lane's centre to the left of the road's centre (right-hand traffic: negative)."""
        return -(lane + 0.5) * self.carriageway_m / self.lanes_per_direction

    def at(self, s_m: float, left_m: float) -> tuple[Float64Array, float]:
        """Returns the point (2,) at arc length `s_m`, `left_m` to the left, and the yaw of travel there in radians."""
        index = float(np.clip(s_m / self.length_m * (len(self.points) - 1), 0, len(self.points) - 1.001))
        i, f = int(index), index - int(index)
        point = self.points[i] * (1 - f) + self.points[i + 1] * f
        normal = self.normals[i] * (1 - f) + self.normals[i + 1] * f
        normal /= np.linalg.norm(normal)
        return point + left_m * normal, float(np.arctan2(-normal[0], normal[1]))


@dataclass(frozen=True)
class Polygons:
    """Quadrilaterals drawn with one kind each, in drawing order: the flat furniture of a city.

    Attributes:
        corners: (n, 4, 2) ENU metres.
        kind: (n,) what each is made of.
    """

    corners: Float64Array
    kind: UInt8Array

    def inside(self, low: Float64Array, high: Float64Array) -> Polygons:
        """Returns the polygons whose bounding box meets the window `low`..`high`, (2,) ENU metres each."""
        near = ((self.corners.max(axis=1) >= low) & (self.corners.min(axis=1) <= high)).all(axis=1)
        return Polygons(self.corners[near], self.kind[near])


@dataclass(frozen=True)
class Buildings:
    """Houses, and what stands on their roofs.

    Attributes:
        corners: (n, 4, 2) ENU metres.
        height_m: (n,) height of the walls.
        roof: (n,) kind of the roof.
        facade: (n,) style of the walls, below `kinds.FACADE_STYLES`.
        ridge: (n,) whether the roof is pitched.
    """

    corners: Float64Array
    height_m: Float64Array
    roof: UInt8Array
    facade: UInt8Array
    ridge: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Furniture:
    """Upright things that stand in one place: trees, lamps, signs, bollards.

    Attributes:
        position: (n, 2) ENU metres.
        sort: (n,) one of `kinds.Sort`.
        size_m: (n,) crown radius of a tree, height of the rest.
        tone: (n,) 0..1, a free number for colour.
    """

    position: Float64Array
    sort: UInt8Array
    size_m: Float64Array
    tone: Float64Array


@dataclass(frozen=True)
class CarSlots:
    """Places where a car may stand; an appearance decides in which of them one does.

    Attributes:
        position: (n, 2) ENU metres.
        yaw_rad: (n,) where the car looks.
        on_road: (n,) whether it is in a lane: only the photo has a car there.
    """

    position: Float64Array
    yaw_rad: Float64Array
    on_road: npt.NDArray[np.bool_]
