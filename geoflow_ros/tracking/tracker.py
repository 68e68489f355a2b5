"""The tracker: the filter kept at the stamp of the newest image, and what has to be remembered between fixes.

Fixes arrive some tenths of a second after their image. Nothing is rolled back for that: the state waits at the stamp
of the last image, and where the vehicle is now is this state carried on by the odometry since.
"""

from __future__ import annotations

import math
import threading

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import OdometryError
from geoflow_ros.geo.axes import rotation_matrix
from geoflow_ros.geo.gaussian import chi_square_quantile
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import filter as ekf
from geoflow_ros.tracking.filter import FilterState, PositionInnovation
from geoflow_ros.tracking.following import FollowingTest
from geoflow_ros.tracking.headings import Heading, HeadingQueue
from geoflow_ros.tracking.innovations import InnovationTest
from geoflow_ros.tracking.likelihood import likelihood_axes
from geoflow_ros.tracking.odometry import OdometryBuffer, OdometryPose
from geoflow_ros.tracking.relocalization import RejectedFix, RejectionHistory
from geoflow_ros.tracking.start import PendingStart, check_start_pose
from geoflow_ros.tracking.trust import DISBELIEVED_INFLATION, TrackStatus, TrackTrust
from geoflow_ros.tracking.values import (
    FixDecision,
    FixMeasurement,
    PlanarTransform,
    StartPose,
    TrackedPose,
    TrackerCounts,
    TrackerSettings,
    Verdict,
)

# Odometry is carried forward in steps of at most this: within one, yaw is taken at the middle.
_MAX_STEP_NS = NANOSECONDS_PER_SECOND // 4
# A lever arm is not linear in a yaw that is known less well than this.
_LINEAR_YAW_STD_RAD = math.radians(15.0)
# Fixes that find a lost track where it is prove less than those that move one: this share of the distance is enough.
# Pictures of another street err smoothly too, and agree with each other for some ten metres.
_PROOF_WHERE_THE_TRACK_IS = 0.5


class Tracker:
    """Estimates where base_link is in the map, from odometry, fixes and absolute headings.

    Thread-safe: one thread advances and updates, others ask for poses, add headings and start it again.

    Args:
        odometry: where odometry is kept; a cleared buffer ends the track, since its frame is gone.
        settings: noise and gate.
    """

    def __init__(self, odometry: OdometryBuffer, settings: TrackerSettings | None = None) -> None:
        self._odometry = odometry
        self._settings = settings or TrackerSettings()
        self._lock = threading.RLock()
        self._state: FilterState | None = None
        self._generation = odometry.generation
        self._pending_start = PendingStart(odometry)
        self._headings = HeadingQueue()
        self._rejections = RejectionHistory()
        self._innovations = InnovationTest()
        self._following = FollowingTest()
        self._trust = TrackTrust()
        self._last_fused: dict[str, tuple[int, float]] = {}  # stamp_ns, driven_m, by camera
        self.counts = TrackerCounts()

    @property
    def settings(self) -> TrackerSettings:
        """Noise and gate; may be replaced while running."""
        return self._settings

    @settings.setter
    def settings(self, settings: TrackerSettings) -> None:
        with self._lock:
            self._settings = settings

    @property
    def started(self) -> bool:
        """Whether there is a track, or a start pose that waits for odometry."""
        with self._lock:
            self._drop_if_odometry_was_cleared()
            return self._pending_start.waits or self._state is not None

    @property
    def stamp_ns(self) -> int | None:
        """The stamp that the track stands at; None without a track."""
        with self._lock:
            return None if self._state is None else self._state.odometry.stamp_ns

    @property
    def dropped_start(self) -> str:
        """Why the newest start pose was dropped before a track began with it; empty where none was."""
        with self._lock:
            return self._pending_start.dropped

    @property
    def newest_heading(self) -> Heading | None:
        """The newest absolute heading that the track has not come by yet."""
        with self._lock:
            return self._headings.newest

    def reset(self) -> None:
        """Drop the track; nothing is tracked until the next start."""
        with self._lock:
            self._pending_start.clear()
            self._drop_track()

    def start(self, start: StartPose) -> None:
        """Begin a new track at a pose; takes effect as soon as odometry covers its stamp.

        Raises:
            OdometryError: the pose is not finite, or its covariance is not positive definite.
        """
        check_start_pose(start)
        with self._lock:
            self._state = None
            self._forget_fixes()
            self._generation = self._odometry.generation
            self._pending_start.put(start)
            self.counts.starts += 1

    def inflate_covariance(self, position_std_m: float, yaw_std_rad: float) -> None:
        """Keep the track's pose and trust it no more than this; done twice, it does no more than once.

        Raises:
            OdometryError: there is no track.
        """
        with self._lock:
            self._drop_if_odometry_was_cleared()
            if self._state is None:
                raise OdometryError("there is no track yet: give a start pose first (initialpose)")
            self._state = ekf.inflate_yaw(ekf.inflate_position(self._state, position_std_m), yaw_std_rad)
            self._forget_fixes()

    def doubt(self, reason: str) -> None:
        """Take the track, or the start pose that waits, for lost, until fixes agree with it or move it."""
        with self._lock:
            self._trust.disbelieve(reason)

    def add_heading(self, stamp_ns: int, yaw_rad: float, std_rad: float) -> None:
        """Keep one absolute heading (yaw of base_link in the map) until the track comes by its stamp.

        Raises:
            OdometryError: it is not finite, or its standard deviation is not above zero.
        """
        if not (math.isfinite(yaw_rad) and math.isfinite(std_rad) and std_rad > 0.0):
            raise OdometryError(
                "an absolute heading that is not finite, or with a standard deviation that is not above zero"
            )
        with self._lock:
            self._headings.add(Heading(stamp_ns, yaw_rad, std_rad))

    def advance(self, stamp_ns: int) -> TrackedPose:
        """Carry the track to a stamp, headings on the way included, and leave it there.

        Raises:
            OdometryError: no track, a stamp older than the track's, or one that the odometry does not cover.
        """
        with self._lock:
            return self._advanced(stamp_ns).pose

    def predict(self, stamp_ns: int) -> TrackedPose:
        """Returns where the vehicle is at a stamp not older than the track, without moving the track.

        Raises:
            OdometryError: as `advance`.
        """
        with self._lock:
            state = self._state_or_start(stamp_ns)
            if stamp_ns < state.odometry.stamp_ns:
                raise OdometryError("the stamp is older than the track")
            return self._carried(state, self._odometry.pose_at(stamp_ns)).pose

    def status(self, stamp_ns: int) -> TrackStatus:
        """Returns what the track is worth at a stamp not older than it: tracking, degraded or lost.

        Raises:
            OdometryError: as `predict`.
        """
        with self._lock:
            return self._trust.status(self.predict(stamp_ns).driven_m, self._inflation, self._settings)

    def map_to_odom(self, stamp_ns: int) -> PlanarTransform:
        """Returns the odometry frame's pose in the map that puts base_link where the track has it at a stamp.

        Raises:
            OdometryError: as `predict`.
        """
        pose = self.predict(stamp_ns)
        yaw = pose.yaw_rad - pose.odometry.yaw_rad
        x, y = rotation_matrix(yaw) @ np.array([pose.odometry.x_m, pose.odometry.y_m])
        return PlanarTransform(stamp_ns, pose.east_m - float(x), pose.north_m - float(y), math.remainder(yaw, math.tau))

    def update(self, fix: FixMeasurement) -> FixDecision:
        """Gate one fix, and fuse it where it passes.

        The position decides. A yaw that the fix has is fused after it, as a scalar of its own (the covariance between
        the two is not used), where it is within the gate of a heading; with a position that is not fused the yaw is not
        either, since both come from the same match. A yaw that was hardly known is set before the position is compared:
        the camera's lever arm turns with it.

        While fixes contradict the track more than they say, or do not follow the motion, they are fused with larger
        covariances, and in the end not at all: the track is lost. A track that is lost, for whatever reason, believes
        fixes again when enough of them agree with each other over some distance.

        Raises:
            OdometryError: there is no track, odometry does not cover the stamp, or the fix has a yaw that is not finite
                or has no finite variance above zero.
        """
        yaw = _checked_yaw(fix)
        with self._lock:
            if self._state is not None and fix.stamp_ns < self._state.odometry.stamp_ns:
                self.counts.stale += 1
                return FixDecision(Verdict.STALE, math.nan, math.nan, 0, self._rejections.in_a_row)
            state = self._advanced(fix.stamp_ns)
            axes = likelihood_axes(fix.mean_m, fix.covariance_m2, fix.centre_m, fix.search_radius_m)
            if not axes:
                self.counts.uninformative += 1
                return FixDecision(Verdict.UNINFORMATIVE, math.nan, math.nan, 0, self._rejections.in_a_row)
            turned = None
            if yaw is not None and state.pose.yaw_std_rad > _LINEAR_YAW_STD_RAD:
                turned = ekf.update_yaw(state, *yaw, new_information=1.0)
            state = turned or state
            innovation = ekf.position_innovation(state, axes, fix.lever_arm_m)
            distance = ekf.squared_distance(state, innovation)
            limit = chi_square_quantile(self._settings.gate_probability, len(axes))
            passes = distance <= limit
            self._test(state, innovation, distance, fix.centre_m, passes=passes)
            if passes and not self._trust.is_lost:
                verdict, self._state = Verdict.FUSED, state
            else:
                verdict = self._held_back_or_relocalized(state, innovation, passes=passes)
            decision = FixDecision(
                verdict, distance, limit, len(axes), self._rejections.in_a_row, inflation=self._inflation
            )
            if verdict in (Verdict.FUSED, Verdict.RELOCALIZED):
                self._fuse(innovation, yaw, fix.camera, has_yaw=turned is not None)
            return decision

    @property
    def _inflation(self) -> float:
        """By how much the covariances of fixes count larger than they say, 1 at least."""
        return self._innovations.inflation * self._following.inflation

    def _test(
        self,
        state: FilterState,
        innovation: PositionInnovation,
        squared_distance: float,
        centre_m: Float64Array,
        *,
        passes: bool,
    ) -> None:
        """Hold a fix against the motion and against what it claims; fixes that fail lose the track.

        A track that is lost says nothing about a fix: only what fixes follow is asked then.
        """
        was_lost, settings = self._trust.is_lost, self._settings
        if not was_lost:
            self._innovations.add(state.driven_m, squared_distance, len(innovation.axes), settings)
        if passes or was_lost:
            self._following.add(state, innovation, centre_m, self._innovations.inflation, settings)
        if was_lost or self._inflation < DISBELIEVED_INFLATION:
            return
        if self._following.inflation > self._innovations.inflation:
            self._trust.disbelieve("fixes do not follow the motion")
        else:
            self._trust.disbelieve("fixes contradict the motion and each other")
        # The track was made of such fixes: its covariance is as much too small as theirs.
        assert self._state is not None
        std_m = min(state.pose.position_std_m * math.sqrt(self._inflation), settings.relocalize_max_std_m)
        self._state = ekf.inflate_position(self._state, std_m)
        self._following.doubt()

    def _held_back_or_relocalized(self, state: FilterState, innovation: PositionInnovation, *, passes: bool) -> Verdict:
        """Count a fix that is not fused; where the last such fixes have a correction in common, make way for it.

        The position is inflated in all directions until the common correction is one standard deviation, or to the
        settings' limit: a track that is wrong on the axis that fixes see is hardly right on the one that they do not.
        """
        self._rejections.add(RejectedFix(state.driven_m, innovation.correction_m, innovation.axes), self._settings)
        span_m = self._settings.relocalize_distance_m * (_PROOF_WHERE_THE_TRACK_IS if passes else 1.0)
        correction = self._rejections.common_correction(self._settings, span_m)
        if correction is None or self._following.inflation > 1.0:
            if passes:
                self.counts.unproven += 1
                return Verdict.UNPROVEN
            self.counts.outliers += 1
            return Verdict.OUTLIER
        std_m = min(float(np.hypot(*correction)), self._settings.relocalize_max_std_m)
        self._state = ekf.inflate_position(state, std_m)
        self._last_fused.clear()
        self._innovations.clear()
        self._following.clear()
        self._trust.restart(state.driven_m)
        self.counts.relocalizations += 1
        return Verdict.RELOCALIZED

    def _fuse(
        self, innovation: PositionInnovation, yaw: tuple[float, float] | None, camera: str, *, has_yaw: bool
    ) -> None:
        """Fuse a fix at the track's stamp: its position, then its yaw (rad) with its variance (rad²), if it has one.

        With `has_yaw`, the state has that already.
        """
        assert self._state is not None
        new_information = self._new_information(self._state, camera) / self._inflation
        self._state = ekf.update_position(self._state, innovation, new_information)
        self._trust.fused(self._inflation)
        self._rejections.clear()
        self._last_fused[camera] = (self._state.odometry.stamp_ns, self._state.driven_m)
        self.counts.fused += 1
        if has_yaw:
            self.counts.fix_yaws_fused += 1
            return
        if yaw is None:
            return
        with_yaw = ekf.update_yaw(self._state, *yaw, new_information)
        if with_yaw is None:
            self.counts.fix_yaws_rejected += 1
        else:
            self._state = with_yaw
            self.counts.fix_yaws_fused += 1

    def _new_information(self, state: FilterState, camera: str) -> float:
        """The share of a fix's information at the state's stamp that its camera's last one did not already give.

        Errors are alike where pictures show the same scene: two cameras that look elsewhere show different ones.
        """
        if camera not in self._last_fused:
            return 1.0
        last_ns, last_driven_m = self._last_fused[camera]
        seconds = (state.odometry.stamp_ns - last_ns) / NANOSECONDS_PER_SECOND
        return ekf.new_information_share(state.driven_m - last_driven_m, seconds, self._settings)

    def _advanced(self, stamp_ns: int) -> FilterState:
        state = self._state_or_start(stamp_ns)
        if stamp_ns < state.odometry.stamp_ns:
            behind_s = (state.odometry.stamp_ns - stamp_ns) / NANOSECONDS_PER_SECOND
            raise OdometryError(
                f"the stamp is {behind_s:.3f} s older than the track: out of order, or a clock jumped back"
            )
        target = self._odometry.pose_at(stamp_ns)
        for heading in self._headings.pop_until(stamp_ns):
            if heading.stamp_ns >= state.odometry.stamp_ns:
                state = self._with_heading(state, heading)
        self._state = self._carried(state, target)
        self._trust.drove(self._state.driven_m, self._settings)
        return self._state

    def _with_heading(self, state: FilterState, heading: Heading) -> FilterState:
        """The state at the heading's stamp, the heading fused; the state itself where odometry does not cover it."""
        try:
            odometry = self._odometry.pose_at(heading.stamp_ns)
        except OdometryError:  # in a gap: the heading cannot be compared with anything
            self.counts.headings_rejected += 1
            return state
        state = self._carried(state, odometry)
        updated = ekf.update_heading(state, heading.yaw_rad, heading.std_rad)
        if updated is None:
            self.counts.headings_rejected += 1
            return state
        self.counts.headings_fused += 1
        return updated

    def _carried(self, state: FilterState, target: OdometryPose) -> FilterState:
        """The state at a later odometry pose, in steps short enough for the turn within each to be small."""
        next_ns = state.odometry.stamp_ns + _MAX_STEP_NS
        for stamp_ns in self._odometry.stamps_between(state.odometry.stamp_ns, target.stamp_ns):
            if stamp_ns >= next_ns:
                state = ekf.predict(state, self._odometry.pose_at(stamp_ns), self._settings)
                next_ns = stamp_ns + _MAX_STEP_NS
        return ekf.predict(state, target, self._settings)

    def _state_or_start(self, stamp_ns: int) -> FilterState:
        self._drop_if_odometry_was_cleared()
        if self._state is None:
            start, odometry = self._pending_start.take(stamp_ns)
            self._state = ekf.initial_state(start, odometry, self._settings)
        return self._state

    def _drop_if_odometry_was_cleared(self) -> None:
        if self._generation != self._odometry.generation:
            self._generation = self._odometry.generation
            # A start pose that still waits is in the map, not in the frame that went: it may have come just before
            # the odometry that showed the jump (an initialpose at the beginning of a looped bag).
            self._drop_track()

    def _drop_track(self) -> None:
        self._state = None
        self._headings.clear()
        self._forget_fixes()

    def _forget_fixes(self) -> None:
        self._last_fused.clear()
        self._rejections.clear()
        self._innovations.clear()
        self._following.clear()
        self._trust.restart(0.0 if self._state is None else self._state.driven_m)


def _checked_yaw(fix: FixMeasurement) -> tuple[float, float] | None:
    """The yaw of a fix with its variance (rad, rad²); None where it has none.

    Raises:
        OdometryError: one of the two is missing or not finite, or the variance is not above zero.
    """
    yaw, variance = fix.yaw_rad, fix.yaw_variance_rad2
    if yaw is None and variance is None:
        return None
    if yaw is None or variance is None:
        raise OdometryError("a fix with a yaw without a variance, or a variance without a yaw: give both or neither")
    if not (math.isfinite(yaw) and math.isfinite(variance) and variance > 0.0):
        raise OdometryError("a fix with a yaw that is not finite, or with a variance of it that is not above zero")
    return yaw, variance
