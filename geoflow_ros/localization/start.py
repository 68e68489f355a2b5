"""A track that begins at a satellite fix together with an absolute heading; and a start pose's least uncertainty."""

from __future__ import annotations

import math

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import OdometryError
from geoflow_ros.geo import Datum
from geoflow_ros.geo.axes import rotation_matrix
from geoflow_ros.localization.values import GnssPosition, VehicleSettings
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import Heading, OdometryPose, StartPose, TrackerSettings

MAX_GNSS_TO_HEADING_S = 1.0
"""A satellite fix and an absolute heading further apart than this are not one pose: a car turns by 30° in a second."""

UNKNOWN_YAW_VARIANCE = math.pi**2 / 3.0
"""Of a yaw of which nothing is known, rad²."""


def floored_covariance(covariance: Float64Array, min_position_std_m: float, min_yaw_std_rad: float) -> Float64Array:
    """A (3, 3) covariance of (east, north, yaw) whose position and yaw are at least as uncertain as given."""
    values, vectors = np.linalg.eigh((covariance[:2, :2] + covariance[:2, :2].T) / 2.0)
    floored = np.zeros((3, 3))
    floored[:2, :2] = (vectors * np.maximum(values, min_position_std_m**2)) @ vectors.T
    floored[2, 2] = max(float(covariance[2, 2]), min_yaw_std_rad**2)
    return floored


def carried(start: StartPose, then: OdometryPose, now: OdometryPose, noise: TrackerSettings) -> StartPose:
    """A start pose as the odometry carries it along in its frame, with the uncertainty that this adds.

    Args:
        start: where base_link was.
        then: the odometry there.
        now: the odometry later; the pose that is returned has its stamp.
        noise: of the odometry.
    """
    moved = np.array([now.x_m - then.x_m, now.y_m - then.y_m])
    turned_rad = math.remainder(now.yaw_rad - then.yaw_rad, math.tau)
    distance_m, seconds = float(np.hypot(*moved)), (now.stamp_ns - then.stamp_ns) / NANOSECONDS_PER_SECOND
    shift = rotation_matrix(start.yaw_rad - then.yaw_rad) @ moved
    covariance = start.covariance.copy()
    turning_s = seconds if distance_m > 0.0 else 0.0  # a vehicle that stands keeps its heading
    covariance[2, 2] += (noise.yaw_drift_std_radps * turning_s) ** 2 + noise.yaw_noise_rad_per_sqrt_s**2 * turning_s
    # The heading's error turns the way, and the scale's stretches it.
    way_variance = distance_m**2 * (float(covariance[2, 2]) + noise.scale_std**2)
    covariance[:2, :2] += np.eye(2) * (way_variance + noise.position_noise_m_per_sqrt_m**2 * distance_m)
    return StartPose(
        now.stamp_ns,
        start.east_m + float(shift[0]),
        start.north_m + float(shift[1]),
        math.remainder(start.yaw_rad + turned_rad, math.tau),
        covariance,
    )


class GnssStart:
    """Waits for a satellite fix and an absolute heading that belong together.

    Attributes:
        waiting: the newest satellite fix that no track has begun at.
        problem: why the newest message on fix cannot be used; empty where it can, or none came.
        heading_problem: the same of imu.
    """

    def __init__(self) -> None:
        self.waiting: GnssPosition | None = None
        self.problem = ""
        self.heading_problem = ""
        self._first_ns: int | None = None

    def add(self, gnss: GnssPosition) -> None:
        """Take a satellite fix."""
        self.waiting, self.problem = gnss, ""
        if self._first_ns is None:
            self._first_ns = gnss.stamp_ns

    def forget(self) -> None:
        """Forget what came: it is of another clock."""
        self.waiting = self._first_ns = None

    def why_none(self, heading: Heading | None) -> tuple[str, str]:
        """Why no track has begun, and which input is at fault.

        Args:
            heading: the newest absolute heading; None where none came.
        """
        if self.problem:
            return self.problem, "fix"
        if self.waiting is not None and heading is None:
            missing = self.heading_problem or "fix came, and no absolute heading on imu: publish it"
            return f"{missing}, or give initialpose", "imu"
        if heading is not None:
            return "an absolute heading came on imu; give fix too, or initialpose", "start"
        return "give initialpose, or fix and an absolute heading on imu", "start"

    def start_pose(
        self, heading: Heading | None, finds_any_heading: bool, datum: Datum, settings: VehicleSettings
    ) -> StartPose | None:
        """The pose where the newest satellite fix and an absolute heading put the vehicle; the fix is used up.

        Args:
            heading: the newest absolute heading; None where none came.
            finds_any_heading: whether the method searches all headings: then a track starts without one where none
                comes in the first second of fixes.
            datum: of the map.
            settings: how uncertain a start pose counts at least.

        Returns:
            None where fix or heading are missing.

        Raises:
            OdometryError: the two are too far apart in time.
            GeometryError: the position is outside the map frame.
        """
        gnss = self.waiting
        if gnss is None or (heading is None and not (finds_any_heading and self._waited(gnss))):
            return None
        self.waiting = None
        return _pose_at(gnss, heading, datum, settings)

    def _waited(self, gnss: GnssPosition) -> bool:
        """Whether satellite fixes have come for so long that a heading would have come too."""
        if self._first_ns is None:
            return False
        return (gnss.stamp_ns - self._first_ns) / NANOSECONDS_PER_SECOND >= MAX_GNSS_TO_HEADING_S


def _pose_at(gnss: GnssPosition, heading: Heading | None, datum: Datum, settings: VehicleSettings) -> StartPose:
    """The pose where a satellite fix and an absolute heading put the vehicle; without one, any heading will do.

    Raises:
        OdometryError: the two are too far apart in time.
        GeometryError: the position is outside the map frame.
    """
    yaw_rad, yaw_variance = 0.0, UNKNOWN_YAW_VARIANCE
    if heading is not None:
        _check_together(gnss, heading)
        yaw_rad, yaw_variance = heading.yaw_rad, heading.std_rad**2 + settings.tracker.heading_bias_std_rad**2
    east_m, north_m = datum.to_enu(gnss.latitude_deg, gnss.longitude_deg)
    covariance = np.diag([settings.gnss_std_m**2, settings.gnss_std_m**2, yaw_variance])
    if gnss.covariance_m2 is not None:
        covariance[:2, :2] = gnss.covariance_m2
    floored = floored_covariance(covariance, settings.min_start_position_std_m, settings.min_start_yaw_std_rad)
    return StartPose(gnss.stamp_ns, float(east_m), float(north_m), yaw_rad, floored)


def _check_together(gnss: GnssPosition, heading: Heading) -> None:
    apart_s = abs(gnss.stamp_ns - heading.stamp_ns) / NANOSECONDS_PER_SECOND
    if apart_s > MAX_GNSS_TO_HEADING_S:
        raise OdometryError(
            f"fix and imu are {apart_s:.1f} s apart (limit {MAX_GNSS_TO_HEADING_S:g} s): one of them has stopped, "
            "or their clocks differ"
        )
