"""Camera models: which direction each pixel looks.

Every model here is upright, so that all pixels of a column look in one horizontal direction; that is what lets the
renderer march once per column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float32Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import CAMERA_HEIGHT_M, HORIZON


@dataclass(frozen=True, eq=False)
class Camera:
    """An upright camera.

    Attributes:
        width: of the image in pixels.
        height: of the image in pixels.
        azimuth_rad: (W,) direction of every column from straight ahead, positive to the right.
        slope: (H, W) tangent of every pixel's elevation above the horizon.
        focal_px: (W,) pixels per radian (or per unit slope) at every column: how large things appear.
        height_m: height of the optical centre above the ground.
    """

    width: int
    height: int
    azimuth_rad: Float32Array
    slope: Float32Array
    focal_px: Float32Array
    height_m: float

    @classmethod
    def pinhole(cls, width: int, height: int, fx: float, fy: float, cx: float, cy: float, height_m: float) -> Camera:
        """Makes a perspective camera of CameraInfo.K's intrinsics, pixels; (0, 0) is a pixel's centre.

        Raises:
            InputError: for focal lengths, sizes or heights that are not positive.
        """
        if min(width, height, fx, fy, height_m) <= 0:
            raise InputError(
                f"a camera needs positive sizes, focal lengths and height, got {width}x{height}, "
                f"fx {fx}, fy {fy}, {height_m} m"
            )
        x = (np.arange(width) - cx) / fx
        y = (np.arange(height) - cy) / fy
        stretch = np.sqrt(1 + x**2)
        return cls(
            width,
            height,
            np.arctan(x).astype(np.float32),
            (-y[:, None] / stretch).astype(np.float32),
            (fy * stretch).astype(np.float32),
            height_m,
        )

    @classmethod
    def perspective(
        cls,
        width: int = 1024,
        height: int = 256,
        horizontal_fov_deg: float = 90.0,
        height_m: float = CAMERA_HEIGHT_M,
        horizon: float = HORIZON,
    ) -> Camera:
        """Makes a pinhole camera with square pixels; `horizon` is the horizon's row as part of the image's height."""
        if not 1 <= horizontal_fov_deg <= 150:
            raise InputError(f"horizontal field of view must be 1..150 degrees, got {horizontal_fov_deg}")
        f = width / 2 / np.tan(np.radians(horizontal_fov_deg) / 2)
        return cls.pinhole(width, height, f, f, (width - 1) / 2, horizon * height - 0.5, height_m)

    @classmethod
    def panorama(
        cls, width: int = 1024, height: int = 256, vertical_fov_deg: float = 90.0, height_m: float = CAMERA_HEIGHT_M
    ) -> Camera:
        """Makes an equirectangular panorama; straight ahead is the middle column, the horizon the middle row."""
        azimuth = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
        elevation = (0.5 - (np.arange(height) + 0.5) / height) * np.radians(vertical_fov_deg)
        slope = np.repeat(np.tan(elevation)[:, None], width, axis=1)
        focal = np.full(width, width / (2 * np.pi))
        return cls(
            width, height, azimuth.astype(np.float32), slope.astype(np.float32), focal.astype(np.float32), height_m
        )

    def project(self, forward_m: float, right_m: float, up_m: float) -> tuple[float, float]:
        """Returns the pixel (column, row) of a point, metres from the ground below the camera; NaN outside it."""
        azimuth = float(np.arctan2(right_m, forward_m))
        if not self.azimuth_rad[0] <= azimuth <= self.azimuth_rad[-1]:
            return float("nan"), float("nan")
        column = float(np.interp(azimuth, self.azimuth_rad, np.arange(self.width)))
        profile = self.slope[:, round(column)]
        slope = (up_m - self.height_m) / float(np.hypot(forward_m, right_m))
        if not profile[-1] <= slope <= profile[0]:
            return float("nan"), float("nan")
        return column, float(np.interp(-slope, -profile, np.arange(self.height)))
