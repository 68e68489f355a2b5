"""Marks painted on the ground of a baked window, and where a picture shows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geoflow_ros.world.cells import CELL_M
from geoflow_ros.world.raster import CityRaster


def pose(east: float, north: float, yaw: float) -> tuple[np.ndarray, ...]:
    """One pose in the first window, as the renderer takes it."""
    return np.zeros(1, np.int64), *(np.array([v], np.float32) for v in (east, north, yaw))


def mark(raster: CityRaster, east: float, north: float, half_m: float = 0.5) -> CityRaster:
    """The same window, flat, with a magenta square painted on the street and in the photo at one place."""
    column, row = (east - raster.west_m) / CELL_M, (raster.north_m - north) / CELL_M
    reach = half_m / CELL_M
    copies = []
    for atlas in (raster.street_pyramid, raster.map_pyramid):
        atlas = atlas.copy()
        left, top, size = 0, 0, raster.side
        for level in range(6):
            scale = 0.5**level
            c0, c1 = (int(round((column + d) * scale)) for d in (-reach, reach))
            r0, r1 = (int(round((row + d) * scale)) for d in (-reach, reach))
            atlas[top + r0 : top + max(r1, r0 + 1), left + c0 : left + max(c1, c0 + 1)] = (255, 0, 255)
            left, top, size = raster.side, top + (size if level else 0), size // 2
        copies.append(atlas)
    empty = np.zeros_like(raster.height_dm)
    return replace(
        raster,
        street_pyramid=copies[0],
        map_pyramid=copies[1],
        height_dm=empty,
        material=empty,
        parts=type(raster.parts)(raster.parts.table[:0]),
    )


def magenta(image: np.ndarray) -> np.ndarray:
    """How magenta each pixel (..., 3) is, (...); 0 for all colours that worlds have."""
    rgb = image.astype(float)
    return np.asarray(np.clip(np.minimum(rgb[..., 0], rgb[..., 2]) - rgb[..., 1] - 60, 0, None))


def magenta_centre(image: np.ndarray) -> tuple[float, float]:
    """The (column, row) of the mark."""
    score = magenta(image)
    assert score.sum() > 0, "the mark is not in the picture"
    rows, columns = np.indices(score.shape)
    return float((columns * score).sum() / score.sum()), float((rows * score).sum() / score.sum())
