"""What a layout collects while it is laid out, before it becomes arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.world import kinds
from geoflow_ros.world.plan import Buildings, CarSlots, Furniture, Polygons


def quad(centre: Float64Array, yaw_rad: float, length_m: float, width_m: float) -> Float64Array:
    """Returns the (4, 2) corners of a rectangle whose length lies along `yaw_rad`."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    u, v = np.array([c, s]) * length_m / 2, np.array([-s, c]) * width_m / 2
    return np.stack([centre + u + v, centre + u - v, centre - u - v, centre - u + v])


@dataclass
class FlatDraft:
    """Polygons in drawing order."""

    corners: list[Float64Array] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)

    def add(self, corners: Float64Array, kind: int) -> None:
        """Draws a quadrilateral, (4, 2) ENU metres."""
        self.corners.append(corners)
        self.kind.append(kind)

    def quad(self, centre: Float64Array, yaw_rad: float, length_m: float, width_m: float, kind: int) -> None:
        """Draws a rectangle whose length lies along `yaw_rad`."""
        self.add(quad(centre, yaw_rad, length_m, width_m), kind)

    def polygons(self) -> Polygons:
        """Returns what was drawn."""
        return Polygons(np.array(self.corners).reshape(-1, 4, 2), np.array(self.kind, dtype=np.uint8))


@dataclass
class Draft:
    """A plan in the making.

    Attributes:
        driveways: what crosses the pavement, drawn below the roads.
        surface: repairs, markings, covers and hedges, drawn on top.
    """

    driveways: FlatDraft = field(default_factory=FlatDraft)
    surface: FlatDraft = field(default_factory=FlatDraft)
    _buildings: list[tuple[Float64Array, float, int, int, bool]] = field(default_factory=list)
    _furniture: list[tuple[float, float, int, float, float]] = field(default_factory=list)
    _slots: list[tuple[float, float, float, bool]] = field(default_factory=list)

    def build(self, corners: Float64Array, height_m: float, roof: int, facade: int, pitched: bool) -> None:
        """Puts up a building on (4, 2) corners; `roof` is a kind, `facade` a style."""
        self._buildings.append((corners, height_m, roof, facade, pitched))

    def put(self, point: Float64Array, sort: kinds.Sort, size_m: float, tone: float) -> None:
        """Puts up a piece of street furniture; `size_m` and `tone` as in `Furniture`."""
        self._furniture.append((float(point[0]), float(point[1]), int(sort), size_m, tone))

    def park(self, point: Float64Array, yaw_rad: float, on_road: bool) -> None:
        """Adds a place where a car may stand."""
        self._slots.append((point[0], point[1], yaw_rad, on_road))

    def buildings(self) -> Buildings:
        """Returns the buildings as arrays."""
        built = self._buildings
        return Buildings(
            np.array([b[0] for b in built]).reshape(-1, 4, 2),
            np.array([b[1] for b in built]),
            np.array([b[2] for b in built], dtype=np.uint8),
            np.array([b[3] for b in built], dtype=np.uint8),
            np.array([b[4] for b in built], dtype=bool),
        )

    def furniture(self) -> Furniture:
        """Returns the street furniture as arrays."""
        table = np.array(self._furniture, dtype=np.float64).reshape(-1, 5)
        return Furniture(table[:, :2], table[:, 2].astype(np.uint8), table[:, 3], table[:, 4])

    def slots(self) -> CarSlots:
        """Returns the places for cars as arrays."""
        table = np.array(self._slots, dtype=np.float64).reshape(-1, 4)
        return CarSlots(table[:, :2], table[:, 2], table[:, 3].astype(bool))
