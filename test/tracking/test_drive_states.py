"""What a track is worth over a drive: fixes that fail, that are wrong and do not say so, and that are right again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fakes.drives import SPEED_MPS, DriveOptions, TrackedDrive, track_drive

from geoflow_ros.tracking import TrackState, Verdict

SEEDS = range(4)
RATE_HZ = 5.0
FAULT_AT_S, FAULT_UNTIL_S = 20.0, 32.0
FIXES: dict[str, Any] = {"longitudinal_std_m": 2.2, "lateral_std_m": 0.9, "patch_range_m": 5.0}


@pytest.fixture(scope="module", params=["nothing", "centre", "anywhere"])
def failed(request: pytest.FixtureRequest) -> list[TrackedDrive]:
    """Drives whose fixes fail for 12 s, 108 m."""
    options = DriveOptions(
        seconds=45.0, fault=request.param, fault_at_s=FAULT_AT_S, fault_until_s=FAULT_UNTIL_S, **FIXES
    )
    return [track_drive(seed, options) for seed in SEEDS]


def index_at(t_s: float) -> int:
    return math.ceil(t_s * RATE_HZ) - 1  # the first fix comes after one period


def first(run: TrackedDrive, state: TrackState, after_s: float) -> int:
    """Index of the first fix from a time on with a state."""
    begin = index_at(after_s)
    return begin + [status.state for status in run.statuses[begin:]].index(state)


def driven_m(run: TrackedDrive, state: TrackState, after_s: float) -> float:
    """How far the vehicle drives from a time on until its track has a state."""
    return (first(run, state, after_s) - index_at(after_s) + 1) * SPEED_MPS / RATE_HZ


def test_over_a_long_honest_drive_the_track_stays_and_its_covariance_holds() -> None:
    runs = [track_drive(seed, DriveOptions(seconds=150.0, **FIXES)) for seed in range(6)]
    tracking = np.mean([status.state is TrackState.TRACKING for run in runs for status in run.statuses])
    inflation = np.mean([status.inflation for run in runs for status in run.statuses])
    assert tracking > 0.99
    assert all(status.inflation >= 1.0 for run in runs for status in run.statuses)
    assert inflation < 1.05
    assert 0.6 < np.mean([run.nees.mean() for run in runs]) < 1.4


def test_fixes_that_say_nothing_lose_the_track_within_20_m_with_the_reason(failed: list[TrackedDrive]) -> None:
    for run in failed:
        assert driven_m(run, TrackState.LOST, FAULT_AT_S) <= 20.0
        lost = first(run, TrackState.LOST, FAULT_AT_S)
        assert "fix" in run.statuses[lost].reason
        assert run.tracked[lost].position_std_m > run.tracked[index_at(FAULT_AT_S) - 1].position_std_m


def test_a_lost_track_stays_lost_and_grows_less_certain_while_fixes_are_wrong(failed: list[TrackedDrive]) -> None:
    for run in failed:
        lost, right_again = first(run, TrackState.LOST, FAULT_AT_S), index_at(FAULT_UNTIL_S)
        assert {status.state for status in run.statuses[lost:right_again]} == {TrackState.LOST}
        assert Verdict.FUSED not in run.verdicts[lost:right_again]
        assert run.tracked[right_again - 1].position_std_m > run.tracked[lost].position_std_m


def test_a_lost_track_comes_back_by_itself_when_fixes_agree_again(failed: list[TrackedDrive]) -> None:
    for run in failed:
        assert driven_m(run, TrackState.TRACKING, FAULT_UNTIL_S) < 40.0
        found = first(run, TrackState.TRACKING, FAULT_UNTIL_S)
        assert run.verdicts[found] is Verdict.RELOCALIZED
        errors = np.hypot(*run.errors[found:].T)
        assert np.median(errors) < 3.0
        assert run.statuses[-1].state is TrackState.TRACKING


def test_between_tracking_and_lost_a_track_without_fixes_is_degraded() -> None:
    options = DriveOptions(seconds=30.0, fault="nothing", fault_at_s=FAULT_AT_S, **FIXES)
    run = track_drive(0, options)
    states = [status.state for status in run.statuses[index_at(FAULT_AT_S) :]]
    in_order = [TrackState.TRACKING, TrackState.DEGRADED, TrackState.LOST]
    assert [state for state, before in zip(states, [None, *states], strict=False) if state is not before] == in_order


def test_some_outliers_do_not_lose_a_track() -> None:
    runs = [track_drive(seed, DriveOptions(outlier_share=0.15, **FIXES)) for seed in SEEDS]
    assert np.mean([status.state is TrackState.LOST for run in runs for status in run.statuses]) < 0.02


def test_fixes_that_claim_too_much_count_for_less_and_the_covariance_holds() -> None:
    options = DriveOptions(claimed_share=0.4, seconds=90.0, **FIXES)
    runs = [track_drive(seed, options) for seed in SEEDS]
    inflation = np.mean([status.inflation for run in runs for status in run.statuses])
    assert inflation > 1.2
