"""What a vehicle's pose is worth, which input is at fault, and which of its fixes are news."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from fakes.bundle import GREY
from fakes.vehicle import StraightDrive, picture

from geoflow_ros.localization import (
    CameraFrame,
    FrameRejected,
    InputRejected,
    RejectReason,
    VehicleFix,
    VehicleLocalizer,
    replay,
)
from geoflow_ros.localization.rejection import FAULTS
from geoflow_ros.tracking import TrackState, TrackStatus

MakeVehicle = Callable[..., VehicleLocalizer]
BLACK = np.zeros((64, 256, 3), np.uint8)
# The model's answer is the centre of the patch: with a patch of its own for every image, that is where the vehicle is.
OWN_PATCHES = {"patch_range_m": 0.0}


@pytest.fixture
def vehicle(make_vehicle: MakeVehicle) -> StraightDrive:
    """A vehicle with a track at the map's centre, heading north, and one fix."""
    drive = started(make_vehicle(output_spacing_m=0.0, **OWN_PATCHES))
    drive.drive(0.1)
    drive.look()
    return drive


def started(localizer: VehicleLocalizer) -> StraightDrive:
    drive = StraightDrive(localizer)
    drive.drive(0.1)
    drive.start()
    return drive


def status(vehicle: StraightDrive) -> TrackStatus:
    return vehicle.localizer.status


def look_black(vehicle: StraightDrive) -> FrameRejected:
    with pytest.raises(FrameRejected) as caught:
        vehicle.localizer.localize(BLACK, vehicle.t_ns)
    return caught.value


def go_black(vehicle: StraightDrive, metres: float) -> None:
    """Drives on with a covered lens, an image every metre."""
    for _ in range(round(metres)):
        vehicle.drive(0.2, 5.0)
        look_black(vehicle)


@pytest.mark.parametrize("looks", [True, False])
def test_a_vehicle_that_stands_for_ten_minutes_keeps_its_heading(vehicle: StraightDrive, looks: bool) -> None:
    before = vehicle.localizer.newest_track()
    assert before is not None
    vehicle.stand(600.0, gyro_drift_deg_per_s=0.3, looks=looks)
    after = vehicle.localizer.newest_track()
    assert after is not None
    assert after.yaw_rad == pytest.approx(before.yaw_rad, abs=math.radians(0.5))
    assert after.yaw_std_rad < before.yaw_std_rad + math.radians(0.5)
    vehicle.drive(1.0)
    fix = vehicle.look()
    assert fix.position_m == pytest.approx([vehicle.east_m, vehicle.north_m], abs=3.0)
    assert status(vehicle).state is TrackState.TRACKING


def test_every_reason_of_a_rejection_names_an_input() -> None:
    assert FAULTS.keys() == {*RejectReason}
    assert all(FAULTS.values())


def test_what_is_missing_before_a_track_is_named(make_vehicle: MakeVehicle) -> None:
    drive = StraightDrive(make_vehicle())
    assert (status(drive).state, status(drive).fault) == (TrackState.WAITING, "odometry")
    drive.drive(0.1)
    assert (status(drive).state, status(drive).fault) == (TrackState.WAITING, "start")
    drive.start()
    drive.drive(0.1)
    assert (status(drive).state, status(drive).fault) == (TrackState.WAITING, "camera")
    drive.look()
    assert status(drive) == TrackStatus(TrackState.TRACKING, "", "", status(drive).unsupported_m, 1.0)


def test_a_fix_says_what_the_track_is_worth_with_it(vehicle: StraightDrive) -> None:
    vehicle.drive(0.2)
    assert vehicle.look().status.state is TrackState.TRACKING


def test_a_covered_camera_degrades_the_track_and_loses_it_within_20_m(vehicle: StraightDrive) -> None:
    go_black(vehicle, 10.0)
    assert status(vehicle).state is TrackState.DEGRADED
    assert vehicle.localizer.map_to_odom() is not None
    go_black(vehicle, 10.0)
    lost = status(vehicle)
    assert (lost.state, lost.fault) == (TrackState.LOST, "camera")
    assert "no fix for 16 m" in lost.reason
    assert "shows nothing" in lost.reason
    assert vehicle.localizer.map_to_odom() is None
    assert vehicle.localizer.newest_track() is not None


def test_answers_that_stay_in_the_patchs_centre_lose_the_track(make_vehicle: MakeVehicle) -> None:
    vehicle = started(make_vehicle(patch_range_m=5.0))
    refused = None
    while refused is None:
        vehicle.drive(0.2, 8.0)
        try:
            vehicle.look()
        except FrameRejected as rejected:
            refused = rejected
    assert refused.reason is RejectReason.UNPROVEN
    assert vehicle.north_m < 20.0
    assert status(vehicle).state is TrackState.LOST
    assert "do not follow the motion" in status(vehicle).reason
    assert status(vehicle).fault == "camera or map"


def test_one_fix_does_not_find_a_lost_track_and_some_that_agree_do(vehicle: StraightDrive) -> None:
    go_black(vehicle, 20.0)
    answers: list[VehicleFix | FrameRejected] = []
    for _ in range(10):
        vehicle.drive(0.4, 5.0)
        try:
            answers.append(vehicle.look())
        except FrameRejected as rejected:
            answers.append(rejected)
    unproven = [answer for answer in answers if isinstance(answer, FrameRejected)]
    assert {answer.reason for answer in unproven} == {RejectReason.UNPROVEN}
    assert 4 <= len(unproven) <= 6  # 10 m, one fix in 2 m
    assert all(answer.track is not None for answer in unproven)
    found = answers[len(unproven)]
    assert isinstance(found, VehicleFix)
    assert found.relocalized
    assert status(vehicle).state is TrackState.TRACKING
    assert vehicle.localizer.map_to_odom() is not None


@pytest.mark.parametrize("help_", ["start", "relocalize"])
def test_whoever_says_where_the_vehicle_is_ends_lost(vehicle: StraightDrive, help_: str) -> None:
    go_black(vehicle, 20.0)
    getattr(vehicle if help_ == "start" else vehicle.localizer, help_)()
    vehicle.drive(0.2)
    vehicle.look()
    assert status(vehicle).state is TrackState.TRACKING


def test_a_vehicle_at_rest_keeps_its_state_whatever_the_camera_shows(vehicle: StraightDrive) -> None:
    for _ in range(50):
        vehicle.drive(0.2, speed_mps=0.0)
        look_black(vehicle)
    assert status(vehicle).state is TrackState.TRACKING


def test_a_camera_or_an_odometry_that_stopped_is_at_fault(vehicle: StraightDrive) -> None:
    vehicle.drive(6.0, 5.0)
    silent = status(vehicle)
    assert (silent.state, silent.fault) == (TrackState.DEGRADED, "camera")
    assert "no image for 6.0 s" in silent.reason
    vehicle.t_ns += 5_000_000_000
    with pytest.raises(FrameRejected):
        vehicle.localizer.localize(picture(), vehicle.t_ns)
    silent = status(vehicle)
    assert (silent.state, silent.fault) == (TrackState.WAITING, "odometry")
    assert "no odometry for 5.0 s" in silent.reason


def test_a_track_that_is_too_uncertain_to_be_searched_around_is_lost(vehicle: StraightDrive) -> None:
    vehicle.localizer.settings = replace(vehicle.localizer.settings, max_position_std_m=0.01)
    vehicle.drive(0.2)
    with pytest.raises(FrameRejected):
        vehicle.look()
    assert (status(vehicle).state, status(vehicle).fault) == (TrackState.LOST, "start")
    assert "give an initialpose" in status(vehicle).reason


def test_an_image_that_cannot_be_decoded_is_the_cameras_fault(vehicle: StraightDrive) -> None:
    for _ in range(10):
        vehicle.drive(0.2, 5.0)
        (answer,) = replay(vehicle.localizer, [CameraFrame(vehicle.t_ns, b"no picture")])
        assert isinstance(answer, FrameRejected)
        assert answer.reason is RejectReason.IMAGE
    assert (status(vehicle).state, status(vehicle).fault) == (TrackState.DEGRADED, "camera")
    assert "damaged" in status(vehicle).reason


def news(vehicle: StraightDrive, speed_mps: float, seconds: float) -> list[float]:
    """Drives on with an image every 0.2 s; returns where the fixes were that are news, metres of the odometry."""
    found = []
    for _ in range(round(seconds / 0.2)):
        vehicle.drive(0.2, speed_mps)
        if vehicle.look().is_news:
            found.append(vehicle.x_m)
    return found


def test_one_fix_in_10_m_is_news_and_none_at_rest(make_vehicle: MakeVehicle) -> None:
    vehicle = started(make_vehicle(**OWN_PATCHES))
    places = news(vehicle, 5.0, 10.0)
    assert len(places) == 5  # the first, and one in every 10 of 50 m
    assert np.diff(places).min() >= 9.5  # of the odometry; the track's metres may be some per cent longer
    assert news(vehicle, 0.0, 20.0) == []
    vehicle.localizer.settings = replace(vehicle.localizer.settings, output_spacing_m=0.0)
    assert len(news(vehicle, 5.0, 2.0)) == 10


def test_odometry_that_trembles_at_rest_brings_no_news(make_vehicle: MakeVehicle) -> None:
    vehicle = started(make_vehicle(**OWN_PATCHES))
    assert len(news(vehicle, 0.0, 0.2)) == 1
    found = []
    for number in range(100):  # 20 cm to and fro from image to image: 20 m of it
        vehicle.drive(0.2, -1.0 if number % 2 else 1.0)
        fix = vehicle.look()
        found.append(fix.is_news)
    assert fix.track.driven_m > 15.0
    assert not any(found)


def test_the_first_fix_of_another_track_is_news(make_vehicle: MakeVehicle) -> None:
    vehicle = started(make_vehicle(**OWN_PATCHES))
    assert len(news(vehicle, 5.0, 1.0)) == 1
    vehicle.start()
    assert len(news(vehicle, 5.0, 1.0)) == 1


def test_a_doubted_fix_is_published_with_the_covariance_that_it_counts_with(make_vehicle: MakeVehicle) -> None:
    vehicle = started(make_vehicle(**OWN_PATCHES))
    fix = vehicle.look()
    for number in range(20):
        vehicle.drive(1.0, 5.0)
        with suppress(FrameRejected):
            fix = vehicle.look(red=GREY + (34 if number % 2 else -34))  # 8 m ahead, 8 m behind, from image to image
        if fix.status.inflation > 1.2:
            break
    assert 1.2 < fix.status.inflation < 4.0
    stated = math.sqrt(np.linalg.det(fix.fix.covariance))
    assert math.sqrt(np.linalg.det(fix.covariance[:2, :2])) >= 0.99 * fix.status.inflation * stated


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_after_the_clock_jumped_the_track_goes_on_once_fixes_prove_it(vehicle: StraightDrive, jump_s: float) -> None:
    vehicle.t_ns += round(jump_s * 1e9)
    with pytest.raises(InputRejected, match="clock jumped"):
        vehicle.drive(0.02)
    vehicle.drive(0.1)
    track = vehicle.localizer.newest_track()
    assert track is not None
    assert (track.east_m, track.north_m) == pytest.approx((vehicle.east_m, vehicle.north_m), abs=3.0)
    said = []
    for _ in range(25):
        vehicle.drive(0.2)
        with suppress(FrameRejected):
            vehicle.look()
        said.append(status(vehicle))
    assert said[0].state is TrackState.LOST
    assert "fixes have to prove" in said[0].reason
    assert said[-1].state is TrackState.TRACKING


def test_odometry_of_another_clock_and_place_ends_the_track(vehicle: StraightDrive) -> None:
    vehicle.t_ns -= 3600 * 10**9
    vehicle.x_m += 5.0
    with pytest.raises(InputRejected, match="jumped back"):
        vehicle.drive(0.02)
    vehicle.drive(0.1)
    assert vehicle.localizer.newest_track() is None
    assert status(vehicle).state is TrackState.WAITING


def test_a_lost_track_does_not_outlive_its_clock(vehicle: StraightDrive) -> None:
    go_black(vehicle, 30.0)
    assert status(vehicle).state is TrackState.LOST
    vehicle.t_ns -= 3600 * 10**9
    with pytest.raises(InputRejected, match="jumped back"):
        vehicle.drive(0.02)
    assert vehicle.localizer.newest_track() is None
