"""Odometry, tracks and fixes of a vehicle that does what a test says."""

from __future__ import annotations

import math

import numpy as np
from fakes.drives import NS, SEARCH_RADIUS_M, SPEED_MPS

from geoflow_ros.arrays import Float64Array
from geoflow_ros.tracking import FixMeasurement, OdometryBuffer, OdometryPose, StartPose, Tracker


def filled_buffer(
    seconds: float = 5.0, rate_hz: float = 50.0, speed_mps: float = SPEED_MPS, yaw_rate: float = 0.0
) -> OdometryBuffer:
    """Odometry of a vehicle that begins at the origin, looks along x and keeps its speed and turn (rad/s)."""
    buffer = OdometryBuffer()
    for index in range(round(seconds * rate_hz) + 1):
        t = index / rate_hz
        yaw = yaw_rate * t
        x, y = speed_mps * t, 0.0
        if yaw_rate != 0:
            x, y = speed_mps / yaw_rate * math.sin(yaw), speed_mps / yaw_rate * (1 - math.cos(yaw))
        buffer.add(OdometryPose(round(t * NS), x, y, math.remainder(yaw, math.tau), speed_mps))
    return buffer


def started_track(std_m: float = 4.0, yaw_std_rad: float = 0.1) -> tuple[OdometryBuffer, Tracker]:
    """A track of 20 s that drives north from (100, 50)."""
    buffer = filled_buffer(seconds=20.0)
    tracker = Tracker(buffer)
    tracker.start(StartPose(0, 100.0, 50.0, math.pi / 2, np.diag([std_m**2, std_m**2, yaw_std_rad**2])))
    return buffer, tracker


def fix_at(
    stamp_ns: int,
    east_m: float,
    north_m: float,
    std_m: float = 1.0,
    *,
    covariance_m2: Float64Array | None = None,
    lever_arm_m: tuple[float, float] = (0.0, 0.0),
) -> FixMeasurement:
    """A fix at the centre of its search area."""
    mean = np.array([east_m, north_m])
    covariance = np.eye(2) * std_m**2 if covariance_m2 is None else covariance_m2
    return FixMeasurement(stamp_ns, mean, covariance, mean, SEARCH_RADIUS_M, lever_arm_m)
