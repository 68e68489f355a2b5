"""Several baked windows in one set of arrays, numpy's or torch's: what views and patches are read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoflow_ros.errors import WorldError
from geoflow_ros.world.arrays import Array, bilinear, cast, namespace
from geoflow_ros.world.cells import CELL_M
from geoflow_ros.world.parts import PART_COLUMNS
from geoflow_ros.world.raster import CityRaster

MIN_PARTS = 56  # rows of the table of upright parts; a view draws as many
FAR_AWAY_M = 1e6  # where the rows that are no parts stand
_DM = 0.1  # metres per decimetre


@dataclass(frozen=True)
class Windows:
    """Several baked windows of one size in one set of arrays: what a batch of views reads.

    Attributes:
        side: number of cells along a side.
        origin: (C, 2) ENU west and north, the upper left corners.
        map_pyramid: (C, side, 1.5 side, 3) uint8, as in `CityRaster`.
        street_pyramid: likewise.
        height_dm: (C * side * side,) uint8, the windows behind one another; so are the next three.
        material: (C * side * side,) uint8.
        map_label: (C * side * side,) uint8.
        street_label: (C * side * side,) uint8.
        parts: (C, P, PART_COLUMNS) float32, filled up with parts far away.
        walls: (C, MATERIALS, WALL_COLUMNS) float32.
        sky: (C, 2, 3) float32.
        haze_m: (C,) float32.
    """

    side: int
    origin: Array
    map_pyramid: Array
    street_pyramid: Array
    height_dm: Array
    material: Array
    map_label: Array
    street_label: Array
    parts: Array
    walls: Array
    sky: Array
    haze_m: Array

    @classmethod
    def stack(cls, rasters: Sequence[CityRaster]) -> Windows:
        """Joins windows; all must have the same size.

        Raises:
            WorldError: if the sizes differ.
        """
        sides = {r.side for r in rasters}
        if len(sides) != 1:
            raise WorldError(f"windows of one batch must have one size, got sides of {sorted(sides)} cells")
        most = max(MIN_PARTS, *(len(r.parts.table) for r in rasters))
        parts = np.zeros((len(rasters), most, PART_COLUMNS), np.float32)
        parts[:, :, :2] = FAR_AWAY_M
        for i, r in enumerate(rasters):
            parts[i, : len(r.parts.table)] = r.parts.table

        def join(name: str) -> Array:
            arrays = [getattr(r, name) for r in rasters]
            flat = [a[None] if name.endswith("pyramid") else a.reshape(-1) for a in arrays]
            return flat[0] if len(flat) == 1 else np.concatenate(flat)

        return cls(
            side=rasters[0].side,
            origin=np.array([[r.west_m, r.north_m] for r in rasters], np.float32),
            map_pyramid=join("map_pyramid"),
            street_pyramid=join("street_pyramid"),
            height_dm=join("height_dm"),
            material=join("material"),
            map_label=join("map_label"),
            street_label=join("street_label"),
            parts=parts,
            walls=np.stack([r.appearance.walls for r in rasters]),
            sky=np.stack([r.appearance.sky for r in rasters]),
            haze_m=np.array([r.appearance.haze_m for r in rasters], np.float32),
        )

    def cell_index(self, window: Array, x: Array, y: Array) -> Array:
        """Returns the flat index of the cell at metres from its window's upper left corner (x east, y south)."""
        xp = namespace(x)
        last = self.side - 1
        column = xp.clip(cast(x * (1 / CELL_M), "int64"), 0, last)
        row = xp.clip(cast(y * (1 / CELL_M), "int64"), 0, last)
        return (window * self.side + row) * self.side + column

    def height_m(self, window: Array, x: Array, y: Array) -> Array:
        """Returns the height above the ground, float32, at metres from the window's upper left corner."""
        return cast(self.height_dm[self.cell_index(window, x, y)], "float32") * _DM

    def colours(self, pyramid: Array, window: Array, x: Array, y: Array, level: Array) -> Array:
        """Samples one of the two pyramids.

        Args:
            pyramid: `map_pyramid` or `street_pyramid`.
            window: (n,) int64.
            x: (n,) metres east of the window's upper left corner.
            y: (n,) metres south of it.
            level: (n,) int64, each half the size of the last.

        Returns:
            (n, 3) float32 RGB.
        """
        xp = namespace(x)
        size = self.side >> level
        scale = cast(size, "float32") * (1.0 / (self.side * CELL_M))
        last = cast(size - 1, "float32")
        column = xp.minimum(xp.clip(x * scale - 0.5, 0.0, 1e9), last) + cast(level > 0, "float32") * self.side
        # levels 1, 2, 3 ... begin at rows 0, side / 2, 3 side / 4 ...
        row = xp.minimum(xp.clip(y * scale - 0.5, 0.0, 1e9), last) + cast(
            (level > 0) * (self.side - 2 * size), "float32"
        )
        return bilinear(pyramid, window, column, row)
