"""Reads MBTiles files (specification 1.3): a map in one SQLite file."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geoflow_ros.errors import TileCorruptError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import MAX_ZOOM
from geoflow_ros.tiles.claims import FINEST_ZOOMS, Claims, Holding, settle
from geoflow_ros.tiles.raster import tile_format, tile_side
from geoflow_ros.tiles.source import check_tile_index
from geoflow_ros.tiles.sqlite_file import open_read_only

_log = logging.getLogger(__name__)
_SELECT_TILE = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
_ZOOMS = "SELECT DISTINCT zoom_level FROM tiles"
# The same by one look into an index for each zoom, instead of a walk through all of it.
_ZOOMS_BY_INDEX = """
    WITH RECURSIVE zooms(zoom) AS (
        SELECT MIN(zoom_level) FROM tiles
        UNION ALL SELECT (SELECT MIN(zoom_level) FROM tiles WHERE zoom_level > zoom) FROM zooms WHERE zoom IS NOT NULL
    ) SELECT zoom FROM zooms WHERE zoom IS NOT NULL
"""
_COLUMNS = """
    SELECT tile_column, MIN(tile_row), MAX(tile_row) FROM tiles WHERE zoom_level = :zoom GROUP BY tile_column
"""
# Likewise: three looks into the index for each column.
_COLUMNS_BY_INDEX = """
    WITH RECURSIVE columns(x) AS (
        SELECT MIN(tile_column) FROM tiles WHERE zoom_level = :zoom
        UNION ALL SELECT (SELECT MIN(tile_column) FROM tiles WHERE zoom_level = :zoom AND tile_column > x) FROM columns
        WHERE x IS NOT NULL
    ) SELECT x, (SELECT MIN(tile_row) FROM tiles WHERE zoom_level = :zoom AND tile_column = x),
        (SELECT MAX(tile_row) FROM tiles WHERE zoom_level = :zoom AND tile_column = x)
    FROM columns WHERE x IS NOT NULL
"""
_TRIED_TILES = 64  # until one can be decoded


class MBTilesSource:
    """A source that reads an MBTiles file.

    Zooms, bounds and how rows are numbered are those of its tiles, where its metadata do not say or are wrong; what was
    not believed is in `notes`, and logged once. Safe to use from several threads: one connection behind one lock (a
    tile takes some tens of microseconds).

    Attributes:
        path: the file.
        name, description: by its metadata.
        tile_format, tile_size: of the first tile that can be decoded.
        min_zoom, max_zoom, bounds: by its tiles and metadata.
        notes: what is odd about it, one line each.

    Raises:
        TileSourceUnavailableError: no such file, or it is not MBTiles of raster tiles, or cut short, or empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._db, notes = open_read_only(self.path)
        try:
            self._describe(notes)
        except sqlite3.Error as error:
            self._db.close()
            raise TileSourceUnavailableError(f"'{self.path}' is not an MBTiles file, or is damaged: {error}") from error
        except Exception:
            self._db.close()
            raise
        self.notes = tuple(notes)
        if notes:
            _log.warning("map '%s': %s", self.path, "; ".join(notes))

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`."""
        check_tile_index(zoom, x, y)
        row = 2**zoom - 1 - y if self._rows_from_south else y
        try:
            with self._lock:
                found = self._db.execute(_SELECT_TILE, (zoom, x, row)).fetchone()
        except sqlite3.Error as error:
            raise TileSourceUnavailableError(f"'{self.path}' cannot be read: {error}") from error
        label = f"tile {zoom}/{x}/{y} of '{self.path}'"
        if found is None:
            raise TileMissingError(f"{label} is missing")
        if not isinstance(found[0], bytes):
            raise TileCorruptError(f"{label} is not binary data")
        tile_format(found[0], label)
        return found[0]

    def tile_counts(self) -> dict[int, int]:
        """Counts the tiles of each zoom, coarsest first. Reads the file's whole index.

        Raises:
            TileSourceUnavailableError: the file is damaged.
        """
        rows = self._all("SELECT zoom_level, COUNT(*) FROM tiles GROUP BY zoom_level ORDER BY 1")
        return {int(zoom): int(count) for zoom, count in rows if zoom is not None}

    def some_places(self, zoom: int, most: int) -> list[tuple[int, int]]:
        """Lists (x, y) of tiles of a zoom, some by chance, always the same, where it has more than `most`.

        Raises:
            TileSourceUnavailableError: the file is damaged.
        """
        rows = self._all(f"SELECT tile_column, tile_row FROM tiles WHERE zoom_level = {int(zoom)}")
        picked = random.Random(0).sample(rows, min(most, len(rows)))
        last = 2**zoom - 1
        return [(int(column), last - int(row) if self._rows_from_south else int(row)) for column, row in picked]

    def metadata(self) -> dict[str, str]:
        """What the file says of itself, as it is written there.

        Raises:
            TileSourceUnavailableError: the file is damaged.
        """
        with self._lock:
            has_any = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'metadata'").fetchone()
        rows = self._all("SELECT name, value FROM metadata") if has_any else []
        return {str(name): str(value) for name, value in rows if value is not None}

    def close(self) -> None:
        """Closes the file; later reads fail."""
        with self._lock:
            self._db.close()

    def _all(self, question: str) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(question).fetchall()
        except sqlite3.Error as error:
            raise TileSourceUnavailableError(f"'{self.path}' cannot be read: {error}") from error

    def _describe(self, notes: list[str]) -> None:
        index_note = self._missing_index()
        zooms = sorted(
            int(zoom)
            for (zoom,) in self._db.execute(_ZOOMS if index_note else _ZOOMS_BY_INDEX)
            if isinstance(zoom, int) and 0 <= zoom <= MAX_ZOOM
        )
        if not zooms:
            raise TileSourceUnavailableError(f"'{self.path}' holds no tiles")
        said = self.metadata()
        if said.get("format") in ("pbf", "mvt"):
            raise TileSourceUnavailableError(f"'{self.path}' holds vector tiles; satellite imagery is needed")
        self.name = said.get("name") or self.path.stem
        self.description = said.get("description", "")
        if not said:
            notes.append("it has no metadata: all is taken from its tiles")
        self._look_at_tiles(zooms, notes)
        extent = settle(
            Claims.read(said),
            zooms,
            self._holdings(zooms, _COLUMNS if index_note else _COLUMNS_BY_INDEX),
            rows_from_south=True,
        )
        self.min_zoom, self.max_zoom, self.bounds = extent.min_zoom, extent.max_zoom, extent.bounds
        self._rows_from_south = extent.rows_from_south
        notes += [*extent.notes, *([index_note] if index_note else [])]

    def _look_at_tiles(self, zooms: list[int], notes: list[str]) -> None:
        """Takes format and size of the first tile that can be decoded, of the finest zoom that has one."""
        problem: Exception | None = None
        bad = 0
        for data in self._first_tiles(zooms):
            try:
                tile = bytes(data)
                self.tile_format = tile_format(tile, "its first tile")
                self.tile_size = tile_side(tile, "its first tile")
            except (TileCorruptError, TypeError) as error:
                problem, bad = problem or error, bad + 1
                continue
            if problem is not None:
                notes.append(f"{bad} of its first {bad + 1} tiles cannot be decoded ({problem})")
            return
        raise TileSourceUnavailableError(f"'{self.path}' holds no images: {problem}")

    def _first_tiles(self, zooms: list[int]) -> Iterator[Any]:
        for zoom in reversed(zooms):
            rows = self._db.execute(
                "SELECT tile_data FROM tiles WHERE zoom_level = ? LIMIT ?", (zoom, _TRIED_TILES)
            )  # one after the other: none is read that is not looked at
            for (data,) in rows:
                yield data

    def _holdings(self, zooms: list[int], question: str) -> list[Holding]:
        held = []
        for zoom in zooms[-FINEST_ZOOMS:]:
            columns = {
                column: (low, high)
                for column, low, high in self._db.execute(question, {"zoom": zoom})
                if all(isinstance(value, int) and 0 <= value < 2**zoom for value in (column, low, high))
            }
            if columns:
                held.append(Holding(zoom, columns))
        if not held:
            raise TileSourceUnavailableError(f"'{self.path}' holds tiles at no place of the web-mercator tiling")
        return held

    def _missing_index(self) -> str:
        """What to do where every tile would be looked for through the whole file; empty where there is an index."""
        plan = self._db.execute(f"EXPLAIN QUERY PLAN {_SELECT_TILE}", (0, 0, 0))
        scanned = [detail.split()[1] for *_, detail in plan if detail.startswith("SCAN ")]
        if not scanned:
            return ""
        names = {str(name) for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        table = next((name for name in scanned if name in names), "tiles")
        return (
            "it has no index, so that each tile takes a search through all of it; make one with sqlite3 "
            f"'{self.path}' 'CREATE UNIQUE INDEX tile_index ON {table} (zoom_level, tile_column, tile_row)'"
        )
