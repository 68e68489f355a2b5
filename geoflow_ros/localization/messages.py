"""The values in messages with ROS's fields, whoever deserialized them: rclpy on a vehicle, rosbags from a bag.

Nothing here imports ROS. Axes: x east, y north, z up in the map (REP-103, REP-105).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import OdometryError
from geoflow_ros.geo import yaw_of_quaternion
from geoflow_ros.geo.attitude import rotation_of_quaternion, rpy_of_rotation
from geoflow_ros.geo.camera import Attitude, Intrinsics
from geoflow_ros.localization.start import floored_covariance
from geoflow_ros.localization.values import GnssPosition
from geoflow_ros.stamps import stamp_ns
from geoflow_ros.tracking import Heading, OdometryPose, StartPose

# sensor_msgs/NavSatStatus: STATUS_NO_FIX, and STATUS_UNKNOWN, which a message has whose sender does not say
_NO_FIX, _FIX_UNKNOWN = -1, -2
_COVARIANCE_UNKNOWN = 0  # sensor_msgs/NavSatFix.COVARIANCE_TYPE_UNKNOWN
_MAX_LATITUDE_DEG, _MAX_LONGITUDE_DEG = 90.0, 180.0


def odometry_from_message(message: Any) -> OdometryPose:
    """Planar odometry of a nav_msgs/Odometry.

    Raises:
        OdometryError: its attitude is not a rotation. (That numbers are finite, and in order, the buffer checks.)
    """
    pose = message.pose.pose
    return OdometryPose(
        stamp_ns(message.header.stamp),
        pose.position.x,
        pose.position.y,
        _yaw(pose.orientation),
        message.twist.twist.linear.x,
    )


def heading_from_imu(message: Any, default_std_rad: float) -> Heading | None:
    """Absolute yaw of a sensor_msgs/Imu, or None where the message has no attitude (REP-145: -1).

    Args:
        message: attitude in ENU.
        default_std_rad: standard deviation where the message gives no variance.

    Raises:
        OdometryError: the attitude is not a rotation.
    """
    covariance = message.orientation_covariance
    if covariance[0] == -1.0:
        return None
    variance = float(covariance[8])
    std = math.sqrt(variance) if math.isfinite(variance) and variance > 0.0 else default_std_rad
    return Heading(stamp_ns(message.header.stamp), _yaw(message.orientation), std)


def start_from_initialpose(
    message: Any, map_frame: str, min_position_std_m: float, min_yaw_std_rad: float
) -> StartPose:
    """Where a person or another system says that the vehicle is (geometry_msgs/PoseWithCovarianceStamped).

    Args:
        message: pose of base_link in the map frame.
        map_frame: name of that frame; an empty name in the message is taken as it.
        min_position_std_m: its position counts as no more certain than this.
        min_yaw_std_rad: its yaw counts as no more certain than this.

    Raises:
        OdometryError: another frame, no rotation, or a covariance that is not finite.
    """
    frame = message.header.frame_id
    if frame not in ("", map_frame):
        raise OdometryError(f"initialpose is in the frame '{frame}': give it in '{map_frame}' (in RViz: fixed frame)")
    pose = message.pose.pose
    full = np.asarray(message.pose.covariance, np.float64).reshape(6, 6)
    covariance = full[np.ix_([0, 1, 5], [0, 1, 5])]
    if not np.isfinite(covariance).all():
        raise OdometryError("initialpose has a covariance that is not finite")
    return StartPose(
        stamp_ns(message.header.stamp),
        pose.position.x,
        pose.position.y,
        _yaw(pose.orientation),
        floored_covariance(covariance, min_position_std_m, min_yaw_std_rad),
    )


def gnss_from_message(message: Any) -> GnssPosition:
    """The position of a sensor_msgs/NavSatFix.

    A covariance that says nothing (of the type UNKNOWN, not finite, or without variances above zero) makes no position
    useless: its uncertainty is the settings' then.

    Raises:
        OdometryError: the receiver has no satellite fix, or the position is none.
    """
    status, latitude, longitude = message.status.status, message.latitude, message.longitude
    if status == _NO_FIX:
        raise OdometryError(f"fix: the receiver has no satellite fix (status {status})")
    if status <= _FIX_UNKNOWN:
        raise OdometryError(
            f"fix: the receiver does not say that it has a satellite fix (status {status}): its driver must set "
            "status.status"
        )
    if not (math.isfinite(latitude) and math.isfinite(longitude)):
        raise OdometryError("fix: latitude or longitude is not finite, though the status says that there is a fix")
    if abs(latitude) > _MAX_LATITUDE_DEG or abs(longitude) > _MAX_LONGITUDE_DEG:
        raise OdometryError(
            f"fix: {latitude:g}, {longitude:g} is no latitude and longitude in degrees: check its sender's order and "
            "units"
        )
    return GnssPosition(stamp_ns(message.header.stamp), latitude, longitude, _gnss_covariance(message))


def _gnss_covariance(message: Any) -> Float64Array | None:
    """(2, 2) of (east, north), m²; None where the message says nothing of it."""
    if message.position_covariance_type == _COVARIANCE_UNKNOWN:
        return None
    covariance = np.asarray(message.position_covariance, np.float64).reshape(3, 3)[:2, :2]
    if not np.isfinite(covariance).all() or np.diag(covariance).min() <= 0.0:
        return None
    return covariance


def attitude_from_imu(message: Any, base_of_imu: Float64Array | None = None) -> tuple[int, Attitude] | None:
    """How base_link leans by a sensor_msgs/Imu, with the stamp; None where the message has no attitude (REP-145: -1).

    Args:
        message: attitude of the imu in ENU.
        base_of_imu: (3, 3) rotation from the imu's axes to base_link's; the same axes where None.

    Raises:
        OdometryError: the attitude is not a rotation.
    """
    if message.orientation_covariance[0] == -1.0:
        return None
    q = message.orientation
    rotation = rotation_of_quaternion(q.x, q.y, q.z, q.w)
    roll_rad, pitch_rad, _ = rpy_of_rotation(rotation if base_of_imu is None else rotation @ base_of_imu.T)
    return stamp_ns(message.header.stamp), Attitude(roll_rad, pitch_rad)


def intrinsics_from_camera_info(message: Any, rectified: bool = False) -> Intrinsics | None:
    """The lens of the images that a sensor_msgs/CameraInfo comes with; None of a camera that is not calibrated.

    Args:
        message: K is 0 where the camera is not calibrated.
        rectified: whether the images are rectified already: then P and R count, and not K and D.

    Raises:
        InputError: see `Intrinsics`.
    """
    if not message.k[0]:
        return None
    size = int(message.width), int(message.height)
    if rectified:
        full = Intrinsics.of_rectified(size, list(message.p), list(message.r))
    else:
        full = Intrinsics.of_calibration(size, message.distortion_model, list(message.k), list(message.d))
    roi, binning = message.roi, (int(message.binning_x) or 1, int(message.binning_y) or 1)
    return full.of_region(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height), binning)


def _yaw(orientation: Any) -> float:
    return yaw_of_quaternion(orientation.x, orientation.y, orientation.z, orientation.w)
