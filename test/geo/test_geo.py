"""Datum, web mercator, angles and the patch frame, against formulas written out here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import GeometryError
from geoflow_ros.geo import (
    MAX_LATITUDE_DEG,
    MAX_RANGE_M,
    Datum,
    GeoBounds,
    PatchFrame,
    ground_resolution,
    heading_from_yaw,
    latlon_to_pixel,
    pixel_to_latlon,
    tile_at,
    tile_bounds,
    wrap_to_pi,
    yaw_from_heading_deg,
)

LATITUDES = (0.0, 49.0, -37.0, 70.0, 89.5, -90.0)
WGS84_A = 6378137.0
WGS84_E2 = 0.0066943799901413165


def ecef(lat_deg: float, lon_deg: float) -> Float64Array:
    """Point on the ellipsoid, textbook formula."""
    lat, lon = math.radians(lat_deg), math.radians(lon_deg)
    n = WGS84_A / math.sqrt(1.0 - WGS84_E2 * math.sin(lat) ** 2)
    return np.array(
        [
            n * math.cos(lat) * math.cos(lon),
            n * math.cos(lat) * math.sin(lon),
            n * (1.0 - WGS84_E2) * math.sin(lat),
        ]
    )


@pytest.mark.parametrize("lat", LATITUDES)
def test_to_enu_equals_the_ecef_rotation_of_the_textbook(lat: float) -> None:
    datum = Datum(lat, 11.5)
    place_lat, place_lon = max(lat - 0.08, -90.0) if lat > 0 else lat + 0.08, 11.62
    phi, lam = math.radians(lat), math.radians(11.5)
    east_axis = np.array([-math.sin(lam), math.cos(lam), 0.0])
    north_axis = np.array([-math.sin(phi) * math.cos(lam), -math.sin(phi) * math.sin(lam), math.cos(phi)])
    difference = ecef(place_lat, place_lon) - ecef(lat, 11.5)
    assert datum.to_enu(place_lat, place_lon) == pytest.approx(
        (difference @ east_axis, difference @ north_axis), abs=1e-6
    )


@pytest.mark.parametrize("lat", LATITUDES)
@pytest.mark.parametrize("lon", [0.0, 179.9999, -122.0])
def test_enu_and_latlon_are_exact_inverses_out_to_the_edge_of_the_map(lat: float, lon: float) -> None:
    datum = Datum(lat, lon)
    east = np.array([[0.0, 12.5, -4000.0], [30_000.0, -60_000.0, 1.0]])
    north = np.array([[0.0, -7.25, 9000.0], [-50_000.0, 75_000.0, -1.0]])
    back_east, back_north = datum.to_enu(*datum.to_latlon(east, north))
    assert back_east.shape == (2, 3)
    np.testing.assert_allclose(back_east, east, atol=1e-6)
    np.testing.assert_allclose(back_north, north, atol=1e-6)


def test_numbers_give_numbers_and_arrays_give_arrays() -> None:
    datum = Datum(49.0, 8.4)
    assert all(type(v) is float for v in (*datum.to_enu(49.001, 8.401), *datum.to_latlon(3.0, -4.0)))
    assert datum.to_enu([49.0, 49.1], [8.4, 8.4])[0].shape == (2,)
    assert datum.to_latlon(np.zeros((3, 0)), np.zeros((3, 0)))[0].shape == (3, 0)


def test_longitudes_stay_within_180_across_the_antimeridian() -> None:
    _, lon = Datum(-17.0, 180.0).to_latlon(np.array([-100.0, 100.0]), np.zeros(2))
    assert lon[0] == pytest.approx(179.999, abs=1e-3)
    assert lon[1] == pytest.approx(-179.999, abs=1e-3)


@pytest.mark.parametrize(("lat", "lon"), [(90.1, 0.0), (math.nan, 0.0), (0.0, 180.5), (0.0, math.inf), (-1000.0, 0.0)])
def test_places_that_are_not_on_earth_are_refused(lat: float, lon: float) -> None:
    with pytest.raises(GeometryError, match="itude of the datum"):
        Datum(lat, lon)
    with pytest.raises(GeometryError, match="itude of the place"):
        Datum(0.0, 0.0).to_enu(np.array([0.0, lat]), np.array([0.0, lon]))


@pytest.mark.parametrize("place", [(50.0, 8.4), (-49.0, -171.6)])  # 111 km away; the antipode, at east = north = 0
def test_places_too_far_from_the_datum_are_refused_with_the_distance(place: tuple[float, float]) -> None:
    with pytest.raises(GeometryError, match="km from the datum .*set a datum near the vehicle"):
        Datum(49.0, 8.4).to_enu(*place)


@pytest.mark.parametrize("east", [MAX_RANGE_M * 1.001, math.nan, math.inf])
def test_map_coordinates_outside_the_map_frame_are_refused(east: float) -> None:
    with pytest.raises(GeometryError):
        Datum(49.0, 8.4).to_latlon(east, 0.0)


def test_mercator_puts_known_places_where_epsg_3857_has_them() -> None:
    assert latlon_to_pixel(0.0, 0.0, 0) == (128.0, 128.0)
    assert latlon_to_pixel(MAX_LATITUDE_DEG, -180.0, 3) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert latlon_to_pixel(-MAX_LATITUDE_DEG, 180.0, 3) == pytest.approx((2048.0, 2048.0), abs=1e-9)
    # Eiffel tower; EPSG:3857 easting and northing by the defining formula with log-tan instead of artanh-sin.
    lat, lon = 48.858222, 2.2945
    northing = math.log(math.tan(math.pi / 4 + math.radians(lat) / 2)) / (2 * math.pi)
    expected = ((lon + 180.0) / 360.0 * 256 * 2**19, (0.5 - northing) * 256 * 2**19)
    assert latlon_to_pixel(lat, lon, 19) == pytest.approx(expected, abs=1e-5)
    assert tile_at(lat, lon, 15) == (16592, 11272)  # as every slippy map has it


@pytest.mark.parametrize("lat", [0.0, 49.0, -37.0, 70.0, 85.05])
@pytest.mark.parametrize("tile_size", [256, 512])
def test_mercator_pixels_and_latlon_are_inverses_to_a_thousandth_of_a_pixel(lat: float, tile_size: int) -> None:
    px, py = latlon_to_pixel(np.array([lat]), np.array([8.4]), 22, tile_size)
    lat_back, lon_back = pixel_to_latlon(px + 0.25, py - 0.5, 22, tile_size)
    px_back, py_back = latlon_to_pixel(lat_back, lon_back, 22, tile_size)
    np.testing.assert_allclose([px_back - px, py_back - py], [[0.25], [-0.5]], atol=1e-3)


@pytest.mark.parametrize("lat", [85.06, -85.06, 90.0, math.nan])
def test_latitudes_beyond_web_mercator_are_refused(lat: float) -> None:
    with pytest.raises(GeometryError, match="web mercator ends at ±85.0511"):
        latlon_to_pixel(lat, 0.0, 10)
    with pytest.raises(GeometryError, match="web mercator ends"):
        ground_resolution(lat, 10)


@pytest.mark.parametrize(("zoom", "tile_size"), [(-1, 256), (31, 256), (10, 0)])
def test_zooms_and_tile_sizes_that_cannot_be_are_refused(zoom: int, tile_size: int) -> None:
    with pytest.raises(GeometryError):
        latlon_to_pixel(0.0, 0.0, zoom, tile_size)


def test_ground_resolution_agrees_with_the_ellipsoid_within_one_percent() -> None:
    for lat in (0.0, 49.0, -37.0, 70.0):
        datum = Datum(lat, 8.4)
        px, py = latlon_to_pixel(lat, 8.4, 19)
        east, north = datum.to_enu(*pixel_to_latlon(px + 1.0, py - 1.0, 19))
        assert east == pytest.approx(ground_resolution(lat, 19), rel=0.01)
        assert north == pytest.approx(ground_resolution(lat, 19), rel=0.01)


def test_tile_bounds_hold_the_places_of_their_tile_and_meet_their_neighbours() -> None:
    x, y = tile_at(49.0, 8.4, 17)
    bounds = tile_bounds(17, x, y)
    assert bounds.contains(49.0, 8.4)
    assert bounds.east_deg == tile_bounds(17, x + 1, y).west_deg
    assert bounds.south_deg == tile_bounds(17, x, y + 1).north_deg  # rows count from the north
    assert tile_at(-MAX_LATITUDE_DEG, 180.0, 4) == (15, 15)
    with pytest.raises(GeometryError, match="no tile 3/8/0"):
        tile_bounds(3, 8, 0)


@pytest.mark.parametrize("edges", [(1, 0, 0, 1), (0, 1, 1, 0), (-181, 0, 0, 1), (0, 0, 1, 91), (math.nan, 0, 1, 1)])
def test_bounds_inside_out_or_off_the_earth_are_refused(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(GeometryError, match="bounds"):
        GeoBounds(*edges)


def test_headings_turn_clockwise_from_north_and_yaw_counter_clockwise_from_east() -> None:
    for heading, yaw in (
        (0.0, math.pi / 2),
        (90.0, 0.0),
        (180.0, -math.pi / 2),
        (270.0, -math.pi),
        (45.0, math.pi / 4),
    ):
        assert yaw_from_heading_deg(heading) == pytest.approx(yaw)
        assert heading_from_yaw(yaw) == pytest.approx(heading)
    assert heading_from_yaw(math.pi / 2 + 1e-17) == 0.0
    np.testing.assert_allclose(heading_from_yaw(yaw_from_heading_deg(np.array([-10.0, 370.0]))), [350.0, 10.0])


def test_wrap_to_pi_keeps_the_direction_and_takes_arrays() -> None:
    angles = np.linspace(-20.0, 20.0, 401)
    wrapped = wrap_to_pi(angles)
    assert ((wrapped >= -math.pi) & (wrapped < math.pi)).all()
    np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * angles), atol=1e-12)
    assert wrap_to_pi(math.pi) == -math.pi


def test_forward_is_image_x_and_right_is_image_y() -> None:
    north_bound = PatchFrame(100.0, 200.0, math.pi / 2, 512, 0.2)
    centre = (512 - 1) / 2
    np.testing.assert_allclose(north_bound.to_pixel((100.0, 200.0)), (centre, centre))
    np.testing.assert_allclose(north_bound.to_pixel((100.0, 210.0)), (centre + 50.0, centre), atol=1e-9)  # ahead
    np.testing.assert_allclose(north_bound.to_pixel((110.0, 200.0)), (centre, centre + 50.0), atol=1e-9)  # to its right
    np.testing.assert_allclose(north_bound.enu_to_local((110.0, 210.0)), (10.0, 10.0))


def test_a_positive_yaw_turns_forward_towards_north() -> None:
    frame = PatchFrame(0.0, 0.0, 0.1, 101, 1.0)
    east, north = frame.local_to_enu((10.0, 0.0))
    assert east == pytest.approx(10.0 * math.cos(0.1))
    assert north == pytest.approx(10.0 * math.sin(0.1))
    east, north = frame.local_to_enu((0.0, 10.0))
    assert east == pytest.approx(10.0 * math.sin(0.1))
    assert north == pytest.approx(-10.0 * math.cos(0.1))


def test_with_yaw_zero_the_patch_is_north_up() -> None:
    frame = PatchFrame(0.0, 0.0, 0.0, 11, 1.0)
    np.testing.assert_allclose(frame.to_enu((0.0, 0.0)), (-5.0, 5.0))  # top left is north-west


def test_patch_coordinates_are_inverses_for_any_leading_shape() -> None:
    rng = np.random.default_rng(3)
    frame = PatchFrame(1234.5, -987.25, 2.3, 512, 0.1958)
    enu = rng.uniform(-50, 50, (4, 5, 2)) + (1234.5, -987.25)
    np.testing.assert_allclose(frame.to_enu(frame.to_pixel(enu)), enu, atol=1e-9)
    np.testing.assert_allclose(frame.local_to_enu(frame.enu_to_local(enu)), enu, atol=1e-9)
    assert frame.extent_m == pytest.approx(100.2496)


def test_covariances_turn_with_the_points() -> None:
    rng = np.random.default_rng(4)
    frame = PatchFrame(10.0, 20.0, 0.7, 512, 0.2)
    local = rng.multivariate_normal((0, 0), [[9.0, 1.2], [1.2, 0.5]], 4000)
    in_enu = frame.rotate_covariance_to_enu(np.cov(local.T))
    np.testing.assert_allclose(in_enu, np.cov(frame.local_to_enu(local).T), atol=1e-9)
    np.testing.assert_allclose(frame.rotate_covariance_to_local(in_enu), np.cov(local.T), atol=1e-12)
    # Long along forward, and forward is north: long along north.
    north_bound = PatchFrame(0.0, 0.0, math.pi / 2, 512, 0.2)
    np.testing.assert_allclose(
        north_bound.rotate_covariance_to_enu(np.diag([9.0, 1.0])), np.diag([1.0, 9.0]), atol=1e-12
    )
    assert north_bound.rotate_covariance_to_enu(np.zeros((3, 4, 2, 2))).shape == (3, 4, 2, 2)


@pytest.mark.parametrize(
    "values",
    [(math.nan, 0, 0, 9, 1), (0, 0, math.inf, 9, 1), (0, 0, 0, 0, 1), (0, 0, 0, 9, 0), (0, 0, 0, 9, math.nan)],
)
def test_frames_that_cannot_be_are_refused(values: tuple[float, float, float, int, float]) -> None:
    with pytest.raises(GeometryError, match="patch"):
        PatchFrame(*values)
