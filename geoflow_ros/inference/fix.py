"""What comes out of one localization: values in the map frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference.assessment import Assessment


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
    """The camera's position, and its yaw where the method gives one, from one image and one patch.

    Attributes:
        stamp_ns: of the image.
        east_m, north_m: of the CAMERA in the map (ENU); the lever arm to base_link is the caller's.
        covariance: (2, 2) of (east, north) in m^2, calibrated, positive definite.
        hypotheses: (N, 2) ENU metres, where they ended.
        path: (R + 1, N, 2) ENU metres, from the start to the end.
        assessment: whether the fix may be used, and what speaks for and against it.
        timings: see there.
        frame: of the patch; its yaw is the heading that was assumed.
        search_radius_m: half the side of the search square around the patch's centre.
        posterior_position: (2,) ENU metres, mean of the Gaussian that the covariance is from: another point estimate.
        raw_covariance: (2, 2) of (forward, right) in m^2 before calibration and bound: what calibration is fitted on.
        heading_error_rad: what the orientation head says, in the convention of its training; None without that head.
        yaw_rad: of the camera's forward in the map, measured; None from a method that gives positions alone.
        yaw_variance_rad2: of that yaw; None without one.
    """

    stamp_ns: int
    east_m: float
    north_m: float
    covariance: Float64Array
    hypotheses: Float64Array
    path: Float64Array
    assessment: Assessment
    timings: FixTimings
    frame: PatchFrame
    search_radius_m: float
    posterior_position: Float64Array
    raw_covariance: Float64Array
    heading_error_rad: float | None
    yaw_rad: float | None = None
    yaw_variance_rad2: float | None = None

    @property
    def position(self) -> Float64Array:
        """(2,) east and north in metres."""
        return np.array([self.east_m, self.north_m])
