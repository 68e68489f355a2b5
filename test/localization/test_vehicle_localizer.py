"""A vehicle is followed on a map without ROS, and whatever cannot be used is rejected for a reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes.bundle import GREY
from fakes.vehicle import StraightDrive, picture

from geoflow_ros.errors import TileMissingError
from geoflow_ros.inference import Fix
from geoflow_ros.localization import FrameRejected, GnssPosition, InputRejected, RejectReason, VehicleLocalizer
from geoflow_ros.localization.picture_check import MOST_FROZEN_M
from geoflow_ros.stopwatch import Stopwatch
from geoflow_ros.tracking import OdometryPose, StartPose

MakeVehicle = Callable[..., VehicleLocalizer]


@pytest.fixture
def vehicle(make_vehicle: MakeVehicle) -> StraightDrive:
    """A vehicle with a fresh track at the map's centre, heading north."""
    drive = StraightDrive(make_vehicle())
    drive.drive(0.1)
    drive.start()
    drive.drive(0.1)
    return drive


def rejection(look: Callable[[], Any]) -> FrameRejected:
    with pytest.raises(FrameRejected) as caught:
        look()
    return caught.value


def test_a_picture_becomes_a_pose_of_base_link(vehicle: StraightDrive) -> None:
    fix = vehicle.look()
    # the picture says "at the patch's centre", which lies where the track had the camera: the lever arm cancels
    assert fix.position_m == pytest.approx([vehicle.east_m, vehicle.north_m], abs=0.5)
    assert fix.yaw_rad == pytest.approx(math.pi / 2, abs=0.05)
    assert fix.stamp_ns == fix.track.stamp_ns == vehicle.t_ns
    east_m, north_m = vehicle.localizer.satellite_map.datum.to_enu(fix.latitude_deg, fix.longitude_deg)
    assert (float(east_m), float(north_m)) == pytest.approx(tuple(fix.position_m), abs=1e-6)
    assert np.linalg.eigvalsh(fix.covariance)[0] > 0.0
    assert not fix.relocalized


def test_a_frozen_camera_gives_no_pose_until_it_shows_something_else(vehicle: StraightDrive) -> None:
    still = picture(number=5)
    vehicle.localizer.localize(still, vehicle.t_ns)
    vehicle.drive(0.1)  # half a metre
    vehicle.localizer.localize(still, vehicle.t_ns)
    vehicle.drive(0.2)
    refused = rejection(lambda: vehicle.localizer.localize(still, vehicle.t_ns))
    assert refused.reason is RejectReason.IMAGE
    assert "the camera is frozen" in refused.detail
    vehicle.drive(0.2)
    assert vehicle.look().stamp_ns == vehicle.t_ns


def test_a_camera_that_stands_is_not_frozen_though_fixes_move_the_track(vehicle: StraightDrive) -> None:
    still = picture(red=GREY + 12, number=5)  # some metres ahead of where the track began
    before = vehicle.localizer.newest_track()
    for _ in range(4):
        vehicle.drive(0.2, speed_mps=0.0)
        vehicle.localizer.localize(still, vehicle.t_ns)
    after = vehicle.localizer.newest_track()
    assert before is not None
    assert after is not None
    assert math.hypot(after.east_m - before.east_m, after.north_m - before.north_m) > MOST_FROZEN_M


def test_a_covered_camera_gives_no_pose(vehicle: StraightDrive) -> None:
    refused = rejection(lambda: vehicle.localizer.localize(np.zeros((64, 256, 3), np.uint8), vehicle.t_ns))
    assert refused.reason is RejectReason.IMAGE
    assert "shows nothing" in refused.detail


def test_the_stages_are_timed_and_those_of_the_caller_kept(vehicle: StraightDrive) -> None:
    watch = Stopwatch()
    with watch.stage("decode"):
        rgb = picture()
    fix = vehicle.localizer.localize(rgb, vehicle.t_ns, watch)
    assert list(fix.stages_ms) == ["decode", "prior", "warp", "patch", "satellite", "ground", "refine", "covariance"]


def test_the_same_drive_gives_the_same_answers(make_vehicle: MakeVehicle) -> None:
    def answers() -> list[Any]:
        drive = StraightDrive(make_vehicle(patch_range_m=1.0))
        drive.drive(0.1)
        drive.start()
        found = []
        for _ in range(6):
            drive.drive(0.2, 8.0)
            fix = drive.look()
            found.append((tuple(fix.position_m), fix.covariance.tobytes(), fix.track.covariance.tobytes()))
        return found

    assert answers() == answers()


def test_a_picture_without_a_stamp_or_not_newer_than_the_last_is_out_of_order(vehicle: StraightDrive) -> None:
    assert rejection(lambda: vehicle.localizer.localize(picture(), 0)).reason is RejectReason.ORDER
    vehicle.look()
    again = rejection(vehicle.look)
    assert again.reason is RejectReason.DUPLICATE
    at_ns = vehicle.t_ns - 100_000_000
    late = rejection(lambda: vehicle.localizer.localize(picture(number=at_ns), at_ns))
    assert late.reason is RejectReason.ORDER
    assert "0.100 s behind" in late.detail


def test_without_a_start_there_is_no_prior(make_vehicle: MakeVehicle) -> None:
    drive = StraightDrive(make_vehicle())
    drive.drive()
    rejected = rejection(drive.look)
    assert rejected.reason is RejectReason.PRIOR
    assert "start pose" in rejected.detail
    assert rejected.track is None


def test_an_uncertain_position_or_heading_is_not_searched_around(make_vehicle: MakeVehicle) -> None:
    for start, word in (({"position_std_m": 40.0}, "position"), ({"yaw_std_deg": 50.0}, "heading")):
        drive = StraightDrive(make_vehicle())
        drive.drive()
        drive.start(**start)
        drive.drive()
        rejected = rejection(drive.look)
        assert rejected.reason is RejectReason.UNCERTAIN
        assert word in rejected.detail


def test_outside_the_map_no_patch_is_cut(vehicle: StraightDrive) -> None:
    vehicle.east_m = 5_000.0
    vehicle.start()
    vehicle.drive()
    assert rejection(vehicle.look).reason is RejectReason.MAP


def test_a_tile_that_is_missing_is_a_tile_error(vehicle: StraightDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(frame: Any) -> Any:
        raise TileMissingError("no tile there")

    monkeypatch.setattr(vehicle.localizer.satellite_map, "patch", fail)
    assert rejection(vehicle.look).reason is RejectReason.TILES


def test_a_picture_of_another_shape_is_refused_and_the_track_goes_on(vehicle: StraightDrive) -> None:
    rejected = rejection(lambda: vehicle.localizer.localize(np.zeros((50, 50, 3), np.uint8), vehicle.t_ns))
    assert rejected.reason is RejectReason.IMAGE
    vehicle.drive()
    assert vehicle.look().stamp_ns == vehicle.t_ns


def test_a_method_that_fails_in_any_way_is_a_back_end_error(
    vehicle: StraightDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Fix:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(vehicle.localizer.localizer, "localize", fail)
    rejected = rejection(vehicle.look)
    assert rejected.reason is RejectReason.BACKEND
    assert rejected.detail == "RuntimeError: out of memory"


def test_an_answer_outside_the_search_area_is_rejected_and_brings_the_track(vehicle: StraightDrive) -> None:
    rejected = rejection(lambda: vehicle.look(red=255))
    assert rejected.reason is RejectReason.UNTRUSTED
    assert rejected.track is not None
    assert rejected.track.north_m == pytest.approx(vehicle.north_m, abs=0.5)


def test_an_answer_that_contradicts_the_track_is_an_outlier(make_vehicle: MakeVehicle) -> None:
    drive = StraightDrive(make_vehicle())
    drive.drive()
    drive.start(position_std_m=0.5)
    drive.drive()
    rejected = rejection(lambda: drive.look(red=200))
    assert rejected.reason is RejectReason.OUTLIER
    assert rejected.track is not None


def test_a_picture_that_says_nothing_is_uninformative(vehicle: StraightDrive) -> None:
    rejected = rejection(lambda: vehicle.look(blue=255))
    assert rejected.reason is RejectReason.UNINFORMATIVE
    assert rejected.track is not None


def test_odometry_that_cannot_be_used_is_rejected(vehicle: StraightDrive) -> None:
    with pytest.raises(InputRejected, match="not finite") as caught:
        vehicle.localizer.add_odometry(OdometryPose(vehicle.t_ns + 1, math.nan, 0.0, 0.0))
    assert caught.value.reason is RejectReason.ODOMETRY


def test_after_odometry_began_again_older_pictures_are_in_order(vehicle: StraightDrive) -> None:
    vehicle.look()
    vehicle.t_ns -= 60 * 10**9
    with pytest.raises(InputRejected, match="jumped back"):
        vehicle.localizer.add_odometry(vehicle.odometry())
    vehicle.start()
    vehicle.drive()
    assert vehicle.look().stamp_ns == vehicle.t_ns


def test_a_start_pose_without_a_stamp_is_now(vehicle: StraightDrive) -> None:
    start = vehicle.localizer.start(StartPose(0, 1.0, 2.0, 0.0, np.eye(3)))
    assert start.stamp_ns == vehicle.t_ns
    with pytest.raises(InputRejected, match="not finite") as caught:
        vehicle.localizer.start(StartPose(0, math.nan, 2.0, 0.0, np.eye(3)))
    assert caught.value.reason is RejectReason.START


def gnss(vehicle: StraightDrive, seconds_ago: float = 0.0) -> GnssPosition:
    datum = vehicle.localizer.satellite_map.datum
    lat, lon = datum.to_latlon(10.0, 20.0)
    return GnssPosition(vehicle.t_ns - round(seconds_ago * 1e9), float(lat), float(lon), np.diag([100.0, 1.0]))


def test_a_satellite_fix_and_a_heading_start_a_track(make_vehicle: MakeVehicle) -> None:
    drive = StraightDrive(make_vehicle())
    drive.drive()
    drive.localizer.add_gnss(gnss(drive))
    assert drive.localizer.start_from_gnss() is None
    drive.localizer.add_heading(drive.t_ns, 1.0, 0.01)
    start = drive.localizer.start_from_gnss()
    assert start is not None
    assert (start.east_m, start.north_m, start.yaw_rad) == pytest.approx((10.0, 20.0, 1.0), abs=1e-3)
    np.testing.assert_allclose(np.diag(start.covariance)[:2], [100.0, 9.0])  # no surer than a start pose may be
    assert drive.localizer.start_from_gnss() is None


def test_a_satellite_fix_of_another_time_than_the_heading_starts_nothing(make_vehicle: MakeVehicle) -> None:
    drive = StraightDrive(make_vehicle())
    drive.drive()
    drive.localizer.add_gnss(gnss(drive, seconds_ago=5.0))
    drive.localizer.add_heading(drive.t_ns, 1.0, 0.01)
    with pytest.raises(InputRejected, match="5.0 s apart") as caught:
        drive.localizer.start_from_gnss()
    assert caught.value.reason is RejectReason.START


def test_relocalizing_keeps_the_pose_and_forgets_how_certain_it_was(vehicle: StraightDrive) -> None:
    vehicle.look()
    before = vehicle.localizer.newest_track()
    vehicle.localizer.relocalize()
    after = vehicle.localizer.newest_track()
    assert before is not None
    assert after is not None
    assert (after.east_m, after.north_m) == (before.east_m, before.north_m)
    assert after.covariance[0, 0] == pytest.approx(64.0, abs=0.5)


def test_without_a_track_there_is_nothing_to_relocalize_or_to_send(make_vehicle: MakeVehicle) -> None:
    localizer = make_vehicle()
    with pytest.raises(InputRejected, match="no track"):
        localizer.relocalize()
    assert localizer.newest_track() is None
    assert localizer.map_to_odom() is None
    assert localizer.newest_odometry_ns is None


def test_settings_change_from_one_frame_to_the_next(vehicle: StraightDrive) -> None:
    vehicle.look()
    vehicle.localizer.settings = replace(vehicle.localizer.settings, max_position_std_m=0.01)
    vehicle.drive()
    assert rejection(vehicle.look).reason is RejectReason.UNCERTAIN


class YawMethod:
    """A method that measures the yaw too, behind the same protocol."""

    def __init__(self, inner: Any, yaw_rad: float, variance: float) -> None:
        self._inner, self.yaw_rad, self.variance = inner, yaw_rad, variance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def localize(self, *arguments: Any) -> Fix:
        fix = self._inner.localize(*arguments)
        covariance = np.diag([0.0, 0.0, self.variance])
        covariance[:2, :2] = fix.covariance
        return replace(fix, yaw_rad=self.yaw_rad, pose_covariance=covariance)


def test_a_measured_yaw_is_published_with_its_variance_and_draws_the_track(make_vehicle: MakeVehicle) -> None:
    localizer = make_vehicle(camera_yaw_rad=0.5)
    drive = StraightDrive(localizer)
    drive.drive()
    drive.start(yaw_std_deg=5.0)
    drive.drive()
    localizer.localizer = YawMethod(localizer.localizer, math.pi / 2 + 0.5 + 0.05, 1e-4)
    before = localizer.newest_track()
    fix = drive.look()
    assert before is not None
    assert fix.yaw_rad == pytest.approx(math.pi / 2 + 0.05)
    assert fix.covariance[2, 2] == pytest.approx(1e-4)
    assert fix.track.yaw_rad == pytest.approx(math.pi / 2 + 0.05, abs=0.01)
    assert fix.track.yaw_std_rad < before.yaw_std_rad


def test_after_an_interruption_frames_fail_and_closing_waits_for_nothing(vehicle: StraightDrive) -> None:
    vehicle.localizer.interrupt()
    assert rejection(vehicle.look).reason is RejectReason.TILES
    vehicle.localizer.close()
