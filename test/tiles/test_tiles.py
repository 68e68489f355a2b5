"""Tile sources on disk, and the geometry of the patches cut from them.

The maps of these tests are painted in web mercator from formulas written out here, and read back through the package.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import (
    GeometryError,
    InputError,
    TileCorruptError,
    TileError,
    TileMissingError,
    TileSourceUnavailableError,
)
from geoflow_ros.geo import Datum, GeoBounds, PatchFrame, latlon_to_pixel, tile_at, tile_bounds
from geoflow_ros.tiles import (
    WEB_MERCATOR_WORLD,
    MBTilesSource,
    MBTilesWriter,
    SatelliteMap,
    SatellitePatch,
    TileFormat,
    decode_tile,
    encode_tile,
    open_tile_source,
    tile_source_info,
)
from geoflow_ros.tiles.cache import TileCache
from geoflow_ros.tiles.warp import PatchWarp

Painter = Callable[[Float64Array, Float64Array], Float64Array]
GREY = encode_tile(np.full((256, 256, 3), 90, np.uint8), TileFormat.PNG)


def mercator(lat_deg: Float64Array, lon_deg: Float64Array, zoom: int) -> Float64Array:
    """(..., 2) global pixels by the log-tan formula of EPSG:3857."""
    x = (lon_deg + 180.0) / 360.0
    y = 0.5 - np.log(np.tan(np.pi / 4 + np.radians(lat_deg) / 2)) / (2 * np.pi)
    return np.stack([x, y], axis=-1) * 256 * 2**zoom


def enu(datum: Datum, lat_deg: Float64Array, lon_deg: Float64Array) -> Float64Array:
    """(..., 2) east and north by the ECEF formulas."""

    def ecef(lat: Float64Array, lon: Float64Array) -> Float64Array:
        e2 = 0.0066943799901413165
        n = 6378137.0 / np.sqrt(1.0 - e2 * np.sin(lat) ** 2)
        parts = [n * np.cos(lat) * np.cos(lon), n * np.cos(lat) * np.sin(lon), n * (1.0 - e2) * np.sin(lat)]
        return np.stack(parts, axis=-1)

    phi, lam = np.radians(datum.lat_deg), np.radians(datum.lon_deg)
    difference = ecef(np.radians(lat_deg), np.radians(lon_deg)) - ecef(phi, lam)
    east = np.array([-np.sin(lam), np.cos(lam), 0.0])
    north = np.array([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    return np.stack([difference @ east, difference @ north], axis=-1)


def paint_map(
    path: Path, datum: Datum, zoom: int, painter: Painter, radius_tiles: int = 2, fmt: TileFormat = TileFormat.PNG
) -> None:
    """MBTiles of the tiles around the datum; `painter(px, py)` gives the grey value at global pixel coordinates."""
    x0, y0 = tile_at(datum.lat_deg, datum.lon_deg, zoom)
    with MBTilesWriter(path, "painted", fmt, WEB_MERCATOR_WORLD) as writer:
        for x in range(x0 - radius_tiles, x0 + radius_tiles + 1):
            for y in range(y0 - radius_tiles, y0 + radius_tiles + 1):
                px, py = np.meshgrid(x * 256 + np.arange(256) + 0.5, y * 256 + np.arange(256) + 0.5)
                grey = np.clip(np.round(painter(px, py)), 0, 255).astype(np.uint8)
                writer.add(zoom, x % 2**zoom, y, encode_tile(np.repeat(grey[..., None], 3, axis=-1), fmt))


def dots(centres_px: Float64Array, sigma_px: float) -> Painter:
    def painter(px: Float64Array, py: Float64Array) -> Float64Array:
        grey = np.full(px.shape, 20.0)
        for cx, cy in centres_px:
            if px.min() - 20 < cx < px.max() + 20 and py.min() - 20 < cy < py.max() + 20:
                grey += 220.0 * np.exp(-((px - cx) ** 2 + (py - cy) ** 2) / (2 * sigma_px**2))
        return grey

    return painter


def centroid(grey: Float64Array, near: Float64Array, radius: int) -> Float64Array:
    column, row = (int(round(v)) for v in near)
    window = grey[row - radius : row + radius + 1, column - radius : column + radius + 1] - 20.0
    rows, columns = np.mgrid[row - radius : row + radius + 1, column - radius : column + radius + 1]
    return np.array([(window * columns).sum(), (window * rows).sum()]) / window.sum()


@pytest.mark.parametrize("lat", [0.0, 49.0, -37.0, 70.0, 84.0])
@pytest.mark.parametrize(
    ("yaw_deg", "zoom", "resolution_in_tile_pixels"),
    [(0.0, 19, 1.0), (37.0, 19, 1.05), (-123.0, 20, 1.4), (90.0, 18, 0.5), (201.0, 20, 2.1)],
)
def test_known_places_lie_in_the_patch_within_a_tenth_of_a_pixel(
    tmp_path: Path, lat: float, yaw_deg: float, zoom: int, resolution_in_tile_pixels: float
) -> None:
    datum, size = Datum(lat, 8.4), 256
    tile_pixel_m = 2 * math.pi * 6378137.0 * math.cos(math.radians(lat)) / (256 * 2**zoom)
    resolution_m = resolution_in_tile_pixels * tile_pixel_m
    yaw = math.radians(yaw_deg)
    frame = PatchFrame(6.3, -4.1, yaw, size, resolution_m)
    # Places on a jittered grid over the patch, far enough apart for their centroids.
    rng = np.random.default_rng(int(yaw_deg) % 17)
    wanted = np.stack(np.meshgrid(np.linspace(24, size - 25, 5), np.linspace(24, size - 25, 5)), -1).reshape(-1, 2)
    wanted = wanted + rng.uniform(-4, 4, wanted.shape)
    lats, lons = datum.to_latlon(*frame.to_enu(wanted).T)
    # The truth comes from these places by independent formulas: ENU, then (forward, right), then pixels.
    offset = enu(datum, lats, lons) - (6.3, -4.1)
    forward = offset @ (math.cos(yaw), math.sin(yaw))
    right = offset @ (math.sin(yaw), -math.cos(yaw))
    truth = np.stack([forward, right], -1) / resolution_m + (size - 1) / 2

    sigma = 1.6 * max(1.0, resolution_in_tile_pixels)
    paint_map(tmp_path / "dots.mbtiles", datum, zoom, dots(mercator(lats, lons, zoom), sigma), radius_tiles=3)
    with SatelliteMap(MBTilesSource(tmp_path / "dots.mbtiles"), datum, zoom) as satellite_map:
        patch = satellite_map.patch(frame)
    grey = patch.pixels[..., 0].astype(float)
    radius = math.ceil(4.5 * sigma / resolution_in_tile_pixels) + 1
    found = np.array([centroid(grey, place, radius) for place in truth])
    assert np.hypot(*(found - truth).T).max() < 0.1


def test_a_smooth_picture_comes_back_smooth_over_the_seams_of_tiles(tmp_path: Path) -> None:
    datum, zoom = Datum(49.0, 8.4), 19
    origin = mercator(np.array(49.0), np.array(8.4), zoom)

    def waves(px: Float64Array, py: Float64Array) -> Float64Array:
        return 128 + 60 * np.sin((px - origin[0]) / 25.0) + 50 * np.cos((py - origin[1]) / 31.0)

    paint_map(tmp_path / "waves.mbtiles", datum, zoom, waves, radius_tiles=3)
    frame = PatchFrame(-3.0, 5.0, 2.2, 512, 0.1958)
    with SatelliteMap(MBTilesSource(tmp_path / "waves.mbtiles"), datum) as satellite_map:
        pixels = satellite_map.patch(frame).pixels
    rows, columns = np.mgrid[:512, :512]
    lats, lons = datum.to_latlon(*np.moveaxis(frame.to_enu(np.stack([columns, rows], -1)), -1, 0))
    expected = waves(*np.moveaxis(mercator(lats, lons, zoom), -1, 0))
    # Half a grey level each for the tile and the patch, and the curvature between two pixels.
    assert np.abs(pixels - expected[..., None]).max() < 1.3


def test_fine_detail_is_averaged_where_tiles_are_finer_than_the_patch(tmp_path: Path) -> None:
    datum, zoom = Datum(49.0, 8.4), 20
    paint_map(tmp_path / "c.mbtiles", datum, zoom, lambda px, py: 200.0 * ((px.astype(int) + py.astype(int)) % 2), 3)
    with SatelliteMap(MBTilesSource(tmp_path / "c.mbtiles"), datum) as satellite_map:
        for resolution_m in (0.2, 0.3917, 0.44):
            frame = PatchFrame(0.0, 0.0, 0.6, 256, resolution_m)
            grey = satellite_map.patch(frame).pixels[..., 0].astype(float)
            assert grey.mean() == pytest.approx(100.0, abs=2.0)
            assert grey.std() < 30.0  # the checkerboard itself: 100


@pytest.mark.parametrize("lat", [0.0, 49.0, 70.0, 80.0, -84.9])
@pytest.mark.parametrize(("size", "resolution_m", "zoom"), [(512, 0.1958, 19), (1024, 1.0, 17)])
def test_the_warp_follows_the_exact_chain_everywhere_in_the_patch(
    lat: float, size: int, resolution_m: float, zoom: int
) -> None:
    datum, frame = Datum(lat, -70.0), PatchFrame(900.0, -500.0, -0.9, size, resolution_m)
    warp = PatchWarp.fit(frame, datum, zoom, 256)
    map_x, map_y = warp.sample_maps(warp.origin, 1)
    rows, columns = np.mgrid[0:size:31, 0:size:31]
    lats, lons = datum.to_latlon(*np.moveaxis(frame.to_enu(np.stack([columns, rows], -1)), -1, 0))
    exact = mercator(lats, lons, zoom) - warp.origin - 0.5
    got = np.stack([map_x[rows, columns], map_y[rows, columns]], -1)
    assert np.abs(got - exact).max() < 0.005


def test_a_patch_too_large_for_its_polynomial_is_refused() -> None:
    with pytest.raises(GeometryError, match="too large for one resampling"):
        PatchWarp.fit(PatchFrame(0.0, 0.0, 0.0, 2000, 20.0), Datum(80.0, 0.0), 12, 256)


def test_only_tiles_that_the_turned_patch_touches_are_read() -> None:
    datum = Datum(49.0, 8.4)
    source = MemorySource(GREY)
    frame = PatchFrame(0.0, 0.0, math.pi / 4, 1024, 0.1958)
    with SatelliteMap(source, datum, 19) as satellite_map:
        satellite_map.patch(frame)
    # Truth by brute force: the tiles under a fine grid of the patch's pixels.
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 1023.5, 600), np.linspace(-0.5, 1023.5, 600)), -1)
    lats, lons = datum.to_latlon(*np.moveaxis(frame.to_enu(grid), -1, 0))
    touched = {tuple(t) for t in np.unique(mercator(lats, lons, 19).reshape(-1, 2) // 256, axis=0).astype(int)}
    read = {(x, y) for _, x, y in source.reads}
    assert touched <= read
    assert len(read - touched) <= 2
    assert len(read) < 0.8 * (np.ptp([x for x, _ in read]) + 1) * (np.ptp([y for _, y in read]) + 1)


def test_a_patch_across_the_antimeridian_reads_tiles_of_both_edges_of_the_world() -> None:
    source = MemorySource(GREY)
    with SatelliteMap(source, Datum(-17.0, 180.0), 19) as satellite_map:
        pixels = satellite_map.patch(PatchFrame(0.0, 0.0, 0.3, 512, 0.28)).pixels
    assert (pixels == 90).all()
    assert {x for _, x, _ in source.reads} == {0, 1, 2**19 - 2, 2**19 - 1}


def test_the_zoom_is_the_coarsest_that_is_as_fine_as_the_patch() -> None:
    source = MemorySource(GREY)
    with SatelliteMap(source, Datum(49.0, 8.4)) as satellite_map:
        assert satellite_map.zoom_for(PatchFrame(0, 0, 0, 512, 0.1958)) == 19  # 0.1959 m a pixel
        assert satellite_map.zoom_for(PatchFrame(0, 0, 0, 256, 0.3916)) == 18
        assert satellite_map.zoom_for(PatchFrame(0, 0, 0, 512, 0.15)) == 20
        assert satellite_map.zoom_for(PatchFrame(0, 0, 0, 512, 0.01)) == source.max_zoom
    with SatelliteMap(source, Datum(70.0, 8.4)) as satellite_map:
        assert satellite_map.zoom_for(PatchFrame(0, 0, 0, 512, 0.1958)) == 18  # 0.204 m a pixel
    with pytest.raises(InputError, match="zooms 15 to 22, not 9"):
        SatelliteMap(source, Datum(49.0, 8.4), zoom=9)


def test_tiles_of_512_pixels_cover_the_same_ground_at_one_zoom_less(tmp_path: Path) -> None:
    x, y = tile_at(49.0, 8.4, 18)
    tile = encode_tile(np.full((512, 512, 3), 33, np.uint8), TileFormat.PNG)
    for column in range(x - 2, x + 3):
        (tmp_path / "18" / str(column)).mkdir(parents=True)
        for row in range(y - 2, y + 3):
            (tmp_path / "18" / str(column) / f"{row}.png").write_bytes(tile)
    frame = PatchFrame(0.0, 0.0, 0.3, 512, 0.1958)
    template = f"{tmp_path}/{{z}}/{{x}}/{{y}}.png"
    with SatelliteMap(open_tile_source(template, tile_size=512), Datum(49.0, 8.4)) as satellite_map:
        assert satellite_map.zoom_for(frame) == 18
        assert (satellite_map.patch(frame).pixels == 33).all()
    with (
        SatelliteMap(open_tile_source(template), Datum(49.0, 8.4)) as satellite_map,
        pytest.raises(TileCorruptError, match="512x512 px where 256x256 is expected; open the source with its true"),
    ):
        satellite_map.patch(frame)


def test_resolutions_that_do_not_suit_the_tiles_are_refused() -> None:
    source = MemorySource(GREY)
    with SatelliteMap(source, Datum(49.0, 8.4), zoom=15) as coarse, pytest.raises(GeometryError, match="too coarse"):
        coarse.patch(PatchFrame(0, 0, 0, 512, 0.2))
    with SatelliteMap(source, Datum(49.0, 8.4), zoom=22) as fine, pytest.raises(GeometryError, match="coarser zoom"):
        fine.patch(PatchFrame(0, 0, 0, 4096, 1.0))
    assert not source.reads


def test_a_prior_outside_the_map_is_a_missing_tile_that_names_the_bounds(tmp_path: Path) -> None:
    write_grey_map(tmp_path / "grey.mbtiles")
    with SatelliteMap(MBTilesSource(tmp_path / "grey.mbtiles"), Datum(49.0, 8.4)) as satellite_map:
        with pytest.raises(TileMissingError, match="outside the map 'grey' .*latitude 48.99"):
            satellite_map.patch(PatchFrame(5000.0, 0.0, 0.0, 512, 0.2))
        with pytest.raises(GeometryError, match="km from the datum"):
            satellite_map.patch(PatchFrame(5e6, 0.0, 0.0, 512, 0.2))


def test_beyond_web_mercator_there_is_no_patch() -> None:
    with SatelliteMap(MemorySource(GREY), Datum(85.2, 0.0)) as satellite_map:
        with pytest.raises(TileMissingError, match="outside the map"):
            satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 512, 0.2))


# --- A missing or corrupt tile is a condition, never black pixels ---


def test_a_missing_tile_raises_and_says_how_many() -> None:
    source = MemorySource(GREY, failing={(19, 274377, 180052): TileMissingError("gone")})
    with SatelliteMap(source, Datum(49.0, 8.4), 19) as satellite_map, pytest.raises(TileMissingError, match="gone"):
        satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 512, 0.2))


BAD_TILES = {
    "empty": b"",
    "a web page": b"<html>no</html>",
    "a cut PNG": encode_tile(np.zeros((256, 256, 3), np.uint8), TileFormat.PNG)[:-20],
    "a cut JPEG": encode_tile(np.zeros((256, 256, 3), np.uint8), TileFormat.JPEG)[:-200],
    "a cut WebP": encode_tile(np.full((256, 256, 3), 9, np.uint8), TileFormat.WEBP)[:-8],
    "a damaged PNG": GREY[:100] + bytes([GREY[100] ^ 8]) + GREY[101:],
    "a JPEG of noise": b"\xff\xd8\xff" + bytes(range(200)) + b"\xff\xd9",
    "another size": encode_tile(np.zeros((512, 512, 3), np.uint8), TileFormat.PNG),
    "16 bits": cv2.imencode(".png", np.zeros((256, 256, 3), np.uint16))[1].tobytes(),
}


@pytest.mark.parametrize("kind", BAD_TILES)
def test_a_corrupt_tile_raises(kind: str) -> None:
    with SatelliteMap(MemorySource(BAD_TILES[kind]), Datum(49.0, 8.4), 19) as satellite_map:
        with pytest.raises(TileCorruptError, match=r"tile 19/\d+/\d+ of 'memory'"):
            satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 512, 0.2))


def test_a_transparent_tile_is_ground_without_imagery() -> None:
    image = np.full((256, 256, 4), 255, np.uint8)
    assert decode_tile(cv2.imencode(".png", image)[1].tobytes(), 256, "tile").shape == (256, 256, 3)
    image[:, :9, 3] = 0
    with pytest.raises(TileMissingError, match="transparent"):
        decode_tile(cv2.imencode(".png", image)[1].tobytes(), 256, "tile")


def test_tiles_are_decoded_as_rgb_whatever_their_encoding() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 250
    for fmt in TileFormat:
        pixels = decode_tile(encode_tile(red, fmt, quality=95), 64, "tile").astype(int)
        assert np.abs(pixels - red).max() < 8
    grey = cv2.imencode(".png", np.full((64, 64), 77, np.uint8))[1].tobytes()
    assert (decode_tile(grey, 64, "tile") == 77).all()
    assert decode_tile(grey, 64, "tile").shape == (64, 64, 3)
    with pytest.raises(InputError, match="square uint8 RGB"):
        encode_tile(np.zeros((4, 5, 3), np.uint8), TileFormat.PNG)


# --- The cache ---


class MemorySource:
    """A source that answers every tile with the same bytes, and notes who asked."""

    name = "memory"
    tile_size = 256
    min_zoom, max_zoom = 15, 22
    bounds = WEB_MERCATOR_WORLD

    def __init__(self, data: bytes, failing: dict[tuple[int, int, int], TileError] | None = None, wait_s: float = 0.0):
        self.data, self.wait_s = data, wait_s
        self.failing = failing or {}
        self.reads: list[tuple[int, int, int]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def read(self, zoom: int, x: int, y: int) -> bytes:
        with self.lock:
            self.reads.append((zoom, x, y))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.wait_s)
        with self.lock:
            self.at_once -= 1
        if (zoom, x, y) in self.failing:
            raise self.failing[zoom, x, y]
        return self.data

    def close(self) -> None:
        """Nothing to close."""


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


def test_a_missing_tile_is_not_asked_for_again_at_once_but_is_later() -> None:
    source = MemorySource(GREY, failing={(19, 5, 5): TileMissingError("gone"), (19, 6, 6): TileCorruptError("mud")})
    cache = TileCache(source, capacity=8, failure_memory_s=0.2)
    for _ in range(3):
        with pytest.raises(TileMissingError, match=r"gone \(and 1 more of the 3 tiles needed\)"):
            cache.get([(19, 4, 4), (19, 5, 5), (19, 6, 6)])
    assert len(source.reads) == 3
    source.failing.clear()
    time.sleep(0.25)
    assert len(cache.get([(19, 5, 5), (19, 6, 6)])) == 2
    cache.close()


def test_an_unavailable_source_is_asked_again_because_it_may_be_back() -> None:
    source = MemorySource(GREY, failing={(19, 5, 5): TileSourceUnavailableError("down")})
    cache = TileCache(source, capacity=8)
    with pytest.raises(TileSourceUnavailableError, match="down"):
        cache.get([(19, 5, 5)])
    source.failing.clear()
    assert cache.get([(19, 5, 5)])[0].shape == (256, 256, 3)
    cache.close()


def test_a_patch_that_waits_for_tiles_fails_as_soon_as_the_map_is_closed() -> None:
    source, answer = MemorySource(GREY), threading.Event()
    read = source.read
    source.read = lambda *key: read(*key) if answer.wait(60.0) else b""  # type: ignore[method-assign]
    satellite_map = SatelliteMap(source, Datum(49.0, 8.4), 19)
    with ThreadPoolExecutor(1) as pool:
        patch = pool.submit(satellite_map.patch, PatchFrame(0.0, 0.0, 0.4, 512, 0.1958))
        try:
            while not satellite_map._cache._underway:
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


def test_a_patch_is_a_value_that_fits_its_frame() -> None:
    frame = PatchFrame(0.0, 0.0, 0.0, 64, 0.2)
    with SatelliteMap(MemorySource(GREY), Datum(49.0, 8.4), 19) as satellite_map:
        patch = satellite_map.patch(frame)
    assert patch.frame is frame
    assert patch.pixels.shape == (64, 64, 3)
    assert patch.pixels.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        patch.pixels[0, 0] = 0
    with pytest.raises(InputError, match="a patch of this frame"):
        SatellitePatch(np.zeros((64, 65, 3), np.uint8), frame)


# --- MBTiles ---


def write_grey_map(path: Path, zooms: tuple[int, ...] = (18, 19)) -> None:
    with MBTilesWriter(path, "grey", "png", GeoBounds(8.39, 48.99, 8.41, 49.01), description="all grey") as writer:
        for zoom in zooms:
            x0, y0 = tile_at(49.0, 8.4, zoom)
            for x in range(x0 - 3, x0 + 4):
                for y in range(y0 - 3, y0 + 4):
                    writer.add(zoom, x, y, GREY)


def test_mbtiles_come_back_as_written_with_the_metadata_of_the_specification(tmp_path: Path) -> None:
    path = tmp_path / "a map?#%.mbtiles"  # characters that mean something in a URI
    write_grey_map(path)
    source = open_tile_source(path)
    assert source.read(19, *tile_at(49.0, 8.4, 19)) == GREY
    assert (source.name, source.tile_size, source.min_zoom, source.max_zoom) == ("grey", 256, 18, 19)
    assert source.bounds == GeoBounds(8.39, 48.99, 8.41, 49.01)
    with pytest.raises(TileMissingError, match="tile 19/0/0 .*missing"):
        source.read(19, 0, 0)
    with pytest.raises(TileMissingError, match="no tile 3/8/0"):
        source.read(3, 8, 0)
    info = json.loads(json.dumps(tile_source_info(source)))
    assert info["kind"] == "MBTilesSource"
    assert info["tiles"] == {"18": 49, "19": 49}
    assert info["format"] == "png"
    assert info["ground_resolution_m"] == pytest.approx(0.1959, abs=1e-4)
    assert info["description"] == "all grey"
    source.close()
    with pytest.raises(TileSourceUnavailableError, match="closed database"):
        source.read(19, *tile_at(49.0, 8.4, 19))
    db = sqlite3.connect(path)
    metadata = dict(db.execute("SELECT name, value FROM metadata"))
    db.close()
    assert set(metadata) >= {"name", "format", "bounds", "center", "minzoom", "maxzoom", "type", "description"}
    assert [float(v) for v in metadata["center"].split(",")] == [8.4, 49.0, 19]


def test_mbtiles_rows_count_from_the_south_in_the_file(tmp_path: Path) -> None:
    write_grey_map(tmp_path / "grey.mbtiles")
    db = sqlite3.connect(tmp_path / "grey.mbtiles")
    rows = {row for (row,) in db.execute("SELECT tile_row FROM tiles WHERE zoom_level = 19")}
    db.close()
    assert 2**19 - 1 - tile_at(49.0, 8.4, 19)[1] in rows
    assert max(rows) > 2**18


def test_zooms_and_bounds_come_from_the_tiles_where_the_metadata_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "grey.mbtiles"
    write_grey_map(path)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM metadata")
    db.close()
    source = MBTilesSource(path)
    x, y = tile_at(49.0, 8.4, 19)
    assert (source.min_zoom, source.max_zoom, source.name) == (18, 19, "grey")
    assert source.bounds.north_deg == tile_bounds(19, x - 3, y - 3).north_deg
    assert source.bounds.east_deg == tile_bounds(19, x + 3, y + 3).east_deg


def test_a_truncated_mbtiles_file_is_refused_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "grey.mbtiles"
    write_grey_map(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TileSourceUnavailableError, match="cut short: .*copy it again"):
        open_tile_source(path)


def test_a_damaged_mbtiles_file_is_an_error_and_not_a_tile(tmp_path: Path) -> None:
    path = tmp_path / "grey.mbtiles"
    write_grey_map(path)
    data = bytearray(path.read_bytes())
    data[3 * 4096 :] = bytes(len(data) - 3 * 4096)
    path.write_bytes(data)
    with pytest.raises(TileError):
        source = open_tile_source(path)
        for x in range(-3, 4):
            source.read(19, tile_at(49.0, 8.4, 19)[0] + x, tile_at(49.0, 8.4, 19)[1])


def bad_mbtiles(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mbtiles"
    if kind == "text":
        path.write_text("this is not a map, but it is longer than the header of an SQLite file" * 9)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind in ("other database", "no tiles", "vector", "not images", "bad bounds"):
        db = sqlite3.connect(path)
        if kind == "other database":
            db.execute("CREATE TABLE things (a, b)")
        else:
            db.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
            db.execute("CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data)")
            if kind != "no tiles":
                db.execute("INSERT INTO tiles VALUES (1, 0, 0, ?)", (GREY if kind == "bad bounds" else b"\x1f\x8b00",))
            if kind == "vector":
                db.execute("INSERT INTO metadata VALUES ('format', 'pbf')")
            if kind == "bad bounds":
                db.execute("INSERT INTO metadata VALUES ('bounds', '8,49,east')")
        db.commit()
        db.close()
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("absent", "is not there"),
        ("text", "not an MBTiles file"),
        ("empty", "not an MBTiles file"),
        ("folder", "cannot be read: Is a directory"),
        ("other database", "not an MBTiles file"),
        ("no tiles", "holds no tiles"),
        ("vector", "vector tiles; satellite imagery is needed"),
        ("not images", "holds no images"),
        ("bad bounds", "metadata that cannot be used"),
    ],
)
def test_files_that_are_no_map_are_refused_with_the_reason(tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(TileSourceUnavailableError, match=words) as caught:
        open_tile_source(bad_mbtiles(tmp_path, kind))
    assert kind in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_writer_that_fails_leaves_the_earlier_map_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "grey.mbtiles"
    write_grey_map(path)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), MBTilesWriter(path, "new", "png", WEB_MERCATOR_WORLD) as writer:
        writer.add(1, 0, 0, GREY)
        raise ZeroDivisionError
    with pytest.raises(InputError, match="needs at least one tile"):
        MBTilesWriter(path, "new", "png", WEB_MERCATOR_WORLD).close()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["grey.mbtiles"]


def test_the_writer_refuses_what_a_reader_would_stumble_over(tmp_path: Path) -> None:
    with MBTilesWriter(tmp_path / "m.mbtiles", "m", TileFormat.PNG, WEB_MERCATOR_WORLD) as writer:
        writer.add(1, 0, 0, GREY)
        with pytest.raises(InputError, match="1/0/0 was added before"):
            writer.add(1, 0, 0, GREY)
        with pytest.raises(InputError, match="jpg image in a map of png tiles"):
            writer.add(1, 1, 0, encode_tile(np.zeros((256, 256, 3), np.uint8), TileFormat.JPEG))
        with pytest.raises(InputError, match="not a PNG"):
            writer.add(1, 1, 0, b"mud")
        with pytest.raises(InputError, match="no tile 1/2/0"):
            writer.add(1, 2, 0, GREY)
    with pytest.raises(InputError, match="png, jpg or webp, not 'tiff'"):
        MBTilesWriter(tmp_path / "n.mbtiles", "n", "tiff", WEB_MERCATOR_WORLD)
    with pytest.raises(InputError, match="cannot be written: No such file"):
        MBTilesWriter(tmp_path / "absent" / "n.mbtiles", "n", "png", WEB_MERCATOR_WORLD)


# --- Folders and specifications ---


def test_a_folder_of_tiles_is_a_source(tmp_path: Path) -> None:
    x, y = tile_at(49.0, 8.4, 19)
    for zoom in (18, 19):
        (tmp_path / "my tiles" / str(zoom) / str(x)).mkdir(parents=True)
    (tmp_path / "my tiles" / "19" / str(x) / f"{y}.png").write_bytes(GREY)
    (tmp_path / "my tiles" / "19" / str(x) / f"{y + 1}.png").write_bytes(GREY[:-9])
    quoted = str(tmp_path / "my tiles").replace(" ", "%20")
    for spec in (f"file://{quoted}/{{z}}/{{x}}/{{y}}.png", f"{tmp_path}/my tiles/{{z}}/{{x}}/{{y}}.png"):
        source = open_tile_source(spec)
        assert (source.min_zoom, source.max_zoom, source.name) == (18, 19, "my tiles")
        assert source.read(19, x, y) == GREY
        with pytest.raises(TileMissingError, match="no tile file"):
            source.read(19, x, y + 2)
        with pytest.raises(TileCorruptError, match="cut short"):
            source.read(19, x, y + 1)
    (tmp_path / "my tiles").rename(tmp_path / "gone")
    with pytest.raises(TileSourceUnavailableError, match="is not there"):
        source.read(19, x, y)


def test_a_folder_may_count_its_rows_from_the_south(tmp_path: Path) -> None:
    (tmp_path / "3" / "1").mkdir(parents=True)
    (tmp_path / "3" / "1" / "5.png").write_bytes(GREY)
    assert open_tile_source(f"{tmp_path}/{{z}}/{{x}}/{{-y}}.png").read(3, 1, 2) == GREY


def test_folders_that_hold_no_tiles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TileSourceUnavailableError, match="absent' is not there"):
        open_tile_source(f"file://{tmp_path}/absent/{{z}}/{{x}}/{{y}}.png")
    with pytest.raises(TileSourceUnavailableError, match="holds no zoom folder"):
        open_tile_source(f"{tmp_path}/{{z}}/{{x}}/{{y}}.png")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "is no tile source; give"),
        ("map.tif", "is no tile source; give"),
        ("ftp://host/{z}/{x}/{y}.png", "not 'ftp'"),
        ("http://{z}/{x}/{y}.png", "not an http or https URL"),
        ("http://host/{z}/{x}.png", "needs {z}, {x} and {y}"),
        ("http://host/{z}/{x}/{y}/{-y}.png", "needs {z}, {x} and {y}"),
        ("http://host/{z}/{x}/{y}.png?k={key}", "unknown {key}"),
        ("https:///{z}/{x}/{y}.png", "not an http or https URL"),
        ("http://host:port/{z}/{x}/{y}.png", "not a valid URL"),
        ("file://tiles/{z}/{x}/{y}.png", "three slashes"),
        ("/tiles/{x}/{z}/{y}.png", "start its placeholders with a folder {z}"),
    ],
)
def test_specifications_that_name_no_source_are_refused_with_the_reason(spec: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_tile_source(spec)


def test_the_package_pixel_formula_is_the_one_of_these_tests() -> None:
    np.testing.assert_allclose(mercator(np.array(49.0), np.array(8.4), 19), latlon_to_pixel(49.0, 8.4, 19), atol=1e-5)
