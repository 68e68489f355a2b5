"""Where the pixels of a patch lie among web-mercator pixels.

The exact chain is patch → ENU → latitude and longitude → mercator. It is smooth, so 25 samples of it and a polynomial
of second degree stand for it: over 100 m, the terms of third degree are below 1e-5 px. An affine map would not do
everywhere: at 80° latitude the mercator scale changes by 4e-5 within 50 m, and over some hundred metres that shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.errors import GeometryError
from geoflow_ros.geo import Datum, PatchFrame, latlon_to_pixel

MAX_FIT_ERROR_PX = 0.02
"""Largest distance between polynomial and exact chain, in mercator pixels."""

_SAMPLES = np.stack(np.meshgrid(np.linspace(-1.0, 1.0, 5), np.linspace(-1.0, 1.0, 5)), axis=-1).reshape(-1, 2)


def _terms(uv: Float64Array) -> Float64Array:
    """Evaluates the (..., 6) terms of a polynomial of second degree at (..., 2) patch coordinates."""
    u, v = uv[..., 0], uv[..., 1]
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)


_FIT = np.linalg.pinv(_terms(_SAMPLES))  # (6, 25)


@dataclass(frozen=True, eq=False)
class PatchWarp:
    """The mapping of patch pixels to the mercator pixels of one zoom.

    Attributes:
        size_px: pixels along one side of the patch.
        origin: whole mercator pixel near the patch's centre, to which `coefficients` are relative.
        coefficients: (6, 2) polynomial of (u, v), the patch pixel scaled to [-1, 1] between the patch's edges.
    """

    size_px: int
    origin: tuple[int, int]
    coefficients: Float64Array

    @classmethod
    def fit(cls, frame: PatchFrame, datum: Datum, zoom: int, tile_size: int) -> PatchWarp:
        """Fits the polynomial to the exact chain.

        Raises:
            GeometryError: the patch leaves the map frame or web mercator, or is so large that the fit is off by more
                than `MAX_FIT_ERROR_PX`.
        """
        half_px = frame.size_px / 2.0
        enu = frame.to_enu(_SAMPLES * half_px + (frame.size_px - 1) / 2.0)  # (25, 2)
        lat, lon = datum.to_latlon(enu[:, 0], enu[:, 1])
        middle = lon[len(lon) // 2]
        lon = middle + (lon - middle + 180.0) % 360.0 - 180.0  # in one piece across the antimeridian
        pixels = np.stack(latlon_to_pixel(lat, lon, zoom, tile_size), axis=-1)  # (25, 2)
        origin = np.floor(pixels[len(pixels) // 2])
        relative = pixels - origin
        coefficients = _FIT @ relative
        worst = float(np.hypot(*(_terms(_SAMPLES) @ coefficients - relative).T).max())
        if worst > MAX_FIT_ERROR_PX:
            raise GeometryError(
                f"a patch of {frame.extent_m / 1000.0:.1f} km is too large for one resampling (error {worst:.2f} px)"
            )
        return cls(frame.size_px, (int(origin[0]), int(origin[1])), coefficients)

    @property
    def mercator_pixels_per_pixel(self) -> float:
        """Number of mercator pixels along one patch pixel, at the centre."""
        (ux, uy), (vx, vy) = self.coefficients[1:3] / (self.size_px / 2.0)
        return math.sqrt(abs(ux * vy - uy * vx))

    def tiles(self, tile_size: int) -> list[tuple[int, int]]:
        """Lists (x, y) of the tiles that the patch touches, by rows. x is not wrapped at the antimeridian.

        Two convex shapes are apart if and only if an edge direction of one of them separates them: the tiles' edges do
        so by the range of rows and columns, the patch's edges in patch coordinates.
        """
        corners = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
        outline = _terms(corners) @ self.coefficients  # (4, 2) relative to origin
        # Bilinear sampling reads a neighbour up to half a pixel off; the rest covers the outline's bend.
        margin = 1.0
        low = np.floor((outline.min(axis=0) - margin + self.origin) / tile_size).astype(int)
        high = np.floor((outline.max(axis=0) + margin + self.origin) / tile_size).astype(int)
        columns, rows = np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1)
        left = columns * tile_size - self.origin[0] - margin
        top = rows * tile_size - self.origin[1] - margin
        side = tile_size + 2.0 * margin
        to_patch = np.linalg.inv(self.coefficients[1:3])  # mercator → (u, v) at the centre
        x, y = np.meshgrid(left, top)  # (rows, columns)
        rectangle = np.stack([np.stack([x + dx, y + dy], -1) for dx in (0.0, side) for dy in (0.0, side)])
        uv = (rectangle - self.coefficients[0]) @ to_patch  # (4, rows, columns, 2)
        touched = ((uv.max(axis=0) >= -1.0) & (uv.min(axis=0) <= 1.0)).all(axis=-1)
        return [(int(columns[i]), int(rows[j])) for j, i in np.argwhere(touched)]

    def sample_maps(self, mosaic_origin: tuple[int, int], samples: int) -> tuple[Float32Array, Float32Array]:
        """Computes where to sample a mosaic, `samples` by `samples` times in each patch pixel.

        Args:
            mosaic_origin: global mercator pixel (x, y) of the mosaic's first pixel.
            samples: samples along one side of a patch pixel, evenly spread.

        Returns:
            x and y in the mosaic, integers being the centres of pixels: two arrays, (size_px · samples) squared.
        """
        count = self.size_px * samples
        u = (np.arange(count) + 0.5) * (2.0 / count) - 1.0
        maps = []
        for axis in (0, 1):
            c1, cu, cv, cuu, cuv, cvv = self.coefficients[:, axis]
            c1 += self.origin[axis] - mosaic_origin[axis] - 0.5  # -0.5: continuous coordinate → pixel index
            across = (c1 + cu * u + cuu * u * u).astype(np.float32)
            down = (cv * u + cvv * u * u).astype(np.float32)
            grid = np.multiply.outer((cuv * u).astype(np.float32), u.astype(np.float32))
            grid += across[None, :]
            grid += down[:, None]
            maps.append(grid)
        return maps[0], maps[1]
