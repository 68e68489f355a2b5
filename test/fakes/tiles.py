"""Tile sources and maps for tests: a source in memory, grey maps, and maps painted from a formula.

The formulas of EPSG:3857 and WGS84 are written out here, so that the package's own are tested against others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from geoflow_ros.arrays import BoolArray, Float64Array, UInt8Array
from geoflow_ros.errors import TileError
from geoflow_ros.geo import Datum, GeoBounds, tile_at
from geoflow_ros.tiles import WEB_MERCATOR_WORLD, MBTilesWriter, TileFormat, encode_tile

Painter = Callable[[Float64Array, Float64Array], Float64Array]
GREY = encode_tile(np.full((256, 256, 3), 90, np.uint8), TileFormat.PNG)
"""A tile of 256 x 256 px, all of grey level 90."""


def mercator(lat_deg: Float64Array, lon_deg: Float64Array, zoom: int) -> Float64Array:
    """(..., 2) global pixels by the log-tan formula of EPSG:3857."""
    x = (lon_deg + 180.0) / 360.0
    y = 0.5 - np.log(np.tan(np.pi / 4 + np.radians(lat_deg) / 2)) / (2 * np.pi)
    return np.stack([x, y], axis=-1) * 256 * 2**zoom


def enu(datum: Datum, lat_deg: Float64Array, lon_deg: Float64Array) -> Float64Array:
    """(..., 2) east and north by the ECEF formulas."""

    def ecef(lat: Float64Array, lon: Float64Array) -> Float64Array:
        e2 = 0.0066943799901413165
        n = 6378137.0 / np.sqrt(1.0 - e2 * np.sin(lat) ** 2)
        parts = [n * np.cos(lat) * np.cos(lon), n * np.cos(lat) * np.sin(lon), n * (1.0 - e2) * np.sin(lat)]
        return np.stack(parts, axis=-1)

    phi, lam = np.radians(datum.lat_deg), np.radians(datum.lon_deg)
    difference = ecef(np.radians(lat_deg), np.radians(lon_deg)) - ecef(phi, lam)
    east = np.array([-np.sin(lam), np.cos(lam), 0.0])
    north = np.array([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    return np.stack([difference @ east, difference @ north], axis=-1)


def paint_map(
    path: Path, datum: Datum, zoom: int, painter: Painter, radius_tiles: int = 2, fmt: TileFormat = TileFormat.PNG
) -> None:
    """MBTiles of the tiles around the datum; `painter(px, py)` gives the grey value at global pixel coordinates."""
    x0, y0 = tile_at(datum.lat_deg, datum.lon_deg, zoom)
    with MBTilesWriter(path, "painted", fmt, WEB_MERCATOR_WORLD) as writer:
        for x in range(x0 - radius_tiles, x0 + radius_tiles + 1):
            for y in range(y0 - radius_tiles, y0 + radius_tiles + 1):
                px, py = np.meshgrid(x * 256 + np.arange(256) + 0.5, y * 256 + np.arange(256) + 0.5)
                grey = np.clip(np.round(painter(px, py)), 0, 255).astype(np.uint8)
                writer.add(zoom, x % 2**zoom, y, encode_tile(np.repeat(grey[..., None], 3, axis=-1), fmt))


class MemorySource:
    """A source that answers every tile with the same bytes, and notes who asked."""

    name = "memory"
    tile_size = 256
    min_zoom, max_zoom = 15, 22
    bounds = WEB_MERCATOR_WORLD

    def __init__(
        self, data: bytes, failing: dict[tuple[int, int, int], TileError] | None = None, wait_s: float = 0.0
    ) -> None:
        self.data, self.wait_s = data, wait_s
        self.failing = failing or {}
        self.reads: list[tuple[int, int, int]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def read(self, zoom: int, x: int, y: int) -> bytes:
        with self.lock:
            self.reads.append((zoom, x, y))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.wait_s)
        with self.lock:
            self.at_once -= 1
        if (zoom, x, y) in self.failing:
            raise self.failing[zoom, x, y]
        return self.data

    def close(self) -> None:
        """Nothing to close."""


def ground(x: int, y: int, size: int = 256) -> UInt8Array:
    """(size, size, 3) of a tile that looks like ground: soft noise, other at every place, neither black nor white."""
    cells = np.random.default_rng([x, y]).integers(40, 220, (32, 32, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(cells, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


class PlaceSource(MemorySource):
    """A source whose tiles depend on their place: `tile(x, y)` gives pixels (RGB or RGBA), or encoded bytes."""

    def __init__(self, tile: Callable[[int, int], UInt8Array | bytes] = ground, fmt: str = "png") -> None:
        super().__init__(b"")
        self.tile, self.fmt = tile, fmt

    def read(self, zoom: int, x: int, y: int) -> bytes:
        super().read(zoom, x, y)
        return encoded(self.tile(x, y), self.fmt)


def encoded(tile: UInt8Array | bytes, fmt: str = "png") -> bytes:
    """A tile (N, N, 3) or, with alpha, (N, N, 4) as a file; bytes are one already."""
    if isinstance(tile, bytes):
        return tile
    code = cv2.COLOR_RGBA2BGRA if tile.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return bytes(cv2.imencode(f".{fmt}", cv2.cvtColor(tile, code))[1].tobytes())


def with_alpha(tile: UInt8Array, is_hole: BoolArray) -> UInt8Array:
    """RGBA of a tile with holes as GDAL makes them: black and transparent."""
    pixels = np.dstack([tile, np.full(tile.shape[:2], 255, np.uint8)])
    pixels[is_hole] = 0
    return pixels


def write_grey_map(path: Path, zooms: tuple[int, ...] = (18, 19)) -> None:
    with MBTilesWriter(path, "grey", "png", GeoBounds(8.39, 48.99, 8.41, 49.01), description="all grey") as writer:
        for zoom in zooms:
            x0, y0 = tile_at(49.0, 8.4, zoom)
            for x in range(x0 - 3, x0 + 4):
                for y in range(y0 - 3, y0 + 4):
                    writer.add(zoom, x, y, GREY)
