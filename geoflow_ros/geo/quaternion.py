"""The yaw of a quaternion; what is not a rotation is refused."""

import math

from geoflow_ros.errors import OdometryError

# A unit quaternion sent as float32 and normalised by its sender stays within 1e-6 of length 1. A tenth off is a
# sender's mistake.
_MAX_LENGTH_ERROR = 0.1
_ZERO_LENGTH = 1e-6  # shorter than this, a quaternion counts as not filled


def quaternion_of_yaw(yaw_rad: float) -> tuple[float, float, float, float]:
    """Returns the attitude (x, y, z, w) of a level body with a yaw, radians counter-clockwise from the x axis."""
    return 0.0, 0.0, math.sin(yaw_rad / 2.0), math.cos(yaw_rad / 2.0)


def yaw_of_quaternion(x: float, y: float, z: float, w: float) -> float:
    """Returns the yaw of a body whose attitude in an ENU (or odometry) frame is the quaternion (x, y, z, w).

    Returns:
        Yaw in radians in (-pi, pi], counter-clockwise from the frame's x axis (REP-103).

    Raises:
        OdometryError: a component is not finite, or the quaternion is zero or otherwise not of unit length.
    """
    _length(x, y, z, w)
    return math.atan2(2.0 * (w * z + x * y), w * w + x * x - y * y - z * z)


def unit_quaternion(x: float, y: float, z: float, w: float) -> tuple[float, float, float, float]:
    """Returns the quaternion (x, y, z, w) at length 1, which its sender may have rounded off.

    Raises:
        OdometryError: a component is not finite, or the quaternion is zero or otherwise not of unit length.
    """
    length = _length(x, y, z, w)
    return x / length, y / length, z / length, w / length


def _length(x: float, y: float, z: float, w: float) -> float:
    if not all(map(math.isfinite, (x, y, z, w))):
        raise OdometryError("the orientation is not finite: the sender must fill the quaternion")
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if length < _ZERO_LENGTH:
        raise OdometryError("the orientation is the zero quaternion: the sender must fill it, (0, 0, 0, 1) at least")
    if abs(length - 1.0) > _MAX_LENGTH_ERROR:
        raise OdometryError(
            f"the orientation's quaternion has length {length:.3g}, not 1: the sender must normalise it"
        )
    return length
