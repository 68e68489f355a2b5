"""Where a track begins without an initialpose: a place that is named, the last pose on disk, a satellite fix."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.map import DATUM
from fakes.vehicle import BEGIN_NS, StraightDrive

from geoflow_ros.localization import GnssPosition, InputRejected, RejectReason, VehicleLocalizer
from geoflow_ros.localization.values import ResumeSettings, StartPlace
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND as NS
from geoflow_ros.tracking import OdometryPose, TrackState

MakeVehicle = Callable[..., VehicleLocalizer]


def gnss(drive: StraightDrive, covariance_m2: np.ndarray | None = None) -> GnssPosition:
    lat, lon = DATUM.to_latlon(drive.east_m, drive.north_m)
    return GnssPosition(drive.t_ns, float(lat), float(lon), covariance_m2)


def place(east_m: float, north_m: float, yaw_rad: float | None) -> StartPlace:
    lat, lon = DATUM.to_latlon(east_m, north_m)
    return StartPlace(float(lat), float(lon), yaw_rad, position_std_m=4.0)


# ---- a place that is named -------------------------------------------------------------------------------------------


def test_a_track_begins_at_the_place_that_is_named_and_only_once(make_vehicle: MakeVehicle) -> None:
    vehicle = make_vehicle(start_place=place(10.0, -20.0, 1.0))
    drive = StraightDrive(vehicle)
    drive.drive(0.1, speed_mps=0.0)
    track = vehicle.newest_track()
    assert track is not None
    assert (track.east_m, track.north_m, track.yaw_rad) == pytest.approx((10.0, -20.0, 1.0), abs=0.01)
    assert track.position_std_m == pytest.approx(4.0, abs=0.01)
    drive.t_ns -= 100 * NS  # the clock jumps back: nobody knows where the vehicle is then
    with pytest.raises(InputRejected, match="jumped back"):
        drive.drive(0.1, speed_mps=0.0)
    drive.drive(0.1, speed_mps=0.0)
    assert vehicle.newest_track() is None


def test_a_place_outside_the_map_frame_is_named(make_vehicle: MakeVehicle) -> None:
    drive = StraightDrive(make_vehicle(start_place=StartPlace(-40.0, 100.0, 0.0)))
    with pytest.raises(InputRejected, match="datum") as caught:
        drive.drive(0.1)
    assert caught.value.reason is RejectReason.START


# ---- the last pose on disk -------------------------------------------------------------------------------------------


@pytest.fixture
def file(make_vehicle: MakeVehicle, tmp_path: Path) -> Path:
    """The last pose of a drive that ended at north 5 m, where the odometry stood at x 5 m."""
    path = tmp_path / "kept" / "last_pose.json"
    vehicle = make_vehicle(resume=ResumeSettings(path))
    drive = StraightDrive(vehicle)
    drive.drive(0.02)
    drive.start(position_std_m=3.0)
    drive.drive(1.0)
    drive.look()
    vehicle.keep_last_pose()
    assert vehicle.status.state is TrackState.TRACKING
    assert json.loads(path.read_text())["odometry_x_m"] == pytest.approx(drive.x_m)
    return path


def resumed(vehicle: VehicleLocalizer, at_s: float, x_m: float, yaw_rad: float = 0.0) -> tuple[float, float] | None:
    """East and north of the track that begins with one sample of the odometry."""
    vehicle.add_odometry(OdometryPose(BEGIN_NS + round(at_s * NS), x_m, 0.0, yaw_rad, 0.0))
    track = vehicle.newest_track()
    return None if track is None else (track.east_m, track.north_m)


def test_a_node_that_is_started_again_goes_on_where_the_odometry_is_by_now(
    make_vehicle: MakeVehicle, file: Path
) -> None:
    stds_m = []
    for x_m in (5.0, 50.0):
        vehicle = make_vehicle(resume=ResumeSettings(file), min_start_position_std_m=0.1)
        assert resumed(vehicle, 20.0, x_m) == pytest.approx((0.0, x_m), abs=3.0)
        track = vehicle.newest_track()
        assert track is not None
        stds_m.append(track.position_std_m)
    # 45 m of driving, by a heading that is known to 2° or more, and a scale to 3 %
    assert stds_m[1] ** 2 > stds_m[0] ** 2 + (45.0 * 0.03) ** 2 + (45.0 * math.radians(2.0)) ** 2


def test_odometry_that_has_begun_anew_finds_the_vehicle_where_it_stood(make_vehicle: MakeVehicle, file: Path) -> None:
    vehicle = make_vehicle(resume=ResumeSettings(file))
    at = resumed(vehicle, 200.0, 0.0, yaw_rad=2.0)
    assert at == pytest.approx((0.0, 5.0), abs=2.5)
    track = vehicle.newest_track()
    assert track is not None
    assert track.yaw_rad == pytest.approx(math.pi / 2, abs=0.1)


@pytest.mark.parametrize(
    ("at_s", "x_m", "said"),
    [(700.0, 6.0, "is 699 s old"), (-50.0, 6.0, "is -51 s old"), (20.0, 200.0, "the odometry went 195 m")],
)
def test_a_last_pose_that_is_too_old_or_too_far_away_is_not_resumed(
    make_vehicle: MakeVehicle, file: Path, caplog: pytest.LogCaptureFixture, at_s: float, x_m: float, said: str
) -> None:
    vehicle = make_vehicle(resume=ResumeSettings(file))
    with caplog.at_level(logging.WARNING):
        assert resumed(vehicle, at_s, x_m) is None
    assert said in caplog.text
    assert "not resumed" in caplog.text


def test_without_a_last_pose_the_place_counts(make_vehicle: MakeVehicle, file: Path) -> None:
    both = {"start_place": place(100.0, 0.0, 0.0)}
    missing = make_vehicle(resume=ResumeSettings(file.with_name("none.json")), **both)
    assert resumed(missing, 0.0, 0.0) == pytest.approx((100.0, 0.0), abs=0.01)
    assert resumed(make_vehicle(resume=ResumeSettings(file), **both), 10.0, 5.0) == pytest.approx((0.0, 5.0), abs=2.5)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stamp_ns": 1}', b"\xff\xfe"])
def test_a_damaged_last_pose_is_named_and_no_pose(
    make_vehicle: MakeVehicle, file: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert resumed(make_vehicle(resume=ResumeSettings(file)), 10.0, 5.0) is None
    assert "holds no last pose" in caplog.text


def test_a_lost_track_leaves_the_last_pose_that_somebody_vouched_for(make_vehicle: MakeVehicle, file: Path) -> None:
    before = file.read_bytes()
    vehicle = make_vehicle(resume=ResumeSettings(file))
    drive = StraightDrive(vehicle)
    drive.drive(0.02)
    drive.start(position_std_m=60.0)
    drive.drive(1.0)
    with pytest.raises(InputRejected):
        drive.look()
    assert vehicle.status.state is TrackState.LOST
    vehicle.keep_last_pose(now=True)
    assert file.read_bytes() == before


# ---- satellite fixes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("covariance_m2", "std_m"), [(None, 10.0), (np.diag([144.0, 144.0]), 12.0)])
def test_a_fix_that_does_not_say_how_good_it_is_counts_as_known_to_ten_metres(
    make_vehicle: MakeVehicle, covariance_m2: np.ndarray | None, std_m: float
) -> None:
    drive = StraightDrive(make_vehicle())
    drive.drive(0.1)
    drive.localizer.add_heading(drive.t_ns, drive.yaw_rad, 0.02)
    drive.localizer.add_gnss(gnss(drive, covariance_m2))
    start = drive.localizer.start_from_gnss()
    assert start is not None
    assert math.sqrt(start.covariance[0, 0]) == pytest.approx(std_m)


def test_without_a_track_the_status_names_the_input_that_is_at_fault(make_vehicle: MakeVehicle) -> None:
    vehicle = make_vehicle()
    drive = StraightDrive(vehicle)

    def why() -> tuple[str, str]:
        return vehicle.status.fault, vehicle.status.reason

    assert why()[0] == "odometry"
    drive.drive(0.1)
    assert why() == ("start", "no start pose yet: give initialpose, or fix and an absolute heading on imu")
    with pytest.raises(InputRejected) as caught:
        vehicle.starts.refuse_gnss("fix: the receiver has no satellite fix (status -1)")
    assert caught.value.reason is RejectReason.GNSS
    assert why() == ("fix", "no start pose yet: fix: the receiver has no satellite fix (status -1)")
    vehicle.starts.refuse_heading("imu says that it has no orientation (orientation_covariance[0] is -1)")
    vehicle.add_gnss(gnss(drive))
    assert why()[0] == "imu"
    assert "no orientation" in why()[1]
    with pytest.raises(InputRejected, match="no orientation"):
        drive.look()
    drive.start()
    drive.drive(0.1)
    vehicle.starts.refuse_gnss("fix: the receiver has no satellite fix (status -1)")  # a tunnel: no matter
    drive.look()
    assert vehicle.status.state is TrackState.TRACKING


def test_a_start_pose_of_another_day_is_not_taken_for_one_of_now(make_vehicle: MakeVehicle) -> None:
    vehicle = make_vehicle()
    drive = StraightDrive(vehicle)
    drive.start()  # before the first odometry, as one that was kept for those who come later
    drive.t_ns += 3600 * NS
    drive.drive(0.2)
    assert "older than the odometry" in vehicle.status.reason
    drive.start()
    drive.drive(0.2)
    drive.look()


# ---- stamps ----------------------------------------------------------------------------------------------------------


def test_what_comes_twice_is_harmless_and_counted(make_vehicle: MakeVehicle) -> None:
    vehicle = make_vehicle()
    drive = StraightDrive(vehicle)
    drive.drive(0.02)
    drive.start()
    drive.drive(0.2)
    vehicle.add_odometry(drive.odometry())
    drive.look()
    with pytest.raises(InputRejected) as caught:
        drive.look()
    assert caught.value.reason is RejectReason.DUPLICATE
    assert vehicle.status.state is TrackState.TRACKING
    facts = vehicle.facts()
    assert (facts["odometry_stamps"], facts["camera_stamps"]) == ("1 duplicate", "1 duplicate")


def test_odometry_without_a_stamp_is_refused(make_vehicle: MakeVehicle) -> None:
    drive = StraightDrive(make_vehicle())
    drive.drive(0.1)
    with pytest.raises(InputRejected, match="without a stamp"):
        drive.localizer.add_odometry(replace(drive.odometry(), stamp_ns=0))
