"""The value types of tracking: settings, what goes into the tracker, and what comes out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.tracking.odometry import OdometryPose


@dataclass(frozen=True)
class TrackerSettings:
    """The noise of the sensors and the limits of the gate; units in the names.

    Attributes:
        position_noise_m_per_sqrt_m: random walk of the odometry's position per square root of driven metre.
        yaw_noise_rad_per_sqrt_s: random walk of the odometry's yaw.
        yaw_drift_std_radps: standard deviation of the constant yaw drift at the start.
        yaw_drift_walk_radps_per_sqrt_s: random walk of that drift.
        scale_std: standard deviation of the odometry's scale error at the start, 1.
        scale_walk_per_sqrt_m: random walk of the scale, 1 per square root of driven metre.
        heading_bias_std_rad: standard deviation of the constant error of the absolute heading.
        heading_bias_walk_rad_per_sqrt_s: random walk of that error.
        fix_correlation_length_m: errors of fixes closer together than this share their cause, the scene that the
            camera sees.
        fix_correlation_time_s: the same in time, for a vehicle at rest.
        gate_probability: share of the good fixes that pass the gate.
        relocalize_after: so many rejected fixes in a row, consistent with each other, mean that the track is wrong and
            not they.
        relocalize_distance_m: the rejected fixes must also span this distance, or one strange scene could move the
            track; half of it where they find a lost track where it is.
        relocalize_max_std_m: a relocalization inflates the standard deviation of the position up to this at most: a
            vehicle that finds its track too uncertain asks for no more fixes.
        degraded_after_m: without a fix over this much driving, odometry carries the track.
        lost_after_m: without a fix over this much driving, the track is lost.
    """

    position_noise_m_per_sqrt_m: float = 0.05
    yaw_noise_rad_per_sqrt_s: float = math.radians(0.1)
    yaw_drift_std_radps: float = math.radians(0.12)
    yaw_drift_walk_radps_per_sqrt_s: float = 0.0001
    scale_std: float = 0.03
    scale_walk_per_sqrt_m: float = 0.0003
    heading_bias_std_rad: float = math.radians(2.0)
    heading_bias_walk_rad_per_sqrt_s: float = math.radians(0.17)
    fix_correlation_length_m: float = 8.0
    fix_correlation_time_s: float = 30.0
    gate_probability: float = 0.997
    relocalize_after: int = 5
    relocalize_distance_m: float = 20.0
    relocalize_max_std_m: float = 12.0
    degraded_after_m: float = 8.0
    lost_after_m: float = 16.0


@dataclass(frozen=True)
class StartPose:
    """The pose where a track begins.

    Attributes:
        stamp_ns: when the vehicle was there.
        east_m, north_m: base_link in the map, metres.
        yaw_rad: its yaw in the map.
        covariance: (3, 3) of (east, north, yaw); m², m·rad, rad².
    """

    stamp_ns: int
    east_m: float
    north_m: float
    yaw_rad: float
    covariance: Float64Array


@dataclass(frozen=True)
class TrackedPose:
    """The pose of base_link in the map at a stamp.

    Attributes:
        stamp_ns: time of validity, nanoseconds.
        east_m, north_m: base_link in the map, metres.
        yaw_rad: its yaw in the map, in [-π, π].
        covariance: (3, 3) of (east, north, yaw); m², m·rad, rad².
        odometry: the odometry at the same stamp.
        driven_m: distance driven since the start of the track, metres.
    """

    stamp_ns: int
    east_m: float
    north_m: float
    yaw_rad: float
    covariance: Float64Array
    odometry: OdometryPose
    driven_m: float

    @property
    def position_std_m(self) -> float:
        """Standard deviation of the position along its least certain direction, metres."""
        return math.sqrt(float(np.linalg.eigvalsh(self.covariance[:2, :2])[-1]))

    @property
    def yaw_std_rad(self) -> float:
        """Standard deviation of the yaw, radians."""
        return math.sqrt(float(self.covariance[2, 2]))


@dataclass(frozen=True)
class PlanarTransform:
    """The pose of the odometry frame in the map at a stamp: metres and radians (what TF calls map→odom)."""

    stamp_ns: int
    x_m: float
    y_m: float
    yaw_rad: float


@dataclass(frozen=True)
class FixMeasurement:
    """A fix of the camera, as the tracker needs it.

    Attributes:
        stamp_ns: stamp of the image.
        mean_m: (2,) camera in the map (east, north), metres.
        covariance_m2: (2, 2) under a uniform prior over the search area.
        centre_m: (2,) centre of the search area (east, north), metres.
        search_radius_m: half its side.
        lever_arm_m: (forward, left) of the camera from base_link, metres.
        yaw_rad: yaw of base_link in the map, where the localizer measures it too.
        yaw_variance_rad2: variance of that yaw, of the image alone: no prior is taken out of it. The covariance
            between yaw and position is not used: the tracker fuses the two as if their errors were independent.
        camera: name of the camera: the errors of one are alike from fix to fix, those of two are not.
    """

    stamp_ns: int
    mean_m: Float64Array
    covariance_m2: Float64Array
    centre_m: Float64Array
    search_radius_m: float
    lever_arm_m: tuple[float, float] = (0.0, 0.0)
    yaw_rad: float | None = None
    yaw_variance_rad2: float | None = None
    camera: str = ""


class Verdict(Enum):
    """What became of a fix."""

    FUSED = "fused"
    OUTLIER = "outlier"
    UNINFORMATIVE = "uninformative"
    STALE = "stale"
    RELOCALIZED = "relocalized"
    UNPROVEN = "unproven"


@dataclass(frozen=True)
class FixDecision:
    """The gate's decision about one fix.

    Attributes:
        verdict: fused, outlier, uninformative (no axis on which the image adds to the search prior), stale (older than
            the track), relocalized (the track was moved to where the rejected fixes consistently put it), or unproven
            (the track is lost, and this fix has too few others that agree with it).
        squared_distance: normalised innovation squared, 1; NaN where none was computed.
        limit: the χ² limit that it had to stay under; NaN where none was computed.
        axes: how many axes the image measured.
        rejected_in_a_row: outliers and unproven fixes since the last fix that was fused, this one included.
        inflation: by how much the fix's covariances count larger than it says; 1 where none was computed.
    """

    verdict: Verdict
    squared_distance: float
    limit: float
    axes: int
    rejected_in_a_row: int
    inflation: float = 1.0


@dataclass
class TrackerCounts:
    """How often each thing happened since the tracker was made."""

    fused: int = 0
    outliers: int = 0
    uninformative: int = 0
    stale: int = 0
    unproven: int = 0
    relocalizations: int = 0
    fix_yaws_fused: int = 0
    fix_yaws_rejected: int = 0
    headings_fused: int = 0
    headings_rejected: int = 0
    starts: int = 0
