"""What goes into one localization and what comes out: values in the map frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.patch import PatchFrame


@dataclass(frozen=True, eq=False)
class Prior:
    """Where the camera is thought to be when the image is taken.

    Attributes:
        east_m, north_m: position of the camera in the map (ENU).
        covariance: (2, 2) of (east, north) in m^2.
        yaw_rad: direction of the camera's forward in the map, counter-clockwise from east.
        stamp_ns: stamp of the image that it is meant for.
    """

    east_m: float
    north_m: float
    covariance: Float64Array
    yaw_rad: float
    stamp_ns: int


@dataclass(frozen=True)
class Assessment:
    """What speaks for and against a fix.

    Attributes:
        trustworthy: whether the fix may be used; `reason` says why not.
        reason: why not, in one clause; empty for a trustworthy fix.
        spread_m: root mean square distance of the hypotheses from their mean. Convergence, not accuracy.
        inside_fraction: share of the hypotheses that ended inside the search square.
        centre_distance_m: of the answer from the patch centre.
        kappa_mean: AngMF rate of the direction, mean over the probes (see `posterior`).
        sigma_log_r_mean: standard deviation of log r, mean over the probes.
        posterior_misfit: how badly one Gaussian explains all the probes; above about 0.5 it does not,
            and the covariance is mostly that of their mixture.
        posterior_distance_m: between the answer and the mean of that Gaussian.
    """

    trustworthy: bool
    reason: str
    spread_m: float
    inside_fraction: float
    centre_distance_m: float
    kappa_mean: float
    sigma_log_r_mean: float
    posterior_misfit: float
    posterior_distance_m: float


@dataclass(frozen=True)
class FixTimings:
    """Wall-clock milliseconds of each stage. `satellite_ms` is 0 where the patch's tokens were kept."""

    resize_ms: float
    satellite_ms: float
    ground_ms: float
    refine_ms: float
    covariance_ms: float
    total_ms: float


@dataclass(frozen=True, eq=False)
class Fix:
    """The camera's position from one image and one patch.

    Attributes:
        stamp_ns: of the image.
        east_m, north_m: of the CAMERA in the map (ENU); the lever arm to base_link is the caller's.
        covariance: (2, 2) of (east, north) in m^2, calibrated, positive definite.
        hypotheses: (N, 2) ENU metres, where they ended.
        path: (R + 1, N, 2) ENU metres, from the start to the end.
        yaw_rad: of the patch's forward, which is the heading that was assumed.
        assessment, timings: see there.
        frame: of the patch.
        search_radius_m: half the side of the search square around the patch's centre.
        posterior_position: (2,) ENU metres, mean of the Gaussian that the covariance is from: another point estimate.
        raw_covariance: (2, 2) of (forward, right) in m^2 before calibration and bound: what calibration is fitted on.
        heading_error_rad: what the orientation head says, in the convention of its training; None without that head.
    """

    stamp_ns: int
    east_m: float
    north_m: float
    covariance: Float64Array
    hypotheses: Float64Array
    path: Float64Array
    yaw_rad: float
    assessment: Assessment
    timings: FixTimings
    frame: PatchFrame
    search_radius_m: float
    posterior_position: Float64Array
    raw_covariance: Float64Array
    heading_error_rad: float | None

    @property
    def position(self) -> Float64Array:
        """(2,) east and north in metres."""
        return np.array([self.east_m, self.north_m])
