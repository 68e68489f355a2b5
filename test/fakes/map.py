"""A small satellite map of noise, and ways to damage it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import cv2
import numpy as np

from geoflow_ros.geo import Datum, GeoBounds, tile_at
from geoflow_ros.tiles import MBTilesWriter, TileFormat, encode_tile

DATUM = Datum(49.01, 8.40)
ZOOM = 17


def write_map(path: Path, datum: Datum = DATUM, half_side_m: float = 300.0, zoom: int = ZOOM) -> Path:
    """Writes MBTiles of noise around a datum and returns the file's path."""
    south, west = datum.to_latlon(-half_side_m, -half_side_m)
    north, east = datum.to_latlon(half_side_m, half_side_m)
    first, last = tile_at(north, west, zoom), tile_at(south, east, zoom)
    generator = np.random.default_rng(0)
    with MBTilesWriter(path, "noise", TileFormat.PNG, GeoBounds(west, south, east, north)) as writer:
        for x in range(first[0], last[0] + 1):
            for y in range(first[1], last[1] + 1):
                pixels = cv2.resize(generator.integers(0, 255, (32, 32, 3), np.uint8), (256, 256))
                writer.add(zoom, x, y, encode_tile(np.asarray(pixels, np.uint8), TileFormat.PNG))
    return path


def damage_map(path: Path, statement: str) -> None:
    """Does something to the tiles east of the datum's: SQL that begins a statement on the table `tiles`."""
    middle, _ = tile_at(DATUM.lat_deg, DATUM.lon_deg, ZOOM)
    with sqlite3.connect(path) as database:
        database.execute(f"{statement} WHERE tile_column > {middle}")
