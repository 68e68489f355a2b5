"""A map behind a network that does what networks do: the right pixels or a clear error, never wrong ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from fakes.fault_proxy import Decide, Fault, FaultProxy
from fakes.map import DATUM, write_map

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import TileCorruptError, TileError, TileSourceUnavailableError
from geoflow_ros.geo import PatchFrame
from geoflow_ros.tiles import CacheSettings, HttpSettings, SatelliteMap, TileServer, TileSource, open_tile_source

FRAME = PatchFrame(60.0, 40.0, 0.4, 256, 0.9)  # over several tiles
QUICK = HttpSettings(timeout_s=1.0, retries=2, backoff_s=0.02)
MakeProxy = Callable[[Decide], FaultProxy]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_map(tmp_path_factory.mktemp("town") / "town.mbtiles")


@pytest.fixture
def proxy(town: Path) -> Iterator[MakeProxy]:
    """Makes proxies before the project's own server of the map."""
    with ExitStack() as stack:
        source = open_tile_source(town)
        stack.callback(source.close)
        server = stack.enter_context(TileServer(source))

        def make(decide: Decide) -> FaultProxy:
            return stack.enter_context(FaultProxy(server.base_url, decide))

        yield make


def pixels(source: TileSource) -> UInt8Array:
    with SatelliteMap(source, DATUM) as satellite_map:
        return satellite_map.patch(FRAME).pixels


@pytest.fixture(scope="module")
def truth(town: Path) -> UInt8Array:
    source = open_tile_source(town)
    shown = pixels(source)
    source.close()
    return shown


def is_tile(path: str) -> bool:
    return path.count("/") >= 3


def always(fault: Fault) -> Decide:
    return lambda path, before: fault if is_tile(path) else Fault.NONE


def at_first(fault: Fault) -> Decide:
    return lambda path, before: fault if is_tile(path) and before == 0 else Fault.NONE


def opened(proxy: FaultProxy, cache: CacheSettings | None = None) -> TileSource:
    return open_tile_source(f"{proxy.base_url}/", http=QUICK, cache=cache)


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.REDIRECT, Fault.WRONG_TYPE])
def test_what_harms_nothing_gives_the_same_pixels(proxy: MakeProxy, truth: UInt8Array, fault: Fault) -> None:
    faulty = proxy(always(fault))
    source = opened(faulty)
    assert np.array_equal(pixels(source), truth)
    assert any(map(is_tile, faulty.asked))
    source.close()


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.BUSY, Fault.TRUNCATE])
def test_what_passes_is_tried_again_and_gives_the_same_pixels(
    proxy: MakeProxy, truth: UInt8Array, fault: Fault
) -> None:
    faulty = proxy(at_first(fault))
    source = opened(faulty)
    assert np.array_equal(pixels(source), truth)
    assert all(faulty.asked.count(path) == 2 for path in faulty.asked if is_tile(path))
    source.close()


ENDS = {
    Fault.DROP: TileSourceUnavailableError,
    Fault.DELAY: TileSourceUnavailableError,
    Fault.TRUNCATE: TileError,
    Fault.CUT: TileCorruptError,
    Fault.WEB_PAGE: TileCorruptError,
    Fault.CIRCLE: TileError,
    Fault.TOO_MANY: TileSourceUnavailableError,
    Fault.BUSY: TileSourceUnavailableError,
}


@pytest.mark.parametrize("fault", ENDS)
def test_what_lasts_is_an_error_that_names_the_tile_after_a_few_requests(proxy: MakeProxy, fault: Fault) -> None:
    faulty = proxy(always(fault))
    source = opened(faulty)
    with pytest.raises(ENDS[fault], match=r"/17/\d+/\d+|tile 17/\d+/\d+") as caught:
        pixels(source)
    assert len(str(caught.value).splitlines()) == 1
    tiles = [path for path in faulty.asked if is_tile(path)]
    most = 12 if fault is Fault.CIRCLE else 1 + QUICK.retries
    assert max(tiles.count(path) for path in set(tiles)) <= most
    source.close()


@pytest.mark.parametrize("fault", ENDS)
def test_a_map_that_was_seen_once_is_shown_from_the_disk_whatever_the_network_does(
    proxy: MakeProxy, truth: UInt8Array, tmp_path: Path, fault: Fault
) -> None:
    faulty = proxy(always(Fault.NONE))
    cache = CacheSettings(tmp_path / "kept")
    source = opened(faulty, cache)
    assert np.array_equal(pixels(source), truth)
    faulty.decide = always(fault)
    assert np.array_equal(pixels(source), truth)
    source.close()


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.WEB_PAGE, Fault.BUSY])
def test_after_the_fault_the_map_is_there_again(proxy: MakeProxy, truth: UInt8Array, fault: Fault) -> None:
    faulty = proxy(always(fault))
    source = opened(faulty)
    with SatelliteMap(source, DATUM, failure_memory_s=0.05) as satellite_map:
        with pytest.raises(TileError):
            satellite_map.patch(FRAME)
        faulty.decide = always(Fault.NONE)
        deadline = time.monotonic() + 60.0
        while True:
            try:
                shown = satellite_map.patch(FRAME).pixels
                break
            except TileError:
                assert time.monotonic() < deadline, "the source was given up for good"
                time.sleep(0.1)
    assert np.array_equal(shown, truth)
    source.close()
