"""The map→odom estimate: an extended Kalman filter that odometry carries forward and fixes correct.

State, at the stamp of the newest image that was looked at:

    east, north     position of base_link in the map, metres
    yaw_offset      yaw in the map minus yaw in the odometry frame, radians
    yaw_drift       how fast that offset changes (the gyro's bias), rad/s
    scale           metres driven per metre of odometry
    heading_bias    what the absolute heading (imu) reads too much, radians

Fixes arrive some tenths of a second after their image. Nothing is rolled back for that: the state waits at the stamp
of the last image, and where the vehicle is now is this state carried on by the odometry since.
"""

import math
import threading
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import OdometryError
from geoflow_ros.geo.axes import rotation_matrix
from geoflow_ros.geo.gaussian import chi_square_quantile
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking.likelihood import AxisMeasurement, likelihood_axes
from geoflow_ros.tracking.odometry import OdometryBuffer, OdometryPose

_EAST, _NORTH, _YAW, _DRIFT, _SCALE, _BIAS = range(6)
# Odometry is carried forward in steps of at most this: within one, yaw is taken at the middle.
_MAX_STEP_S = 0.25
# Absolute headings come at 50 to 400 Hz with errors that last; of those, this many a second are used.
_HEADINGS_PER_S = 5.0
# A heading this many standard deviations off is a disturbance (a magnetometer beside a tram), not a measurement.
_HEADING_GATE_SIGMAS = 5.0
# Two fixes that share the whole scene: the second adds at least this share of its information, so that a vehicle at
# rest converges.
_MIN_NEW_INFORMATION = 1e-3
# A start pose further ahead of the odometry than any message is late was stamped by another clock.
_MAX_START_AHEAD_S = 1.0
# Rejected fixes are kept by distance driven, so many over `relocalize_distance_m`, that a slow vehicle's span it too;
# the rest of those kept is margin.
_REJECTIONS_PER_SPAN = 64
_KEPT_REJECTIONS = 4 * _REJECTIONS_PER_SPAN
_NO_START = "there is no start pose yet: publish initialpose (or fix and imu, with an absolute heading)"


@dataclass(frozen=True)
class TrackerSettings:
    """What the filter believes about its sensors; units in the names.

    Attributes:
        position_noise_m_per_sqrt_m: random walk of the odometry's position per square root of driven metre.
        yaw_noise_rad_per_sqrt_s: random walk of the odometry's yaw.
        yaw_drift_std_radps: spread of the constant yaw drift at the start.
        yaw_drift_walk_radps_per_sqrt_s: how fast that drift itself changes.
        scale_std: spread of the odometry's scale error at the start, 1.
        scale_walk_per_sqrt_m: how fast the scale changes, 1 per square root of metre.
        heading_bias_std_rad: spread of the constant error of the absolute heading.
        heading_bias_walk_rad_per_sqrt_s: how fast that error changes.
        fix_correlation_length_m: errors of fixes closer together than this share their cause, the scene that the
            camera sees.
        fix_correlation_time_s: the same in time, for a vehicle at rest.
        gate_probability: share of the good fixes that pass the gate.
        relocalize_after: so many rejected fixes in a row, in agreement with each other, mean that the track is wrong
            and not they.
        relocalize_distance_m: the rejected fixes must also span this distance, or one strange scene could move the
            track.
        relocalize_max_std_m: what moves the track on the word of rejected fixes opens its position up to this at most:
            a node that finds its track too uncertain asks for no more fixes.
    """

    position_noise_m_per_sqrt_m: float = 0.05
    yaw_noise_rad_per_sqrt_s: float = 0.002
    yaw_drift_std_radps: float = 0.002
    yaw_drift_walk_radps_per_sqrt_s: float = 0.0001
    scale_std: float = 0.03
    scale_walk_per_sqrt_m: float = 0.0003
    heading_bias_std_rad: float = 0.035
    heading_bias_walk_rad_per_sqrt_s: float = 0.003
    fix_correlation_length_m: float = 8.0
    fix_correlation_time_s: float = 30.0
    gate_probability: float = 0.997
    relocalize_after: int = 5
    relocalize_distance_m: float = 10.0
    relocalize_max_std_m: float = 12.0


@dataclass(frozen=True)
class StartPose:
    """Where a track begins.

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
    """base_link in the map at a stamp, with the covariance of (east, north, yaw)."""

    stamp_ns: int
    east_m: float
    north_m: float
    yaw_rad: float
    covariance: Float64Array
    odometry: OdometryPose

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
    """Pose of the odometry frame in the map at a stamp: metres and radians (what TF calls map→odom)."""

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
    """

    stamp_ns: int
    mean_m: Float64Array
    covariance_m2: Float64Array
    centre_m: Float64Array
    search_radius_m: float
    lever_arm_m: tuple[float, float] = (0.0, 0.0)


class Verdict(Enum):
    """What became of a fix."""

    FUSED = "fused"
    OUTLIER = "outlier"
    UNINFORMATIVE = "uninformative"
    STALE = "stale"
    RELOCALIZED = "relocalized"


@dataclass(frozen=True)
class FixDecision:
    """The gate's answer to one fix.

    Attributes:
        verdict: fused, outlier, uninformative (no axis on which the image adds to the search prior), stale (older than
            the track), or relocalized (the track was moved to where the rejected fixes agree).
        squared_distance: normalised innovation squared, 1; NaN where none was computed.
        limit: the χ² limit that it had to stay under.
        axes: how many axes the image measured.
        rejected_in_a_row: outliers since the last fix that was fused, this one included.
    """

    verdict: Verdict
    squared_distance: float
    limit: float
    axes: int
    rejected_in_a_row: int

    @property
    def trustworthy(self) -> bool:
        """Whether the fix agrees with the track, as it is now."""
        return self.verdict in (Verdict.FUSED, Verdict.RELOCALIZED)


@dataclass(frozen=True)
class _State:
    odometry: OdometryPose
    mean: Float64Array  # (6,)
    covariance: Float64Array  # (6, 6)
    driven_m: float


@dataclass(frozen=True)
class _Heading:
    stamp_ns: int
    yaw_rad: float
    std_rad: float


@dataclass(frozen=True)
class _Rejection:
    driven_m: float
    correction_m: Float64Array  # (2,) the smallest move of the track that satisfies the fix
    axes: tuple[AxisMeasurement, ...]


@dataclass
class TrackerCounts:
    """How often each thing happened since the tracker was made."""

    fused: int = 0
    outliers: int = 0
    uninformative: int = 0
    stale: int = 0
    relocalizations: int = 0
    headings_fused: int = 0
    headings_rejected: int = 0
    starts: int = 0


@dataclass
class _History:
    """What has to be remembered between fixes."""

    last_fused: tuple[int, float] | None = None  # stamp_ns, driven_m
    rejected_in_a_row: int = 0
    rejections: deque[_Rejection] = field(default_factory=lambda: deque(maxlen=_KEPT_REJECTIONS))

    def reject(self, rejection: _Rejection, spacing_m: float) -> None:
        """Count one, and keep it; it takes the place of the last one where that is not yet `spacing_m` on."""
        self.rejected_in_a_row += 1
        kept = self.rejections
        if len(kept) > 1 and kept[-1].driven_m - kept[-2].driven_m < spacing_m:
            kept.pop()
        kept.append(rejection)


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
        self._state: _State | None = None
        self._pending_start: StartPose | None = None
        self._newest_at_start: OdometryPose | None = None
        self._why_no_start = _NO_START
        self._generation = odometry.generation
        self._headings: deque[_Heading] = deque(maxlen=1024)
        self._history = _History()
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
            self._drop_start_off_the_odometry()
            return self._state is not None or self._pending_start is not None

    @property
    def stamp_ns(self) -> int | None:
        """Where in time the track stands; None without a track."""
        with self._lock:
            return None if self._state is None else self._state.odometry.stamp_ns

    @property
    def newest_heading(self) -> tuple[int, float, float] | None:
        """Stamp (ns), yaw (rad) and standard deviation (rad) of the newest absolute heading."""
        with self._lock:
            if not self._headings:
                return None
            newest = self._headings[-1]
            return newest.stamp_ns, newest.yaw_rad, newest.std_rad

    def reset(self) -> None:
        """Drop the track; nothing is tracked until the next start."""
        with self._lock:
            self._pending_start = None
            self._why_no_start = _NO_START
            self._drop_track()

    def start(self, start: StartPose) -> None:
        """Begin a new track at a pose; takes effect as soon as odometry covers its stamp.

        Raises:
            OdometryError: the pose is not finite, or its covariance is not positive definite.
        """
        values = [start.east_m, start.north_m, start.yaw_rad, *start.covariance.ravel()]
        if not all(map(math.isfinite, values)):
            raise OdometryError("the start pose or its covariance is not finite")
        if np.linalg.eigvalsh(start.covariance)[0] <= 0.0:
            raise OdometryError(
                "the start pose's covariance is not positive definite: give every axis a variance above zero"
            )
        with self._lock:
            self._state = None
            self._history = _History()
            self._generation = self._odometry.generation
            self._pending_start = start
            self._newest_at_start = self._odometry.newest
            self._why_no_start = _NO_START
            self.counts.starts += 1

    def widen(self, position_std_m: float, yaw_std_rad: float) -> None:
        """Keep the track's pose and trust it no more than this; done twice, it does no more than once.

        Raises:
            OdometryError: there is no track.
        """
        with self._lock:
            self._drop_if_odometry_was_cleared()
            if self._state is None:
                raise OdometryError("there is no track yet: give a start pose first (initialpose)")
            covariance = _opened(self._state.covariance, position_std_m)
            covariance[_YAW, _YAW] = max(covariance[_YAW, _YAW], yaw_std_rad**2)
            self._state = _State(self._state.odometry, self._state.mean, covariance, self._state.driven_m)
            self._history = _History()

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
            if self._headings:
                age_s = (stamp_ns - self._headings[-1].stamp_ns) / NANOSECONDS_PER_SECOND
                if age_s < 0.0:
                    self._headings.clear()
                elif age_s < 1.0 / _HEADINGS_PER_S:
                    return
            self._headings.append(_Heading(stamp_ns, yaw_rad, std_rad))

    def advance(self, stamp_ns: int) -> TrackedPose:
        """Carry the track to a stamp, headings on the way included, and leave it there.

        Raises:
            OdometryError: no track, a stamp older than the track's, or one that the odometry does not cover.
        """
        with self._lock:
            state = self._state_or_start(stamp_ns)
            if stamp_ns < state.odometry.stamp_ns:
                raise OdometryError(
                    f"the stamp is {(state.odometry.stamp_ns - stamp_ns) / NANOSECONDS_PER_SECOND:.3f} s older than the track: "
                    "out of order, or a clock jumped back"
                )
            target = self._odometry.pose_at(stamp_ns)
            while self._headings and self._headings[0].stamp_ns <= stamp_ns:
                heading = self._headings.popleft()
                if heading.stamp_ns < state.odometry.stamp_ns:
                    continue
                try:
                    odometry = self._odometry.pose_at(heading.stamp_ns)
                except OdometryError:  # in a gap: the heading cannot be compared with anything
                    self.counts.headings_rejected += 1
                    continue
                state = self._with_heading(self._carried(state, odometry), heading)
            self._state = self._carried(state, target)
            return _tracked(self._state)

    def predict(self, stamp_ns: int) -> TrackedPose:
        """Where the vehicle is at a stamp not older than the track, without moving the track.

        Raises:
            OdometryError: as `advance`.
        """
        with self._lock:
            state = self._state_or_start(stamp_ns)
            if stamp_ns < state.odometry.stamp_ns:
                raise OdometryError("the stamp is older than the track")
            return _tracked(self._carried(state, self._odometry.pose_at(stamp_ns)))

    def map_to_odom(self, stamp_ns: int) -> PlanarTransform:
        """Pose of the odometry frame in the map that puts base_link where the track says at a stamp.

        Raises:
            OdometryError: as `predict`.
        """
        pose = self.predict(stamp_ns)
        yaw = pose.yaw_rad - pose.odometry.yaw_rad
        x, y = rotation_matrix(yaw) @ np.array([pose.odometry.x_m, pose.odometry.y_m])
        return PlanarTransform(stamp_ns, pose.east_m - float(x), pose.north_m - float(y), math.remainder(yaw, math.tau))

    def update(self, fix: FixMeasurement) -> FixDecision:
        """Gate one fix, and fuse it where it passes.

        Raises:
            OdometryError: there is no track, or odometry does not cover the stamp.
        """
        with self._lock:
            rejected = self._history.rejected_in_a_row
            if self._state is not None and fix.stamp_ns < self._state.odometry.stamp_ns:
                self.counts.stale += 1
                return FixDecision(Verdict.STALE, math.nan, math.nan, 0, rejected)
            self.advance(fix.stamp_ns)
            assert self._state is not None
            axes = likelihood_axes(fix.mean_m, fix.covariance_m2, fix.centre_m, fix.search_radius_m)
            if not axes:
                self.counts.uninformative += 1
                return FixDecision(Verdict.UNINFORMATIVE, math.nan, math.nan, 0, rejected)
            limit = chi_square_quantile(self._settings.gate_probability, len(axes))
            innovation, jacobian = _innovation(self._state, axes, fix.lever_arm_m)
            distance = _squared_distance(self._state, axes, innovation, jacobian)
            verdict = Verdict.FUSED
            if distance > limit:
                # The least-squares move of the position that satisfies the fix: axes are orthonormal rows.
                correction = jacobian[:, :2].T @ innovation
                spacing_m = self._settings.relocalize_distance_m / _REJECTIONS_PER_SPAN
                self._history.reject(_Rejection(self._state.driven_m, correction, axes), spacing_m)
                rejected = self._history.rejected_in_a_row
                move = self._agreed_correction()
                if move is None:
                    self.counts.outliers += 1
                    return FixDecision(Verdict.OUTLIER, distance, limit, len(axes), rejected)
                self._open_by(move)
                self.counts.relocalizations += 1
                self._history.last_fused = None
                verdict = Verdict.RELOCALIZED
            new_information = self._new_information(fix.stamp_ns)
            self._state = _fused(self._state, axes, innovation, jacobian, new_information)
            self._history = _History(last_fused=(fix.stamp_ns, self._state.driven_m))
            self.counts.fused += 1
            return FixDecision(verdict, distance, limit, len(axes), rejected)

    def _drop_if_odometry_was_cleared(self) -> None:
        if self._generation != self._odometry.generation:
            self._generation = self._odometry.generation
            # A start pose that still waits is in the map, not in the frame that went: it may have come just before
            # the odometry that showed the jump (an initialpose at the beginning of a looped bag).
            self._drop_track()

    def _drop_track(self) -> None:
        self._state = None
        self._headings.clear()
        self._history = _History()

    def _start_awaits_odometry(self) -> bool:
        """Whether no odometry came since the start pose: it may have paused, or be another clock's (a looped bag)."""
        newest = self._odometry.newest
        return newest is None or newest is self._newest_at_start

    def _drop_start_off_the_odometry(self) -> None:
        """Drop a start pose at whose stamp the odometry will never be known, so that it blocks no later one."""
        start, oldest, newest = self._pending_start, self._odometry.oldest, self._odometry.newest
        if start is None or oldest is None or newest is None or self._start_awaits_odometry():
            return
        ahead_s, behind_s = (
            (start.stamp_ns - newest.stamp_ns) / NANOSECONDS_PER_SECOND,
            (oldest.stamp_ns - start.stamp_ns) / NANOSECONDS_PER_SECOND,
        )
        if ahead_s > _MAX_START_AHEAD_S:
            self._why_no_start = (
                f"the start pose was dropped, its stamp is {ahead_s:.1f} s ahead of the odometry: the clocks differ, "
                "check use_sim_time, then give it again (initialpose)"
            )
        elif self._odometry.trimmed and behind_s > self._odometry.max_extrapolation_s:
            self._why_no_start = (
                f"the start pose was dropped, it is {behind_s:.1f} s older than the odometry that is kept, and the "
                "vehicle may have driven since: give another one (initialpose)"
            )
        else:
            return
        self._pending_start = None

    def _state_or_start(self, stamp_ns: int) -> _State:
        self._drop_if_odometry_was_cleared()
        if self._state is not None:
            return self._state
        self._drop_start_off_the_odometry()
        start = self._pending_start
        if start is None:
            raise OdometryError(self._why_no_start)
        # A start pose that came before the first odometry holds there: a vehicle without odometry has hardly driven
        # yet.
        oldest = self._odometry.oldest
        if oldest is not None and start.stamp_ns < oldest.stamp_ns and self._start_awaits_odometry():
            raise OdometryError("the start pose is older than the odometry: waiting for odometry that came after it")
        begin_ns = max(start.stamp_ns, oldest.stamp_ns) if oldest is not None else start.stamp_ns
        if begin_ns > stamp_ns:
            raise OdometryError("the start pose is newer than the stamp: waiting for the first image after it")
        odometry = self._odometry.pose_at(begin_ns)
        mean = np.zeros(6)
        mean[:3] = start.east_m, start.north_m, start.yaw_rad - odometry.yaw_rad
        mean[_SCALE] = 1.0
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = start.covariance
        covariance[_DRIFT, _DRIFT] = self._settings.yaw_drift_std_radps**2
        covariance[_SCALE, _SCALE] = self._settings.scale_std**2
        covariance[_BIAS, _BIAS] = self._settings.heading_bias_std_rad**2
        self._state = _State(odometry, mean, covariance, 0.0)
        self._pending_start = None
        return self._state

    def _carried(self, state: _State, target: OdometryPose) -> _State:
        """The state at a later odometry pose, in steps short enough for the turn within each to be small."""
        step_ns = round(_MAX_STEP_S * NANOSECONDS_PER_SECOND)
        next_ns = state.odometry.stamp_ns + step_ns
        for stamp_ns in self._odometry.stamps_between(state.odometry.stamp_ns, target.stamp_ns):
            if stamp_ns >= next_ns:
                state = _stepped(state, self._odometry.pose_at(stamp_ns), self._settings)
                next_ns = stamp_ns + step_ns
        return _stepped(state, target, self._settings)

    def _with_heading(self, state: _State, heading: _Heading) -> _State:
        expected = state.mean[_YAW] + state.odometry.yaw_rad + state.mean[_BIAS]
        residual = math.remainder(heading.yaw_rad - expected, math.tau)
        jacobian = np.zeros(6)
        jacobian[_YAW] = jacobian[_BIAS] = 1.0
        variance = float(jacobian @ state.covariance @ jacobian) + heading.std_rad**2
        if residual**2 > _HEADING_GATE_SIGMAS**2 * variance:
            self.counts.headings_rejected += 1
            return state
        self.counts.headings_fused += 1
        return _corrected(state, jacobian, residual, heading.std_rad**2)

    def _new_information(self, stamp_ns: int) -> float:
        """Share of a fix's information that its predecessor did not already give.

        Errors of successive fixes are taken as a first-order Gauss-Markov sequence with correlation φ between
        neighbours. The best estimate of a constant from such a sequence gives its first member full weight and each
        later one (1 - φ) / (1 + φ).
        """
        if self._history.last_fused is None or self._state is None:
            return 1.0
        last_ns, last_driven_m = self._history.last_fused
        distance_m = self._state.driven_m - last_driven_m
        exponent = distance_m / self._settings.fix_correlation_length_m
        exponent += (stamp_ns - last_ns) / NANOSECONDS_PER_SECOND / self._settings.fix_correlation_time_s
        correlation = math.exp(-exponent)
        return max((1.0 - correlation) / (1.0 + correlation), _MIN_NEW_INFORMATION)

    def _agreed_correction(self) -> Float64Array | None:
        """(2,) move of the track after which the last rejected fixes would pass, m; None where there is no such move.

        Looks back as far as it takes to have enough of them over enough distance, and no further: the odometry drifts.
        """
        rejections = list(self._history.rejections)
        driven_m = rejections[-1].driven_m
        far = [i for i, r in enumerate(rejections) if driven_m - r.driven_m >= self._settings.relocalize_distance_m]
        if not far or self._history.rejected_in_a_row < self._settings.relocalize_after:
            return None
        count = max(self._settings.relocalize_after, len(rejections) - far[-1])
        recent = rejections[-count:]
        move: Float64Array = np.mean([rejection.correction_m for rejection in recent], axis=0)
        for rejection in recent:
            misses = [float(axis.direction @ (rejection.correction_m - move)) for axis in rejection.axes]
            distance = sum(miss**2 / axis.variance_m2 for miss, axis in zip(misses, rejection.axes, strict=True))
            if distance > chi_square_quantile(self._settings.gate_probability, len(rejection.axes)):
                return None
        return move

    def _open_by(self, move_m: Float64Array) -> None:
        """Widen the position until a move of this size is one standard deviation, or to the settings' limit.

        In all directions: a track that is wrong on the axis that fixes see is hardly right on the one that they do not.
        """
        assert self._state is not None
        std_m = min(float(np.hypot(*move_m)), self._settings.relocalize_max_std_m)
        covariance = _opened(self._state.covariance, std_m)
        self._state = _State(self._state.odometry, self._state.mean, covariance, self._state.driven_m)


def _opened(covariance: Float64Array, position_std_m: float) -> Float64Array:
    """A (6, 6) covariance whose position is known to `position_std_m` at best, in every direction."""
    variances, directions = np.linalg.eigh(covariance[:2, :2])
    opened = covariance.copy()
    opened[:2, :2] += (directions * np.maximum(position_std_m**2 - variances, 0.0)) @ directions.T
    return opened


def _quarter_turned(vector: Float64Array) -> Float64Array:
    """d/dα of a vector that turns with α."""
    return np.array([-vector[1], vector[0]])


def _stepped(state: _State, target: OdometryPose, settings: TrackerSettings) -> _State:
    """One step of the filter's prediction: odometry's increment, turned by the yaw offset and scaled."""
    seconds = (target.stamp_ns - state.odometry.stamp_ns) / NANOSECONDS_PER_SECOND
    if seconds <= 0.0:
        return state
    increment = np.array([target.x_m - state.odometry.x_m, target.y_m - state.odometry.y_m])
    drift = state.mean[_DRIFT]
    unscaled = rotation_matrix(state.mean[_YAW] + drift * seconds / 2.0) @ increment
    moved = state.mean[_SCALE] * unscaled
    driven = float(np.hypot(*moved))

    mean = state.mean.copy()
    mean[:2] += moved
    mean[_YAW] += drift * seconds

    transition = np.eye(6)
    transition[:2, _YAW] = _quarter_turned(moved)
    transition[:2, _DRIFT] = _quarter_turned(moved) * seconds / 2.0
    transition[:2, _SCALE] = unscaled
    transition[_YAW, _DRIFT] = seconds

    noise = np.zeros(6)
    noise[_EAST] = noise[_NORTH] = settings.position_noise_m_per_sqrt_m**2 * driven
    noise[_YAW] = settings.yaw_noise_rad_per_sqrt_s**2 * seconds
    noise[_DRIFT] = settings.yaw_drift_walk_radps_per_sqrt_s**2 * seconds
    noise[_SCALE] = settings.scale_walk_per_sqrt_m**2 * driven
    noise[_BIAS] = settings.heading_bias_walk_rad_per_sqrt_s**2 * seconds
    covariance = transition @ state.covariance @ transition.T + np.diag(noise)
    return _State(target, mean, (covariance + covariance.T) / 2.0, state.driven_m + driven)


def _innovation(
    state: _State, axes: tuple[AxisMeasurement, ...], lever_arm_m: tuple[float, float]
) -> tuple[Float64Array, Float64Array]:
    """Innovation (k,) and Jacobian (k, 6) of a camera position measured along k axes."""
    lever = rotation_matrix(state.mean[_YAW] + state.odometry.yaw_rad) @ np.array(lever_arm_m)
    camera = state.mean[:2] + lever
    jacobian = np.zeros((len(axes), 6))
    innovation = np.zeros(len(axes))
    for row, axis in enumerate(axes):
        innovation[row] = axis.position_m - axis.direction @ camera
        jacobian[row, :2] = axis.direction
        jacobian[row, _YAW] = axis.direction @ _quarter_turned(lever)
    return innovation, jacobian


def _squared_distance(
    state: _State, axes: tuple[AxisMeasurement, ...], innovation: Float64Array, jacobian: Float64Array
) -> float:
    spread = jacobian @ state.covariance @ jacobian.T + np.diag([axis.variance_m2 for axis in axes])
    return float(innovation @ np.linalg.solve(spread, innovation))


def _fused(
    state: _State,
    axes: tuple[AxisMeasurement, ...],
    innovation: Float64Array,
    jacobian: Float64Array,
    new_information: float,
) -> _State:
    """The state after all axes; one after the other, since their errors are independent."""
    before = state.mean
    for row, axis in enumerate(axes):
        residual = float(innovation[row] - jacobian[row] @ (state.mean - before))
        state = _corrected(state, jacobian[row], residual, axis.variance_m2 / new_information)
    return state


def _corrected(state: _State, jacobian: Float64Array, residual: float, variance: float) -> _State:
    """Kalman update with one scalar, in Joseph's form, which keeps the covariance symmetric and positive."""
    spread = float(jacobian @ state.covariance @ jacobian) + variance
    gain = state.covariance @ jacobian / spread
    keep = np.eye(6) - np.outer(gain, jacobian)
    covariance = keep @ state.covariance @ keep.T + variance * np.outer(gain, gain)
    return _State(state.odometry, state.mean + gain * residual, (covariance + covariance.T) / 2.0, state.driven_m)


def _tracked(state: _State) -> TrackedPose:
    return TrackedPose(
        stamp_ns=state.odometry.stamp_ns,
        east_m=float(state.mean[_EAST]),
        north_m=float(state.mean[_NORTH]),
        yaw_rad=math.remainder(float(state.mean[_YAW]) + state.odometry.yaw_rad, math.tau),
        covariance=state.covariance[:3, :3].copy(),
        odometry=state.odometry,
    )
