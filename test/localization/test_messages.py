"""Messages become the package's values."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, NavSatFix

from geoflow_ros.errors import OdometryError
from geoflow_ros.geo.attitude import rotation_of_rpy, rpy_of_rotation
from geoflow_ros.localization import messages
from geoflow_ros.ros import messages as to_messages

STAMP_NS = 1_700_000_000_123_456_789


def test_odometry_is_planar() -> None:
    message = Odometry()
    message.header.stamp = to_messages.time_from_ns(STAMP_NS)
    message.pose.pose.position.x, message.pose.pose.position.y = 3.0, -4.0
    message.pose.pose.orientation = to_messages.quaternion_message(0.5)
    message.twist.twist.linear.x = 7.0
    pose = messages.odometry_from_message(message)
    assert (pose.stamp_ns, pose.x_m, pose.y_m, pose.speed_mps) == (STAMP_NS, 3.0, -4.0, 7.0)
    assert pose.yaw_rad == pytest.approx(0.5)


@pytest.mark.parametrize(("variance", "std_rad"), [(0.04, 0.2), (0.0, 0.3), (-1.0, 0.3), (math.nan, 0.3)])
def test_a_heading_without_a_variance_has_the_default_noise(variance: float, std_rad: float) -> None:
    message = Imu(orientation=to_messages.quaternion_message(1.0))
    message.orientation_covariance[8] = variance
    heading = messages.heading_from_imu(message, 0.3)
    assert heading is not None
    assert heading[1:] == pytest.approx((1.0, std_rad))


def test_an_imu_without_an_attitude_gives_no_heading() -> None:
    message = Imu()
    message.orientation_covariance[0] = -1.0
    assert messages.heading_from_imu(message, 0.3) is None


def start_message(frame_id: str = "map", variance: float = 4.0) -> PoseWithCovarianceStamped:
    message = PoseWithCovarianceStamped()
    message.header.frame_id = frame_id
    message.pose.pose.orientation.w = 1.0
    message.pose.covariance[0] = variance
    return message


@pytest.mark.parametrize("frame_id", ["map", ""])
def test_a_start_pose_is_at_least_as_uncertain_as_the_lower_limits(frame_id: str) -> None:
    start = messages.start_from_initialpose(start_message(frame_id, 100.0), "map", 3.0, 0.1)
    np.testing.assert_allclose(start.covariance, np.diag([100.0, 9.0, 0.01]), atol=1e-12)


@pytest.mark.parametrize(
    ("message", "reason"), [(start_message("odom"), "frame 'odom'"), (start_message(variance=math.nan), "not finite")]
)
def test_a_start_pose_that_cannot_be_used_is_refused(message: PoseWithCovarianceStamped, reason: str) -> None:
    with pytest.raises(OdometryError, match=reason):
        messages.start_from_initialpose(message, "map", 3.0, 0.1)


def navsat(status: int = 0, latitude: float = 49.0, covariance_type: int = 2) -> NavSatFix:
    message = NavSatFix(latitude=latitude, longitude=8.4, position_covariance_type=covariance_type)
    message.header.stamp = to_messages.time_from_ns(STAMP_NS)
    message.status.status = status
    message.position_covariance = np.diag([4.0, 9.0, 16.0]).ravel()
    return message


def test_a_satellite_fix_brings_its_covariance_where_it_states_one() -> None:
    gnss = messages.gnss_from_message(navsat())
    assert (gnss.stamp_ns, gnss.latitude_deg, gnss.longitude_deg) == (STAMP_NS, 49.0, 8.4)
    np.testing.assert_array_equal(gnss.covariance_m2, np.diag([4.0, 9.0]))


@pytest.mark.parametrize("covariance", [[math.nan] * 9, [0.0] * 9, [-1.0] + [0.0] * 8])
def test_a_covariance_that_says_nothing_leaves_the_position_as_it_is(covariance: list[float]) -> None:
    message = navsat()
    message.position_covariance = covariance
    assert messages.gnss_from_message(message).covariance_m2 is None
    unknown = messages.gnss_from_message(navsat(covariance_type=NavSatFix.COVARIANCE_TYPE_UNKNOWN))
    assert (unknown.latitude_deg, unknown.covariance_m2) == (49.0, None)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (navsat(status=-1), r"the receiver has no satellite fix \(status -1\)"),
        (navsat(status=-2), r"does not say that it has a satellite fix \(status -2\)"),
        (navsat(latitude=math.nan), "not finite"),
        (navsat(latitude=490.0), "no latitude and longitude in degrees"),
    ],
)
def test_a_satellite_fix_that_is_none_is_named(message: NavSatFix, reason: str) -> None:
    with pytest.raises(OdometryError, match=reason):
        messages.gnss_from_message(message)


def camera_info(**changes: Any) -> SimpleNamespace:
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    given = {
        "width": 1280, "height": 720, "distortion_model": "plumb_bob", "d": [-0.2, 0.05, 0.0, 0.0, 0.0],
        "k": [700.0, 0.0, 640.0, 0.0, 705.0, 355.0, 0.0, 0.0, 1.0], "r": [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0],
        "p": [650.0, 0.0, 642.0, 0.0, 0.0, 660.0, 350.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "roi": roi, "binning_x": 0, "binning_y": 0,
    }  # fmt: skip
    return SimpleNamespace(**{**given, **changes})


def test_a_cameras_calibration_is_that_of_the_images_that_it_sends() -> None:
    whole = messages.intrinsics_from_camera_info(camera_info())
    assert whole is not None
    assert (whole.width_px, whole.fx, whole.cy, whole.coefficients) == (1280, 700.0, 355.0, (-0.2, 0.05, 0.0, 0.0))
    roi = SimpleNamespace(x_offset=80, y_offset=20, width=1000, height=600)
    part = messages.intrinsics_from_camera_info(camera_info(roi=roi, binning_x=2, binning_y=2))
    assert part is not None
    assert (part.width_px, part.height_px, part.fx) == (500, 300, 350.0)
    rectified = messages.intrinsics_from_camera_info(camera_info(), rectified=True)
    assert rectified is not None
    assert (rectified.fx, rectified.cx, rectified.coefficients) == (650.0, 642.0, ())
    assert messages.intrinsics_from_camera_info(camera_info(k=[0.0] * 9)) is None


def test_an_imu_tells_how_the_vehicle_leans_through_its_own_mounting() -> None:
    # Nose down by 0.1 rad, heading north; the imu is mounted turned by a quarter to the left.
    base = rotation_of_rpy(0.0, 0.1, math.pi / 2)
    imu_in_base = rotation_of_rpy(0.0, 0.0, math.pi / 2)
    roll, pitch, yaw = rpy_of_rotation(base @ imu_in_base)
    half = [angle / 2 for angle in (roll, pitch, yaw)]
    (cr, cp, cy), (sr, sp, sy) = ([f(angle) for angle in half] for f in (math.cos, math.sin))
    orientation = SimpleNamespace(
        x=sr * cp * cy - cr * sp * sy,
        y=cr * sp * cy + sr * cp * sy,
        z=cr * cp * sy - sr * sp * cy,
        w=cr * cp * cy + sr * sp * sy,
    )
    stamp = SimpleNamespace(sec=3, nanosec=5)
    message = SimpleNamespace(
        header=SimpleNamespace(stamp=stamp), orientation=orientation, orientation_covariance=[0.0] * 9
    )
    told = messages.attitude_from_imu(message, imu_in_base)
    assert told is not None
    assert told[0] == 3 * 10**9 + 5
    assert (told[1].roll_rad, told[1].pitch_rad) == pytest.approx((0.0, 0.1), abs=1e-9)
    message.orientation_covariance = [-1.0] + [0.0] * 8
    assert messages.attitude_from_imu(message) is None
