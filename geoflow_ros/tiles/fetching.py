"""Fetches the tiles of an area into an MBTiles file, politely, and from where an earlier run ended."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import MAX_LATITUDE_DEG, GeoBounds, tile_at
from geoflow_ros.tiles.claims import Claims, said_bounds
from geoflow_ros.tiles.mbtiles_writer import mbtiles_metadata
from geoflow_ros.tiles.raster import tile_format
from geoflow_ros.tiles.source import TileSource
from geoflow_ros.tiles.tile_store import TileStore
from geoflow_ros.tiles.xyz import XyzSource

MOST_TILES = 2_000_000
"""More would be a wrong area or zoom: 2,000 km² at zoom 20."""

_PATIENCE = 5  # answers in a row that fail before the run ends
_LONGEST_WAIT_S = 900.0  # for a server that asks for more time, the run ends


@dataclass
class FetchReport:
    """What a run did.

    Attributes:
        total: tiles of the area.
        fetched: those that came.
        there: those that were in the file before.
        missing: those that the source does not have.
        damaged: those that came and are no whole image; a further run asks for them again.
        bytes: of those that came.
    """

    total: int = 0
    fetched: int = 0
    there: int = 0
    missing: int = 0
    damaged: int = 0
    bytes: int = 0

    @property
    def done(self) -> int:
        """Tiles that are dealt with."""
        return self.fetched + self.there + self.missing + self.damaged


def count_tiles(bounds: GeoBounds, zooms: Sequence[int]) -> int:
    """The number of tiles that an area has."""
    return sum(len(columns) * len(rows) for columns, rows in (_ranges(bounds, zoom) for zoom in zooms))


def fetch_tiles(
    source: TileSource,
    path: Path,
    bounds: GeoBounds,
    zooms: Sequence[int],
    tiles_per_second: float = math.inf,
    report: Callable[[FetchReport], None] = lambda report: None,
) -> FetchReport:
    """Fetches what a file does not hold yet; the file is whole after every tile.

    Args:
        source: where tiles come from.
        path: MBTiles file; made, or gone on with.
        bounds: the area.
        zooms: the zooms.
        tiles_per_second: most requests in a second.
        report: is told after every tile.

    Raises:
        InputError: no such zoom, too many tiles, nothing came, or the file cannot be written.
        TileSourceUnavailableError: the source does not answer; run it again later.
    """
    for zoom in zooms:
        if not source.min_zoom <= zoom <= source.max_zoom:
            raise InputError(f"map '{source.name}' has zooms {source.min_zoom} to {source.max_zoom}, not {zoom}")
    done = FetchReport(total=count_tiles(bounds, zooms))
    if done.total > MOST_TILES:
        raise InputError(f"the area has {done.total:,} tiles (at most {MOST_TILES:,}): a smaller one, or coarser zooms")
    store = TileStore(path)
    try:
        for zoom, x, y in _places(bounds, zooms):
            begun_s = time.monotonic()
            if store.holds(zoom, x, y):
                done.there += 1
                report(done)
                continue
            data = _patiently(source, zoom, x, y, done)
            if data is not None:
                store.put(zoom, x, y, data)
                done.fetched, done.bytes = done.fetched + 1, done.bytes + len(data)
            report(done)
            time.sleep(max(0.0, 1.0 / tiles_per_second - (time.monotonic() - begun_s)))
        _finish(store, source, bounds, zooms, done)
    except sqlite3.Error as error:
        raise InputError(f"'{path}' cannot be written: {error}") from error
    finally:
        store.close()
    return done


def _patiently(source: TileSource, zoom: int, x: int, y: int, done: FetchReport) -> bytes | None:
    """A tile, waiting for a server that asks for it; None where there is none."""
    for attempt in range(_PATIENCE):
        try:
            return source.read(zoom, x, y)
        except TileMissingError:
            done.missing += 1
            return None
        except TileCorruptError:
            done.damaged += 1
            return None
        except TileSourceUnavailableError:
            wait_s = source.client.silent_for_s() if isinstance(source, XyzSource) else 0.0
            if attempt == _PATIENCE - 1 or wait_s > _LONGEST_WAIT_S:
                raise
            time.sleep(max(wait_s, 0.1 * 2**attempt))
    return None


def _finish(store: TileStore, source: TileSource, bounds: GeoBounds, zooms: Sequence[int], done: FetchReport) -> None:
    if not done.fetched + done.there:
        raise InputError(f"map '{source.name}' has none of the {done.total} tiles of this area")
    said = Claims.read(store.description())  # of an earlier run
    before, _ = said_bounds(said)
    held = [*zooms, *(zoom for zoom in (said.min_zoom, said.max_zoom) if zoom is not None)]
    fmt = tile_format(store.any_tile(), "the first tile")
    whole = bounds if before is None else before.united(bounds)
    store.describe({"name": source.name, **mbtiles_metadata(fmt, whole, min(held), max(held))})
    store.finish()


def _places(bounds: GeoBounds, zooms: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    for zoom in sorted(zooms):
        columns, rows = _ranges(bounds, zoom)
        for x in columns:
            for y in rows:
                yield zoom, x % 2**zoom, y


def _ranges(bounds: GeoBounds, zoom: int) -> tuple[range, range]:
    """Columns, which may go on beyond the antimeridian, and rows."""
    limit = MAX_LATITUDE_DEG
    west, north = tile_at(min(bounds.north_deg, limit), bounds.west_deg, zoom)
    east, south = tile_at(max(bounds.south_deg, -limit), bounds.east_deg, zoom)
    return range(west, (east if bounds.west_deg <= bounds.east_deg else east + 2**zoom) + 1), range(north, south + 1)
