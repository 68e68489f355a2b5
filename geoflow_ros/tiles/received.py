"""Tiles that are sent to the vehicle one by one, each with its place: a source that waits for what comes."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from collections import OrderedDict

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import MAX_ZOOM
from geoflow_ros.tiles.cache import TileKey
from geoflow_ros.tiles.disk_cache import CacheSettings
from geoflow_ros.tiles.raster import tile_format
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD, check_tile_index
from geoflow_ros.tiles.tile_store import TileStore

_log = logging.getLogger(__name__)
_ADDRESS = re.compile(r"(\d{1,2})/(\d{1,10})/(\d{1,10})")
_SHOWN = 60  # characters of a bad address
_OVERHEAD_BYTES = 512  # of what is kept beside a tile's bytes: a known hole takes room too


class ReceivedTiles:
    """A source of the tiles that came. Safe to use from several threads.

    What it holds is bounded: the tiles that neither came nor were read for longest are given up, from memory at least.
    A tile that is not here may yet come: until then it is unavailable, not missing. Missing is what was sent empty.

    Args:
        max_bytes: of encoded tiles in memory.
        cache: where tiles are kept on disk too, for the next drive; None keeps none.
    """

    name = "satellite/tiles"
    tile_size = 256
    bounds = WEB_MERCATOR_WORLD

    def __init__(self, max_bytes: int, cache: CacheSettings | None = None) -> None:
        self._max_bytes = max_bytes
        self._store = None if cache is None else TileStore(cache.path_of("topic"), cache.max_bytes)
        self._lock = threading.Lock()
        self._tiles: OrderedDict[TileKey, bytes] = OrderedDict()  # empty bytes: the sender's map has no such tile
        self._bytes = 0
        self._zooms = set() if self._store is None else self._store.zooms()
        self._came = self._refused = 0
        self._problem = ""
        self._complaints: set[str] = set()

    @property
    def min_zoom(self) -> int:
        """Coarsest zoom of which tiles came."""
        return min(self._zooms, default=0)

    @property
    def max_zoom(self) -> int:
        """Finest zoom of which tiles came."""
        return max(self._zooms, default=MAX_ZOOM)

    @property
    def facts(self) -> dict[str, str]:
        """What came, as keys and values for diagnostics."""
        with self._lock:
            return {
                "topic_tiles": str(self._came),
                "topic_tiles_in_memory": str(len(self._tiles)),
                "topic_tiles_refused": str(self._refused),
                "topic_tiles_problem": self._problem or "none",
            }

    def take(self, address: str, data: bytes) -> bool:
        """Takes a tile that was sent, and tells whether it could be used. What is wrong is said once, in the log.

        Args:
            address: `z/x/y`, y counted from the north.
            data: the encoded image; empty where the sender's map has no such tile.
        """
        try:
            key = _key_of(address)
            if data:
                tile_format(data, f"tile {address} of '{self.name}'")
        except (InputError, TileMissingError, TileCorruptError) as error:
            self._refuse(type(error).__name__, str(error))
            return False
        with self._lock:
            self._came += 1
            self._zooms.add(key[0])
            is_new = self._tiles.get(key) != data
            self._keep(key, data)
        if is_new and self._store is not None:
            try:
                self._store.put(*key, data or None)
            except sqlite3.Error as error:
                self._complain("disk", f"'{self._store.path}' cannot be written ({error}): tiles are in memory alone")
        return True

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`."""
        check_tile_index(zoom, x, y)
        key, label = (zoom, x, y), f"tile {zoom}/{x}/{y}"
        with self._lock:
            data = self._tiles.get(key)
            if data is not None:
                self._tiles.move_to_end(key)
        if data is None:
            data = self._from_disk(key)
        if data is None:
            raise TileSourceUnavailableError(
                f"{label} has not come on '{self.name}': is tile_publisher running, and where the vehicle is?"
            )
        if not data:
            raise TileMissingError(f"{label}: the map of the sender on '{self.name}' has none there")
        return data

    def close(self) -> None:
        """Closes the file on disk."""
        if self._store is not None:
            self._store.close()

    def _keep(self, key: TileKey, data: bytes) -> None:
        before = self._tiles.pop(key, None)
        if before is not None:
            self._bytes -= len(before) + _OVERHEAD_BYTES
        self._tiles[key] = data
        self._bytes += len(data) + _OVERHEAD_BYTES
        while self._bytes > self._max_bytes and len(self._tiles) > 1:
            _, given_up = self._tiles.popitem(last=False)
            self._bytes -= len(given_up) + _OVERHEAD_BYTES

    def _from_disk(self, key: TileKey) -> bytes | None:
        if self._store is None:
            return None
        try:
            kept = self._store.get(*key)
        except sqlite3.ProgrammingError:  # closed
            return None
        except sqlite3.Error as error:
            self._complain("disk", f"'{self._store.path}' cannot be read ({error})")
            return None
        return None if kept is None else kept.data or b""

    def _refuse(self, kind: str, problem: str) -> None:
        with self._lock:
            self._refused += 1
            self._problem = problem
        self._complain(kind, f"{problem}; further ones are counted in the diagnostics")

    def _complain(self, kind: str, problem: str) -> None:
        if kind not in self._complaints:
            self._complaints.add(kind)
            _log.warning("%s", problem)


def _key_of(address: str) -> TileKey:
    """Zoom, x and y of `z/x/y`.

    Raises:
        InputError: another form.
        TileMissingError: no tile of the tiling.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InputError(f"a tile on '{ReceivedTiles.name}' has the frame_id '{address[:_SHOWN]}' instead of z/x/y")
    zoom, x, y = int(match[1]), int(match[2]), int(match[3])
    check_tile_index(zoom, x, y)
    return zoom, x, y
