"""The synthetic world: what the camera sees is where the map says it is."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes.marks import magenta_centre, mark, pose

from geoflow_ros.errors import InputError, WorldError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.tiles import SatelliteMap, open_tile_source
from geoflow_ros.world import Area, Camera, Drive, HeadingError, PairSampler, Split, World, orthophoto, write_mbtiles
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.cells import CELL_M
from geoflow_ros.world.kinds import Label, Sort
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.places import city_window, sample_places
from geoflow_ros.world.raster import CityRaster, bake
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.windows import Windows


@pytest.fixture(scope="module")
def layout() -> CityLayout:
    return CityLayout.generate(5, 200.0)


@pytest.fixture(scope="module")
def raster(layout: CityLayout) -> CityRaster:
    return bake(layout, Appearance.sample(5), -192, 192, 384)


@pytest.mark.parametrize("heading_deg", [0.0, 37.0, 90.0, 200.0, -61.0])
@pytest.mark.parametrize(("forward", "right"), [(8.0, 0.0), (12.0, 4.0), (15.0, -7.0), (25.0, 3.0)])
def test_a_mark_on_the_ground_is_seen_where_it_is_projected(
    raster: CityRaster, heading_deg: float, forward: float, right: float
) -> None:
    yaw = np.radians(heading_deg)
    east, north = 3.0, -7.0
    at = (east + forward * np.cos(yaw) + right * np.sin(yaw), north + forward * np.sin(yaw) - right * np.cos(yaw))
    camera = Camera.perspective(1024, 256)
    view = render_views(Windows.stack([mark(raster, *at)]), camera, *pose(east, north, yaw))
    column, row = magenta_centre(view.rgb[0])
    expected = camera.project(forward, right, 0.0)
    assert column == pytest.approx(expected[0], abs=4.0)
    assert row == pytest.approx(expected[1], abs=4.0)
    # and the depth there is the distance to it
    assert view.depth_m[0, round(expected[1]), round(expected[0])] == pytest.approx(np.hypot(forward, right), rel=0.03)


@pytest.mark.parametrize("heading_deg", [0.0, 90.0, 215.0])
def test_a_panorama_sees_the_same_mark_in_its_direction(raster: CityRaster, heading_deg: float) -> None:
    yaw = np.radians(heading_deg)
    camera = Camera.panorama(1024, 256)
    for bearing_deg in (-120.0, 0.0, 75.0):  # to the right of straight ahead
        a = yaw - np.radians(bearing_deg)
        at = (3.0 + 8 * np.cos(a), -7.0 + 8 * np.sin(a))
        view = render_views(Windows.stack([mark(raster, *at)]), camera, *pose(3.0, -7.0, yaw))
        column, row = magenta_centre(view.rgb[0])
        assert column == pytest.approx((bearing_deg / 360 + 0.5) * 1024 - 0.5, abs=4)
        assert row == pytest.approx(
            camera.project(8 * np.cos(np.radians(bearing_deg)), 8 * np.sin(np.radians(bearing_deg)), 0.0)[1], abs=4
        )


@pytest.mark.parametrize("heading_deg", [0.0, 45.0, 170.0, -100.0])
def test_the_same_mark_lies_in_the_patch_at_its_forward_and_right(raster: CityRaster, heading_deg: float) -> None:
    yaw = np.radians(heading_deg)
    frame = PatchFrame(3.0, -7.0, yaw, 512, 0.1958)
    at = frame.local_to_enu(np.array([12.0, -6.0]))
    patch, _ = render_patches(Windows.stack([mark(raster, *at)]), 512, 0.1958, *pose(3.0, -7.0, yaw))
    column, row = magenta_centre(patch[0])
    expected = frame.to_pixel(at)
    assert (column, row) == pytest.approx((expected[0], expected[1]), abs=0.5)
    assert column > 256
    assert row < 256


def test_a_pole_stands_at_its_bearing_and_reaches_its_height(layout: CityLayout, raster: CityRaster) -> None:

    table = np.array([[10.0, 2.0, 0.0, 3.0, 0.2, 0, 255, 0, 255, 0, int(Label.POLE)]], np.float32)
    flat = np.zeros_like(raster.height_dm)
    alone = replace(raster, parts=type(raster.parts)(table), height_dm=flat, material=flat)
    camera = Camera.perspective(1024, 256)
    view = render_views(Windows.stack([alone]), camera, *pose(0.0, 0.0, 0.0))
    rows, columns = np.nonzero(view.label[0] == Label.POLE)
    assert columns.mean() == pytest.approx(camera.project(10.0, -2.0, 1.0)[0], abs=1)
    assert rows.min() == pytest.approx(camera.project(10.0, -2.0, 3.0)[1], abs=2)
    assert rows.max() == pytest.approx(camera.project(10.0, -2.0, 0.0)[1], abs=2)


def test_a_wall_hides_what_stands_behind_it(raster: CityRaster) -> None:

    table = np.array([[30.0, 0.0, 0.0, 3.0, 0.2, 0, 255, 0, 255, 0, int(Label.POLE)]], np.float32)
    height = np.zeros_like(raster.height_dm)
    column, middle = int((20 - raster.west_m) / CELL_M), int(raster.north_m / CELL_M)
    height[middle - 60 : middle + 60, column : column + 8] = 60
    walled = replace(
        raster, parts=type(raster.parts)(table), height_dm=height, material=np.where(height > 0, 1, 0).astype(np.uint8)
    )
    view = render_views(Windows.stack([walled]), Camera.perspective(512, 128), *pose(0.0, 0.0, 0.0))
    assert not (view.label == Label.POLE).any()
    assert view.depth_m[0, 50, 256] == pytest.approx(20.0, abs=0.1)


@pytest.mark.parametrize("lat", [0.0, 49.0, -37.0, 70.0])
def test_map_tiles_put_a_known_place_where_its_latitude_and_longitude_are(tmp_path: Path, lat: float) -> None:
    world = World(CityLayout.generate(5, 200.0), Appearance.sample(5), Datum(lat, 8.4))
    region = (-60.0, -60.0, 60.0, 60.0)
    path = write_mbtiles(world, tmp_path / "map.mbtiles", region, tile_format="png")
    source = open_tile_source(path)
    frame = PatchFrame(5.0, -3.0, 0.0, 256, 0.25)
    patch = SatelliteMap(source, world.datum).patch(frame).pixels
    truth = orthophoto(world, (5.0 - 32, -3.0 - 32, 5.0 + 32, -3.0 + 32), 0.25)
    a, b = (
        cv2.GaussianBlur(cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 2)
        for i in (patch, truth)
    )
    shift, response = cv2.phaseCorrelate(a, b)
    assert np.hypot(*shift) < 0.1
    assert response > 0.5
    with sqlite3.connect(path) as db:
        metadata = dict(db.execute("SELECT name, value FROM metadata"))
    assert metadata["format"] == "png"
    assert metadata["bounds"]


def test_a_map_whose_side_is_just_over_a_block_is_whole() -> None:
    world = World(CityLayout.generate(5, 200.0), Appearance.sample(5))
    image = orthophoto(world, (-100.0, -20.0, 156.1, 20.0), 0.5)
    assert image.shape == (80, 512, 3)
    assert (image.max(axis=-1) > 0).all()


def test_neighbouring_windows_agree_where_they_overlap(layout: CityLayout) -> None:
    look = Appearance.sample(5)
    a, b = bake(layout, look, -100, 100, 200), bake(layout, look, -60, 100, 200)
    shift = int(40 / CELL_M)
    inner = slice(400, -400)
    left, right = a.height_dm[inner, shift:], b.height_dm[inner, : a.side - shift]
    assert (left == right).mean() > 0.999
    left, right = (
        a.orthophoto[inner, shift + 400 : -400].astype(int),
        b.orthophoto[inner, 400 : a.side - shift - 400].astype(int),
    )
    assert (np.abs(left - right).max(axis=-1) <= 3).mean() > 0.995


def test_a_seed_gives_the_same_world_and_another_seed_another(layout: CityLayout) -> None:
    again, other = CityLayout.generate(5, 200.0), CityLayout.generate(6, 200.0)
    assert np.array_equal(again.surface.corners, layout.surface.corners)
    assert len(other.surface.kind) != len(layout.surface.kind) or not np.array_equal(other.nodes, layout.nodes)


def test_the_map_is_older_than_the_street(raster: CityRaster) -> None:
    cars_in_photo, cars_in_street = raster.map_label == Label.CAR, raster.street_label == Label.CAR
    assert (cars_in_photo & ~cars_in_street).any()
    assert (cars_in_street & ~cars_in_photo).any()


def test_streets_are_full_of_things_that_tell_how_far_along_one_is(layout: CityLayout) -> None:
    metres = sum(r.length_m for r in layout.roads)
    poles = np.isin(
        layout.furniture.sort, (Sort.LAMP, Sort.SIGN, Sort.BIN, Sort.HYDRANT, Sort.CABINET, Sort.BOLLARD)
    ).sum()
    assert len(layout.surface.kind) / metres > 0.5
    assert poles / metres > 0.1


def test_numpy_and_torch_render_the_same_picture(raster: CityRaster) -> None:
    torch = pytest.importorskip("torch", reason="torch is an extra")
    windows, camera = Windows.stack([raster, raster]), Camera.perspective(256, 64)
    pose = (np.array([0, 1]), *(np.array(v, np.float32) for v in ([3.0, 20.0], [-7.0, 4.0], [0.3, 2.0])))
    arrays = {name: np.ascontiguousarray(value) for name, value in vars(windows).items() if name != "side"}
    in_torch = replace(windows, **{name: torch.from_numpy(array) for name, array in arrays.items()})
    view = render_views(windows, camera, *pose)
    other = render_views(in_torch, camera, *(torch.from_numpy(p) for p in pose))
    assert (np.abs(view.rgb.astype(int) - other.rgb.numpy()).max(axis=-1) <= 4).mean() > 0.99
    assert (view.label == other.label.numpy()).mean() > 0.995
    patch, _ = render_patches(windows, 128, 0.3916, *pose)
    patch_torch, _ = render_patches(in_torch, 128, 0.3916, *(torch.from_numpy(p) for p in pose))
    assert np.abs(patch.astype(int) - patch_torch.numpy()).max() <= 3


def test_vehicles_stand_on_the_road_and_in_no_parked_car() -> None:
    window = city_window(77, 77)
    places = sample_places(window, np.random.default_rng(0), 60)
    columns = ((places.east_m - window.raster.west_m) / CELL_M).astype(int)
    rows = ((window.raster.north_m - places.north_m) / CELL_M).astype(int)
    ground = np.isin(window.raster.street_label[rows, columns], (Label.ROAD, Label.PAINT, Label.REPAIR, Label.COVER))
    assert ground.mean() > 0.95
    assert (window.raster.height_dm[rows, columns] <= 1).all()


def test_pairs_are_functions_of_their_number_and_keep_to_the_search_square() -> None:
    sampler = PairSampler(Area.CROSS, 3, 128, (64, 256), 0.7832, 20.0, HeadingError())
    again = PairSampler(Area.CROSS, 3, 128, (64, 256), 0.7832, 20.0, HeadingError())
    first = sampler.pair(1)
    sampler.pair(0)
    assert np.array_equal(first.ground, again.pair(1).ground)
    assert np.array_equal(first.offset_m, again.pair(1).offset_m)
    offsets = np.array([sampler.pair(i).offset_m for i in range(16)])
    assert (np.abs(offsets) <= 20).all()
    assert np.abs(offsets).max() > 10


def test_no_split_shares_a_seed_with_another() -> None:
    lasts = {s: s.seed((1 << 20) - 1, (1 << 20) - 1) for s in Split}
    firsts = {s: s.seed(0, 0) for s in Split}
    order = sorted(Split, key=lambda s: firsts[s])
    assert all(lasts[a] < firsts[b] for a, b in zip(order, order[1:], strict=False))
    with pytest.raises(InputError):
        Split.TEST.seed(1 << 20, 0)


def test_a_drive_turns_keeps_to_the_road_and_its_dead_reckoning_drifts() -> None:
    world = World.of(Area.CROSS, 1)
    drive = Drive(world, 1, 40.0)
    s, o = drive.states, drive.odometry()
    assert np.abs(np.diff(s.yaw_rad)).sum() > np.pi / 2
    assert 3 < s.speed_mps.mean() < 12
    moved = np.hypot(np.diff(s.east_m), np.diff(s.north_m))
    assert moved.max() < 12 / 50
    # the pose moves where it points
    along = np.arctan2(np.diff(s.north_m), np.diff(s.east_m))
    assert np.abs(np.angle(np.exp(1j * (along - s.yaw_rad[:-1])))).max() < 0.12
    yaw = s.yaw_rad[0]
    east = s.east_m[0] + o.x_m * np.cos(yaw) - o.y_m * np.sin(yaw)
    north = s.north_m[0] + o.x_m * np.sin(yaw) + o.y_m * np.cos(yaw)
    drift = np.hypot(east - s.east_m, north - s.north_m)
    assert drift[0] < 0.1
    assert drift[-1] > 3
    assert np.degrees(np.abs(drive.headings() - s.yaw_rad)).mean() < 4
    again = Drive(world, 1, 40.0)
    assert np.array_equal(again.odometry().x_m, o.x_m)
    assert np.array_equal(again.frame(3.0), drive.frame(3.0))


def test_the_odometry_says_how_good_its_twist_is() -> None:
    world = World.of(Area.CROSS, 1)
    speeds, yaw_rates = [], []
    for seed in range(12):
        drive = Drive(world, seed, 20.0)
        s, o = drive.states, drive.odometry()
        of_speed, of_yaw_rate = o.twist_variances
        assert of_speed.min() > 0.0
        speeds.append(np.mean((o.speed_mps - s.speed_mps) ** 2 / of_speed))
        yaw_rates.append(np.mean((o.yaw_rate_rps - s.yaw_rate_rps) ** 2 / of_yaw_rate))
    assert 0.7 < np.mean(speeds) < 1.4
    assert 0.7 < np.mean(yaw_rates) < 1.4


def test_impossible_worlds_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="200 m"):
        CityLayout.generate(0, 10.0)
    with pytest.raises(InputError, match="positive"):
        Camera.pinhole(100, 100, 0, 1, 1, 1, 1)
    world = World.of(Area.CROSS, 0)
    with pytest.raises(WorldError, match="outside"):
        world.window(1e4, 0)
    with pytest.raises(WorldError, match="duration"):
        Drive(world, 0, 0.0)
    with pytest.raises(WorldError, match="west < east"):
        orthophoto(world, (1, 0, 0, 1))
