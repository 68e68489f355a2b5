"""Odometry at a stamp, the search prior taken out of a fix, and the filter that keeps the vehicle on the map."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from geoflow_ros.errors import OdometryError
from geoflow_ros.geo import yaw_of_quaternion
from geoflow_ros.tracking import (
    FixMeasurement,
    OdometryBuffer,
    OdometryPose,
    StartPose,
    TrackedPose,
    Tracker,
    TrackerSettings,
    Verdict,
    likelihood_axes,
)

NS = 1_000_000_000
SEARCH_RADIUS_M = 20.0


def filled_buffer(
    seconds: float = 5.0, rate_hz: float = 50.0, speed_mps: float = 9.0, yaw_rate: float = 0.0
) -> OdometryBuffer:
    buffer = OdometryBuffer()
    for index in range(round(seconds * rate_hz) + 1):
        t = index / rate_hz
        yaw = yaw_rate * t
        x, y = (
            (speed_mps * t, 0.0)
            if yaw_rate == 0
            else (speed_mps / yaw_rate * math.sin(yaw), speed_mps / yaw_rate * (1 - math.cos(yaw)))
        )
        buffer.add(OdometryPose(round(t * NS), x, y, math.remainder(yaw, math.tau), speed_mps))
    return buffer


# ---- quaternions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("yaw", [-3.1, -1.0, 0.0, 0.5, 3.1])
def test_yaw_comes_back_out_of_its_quaternion(yaw: float) -> None:
    assert yaw_of_quaternion(0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)) == pytest.approx(yaw, abs=1e-12)


@pytest.mark.parametrize(
    "quaternion", [(0, 0, 0, 0), (math.nan, 0, 0, 1), (0, 0, 0, math.inf), (0, 0, 0, 2.0), (0.1, 0, 0, 0.1)]
)
def test_what_is_not_a_rotation_is_refused(quaternion: tuple[float, float, float, float]) -> None:
    with pytest.raises(OdometryError):
        yaw_of_quaternion(*quaternion)


# ---- odometry buffer -------------------------------------------------------------------------------------------------


def test_the_pose_between_two_samples_is_interpolated_also_across_the_turn_of_yaw() -> None:
    buffer = filled_buffer(seconds=10.0, yaw_rate=0.7)
    t = 6.013
    pose = buffer.pose_at(round(t * NS))
    assert pose.x_m == pytest.approx(9 / 0.7 * math.sin(0.7 * t), abs=2e-3)
    assert pose.y_m == pytest.approx(9 / 0.7 * (1 - math.cos(0.7 * t)), abs=2e-3)
    assert pose.yaw_rad == pytest.approx(0.7 * t, abs=1e-9)
    assert pose.speed_mps == pytest.approx(9.0)


def test_the_pose_just_outside_is_extrapolated_and_further_outside_refused() -> None:
    buffer = filled_buffer()
    assert buffer.pose_at(5 * NS + NS // 10).x_m == pytest.approx(45.9)
    assert buffer.pose_at(-NS // 10).x_m == pytest.approx(-0.9)
    with pytest.raises(OdometryError, match="newer than the newest"):
        buffer.pose_at(6 * NS)
    with pytest.raises(OdometryError, match="older than the oldest"):
        buffer.pose_at(-NS)
    with pytest.raises(OdometryError, match="no odometry yet"):
        OdometryBuffer().pose_at(0)


def test_a_gap_is_not_interpolated() -> None:
    buffer = filled_buffer()
    buffer.add(OdometryPose(7 * NS, 63.0, 0.0, 0.0))
    with pytest.raises(OdometryError, match="gap of 2.00 s"):
        buffer.pose_at(6 * NS)


@pytest.mark.parametrize("field", ["x_m", "y_m", "yaw_rad", "speed_mps"])
def test_odometry_that_is_not_finite_is_refused_and_the_buffer_stays(field: str) -> None:
    buffer = filled_buffer()
    with pytest.raises(OdometryError, match="not finite"):
        buffer.add(replace(OdometryPose(6 * NS, 54.0, 0.0, 0.0), **{field: math.nan}))
    assert buffer.pose_at(5 * NS).x_m == pytest.approx(45.0)


def test_a_late_sample_is_dropped_and_a_clock_that_jumps_back_clears_the_buffer() -> None:
    buffer = filled_buffer()
    with pytest.raises(OdometryError, match="out of order"):
        buffer.add(OdometryPose(5 * NS - NS // 10, 44.0, 0.0, 0.0))
    assert buffer.generation == 0
    with pytest.raises(OdometryError, match=r"jumped back by 4\.000 s"):
        buffer.add(OdometryPose(1 * NS, 9.0, 0.0, 0.0))
    assert buffer.generation == 1
    assert buffer.newest is not None
    assert buffer.newest == buffer.oldest
    assert buffer.newest.stamp_ns == 1 * NS


def test_odometry_that_was_reset_elsewhere_clears_the_buffer() -> None:
    buffer = filled_buffer()
    with pytest.raises(OdometryError, match="it was reset"):
        buffer.add(OdometryPose(5 * NS + NS // 50, 0.0, 0.0, 0.0))
    assert buffer.generation == 1


def test_odometry_whose_clock_jumps_ahead_clears_the_buffer() -> None:
    buffer = filled_buffer()
    with pytest.raises(OdometryError, match=r"jumped ahead, by 3600\.0 s"):
        buffer.add(OdometryPose(3605 * NS, 45.0, 0.0, 0.0, 9.0))
    assert buffer.generation == 1
    assert buffer.newest is not None
    assert buffer.newest == buffer.oldest


@pytest.mark.parametrize("pause_s", [1, 3, 10])
def test_odometry_that_begins_again_at_its_origin_after_a_pause_clears_the_buffer(pause_s: int) -> None:
    buffer = filled_buffer(seconds=20.0)
    with pytest.raises(OdometryError, match="it was reset"):
        buffer.add(OdometryPose((20 + pause_s) * NS, 0.0, 0.0, 0.0, 0.0))
    assert buffer.generation == 1


@pytest.mark.parametrize("speed_mps", [None, 0.0, 14.0])
@pytest.mark.parametrize("driven_m", [4.0, 10.0, 14.0, 18.0])
def test_a_short_dropout_at_city_speed_keeps_the_buffer_also_without_a_twist(
    speed_mps: float | None, driven_m: float
) -> None:
    buffer = OdometryBuffer()
    for index in range(51):
        buffer.add(OdometryPose(index * NS // 50, index * 14.0 / 50, 0.0, 0.0, speed_mps))
    buffer.add(OdometryPose(2 * NS, 14.0 + driven_m, 0.0, 0.0, speed_mps))
    assert buffer.generation == 0


def test_a_vehicle_that_sets_off_in_a_dropout_keeps_the_buffer() -> None:
    buffer = filled_buffer(speed_mps=0.0)
    buffer.add(OdometryPose(8 * NS, 13.5, 0.0, 0.0, 9.0))  # 3 m/s² for 3 s
    assert buffer.generation == 0


def test_the_buffer_keeps_a_bounded_length() -> None:
    buffer = OdometryBuffer(length_s=10.0)
    for index in range(50 * 60):
        buffer.add(OdometryPose(index * NS // 50, index * 0.1, 0.0, 0.0))
    assert buffer.oldest is not None
    assert buffer.newest is not None
    assert 10.0 <= (buffer.newest.stamp_ns - buffer.oldest.stamp_ns) / NS < 16.0


# ---- likelihood ------------------------------------------------------------------------------------------------------


def test_an_axis_on_which_the_network_knows_nothing_is_no_measurement() -> None:
    search_variance = SEARCH_RADIUS_M**2 / 3
    centre = np.array([100.0, 50.0])
    assert likelihood_axes(centre, np.diag([search_variance, search_variance]), centre, SEARCH_RADIUS_M) == ()
    (axis,) = likelihood_axes(centre + [0.2, 3.0], np.diag([search_variance, 0.64]), centre, SEARCH_RADIUS_M)
    assert abs(axis.direction[1]) == pytest.approx(1.0)
    assert axis.position_m * axis.direction[1] == pytest.approx(53.0, abs=0.05)
    assert axis.variance_m2 == pytest.approx(0.64, rel=0.01)


def test_fusing_the_likelihood_with_the_search_prior_gives_the_posterior_back() -> None:
    angle = 0.6
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    covariance = rotation @ np.diag([49.0, 1.0]) @ rotation.T
    centre, mean = np.array([10.0, -20.0]), np.array([16.0, -13.0])
    information = np.eye(2) * 3 / SEARCH_RADIUS_M**2
    vector = information @ centre
    for axis in likelihood_axes(mean, covariance, centre, SEARCH_RADIUS_M):
        information += np.outer(axis.direction, axis.direction) / axis.variance_m2
        vector += axis.direction * axis.position_m / axis.variance_m2
    np.testing.assert_allclose(np.linalg.inv(information), covariance, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.solve(information, vector), mean, rtol=1e-9)


# ---- the tracker in a simulated drive --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    truth: np.ndarray  # (n, 3) east, north, yaw at the fixes
    tracked: list[TrackedPose]
    dead_reckoning: np.ndarray  # (n, 2)
    verdicts: list[Verdict]
    outliers: np.ndarray  # (n,) bool
    tracker: Tracker

    @property
    def errors(self) -> np.ndarray:
        return np.array([[p.east_m, p.north_m] for p in self.tracked]) - self.truth[:, :2]

    @property
    def rmse_m(self) -> float:
        return float(np.sqrt(np.mean(np.sum(self.errors**2, axis=1))))

    @property
    def nees(self) -> np.ndarray:
        """Normalised estimation error squared per degree of freedom, (n,)."""
        return np.array(
            [e @ np.linalg.solve(p.covariance[:2, :2], e) / 2 for e, p in zip(self.errors, self.tracked, strict=True)]
        )


def simulate(
    seed: int,
    *,
    seconds: float = 60.0,
    speed_mps: float = 9.0,
    rate_hz: float = 5.0,
    sigma_lateral_m: float = 0.8,
    sigma_longitudinal_m: float = 7.0,
    correlation_length_m: float = 10.0,
    outlier_share: float = 0.0,
    heading: bool = False,
    teleport_at_s: float | None = None,
    settings: TrackerSettings | None = None,
) -> Run:
    """A drive of straight streets and 90-degree turns, with odometry and fixes as bad as they are in a city."""
    rng = np.random.default_rng(seed)
    dt = 0.02
    n = round(seconds / dt) + 1
    yaw_rate = np.zeros(n)
    begin = rng.uniform(6, 10)
    while begin < seconds - 4:
        sign, length = rng.choice([-1, 1]), 3.0
        yaw_rate[round(begin / dt) : round((begin + length) / dt)] = sign * (math.pi / 2) / length
        begin += length + rng.uniform(5, 12)
    yaw = rng.uniform(-3, 3) + np.concatenate([[0], np.cumsum(yaw_rate[:-1]) * dt])
    step = speed_mps * dt
    truth = np.stack(
        [
            np.concatenate([[0], np.cumsum(step * np.cos(yaw[:-1]))]),
            np.concatenate([[0], np.cumsum(step * np.sin(yaw[:-1]))]),
            yaw,
        ],
        1,
    )

    scale = 1 + 0.03 * rng.choice([-1, 1])
    drift = rng.choice([-1, 1]) * math.radians(0.15)
    t = np.arange(n) * dt
    odometry_yaw = (
        yaw - yaw[0] + drift * t + np.concatenate([[0], np.cumsum(rng.normal(0, 0.001 * math.sqrt(dt), n - 1))])
    )
    increments = step * scale + rng.normal(0, 0.02 * math.sqrt(step), n - 1)
    odometry = np.stack(
        [
            np.concatenate([[0], np.cumsum(increments * np.cos(odometry_yaw[:-1]))]),
            np.concatenate([[0], np.cumsum(increments * np.sin(odometry_yaw[:-1]))]),
        ],
        1,
    )

    buffer = OdometryBuffer()
    tracker = Tracker(buffer, settings)
    start_error = rng.normal(0, [4.0, 4.0, math.radians(2)])
    covariance = np.diag([16.0, 16.0, math.radians(2) ** 2])
    tracker.start(StartPose(0, *(truth[0] + start_error), covariance))

    heading_bias = rng.normal(0, math.radians(1.0))
    correlated = rng.normal(0, 1, 2)
    decay = math.exp(-speed_mps / rate_hz / correlation_length_m)
    shift = np.zeros(2)
    fed = 0
    stamps, tracked, verdicts, outliers = [], [], [], []
    for k in range(1, round(seconds * rate_hz)):
        index = round(k / rate_hz / dt)
        if teleport_at_s is not None and k / rate_hz >= teleport_at_s:
            shift = np.array([9.0, -7.0])
        for i in range(fed, index + 6 if index + 6 < n else n):  # odometry is 0.1 s ahead of the fix
            buffer.add(OdometryPose(round(t[i] * NS), odometry[i, 0], odometry[i, 1], odometry_yaw[i], speed_mps))
            if heading:
                tracker.add_heading(
                    round(t[i] * NS), yaw[i] + heading_bias + rng.normal(0, math.radians(0.5)), math.radians(0.5)
                )
        fed = min(index + 6, n)
        stamp = round(t[index] * NS)
        prior = tracker.advance(stamp)
        correlated = decay * correlated + math.sqrt(1 - decay**2) * rng.normal(0, 1, 2)
        forward = np.array([math.cos(yaw[index]), math.sin(yaw[index])])
        rotation = np.stack([forward, [-forward[1], forward[0]]], 1)
        sigmas = np.array([sigma_longitudinal_m, sigma_lateral_m])
        centre = np.array([prior.east_m, prior.north_m])
        is_outlier = bool(rng.random() < outlier_share)
        offset = rotation.T @ (truth[index, :2] + shift - centre)
        if is_outlier:
            offset = rng.uniform(-20, 20, 2)
        measured = offset + correlated * sigmas  # what the image alone says, (forward, left) of the centre
        posterior = 1 / (1 / sigmas**2 + 3 / SEARCH_RADIUS_M**2)
        mean = centre + rotation @ np.clip(measured * posterior / sigmas**2, -20, 20)
        fix = FixMeasurement(stamp, mean, rotation @ np.diag(posterior) @ rotation.T, centre, SEARCH_RADIUS_M)
        verdicts.append(tracker.update(fix).verdict)
        outliers.append(is_outlier)
        stamps.append(index)
        tracked.append(tracker.predict(stamp))
    turn = truth[0, 2]
    to_map = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shifted = truth[stamps]
    if teleport_at_s is not None:
        shifted[np.array(stamps) * dt >= teleport_at_s - 1e-9, :2] += [9.0, -7.0]
    return Run(shifted, tracked, odometry[stamps] @ to_map.T, verdicts, np.array(outliers), tracker)


SEEDS = range(12)


def medians(runs: list[Run]) -> tuple[float, float, float]:
    """Median RMSE (m), median RMSE of the last two thirds (m), mean NEES."""
    late = [float(np.sqrt(np.mean(np.sum(run.errors[len(run.errors) // 3 :] ** 2, axis=1)))) for run in runs]
    nees = float(np.mean([run.nees.mean() for run in runs]))
    return float(np.median([run.rmse_m for run in runs])), float(np.median(late)), nees


@pytest.fixture(scope="module")
def drives() -> list[Run]:
    return [simulate(seed) for seed in SEEDS]


def test_a_track_stays_on_the_map_where_dead_reckoning_leaves_it(drives: list[Run]) -> None:
    ends = [float(np.hypot(*(run.dead_reckoning[-1] - run.truth[-1, :2]))) for run in drives]
    assert max(ends) > 20.0
    assert np.median(ends) > 10.0
    assert sum(run.rmse_m < 2.0 for run in drives) >= 0.7 * len(drives)
    _, late, _ = medians(drives)
    assert late < 1.5  # a start that is 6 m off along the street takes a turn to show


def test_the_tracks_covariance_is_honest(drives: list[Run]) -> None:
    _, _, nees = medians(drives)
    assert 0.5 < nees < 1.5
    inside = np.concatenate([run.nees * 2 < 5.991 for run in drives])  # 95 % of χ² with two degrees of freedom
    assert inside.mean() > 0.9


def test_without_regard_to_correlation_the_covariance_would_lie() -> None:
    naive = [simulate(seed, settings=TrackerSettings(fix_correlation_length_m=1e-3)) for seed in SEEDS]
    _, _, nees = medians(naive)
    assert nees > 2.5


def test_an_absolute_heading_keeps_yaw_and_improves_position(drives: list[Run]) -> None:
    with_heading = [simulate(seed, heading=True) for seed in SEEDS]

    def yaw_rmse(runs: list[Run]) -> float:
        errors = [
            math.remainder(pose.yaw_rad - truth, math.tau)
            for run in runs
            for pose, truth in zip(run.tracked, run.truth[:, 2], strict=True)
        ]
        return float(np.sqrt(np.mean(np.square(errors))))

    assert yaw_rmse(with_heading) < 0.7 * yaw_rmse(drives)
    assert medians(with_heading)[1] < medians(drives)[1]


def test_outliers_are_gated_and_good_fixes_are_not() -> None:
    runs = [simulate(seed, outlier_share=0.15) for seed in SEEDS]
    outlier = np.concatenate([run.outliers for run in runs])
    rejected = np.concatenate([[verdict is Verdict.OUTLIER for verdict in run.verdicts] for run in runs])
    # An outlier is anywhere in the search area: those near the truth cannot be told from good fixes.
    assert rejected[outlier].mean() > 0.6
    assert rejected[~outlier].mean() < 0.03
    assert medians(runs)[1] < 1.8


def test_a_lost_track_is_found_again_where_the_fixes_agree() -> None:
    runs = [simulate(seed, teleport_at_s=25.0) for seed in SEEDS]
    ends = [float(np.hypot(*run.errors[-25:].mean(axis=0))) for run in runs]
    assert np.median(ends) < 2.0
    assert max(ends) < 6.0
    assert sum(Verdict.RELOCALIZED in run.verdicts for run in runs) >= len(runs) // 2


def test_fixes_that_know_nothing_leave_the_track_to_odometry() -> None:
    run = simulate(0, sigma_lateral_m=1e4, sigma_longitudinal_m=1e4, seconds=20.0)
    assert set(run.verdicts) == {Verdict.UNINFORMATIVE}
    assert all(a.position_std_m <= b.position_std_m + 1e-9 for a, b in zip(run.tracked, run.tracked[1:], strict=False))


def started(std_m: float = 4.0) -> tuple[OdometryBuffer, Tracker]:
    buffer = filled_buffer(seconds=20.0)
    tracker = Tracker(buffer)
    tracker.start(StartPose(0, 100.0, 50.0, math.pi / 2, np.diag([std_m**2, std_m**2, 0.01])))
    return buffer, tracker


def fix_at(stamp_ns: int, east: float, north: float, std_m: float = 1.0, **changes: object) -> FixMeasurement:
    mean = np.array([east, north])
    fix = FixMeasurement(stamp_ns, mean, np.eye(2) * std_m**2, mean, SEARCH_RADIUS_M)
    return replace(fix, **changes)  # type: ignore[arg-type]


def test_between_fixes_the_pose_follows_odometry_turned_by_the_yaw_offset() -> None:
    _, tracker = started()
    pose = tracker.predict(10 * NS)
    assert (pose.east_m, pose.north_m) == pytest.approx((100.0, 140.0), abs=1e-9)
    assert pose.yaw_rad == pytest.approx(math.pi / 2)


def test_the_map_to_odom_transform_puts_the_vehicle_where_the_track_has_it() -> None:
    buffer, tracker = started()
    tracker.update(fix_at(8 * NS, 102.0, 121.0))
    transform, pose, odometry = tracker.map_to_odom(10 * NS), tracker.predict(10 * NS), buffer.pose_at(10 * NS)
    cosine, sine = math.cos(transform.yaw_rad), math.sin(transform.yaw_rad)
    assert transform.x_m + cosine * odometry.x_m - sine * odometry.y_m == pytest.approx(pose.east_m)
    assert transform.y_m + sine * odometry.x_m + cosine * odometry.y_m == pytest.approx(pose.north_m)


def test_the_camera_is_measured_and_base_link_is_tracked() -> None:
    _, tracker = started()
    for second in range(1, 19):  # the vehicle drives north; the camera is 2 m ahead and 1 m to the left of base_link
        tracker.update(fix_at(second * NS, 99.0, 50.0 + 9.0 * second + 2.0, 0.3, lever_arm_m=(2.0, 1.0)))
    pose = tracker.predict(18 * NS)
    assert (pose.east_m, pose.north_m) == pytest.approx((100.0, 212.0), abs=0.2)


def test_a_vehicle_at_rest_does_not_grow_certain_from_looking_at_one_scene() -> None:
    buffer = OdometryBuffer()
    for index in range(50 * 20):
        buffer.add(OdometryPose(index * NS // 50, 0.0, 0.0, 0.0, 0.0))
    tracker = Tracker(buffer)
    tracker.start(StartPose(0, 0.0, 0.0, 0.0, np.diag([100.0, 100.0, 0.001])))
    tracker.update(fix_at(NS, 0.0, 0.0, 2.0))
    after_one = tracker.predict(NS).position_std_m
    for index in range(10, 90):
        tracker.update(fix_at(index * NS // 5, 0.0, 0.0, 2.0))
    assert tracker.predict(18 * NS).position_std_m > 0.7 * after_one


def test_a_fix_older_than_the_track_is_stale_and_changes_nothing() -> None:
    _, tracker = started()
    before = tracker.advance(10 * NS)
    assert tracker.update(fix_at(9 * NS, 0.0, 0.0)).verdict is Verdict.STALE
    assert tracker.predict(10 * NS).east_m == before.east_m
    with pytest.raises(OdometryError, match="older than the track"):
        tracker.advance(9 * NS)


def test_a_track_needs_a_start_and_loses_it_with_its_odometry() -> None:
    buffer = filled_buffer()
    tracker = Tracker(buffer)
    with pytest.raises(OdometryError, match="no start pose"):
        tracker.advance(NS)
    tracker.start(StartPose(0, 0.0, 0.0, 0.0, np.eye(3)))
    tracker.advance(NS)
    assert tracker.started
    buffer.clear()
    assert not tracker.started
    with pytest.raises(OdometryError, match="no start pose"):
        tracker.predict(NS)


def test_a_start_pose_before_the_first_odometry_waits_for_it() -> None:
    buffer = OdometryBuffer()
    tracker = Tracker(buffer)
    tracker.start(StartPose(90 * NS, 5.0, 6.0, 0.0, np.eye(3)))
    for index in range(51):
        buffer.add(OdometryPose(100 * NS + index * NS // 50, index * 0.1, 0.0, 0.0))
    assert tracker.advance(101 * NS).east_m == pytest.approx(10.0)


def test_a_start_pose_older_than_the_odometry_that_is_kept_is_dropped() -> None:
    buffer = filled_buffer(seconds=60.0)
    assert buffer.trimmed
    tracker = Tracker(buffer)
    tracker.start(StartPose(10 * NS, 5.0, 6.0, 0.0, np.eye(3)))
    buffer.add(OdometryPose(60 * NS + NS // 50, 540.18, 0.0, 0.0, 9.0))
    for _ in range(2):
        with pytest.raises(OdometryError, match="older than the odometry that is kept"):
            tracker.advance(60 * NS)
    assert not tracker.started
    tracker.start(StartPose(59 * NS, 5.0, 6.0, 0.0, np.eye(3)))
    assert tracker.advance(60 * NS).east_m == pytest.approx(14.0)


@pytest.mark.parametrize("seconds", [20.0, 60.0])
def test_a_start_pose_that_comes_before_the_odometry_of_a_looped_bag_starts_the_next_pass(seconds: float) -> None:
    buffer = filled_buffer(seconds=seconds)
    tracker = Tracker(buffer)
    tracker.start(StartPose(round(seconds - 1) * NS, 0.0, 0.0, 0.0, np.eye(3)))
    end = tracker.advance(round(seconds) * NS)
    tracker.start(StartPose(-NS // 10, 5.0, 6.0, 0.0, np.eye(3)))
    with pytest.raises(OdometryError, match="waiting for odometry"):
        tracker.predict(end.stamp_ns)  # TF and diagnostics ask at any time
    with pytest.raises(OdometryError, match="jumped back"):
        buffer.add(OdometryPose(0, 0.0, 0.0, 0.0, 9.0))
    for index in range(1, 51):
        buffer.add(OdometryPose(index * NS // 50, index * 9.0 / 50, 0.0, 0.0, 9.0))
    assert tracker.advance(NS).east_m == pytest.approx(14.0)


def test_a_start_pose_on_a_clock_ahead_of_the_odometry_is_dropped_and_named() -> None:
    buffer = filled_buffer()
    tracker = Tracker(buffer)
    tracker.start(StartPose(100 * NS, 5.0, 6.0, 0.0, np.eye(3)))
    assert tracker.started  # the odometry may only have paused
    buffer.add(OdometryPose(5 * NS + NS // 50, 45.18, 0.0, 0.0, 9.0))
    assert not tracker.started
    with pytest.raises(OdometryError, match=r"95\.0 s ahead of the odometry: the clocks differ, check use_sim_time"):
        tracker.advance(5 * NS)
    tracker.reset()
    with pytest.raises(OdometryError, match="no start pose yet"):
        tracker.advance(5 * NS)


@pytest.mark.parametrize("covariance", [np.diag([1.0, 1.0, 0.0]), np.diag([1.0, -1.0, 1.0]), np.full((3, 3), math.nan)])
def test_a_start_pose_without_a_proper_covariance_is_refused(covariance: np.ndarray) -> None:
    with pytest.raises(OdometryError):
        Tracker(OdometryBuffer()).start(StartPose(0, 0.0, 0.0, 0.0, covariance))


def test_an_inflated_covariance_keeps_the_pose_and_lets_the_next_fix_decide() -> None:
    _, tracker = started(std_m=0.5)
    assert tracker.update(fix_at(1 * NS, 110.0, 59.0)).verdict is Verdict.OUTLIER
    tracker.inflate_covariance(8.0, 0.05)
    assert tracker.update(fix_at(2 * NS, 110.0, 68.0)).verdict is Verdict.FUSED
    assert tracker.predict(2 * NS).east_m == pytest.approx(110.0, abs=0.5)


def test_inflating_again_and_again_does_no_more_than_once() -> None:
    _, tracker = started(std_m=0.5)
    tracker.advance(2 * NS)
    for _ in range(4):
        tracker.inflate_covariance(8.0, 0.2)
        pose = tracker.predict(2 * NS)
        assert np.linalg.eigvalsh(pose.covariance[:2, :2]) == pytest.approx([64.0, 64.0], rel=1e-9)
        assert pose.yaw_std_rad == pytest.approx(0.2)
    _, tracker = started(std_m=12.7)
    tracker.advance(0)
    tracker.inflate_covariance(8.0, 0.02)
    pose = tracker.predict(0)
    assert pose.position_std_m == pytest.approx(12.7)
    assert pose.yaw_std_rad == pytest.approx(0.1)


def test_a_relocalization_leaves_the_track_certain_enough_for_the_next_fix() -> None:
    _, tracker = started(std_m=0.5)
    known_east = np.diag([1.0, SEARCH_RADIUS_M**2 / 3])
    verdicts = [
        tracker.update(fix_at(second * NS, 118.0, 50.0 + 9.0 * second, covariance_m2=known_east)).verdict
        for second in range(1, 6)
    ]
    assert verdicts == [Verdict.OUTLIER] * 4 + [Verdict.RELOCALIZED]
    pose = tracker.predict(5 * NS)
    assert pose.east_m == pytest.approx(118.0, abs=1.0)
    assert 8.0 < pose.position_std_m < 13.0


def test_a_slow_vehicle_is_found_again_too() -> None:
    speed_mps, rate_hz = 0.3, 30
    buffer = OdometryBuffer()
    buffer.add(OdometryPose(0, 0.0, 0.0, 0.0, speed_mps))
    tracker = Tracker(buffer)
    tracker.start(StartPose(0, 100.0, 50.0, math.pi / 2, np.diag([0.25, 0.25, 0.0004])))
    for frame in range(1, 40 * rate_hz):
        stamp_ns, driven_m = frame * NS // rate_hz, frame * speed_mps / rate_hz
        buffer.add(OdometryPose(stamp_ns, driven_m, 0.0, 0.0, speed_mps))
        decision = tracker.update(fix_at(stamp_ns, 110.0, 50.0 + driven_m))
        assert decision.rejected_in_a_row == frame
        if decision.verdict is Verdict.RELOCALIZED:
            break
    assert decision.verdict is Verdict.RELOCALIZED
    assert driven_m == pytest.approx(10.0, abs=0.5)
    assert tracker.predict(stamp_ns).east_m == pytest.approx(110.0, abs=1.0)


def test_a_disturbed_heading_is_rejected_and_counted() -> None:
    _, tracker = started()
    tracker.add_heading(2 * NS, math.pi / 2, 0.02)
    tracker.advance(3 * NS)
    tracker.add_heading(4 * NS, -math.pi / 2, 0.02)
    pose = tracker.advance(5 * NS)
    assert (tracker.counts.headings_fused, tracker.counts.headings_rejected) == (1, 1)
    assert pose.yaw_rad == pytest.approx(math.pi / 2, abs=0.05)
    with pytest.raises(OdometryError):
        tracker.add_heading(6 * NS, math.nan, 0.02)
