"""Planar axes: rotations in the map (ENU), and a vehicle's forward and right.

A scalar angle goes through the C library's sine and cosine, an array through numpy's, whose last bit depends on the
CPU's vector unit. A fix is computed from scalars alone, so that it is the same on every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float64Array


def rotation_matrix(angle_rad: float) -> Float64Array:
    """Returns the (2, 2) matrix that turns vectors counter-clockwise."""
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[cosine, -sine], [sine, cosine]])


def forward_right_axes(yaw_rad: ArrayLike) -> Float64Array:
    """Returns the orthonormal axes of a vehicle that looks along a yaw.

    Right is not left, so the matrix is a reflection: symmetric, and its own inverse.

    Args:
        yaw_rad: (...,) direction of forward in the map, counter-clockwise from east.

    Returns:
        (..., 2, 2): rows (and columns) are forward and right as (east, north).
    """
    if np.ndim(yaw_rad) == 0:
        cosine, sine = math.cos(float(yaw_rad)), math.sin(float(yaw_rad))  # type: ignore[arg-type]
        return np.array([[cosine, sine], [sine, -cosine]])
    cosines, sines = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.stack([np.stack([cosines, sines], -1), np.stack([sines, -cosines], -1)], axis=-2)
