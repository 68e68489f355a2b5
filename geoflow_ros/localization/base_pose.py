"""Between the camera, which is localized, and base_link, which is tracked and published: lever arm and camera yaw."""

from __future__ import annotations

import math

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.axes import rotation_matrix
from geoflow_ros.inference import Fix
from geoflow_ros.localization.frame_checks import HEADING_SIGMAS
from geoflow_ros.localization.patch_manager import Prior
from geoflow_ros.localization.values import VehicleSettings
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.tracking import FixMeasurement, TrackedPose


def camera_prior(tracked: TrackedPose, settings: VehicleSettings) -> Prior:
    """Where the camera is, as the track has base_link."""
    lever = lever_arm_in_map(settings, tracked.yaw_rad)
    return Prior(
        tracked.east_m + float(lever[0]), tracked.north_m + float(lever[1]), tracked.yaw_rad + settings.camera_yaw_rad
    )


def measurement_of(fix: Fix, settings: VehicleSettings, camera: str) -> FixMeasurement:
    """What a fix of the camera of a name is to the tracker."""
    return FixMeasurement(
        fix.stamp_ns,
        fix.position,
        fix.covariance,
        np.array([fix.frame.centre_east_m, fix.frame.centre_north_m]),
        fix.search_radius_m,
        settings.lever_arm_m,
        None if fix.yaw_rad is None else fix.yaw_rad - settings.camera_yaw_rad,
        fix.yaw_variance_rad2,
        camera,
    )


def base_pose(
    fix: Fix, track: TrackedPose, settings: VehicleSettings
) -> tuple[Float64Array, float, Float64Array, Float64Array]:
    """base_link by a fix of the camera; the yaw is the track's where the fix has none.

    Returns:
        Position (2,) east and north, m; yaw, rad; covariance (3, 3) of (east, north, yaw); the lever arm (2,) of the
        camera from base_link in the map, m.
    """
    yaw_rad, covariance = track.yaw_rad, np.zeros((3, 3))
    covariance[:2, :2], covariance[2, 2] = fix.covariance, track.covariance[2, 2]
    if fix.yaw_rad is not None and fix.pose_covariance is not None:
        yaw_rad, covariance = fix.yaw_rad - settings.camera_yaw_rad, fix.pose_covariance
    lever = lever_arm_in_map(settings, yaw_rad)
    return fix.position - lever, yaw_rad, _base_covariance(covariance, lever), lever


def lever_arm_in_map(settings: VehicleSettings, yaw_rad: float) -> Float64Array:
    """(2,) east and north of the camera from base_link."""
    forward, left = settings.lever_arm_m
    (cosine, _), (sine, _) = rotation_matrix(yaw_rad)
    return np.array([cosine * forward - sine * left, sine * forward + cosine * left])


def heading_error(patch: SatellitePatch, prior: Prior, yaw_std_rad: float) -> float:
    """By how much a patch's yaw may differ from the camera's: by what the prior does, and by the prior's own error."""
    turned_rad = abs(math.remainder(patch.frame.yaw_rad - prior.yaw_rad, math.tau))
    return min(turned_rad + HEADING_SIGMAS * yaw_std_rad, math.pi)


def _base_covariance(camera_covariance: Float64Array, lever_m: Float64Array) -> Float64Array:
    """(3, 3) of base_link's (east, north, yaw): the camera's, and what an uncertain yaw does to the lever arm."""
    turn = np.array([lever_m[1], -lever_m[0]])  # d(camera - lever) / d(yaw)
    with_yaw, yaw_variance = camera_covariance[:2, 2], camera_covariance[2, 2]
    crossed = np.outer(turn, with_yaw)
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = camera_covariance[:2, :2] + crossed + crossed.T + yaw_variance * np.outer(turn, turn)
    covariance[:2, 2] = covariance[2, :2] = with_yaw + yaw_variance * turn
    covariance[2, 2] = yaw_variance
    return covariance
