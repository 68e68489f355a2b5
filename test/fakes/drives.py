"""Simulated drives that a tracker follows: city streets, odometry that drifts, and fixes as bad as a camera's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.axes import rotation_matrix
from geoflow_ros.tracking import (
    FixMeasurement,
    OdometryBuffer,
    OdometryPose,
    StartPose,
    TrackedPose,
    Tracker,
    TrackerSettings,
    TrackStatus,
    Verdict,
)

NS = 1_000_000_000
SEARCH_RADIUS_M = 20.0
SPEED_MPS = 9.0
# Where the map goes, seen from the vehicle, when a drive is told to lose its track.
TELEPORT_M = (9.0, -7.0)

_STEP_S = 0.02
_TURN_S = 3.0
_ODOMETRY_AHEAD = 6  # samples that came after a fix's stamp before the fix does: 0.1 s
_ERROR_CORRELATION_LENGTH_M = 10.0
_HEADING_STD_RAD = math.radians(0.5)


@dataclass(frozen=True)
class DriveOptions:
    """What makes one simulated drive differ from another.

    Attributes:
        seconds: its length.
        rate_hz: fixes per second.
        lateral_std_m, longitudinal_std_m: errors of the fixes across and along the street.
        claimed_share: what fixes say of these errors, as a share of the truth.
        outlier_share: share of the fixes that are anywhere in the search area.
        heading: whether there is an absolute heading.
        yaw_std_rad: error of the yaw that the fixes bring; None where they bring none.
        teleport_at_s: when the vehicle is somewhere else all at once.
        fault: what is wrong with the fixes between `fault_at_s` and `fault_until_s`: "centre" (the camera is always at
            the centre of the search area, so it says), "anywhere" (anywhere in it), "nothing" (there is no fix).
        patch_range_m: the search area is kept while the vehicle is within this distance of its centre.
        settings: of the tracker.
    """

    seconds: float = 60.0
    rate_hz: float = 5.0
    lateral_std_m: float = 0.8
    longitudinal_std_m: float = 7.0
    claimed_share: float = 1.0
    outlier_share: float = 0.0
    heading: bool = False
    yaw_std_rad: float | None = None
    teleport_at_s: float | None = None
    fault: str = ""
    fault_at_s: float = math.inf
    fault_until_s: float = math.inf
    patch_range_m: float = 0.0
    settings: TrackerSettings | None = None


@dataclass(frozen=True)
class TrackedDrive:
    """A drive that was tracked, at the stamps of its n fixes.

    Attributes:
        truth: (n, 3) east, north, yaw.
        tracked: the track after each fix.
        dead_reckoning: (n, 2) the odometry alone, turned into the map.
        verdicts: what became of each fix.
        outliers: (n,) which fixes were outliers.
        statuses: the track's status after each fix.
    """

    truth: Float64Array
    tracked: list[TrackedPose]
    dead_reckoning: Float64Array
    verdicts: list[Verdict]
    outliers: np.ndarray
    statuses: list[TrackStatus]

    @property
    def errors(self) -> Float64Array:
        """(n, 2) tracked minus true position, metres."""
        return np.array([[p.east_m, p.north_m] for p in self.tracked]) - self.truth[:, :2]

    @property
    def rmse_m(self) -> float:
        """Root mean square of the position's error, metres."""
        return float(np.sqrt(np.mean(np.sum(self.errors**2, axis=1))))

    @property
    def yaw_errors(self) -> Float64Array:
        """(n,) tracked minus true yaw, radians."""
        pairs = zip(self.tracked, self.truth[:, 2], strict=True)
        return np.array([math.remainder(pose.yaw_rad - truth, math.tau) for pose, truth in pairs])

    @property
    def nees(self) -> Float64Array:
        """(n,) normalised estimation error squared per degree of freedom."""
        return np.array(
            [e @ np.linalg.solve(p.covariance[:2, :2], e) / 2 for e, p in zip(self.errors, self.tracked, strict=True)]
        )


class SimulatedCamera:
    """Gives fixes around a prior, with errors that depend on the street and last over the scene."""

    def __init__(self, rng: np.random.Generator, options: DriveOptions) -> None:
        self._rng = rng
        self._stds_m = np.array([options.longitudinal_std_m, options.lateral_std_m])
        self._options = options
        self._centre: Float64Array | None = None
        self._decay = math.exp(-SPEED_MPS / options.rate_hz / _ERROR_CORRELATION_LENGTH_M)
        self._error = rng.normal(0, 1, 2)

    def fix(self, stamp_ns: int, pose: Float64Array, prior: TrackedPose) -> tuple[FixMeasurement, bool]:
        """Returns a fix of a camera at (3,) east, north, yaw, and whether it is an outlier."""
        self._error = self._decay * self._error + math.sqrt(1 - self._decay**2) * self._rng.normal(0, 1, 2)
        rotation = rotation_matrix(pose[2])
        centre = self._search_centre(np.array([prior.east_m, prior.north_m]))
        options, t_s = self._options, stamp_ns / NS
        fault = options.fault if options.fault_at_s <= t_s < options.fault_until_s else ""
        outlier = bool(self._rng.random() < options.outlier_share) or fault == "anywhere"
        offset = rotation.T @ (pose[:2] - centre)
        if outlier:
            offset = self._rng.uniform(-SEARCH_RADIUS_M, SEARCH_RADIUS_M, 2)
        measured = offset + self._error * self._stds_m  # what the image alone says, (forward, left) of the centre
        if fault == "centre":
            measured = np.zeros(2)
        claimed = (self._stds_m * options.claimed_share) ** 2
        posterior = 1 / (1 / claimed + 3 / SEARCH_RADIUS_M**2)
        mean = centre + rotation @ np.clip(measured * posterior / claimed, -SEARCH_RADIUS_M, SEARCH_RADIUS_M)
        covariance = rotation @ np.diag(posterior) @ rotation.T
        return FixMeasurement(stamp_ns, mean, covariance, centre, SEARCH_RADIUS_M), outlier

    def _search_centre(self, prior_m: Float64Array) -> Float64Array:
        if self._centre is None or np.hypot(*(prior_m - self._centre)) > self._options.patch_range_m:
            self._centre = prior_m
        return self._centre


def street_course(rng: np.random.Generator, seconds: float) -> Float64Array:
    """Returns (n, 3) east, north, yaw of straight streets and 90-degree turns, one row a step."""
    n = round(seconds / _STEP_S) + 1
    yaw_rate = np.zeros(n)
    begin = rng.uniform(6, 10)
    while begin < seconds - 4:
        sign = rng.choice([-1, 1])
        yaw_rate[round(begin / _STEP_S) : round((begin + _TURN_S) / _STEP_S)] = sign * (math.pi / 2) / _TURN_S
        begin += _TURN_S + rng.uniform(5, 12)
    yaw = rng.uniform(-3, 3) + _summed(yaw_rate[:-1]) * _STEP_S
    step = SPEED_MPS * _STEP_S
    return np.stack([_summed(step * np.cos(yaw[:-1])), _summed(step * np.sin(yaw[:-1])), yaw], 1)


def drifting_odometry(rng: np.random.Generator, truth: Float64Array) -> Float64Array:
    """Returns (n, 3) x, y, yaw of an odometry with an error of scale, a drift of yaw and noise on both."""
    n, step = len(truth), SPEED_MPS * _STEP_S
    scale = 1 + 0.03 * rng.choice([-1, 1])
    drift = rng.choice([-1, 1]) * math.radians(0.15)
    noise = _summed(rng.normal(0, 0.001 * math.sqrt(_STEP_S), n - 1))
    yaw = truth[:, 2] - truth[0, 2] + drift * np.arange(n) * _STEP_S + noise
    increments = step * scale + rng.normal(0, 0.02 * math.sqrt(step), n - 1)
    return np.stack([_summed(increments * np.cos(yaw[:-1])), _summed(increments * np.sin(yaw[:-1])), yaw], 1)


def track_drive(seed: int, options: DriveOptions | None = None) -> TrackedDrive:
    """Drives once and tracks it: the start is some metres and degrees off."""
    options = options or DriveOptions()
    rng, yaw_rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    truth = street_course(rng, options.seconds)
    odometry = drifting_odometry(rng, truth)
    buffer = OdometryBuffer()
    tracker = Tracker(buffer, options.settings)
    start_stds = np.array([4.0, 4.0, math.radians(2)])
    east_m, north_m, yaw_rad = truth[0] + rng.normal(0, start_stds)
    tracker.start(StartPose(0, east_m, north_m, yaw_rad, np.diag(start_stds**2)))
    heading_bias = rng.normal(0, math.radians(1.0))
    camera = SimulatedCamera(rng, options)

    reached = truth.copy()
    if options.teleport_at_s is not None:
        reached[round(options.teleport_at_s / _STEP_S) :, :2] += TELEPORT_M
    fed = 0
    indices, tracked, verdicts, outliers, statuses = [], [], [], [], []
    for k in range(1, round(options.seconds * options.rate_hz)):
        index = round(k / options.rate_hz / _STEP_S)
        for i in range(fed, min(index + _ODOMETRY_AHEAD, len(truth))):
            x_m, y_m, odometry_yaw_rad = odometry[i]
            buffer.add(OdometryPose(_stamp_ns(i), x_m, y_m, odometry_yaw_rad, SPEED_MPS))
            if options.heading:
                yaw = truth[i, 2] + heading_bias + rng.normal(0, _HEADING_STD_RAD)
                tracker.add_heading(_stamp_ns(i), yaw, _HEADING_STD_RAD)
        fed = min(index + _ODOMETRY_AHEAD, len(truth))
        fix, outlier = camera.fix(_stamp_ns(index), reached[index], tracker.advance(_stamp_ns(index)))
        if options.yaw_std_rad is not None:
            yaw = truth[index, 2] + yaw_rng.normal(0, options.yaw_std_rad)
            fix = replace(fix, yaw_rad=yaw, yaw_variance_rad2=options.yaw_std_rad**2)
        if options.fault != "nothing" or not options.fault_at_s <= k / options.rate_hz < options.fault_until_s:
            verdicts.append(tracker.update(fix).verdict)
        else:
            verdicts.append(Verdict.UNINFORMATIVE)
        outliers.append(outlier)
        indices.append(index)
        tracked.append(tracker.predict(_stamp_ns(index)))
        statuses.append(tracker.status(_stamp_ns(index)))
    dead_reckoning = odometry[indices, :2] @ rotation_matrix(truth[0, 2]).T
    return TrackedDrive(reached[indices], tracked, dead_reckoning, verdicts, np.array(outliers), statuses)


def _stamp_ns(index: int) -> int:
    return round(index * _STEP_S * NS)


def _summed(increments: Float64Array) -> Float64Array:
    return np.concatenate([[0], np.cumsum(increments)])
