"""What comes out of one localization: values in the map frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.patch import PatchFrame


@dataclass(frozen=True)
class FixTimings:
    """Wall-clock milliseconds of each stage.

    Attributes:
        resize_ms: of fitting the image to the model.
        satellite_ms: of encoding the patch; about 0 where what was encoded of it was kept.
        ground_ms: of encoding the image.
        refine_ms: of finding it on the patch: refining hypotheses, or matching poses.
        covariance_ms: of what the answer is made from that, its covariance and its assessment.
        total_ms: of all.
    """

    resize_ms: float
    satellite_ms: float
    ground_ms: float
    refine_ms: float
    covariance_ms: float
    total_ms: float


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What speaks for and against a fix; each method has more to say.

    Attributes:
        trustworthy: whether the fix may be used; `reason` says why not.
        reason: why not, in one clause; empty for a trustworthy fix.
        quality: larger for a fix that is more likely near the truth; only its order within one method means anything.
        centre_distance_m: of the answer from the patch centre.
        probability: of an error under 5 m, as the bundle's evidence has it; then it is the quality too. None where the
            bundle has none.
        signs: what that is made from, by name.
    """

    trustworthy: bool
    reason: str
    quality: float
    centre_distance_m: float
    probability: float | None = None
    signs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fix:
    """The camera's position, and its yaw where the method gives one, from one image and one patch.

    Attributes:
        stamp_ns: of the image.
        east_m, north_m: of the CAMERA in the map (ENU); the lever arm to base_link is the caller's.
        covariance: (2, 2) of (east, north) in m^2, calibrated, positive definite.
        hypotheses: (N, 2) ENU metres, the places that the search ended at.
        assessment: whether the fix may be used, and what speaks for and against it.
        timings: see there.
        frame: of the patch; its yaw is the heading that was assumed.
        search_radius_m: half the side of the search square around the patch's centre.
        raw_covariance: before calibration and bound, what calibration is fitted on: (2, 2) of (forward, right) in m^2,
            or (3, 3) of (forward, right, yaw) from a method that gives a yaw.
        yaw_rad: of the camera's forward in the map, measured; None from a method that gives positions alone.
        pose_covariance: (3, 3) of (east, north, yaw), calibrated; m^2, m rad, rad^2. Its position's part is
            `covariance`. None without a yaw.
    """

    stamp_ns: int
    east_m: float
    north_m: float
    covariance: Float64Array
    hypotheses: Float64Array
    assessment: Assessment
    timings: FixTimings
    frame: PatchFrame
    search_radius_m: float
    raw_covariance: Float64Array
    yaw_rad: float | None = None
    pose_covariance: Float64Array | None = None

    @property
    def position(self) -> Float64Array:
        """(2,) east and north in metres."""
        return np.array([self.east_m, self.north_m])

    @property
    def yaw_variance_rad2(self) -> float | None:
        """Variance of the measured yaw; None without one."""
        return None if self.pose_covariance is None else float(self.pose_covariance[2, 2])


@dataclass(frozen=True, eq=False, kw_only=True)
class GeoFlowFix(Fix):
    """A fix of GeoFlow, with the way of its hypotheses.

    Attributes:
        path: (R + 1, N, 2) ENU metres, from the start to the end; `hypotheses` are its last.
        posterior_position: (2,) ENU metres, mean of the Gaussian that the covariance is from: another point estimate.
        heading_error_rad: what the orientation head says, in the convention of its training; None without that head.
    """

    path: Float64Array
    posterior_position: Float64Array
    heading_error_rad: float | None
