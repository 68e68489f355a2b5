"""Servers' tiles on disk: fresh, old, away, offline, from two processes, and after damage."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from fakes.answering_server import Answer, AnsweringServer
from fakes.tiles import GREY, encoded, ground

from geoflow_ros.errors import InputError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.tiles import CacheSettings, HttpSettings, MBTilesSource, SatelliteMap, open_tile_source
from geoflow_ros.tiles.tile_store import TileStore

Serve = Callable[[Callable[[str, Mapping[str, str]], Answer]], AnsweringServer]
QUICK = HttpSettings(timeout_s=5.0, retries=0, backoff_s=0.01)


def tile_of(path: str) -> bytes:
    _, _, x, y = path.split(".")[0].split("/")
    return encoded(ground(int(x), int(y)))


def test_a_fresh_tile_is_not_asked_for_again_not_even_by_the_next_drive(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda path, headers: (200, {"Cache-Control": "max-age=3600"}, GREY))
    for _ in range(2):
        source = open_tile_source(server.template, QUICK, CacheSettings(tmp_path))
        assert source.read(19, 3, 4) == GREY
        source.close()
    assert len(server.asked) == 1


def test_an_old_tile_is_asked_about_and_shown_where_the_server_is_away(serve: Serve, tmp_path: Path) -> None:
    old = {"Cache-Control": "no-cache", "ETag": '"v1"'}
    server = serve(
        lambda path, headers: (304, old, b"") if headers.get("If-None-Match") == '"v1"' else (200, old, GREY)
    )
    source = open_tile_source(server.template, QUICK, CacheSettings(tmp_path))
    for _ in range(3):
        assert source.read(19, 3, 4) == GREY
    assert ["If-None-Match" in asked.headers for asked in server.asked] == [False, True, True]
    server.answer = lambda path, headers: (503, {}, b"")
    assert source.read(19, 3, 4) == GREY
    with pytest.raises(TileSourceUnavailableError, match="HTTP 503"):
        source.read(19, 3, 5)
    source.close()


def test_what_the_server_does_not_have_is_remembered(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda path, headers: (404, {}, b""))
    for _ in range(2):
        source = open_tile_source(server.template, QUICK, CacheSettings(tmp_path))
        with pytest.raises(TileMissingError):
            source.read(19, 3, 4)
        source.close()
    assert len(server.asked) == 1


def test_what_may_not_be_stored_is_not(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda path, headers: (200, {"Cache-Control": "no-store"}, GREY))
    source = open_tile_source(server.template, QUICK, CacheSettings(tmp_path))
    assert source.read(19, 3, 4) == source.read(19, 3, 4) == GREY
    assert len(server.asked) == 2
    source.close()


def test_offline_shows_the_same_pixels_and_never_touches_the_network(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda path, headers: (200, {"Cache-Control": "max-age=0"}, tile_of(path)))
    frame = PatchFrame(0.0, 0.0, 0.3, 512, 0.1958)

    def patch(settings: CacheSettings) -> bytes:
        source = open_tile_source(server.template, QUICK, settings)
        with SatelliteMap(source, Datum(49.0, 8.4)) as satellite_map:
            pixels = satellite_map.patch(frame).pixels.tobytes()
            if settings.offline:
                with pytest.raises(TileMissingError, match="not in the cache .* and the network is not to be used"):
                    satellite_map.patch(PatchFrame(9000.0, 0.0, 0.3, 512, 0.1958))
        source.close()
        return pixels

    online = patch(CacheSettings(tmp_path))
    asked = len(server.asked)
    assert patch(CacheSettings(tmp_path, offline=True)) == online
    assert len(server.asked) == asked
    with pytest.raises(TileSourceUnavailableError, match="nothing of .* was kept"):
        open_tile_source(server.template.replace("/{z}", "/other/{z}"), QUICK, CacheSettings(tmp_path, offline=True))


def test_a_described_server_that_is_away_at_the_start_is_replaced_by_what_was_kept(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = {"tiles": ["/{z}/{x}/{y}.png"], "minzoom": 17, "maxzoom": 19, "bounds": [8, 48, 9, 50], "name": "town"}
    server = serve(lambda path, headers: (200, {}, json.dumps(said).encode() if path.startswith("/t.json") else GREY))
    url = f"{server.base_url}/t.json?key=hush"
    source = open_tile_source(url, QUICK, CacheSettings(tmp_path))
    assert source.read(19, 3, 4) == GREY
    source.close()
    server.answer = lambda path, headers: (500, {}, b"")
    with caplog.at_level(logging.WARNING):
        kept = open_tile_source(url, QUICK, CacheSettings(tmp_path))
    assert "is shown instead" in caplog.text
    assert "hush" not in caplog.text
    assert (kept.name, kept.min_zoom, kept.max_zoom, kept.bounds.west_deg) == ("town", 17, 19, 8.0)
    assert kept.read(19, 3, 4) == GREY
    kept.close()


def test_the_file_is_bounded_and_gives_up_what_was_not_used_for_longest(tmp_path: Path) -> None:
    store = TileStore(tmp_path / "c.mbtiles", max_bytes=4 * 2**20)
    filler = bytes(50_000)
    for x in range(600):  # 30 MB
        store.put(19, x, 4, filler, lifetime_s=60.0)
    assert store.get(19, 0, 4) is None
    newest = store.get(19, 599, 4)
    assert newest is not None
    assert newest.data == filler
    store.close()
    assert (tmp_path / "c.mbtiles").stat().st_size < 20 * 2**20


def test_the_file_is_a_map_for_any_reader(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda path, headers: (200, {}, tile_of(path)))
    source = open_tile_source(server.template, QUICK, CacheSettings(tmp_path))
    data = source.read(17, 68594, 45004)
    [path] = tmp_path.glob("*.mbtiles")
    reader = MBTilesSource(path)  # while it is open
    assert reader.read(17, 68594, 45004) == data
    reader.close()
    source.close()


def test_a_damaged_file_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c.mbtiles"
    path.write_bytes(b"not a database at all" * 500)
    store = TileStore(path)
    store.put(19, 3, 4, GREY)
    assert "put aside" in caplog.text
    assert (tmp_path / "c.mbtiles.damaged").is_file()
    kept = store.get(19, 3, 4)
    assert kept is not None
    assert kept.data == GREY
    store.close()


def test_a_damaged_tile_is_fetched_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda path, headers: (200, {}, GREY))
    source = open_tile_source(server.template, QUICK, CacheSettings(tmp_path))
    source.read(19, 3, 4)
    [path] = tmp_path.glob("*.mbtiles")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE tiles SET tile_data = substr(tile_data, 1, 100)")
    assert source.read(19, 3, 4) == GREY
    assert len(server.asked) == 2
    source.close()


def test_a_full_or_broken_disk_is_said_once_and_the_server_is_asked(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(lambda path, headers: (200, {}, GREY))
    source = open_tile_source(server.template, QUICK, CacheSettings(tmp_path))
    [path] = tmp_path.glob("*.mbtiles")
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE tiles")
    with caplog.at_level(logging.WARNING):
        for x in range(3):
            assert source.read(19, x, 4) == GREY
    assert caplog.text.count("cannot be used") == 1
    source.close()
    with pytest.raises(InputError, match="1 MiB at least"):
        CacheSettings(tmp_path, max_bytes=5)


_WRITES = """
import sys
from pathlib import Path
from geoflow_ros.tiles.tile_store import TileStore
store = TileStore(Path(sys.argv[1]), max_bytes=64 * 2**20)
print("open", flush=True)
for x in range(200):
    store.put(19, int(sys.argv[2]) + x, 4, bytes(5000), lifetime_s=60.0)
    if x == 100 and sys.argv[3] == "dies":
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
store.close()
"""


def test_two_processes_write_at_once_and_one_dies(tmp_path: Path) -> None:
    path = tmp_path / "c.mbtiles"
    processes = [
        subprocess.Popen([sys.executable, "-c", _WRITES, path, str(first), fate])
        for first, fate in ((0, "lives"), (1000, "lives"), (2000, "dies"))
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, -9]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store = TileStore(path)
    for first, last in ((0, 199), (1000, 1199), (2000, 2100)):
        assert all(store.get(19, x, 4) is not None for x in range(first, last + 1))
    store.close()
