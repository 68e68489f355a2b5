"""A batch of camera poses in baked windows, and the picture that is drawn for them column by column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.world.arrays import Array, from_numpy
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.windows import Windows


@dataclass(frozen=True)
class Viewpoints:
    """B cameras of one model, each in one of several windows.

    Attributes:
        windows: where they stand.
        window: (B,) int64 index of each camera's window.
        x: (B,) metres east of the window's upper left corner.
        y: (B,) metres south of it.
        yaw_rad: (B,) heading, counter-clockwise from east.
        height_m: of the optical centres above the ground.
        azimuth: (W,) direction of every image column, radians to the right of straight ahead.
        slope: (W, H) tangent of every pixel's elevation.
        focal: (W,) pixels per radian.
    """

    windows: Windows
    window: Array
    x: Array
    y: Array
    yaw_rad: Array
    height_m: float
    azimuth: Array
    slope: Array
    focal: Array

    @classmethod
    def place(
        cls, windows: Windows, camera: Camera, window: Array, east_m: Array, north_m: Array, yaw_rad: Array
    ) -> Viewpoints:
        """Puts `camera` at each pose, all (B,) ENU metres and radians."""
        return cls(
            windows=windows,
            window=window,
            x=east_m - windows.origin[window, 0],
            y=windows.origin[window, 1] - north_m,
            yaw_rad=yaw_rad,
            height_m=camera.height_m,
            azimuth=from_numpy(camera.azimuth_rad, windows.origin),
            slope=from_numpy(np.ascontiguousarray(camera.slope.T), windows.origin),
            focal=from_numpy(camera.focal_px, windows.origin),
        )


@dataclass(frozen=True)
class Picture:
    """What is drawn so far, image columns first; drawing changes the arrays in place.

    Attributes:
        colour: (B, W, H, 3) float32 RGB.
        depth_m: (B, W, H) float32 horizontal distance, infinite for sky.
        label: (B, W, H) uint8.
    """

    colour: Array
    depth_m: Array
    label: Array
