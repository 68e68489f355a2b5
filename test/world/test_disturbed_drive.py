"""A drive under conditions: what stays for the whole drive stays, what moves moves, and the truth is not moved."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from geoflow_ros.localization import CameraFrame
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import Heading, OdometryPose, StartPose
from geoflow_ros.world import Area, Camera, Drive, Split, World
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.cells import CELL_M
from geoflow_ros.world.conditions import EASY, HARD, ROAD
from geoflow_ros.world.disturbed_drive import DisturbedDrive, _around, _wandering
from geoflow_ros.world.drive_sensors import drive_events, image_times_s
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.other_style import other_style_photo
from geoflow_ros.world.raster import CityRaster, bake

SECONDS = 8.0
CAMERA = Camera.perspective(256, 64)


@pytest.fixture(scope="module")
def world() -> World:
    return World(CityLayout.generate(5, 320.0), Appearance.sample(5))


@pytest.fixture(scope="module")
def raster(world: World) -> CityRaster:
    return bake(world.layout, world.appearance, -40.0, 30.0, 60.0)


def drive_in(world: World, seed: int = 1, conditions: object = ROAD, **given: object) -> DisturbedDrive:
    return DisturbedDrive(world, seed, SECONDS, CAMERA, conditions=conditions, **given)  # type: ignore[arg-type]


def test_a_drive_that_nothing_disturbs_is_the_plain_one(world: World, raster: CityRaster) -> None:
    plain, easy = Drive(world, 1, SECONDS, CAMERA), drive_in(world, conditions=EASY)
    np.testing.assert_array_equal(plain.frame(1.0), easy.frame(1.0))
    np.testing.assert_array_equal(easy.photo(raster), raster.orthophoto)


def test_conditions_disturb_camera_and_map_alike_on_every_run_and_not_the_way(world: World, raster: CityRaster) -> None:
    first, again, easy = drive_in(world), drive_in(world), drive_in(world, conditions=EASY)
    np.testing.assert_array_equal(first.frame(2.0), again.frame(2.0))
    np.testing.assert_array_equal(first.photo(raster), again.photo(raster))
    assert first.camera_at(2.0) == easy.camera_at(2.0)
    assert np.abs(first.frame(2.0).astype(int) - easy.frame(2.0)).mean() > 1.0
    assert not np.array_equal(first.photo(raster), raster.orthophoto)


def test_colours_are_changed_strongly_where_that_is_asked_for(world: World, raster: CityRaster) -> None:
    easy, changed = (drive_in(world, conditions=EASY, photometric=wanted) for wanted in (False, True))
    assert np.abs(changed.frame(1.0).astype(int) - easy.frame(1.0)).mean() > 1.0
    assert not np.array_equal(changed.photo(raster), raster.orthophoto)


def test_mounting_lens_and_weather_stay_for_a_drive_and_the_suspension_moves(world: World) -> None:
    drive = drive_in(world, conditions=HARD)
    seen = [drive.disturbance_at(t) for t in np.arange(0.0, SECONDS, 0.2)]
    for name in ("wet", "is_night", "dirt", "stops", "white_balance", "noise", "dirt_pattern"):
        assert len({getattr(view, name) for view in seen}) == 1, name
    for name in ("height_scale", "focal_scale", "radial"):
        assert len({getattr(view.camera, name) for view in seen}) == 1, name
    assert len({view.pattern for view in seen}) == len(seen)
    assert 1 < len({view.vehicle_pattern for view in seen}) <= math.ceil(SECONDS / 4.0)
    pitches = np.degrees([view.camera.ground_pitch_rad for view in seen])
    assert 0.0 < np.abs(np.diff(pitches)).max() < 4.0 * HARD.camera.pitch_sigma_deg


def test_pitch_is_as_far_off_as_conditions_say_and_three_quarters_of_its_variance_are_the_mountings(
    world: World,
) -> None:
    flat = replace(ROAD, camera=replace(ROAD.camera, grade_change_sigma=0.0, gradient_sigma=0.0, crossfall_max=0.0))
    of_drives = []
    for seed in range(30):
        drive = drive_in(world, seed, flat)
        of_drives.append([drive.disturbance_at(t).camera.pitch_rad for t in (0.0, 4.0, 8.0)])
    pitches = np.degrees(of_drives)
    assert pitches.std() == pytest.approx(ROAD.camera.pitch_sigma_deg, rel=0.3)
    within = np.sqrt(pitches.var(axis=1, ddof=1).mean())
    assert within == pytest.approx(0.5 * ROAD.camera.pitch_sigma_deg, rel=0.3)


def test_what_wanders_keeps_its_spread_and_forgets_after_its_length() -> None:
    along = np.arange(0.0, 4000.0, 0.5)
    values = _wandering(along, 5.0, np.random.default_rng(0))
    assert values.std() == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(values[:-10], values[10:])[0, 1] == pytest.approx(math.exp(-1.0), abs=0.1)
    assert abs(np.corrcoef(values[:-100], values[100:])[0, 1]) < 0.15


def test_a_seam_lies_at_one_place_of_the_map_whichever_window_it_is_seen_in(world: World) -> None:
    drive = drive_in(world, conditions=replace(HARD, map=replace(HARD.map, seam_share=100.0)))
    seam = drive._map.seam
    assert seam is not None
    normal = np.array([math.cos(seam.normal_rad), math.sin(seam.normal_rad)])  # east, south
    on_it = seam.distance_m * normal
    for west, north in ((-60.0, 20.0), (-16.0, 48.0)):
        window = bake(world.layout, world.appearance, west, north, 40.0)
        here = _around(drive._map, window).seam
        assert here is not None
        middle = np.array([window.west_m + window.side_m / 2, window.side_m / 2 - window.north_m])
        assert (on_it - middle) @ normal == pytest.approx(here.distance_m)


def test_a_map_of_another_style_has_the_citys_shapes_in_a_few_colours(raster: CityRaster) -> None:
    drawn = other_style_photo(4)(raster)
    assert drawn.shape == raster.orthophoto.shape
    inner = cv2.erode((raster.map_label == Label.ROAD).astype(np.uint8), np.ones((7, 7))) > 0
    assert len(np.unique(drawn[inner], axis=0)) == 1
    np.testing.assert_array_equal(drawn, other_style_photo(4)(raster))
    assert not np.array_equal(drawn, other_style_photo(5)(raster))
    assert raster.side * CELL_M == raster.side_m


def test_events_come_in_the_order_of_their_stamps_with_sensors_before_the_picture(world: World) -> None:
    drive = Drive(world, 1, 1.0, CAMERA)
    first_ns = 7 * NANOSECONDS_PER_SECOND
    start, *events = list(drive_events(drive, first_ns, rate_hz=2.0))
    assert isinstance(start, StartPose)
    assert start.stamp_ns == first_ns
    assert 3.0 <= math.dist((start.east_m, start.north_m), drive.state_at(0.0)[:2]) <= 7.0
    stamps = [event.stamp_ns for event in events if not isinstance(event, StartPose)]
    assert stamps == sorted(stamps)
    frames = [k for k, event in enumerate(events) if isinstance(event, CameraFrame)]
    assert [stamps[k] - first_ns for k in frames] == [0, NANOSECONDS_PER_SECOND // 2]
    for k in frames:
        assert {type(event) for event in events[k - 2 : k]} == {OdometryPose, Heading}
        assert stamps[k - 1] == stamps[k]
    picture = events[frames[0]]
    assert isinstance(picture, CameraFrame)
    assert np.abs(picture.rgb().astype(int) - drive.frame(0.0)).mean() < 8.0


def test_pictures_are_taken_at_times_of_states_whatever_the_rate() -> None:
    np.testing.assert_array_equal(image_times_s(1.0, 5.0), np.arange(5) / 5.0)
    for rate_hz in (1.5, 7.0, 30.0, 200.0):
        times = image_times_s(3.0, rate_hz)
        assert len(times) == min(math.ceil(3.0 * rate_hz), 151)
        np.testing.assert_allclose(times * 50.0, np.round(times * 50.0), atol=1e-9)
        assert (np.diff(times) > 0).all()


def test_splits_and_conditions_give_other_worlds_and_the_test_split_is_the_demos() -> None:
    usual, other = (World.of(Area.CROSS, 3, split=split, side_m=200.0) for split in (Split.TEST, Split.VALIDATION))
    assert usual.layout.seed == Split.TEST.seed(3, (1 << 20) - 1)
    assert other.layout.seed != usual.layout.seed
    assert World.of(Area.CROSS, 3, conditions=ROAD, side_m=200.0).appearance.seed == usual.appearance.seed
    town = World.of(Area.SAME, 3, split=Split.VALIDATION)
    assert town.appearance.seed == Split.VALIDATION.seed(3, (1 << 20) - 1)
