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
from geoflow_ros.tiles.source import check_tile_index
from geoflow_ros.tiles.template import TileTemplate, placeholder_meaning

_log = logging.getLogger(__name__)
_DESCRIPTION = "tilemapresource.xml"  # of gdal2tiles, and of TMS in general
_TRIED_TILES = 64
_USUAL_SIDE = 256


class FolderSource:
    """A source of tiles that are files under a path template such as `/maps/town/{z}/{x}/{y}.png`.

    The placeholders may stand anywhere, as in `{z}_{x}_{y}.png`. Zooms and bounds are those of the files that are
    there, all of which are listed once. Rows that are numbered from the other side than the template says are
    recognised where a `tilemapresource.xml` lies beside the zooms, as gdal2tiles writes it.

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
        names = [_part_pattern(part, template) for part in parts[depth:]]
        self._check_root()
        columns, some = _listed(self._root, names)
        if not columns:
            raise TileSourceUnavailableError(
                f"tile folder '{self._root}' holds no files like '{'/'.join(parts[depth:])}' (z, x and y are numbers)"
            )
        self.name = self._root.name or str(self._root)
        from_south = "{-y}" in self._template.text
        holdings = [Holding(zoom, columns[zoom]) for zoom in sorted(columns)[-FINEST_ZOOMS:]]
        extent = settle(_description(self._root / _DESCRIPTION), columns, holdings, from_south)
        self.min_zoom, self.max_zoom, self.bounds = extent.min_zoom, extent.max_zoom, extent.bounds
        self._turned = extent.rows_from_south != from_south
        self.tile_size = _first_side(some)
        self.notes = extent.notes
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


def _part_pattern(part: str, template: str) -> re.Pattern[str]:
    """What a folder or file is called for which a part of the template stands."""

    def number(match: re.Match[str]) -> str:
        meaning = placeholder_meaning(match[1])
        if meaning.lstrip("-") not in ("z", "x", "y"):
            raise InputError(f"tile template '{template}' of files has {{{match[1]}}}; use {{z}}, {{x}} and {{y}}")
        return f"(?P<{meaning.lstrip('-')}>[0-9]+)"

    pieces = re.split(r"(\{[^{}]*\})", part)
    return re.compile("".join(re.sub(r"^\{(.*)\}$", number, p) if p.startswith("{") else re.escape(p) for p in pieces))


def _listed(root: Path, names: list[re.Pattern[str]]) -> tuple[dict[int, dict[int, tuple[int, int]]], list[Path]]:
    """Lowest and highest row of the columns of each zoom, numbered as the files are; and some files of each zoom."""
    columns: dict[int, dict[int, tuple[int, int]]] = {}
    some: dict[int, list[Path]] = {}
    for path, place in _walk(root, names, {}):
        zoom, x, row = place["z"], place["x"], place["y"]
        if zoom <= MAX_ZOOM and max(x, row) < 2**zoom:
            low, high = columns.setdefault(zoom, {}).get(x, (row, row))
            columns[zoom][x] = (min(low, row), max(high, row))
            if len(some.setdefault(zoom, [])) < _TRIED_TILES:
                some[zoom].append(path)
    return columns, [path for zoom in sorted(some, reverse=True) for path in some[zoom]]


def _walk(folder: Path, names: list[re.Pattern[str]], so_far: dict[str, int]) -> Iterator[tuple[Path, dict[str, int]]]:
    for entry in os.scandir(folder):
        match = names[0].fullmatch(entry.name)
        if match is None:
            continue
        place = {**so_far, **{key: int(value) for key, value in match.groupdict().items()}}
        if len(names) == 1:
            yield Path(entry.path), place
        elif entry.is_dir():
            yield from _walk(Path(entry.path), names[1:], place)


def _first_side(paths: list[Path]) -> int:
    """Pixels along one side of the first tile that can be decoded."""
    for path in paths[:_TRIED_TILES]:
        try:
            return tile_side(path.read_bytes(), str(path))
        except (TileCorruptError, OSError):
            continue
    return _USUAL_SIDE


def _description(path: Path) -> Claims:
    """What a TileMap document (OSGeo TMS 1.0) says: its bounds, which gdal2tiles gives in degrees, and its rows."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return Claims()
    boxes = list(root.iter("BoundingBox"))
    said = {"bounds": [boxes[0].get(key, "") for key in ("minx", "miny", "maxx", "maxy")]} if boxes else {}
    return Claims.read(said)
