"""`geoflow tiles`: what a map holds, and the map over HTTP."""

import json
import signal
import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes.command_line import only_line, run, start

from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.images import read_image
from geoflow_ros.tiles import MBTilesSource, SatelliteMap, TileServer, tile_source_info


def test_info_tells_what_a_map_holds(town_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tiles", "info", town_map, "--json", tmp_path / "new" / "info.json") == 0
    assert "max_zoom" in capsys.readouterr().out
    facts = json.loads((tmp_path / "new" / "info.json").read_text())
    west, south, east, north = facts["bounds"]
    assert west < facts["centre"][1] < east
    assert south < facts["centre"][0] < north


@pytest.mark.parametrize(("number", "exit_code", "said"), [("SIGINT", 0, ""), ("SIGTERM", 143, "terminated")])
def test_serve_answers_until_it_is_told_to_end(town_map: Path, number: str, exit_code: int, said: str) -> None:
    server = start("tiles", "serve", town_map, "--port", "0")
    assert server.stdout is not None
    assert server.stderr is not None
    try:
        line = server.stdout.readline()
        base = line.split(": ")[1].split("/{z}")[0]
        with urllib.request.urlopen(f"{base}/", timeout=30) as answer:
            assert json.load(answer)["tilejson"] == "3.0.0"
        server.send_signal(signal.Signals[number])
        assert server.wait(timeout=30) == exit_code
        assert server.stderr.read() == (f"geoflow tiles: {said}\n" if said else "")
    finally:
        server.kill()
        server.stdout.close()
        server.stderr.close()


def test_fetch_takes_an_area_and_goes_on_where_it_ended(
    town_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tile_source_info(MBTilesSource(town_map))
    west, south, east, north = facts["bounds"]
    out, zoom = tmp_path / "part.mbtiles", facts["max_zoom"]
    middle = (west + east) / 2
    command = (
        "tiles",
        "fetch",
        "--zoom",
        zoom,
        "--quiet",
        "--json",
        tmp_path / "fetched.json",
        town_map,
        out,
        "--bbox",
    )
    assert run(*command, west, south, middle, north) == 0
    first = json.loads((tmp_path / "fetched.json").read_text())
    assert first["fetched"] > 0
    assert first["there"] == first["missing"] == 0
    with closing(sqlite3.connect(out)) as file, file:  # as other tools and hands write them
        odd = {"bounds": f"{west:.6f}  {south:.6f} {middle:.6f};{north:.6f}", "minzoom": f"{zoom}.0", "maxzoom": "all"}
        file.executemany("UPDATE metadata SET value = ? WHERE name = ?", [(v, k) for k, v in odd.items()])
    assert run(*command, west, south, east, north) == 0
    second = json.loads((tmp_path / "fetched.json").read_text())
    assert second["there"] == first["fetched"]
    got, source = MBTilesSource(out), MBTilesSource(town_map)
    assert got.notes == ()
    assert got.tile_counts() == {zoom: second["total"]}
    for x, y in got.some_places(zoom, 10):
        assert got.read(zoom, x, y) == source.read(zoom, x, y)
    assert list(tmp_path.glob("part.mbtiles-*")) == []
    capsys.readouterr()
    assert run("tiles", "fetch", "--zoom", "30-9", "--bbox", 0, 0, 1, 1, town_map, out) == 2
    assert "no zoom or range of zooms" in only_line(capsys)
    assert run("tiles", "fetch", "--zoom", zoom, "--bbox", 0, 0, 0.001, 0.001, town_map, tmp_path / "no.mbtiles") == 2
    assert "has none of the" in only_line(capsys)


def test_fetch_from_a_server_keeps_the_rate_and_names_the_terms(
    town_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(MBTilesSource(town_map)) as source, TileServer(source) as server:
        west, south, east, north = source.bounds.as_tuple()
        box = ("--bbox", west, south, west + (east - west) / 9, south + (north - south) / 9)
        out = tmp_path / "of_server.mbtiles"
        assert run("tiles", "fetch", f"{server.base_url}/", out, *box, "--zoom", source.max_zoom, "--rate", 500) == 0
        assert "the operator's terms must allow" in capsys.readouterr().err
        assert sum(MBTilesSource(out).tile_counts().values()) > 0


def test_preview_draws_the_patch_of_a_place(town_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lat, lon = tile_source_info(MBTilesSource(town_map))["centre"]
    out = tmp_path / "preview.png"
    assert run("tiles", "preview", town_map, "--lat", lat, "--lon", lon, "--heading", 90, "--out", out) == 0
    said = capsys.readouterr().out
    assert "ground_share         1.0" in said
    picture = read_image(out)
    assert picture.shape == (1024, 1024, 3)
    datum = Datum(lat, lon)
    with SatelliteMap(MBTilesSource(town_map), datum) as satellite_map:
        patch = satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 512, 100.3 / 512))
    seen = cv2.resize(np.asarray(picture), (512, 512), interpolation=cv2.INTER_AREA).astype(int)
    # The picture is the patch itself but for the lines drawn on it.
    assert np.median(np.abs(seen - patch.pixels).max(axis=-1)) <= 3


def test_what_a_server_answered_is_kept_in_a_folder_and_shown_without_it(
    town_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MBTilesSource(town_map)
    lat, lon = source.bounds.centre
    at = ("--lat", lat, "--lon", lon, "--heading", 30)
    kept = ("--cache-folder", tmp_path / "kept")
    with TileServer(source) as server:
        address = f"{server.base_url}/"
        assert run("tiles", "preview", address, *at, "--out", tmp_path / "asked.png", *kept) == 0
    source.close()
    monkeypatch.setenv("GEOFLOW_TILE_CACHE", str(tmp_path / "kept"))
    assert run("tiles", "preview", address, *at, "--out", tmp_path / "kept.png", "--offline") == 0
    assert np.array_equal(read_image(tmp_path / "asked.png"), read_image(tmp_path / "kept.png"))
    assert run("tiles", "info", address, "--offline") == 0
    capsys.readouterr()
    monkeypatch.delenv("GEOFLOW_TILE_CACHE")
    assert run("tiles", "preview", address, *at, "--offline") == 2
    assert "--offline needs --cache-folder (or GEOFLOW_TILE_CACHE)" in only_line(capsys)


def test_a_truncated_map_is_refused(town_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.mbtiles"
    broken.write_bytes(town_map.read_bytes()[:5000])
    assert run("tiles", "info", broken) == 2
    assert "broken.mbtiles" in only_line(capsys)
