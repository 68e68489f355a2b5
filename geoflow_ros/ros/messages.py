"""Conversion of ROS messages to the package's values and back.

Axes of the map: x east, y north, z up (REP-103, REP-105).
"""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped, Quaternion, TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, NavSatFix, NavSatStatus

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import OdometryError
from geoflow_ros.geo.quaternion import quaternion_of_yaw, yaw_of_quaternion
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND, stamp_ns
from geoflow_ros.tracking import OdometryPose, PlanarTransform, StartPose, TrackedPose

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


def odometry_from_message(message: Odometry) -> OdometryPose:
    """Returns the planar odometry of a message.

    Raises:
        OdometryError: its attitude is not a rotation. (That numbers are finite, and in order, the buffer checks.)
    """
    pose = message.pose.pose
    q = pose.orientation
    return OdometryPose(
        stamp_ns(message.header.stamp),
        pose.position.x,
        pose.position.y,
        yaw_of_quaternion(q.x, q.y, q.z, q.w),
        message.twist.twist.linear.x,
    )


def heading_from_imu(message: Imu, default_std_rad: float) -> tuple[int, float, float] | None:
    """Returns stamp (ns), yaw (rad) and its standard deviation (rad); None without an attitude (REP-145: -1).

    Raises:
        OdometryError: the attitude is not a rotation.
    """
    covariance = message.orientation_covariance
    if covariance[0] == -1.0:
        return None
    q = message.orientation
    yaw = yaw_of_quaternion(q.x, q.y, q.z, q.w)
    variance = float(covariance[8])
    std = math.sqrt(variance) if math.isfinite(variance) and variance > 0.0 else default_std_rad
    return stamp_ns(message.header.stamp), yaw, std


def start_from_initialpose(
    message: PoseWithCovarianceStamped, map_frame: str, min_position_std_m: float, min_yaw_std_rad: float
) -> StartPose:
    """Returns where a person or another system says that the vehicle is.

    Args:
        message: pose of base_link in the map frame.
        map_frame: name of that frame; an empty name in the message is taken as it.
        min_position_std_m: the position counts as at least this uncertain.
        min_yaw_std_rad: the yaw counts as at least this uncertain.

    Raises:
        OdometryError: another frame, no rotation, or a covariance that is not finite.
    """
    frame = message.header.frame_id
    if frame not in ("", map_frame):
        raise OdometryError(f"initialpose is in the frame '{frame}': give it in '{map_frame}' (in RViz: fixed frame)")
    pose = message.pose.pose
    q = pose.orientation
    full = np.asarray(message.pose.covariance, np.float64).reshape(6, 6)
    covariance = full[np.ix_([0, 1, 5], [0, 1, 5])]
    if not np.isfinite(covariance).all():
        raise OdometryError("initialpose has a covariance that is not finite")
    return StartPose(
        stamp_ns(message.header.stamp),
        pose.position.x,
        pose.position.y,
        yaw_of_quaternion(q.x, q.y, q.z, q.w),
        floored_covariance(covariance, min_position_std_m, min_yaw_std_rad),
    )


def floored_covariance(covariance: Float64Array, min_position_std_m: float, min_yaw_std_rad: float) -> Float64Array:
    """Returns a (3, 3) covariance of (east, north, yaw) with lower limits on its standard deviations."""
    values, vectors = np.linalg.eigh((covariance[:2, :2] + covariance[:2, :2].T) / 2.0)
    floored = np.zeros((3, 3))
    floored[:2, :2] = (vectors * np.maximum(values, min_position_std_m**2)) @ vectors.T
    floored[2, 2] = max(float(covariance[2, 2]), min_yaw_std_rad**2)
    return floored


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
