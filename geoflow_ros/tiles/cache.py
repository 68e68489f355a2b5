"""A cache of decoded tiles in memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from geoflow_ros.errors import InputError, TileCorruptError, TileError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.tiles.raster import decode_tile
from geoflow_ros.tiles.source import TileSource
from geoflow_ros.tiles.validity import Tile

TileKey = tuple[int, int, int]  # zoom, x, y


class TileCache:
    """A cache of the most recently used tiles of one source, decoded.

    A tile that many threads ask for at once is read once. Tiles that a patch lacks are fetched at the same time. That a
    tile is missing or corrupt is remembered for a moment, so that a vehicle beyond the map's edge does not hammer the
    server. That the source was unavailable is not remembered here, because it may be back: a source whose attempts
    are slow remembers that itself.

    Args:
        source: where tiles come from; stays open when the cache is closed.
        capacity: tiles kept (a tile of 256 px takes 192 KiB).
        fetchers: tiles fetched at the same time.
        failure_memory_s: how long a missing or corrupt tile is not asked for again.

    Raises:
        InputError: a value that is not positive.
    """

    def __init__(self, source: TileSource, capacity: int, *, fetchers: int = 8, failure_memory_s: float = 5.0) -> None:
        if capacity < 1 or fetchers < 1:
            raise InputError(f"a tile cache needs room for 1 tile and 1 fetcher, not {capacity} and {fetchers}")
        self._source = source
        self._capacity, self._fetchers = capacity, fetchers
        self._failure_memory_s = failure_memory_s
        self._pool = ThreadPoolExecutor(fetchers, thread_name_prefix="tile")
        self._lock = threading.Lock()
        self._closed = False
        self._tiles: OrderedDict[TileKey, Tile] = OrderedDict()
        self._failures: dict[TileKey, tuple[float, TileError]] = {}  # until when (monotonic seconds), error
        # Not the pool's own futures: those of reads under way could not be ended by `close`.
        self._pending: dict[TileKey, Future[Tile]] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._tiles)

    def get(self, keys: Sequence[TileKey]) -> list[Tile | TileMissingError]:
        """Returns the tiles in the order of the keys, and why it is missing for one that the source does not have.

        Raises:
            TileCorruptError, TileSourceUnavailableError: that of the first tile that should be there and cannot be had;
                the message also says how many more cannot.
        """
        found = [self._find(key) for key in keys]
        tiles: list[Tile | TileMissingError] = []
        errors: list[TileError] = []
        for entry in found:
            if isinstance(entry, Future):
                try:
                    entry = entry.result()
                except TileError as error:
                    entry = error
            if isinstance(entry, Tile | TileMissingError):
                tiles.append(entry)
            else:
                errors.append(entry)
        if errors:
            raise first_of(errors, len(keys))
        return tiles

    def prefetch(self, keys: Sequence[TileKey]) -> None:
        """Begins to fetch tiles that are not there yet, if nobody waits for others. What goes wrong, `get` will say."""
        with self._lock:
            is_busy = len(self._pending) >= self._fetchers
        if not is_busy:
            for key in keys[: self._capacity // 2]:  # not at the cost of what is shown now
                self._find(key)

    def close(self) -> None:
        """Stops fetching and forget all tiles; every `get` that waits fails at once. Reads end by themselves."""
        with self._lock:
            self._closed = True
            self._tiles.clear()
            waited_for, self._pending = self._pending, {}
        for tile in waited_for.values():
            tile.set_exception(self._closed_error())
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _find(self, key: TileKey) -> Tile | TileError | Future[Tile]:
        with self._lock:
            if self._closed:
                return self._closed_error()
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
                return tile
            failure = self._failures.get(key)
            if failure is not None and time.monotonic() < failure[0]:
                return failure[1]
            if key not in self._pending:
                self._pool.submit(self._load, key)  # looks for the future only under this lock
                self._pending[key] = Future()
            return self._pending[key]

    def _load(self, key: TileKey) -> None:
        """Settles the tile under way, unless `close` has done so."""
        try:
            tile = self._read(key)
        except BaseException as error:  # whatever it is, those who wait must learn of it
            with self._lock:
                waited_for = self._pending.pop(key, None)
                if isinstance(error, (TileMissingError, TileCorruptError)):
                    self._remember(key, error.with_traceback(None))
            if waited_for is not None:
                waited_for.set_exception(error)
            return
        with self._lock:
            waited_for = self._pending.pop(key, None)
            if waited_for is not None:
                self._tiles[key] = tile
                if len(self._tiles) > self._capacity:
                    self._tiles.popitem(last=False)
        if waited_for is not None:
            waited_for.set_result(tile)

    def _read(self, key: TileKey) -> Tile:
        zoom, x, y = key
        data = self._source.read(zoom, x, y)
        label = f"tile {zoom}/{x}/{y} of '{self._source.name}'"
        return Tile.judged(*decode_tile(data, label), data)

    def _closed_error(self) -> TileSourceUnavailableError:
        return TileSourceUnavailableError(f"the map '{self._source.name}' is closed")

    def _remember(self, key: TileKey, error: TileError) -> None:
        now = time.monotonic()
        self._failures = {k: f for k, f in self._failures.items() if f[0] > now}  # keeps it small
        self._failures[key] = (now + self._failure_memory_s, error)


def first_of(errors: Sequence[TileError], needed: int) -> TileError:
    """Makes one error of those of several tiles, of as many as were needed.

    It is a new one: an error that is kept in memory would gather the traceback of every caller.
    """
    others = f" (and {len(errors) - 1} more of the {needed} tiles needed)" if len(errors) > 1 else ""
    error = type(errors[0])(f"{errors[0]}{others}")
    error.__cause__ = errors[0]
    return error
