"""Whether fixes are as good as they say, and follow the motion: the two tests behind the inflation of covariances."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.tracking import AxisMeasurement, OdometryPose, StartPose, TrackerSettings
from geoflow_ros.tracking.filter import FilterState, initial_state, position_innovation
from geoflow_ros.tracking.following import FollowingTest
from geoflow_ros.tracking.innovations import InnovationTest

SETTINGS = TrackerSettings()
STEP_M, STD_M = 2.0, 2.2


def innovations(squares: list[float], step_m: float = STEP_M) -> InnovationTest:
    """Fixes of two axes with these normalised innovations squared."""
    test = InnovationTest()
    for number, square in enumerate(squares):
        test.add(number * step_m, square, 2, SETTINGS)
    return test


def test_innovations_as_large_as_they_should_be_inflate_nothing() -> None:
    rng = np.random.default_rng(0)
    assert innovations([float(x) for x in rng.chisquare(2, 200)]).inflation == 1.0
    assert innovations([]).inflation == 1.0


def test_innovations_nine_times_too_large_inflate_after_some_metres_and_are_forgotten() -> None:
    wrong = [18.0] * 20
    assert innovations(wrong).inflation > 2.0
    assert innovations(wrong + [2.0] * 20).inflation < 1.2
    assert innovations(wrong + [2.0] * 40).inflation == 1.0


def test_one_wild_fix_is_one_wild_fix() -> None:
    assert innovations([2.0] * 10 + [1e6]).inflation < 1.5


def test_a_vehicle_at_rest_says_its_innovation_once() -> None:
    once = innovations([18.0], 0.0)
    many = innovations([18.0] * 1000, 0.0)
    assert many.inflation == once.inflation


def states(count: int, step_m: float = STEP_M) -> list[FilterState]:
    """A track that drives east and is well known."""
    first = initial_state(
        StartPose(0, 0.0, 0.0, 0.0, np.diag([0.25, 0.25, 1e-4])), OdometryPose(0, 0.0, 0.0, 0.0), SETTINGS
    )
    return [
        replace(
            first,
            odometry=OdometryPose(number, number * step_m, 0.0, 0.0),
            mean=first.mean + np.array([number * step_m, 0.0, 0.0, 0.0, 0.0, 0.0]),
            driven_m=number * step_m,
        )
        for number in range(count)
    ]


def following(errors_m: Float64Array, centres_m: Float64Array, step_m: float = STEP_M) -> FollowingTest:
    """Fixes with (n, 2) errors, looked for around (n, 2) centres."""
    test = FollowingTest()
    for state, error, centre in zip(states(len(errors_m), step_m), errors_m, centres_m, strict=True):
        measured = state.mean[:2] + error
        axes = tuple(AxisMeasurement(axis, float(axis @ measured), STD_M**2) for axis in np.eye(2))
        test.add(state, position_innovation(state, axes, (0.0, 0.0)), centre, 1.0, SETTINGS)
    return test


def kept_centres(count: int, step_m: float = STEP_M, range_m: float = 5.0) -> Float64Array:
    """Search areas that are kept while the vehicle is near their centre."""
    driven = np.arange(count) * step_m
    return np.stack([np.floor(driven / range_m) * range_m, np.zeros(count)], axis=1)


def correlated_errors(count: int, seed: int = 0) -> Float64Array:
    rng, alike = np.random.default_rng(seed), np.exp(-STEP_M / 6.0)
    errors = [rng.normal(0.0, STD_M, 2)]
    for _ in range(count - 1):
        errors.append(alike * errors[-1] + np.sqrt(1.0 - alike**2) * rng.normal(0.0, STD_M, 2))
    return np.array(errors)


@pytest.mark.parametrize("seed", range(10))
def test_fixes_that_follow_the_wheels_with_errors_that_are_alike_pass(seed: int) -> None:
    assert following(correlated_errors(300, seed), kept_centres(300)).inflation == 1.0


def test_fixes_that_stay_in_the_centre_of_their_search_area_do_not() -> None:
    centres = kept_centres(10)
    where = np.stack([np.arange(10) * STEP_M, np.zeros(10)], axis=1)
    assert following(centres - where, centres).inflation > 4.0


def test_fixes_that_lie_anywhere_within_their_covariance_each_on_its_own_do_not() -> None:
    rng = np.random.default_rng(1)
    where = np.stack([np.arange(30) * STEP_M, np.zeros(30)], axis=1)  # looked for where the vehicle is, each time
    assert following(rng.normal(0.0, STD_M, (30, 2)), where).inflation > 4.0


def test_a_vehicle_at_rest_says_nothing_about_what_its_fixes_follow() -> None:
    errors = np.random.default_rng(2).normal(0.0, 3.0 * STD_M, (100, 2))
    assert following(errors, np.zeros((100, 2)), step_m=0.0).inflation == 1.0


def test_what_the_tests_keep_does_not_grow_with_the_drive() -> None:
    def size(count: int) -> int:
        kept = following(correlated_errors(count), kept_centres(count)), innovations([2.0] * count)
        return len(pickle.dumps(kept))

    assert size(2000) <= size(20) + 64  # the digits of numbers differ
