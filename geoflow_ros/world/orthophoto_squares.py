"""Collections of orthophotos: squares of ground seen from above, north up, with their places, years and annotation.

A collection is a folder with an `index.json`, or any tile source that `geoflow_ros.tiles` opens, which is cut into
squares. Splits are made by city, never by file: the same place occurs in several years, and neighbours touch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import GeoFlowError, ImageError, InputError, TileError, TileMissingError
from geoflow_ros.geo import Datum, GeoBounds, PatchFrame, ground_resolution
from geoflow_ros.images import read_image
from geoflow_ros.tiles import WEB_MERCATOR_WORLD, SatelliteMap, TileSource, open_tile_source
from geoflow_ros.world.splits import Split

INDEX_NAME = "index.json"
EAST_PART = "east"
DEFAULT_HELD_OUT = ("santa_monica", "chico", EAST_PART)
"""Cities that training never sees; of a tile source its eastern part."""

_FINEST_M, _COARSEST_M = 0.1, 0.8  # ground resolutions at which roads are both narrow enough and still to be seen
_LEAST_SIDE_M = 90.0  # of a square, mirrored beyond its edges: about a patch
_TILE_SQUARE_M, _TILE_SQUARE_PX = 150.0, 300  # squares cut from tile sources
_LEAST_GROUND_SHARE = 0.99  # of such a square: nothing is learned from what has no imagery
_WEST_SHARE = 0.8  # of a tile source: training's part
_MOST_TILE_SQUARES = 20_000  # 21 km x 21 km; of larger sources every n-th row and column
_SET_ASIDE = 4  # every fourth place of the held-out cities is not for tests
_METRES_PER_DEGREE = 111_320.0  # of latitude; only to count squares


@dataclass(frozen=True)
class Building:
    """An annotated building: (k, 2) pixels (column, row) of its outline, and its height in metres."""

    outline_px: Float64Array
    height_m: float


@dataclass(frozen=True)
class Square:
    """One orthophoto with what is known of it; x is the column, y the row, integers being the centres of pixels.

    Attributes:
        name: for messages.
        rgb: (H, W, 3) uint8, north up.
        m_per_px: ground resolution.
        trees_px: (n, 2) of the tops of trees, or None where nobody marked them.
        crown_m: (n,) radii of their crowns, or None.
        buildings: or None.
    """

    name: str
    rgb: UInt8Array
    m_per_px: float
    trees_px: Float64Array | None = None
    crown_m: Float64Array | None = None
    buildings: tuple[Building, ...] | None = None


@dataclass(frozen=True)
class SquareEntry:
    """A square that can be read.

    Attributes:
        name: for messages.
        year: of the photo; 0 where it is not known.
        read: reads it; raises ImageError or TileError.
    """

    name: str
    year: int
    read: Callable[[], Square]


@dataclass(frozen=True)
class Place:
    """A piece of ground with its photos, one a year, in the order of the years."""

    name: str
    city: str
    photos: tuple[SquareEntry, ...]


@dataclass(frozen=True)
class Collection:
    """The places of a collection.

    Attributes:
        name: its path or address.
        places: in the order of their names.
        skipped: a line for every square that cannot be used.
        attribution: what whoever uses the pictures must say, or empty.
        licence: or empty.
    """

    name: str
    places: tuple[Place, ...]
    skipped: tuple[str, ...] = ()
    attribution: str = ""
    licence: str = ""

    @property
    def cities(self) -> tuple[str, ...]:
        """The names of all cities."""
        return tuple(sorted({place.city for place in self.places}))

    def places_of(self, split: Split, held_out: Iterable[str] = DEFAULT_HELD_OUT) -> tuple[Place, ...]:
        """Returns the places of a split.

        Training has the cities that are not held out. Tests have those that are, but for every fourth place, which is
        for validation and calibration.

        Raises:
            InputError: the split has none.
        """
        names = frozenset(held_out)
        if split is Split.TRAINING:
            found = tuple(place for place in self.places if place.city not in names)
        else:
            held = [place for place in self.places if place.city in names]
            aside = split is not Split.TEST
            found = tuple(place for i, place in enumerate(held) if (i % _SET_ASIDE == 0) == aside)
        if not found:
            raise InputError(
                f"{self.name} has no places for {split.name.lower()} with {', '.join(sorted(names)) or 'no city'} held "
                f"out; its cities are {', '.join(self.cities)}"
            )
        return found


@cache
def open_collection(path: str) -> Collection:
    """Opens a collection, once a process.

    Args:
        path: a folder with `index.json`, or a tile source (`FILE.mbtiles`, an address with {z}, {x} and {y}).

    Raises:
        InputError: it is neither, or no square of it can be used.
        TileSourceUnavailableError: the tile source cannot be opened.
    """
    folder = Path(path)
    if (folder / INDEX_NAME).is_file():
        collection = _from_index(folder)
    elif folder.is_dir():
        raise InputError(f"{path} has no {INDEX_NAME}; give a folder of squares with one, or a tile source")
    elif folder.suffix.lower() in (".tif", ".tiff"):
        raise InputError(f"{path}: GeoTIFF is not read; make tiles of it (gdal2tiles.py or gdal_translate -of MBTILES)")
    else:
        collection = _from_tiles(open_tile_source(path))
    if not collection.places:
        reason = f"; the first: {collection.skipped[0]}" if collection.skipped else ""
        raise InputError(f"{path} holds no orthophoto that can be used ({len(collection.skipped)} skipped{reason})")
    return collection


def _from_index(folder: Path) -> Collection:
    """Reads `index.json`: `squares` with file, m_per_px, city, and where there are such location, year, trees, ..."""
    try:
        index = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
        squares = index["squares"]
        if not isinstance(squares, list):
            raise TypeError("'squares' is not a list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / INDEX_NAME} cannot be read as an index of orthophotos: {error}") from None
    skipped: list[str] = []
    photos: dict[tuple[str, str], list[SquareEntry]] = {}
    for number, square in enumerate(squares):
        try:
            key, entry = _entry(folder, square)
        except (KeyError, TypeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            skipped.append(f"{INDEX_NAME}, square {number}: {what}")
        else:
            photos.setdefault(key, []).append(entry)
    places = [
        Place(name, city, tuple(sorted(entries, key=lambda entry: (entry.year, entry.name))))
        for (city, name), entries in sorted(photos.items())
    ]
    return Collection(
        str(folder), tuple(places), tuple(skipped), str(index.get("attribution", "")), str(index.get("licence", ""))
    )


def _entry(folder: Path, square: Mapping[str, Any]) -> tuple[tuple[str, str], SquareEntry]:
    """Returns city and location of a square of the index, and how it is read.

    Raises:
        KeyError: what every square must have is missing.
        TypeError: values of another kind.
        ValueError: values out of range, or no such file.
    """
    file, city = str(square["file"]), str(square["city"])
    resolution = float(square["m_per_px"])
    if not _FINEST_M <= resolution <= _COARSEST_M:
        raise ValueError(f"{file}: m_per_px is {resolution:g}; it must be in {_FINEST_M} to {_COARSEST_M}")
    if not (folder / file).is_file():
        raise ValueError(f"{file} does not exist")
    trees = _points(square["trees"]) if "trees" in square else None
    crowns = np.asarray(square["crown_m"], np.float64).reshape(-1) if "crown_m" in square else None
    if crowns is not None and (trees is None or len(crowns) != len(trees)):
        raise ValueError(f"{file}: crown_m has {len(crowns)} radii, which are not those of its trees")
    buildings = None
    if "buildings" in square:
        outlines = ((_points(b["polygon_px"]), float(b["height_m"])) for b in square["buildings"])
        buildings = tuple(Building(*outline) for outline in outlines)

    def read() -> Square:
        rgb = read_image(folder / file)
        if min(rgb.shape[:2]) * resolution < _LEAST_SIDE_M:
            raise ImageError(f"{folder / file} shows less than {_LEAST_SIDE_M:.0f} m of ground")
        return Square(file, rgb, resolution, trees, crowns, buildings)

    location = str(square.get("location", Path(file).stem))
    return (city, location), SquareEntry(file, int(square.get("year", 0)), read)


def _points(values: Any) -> Float64Array:
    return np.asarray(values, np.float64).reshape(-1, 2)


def _from_tiles(source: TileSource) -> Collection:
    """Cuts a tile source into squares; its east is one "city", all the rest another."""
    bounds = source.bounds
    if bounds == WEB_MERCATOR_WORLD:
        raise InputError(f"map '{source.name}' does not say where it has tiles; give an MBTiles file or TileJSON")
    finest_m = ground_resolution(bounds.centre[0], source.max_zoom, source.tile_size)
    if finest_m > _COARSEST_M:
        raise InputError(
            f"map '{source.name}' has {finest_m:.2f} m a pixel at its finest zoom; roads need {_COARSEST_M} m or less"
        )
    rows, columns = _grid_of(bounds)
    places = []
    for row in rows:
        for column in columns:
            east = (column - bounds.west_deg) / bounds.width_deg
            name = f"{row:.5f} {column:.5f}"
            entry = SquareEntry(name, 0, _tile_reader(source, name, row, column))
            places.append(Place(name, "west" if east < _WEST_SHARE else EAST_PART, (entry,)))
    return Collection(source.name, tuple(places))


def _grid_of(bounds: GeoBounds) -> tuple[list[float], list[float]]:
    """Returns latitudes and longitudes of the squares' centres."""
    latitude_step = _TILE_SQUARE_M / _METRES_PER_DEGREE
    longitude_step = latitude_step / float(np.cos(np.radians(bounds.centre[0])))
    count = (bounds.north_deg - bounds.south_deg) / latitude_step * bounds.width_deg / longitude_step
    thin = max(1.0, float(np.sqrt(count / _MOST_TILE_SQUARES)))

    def centres(low: float, high: float, step: float) -> list[float]:
        return [float(v) for v in np.arange(low + step / 2, high, step * thin)]

    return centres(bounds.south_deg, bounds.north_deg, latitude_step), centres(
        bounds.west_deg, bounds.east_deg, longitude_step
    )


def _tile_reader(source: TileSource, name: str, lat_deg: float, lon_deg: float) -> Callable[[], Square]:
    def read() -> Square:
        resolution = _TILE_SQUARE_M / _TILE_SQUARE_PX
        with SatelliteMap(source, Datum(lat_deg, lon_deg), cache_tiles=64) as satellite_map:
            patch = satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, _TILE_SQUARE_PX, resolution))
        if patch.ground_share < _LEAST_GROUND_SHARE:
            raise TileMissingError(f"only {100 * patch.ground_share:.0f} % of the square {name} shows ground")
        return Square(name, patch.pixels, resolution)

    return read


READING_ERRORS: tuple[type[GeoFlowError], ...] = (ImageError, TileError)
"""What reading a square may raise."""
