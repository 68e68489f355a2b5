"""Fixes that bring the yaw of the vehicle besides its position."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fakes.drives import NS, SEARCH_RADIUS_M, DriveOptions, track_drive
from fakes.tracks import fix_at, started_track

from geoflow_ros.errors import OdometryError
from geoflow_ros.tracking import FixMeasurement, TrackedPose, Verdict

NORTH_RAD = math.pi / 2
YAW_VARIANCE_RAD2 = 0.02**2


def with_yaw(
    fix: FixMeasurement, yaw_rad: float | None, yaw_variance_rad2: float | None = YAW_VARIANCE_RAD2
) -> FixMeasurement:
    return replace(fix, yaw_rad=yaw_rad, yaw_variance_rad2=yaw_variance_rad2)


def track_after(yaw_rad: float | None, yaw_variance_rad2: float | None) -> TrackedPose:
    _, tracker = started_track()
    tracker.update(with_yaw(fix_at(NS, 101.0, 60.0), yaw_rad, yaw_variance_rad2))
    return tracker.predict(NS)


def test_in_a_drive_the_yaw_of_fixes_improves_the_yaw_of_the_track() -> None:
    options = DriveOptions(seconds=30.0)
    measuring_yaw = DriveOptions(seconds=30.0, yaw_std_rad=math.radians(1.0))
    without = np.concatenate([track_drive(seed, options).yaw_errors for seed in range(4)])
    measured = np.concatenate([track_drive(seed, measuring_yaw).yaw_errors for seed in range(4)])
    assert np.sqrt(np.mean(measured**2)) < 0.7 * np.sqrt(np.mean(without**2))


def test_the_first_fix_moves_the_yaw_by_the_ratio_of_the_variances() -> None:
    before = track_after(None, None)
    after = track_after(before.yaw_rad + 0.1, YAW_VARIANCE_RAD2)
    gain = before.yaw_std_rad**2 / (before.yaw_std_rad**2 + YAW_VARIANCE_RAD2)
    assert after.yaw_rad - before.yaw_rad == pytest.approx(0.1 * gain)
    assert after.yaw_std_rad**2 == pytest.approx((1 - gain) * before.yaw_std_rad**2)


def test_without_a_yaw_the_track_is_the_same_to_the_bit_as_with_one_that_says_nothing_new() -> None:
    plain, vague = track_after(None, None), track_after(NORTH_RAD + 0.5, 1e30)
    assert (plain.east_m, plain.north_m, plain.yaw_rad) == (vague.east_m, vague.north_m, vague.yaw_rad)


def test_a_vehicle_at_one_scene_does_not_grow_certain_of_its_yaw() -> None:
    _, tracker = started_track()
    stds_rad = []
    for index in range(21):  # within 18 cm
        stamp_ns = NS + index * NS // 1000
        tracker.update(with_yaw(fix_at(stamp_ns, 100.0, 59.0 + 0.009 * index), NORTH_RAD))
        stds_rad.append(tracker.predict(stamp_ns).yaw_std_rad)
    assert tracker.counts.fix_yaws_fused == 21
    assert stds_rad[-1] > 0.9 * stds_rad[0]


def test_a_yaw_far_from_the_track_is_rejected_and_the_position_is_fused() -> None:
    _, tracker = started_track()
    fix = with_yaw(fix_at(NS, 101.0, 60.0), -NORTH_RAD)
    assert tracker.update(fix).verdict is Verdict.FUSED
    pose, plain = tracker.predict(NS), track_after(None, None)
    assert (pose.east_m, pose.yaw_rad) == (plain.east_m, plain.yaw_rad)
    assert (tracker.counts.fix_yaws_fused, tracker.counts.fix_yaws_rejected) == (0, 1)


@pytest.mark.parametrize("verdict", [Verdict.OUTLIER, Verdict.UNINFORMATIVE])
def test_with_a_position_that_is_not_fused_the_yaw_is_not_either(verdict: Verdict) -> None:
    _, tracker = started_track(std_m=1.0)
    before = tracker.predict(NS)
    far_or_vague = {
        Verdict.OUTLIER: fix_at(NS, 115.0, 59.0),
        Verdict.UNINFORMATIVE: fix_at(NS, 100.0, 59.0, SEARCH_RADIUS_M / math.sqrt(3)),
    }
    assert tracker.update(with_yaw(far_or_vague[verdict], NORTH_RAD + 0.1)).verdict is verdict
    assert tracker.predict(NS).yaw_rad == before.yaw_rad
    assert (tracker.counts.fix_yaws_fused, tracker.counts.fix_yaws_rejected) == (0, 0)


@pytest.mark.parametrize(
    ("yaw_rad", "yaw_variance_rad2"),
    [
        (math.nan, 0.01),
        (math.inf, 0.01),
        (1.5, math.nan),
        (1.5, math.inf),
        (1.5, 0.0),
        (1.5, -0.01),
        (1.5, None),
        (None, 0.01),
    ],
)
def test_a_yaw_that_is_no_number_or_has_no_positive_variance_is_refused(
    yaw_rad: float | None, yaw_variance_rad2: float | None
) -> None:
    _, tracker = started_track()
    before = tracker.advance(NS)
    with pytest.raises(OdometryError, match="a fix with a yaw"):
        tracker.update(with_yaw(fix_at(NS, 101.0, 60.0), yaw_rad, yaw_variance_rad2))
    assert tracker.predict(NS).east_m == before.east_m
    assert tracker.counts.fused == 0
