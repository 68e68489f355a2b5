"""The tracker in simulated drives: accuracy, consistency of its covariance, outliers, a lost track."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.drives import DriveOptions, TrackedDrive, track_drive

from geoflow_ros.tracking import TrackerSettings, Verdict

SEEDS = range(12)


def track_all(options: DriveOptions | None = None) -> list[TrackedDrive]:
    return [track_drive(seed, options) for seed in SEEDS]


@pytest.fixture(scope="module")
def drives() -> list[TrackedDrive]:
    return track_all()


def medians(runs: list[TrackedDrive]) -> tuple[float, float, float]:
    """Median RMSE (m), median RMSE of the last two thirds (m), mean NEES."""
    late = [float(np.sqrt(np.mean(np.sum(run.errors[len(run.errors) // 3 :] ** 2, axis=1)))) for run in runs]
    nees = float(np.mean([run.nees.mean() for run in runs]))
    return float(np.median([run.rmse_m for run in runs])), float(np.median(late)), nees


def yaw_rmse(runs: list[TrackedDrive]) -> float:
    return float(np.sqrt(np.mean(np.square(np.concatenate([run.yaw_errors for run in runs])))))


def test_a_track_stays_on_the_map_where_dead_reckoning_leaves_it(drives: list[TrackedDrive]) -> None:
    ends = [float(np.hypot(*(run.dead_reckoning[-1] - run.truth[-1, :2]))) for run in drives]
    assert max(ends) > 20.0
    assert np.median(ends) > 10.0
    assert sum(run.rmse_m < 2.0 for run in drives) >= 0.7 * len(drives)
    _, late, _ = medians(drives)
    assert late < 1.5  # a start that is 6 m off along the street takes a turn to show


def test_the_covariance_of_the_track_is_consistent_with_its_errors(drives: list[TrackedDrive]) -> None:
    _, _, nees = medians(drives)
    assert 0.5 < nees < 1.5
    inside = np.concatenate([run.nees * 2 < 5.991 for run in drives])  # 95 % of χ² with two degrees of freedom
    assert inside.mean() > 0.9


def test_without_regard_to_correlation_the_covariance_would_be_too_small() -> None:
    naive = track_all(DriveOptions(settings=TrackerSettings(fix_correlation_length_m=1e-3)))
    _, _, nees = medians(naive)
    assert nees > 2.5


def test_an_absolute_heading_keeps_yaw_and_improves_position(drives: list[TrackedDrive]) -> None:
    with_heading = track_all(DriveOptions(heading=True))
    assert yaw_rmse(with_heading) < 0.7 * yaw_rmse(drives)
    assert medians(with_heading)[1] < medians(drives)[1]


def test_outliers_are_gated_and_good_fixes_are_not() -> None:
    runs = track_all(DriveOptions(outlier_share=0.15))
    outlier = np.concatenate([run.outliers for run in runs])
    rejected = np.concatenate([[verdict is Verdict.OUTLIER for verdict in run.verdicts] for run in runs])
    # An outlier is anywhere in the search area: those near the truth cannot be told from good fixes.
    assert rejected[outlier].mean() > 0.6
    assert rejected[~outlier].mean() < 0.03
    assert medians(runs)[1] < 1.8


def test_a_lost_track_is_found_again_where_the_fixes_consistently_put_it() -> None:
    runs = track_all(DriveOptions(teleport_at_s=25.0))
    ends = [float(np.hypot(*run.errors[-25:].mean(axis=0))) for run in runs]
    assert np.median(ends) < 2.0
    assert max(ends) < 6.0
    assert sum(Verdict.RELOCALIZED in run.verdicts for run in runs) >= len(runs) // 2


def test_fixes_that_know_nothing_leave_the_track_to_odometry() -> None:
    run = track_drive(0, DriveOptions(lateral_std_m=1e4, longitudinal_std_m=1e4, seconds=20.0))
    assert set(run.verdicts) == {Verdict.UNINFORMATIVE}
    assert all(a.position_std_m <= b.position_std_m + 1e-9 for a, b in zip(run.tracked, run.tracked[1:], strict=False))
