"""Messages become the package's values, and its values messages."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, NavSatFix

from geoflow_ros.errors import OdometryError
from geoflow_ros.geo.quaternion import yaw_of_quaternion
from geoflow_ros.ros import messages
from geoflow_ros.stamps import stamp_ns
from geoflow_ros.tracking import PlanarTransform

STAMP_NS = 1_700_000_000_123_456_789
PLANAR = np.array([[4.0, 1.0, 0.1], [1.0, 9.0, 0.2], [0.1, 0.2, 0.01]])


@pytest.mark.parametrize("nanoseconds", [0, 1, STAMP_NS])
def test_a_stamp_comes_back_to_the_nanosecond(nanoseconds: int) -> None:
    assert stamp_ns(messages.time_from_ns(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("yaw_rad", [-3.0, 0.0, 1.5])
def test_a_yaw_comes_back_out_of_its_message(yaw_rad: float) -> None:
    q = messages.quaternion_message(yaw_rad)
    assert yaw_of_quaternion(q.x, q.y, q.z, q.w) == pytest.approx(yaw_rad, abs=1e-12)


def test_odometry_is_planar() -> None:
    message = Odometry()
    message.header.stamp = messages.time_from_ns(STAMP_NS)
    message.pose.pose.position.x, message.pose.pose.position.y = 3.0, -4.0
    message.pose.pose.orientation = messages.quaternion_message(0.5)
    message.twist.twist.linear.x = 7.0
    pose = messages.odometry_from_message(message)
    assert (pose.stamp_ns, pose.x_m, pose.y_m, pose.speed_mps) == (STAMP_NS, 3.0, -4.0, 7.0)
    assert pose.yaw_rad == pytest.approx(0.5)


@pytest.mark.parametrize(("variance", "std_rad"), [(0.04, 0.2), (0.0, 0.3), (-1.0, 0.3), (math.nan, 0.3)])
def test_a_heading_without_a_variance_has_the_default_noise(variance: float, std_rad: float) -> None:
    message = Imu(orientation=messages.quaternion_message(1.0))
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


def test_a_full_covariance_is_symmetric_and_its_unknown_axes_are_large_and_finite() -> None:
    uneven = PLANAR + np.array([[0, 1e-9, 0], [0, 0, 0], [0, 0, 0]])
    full = messages.full_covariance(uneven)
    assert np.array_equal(full, full.T)
    np.testing.assert_allclose(full[np.ix_([0, 1, 5], [0, 1, 5])], PLANAR, atol=1e-8)
    assert (np.diag(full)[2:5] == messages.UNKNOWN_VARIANCE).all()
    assert np.linalg.eigvalsh(full)[0] > 0


def test_a_pose_has_position_yaw_and_covariance() -> None:
    message = messages.pose_with_covariance(messages.time_from_ns(1), "map", np.array([1.0, 2.0]), 0.5, PLANAR)
    assert (message.pose.pose.position.x, message.pose.pose.position.y) == (1.0, 2.0)
    assert 2.0 * math.atan2(message.pose.pose.orientation.z, message.pose.pose.orientation.w) == pytest.approx(0.5)
    assert message.pose.covariance[5] == pytest.approx(0.1)


def test_a_position_on_earth_has_a_known_horizontal_covariance_and_no_height() -> None:
    message = messages.navsat_message(messages.time_from_ns(1), "base_link", 49.0, 8.4, PLANAR[:2, :2])
    assert (message.latitude, message.longitude) == (49.0, 8.4)
    assert math.isnan(message.altitude)
    assert message.position_covariance_type == NavSatFix.COVARIANCE_TYPE_KNOWN
    np.testing.assert_array_equal(np.reshape(message.position_covariance, (3, 3))[:2, :2], PLANAR[:2, :2])


def test_hypotheses_share_the_yaw_of_the_pose() -> None:
    message = messages.hypotheses_message(messages.time_from_ns(1), "map", np.array([[1.0, 2.0], [3.0, 4.0]]), 0.5)
    assert [(pose.position.x, pose.position.y) for pose in message.poses] == [(1.0, 2.0), (3.0, 4.0)]
    assert {pose.orientation.z for pose in message.poses} == {math.sin(0.25)}


def test_a_transform_is_the_childs_pose_in_the_parent() -> None:
    message = messages.transform_message(PlanarTransform(STAMP_NS, 1.0, 2.0, 0.5), "map", "odom")
    assert (message.header.frame_id, message.child_frame_id) == ("map", "odom")
    assert stamp_ns(message.header.stamp) == STAMP_NS
    assert (message.transform.translation.x, message.transform.translation.y) == (1.0, 2.0)
