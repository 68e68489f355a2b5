"""Pictures that a real camera takes, read from a wide upright one: any lens and leaning at the same place.

Rays come from OpenCV's `undistortPoints`, the other way round than `camera` goes from rays to pixels: the one tests the
other.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.geo.camera import EQUIDISTANT, LEVEL, Attitude, Intrinsics, Mounting
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.optics import focal_px

_FISHEYE_RADIUS = 1.5  # focal lengths; farther out OpenCV gives up
_FARTHEST_TANGENT = 50.0
_LEAST_DEPTH = 0.05  # what looks farther aside is not in any upright picture


def photograph(
    rgb: UInt8Array, upright: Camera, lens: Intrinsics, mounting: Mounting, vehicle: Attitude = LEVEL
) -> UInt8Array:
    """Returns the picture (h, w, 3) that a camera takes of what an upright pinhole camera at its place took.

    Args:
        rgb: (H, W, 3) of the upright camera, which looks along the mounting's yaw.
        upright: that camera.
        lens: of the real one; what it shows beyond the upright picture is black.
        mounting: its leaning counts.
        vehicle: its leaning.
    """
    level = optical_rays(lens) @ mounting.optical_of_level(vehicle)  # transposed twice: into level axes
    ahead = np.where(level[..., 0] > _LEAST_DEPTH, level[..., 0], np.nan)
    first = np.tan(float(upright.azimuth_rad[0]))
    top = -float(upright.slope[0, 0]) * np.hypot(1.0, first)
    column = (-level[..., 1] / ahead - first) * focal_px(upright)
    row = (-level[..., 2] / ahead - top) * focal_px(upright)
    columns, rows = (np.nan_to_num(part, nan=-10.0).astype(np.float32) for part in (column, row))
    return np.asarray(cv2.remap(rgb, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.uint8)


@lru_cache(maxsize=16)
def optical_rays(lens: Intrinsics) -> Float64Array:
    """Returns where each pixel looks, (h, w, 3) in the optical frame; NaN where OpenCV cannot say."""
    pixels = np.stack(np.meshgrid(np.arange(lens.width_px), np.arange(lens.height_px)), -1).reshape(-1, 1, 2)
    matrix = np.array([[lens.fx, 0.0, lens.cx], [0.0, lens.fy, lens.cy], [0.0, 0.0, 1.0]])
    coefficients = np.array(lens.coefficients or (0.0,) * 4)
    if lens.model == EQUIDISTANT:
        flat = cv2.fisheye.undistortPoints(pixels.astype(float), matrix, coefficients)
        radius = np.linalg.norm((pixels - (lens.cx, lens.cy)) / (lens.fx, lens.fy), axis=-1, keepdims=True)
        flat = np.where(radius < _FISHEYE_RADIUS, flat, np.nan)
    else:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        flat = cv2.undistortPoints(pixels.astype(float), matrix, coefficients, criteria=criteria)
    flat = np.where(np.abs(flat) < _FARTHEST_TANGENT, flat, np.nan)[:, 0]
    return np.concatenate([flat, np.ones((len(flat), 1))], 1).reshape(lens.height_px, lens.width_px, 3)
