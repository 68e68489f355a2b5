"""The cache of decoded tiles, used by many threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fakes.tiles import GREY, MemorySource, mercator, paint_map

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.tiles import SatelliteMap, open_tile_source
from geoflow_ros.tiles.cache import TileCache
from geoflow_ros.tiles.validity import Tile


def test_the_cache_never_holds_more_than_its_tiles_and_drops_the_oldest() -> None:
    source = MemorySource(GREY)
    cache = TileCache(source, capacity=3)
    for x in (0, 1, 2, 0, 3):  # 1 is now the one not used for longest
        cache.get([(19, x, 0)])
        assert len(cache) <= 3
    source.reads.clear()
    cache.get([(19, 0, 0), (19, 2, 0), (19, 3, 0)])
    assert not source.reads
    cache.get([(19, 1, 0)])
    assert source.reads == [(19, 1, 0)]
    cache.close()


def test_a_patch_may_need_more_tiles_than_the_cache_holds() -> None:
    with SatelliteMap(MemorySource(GREY), Datum(49.0, 8.4), 19, cache_tiles=2) as satellite_map:
        assert (satellite_map.patch(PatchFrame(0.0, 0.0, 0.4, 512, 0.1958)).pixels == 90).all()
        assert satellite_map.cached_tiles == 2
    with pytest.raises(InputError, match="room for 1 tile"):
        SatelliteMap(MemorySource(GREY), Datum(49.0, 8.4), cache_tiles=0)


def test_the_missing_tiles_of_a_patch_are_fetched_at_the_same_time_and_once() -> None:
    source = MemorySource(GREY, wait_s=0.05)
    with SatelliteMap(source, Datum(49.0, 8.4), 19) as satellite_map:
        for _ in range(2):
            satellite_map.patch(PatchFrame(0.0, 0.0, 0.4, 512, 0.1958))
    assert source.most_at_once >= 4
    assert len(source.reads) == len(set(source.reads)) >= 9


def test_many_threads_get_right_patches_and_read_each_tile_once(tmp_path: Path) -> None:
    datum, zoom = Datum(49.0, 8.4), 19
    origin = mercator(np.array(49.0), np.array(8.4), zoom)
    paint_map(tmp_path / "m.mbtiles", datum, zoom, lambda px, py: 128 + (px - origin[0]) / 8 + (py - origin[1]) / 16, 3)
    frames = [PatchFrame(i % 5, i % 7, i * 0.3, 128, 0.2) for i in range(32)]
    with SatelliteMap(open_tile_source(tmp_path / "m.mbtiles"), datum, cache_tiles=4) as satellite_map:
        alone = [satellite_map.patch(frame).pixels for frame in frames]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda frame: satellite_map.patch(frame).pixels, frames))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))

    source = MemorySource(GREY, wait_s=0.02)
    with SatelliteMap(source, datum, zoom) as satellite_map, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: satellite_map.patch(frames[0]), range(8)))
    assert len(source.reads) == len(set(source.reads))


def test_what_is_fetched_ahead_is_there_when_it_is_needed_and_no_error_is_lost() -> None:
    source = MemorySource(GREY, failing={(19, 5, 5): TileMissingError("gone")})
    cache = TileCache(source, capacity=8)
    cache.prefetch([(19, 4, 4), (19, 5, 5)])
    while cache._pending:
        time.sleep(0.01)
    there, gone = cache.get([(19, 4, 4), (19, 5, 5)])
    assert isinstance(there, Tile)
    assert str(gone) == "gone"
    assert len(source.reads) == 2
    cache.prefetch([(19, x, 0) for x in range(100)])
    while cache._pending:
        time.sleep(0.01)
    assert len(source.reads) == 2 + 4  # half of the room: what is shown now stays
    cache.close()


def test_a_missing_tile_is_not_asked_for_again_at_once_but_is_later() -> None:
    source = MemorySource(GREY, failing={(19, 5, 5): TileMissingError("gone")})
    cache = TileCache(source, capacity=8, failure_memory_s=0.2)
    for _ in range(3):
        there, gone = cache.get([(19, 4, 4), (19, 5, 5)])
        assert isinstance(there, Tile)
        assert str(gone) == "gone"
    assert len(source.reads) == 2
    source.failing.clear()
    time.sleep(0.25)
    assert isinstance(cache.get([(19, 5, 5)])[0], Tile)
    cache.close()


def test_a_corrupt_tile_fails_what_needs_it_and_is_not_asked_for_again_at_once_either() -> None:
    source = MemorySource(GREY, failing={(19, 5, 5): TileCorruptError("mud"), (19, 6, 6): TileCorruptError("dust")})
    cache = TileCache(source, capacity=8)
    for _ in range(3):
        with pytest.raises(TileCorruptError, match=r"mud \(and 1 more of the 3 tiles needed\)"):
            cache.get([(19, 4, 4), (19, 5, 5), (19, 6, 6)])
    assert len(source.reads) == 3
    cache.close()


def test_an_unavailable_source_is_asked_again_because_it_may_be_back() -> None:
    source = MemorySource(GREY, failing={(19, 5, 5): TileSourceUnavailableError("down")})
    cache = TileCache(source, capacity=8)
    with pytest.raises(TileSourceUnavailableError, match="down"):
        cache.get([(19, 5, 5)])
    source.failing.clear()
    assert isinstance(cache.get([(19, 5, 5)])[0], Tile)
    cache.close()


def test_a_patch_that_waits_for_tiles_fails_as_soon_as_the_map_is_closed() -> None:
    source, answer = MemorySource(GREY), threading.Event()
    read = source.read
    source.read = lambda *key: read(*key) if answer.wait(60.0) else b""  # type: ignore[method-assign]
    satellite_map = SatelliteMap(source, Datum(49.0, 8.4), 19)
    with ThreadPoolExecutor(1) as pool:
        patch = pool.submit(satellite_map.patch, PatchFrame(0.0, 0.0, 0.4, 512, 0.1958))
        try:
            while not satellite_map._cache._pending:
                time.sleep(0.01)
            satellite_map.close()
            with pytest.raises(TileSourceUnavailableError, match="is closed"):
                patch.result(timeout=30.0)  # the source itself is still silent
        finally:
            answer.set()
    assert satellite_map.cached_tiles == 0


def test_a_closed_map_says_so() -> None:
    satellite_map = SatelliteMap(MemorySource(GREY), Datum(49.0, 8.4), 19)
    satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 64, 0.2))
    satellite_map.close()
    with pytest.raises(TileSourceUnavailableError, match="is closed"):
        satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 64, 0.2))
