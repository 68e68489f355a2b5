"""The virtual camera whose images a world's camera renders, as it is assumed and as it stands."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.optics import CameraPose

_SQUARE = 1e-3  # largest relative difference between the focal lengths of square pixels
_MIDDLE_PX = 0.01  # largest distance of the optical axis from the image's middle column


def virtual_camera(camera: Camera) -> VirtualCamera:
    """Returns the level pinhole camera with the same images, read from the camera's rays.

    Raises:
        InputError: the camera is no pinhole with square pixels and a centred axis: a panorama, for instance.
    """
    x = np.tan(camera.azimuth_rad.astype(float))
    focal_x = float((camera.width - 1) / (x[-1] - x[0]))
    stretch = np.hypot(1.0, x)
    y = -camera.slope.astype(float) * stretch  # (H, W): the same in every column of a pinhole camera
    rows = y.mean(axis=1)
    focal_y = float((camera.height - 1) / (rows[-1] - rows[0]))
    is_pinhole = np.allclose(np.diff(x) * focal_x, 1.0, atol=0.01) and np.allclose(y, rows[:, None], atol=0.01)
    is_centred = abs(x[0] + x[-1]) / 2.0 * focal_x < _MIDDLE_PX
    if not is_pinhole or not is_centred or not math.isclose(focal_x, focal_y, rel_tol=_SQUARE):
        raise InputError("only a pinhole camera with square pixels and a centred axis is a virtual camera")
    return VirtualCamera(
        width_px=camera.width,
        height_px=camera.height,
        focal_px=focal_x,
        horizon_row_px=float(-rows[0] * focal_y),
        height_m=camera.height_m,
    )


def as_it_stands(assumed: VirtualCamera, pose: CameraPose) -> VirtualCamera:
    """Returns the camera above level ground that comes nearest to a disturbed one."""
    focal_px = assumed.focal_px * pose.focal_scale
    return replace(
        assumed,
        focal_px=focal_px,
        horizon_row_px=assumed.horizon_row_px + focal_px * math.tan(pose.ground_pitch_rad),
        height_m=assumed.height_m * pose.height_scale,
        roll_rad=pose.ground_roll_rad,
    )
