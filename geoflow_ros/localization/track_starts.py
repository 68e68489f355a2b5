"""Where a track begins when nobody gives an initialpose: the last pose, a place that is named, or a satellite fix."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np

from geoflow_ros.errors import GeometryError, InputError, OdometryError
from geoflow_ros.geo import Datum
from geoflow_ros.localization.last_pose import LastPose
from geoflow_ros.localization.rejection import InputRejected, RejectReason, detail_of, input_rejected_for
from geoflow_ros.localization.start import UNKNOWN_YAW_VARIANCE, GnssStart, carried, floored_covariance
from geoflow_ros.localization.values import GnssPosition, StartPlace, VehicleSettings
from geoflow_ros.tracking import OdometryPose, StartPose, TrackedPose, Tracker, TrackerSettings

_log = logging.getLogger(__name__)

# What a vehicle does between two samples of its odometry, and one that began again hardly looks like.
_SAME_PLACE_M, _SAME_HEADING_RAD = 3.0, math.radians(10.0)


class TrackStarts:
    """Knows of every place where a track may begin, and why it does not.

    Args:
        tracker: whose track.
        datum: of the map.
    """

    def __init__(self, tracker: Tracker, datum: Datum) -> None:
        self._tracker, self._datum = tracker, datum
        self._gnss = GnssStart()
        self._is_place_used = False
        self._broke_off = ""

    # ---- what came ---------------------------------------------------------------------------------------------------

    @property
    def waiting_gnss(self) -> GnssPosition | None:
        """The newest satellite fix that no track has begun at."""
        return self._gnss.waiting

    def add_gnss(self, gnss: GnssPosition) -> None:
        """Take a satellite fix."""
        self._gnss.add(gnss)

    def refuse_gnss(self, problem: str) -> None:
        """Take note of a satellite fix that cannot be used.

        Raises:
            InputRejected: a track waits for it; with a track, a receiver in a tunnel is no matter.
        """
        self._gnss.problem = problem
        if not self._tracker.started:
            raise InputRejected(RejectReason.GNSS, problem)

    def refuse_heading(self, problem: str) -> None:
        """Take note that the newest imu message holds no heading."""
        self._gnss.heading_problem = problem

    def break_off(
        self, reason: str, track: TrackedPose | None, odometry: OdometryPose, noise: TrackerSettings
    ) -> StartPose | None:
        """Forget what came: it is of another clock, or from before an odometry that restarted.

        Args:
            reason: what became of the odometry.
            track: at the last sample before that; None where there was none to be trusted.
            odometry: the first sample after it.
            noise: of the odometry.

        Returns:
            Where the track may go on: the odometry is where it was, and only its clock jumped. Else None.
        """
        self._gnss.forget()
        self._broke_off = reason
        if track is None or not _is_near(track.odometry, odometry):
            return None
        then = replace(track.odometry, stamp_ns=odometry.stamp_ns)
        was = StartPose(odometry.stamp_ns, track.east_m, track.north_m, track.yaw_rad, track.covariance)
        return carried(was, then, odometry, noise)

    def begun(self) -> None:
        """Take note that a track begins."""
        self._broke_off = ""

    # ---- what comes of it --------------------------------------------------------------------------------------------

    def why_none(self) -> tuple[str, str]:
        """Why there is no track, and which input is at fault."""
        dropped = self._tracker.dropped_start
        if dropped:
            return dropped, "start"
        missing, fault = self._gnss.why_none(self._tracker.newest_heading)
        if self._broke_off:
            return f"no start pose since the odometry broke off ({self._broke_off}): {missing}", fault
        return f"no start pose yet: {missing}", fault

    def from_gnss(self, finds_any_heading: bool, settings: VehicleSettings) -> StartPose | None:
        """The pose where satellite fix and absolute heading put the vehicle; the fix is used up.

        Args:
            finds_any_heading: whether the method searches all headings: it needs none then.
            settings: of the vehicle.

        Returns:
            None where fix or heading are missing.

        Raises:
            InputRejected: the two do not belong together, or are outside the map.
        """
        try:
            with input_rejected_for(RejectReason.START, OdometryError, GeometryError):
                return self._gnss.start_pose(self._tracker.newest_heading, finds_any_heading, self._datum, settings)
        except InputRejected as rejected:
            self._gnss.problem = rejected.detail
            raise

    def from_place(self, odometry: OdometryPose, settings: VehicleSettings) -> StartPose | None:
        """The last pose of the drive before, else the place that the settings name; asked for once in a drive.

        Args:
            odometry: the first sample.
            settings: of the vehicle.

        Returns:
            None where there is none, or a track; why the last pose does not count is logged.

        Raises:
            InputRejected: the place is outside the map.
        """
        if self._is_place_used or self._tracker.started:
            return None
        self._is_place_used = True
        start = self._resumed(odometry, settings)
        if start is None and settings.start_place is not None:
            with input_rejected_for(RejectReason.START, GeometryError):
                start = _at_place(settings.start_place, odometry, self._datum)
        if start is None:
            return None
        covariance = floored_covariance(
            start.covariance, settings.min_start_position_std_m, settings.min_start_yaw_std_rad
        )
        return StartPose(start.stamp_ns, start.east_m, start.north_m, start.yaw_rad, covariance)

    def _resumed(self, odometry: OdometryPose, settings: VehicleSettings) -> StartPose | None:
        resume = settings.resume
        if resume is None:
            return None
        try:
            last = LastPose.read(resume.file)
            return None if last is None else last.start_at(odometry, self._datum, resume, settings.tracker)
        except (InputError, GeometryError) as error:
            _log.warning("%s", detail_of(error))
            return None


def _is_near(before: OdometryPose, after: OdometryPose) -> bool:
    turned_rad = math.remainder(after.yaw_rad - before.yaw_rad, math.tau)
    return (
        math.hypot(after.x_m - before.x_m, after.y_m - before.y_m) <= _SAME_PLACE_M
        and abs(turned_rad) <= _SAME_HEADING_RAD
    )


def _at_place(place: StartPlace, odometry: OdometryPose, datum: Datum) -> StartPose:
    east_m, north_m = datum.to_enu(place.latitude_deg, place.longitude_deg)
    yaw_variance = UNKNOWN_YAW_VARIANCE if place.yaw_rad is None else place.yaw_std_rad**2
    covariance = np.diag([place.position_std_m**2, place.position_std_m**2, yaw_variance])
    return StartPose(odometry.stamp_ns, float(east_m), float(north_m), place.yaw_rad or 0.0, covariance)
