"""One image file on a map, and what is no image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import TAUGHT_OFFSET_M
from fakes.heads import ground_image, picture

from geoflow_ros.errors import GeoFlowError, ImageError, InputError
from geoflow_ros.geo import Datum, confidence_ellipse, latlon_to_pixel, tile_bounds
from geoflow_ros.images import read_image, write_image
from geoflow_ros.localization.single_image import localize_image


def write_map(path: Path, lat_deg: float, lon_deg: float) -> Path:
    """A random-coloured MBTiles map of zoom 19 around a place."""
    from geoflow_ros.geo import GeoBounds
    from geoflow_ros.tiles import MBTilesWriter, TileFormat, encode_tile

    zoom = 19
    px, py = latlon_to_pixel(lat_deg, lon_deg, zoom)
    column, row = int(px // 256), int(py // 256)
    corners = [tile_bounds(zoom, column - 3, row + 3), tile_bounds(zoom, column + 3, row - 3)]
    bounds = GeoBounds(corners[0].west_deg, corners[0].south_deg, corners[1].east_deg, corners[1].north_deg)
    with MBTilesWriter(path, "test", TileFormat.PNG, bounds, zoom, zoom) as writer:
        for x in range(column - 3, column + 4):
            for y in range(row - 3, row + 4):
                writer.add(zoom, x, y, encode_tile(picture((256, 256, 3), x * 7 + y), TileFormat.PNG))
    return path


def test_one_image_file_on_a_map_gives_degrees_and_an_ellipse(tmp_path: Path, converging_bundle: Path) -> None:
    lat_deg, lon_deg, heading_deg = 49.01, 8.4, 60.0
    tiles = write_map(tmp_path / "map.mbtiles", lat_deg, lon_deg)
    cv2.imwrite(str(tmp_path / "camera.png"), ground_image())
    localized = localize_image(tmp_path / "camera.png", lat_deg, lon_deg, heading_deg, tiles, converging_bundle)
    fix, result = localized.fix, localized.as_json()
    datum = Datum(lat_deg, lon_deg)
    east_m, north_m = datum.to_enu(result["latitude_deg"], result["longitude_deg"])
    np.testing.assert_allclose([east_m, north_m], fix.position, atol=1e-6)
    forward, right = TAUGHT_OFFSET_M
    yaw = np.radians(90.0 - heading_deg)
    expected = [forward * np.cos(yaw) + right * np.sin(yaw), forward * np.sin(yaw) - right * np.cos(yaw)]
    np.testing.assert_allclose([east_m, north_m], expected, atol=1.5)
    assert result["ellipse"]["semi_major_m"] == confidence_ellipse(fix.covariance).semi_major_m
    assert result["ellipse"]["confidence"] == 0.95
    assert np.shape(result["covariance_m2"]) == (2, 2)
    assert result["quality"]["trustworthy"] is True
    assert result["timings"]["total_ms"] > 0.0


def test_files_that_are_not_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    _, data = cv2.imencode(".png", ground_image())
    (tmp_path / "cut.png").write_bytes(data.tobytes()[:40])
    for name in ("empty.png", "text.png", "cut.png", "absent.png"):
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_picture_file_is_read_as_rgb(tmp_path: Path) -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[..., 0] = 200
    cv2.imwrite(str(tmp_path / "red.png"), rgb[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "red.png"), rgb)


def test_a_picture_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "overlay.nonsense", tmp_path / "overlay", tmp_path / "file" / "overlay.png"):
        with pytest.raises(InputError):
            write_image(path, ground_image())


def test_a_place_outside_the_map_or_a_heading_that_is_no_number_gives_no_fix(
    tmp_path: Path, converging_bundle: Path
) -> None:
    tiles = write_map(tmp_path / "map.mbtiles", 49.01, 8.4)
    cv2.imwrite(str(tmp_path / "camera.png"), ground_image())
    with pytest.raises(GeoFlowError, match="outside the map"):
        localize_image(tmp_path / "camera.png", 50.0, 8.4, 0.0, tiles, converging_bundle)
    with pytest.raises(InputError, match="heading"):
        localize_image(tmp_path / "camera.png", 49.01, 8.4, float("nan"), tiles, converging_bundle)
    with pytest.raises(InputError, match=r"up to 0° wrong, not 30°"):  # this method takes the heading as known
        localize_image(tmp_path / "camera.png", 49.01, 8.4, 0.0, tiles, converging_bundle, heading_error_deg=30.0)
