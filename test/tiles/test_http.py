"""How a tile server is asked: politely, boundedly, and without a word of the credentials."""

from __future__ import annotations

import base64
import email.utils
import gzip
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.answering_server import AnsweringServer
from fakes.tiles import GREY

from geoflow_ros.errors import InputError, TileCorruptError, TileError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.tiles import HttpSettings, SatelliteMap, XyzSource, open_tile_source
from geoflow_ros.tiles.http import DEFAULT_LIFETIME_S, HttpClient
from geoflow_ros.tiles.secrets import HEADERS_VARIABLE, public

QUICK = HttpSettings(timeout_s=5.0, retries=2, backoff_s=0.01)
Headers = dict[str, str]
Serve = Callable[..., AnsweringServer]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("is_date", [False, True])
def test_retry_after_is_kept_by_the_whole_source(serve: Serve, status: int, is_date: bool) -> None:
    told = email.utils.formatdate(time.time() + 60.0, usegmt=True) if is_date else "60"
    server = serve(lambda path, headers: (status, {"Retry-After": told}, b""))
    source = XyzSource(server.template, http=QUICK)
    with SatelliteMap(source, Datum(49.0, 8.4), 19) as satellite_map:
        for yaw in range(5):
            with pytest.raises(TileSourceUnavailableError, match=f"HTTP {status} and asks to be left alone for"):
                satellite_map.patch(PatchFrame(40.0 * yaw, 0.0, 0.1 * yaw, 512, 0.1958))
    assert len(server.asked) <= 8  # what the fetchers had begun before the answer came
    assert 50.0 < source.client.silent_for_s() <= 60.0


def test_an_answer_that_names_no_time_is_tried_again_boundedly(serve: Serve) -> None:
    server = serve(lambda path, headers: (429, {"Retry-After": "soon"}, b""))
    with pytest.raises(TileSourceUnavailableError, match="HTTP 429"):
        XyzSource(server.template, http=QUICK).read(19, 3, 4)
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 418, 451])
def test_what_is_refused_is_asked_for_once_and_says_nothing_about_other_tiles(serve: Serve, status: int) -> None:
    server = serve(lambda path, headers: (200, {}, GREY) if path.startswith("/19/7/") else (status, {}, b"no"))
    source = XyzSource(server.template, http=QUICK)
    for _ in range(3):
        with pytest.raises(TileError, match=f"HTTP {status}"):
            source.read(19, 3, 4)
    assert len(server.asked) == 1
    assert source.read(19, 7, 4) == GREY


def test_a_redirect_in_a_circle_is_followed_a_few_times_once(serve: Serve) -> None:
    server = serve(lambda path, headers: (302, {"Location": path}, b""))
    source = XyzSource(server.template, http=QUICK)
    for _ in range(3):
        with pytest.raises(TileSourceUnavailableError, match="redirects in a circle"):
            source.read(19, 3, 4)
    assert len(server.asked) <= 6


def test_a_redirect_to_another_host_is_followed_without_the_credentials(serve: Serve) -> None:
    target = serve(lambda path, headers: (200, {}, GREY))
    server = serve(
        lambda path, headers: (301, {"Location": f"{target.base_url.replace('127.0.0.1', 'localhost')}{path}"}, b"")
    )
    template = server.template.replace("http://", "http://robot:s3cret@")
    source = XyzSource(template, http=HttpSettings(headers={"X-Api-Key": "hush-hush"}))
    assert source.read(19, 3, 4) == GREY
    assert server.asked[0].headers["X-Api-Key"] == "hush-hush"
    assert "X-Api-Key" not in target.asked[0].headers
    assert "Authorization" not in target.asked[0].headers


def test_compressed_answers_are_unpacked_and_connections_are_kept(serve: Serve) -> None:
    server = serve(lambda path, headers: (200, {"Content-Encoding": "gzip"}, gzip.compress(GREY)))
    source = XyzSource(server.template, http=QUICK)
    for x in range(10):
        assert source.read(19, x, 4) == GREY
    assert len({asked.port for asked in server.asked}) == 1


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((200, {}, b""), TileMissingError, "empty"),
        ((204, {}, b""), TileMissingError, "HTTP 204"),
        (
            (200, {"Content-Type": "image/png"}, b"<html><b>Too many</b> requests</html>"),
            TileCorruptError,
            "'Too many requests'",
        ),
        ((200, {}, b'{"error": "no"}'), TileCorruptError, "no image but text"),
        ((302, {"Location": "ftp://elsewhere/"}, b""), TileSourceUnavailableError, "breaks off"),
    ],
)
def test_answers_that_are_no_image_are_told_apart(
    serve: Serve, answer: tuple[int, Headers, bytes], error: type[TileError], words: str
) -> None:
    server = serve(lambda path, headers: answer)
    with pytest.raises(error, match=words):
        XyzSource(server.template, http=QUICK).read(19, 3, 4)


@pytest.mark.parametrize(
    ("headers", "lifetime_s", "may_store"),
    [
        ({}, DEFAULT_LIFETIME_S, True),
        ({"Cache-Control": "public, max-age=600"}, 600.0, True),
        ({"Cache-Control": "max-age=600", "Age": "100"}, 500.0, True),
        ({"Cache-Control": "no-store"}, DEFAULT_LIFETIME_S, False),
        ({"Cache-Control": "no-cache, max-age=600"}, 0.0, True),
        ({"Expires": "Thu, 01 Jan 1970 00:10:00 GMT"}, 0.0, True),
        ({"Expires": email.utils.formatdate(time.time() + 3.2e6, usegmt=True)}, pytest.approx(3.2e6, rel=1e-2), True),
        ({"Expires": "0"}, 0.0, True),
    ],
)
def test_how_long_an_answer_is_fresh_is_for_the_server_to_say(
    serve: Serve, headers: Headers, lifetime_s: float, may_store: bool
) -> None:
    server = serve(lambda path, asked: (200, {"ETag": '"v1"', **headers}, GREY))
    answer = XyzSource(server.template).fetch(19, 3, 4)
    assert (answer.etag, answer.lifetime_s, answer.may_store) == ('"v1"', lifetime_s, may_store)


def test_a_version_that_is_still_good_is_not_sent_again(serve: Serve) -> None:
    server = serve(lambda path, headers: (304, {}, b"") if headers.get("If-None-Match") == '"v1"' else (200, {}, GREY))
    source = XyzSource(server.template)
    assert source.fetch(19, 3, 4, '"v1"').data is None
    assert source.fetch(19, 3, 4, '"v0"').data == GREY


def failures(server: AnsweringServer, template: str) -> list[BaseException]:
    """Everything that can go wrong with an address, with the errors that come of it."""
    caught: list[BaseException] = []

    def expect(work: Callable[[], object]) -> None:
        with pytest.raises((TileError, InputError)) as error:
            work()
        caught.append(error.value)

    settings = HttpSettings(timeout_s=0.5, retries=1, backoff_s=0.01)
    for status, body in (
        (404, b""),
        (403, b""),
        (401, b""),
        (500, b""),
        (429, b""),
        (418, b""),
        (200, b""),
        (200, b"<a>"),
    ):
        server.answer = lambda path, headers, status=status, body=body: (status, {}, body)
        expect(lambda: XyzSource(template, http=settings).read(19, 3, 4))
        expect(lambda: open_tile_source(template.replace("/{z}/{x}/{y}.png", "/tiles.json"), settings))
        expect(lambda: open_tile_source(template.replace("/{z}/{x}/{y}.png", "/w.pmtiles"), settings))
        expect(lambda: open_tile_source(template.replace("/{z}/{x}/{y}.png", "/w") + "&SERVICE=WMS&LAYERS=a", settings))
        expect(lambda: open_tile_source(template.replace("/{z}/{x}/{y}.png", "/w") + "&SERVICE=WMTS", settings))
    server.answer = lambda path, headers: (302, {"Location": f"{path}&again=1"}, b"")
    expect(lambda: XyzSource(template, http=settings).read(19, 3, 4))
    dead = template.replace(f":{server.port}/", ":9/")
    expect(lambda: XyzSource(dead, http=settings).read(19, 3, 4))
    for bad in ("{z}/{x}", "{z}/{x}/{y}/{k}", "${z}/{x}/{y}"):
        expect(lambda bad=bad: open_tile_source(template.replace("{z}/{x}/{y}", bad)))
    expect(lambda: open_tile_source(template.replace("http://", "ftp://")))
    expect(lambda: open_tile_source(template.replace(f":{server.port}/", ":port/")))
    return caught


def test_no_error_and_no_log_says_a_password_a_key_or_a_token(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAP_TOKEN", "hush-env")
    (tmp_path / "key").write_text("hush-file\n")
    monkeypatch.setenv(HEADERS_VARIABLE, "Authorization2: Bearer hush-header\nUser-Agent: robot 7")
    server = serve(lambda path, headers: (200, {}, GREY))
    keys = f"/{{env:MAP_TOKEN}}/{{file:{tmp_path / 'key'}}}"
    spec = (
        server.template.replace("http://", "http://robot:hush-user@").replace("/{z}", f"{keys}/{{z}}")
        + "?key=hush-query"
    )
    with caplog.at_level(logging.DEBUG):
        source = open_tile_source(spec)
        assert source.read(19, 3, 4) == GREY
        asked = server.asked[0]
        assert asked.path == "/hush-env/hush-file/19/3/4.png?key=hush-query"
        assert asked.headers["Authorization2"] == "Bearer hush-header"
        assert asked.headers["User-Agent"] == "robot 7"
        assert asked.headers["Authorization"] == "Basic " + base64.b64encode(b"robot:hush-user").decode()
        template = spec.replace("{env:MAP_TOKEN}", "hush-env").replace(f"{{file:{tmp_path / 'key'}}}", "hush-file")
        caught = failures(server, template)
    assert len(caught) > 40
    for error in caught:
        assert "hush" not in str(error)
        assert error.__cause__ is None  # whose words a traceback would say
        assert "\n" not in str(error)
    assert "hush" not in source.name
    assert "hush" not in "".join(record.getMessage() for record in caplog.records if record.name != "asyncio")


def test_keys_that_are_not_there_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MAP_TOKEN", raising=False)
    with pytest.raises(InputError, match=r"\{env:MAP_TOKEN\} in the tile source is empty"):
        open_tile_source("http://localhost/{env:MAP_TOKEN}/{z}/{x}/{y}.png")
    with pytest.raises(InputError, match="cannot be read"):
        open_tile_source(f"http://localhost/{{file:{tmp_path}/absent}}/{{z}}/{{x}}/{{y}}.png")
    monkeypatch.setenv(HEADERS_VARIABLE, "hush-hush")
    with pytest.raises(InputError, match="a line is no header") as caught:
        open_tile_source("http://localhost/{z}/{x}/{y}.png")
    assert "hush" not in str(caught.value)


def test_headers_may_lie_in_a_file(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("X-Api-Key: of-a-file\n\nReferer: https://robots.example/\n")
    monkeypatch.setenv(HEADERS_VARIABLE, f"@{tmp_path}/headers")
    server = serve(lambda path, headers: (200, {}, GREY))
    assert open_tile_source(server.template).read(19, 3, 4) == GREY
    assert server.asked[0].headers["X-Api-Key"] == "of-a-file"
    assert public("of-a-file at https://robots.example/") == "*** at https://robots.example/"


def test_a_closed_client_asks_no_more(serve: Serve) -> None:
    server = serve(lambda path, headers: (200, {}, GREY))
    client = HttpClient("127.0.0.1", QUICK)
    client.close()
    with pytest.raises(TileSourceUnavailableError, match="closed"):
        client.get(f"{server.base_url}/", "it")
    assert server.asked == []
