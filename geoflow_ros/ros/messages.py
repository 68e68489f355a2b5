"""The package's values as ROS messages; the other way is `localization.messages`.

Axes of the map: x east, y north, z up (REP-103, REP-105).
"""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped, Quaternion, TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import NavSatFix, NavSatStatus

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.quaternion import quaternion_of_yaw
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import PlanarTransform, TrackedPose

# A camera over a flat map says nothing about height, roll and pitch. Their variances are those of not knowing (m²,
# rad²): large enough for any filter to ignore the axis, and finite, since some invert the matrix.
UNKNOWN_VARIANCE = 1e6


def time_from_ns(nanoseconds: int) -> Time:
    """Returns the message stamp of a time in nanoseconds."""
    return Time(sec=nanoseconds // NANOSECONDS_PER_SECOND, nanosec=nanoseconds % NANOSECONDS_PER_SECOND)


def quaternion_message(yaw_rad: float) -> Quaternion:
    """Returns the attitude of a level body with a yaw."""
    x, y, z, w = quaternion_of_yaw(yaw_rad)
    return Quaternion(x=x, y=y, z=z, w=w)


def pose_with_covariance(
    stamp: Time, frame_id: str, position_m: Float64Array, yaw_rad: float, covariance: Float64Array
) -> PoseWithCovarianceStamped:
    """Returns a planar pose with the (3, 3) covariance of (east, north, yaw)."""
    message = PoseWithCovarianceStamped()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.pose.pose = _planar_pose(position_m, yaw_rad)
    message.pose.covariance = full_covariance(covariance).ravel()
    return message


def odometry_message(tracked: TrackedPose, map_frame: str, base_frame: str) -> Odometry:
    """Returns the tracked pose in the map frame, with the odometry's forward speed."""
    message = Odometry()
    message.header.stamp = time_from_ns(tracked.stamp_ns)
    message.header.frame_id = map_frame
    message.child_frame_id = base_frame
    message.pose.pose = _planar_pose(np.array([tracked.east_m, tracked.north_m]), tracked.yaw_rad)
    message.pose.covariance = full_covariance(tracked.covariance).ravel()
    message.twist.twist.linear.x = float(tracked.odometry.speed_mps or 0.0)
    # The twist is the odometry's, handed on without an assessment of its quality.
    message.twist.covariance = (np.eye(6) * UNKNOWN_VARIANCE).ravel()
    return message


def hypotheses_message(stamp: Time, frame_id: str, positions_m: Float64Array, yaw_rad: float) -> PoseArray:
    """Returns poses at the positions (N, 2) in the map, all with one yaw."""
    message = PoseArray()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.poses = [_planar_pose(position, yaw_rad) for position in positions_m]
    return message


def navsat_message(stamp: Time, frame_id: str, lat_deg: float, lon_deg: float, covariance: Float64Array) -> NavSatFix:
    """Returns latitude and longitude with the (2, 2) covariance of (east, north), m²."""
    message = NavSatFix()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.status.status = NavSatStatus.STATUS_FIX
    message.latitude, message.longitude, message.altitude = lat_deg, lon_deg, math.nan
    full = np.eye(3) * UNKNOWN_VARIANCE
    full[:2, :2] = covariance
    message.position_covariance = full.ravel()
    message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_KNOWN
    return message


def transform_message(transform: PlanarTransform, parent: str, child: str) -> TransformStamped:
    """Returns TF's form of a planar transform: the pose of `child` in `parent`."""
    message = TransformStamped()
    message.header.stamp = time_from_ns(transform.stamp_ns)
    message.header.frame_id = parent
    message.child_frame_id = child
    message.transform.translation.x = transform.x_m
    message.transform.translation.y = transform.y_m
    message.transform.rotation = quaternion_message(transform.yaw_rad)
    return message


def full_covariance(planar: Float64Array) -> Float64Array:
    """Returns (6, 6) of (x, y, z, roll, pitch, yaw) for the (3, 3) covariance of (x, y, yaw); the rest is unknown."""
    full = np.diag([0.0, 0.0, UNKNOWN_VARIANCE, UNKNOWN_VARIANCE, UNKNOWN_VARIANCE, 0.0])
    # Exactly symmetric: some consumers refuse a matrix that rounding has left a bit otherwise.
    full[np.ix_([0, 1, 5], [0, 1, 5])] = (planar + planar.T) / 2.0
    return full


def _planar_pose(position_m: Float64Array, yaw_rad: float) -> Pose:
    pose = Pose()
    pose.position.x, pose.position.y = float(position_m[0]), float(position_m[1])
    pose.orientation = quaternion_message(yaw_rad)
    return pose
