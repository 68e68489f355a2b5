"""Writes MBTiles files (specification 1.3)."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from pathlib import Path
from types import TracebackType

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError
from geoflow_ros.geo import GeoBounds
from geoflow_ros.tiles.raster import TileFormat, tile_format
from geoflow_ros.tiles.source import check_tile_index

_APPLICATION_ID = 0x4D504258  # "MPBX": what `file` knows MBTiles by


class MBTilesWriter:
    """Writes an MBTiles file that appears whole at `close`, or not at all.

    As a context manager it closes at the end, and leaves an earlier file of that name alone when the body raises. `add`
    may be called from several threads.

    Args:
        path: file to write; replaced if it is there.
        name: short name of the map, for people.
        tile_format: format of the tiles (`TileFormat` or its value, "png", "jpg" or "webp").
        bounds: what the map covers.
        min_zoom: coarsest zoom; default: that of the tiles added.
        max_zoom: finest zoom; default: that of the tiles added.
        description: a sentence about the map.
        attribution: whom to name beside the map.

    Raises:
        InputError: the folder is missing or not writable, or a value is not usable.
    """

    def __init__(
        self,
        path: str | Path,
        name: str,
        tile_format: TileFormat | str,
        bounds: GeoBounds,
        min_zoom: int | None = None,
        max_zoom: int | None = None,
        description: str = "",
        attribution: str = "",
    ) -> None:
        self.path = Path(path)
        try:
            self._format = TileFormat(tile_format)
        except ValueError as error:
            raise InputError(f"tile format must be png, jpg or webp, not '{tile_format}'") from error
        self._bounds = bounds
        self._zooms = (min_zoom, max_zoom)
        self._texts = {"name": name, "description": description, "attribution": attribution}
        self._lock = threading.Lock()
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        except OSError as error:
            raise InputError(f"'{self.path}' cannot be written: {error.strerror}") from error
        os.close(handle)
        self._temporary = Path(temporary)
        self._db = sqlite3.connect(temporary, check_same_thread=False, isolation_level=None)
        # Nothing to roll back to: a file that was not closed is thrown away.
        self._db.executescript(
            f"""
            PRAGMA journal_mode = OFF;
            PRAGMA synchronous = OFF;
            PRAGMA application_id = {_APPLICATION_ID};
            CREATE TABLE metadata (name TEXT, value TEXT);
            CREATE UNIQUE INDEX metadata_index ON metadata (name);
            CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB);
            CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row);
            BEGIN;
            """
        )

    def add(self, zoom: int, x: int, y: int, data: bytes) -> None:
        """Adds the encoded image of tile (zoom, x, y), y counted from the north.

        Raises:
            InputError: not an image of the writer's format, a tile that was added before, no such tile, or a full disk.
        """
        label = f"tile {zoom}/{x}/{y}"
        try:
            check_tile_index(zoom, x, y)
            found = tile_format(data, label)
        except (TileMissingError, TileCorruptError) as error:
            raise InputError(str(error)) from error
        if found is not self._format:
            raise InputError(f"{label} is a {found.value} image in a map of {self._format.value} tiles")
        try:
            with self._lock:
                self._db.execute("INSERT INTO tiles VALUES (?, ?, ?, ?)", (zoom, x, 2**zoom - 1 - y, data))
        except sqlite3.IntegrityError as error:
            raise InputError(f"{label} was added before") from error
        except sqlite3.Error as error:
            raise InputError(f"'{self.path}' cannot be written: {error}") from error

    def close(self) -> None:
        """Writes the metadata and puts the file in its place.

        Raises:
            InputError: no tile was added, or the file cannot be written.
        """
        try:
            with self._lock:
                self._write_metadata()
                self._db.execute("COMMIT")
                self._db.close()
            _flush(self._temporary)
            # mkstemp makes files private; a map is as readable as any other new file.
            umask = os.umask(0)
            os.umask(umask)
            self._temporary.chmod(0o666 & ~umask)
            os.replace(self._temporary, self.path)
        except (sqlite3.Error, OSError) as error:
            self.discard()
            raise InputError(f"'{self.path}' cannot be written: {error}") from error
        except InputError:
            self.discard()
            raise

    def discard(self) -> None:
        """Throws away what was written; an earlier file of that name stays."""
        self._db.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> MBTilesWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _write_metadata(self) -> None:
        lowest, highest = self._db.execute("SELECT MIN(zoom_level), MAX(zoom_level) FROM tiles").fetchone()
        if lowest is None:
            raise InputError(f"'{self.path}': a map needs at least one tile")
        min_zoom = lowest if self._zooms[0] is None else self._zooms[0]
        max_zoom = highest if self._zooms[1] is None else self._zooms[1]
        texts = {key: text for key, text in self._texts.items() if text}
        rows = {**texts, **mbtiles_metadata(self._format, self._bounds, min_zoom, max_zoom)}
        self._db.executemany("INSERT INTO metadata VALUES (?, ?)", rows.items())


def mbtiles_metadata(fmt: TileFormat, bounds: GeoBounds, min_zoom: int, max_zoom: int) -> dict[str, str]:
    """Returns what an MBTiles file says of the tiles in it (specification 1.3, section "Metadata")."""
    lat, lon = bounds.centre
    return {
        "format": fmt.value,
        "bounds": ",".join(f"{edge:.9f}" for edge in bounds.as_tuple()),
        "center": f"{lon:.9f},{lat:.9f},{max_zoom}",
        "minzoom": str(min_zoom),
        "maxzoom": str(max_zoom),
        "type": "baselayer",
        "version": "1",
    }


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
