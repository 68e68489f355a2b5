"""Lenses that cameras on vehicles have."""

from __future__ import annotations

import numpy as np

from geoflow_ros.geo.camera import EQUIDISTANT, Intrinsics


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
