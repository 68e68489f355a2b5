"""Opens the SQLite files of others for reading: whole ones, also on media that cannot be written."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from geoflow_ros.errors import TileSourceUnavailableError

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_LARGEST_PAGE_BYTES = 65536  # the header's 16 bits cannot hold it: it is written as 1
_WRITE_AHEAD = 2  # the header's file format versions of a file in WAL mode


def open_read_only(path: Path) -> tuple[sqlite3.Connection, list[str]]:
    """Opens a file for reading, from any thread (one at a time), and notes what is special about that.

    A file in WAL mode needs a second file beside it even to be read. Where none can be made, on a read-only medium, it
    is opened as one that nobody changes.

    Raises:
        TileSourceUnavailableError: not there, no SQLite, or cut short.
    """
    is_write_ahead = _check_file(path)
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        db = _connect(address)
    except sqlite3.Error as error:
        if not is_write_ahead:
            raise TileSourceUnavailableError(f"'{path}' cannot be opened: {error}") from error
    else:
        return db, []
    try:
        db = _connect(f"{address}&immutable=1")
    except sqlite3.Error as error:
        raise TileSourceUnavailableError(f"'{path}' cannot be opened: {error}") from error
    log = path.with_name(f"{path.name}-wal")
    if not (log.is_file() and log.stat().st_size):
        return db, []
    return db, [
        f"it has changes in '{log.name}' that cannot be read on a read-only medium; where it can be written, run "
        f"sqlite3 '{path.name}' 'PRAGMA journal_mode = DELETE'"
    ]


def _connect(address: str) -> sqlite3.Connection:
    db = sqlite3.connect(address, uri=True, check_same_thread=False, timeout=5.0)
    try:
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # opening alone reads nothing
    except sqlite3.Error:
        db.close()
        raise
    return db


def _check_file(path: Path) -> bool:
    """Refuses files that SQLite would fail on later, without naming the cause; tells whether it is in WAL mode."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        raise TileSourceUnavailableError(f"map file '{path}' is not there") from None
    except OSError as error:
        raise TileSourceUnavailableError(f"map file '{path}' cannot be read: {error.strerror}") from error
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise TileSourceUnavailableError(f"'{path}' is not an MBTiles file (no SQLite header)")
    # SQLite file format, section 1.3: page size at 16 (1 means 65536), pages at 28, valid if 24 equals 92.
    page_size = int.from_bytes(header[16:18], "big")
    expected = (_LARGEST_PAGE_BYTES if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big")
    is_write_ahead = _WRITE_AHEAD in header[18:20]
    # In WAL mode the last pages may still be in the log.
    if header[24:28] == header[92:96] and size < expected and not is_write_ahead:
        raise TileSourceUnavailableError(f"'{path}' is cut short: {size} of {expected} bytes; copy it again")
    return is_write_ahead
