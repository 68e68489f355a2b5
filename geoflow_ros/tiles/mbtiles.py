"""MBTiles files (specification 1.3): a map in one SQLite file."""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from geoflow_ros.errors import (
    GeometryError,
    InputError,
    TileCorruptError,
    TileMissingError,
    TileSourceUnavailableError,
)
from geoflow_ros.geo import GeoBounds, tile_bounds
from geoflow_ros.tiles.raster import TileFormat, tile_format, tile_side
from geoflow_ros.tiles.source import check_tile_index

_SQLITE_MAGIC = b"SQLite format 3\0"
_APPLICATION_ID = 0x4D504258  # "MPBX": what `file` knows MBTiles by
_SQLITE_HEADER_BYTES = 100
_LARGEST_PAGE_BYTES = 65536  # the header's 16 bits cannot hold it: it is written as 1
_SELECT_TILE = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"


class MBTilesSource:
    """A source that reads an MBTiles file. Rows are TMS in the file, counted from the north here.

    Safe to use from several threads: one connection behind one lock (a tile takes some tens of microseconds).
    Zooms and bounds come from the metadata, and from the tiles where the metadata does not say.

    Raises:
        TileSourceUnavailableError: no such file, or it is not MBTiles of raster tiles, or cut short, or empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        _check_file(self.path)
        try:
            self._db = sqlite3.connect(
                f"file:{quote(str(self.path.absolute()))}?mode=ro", uri=True, check_same_thread=False, timeout=5.0
            )
        except sqlite3.Error as error:
            raise TileSourceUnavailableError(f"'{self.path}' cannot be opened: {error}") from error
        try:
            self._read_description()
        except sqlite3.Error as error:
            self._db.close()
            raise TileSourceUnavailableError(f"'{self.path}' is not an MBTiles file, or is damaged: {error}") from error
        except Exception:
            self._db.close()
            raise

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`."""
        check_tile_index(zoom, x, y)
        try:
            with self._lock:
                row = self._db.execute(_SELECT_TILE, (zoom, x, 2**zoom - 1 - y)).fetchone()
        except sqlite3.Error as error:
            raise TileSourceUnavailableError(f"'{self.path}' cannot be read: {error}") from error
        label = f"tile {zoom}/{x}/{y} of '{self.path}'"
        if row is None:
            raise TileMissingError(f"{label} is missing")
        if not isinstance(row[0], bytes):
            raise TileCorruptError(f"{label} is not binary data")
        tile_format(row[0], label)
        return row[0]

    def tile_counts(self) -> dict[int, int]:
        """Counts the tiles of each zoom, coarsest first. Reads the file's whole index.

        Raises:
            TileSourceUnavailableError: the file is damaged.
        """
        try:
            with self._lock:
                rows = self._db.execute(
                    "SELECT zoom_level, COUNT(*) FROM tiles GROUP BY zoom_level ORDER BY 1"
                ).fetchall()
        except sqlite3.Error as error:
            raise TileSourceUnavailableError(f"'{self.path}' cannot be read: {error}") from error
        return {int(zoom): int(count) for zoom, count in rows}

    def some_places(self, zoom: int, most: int) -> list[tuple[int, int]]:
        """Lists (x, y) of tiles of a zoom, some by chance, always the same, where it has more than `most`.

        Raises:
            TileSourceUnavailableError: the file is damaged.
        """
        try:
            with self._lock:
                rows = self._db.execute(
                    "SELECT tile_column, tile_row FROM tiles WHERE zoom_level = ?", (zoom,)
                ).fetchall()
        except sqlite3.Error as error:
            raise TileSourceUnavailableError(f"'{self.path}' cannot be read: {error}") from error
        picked = random.Random(0).sample(rows, min(most, len(rows)))
        return [(int(column), 2**zoom - 1 - int(row)) for column, row in picked]

    def close(self) -> None:
        """Closes the file; later reads fail."""
        with self._lock:
            self._db.close()

    def _read_description(self) -> None:
        metadata = {str(k): str(v) for k, v in self._db.execute("SELECT name, value FROM metadata")}
        first = self._db.execute("SELECT zoom_level, tile_data FROM tiles LIMIT 1").fetchone()
        if first is None:
            raise TileSourceUnavailableError(f"'{self.path}' holds no tiles")
        if metadata.get("format") in ("pbf", "mvt"):
            raise TileSourceUnavailableError(f"'{self.path}' holds vector tiles; satellite imagery is needed")
        try:
            tile = bytes(first[1])
            self.tile_format = tile_format(tile, "its first tile")
            self.tile_size = tile_side(tile, "its first tile")
        except (TileCorruptError, TypeError) as error:
            raise TileSourceUnavailableError(f"'{self.path}' holds no images: {error}") from error
        self.name = metadata.get("name") or self.path.stem
        self.description = metadata.get("description", "")
        try:
            self.min_zoom, self.max_zoom = self._zooms(metadata)
            self.bounds = self._bounds(metadata)
        except (ValueError, TypeError, GeometryError) as error:
            raise TileSourceUnavailableError(f"'{self.path}' has metadata that cannot be used: {error}") from error

    def _zooms(self, metadata: dict[str, str]) -> tuple[int, int]:
        if "minzoom" in metadata and "maxzoom" in metadata:
            return int(metadata["minzoom"]), int(metadata["maxzoom"])
        lowest, highest = self._db.execute("SELECT MIN(zoom_level), MAX(zoom_level) FROM tiles").fetchone()
        return int(lowest), int(highest)

    def _bounds(self, metadata: dict[str, str]) -> GeoBounds:
        if "bounds" in metadata:
            west, south, east, north = map(float, metadata["bounds"].split(","))
            return GeoBounds(west, south, east, north)
        west_x, east_x, south_row, north_row = self._db.execute(
            "SELECT MIN(tile_column), MAX(tile_column), MIN(tile_row), MAX(tile_row) FROM tiles WHERE zoom_level = ?",
            (self.max_zoom,),
        ).fetchone()
        last = 2**self.max_zoom - 1
        north_west = tile_bounds(self.max_zoom, west_x, last - north_row)
        south_east = tile_bounds(self.max_zoom, east_x, last - south_row)
        return GeoBounds(north_west.west_deg, south_east.south_deg, south_east.east_deg, north_west.north_deg)


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
        lat, lon = self._bounds.centre
        rows = {
            **{key: text for key, text in self._texts.items() if text},
            "format": self._format.value,
            "bounds": ",".join(f"{edge:.9f}" for edge in self._bounds.as_tuple()),
            "center": f"{lon:.9f},{lat:.9f},{max_zoom}",
            "minzoom": str(min_zoom),
            "maxzoom": str(max_zoom),
            "type": "baselayer",
            "version": "1",
        }
        self._db.executemany("INSERT INTO metadata VALUES (?, ?)", rows.items())


def _check_file(path: Path) -> None:
    """Refuses files that SQLite would fail on later, with a message that does not name the cause."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_SQLITE_HEADER_BYTES)
    except FileNotFoundError:
        raise TileSourceUnavailableError(f"map file '{path}' is not there") from None
    except OSError as error:
        raise TileSourceUnavailableError(f"map file '{path}' cannot be read: {error.strerror}") from error
    if not header.startswith(_SQLITE_MAGIC) or len(header) < _SQLITE_HEADER_BYTES:
        raise TileSourceUnavailableError(f"'{path}' is not an MBTiles file (no SQLite header)")
    # SQLite file format, section 1.3: page size at 16 (1 means 65536), pages at 28, valid if 24 equals 92.
    page_size = int.from_bytes(header[16:18], "big")
    expected = (_LARGEST_PAGE_BYTES if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big")
    if header[24:28] == header[92:96] and size < expected:
        raise TileSourceUnavailableError(f"'{path}' is cut short: {size} of {expected} bytes; copy it again")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
