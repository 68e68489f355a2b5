"""Attitudes in space as (3, 3) rotations: from roll, pitch and yaw (REP-103) and from quaternions.

Axes are x forward, y left, z up. Angles are about these axes, fixed, in the order roll, pitch, yaw, as in a URDF's
`rpy`: a positive roll lowers the right side, a positive pitch the nose, a positive yaw turns to the left.
"""

from __future__ import annotations

import math

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.quaternion import unit_quaternion


def rotation_of_rpy(roll_rad: float, pitch_rad: float, yaw_rad: float) -> Float64Array:
    """Returns the (3, 3) matrix that turns vectors of a body with this attitude into its parent's axes."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a), math.sin(a)) for a in (roll_rad, pitch_rad, yaw_rad))
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])  # fmt: skip


def rpy_of_rotation(rotation: Float64Array) -> tuple[float, float, float]:
    """Returns (roll, pitch, yaw) of a (3, 3) rotation, radians; pitch lies in [-pi/2, pi/2]."""
    pitch_rad = math.atan2(-rotation[2, 0], math.hypot(rotation[2, 1], rotation[2, 2]))
    return (
        math.atan2(rotation[2, 1], rotation[2, 2]),
        pitch_rad,
        math.atan2(rotation[1, 0], rotation[0, 0]),
    )


def rotation_of_quaternion(x: float, y: float, z: float, w: float) -> Float64Array:
    """Returns the (3, 3) rotation of a quaternion.

    Raises:
        OdometryError: a component is not finite, or the quaternion is zero or otherwise not of unit length.
    """
    x, y, z, w = unit_quaternion(x, y, z, w)
    return np.array([
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
        [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
        [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
    ])  # fmt: skip
