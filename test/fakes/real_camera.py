"""Pictures that a real camera takes: lens, region and leaning, read from a wide upright picture.

Rays come from OpenCV's `undistortPoints`, the other way round than the package goes.
"""

from __future__ import annotations

import cv2
import numpy as np

from geoflow_ros.camera import EQUIDISTANT, LEVEL, Attitude, Intrinsics, Mounting
from geoflow_ros.world import Camera


def fisheye(width: int = 960, height: int = 600, focal: float = 300.0) -> Intrinsics:
    """A lens of about 180 degrees."""
    k = (0.03, -0.008, 0.002, -0.0004)
    return Intrinsics(width, height, focal, focal * 1.01, width / 2 + 7.3, height / 2 - 4.1, EQUIDISTANT, k)


def narrow(width: int = 1280, height: int = 720, fov_deg: float = 60.0) -> Intrinsics:
    """A lens with barrel distortion, a little off its axis; `fov_deg` is its width without that."""
    focal = width / 2 / np.tan(np.radians(fov_deg / 2))
    return Intrinsics.of_calibration(
        (width, height),
        "plumb_bob",
        [focal, 0, width / 2 + 9.0, 0, focal * 0.995, height / 2 - 5.0, 0, 0, 1],
        [-0.21, 0.06, 0.0008, -0.0005, -0.01],
    )


def optical_rays(lens: Intrinsics) -> np.ndarray:
    """Where each pixel looks, (H, W, 3) in the optical frame, by OpenCV; NaN where it cannot say."""
    pixels = np.stack(np.meshgrid(np.arange(lens.width_px), np.arange(lens.height_px)), -1).reshape(-1, 1, 2)
    matrix = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1.0]])
    coefficients = np.array(lens.coefficients or (0.0,) * 4)
    if lens.model == EQUIDISTANT:
        flat = cv2.fisheye.undistortPoints(pixels.astype(float), matrix, coefficients)
        radius = np.linalg.norm((pixels - (lens.cx, lens.cy)) / (lens.fx, lens.fy), axis=-1, keepdims=True)
        flat = np.where(radius < 1.5, flat, np.nan)  # farther out OpenCV gives up
    else:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        flat = cv2.undistortPoints(pixels.astype(float), matrix, coefficients, criteria=criteria)
    flat = np.where(np.abs(flat) < 50.0, flat, np.nan)[:, 0]
    return np.concatenate([flat, np.ones((len(flat), 1))], 1).reshape(lens.height_px, lens.width_px, 3)


def photograph(
    rgb: np.ndarray, upright: Camera, lens: Intrinsics, mounting: Mounting, vehicle: Attitude = LEVEL
) -> np.ndarray:
    """The picture (h, w, 3) that a camera takes of what an upright pinhole camera at the same place took.

    Args:
        rgb: (H, W, 3) of the upright camera, which looks along the mounting's yaw.
        upright: that camera.
        lens: of the real one.
        mounting: its leaning counts.
        vehicle: its leaning.
    """
    level = optical_rays(lens) @ mounting.optical_of_level(vehicle)  # transposed twice: into level axes
    ahead = np.where(level[..., 0] > 0.05, level[..., 0], np.nan)
    tangents = np.tan(upright.azimuth_rad.astype(float))
    focal = (upright.width - 1) / (tangents[-1] - tangents[0])
    top = -float(upright.slope[0, 0]) * np.hypot(1, tangents[0])
    column = (-level[..., 1] / ahead - tangents[0]) * focal
    row = (-level[..., 2] / ahead - top) * focal
    table = [np.nan_to_num(part, nan=-10.0).astype(np.float32) for part in (column, row)]
    return cv2.remap(rgb, *table, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
