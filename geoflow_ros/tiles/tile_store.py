"""Tiles on disk that come one after the other: the cache of a server, and a map that is being fetched.

The file is an MBTiles file at any moment, for any reader. It is safe under several processes and power loss (SQLite's
write-ahead log): what was lost is the last tiles at most.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geoflow_ros.errors import InputError

_log = logging.getLogger(__name__)
_WAIT_S = 10.0  # for another process that writes
_EVICTED_AT_ONCE = 256
_USE_NOTED_S = 3600.0  # that a tile was used is written down once in so long
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS metadata (name TEXT PRIMARY KEY, value TEXT);
    CREATE TABLE IF NOT EXISTS tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB,
        PRIMARY KEY (zoom_level, tile_column, tile_row));
    CREATE TABLE IF NOT EXISTS visits (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, is_hole INTEGER,
        etag TEXT, fresh_until_s REAL, used_s REAL, PRIMARY KEY (zoom_level, tile_column, tile_row));
    CREATE INDEX IF NOT EXISTS visits_by_use ON visits (used_s);
"""
_AT = "zoom_level = ? AND tile_column = ? AND tile_row = ?"


@dataclass(frozen=True)
class StoredTile:
    """What is known of a tile.

    Attributes:
        data: its bytes; None where the server has none.
        etag: the server's mark of this version, or empty.
        is_fresh: whether it need not be asked for again.
    """

    data: bytes | None
    etag: str
    is_fresh: bool


class TileStore:
    """A file of tiles. Safe to use from several threads and processes.

    A file that is damaged is put aside, and begun anew.

    Args:
        path: the file; made where it is not there.
        max_bytes: what it may take of the disk, about; the tiles that were not used for longest are given up.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        self.path, self._max_bytes = path, max_bytes
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                aside = path.with_name(f"{path.name}.damaged")
                _log.warning("'%s' is damaged (%s): put aside as '%s', begun anew", path, error, aside.name)
                path.replace(aside)
                self._db = self._open()
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"'{path}' cannot be written: {error}") from error

    def get(self, zoom: int, x: int, y: int) -> StoredTile | None:
        """What is known of tile (zoom, x, y), y counted from the north; None where nothing is.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        at = (zoom, x, 2**zoom - 1 - y)
        with self._lock:
            row = self._db.execute(
                f"SELECT is_hole, etag, fresh_until_s, used_s, tile_data FROM visits LEFT JOIN tiles "
                f"USING (zoom_level, tile_column, tile_row) WHERE {_AT}",
                at,
            ).fetchone()
            if row is None:
                return None
            is_hole, etag, fresh_until_s, used_s, data = row
            now_s = time.time()
            if abs(now_s - used_s) > _USE_NOTED_S:
                with self._db:
                    self._db.execute(f"UPDATE visits SET used_s = ? WHERE {_AT}", (now_s, *at))
        if not is_hole and data is None:
            return None
        return StoredTile(data, etag, now_s < fresh_until_s)

    def put(self, zoom: int, x: int, y: int, data: bytes | None, etag: str = "", lifetime_s: float = 0.0) -> None:
        """Keeps a tile, or that the server has none; makes room for it first.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        at = (zoom, x, 2**zoom - 1 - y)
        now_s = time.time()
        with self._lock, self._db:
            self._make_room()
            if data is None:
                self._db.execute(f"DELETE FROM tiles WHERE {_AT}", at)
            else:
                self._db.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)", (*at, data))
            visit = (*at, data is None, etag, now_s + lifetime_s, now_s)
            self._db.execute("INSERT OR REPLACE INTO visits VALUES (?, ?, ?, ?, ?, ?, ?)", visit)

    def renew(self, zoom: int, x: int, y: int, lifetime_s: float) -> None:
        """Notes that a tile is still good.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        at = (zoom, x, 2**zoom - 1 - y)
        with self._lock, self._db:
            self._db.execute(f"UPDATE visits SET fresh_until_s = ? WHERE {_AT}", (time.time() + lifetime_s, *at))

    def holds(self, zoom: int, x: int, y: int) -> bool:
        """Tells whether the tile is there, or known to be nowhere."""
        at = (zoom, x, 2**zoom - 1 - y)
        with self._lock:
            for table in ("tiles", "visits"):
                if self._db.execute(f"SELECT 1 FROM {table} WHERE {_AT}", at).fetchone():
                    return True
        return False

    def any_tile(self) -> bytes:
        """The bytes of one of its tiles; empty where it has none."""
        with self._lock:
            row = self._db.execute("SELECT tile_data FROM tiles LIMIT 1").fetchone()
        return b"" if row is None else bytes(row[0])

    def zooms(self) -> set[int]:
        """The zooms of which it has tiles."""
        with self._lock:
            return {int(zoom) for (zoom,) in self._db.execute("SELECT DISTINCT zoom_level FROM tiles")}

    def describe(self, values: Mapping[str, str]) -> None:
        """Writes metadata.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        with self._lock, self._db:
            self._db.executemany("INSERT OR REPLACE INTO metadata VALUES (?, ?)", values.items())

    def description(self) -> dict[str, str]:
        """The metadata."""
        with self._lock:
            return {str(name): str(value) for name, value in self._db.execute("SELECT name, value FROM metadata")}

    def finish(self) -> None:
        """Makes it one plain file, without what only a cache needs."""
        with self._lock:
            with self._db:
                self._db.executescript("DROP INDEX IF EXISTS visits_by_use; DROP TABLE IF EXISTS visits;")
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.close()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=_WAIT_S, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA journal_size_limit = 8388608")
            with db:
                db.executescript(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _make_room(self) -> None:
        while self._max_bytes is not None and self._used_bytes() > self._max_bytes:
            old = self._db.execute(
                "SELECT zoom_level, tile_column, tile_row FROM visits ORDER BY used_s LIMIT ?", (_EVICTED_AT_ONCE,)
            ).fetchall()
            for table in ("tiles", "visits") if old else ():
                self._db.executemany(f"DELETE FROM {table} WHERE {_AT}", old)
            if not old:
                return

    def _used_bytes(self) -> int:
        """Pages in use, of all processes; pages that were given up are used again before the file grows."""
        pages, free, size = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size
