"""The geometry of the patches that are cut from a map, and which tiles they are made of.

The maps of these tests are painted in web mercator from formulas of their own, and read back through the package.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fakes.tiles import GREY, MemorySource, Painter, PlaceSource, enu, ground, mercator, paint_map, write_grey_map

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import GeometryError, InputError, TileMissingError
from geoflow_ros.geo import Datum, PatchFrame, latlon_to_pixel, tile_at
from geoflow_ros.tiles import (
    MBTilesSource,
    SatelliteMap,
    SatellitePatch,
    TileFormat,
    encode_tile,
    open_tile_source,
)
from geoflow_ros.tiles.warp import PatchWarp


def dots(centres_px: Float64Array, sigma_px: float) -> Painter:
    def painter(px: Float64Array, py: Float64Array) -> Float64Array:
        light, is_near = np.zeros(px.shape), np.zeros(px.shape, bool)
        for cx, cy in centres_px:
            if px.min() - 30 < cx < px.max() + 30 and py.min() - 30 < cy < py.max() + 30:
                distance_2 = (px - cx) ** 2 + (py - cy) ** 2
                light += 220.0 * np.exp(-distance_2 / (2 * sigma_px**2))
                is_near |= distance_2 < (8 * sigma_px) ** 2
        pattern = 17.0 + 6.0 * ((px.astype(int) + py.astype(int)) % 2)  # all of one grey would be a placeholder
        return np.where(is_near, 20.0, pattern) + light

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
    source = open_tile_source(f"{tmp_path}/{{z}}/{{x}}/{{y}}.png")
    assert source.tile_size == 512
    with SatelliteMap(source, Datum(49.0, 8.4)) as satellite_map:
        assert satellite_map.zoom_for(frame) == 18
        assert (satellite_map.patch(frame).pixels == 33).all()


@pytest.mark.parametrize(("said", "sent"), [(256, 512), (512, 256), (256, 1024)])
def test_the_size_of_tiles_is_learnt_from_those_that_come(said: int, sent: int) -> None:
    frame = PatchFrame(0.0, 0.0, 0.3, 512, 0.1958)
    source = PlaceSource(lambda x, y: ground(x, y, sent))
    source.tile_size = said
    with SatelliteMap(source, Datum(49.0, 8.4)) as satellite_map:
        first = satellite_map.patch(frame)
        asked = len(source.reads)
        assert (satellite_map.patch(frame).pixels == first.pixels).all()
        assert len(source.reads) == asked  # it is learnt once
        zoom = {256: 19, 512: 18, 1024: 17}[sent]
        assert satellite_map.zoom_for(frame) == zoom
    source.tile_size = sent
    with SatelliteMap(source, Datum(49.0, 8.4), zoom) as told:
        assert (told.patch(frame).pixels == first.pixels).all()


def test_tiles_of_several_sizes_show_the_same_ground_each(tmp_path: Path) -> None:
    datum = Datum(49.0, 8.4)
    here, _ = tile_at(49.0, 8.4, 18)

    def shades(x: int, y: int) -> UInt8Array:
        size = 512 if x > here else 256
        ramp = np.linspace(40, 200, size, endpoint=False) + 80 / size
        pixels = ground(x, y, size).copy()
        pixels[..., 0] = ramp
        return pixels

    source = PlaceSource(shades)
    with SatelliteMap(source, datum, 18) as satellite_map:
        patch = satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 1024, 0.1958))
    # North up: one ramp from the west of each tile to its east, whatever the tile's size.
    east, north = patch.frame.to_enu(np.stack([np.arange(1024), np.full(1024, 500)], -1)).T
    lats, lons = datum.to_latlon(east, north)
    share = mercator(lats, lons, 18)[:, 0] / 256 % 1.0
    inner = (share > 0.02) & (share < 0.98)
    assert np.abs(patch.pixels[500, inner, 0] - (40 + 160 * share[inner])).max() < 3.0


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
    with (
        SatelliteMap(MemorySource(GREY), Datum(85.2, 0.0)) as satellite_map,
        pytest.raises(TileMissingError, match="outside the map"),
    ):
        satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 512, 0.2))


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


def test_the_package_pixel_formula_is_the_one_of_these_tests() -> None:
    np.testing.assert_allclose(mercator(np.array(49.0), np.array(8.4), 19), latlon_to_pixel(49.0, 8.4, 19), atol=1e-5)
