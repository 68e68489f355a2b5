"""Tiles in a folder tree, as `gdal2tiles` and download tools write them."""

from __future__ import annotations

import logging
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import MAX_ZOOM
from geoflow_ros.tiles.claims import FINEST_ZOOMS, Claims, Holding, settle
from geoflow_ros.tiles.raster import tile_format, tile_side
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD, check_tile_index
from geoflow_ros.tiles.template import TileTemplate

_log = logging.getLogger(__name__)
_DESCRIPTION = "tilemapresource.xml"  # of gdal2tiles, and of TMS in general
_TRIED_TILES = 64


class FolderSource:
    """A source of tiles that are files under a path template such as `/maps/town/{z}/{x}/{y}.png`.

    Zooms and bounds are those of the files that are there. Rows that are numbered from the other side than the template
    says are recognised where a `tilemapresource.xml` lies beside the zooms, as gdal2tiles writes it.

    Args:
        template: path with {z}, {x} and {y} (or {-y}).

    Raises:
        InputError: a bad template.
        TileSourceUnavailableError: the folder is not there, or has no tiles in it.
    """

    def __init__(self, template: str) -> None:
        self._template = TileTemplate(template)
        parts = Path(self._template.text).parts
        depth = next(i for i, part in enumerate(parts) if "{" in part)
        self._root = Path(*parts[:depth])
        if parts[depth].lower() not in ("{z}", "{zoom}", "{level}"):
            raise InputError(f"tile template '{template}' must start its placeholders with a folder {{z}}")
        self._check_root()
        zooms = sorted(int(p.name) for p in self._root.iterdir() if p.is_dir() and _is_number(p.name, MAX_ZOOM))
        if not zooms:
            raise TileSourceUnavailableError(f"tile folder '{self._root}' holds no zoom folder (0, 1, 2 …)")
        self.name = self._root.name or str(self._root)
        self.notes: tuple[str, ...] = ()
        self.min_zoom, self.max_zoom = zooms[0], zooms[-1]
        self.bounds = WEB_MERCATOR_WORLD
        self.tile_size = 256
        self._turned = False
        self._look(parts[depth + 1 :], zooms)
        if self.notes:
            _log.warning("map '%s': %s", self._root, "; ".join(self.notes))

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`."""
        check_tile_index(zoom, x, y)
        row = 2**zoom - 1 - y if self._turned else y
        path = Path(self._template.fill(zoom, x, row))
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self._check_root()  # a drive that was unplugged is not a missing tile
            raise TileMissingError(f"there is no tile file '{path}'") from None
        except OSError as error:
            raise TileSourceUnavailableError(f"tile file '{path}' cannot be read: {error.strerror}") from error
        tile_format(data, f"tile file '{path}'")
        return data

    def close(self) -> None:
        """Does nothing: no file is held open."""

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise TileSourceUnavailableError(f"tile folder '{self._root}' is not there")

    def _look(self, below: tuple[str, ...], zooms: list[int]) -> None:
        """Takes zooms, bounds and tile size from the files, where they lie as {z}/{x}/{y} do."""
        is_plain = len(below) == 2 and below[0].lower() == "{x}"
        row_file = re.compile(re.sub(r"\\\{(?:\\-)?\w+\\\}", r"(\\d+)", re.escape(below[-1]))) if is_plain else None
        if row_file is None or row_file.groups != 1:
            return
        holdings = [_holding(self._root / str(zoom), zoom, row_file) for zoom in zooms[-FINEST_ZOOMS:]]
        held = [holding for holding in holdings if holding.columns]
        if not held:
            return
        from_south = "{-y}" in below[-1]
        extent = settle(_description(self._root / _DESCRIPTION), zooms, held, from_south)
        self.bounds, self.notes = extent.bounds, extent.notes
        self._turned = extent.rows_from_south != from_south
        for path in _some_files(self._root, held, row_file):
            try:
                self.tile_size = tile_side(path.read_bytes(), str(path))
                return
            except (TileCorruptError, OSError):
                continue


def _is_number(name: str, most: int) -> bool:
    return name.isdecimal() and int(name) <= most


def _holding(folder: Path, zoom: int, row_file: re.Pattern[str]) -> Holding:
    columns: dict[int, tuple[int, int]] = {}
    last = 2**zoom - 1
    for column in os.scandir(folder):
        if _is_number(column.name, last) and column.is_dir():
            rows = [int(match[1]) for match in map(row_file.fullmatch, os.listdir(column.path)) if match]
            if rows and max(rows) <= last:
                columns[int(column.name)] = (min(rows), max(rows))
    return Holding(zoom, columns)


def _some_files(root: Path, holdings: list[Holding], row_file: re.Pattern[str]) -> Iterator[Path]:
    tried = 0
    for holding in reversed(holdings):
        for column in holding.columns:
            for entry in os.scandir(root / str(holding.zoom) / str(column)):
                if row_file.fullmatch(entry.name):
                    tried += 1
                    yield Path(entry.path)
                    if tried == _TRIED_TILES:
                        return


def _description(path: Path) -> Claims:
    """What a TileMap document (OSGeo TMS 1.0) says: its bounds, which gdal2tiles gives in degrees, and its rows."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return Claims()
    boxes = list(root.iter("BoundingBox"))
    said = {"bounds": [boxes[0].get(key, "") for key in ("minx", "miny", "maxx", "maxy")]} if boxes else {}
    return Claims.read(said)
