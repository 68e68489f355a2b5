"""Web-mercator pixels (EPSG:3857 in the tiling of slippy maps).

A *global pixel coordinate* is continuous: at zoom z the world is `tile_size · 2^z` wide, (0, 0) is its north-west
corner, x grows east, y grows **south**. Tile (z, x, y) covers [x, x+1) · tile_size by [y, y+1) · tile_size, and the
centre of its pixel (column i, row j) is at (x · tile_size + i + 0.5, y · tile_size + j + 0.5).
"""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import GeometryError
from geoflow_ros.geo.bounds import GeoBounds

MAX_LATITUDE_DEG = float(np.degrees(np.arctan(np.sinh(np.pi))))
"""Latitude at which the square web-mercator world ends: 85.0511 degrees."""

MAX_ZOOM = 30
"""Finest zoom that this package takes (0.1 mm a pixel): a larger number is a mistake."""

EQUATOR_M = 2.0 * np.pi * 6_378_137.0
"""Length of the WGS84 equator."""

# Rounding may take a place at the edge of the world a little beyond it.
_LATITUDE_SLACK_DEG = 1e-9
_ROW_SLACK_PX = 1e-6


@overload
def latlon_to_pixel(lat_deg: float, lon_deg: float, zoom: int, tile_size: int = 256) -> tuple[float, float]: ...
@overload
def latlon_to_pixel(
    lat_deg: ArrayLike, lon_deg: ArrayLike, zoom: int, tile_size: int = 256
) -> tuple[Float64Array, Float64Array]: ...


def latlon_to_pixel(
    lat_deg: ArrayLike, lon_deg: ArrayLike, zoom: int, tile_size: int = 256
) -> tuple[ArrayLike, ArrayLike]:
    """Converts places in degrees to global pixel coordinates (px, py).

    Longitudes beyond ±180 are taken as they are (px then lies outside the world), so that a region across the
    antimeridian can stay in one piece.

    Raises:
        GeometryError: latitude beyond ±85.0511°, where web mercator ends; a coordinate that is not finite; a bad zoom.
    """
    world_px = _world_px(zoom, tile_size)
    lat, lon = np.asarray(lat_deg, float), np.asarray(lon_deg, float)
    if not (np.abs(lat) <= MAX_LATITUDE_DEG + _LATITUDE_SLACK_DEG).all():  # written so that NaN fails too
        raise GeometryError(f"web mercator ends at ±{MAX_LATITUDE_DEG:.4f}° latitude; there are no tiles beyond it")
    if not np.isfinite(lon).all():
        raise GeometryError("longitude must be finite degrees")
    px = (lon / 360.0 + 0.5) * world_px
    py = (0.5 - np.arctanh(np.sin(np.radians(lat))) / (2.0 * np.pi)) * world_px
    return (px, py) if lat.ndim or lon.ndim else (float(px), float(py))


@overload
def pixel_to_latlon(px: float, py: float, zoom: int, tile_size: int = 256) -> tuple[float, float]: ...
@overload
def pixel_to_latlon(
    px: ArrayLike, py: ArrayLike, zoom: int, tile_size: int = 256
) -> tuple[Float64Array, Float64Array]: ...


def pixel_to_latlon(px: ArrayLike, py: ArrayLike, zoom: int, tile_size: int = 256) -> tuple[ArrayLike, ArrayLike]:
    """Converts global pixel coordinates to places (lat_deg, lon_deg).

    Raises:
        GeometryError: a bad zoom, or a row outside the world.
    """
    world_px = _world_px(zoom, tile_size)
    x, y = np.asarray(px, float), np.asarray(py, float)
    if not ((y >= -_ROW_SLACK_PX) & (y <= world_px + _ROW_SLACK_PX)).all():
        raise GeometryError(f"pixel row outside the web-mercator world of zoom {zoom} (0 to {world_px:.0f})")
    lon = (x / world_px - 0.5) * 360.0
    lat = np.degrees(np.arctan(np.sinh((0.5 - y / world_px) * 2.0 * np.pi)))
    return (lat, lon) if x.ndim or y.ndim else (float(lat), float(lon))


def ground_resolution(lat_deg: float, zoom: int, tile_size: int = 256) -> float:
    """Returns the metres of ground in one pixel, on the sphere of the equator's radius.

    Nominal: on the ellipsoid, pixels differ from this by up to 0.7 %, and not alike to the north and to the east. Good
    for choosing a zoom; pixels are placed with `latlon_to_pixel`.

    Raises:
        GeometryError: latitude beyond ±85.0511°, where web mercator ends; a bad zoom.
    """
    if not abs(lat_deg) <= MAX_LATITUDE_DEG + _LATITUDE_SLACK_DEG:
        raise GeometryError(f"web mercator ends at ±{MAX_LATITUDE_DEG:.4f}° latitude; there are no tiles beyond it")
    return float(EQUATOR_M * np.cos(np.radians(lat_deg)) / _world_px(zoom, tile_size))


def tile_at(lat_deg: float, lon_deg: float, zoom: int) -> tuple[int, int]:
    """Returns (x, y) of the tile that holds a place; the world's east and south edges belong to the last tile."""
    px, py = latlon_to_pixel(lat_deg, lon_deg, zoom, 1)
    last = 2**zoom - 1
    return min(max(int(px), 0), last), min(max(int(py), 0), last)


def tile_bounds(zoom: int, x: int, y: int) -> GeoBounds:
    """Returns the bounds of tile (zoom, x, y), y counted from the north.

    Raises:
        GeometryError: no such tile.
    """
    if not (0 <= zoom <= MAX_ZOOM and 0 <= x < 2**zoom and 0 <= y < 2**zoom):
        raise GeometryError(f"there is no tile {zoom}/{x}/{y}")
    north, west = pixel_to_latlon(float(x), float(y), zoom, 1)
    south, east = pixel_to_latlon(float(x + 1), float(y + 1), zoom, 1)
    return GeoBounds(west, south, east, north)


def _world_px(zoom: int, tile_size: int) -> float:
    if not 0 <= zoom <= MAX_ZOOM:
        raise GeometryError(f"zoom must be within 0 to {MAX_ZOOM}, not {zoom}")
    if tile_size < 1:
        raise GeometryError(f"tile size must be at least 1 px, not {tile_size}")
    return float(tile_size * 2**zoom)
