"""The correction that rejected fixes have in common."""

from __future__ import annotations

import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.tracking import AxisMeasurement, TrackerSettings
from geoflow_ros.tracking.relocalization import RejectedFix, RejectionHistory

SETTINGS = TrackerSettings(relocalize_after=4, relocalize_distance_m=6.0)
EAST, NORTH = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def rejected(driven_m: float, east_m: float, north_m: float) -> RejectedFix:
    """A fix that measured both axes to a metre."""
    axes = tuple(AxisMeasurement(direction, 0.0, 1.0) for direction in (EAST, NORTH))
    return RejectedFix(driven_m, np.array([east_m, north_m]), axes)


def correction_after(*fixes: RejectedFix) -> Float64Array | None:
    history = RejectionHistory()
    for fix in fixes:
        history.add(fix, SETTINGS)
    return history.common_correction(SETTINGS, SETTINGS.relocalize_distance_m)


def test_consistent_fixes_have_their_mean_in_common() -> None:
    fixes = [rejected(2.0 * i, 10.0 + 0.5 * (-1) ** i, -3.0) for i in range(4)]
    correction = correction_after(*fixes)
    assert correction is not None
    assert correction == pytest.approx([10.0, -3.0])


def test_no_correction_without_fixes_or_from_too_few_or_over_too_short_a_distance() -> None:
    assert correction_after() is None
    assert correction_after(*(rejected(4.0 * i, 10.0, -3.0) for i in range(3))) is None
    assert correction_after(*(rejected(1.0 * i, 10.0, -3.0) for i in range(6))) is None


def test_inconsistent_fixes_have_no_correction_in_common() -> None:
    assert correction_after(*(rejected(2.0 * i, 10.0 * (-1) ** i, -3.0) for i in range(4))) is None


def test_an_axis_that_a_fix_did_not_measure_cannot_contradict() -> None:
    east_only = (AxisMeasurement(EAST, 0.0, 1.0),)
    fixes = [RejectedFix(2.0 * i, np.array([8.0, 0.0]), east_only) for i in range(3)]
    correction = correction_after(*fixes, rejected(6.0, 8.0, 1.0))
    assert correction is not None
    assert correction[0] == pytest.approx(8.0)


def test_fixes_from_before_the_distance_that_is_needed_are_not_asked() -> None:
    fixes = [rejected(2.0 * i, -15.0 if i < 3 else 10.0, 0.0) for i in range(8)]
    correction = correction_after(*fixes)
    assert correction is not None
    assert correction == pytest.approx([10.0, 0.0])


def test_the_fixes_of_a_crawling_vehicle_are_all_counted_and_span_the_distance() -> None:
    history = RejectionHistory()
    for index in range(6001):
        history.add(rejected(0.001 * index, 10.0, 0.0), SETTINGS)
    assert history.in_a_row == 6001
    correction = history.common_correction(SETTINGS, SETTINGS.relocalize_distance_m)
    assert correction is not None
    assert correction == pytest.approx([10.0, 0.0])


def test_after_a_fix_that_was_fused_the_count_begins_again() -> None:
    history = RejectionHistory()
    for index in range(4):
        history.add(rejected(2.0 * index, 10.0, 0.0), SETTINGS)
    history.clear()
    history.add(rejected(10.0, 10.0, 0.0), SETTINGS)
    assert history.in_a_row == 1
    assert history.common_correction(SETTINGS, SETTINGS.relocalize_distance_m) is None
