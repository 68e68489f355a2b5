"""Which tiles are sent to a vehicle."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fakes.map import DATUM, ZOOM, write_map

from geoflow_ros.errors import InputError
from geoflow_ros.geo import PatchFrame, ground_resolution, tile_at
from geoflow_ros.tiles import TileFormat, TilesAround, encode_tile, open_tile_source
from geoflow_ros.tiles.around import MOST_TILES_AROUND, tile_to_send, zoom_of_patches
from geoflow_ros.tiles.cache import TileKey

LAT, LON = DATUM.lat_deg, DATUM.lon_deg
TILE_M = ground_resolution(LAT, 19, 1)


def send_all(around: TilesAround, lat: float, lon: float) -> list[TileKey]:
    due = around.due(lat, lon)
    for key in due:
        around.sent(key)
    return due


def moved(east_m: float) -> tuple[float, float]:
    return DATUM.to_latlon(east_m, 0.0)


def test_all_tiles_within_the_radius_are_sent_once_the_nearest_first() -> None:
    around = TilesAround(19, 120.0)
    due = send_all(around, LAT, LON)
    assert due[0] == (19, *tile_at(LAT, LON, 19))
    assert len(due) == len(set(due))
    for bearing in np.linspace(0.0, math.tau, 60):
        for distance_m in (30.0, 80.0, 119.0):
            at = DATUM.to_latlon(distance_m * math.cos(bearing), distance_m * math.sin(bearing))
            assert (19, *tile_at(*at, 19)) in due
    assert around.due(LAT, LON) == []


def test_a_tile_that_was_not_sent_stays_due() -> None:
    around = TilesAround(19, 120.0)
    due = around.due(LAT, LON)
    around.sent(due[0])
    assert around.due(LAT, LON) == due[1:]


def test_a_drive_sends_each_tile_once_and_again_after_it_was_left() -> None:
    around = TilesAround(19, 120.0)
    there = [key for east in range(0, 1000, 7) for key in send_all(around, *moved(east))]
    assert len(there) == len(set(there))
    wobbled = [key for east in (1000, 990, 1000, 985, 1000) for key in send_all(around, *moved(east))]
    assert len(wobbled) <= len(set(wobbled)) <= 10
    back = [key for east in range(1000, -1, -7) for key in send_all(around, *moved(east))]
    assert (19, *tile_at(LAT, LON, 19)) in back


def test_what_latecomers_would_not_get_any_more_is_sent_again() -> None:
    around = TilesAround(19, 60.0, kept=40)
    here = (19, *tile_at(LAT, LON, 19))
    sent: list[TileKey] = []
    for lap in range(30):  # to and fro, in reach of the first tile all the time
        place = moved(80.0 * (lap % 2) - 40.0)
        while due := around.due(*place):
            around.sent(due[0])
            sent.append(due[0])
        assert here in sent[-40:]
    assert sent.count(here) > 1


def test_a_radius_that_would_take_a_country_is_refused() -> None:
    with pytest.raises(InputError, match=f"within 10000 m \\(at most {MOST_TILES_AROUND}\\): take a smaller radius"):
        TilesAround(19, 10_000.0).due(LAT, LON)


def test_tiles_across_the_antimeridian_have_their_true_columns() -> None:
    due = TilesAround(10, 40_000.0).due(0.0, 179.999)
    assert {key[1] for key in due} >= {1023, 0}
    assert all(0 <= key[1] < 1024 for key in due)


def test_the_zoom_is_that_of_the_localizer_s_patches_also_for_tiles_of_512_px(tmp_path: Path) -> None:
    frame = PatchFrame(0.0, 0.0, 0.0, 64, 0.78)
    source = open_tile_source(write_map(tmp_path / "map.mbtiles"))
    assert zoom_of_patches(source, frame, LAT, LON, None) == ZOOM
    source.close()
    pixels = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    for zoom in (16, 17, 18):
        x0, y0 = tile_at(LAT, LON, zoom)
        for x in (x0 - 1, x0, x0 + 1):
            (tmp_path / f"big/{zoom}/{x}").mkdir(parents=True)
            for y in (y0 - 1, y0, y0 + 1):
                (tmp_path / f"big/{zoom}/{x}/{y}.jpg").write_bytes(encode_tile(pixels, TileFormat.JPEG))
    big = open_tile_source(f"{tmp_path}/big/{{z}}/{{x}}/{{y}}.jpg")
    assert zoom_of_patches(big, frame, LAT, LON, None) == 16  # 0.78 m there
    assert zoom_of_patches(big, frame, LAT, LON, 18) == 18


def test_what_is_sent_is_what_the_source_has_and_empty_for_a_hole(tmp_path: Path) -> None:
    source = open_tile_source(write_map(tmp_path / "map.mbtiles"))
    x, y = tile_at(LAT, LON, ZOOM)
    assert tile_to_send(source, (ZOOM, x, y)) == source.read(ZOOM, x, y)
    assert tile_to_send(source, (ZOOM, x + 1000, y)) == b""
    source.close()
