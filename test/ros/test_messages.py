"""The package's values become messages."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from sensor_msgs.msg import NavSatFix

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
