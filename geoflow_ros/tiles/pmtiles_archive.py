"""PMTiles archives (specification version 3), in a file or on a server that gives parts of it."""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geoflow_ros.errors import InputError, TileError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import GeoBounds
from geoflow_ros.tiles.claims import Claims, said_bounds
from geoflow_ros.tiles.http import HttpClient, HttpSettings, http_host
from geoflow_ros.tiles.raster import tile_format, tile_side
from geoflow_ros.tiles.secrets import public
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD, check_tile_index

_KEPT_PARTS = 256  # of the directories, which the library reads again for each tile
_LARGEST_KEPT = 512 * 1024
_E7 = 1e7  # the header's degrees are whole numbers of 1e-7
_MAGIC = b"PMTiles\x03"

GetBytes = Callable[[int, int], bytes]


class PMTilesSource:
    """A source that reads a PMTiles archive, with the library `pmtiles`. Safe to use from several threads.

    Args:
        get_bytes: gives a part of the archive by offset and length; may raise a TileError.
        label: what the archive is called in messages.
        close: ends what `get_bytes` holds open.

    Raises:
        InputError: the library is not installed.
        TileSourceUnavailableError: not an archive of raster tiles, or it cannot be read.
    """

    def __init__(self, get_bytes: GetBytes, label: str, close: Callable[[], None]) -> None:
        try:
            from pmtiles.reader import Reader
            from pmtiles.tile import Compression, TileType
        except ModuleNotFoundError:
            close()
            raise InputError(f"'{label}' needs pmtiles: pip install 'geoflow_ros[pmtiles]'") from None
        self._label, self._end = label, close
        self._get_bytes = _Kept(get_bytes)
        try:
            if self._get_bytes(0, len(_MAGIC)) != _MAGIC:
                raise TileSourceUnavailableError(f"'{label}' is not a PMTiles archive of version 3")
            untyped: Any = Reader  # as the library leaves it
            self._reader = untyped(self._get_bytes)
            header: dict[str, Any] = self._reader.header()
            if header["tile_type"] == TileType.MVT:
                raise TileSourceUnavailableError(f"'{label}' holds vector tiles; satellite imagery is needed")
            self._is_packed = header["tile_compression"] == Compression.GZIP
            self.min_zoom, self.max_zoom = int(header["min_zoom"]), int(header["max_zoom"])
            self.bounds = _bounds(header)
            self.name = str(self._reader.metadata().get("name") or Path(label).stem)
            self.tile_size = self._size(header)
        except TileError:
            close()
            raise
        except Exception as error:  # the library checks nothing
            close()
            raise TileSourceUnavailableError(
                f"'{label}' is a damaged PMTiles archive ({type(error).__name__})"
            ) from error

    @classmethod
    def from_file(cls, path: str | Path) -> PMTilesSource:
        """Opens an archive on disk."""
        try:
            file = Path(path).open("rb")  # noqa: SIM115 - held open until `close`
        except OSError as error:
            raise TileSourceUnavailableError(f"map file '{path}' cannot be read: {error.strerror}") from error
        lock = threading.Lock()

        def get_bytes(offset: int, length: int) -> bytes:
            with lock:
                file.seek(offset)
                return file.read(length)

        return cls(get_bytes, str(path), file.close)

    @classmethod
    def from_address(cls, url: str, http: HttpSettings | None = None) -> PMTilesSource:
        """Opens an archive on a server that answers requests for parts (HTTP ranges)."""
        client = HttpClient(http_host(url), http or HttpSettings())
        label = public(url)

        def get_bytes(offset: int, length: int) -> bytes:
            data = client.get(url, f"'{label}'", byte_range=(offset, length)).data or b""
            if len(data) > length:
                raise TileSourceUnavailableError(f"the server of '{label}' gives no parts of files (HTTP ranges)")
            return data

        return cls(get_bytes, label, client.close)

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`."""
        check_tile_index(zoom, x, y)
        label = f"tile {zoom}/{x}/{y} of '{self._label}'"
        try:
            data = self._reader.get(zoom, x, y)
            if data and self._is_packed:
                data = gzip.decompress(data)
        except TileError:
            raise
        except (OSError, EOFError, ValueError, IndexError, KeyError) as error:
            raise TileSourceUnavailableError(f"{label} cannot be read: {error}") from error
        if not data:
            raise TileMissingError(f"{label} is missing")
        tile_format(data, label)
        return bytes(data)

    def close(self) -> None:
        """Closes the file or connection; later reads fail."""
        self._end()

    def _size(self, header: dict[str, Any]) -> int:
        """Side of the first tile, which follows the directories."""
        from pmtiles.tile import deserialize_directory

        offset, length = header["root_offset"], header["root_length"]
        while True:
            entries = deserialize_directory(self._get_bytes(offset, length))
            if not entries:
                raise TileSourceUnavailableError(f"'{self._label}' holds no tiles")
            first = entries[0]
            if first.run_length:
                break
            offset, length = header["leaf_directory_offset"] + first.offset, first.length
        data = self._get_bytes(header["tile_data_offset"] + first.offset, first.length)
        try:
            return tile_side(gzip.decompress(data) if self._is_packed else data, "its first tile")
        except (TileError, OSError):
            return 256  # what comes counts


class _Kept:
    """Parts of an archive that were read before."""

    def __init__(self, get_bytes: GetBytes) -> None:
        self._get_bytes = get_bytes
        self._lock = threading.Lock()
        self._parts: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def __call__(self, offset: int, length: int) -> bytes:
        with self._lock:
            part = self._parts.get((offset, length))
        if part is None:
            part = self._get_bytes(offset, length)
            if len(part) == length <= _LARGEST_KEPT:
                with self._lock:
                    self._parts[offset, length] = part
                    if len(self._parts) > _KEPT_PARTS:
                        self._parts.popitem(last=False)
        return part


def _bounds(header: dict[str, Any]) -> GeoBounds:
    keys = ("min_lon_e7", "min_lat_e7", "max_lon_e7", "max_lat_e7")
    west, south, east, north = (float(header[key]) / _E7 for key in keys)
    bounds, _ = said_bounds(Claims(bounds=(west, south, east, north)))
    has_any = bounds is not None and bounds.width_deg > 0.0
    return bounds if bounds is not None and has_any else WEB_MERCATOR_WORLD
