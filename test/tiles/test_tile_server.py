"""Tiles over HTTP: the source against servers that misbehave, and the package's own server."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from fakes.tile_server import FailingTileServer
from fakes.tiles import GREY, MemorySource

from geoflow_ros.errors import InputError, TileCorruptError, TileError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import Datum, GeoBounds, PatchFrame, tile_at
from geoflow_ros.tiles import (
    HttpSettings,
    MBTilesSource,
    MBTilesWriter,
    SatelliteMap,
    TileFormat,
    TileServer,
    XyzSource,
    encode_tile,
    open_tile_source,
    tile_source_info,
)

DATUM = Datum(49.0, 8.4)


@pytest.fixture
def failing_server() -> Iterator[FailingTileServer]:
    server = FailingTileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_tiles_arrive_and_the_source_says_who_asks(failing_server: FailingTileServer) -> None:
    assert failing_server.source("fine").read(19, 3, 4) == GREY
    path, agent = failing_server.seen[0]
    assert path == "/fine/19/3/4.png"
    assert agent.startswith("geoflow_ros/")


@pytest.mark.parametrize("failure", ["404", "410", "204"])
def test_a_tile_that_the_server_does_not_have_is_missing_and_not_asked_for_twice(
    failing_server: FailingTileServer, failure: str
) -> None:
    with pytest.raises(TileMissingError, match=f"HTTP {failure}"):
        failing_server.source(failure).read(19, 3, 4)
    assert len(failing_server.seen) == 1


@pytest.mark.parametrize("failure", ["500", "502", "503", "429"])
def test_a_server_that_reports_an_error_is_tried_again_and_then_unavailable(
    failing_server: FailingTileServer, failure: str
) -> None:
    with pytest.raises(TileSourceUnavailableError, match=f"HTTP {failure}"):
        failing_server.source(failure, retries=2).read(19, 3, 4)
    assert len(failing_server.seen) == 3


def test_a_server_that_recovers_is_read(failing_server: FailingTileServer) -> None:
    assert failing_server.source("recovering", retries=2).read(19, 3, 4) == GREY


@pytest.mark.parametrize(
    ("failure", "error"),
    [("401", TileSourceUnavailableError), ("403", TileMissingError), ("400", TileMissingError)],
)
def test_a_server_that_refuses_is_not_tried_again_and_keys_stay_out_of_the_message(
    failing_server: FailingTileServer, failure: str, error: type[TileError]
) -> None:
    source = failing_server.source(failure, query="?key=hush")
    for _ in range(3):
        with pytest.raises(error, match="check the address and its key") as caught:
            source.read(19, 3, 4)
    assert len(failing_server.seen) == 1
    assert "hush" in failing_server.seen[0][0]
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("failure", ["empty", "placeholder"])
def test_an_empty_answer_and_one_that_says_so_are_a_missing_tile(
    failing_server: FailingTileServer, failure: str
) -> None:
    with pytest.raises(TileMissingError, match=f"/{failure}/19/3/4.png: .*imagery"):
        failing_server.source(failure).read(19, 3, 4)
    assert len(failing_server.seen) == 1


@pytest.mark.parametrize("failure", ["garbage", "cut"])
def test_an_answer_that_is_no_whole_image_is_corrupt(failing_server: FailingTileServer, failure: str) -> None:
    with pytest.raises(TileCorruptError, match=f"/{failure}/19/3/4.png is "):
        failing_server.source(failure).read(19, 3, 4)


@pytest.mark.parametrize(("failure", "words"), [("slow", "does not answer in time"), ("drip", "did not end in time")])
def test_a_server_that_is_too_slow_is_unavailable(failing_server: FailingTileServer, failure: str, words: str) -> None:
    with pytest.raises(TileSourceUnavailableError, match=words):
        failing_server.source(failure).read(19, 3, 4)


def test_a_connection_that_breaks_off_is_unavailable(failing_server: FailingTileServer) -> None:
    with pytest.raises(TileSourceUnavailableError, match="breaks off|cannot be reached"):
        failing_server.source("short").read(19, 3, 4)
    assert len(failing_server.seen) == 2


def test_an_endless_answer_is_cut_off(failing_server: FailingTileServer) -> None:
    with pytest.raises(TileCorruptError, match="larger than 16 MiB"):
        failing_server.source("endless", timeout_s=30.0).read(19, 3, 4)


def test_a_refused_connection_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    source = XyzSource(f"http://127.0.0.1:{port}/{{z}}/{{x}}/{{y}}.png", http=HttpSettings(retries=1, backoff_s=0.01))
    with pytest.raises(TileSourceUnavailableError, match="cannot be reached; is it running"):
        source.read(19, 3, 4)
    with pytest.raises(TileSourceUnavailableError, match="cannot be reached"):
        open_tile_source(f"http://127.0.0.1:{port}/")


def test_a_server_that_does_not_answer_costs_a_patch_one_wait_and_is_then_left_alone(
    failing_server: FailingTileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoflow_ros.tiles.http.UNAVAILABLE_MEMORY_S", 3600.0)
    frame = PatchFrame(0.0, 0.0, 0.4, 512, 0.1958)
    with SatelliteMap(failing_server.source("slow", retries=2), DATUM, 19) as satellite_map:
        for _ in range(2):
            with pytest.raises(TileSourceUnavailableError, match=r"does not answer in time \(and \d+ more"):
                satellite_map.patch(frame)
    paths = [path for path, _ in failing_server.seen]
    # The cache's eight fetchers ask at the same time; nothing is asked twice, the patch's other tiles not at all.
    assert 1 <= len(paths) <= 8
    assert len(set(paths)) == len(paths)


def test_a_server_that_is_back_is_asked_again_after_a_moment(failing_server: FailingTileServer) -> None:
    source = failing_server.source("slow")
    with pytest.raises(TileSourceUnavailableError, match="does not answer in time"):
        source.read(19, 3, 4)
    failing_server.stop.set()  # from now on it answers at once
    deadline_s = time.monotonic() + 60.0  # the source waits for two seconds; the rest is for a busy machine
    while True:
        try:
            assert source.read(19, 3, 4) == GREY
            break
        except TileSourceUnavailableError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    assert len(failing_server.seen) == 2


def test_the_failure_of_one_tile_says_nothing_about_the_others(failing_server: FailingTileServer) -> None:
    source = XyzSource(
        f"http://127.0.0.1:{failing_server.server_address[1]}/{{x}}/{{z}}/{{y}}.png", http=HttpSettings(retries=0)
    )
    with pytest.raises(TileSourceUnavailableError, match="HTTP 500"):
        source.read(19, 500, 4)
    with pytest.raises(TileMissingError, match="HTTP 404"):
        source.read(19, 404, 4)


def test_closing_ends_the_wait_between_attempts(failing_server: FailingTileServer) -> None:
    url = f"http://127.0.0.1:{failing_server.server_address[1]}/503/{{z}}/{{x}}/{{y}}.png"
    source = XyzSource(url, http=HttpSettings(retries=3, backoff_s=60.0))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(source.read, 19, 3, 4)
        while not failing_server.seen:
            time.sleep(0.01)
        source.close()
        with pytest.raises(TileSourceUnavailableError, match="closed"):
            reading.result(timeout=10.0)


def test_a_corrupt_answer_reaches_nobody_as_pixels(failing_server: FailingTileServer) -> None:
    for failure, error in (
        ("garbage", TileCorruptError),
        ("404", TileMissingError),
        ("500", TileSourceUnavailableError),
    ):
        with SatelliteMap(failing_server.source(failure, retries=0), DATUM, 19) as satellite_map, pytest.raises(error):
            satellite_map.patch(PatchFrame(0.0, 0.0, 0.3, 512, 0.2))


@pytest.mark.parametrize(
    "settings",
    [{"timeout_s": 0.0}, {"retries": -1}, {"backoff_s": -1.0}],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match="tile"):
        HttpSettings(**settings)


@pytest.mark.parametrize("values", [{"tile_size": 0}, {"min_zoom": 9, "max_zoom": 8}])
def test_tiles_that_cannot_be_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(InputError, match="tile"):
        XyzSource("http://localhost/{z}/{x}/{y}.png", **values)  # type: ignore[arg-type]


# --- The package's own server ---


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    x0, y0 = tile_at(49.0, 8.4, 19)
    rng = np.random.default_rng(5)
    path = tmp_path / "map.mbtiles"
    with MBTilesWriter(path, "noise", "jpg", GeoBounds(8.398, 48.999, 8.402, 49.001)) as writer:
        for x in range(x0 - 2, x0 + 3):
            for y in range(y0 - 2, y0 + 3):
                noise = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
                writer.add(19, x, y, encode_tile(noise, TileFormat.JPEG))
    return path


def ask(server: TileServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=5.0)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, body


def test_a_map_over_http_gives_the_same_patch_as_the_file(map_file: Path) -> None:
    source = MBTilesSource(map_file)
    frame = PatchFrame(2.0, -3.0, 1.1, 256, 0.1958)
    with SatelliteMap(source, DATUM) as local, TileServer(source) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.url.endswith("/{z}/{x}/{y}.png")
        with SatelliteMap(open_tile_source(server.url), DATUM) as remote:
            np.testing.assert_array_equal(remote.patch(frame).pixels, local.patch(frame).pixels)


def test_the_server_answers_tiles_with_type_and_cors_and_404_for_the_rest(map_file: Path) -> None:
    source = MBTilesSource(map_file)
    x, y = tile_at(49.0, 8.4, 19)
    with TileServer(source) as server:
        status, headers, body = ask(server, f"/19/{x}/{y}.png?v=1")
        assert (status, body) == (200, source.read(19, x, y))
        assert headers["content-type"] == "image/jpeg"
        assert headers["access-control-allow-origin"] == "*"
        assert ask(server, f"/19/{x}/{y}", "HEAD")[2] == b""
        for path in ("/19/0/0.png", "/99/0/0.png", "/3/8/0.png", "/other", "/19/../x", "/-1/0/0.png"):
            status, headers, body = ask(server, path)
            assert status == 404
            assert headers["content-type"].startswith("text/plain")
            assert body


def test_the_servers_root_describes_the_map_and_opens_it(map_file: Path) -> None:
    with TileServer(MBTilesSource(map_file)) as server:
        status, headers, body = ask(server, "/")
        document = json.loads(body)
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert document["tilejson"] == "3.0.0"
        assert document["tiles"] == [server.url]
        source = open_tile_source(server.base_url + "/")
        assert (source.name, source.min_zoom, source.max_zoom, source.tile_size) == ("noise", 19, 19, 256)
        assert source.bounds == GeoBounds(8.398, 48.999, 8.402, 49.001)
        assert tile_source_info(source)["kind"] == "XyzSource"
        assert source.read(19, *tile_at(49.0, 8.4, 19))


def test_an_address_that_is_neither_template_nor_tilejson_is_refused(failing_server: FailingTileServer) -> None:
    with pytest.raises(InputError, match="is no TileJSON document; give a template"):
        open_tile_source(f"http://127.0.0.1:{failing_server.server_address[1]}/garbage")
    with pytest.raises(TileSourceUnavailableError, match="HTTP 404"):
        open_tile_source(f"http://127.0.0.1:{failing_server.server_address[1]}/404")


def test_the_server_says_whether_a_tile_is_missing_corrupt_or_out_of_reach(failing_server: FailingTileServer) -> None:
    for failure, status in (("404", 404), ("garbage", 500), ("503", 503)):
        with TileServer(failing_server.source(failure, retries=0)) as server:
            assert ask(server, "/19/3/4.png")[0] == status


def test_a_port_in_use_is_refused_with_the_address(map_file: Path) -> None:
    source = MBTilesSource(map_file)
    with TileServer(source) as server:
        port = urlsplit(server.base_url).port or 0
        with pytest.raises(InputError, match=f"cannot serve tiles at 127.0.0.1:{port}"):
            TileServer(source, port=port)
    with TileServer(source, port=port) as again:  # released at once
        assert ask(again, "/")[0] == 200
    with pytest.raises(InputError, match="cannot serve tiles"):
        TileServer(source, port=99999)


def test_the_server_stops_when_told(map_file: Path) -> None:
    with TileServer(MBTilesSource(map_file)) as server:
        assert ask(server, "/")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/")


def test_many_threads_read_through_the_server(map_file: Path) -> None:
    source = MBTilesSource(map_file)
    x0, y0 = tile_at(49.0, 8.4, 19)
    wanted = [(19, x0 + i % 5 - 2, y0 + i // 5 % 5 - 2) for i in range(100)]
    with TileServer(source) as server, ThreadPoolExecutor(16) as pool:
        remote = open_tile_source(server.url)
        assert list(pool.map(lambda key: remote.read(*key), wanted)) == [source.read(*key) for key in wanted]


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"Host": "robot.local:8080"}, "http://robot.local:8080"),
        ({"Host": "[fe80::1]:8000"}, "http://[fe80::1]:8000"),
        ({"Host": "inside", "X-Forwarded-Host": "maps.example", "X-Forwarded-Proto": "https"}, "https://maps.example"),
        ({"Host": "<script>"}, None),
    ],
)
def test_tilejson_names_the_address_that_the_client_used(headers: dict[str, str], base: str | None) -> None:
    with TileServer(MemorySource(GREY)) as server:
        host, port = server.base_url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/", headers=headers)
        document = json.load(connection.getresponse())
        connection.close()
        assert document["tiles"] == [f"{base or server.base_url}/{{z}}/{{x}}/{{y}}.png"]


def test_any_web_page_may_ask() -> None:
    with TileServer(MemorySource(GREY)) as server:
        host, port = server.base_url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("OPTIONS", "/19/3/4.png", headers={"Origin": "https://page.example"})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
        connection.close()


def test_the_server_listens_on_ipv6_and_then_on_both() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with TileServer(MemorySource(GREY), host="::1") as server:
        assert server.base_url.startswith("http://[::1]:")
        assert open_tile_source(server.url).read(19, 3, 4) == GREY
    with TileServer(MemorySource(GREY), host="::") as server:
        port = server.base_url.rsplit(":", 1)[1]
        for host in ("127.0.0.1", "[::1]"):
            assert open_tile_source(f"http://{host}:{port}/{{z}}/{{x}}/{{y}}.png").read(19, 3, 4) == GREY
