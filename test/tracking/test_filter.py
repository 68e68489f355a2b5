"""The filter's pure functions: prediction, updates, gates and inflation of its covariance."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.tracking import AxisMeasurement, OdometryPose, StartPose, TrackerSettings
from geoflow_ros.tracking.filter import (
    BIAS,
    DRIFT,
    SCALE,
    YAW,
    FilterState,
    PositionInnovation,
    inflate_position,
    inflate_yaw,
    initial_state,
    new_information_share,
    position_innovation,
    predict,
    squared_distance,
    update_heading,
    update_position,
    update_yaw,
)

NS = 1_000_000_000
NOISELESS = TrackerSettings(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
SETTINGS = TrackerSettings()


def some_state() -> FilterState:
    """A state whose variables are all correlated, at a yaw of 0.7 + 0.3 rad in the map."""
    root = np.random.default_rng(3).normal(size=(6, 6)) * [1.0, 1.0, 0.05, 0.002, 0.02, 0.02]
    mean = np.array([10.0, -5.0, 0.3, 0.001, 1.02, 0.01])
    return FilterState(OdometryPose(0, 3.0, 4.0, 0.7), mean, root.T @ root, 50.0)


def two_axes() -> tuple[AxisMeasurement, ...]:
    direction = np.array([math.cos(0.4), math.sin(0.4)])
    across = np.array([-direction[1], direction[0]])
    return (
        AxisMeasurement(direction, float(direction @ [11.0, -4.0]), 0.5),
        AxisMeasurement(across, float(across @ [11.0, -4.0]), 4.0),
    )


def shifted(state: FilterState, variable: int, by: float) -> FilterState:
    mean = state.mean.copy()
    mean[variable] += by
    return replace(state, mean=mean)


def test_a_start_pose_and_the_odometry_there_give_the_pose_back() -> None:
    covariance = np.diag([4.0, 9.0, 0.01])
    start = StartPose(0, 7.0, 8.0, -3.0, covariance)
    pose = initial_state(start, OdometryPose(0, 100.0, 200.0, 2.5), SETTINGS).pose
    assert (pose.east_m, pose.north_m, pose.yaw_rad) == pytest.approx((7.0, 8.0, -3.0))
    np.testing.assert_array_equal(pose.covariance, covariance)


def test_a_prediction_turns_and_scales_the_increment_and_leaves_its_input_alone() -> None:
    state = some_state()
    before = (state.mean.copy(), state.covariance.copy())
    later = predict(state, OdometryPose(NS // 10, 4.0, 4.0, 0.7), NOISELESS)
    angle = 0.3 + 0.001 * 0.05
    assert later.mean[:2] == pytest.approx([10.0 + 1.02 * math.cos(angle), -5.0 + 1.02 * math.sin(angle)])
    assert later.driven_m == pytest.approx(51.02)
    np.testing.assert_array_equal(state.mean, before[0])
    np.testing.assert_array_equal(state.covariance, before[1])


def test_a_prediction_to_no_later_stamp_changes_nothing() -> None:
    state = some_state()
    assert predict(state, OdometryPose(0, 4.0, 4.0, 0.7), SETTINGS) is state


def test_the_covariance_is_carried_by_the_derivative_of_the_prediction() -> None:
    state, target, step = some_state(), OdometryPose(NS // 5, 4.5, 4.5, 0.8), 1e-6
    transition = np.zeros((6, 6))
    for variable in range(6):
        above = predict(shifted(state, variable, step), target, NOISELESS).mean
        below = predict(shifted(state, variable, -step), target, NOISELESS).mean
        transition[:, variable] = (above - below) / (2 * step)
    expected = transition @ state.covariance @ transition.T
    np.testing.assert_allclose(predict(state, target, NOISELESS).covariance, expected, rtol=1e-6, atol=1e-12)


def test_noise_grows_with_distance_and_time() -> None:
    state = replace(some_state(), covariance=np.zeros((6, 6)))
    slow = np.diag(predict(state, OdometryPose(NS, 3.1, 4.0, 0.7), SETTINGS).covariance)
    fast = np.diag(predict(state, OdometryPose(NS, 3.4, 4.0, 0.7), SETTINGS).covariance)
    assert fast[:2] == pytest.approx(4 * slow[:2])
    assert fast[SCALE] == pytest.approx(4 * slow[SCALE])
    assert fast[[YAW, DRIFT, BIAS]] == pytest.approx(slow[[YAW, DRIFT, BIAS]])


def test_at_rest_the_yaw_stays_as_it_is_known_whatever_the_odometrys_does() -> None:
    state = some_state()
    drifted = replace(state.odometry, stamp_ns=NS // 4, yaw_rad=state.odometry.yaw_rad + math.radians(0.1))
    after = predict(state, drifted, SETTINGS)
    assert after.pose.yaw_rad == pytest.approx(state.pose.yaw_rad)
    assert after.covariance[YAW, YAW] == pytest.approx(state.covariance[YAW, YAW])
    np.testing.assert_allclose(after.mean[[DRIFT, SCALE, BIAS]], state.mean[[DRIFT, SCALE, BIAS]])


def test_a_robot_that_turns_on_the_spot_turns() -> None:
    state = some_state()
    turned = replace(state.odometry, stamp_ns=NS // 4, yaw_rad=state.odometry.yaw_rad + math.radians(5.0))
    after = predict(state, turned, SETTINGS)
    assert after.pose.yaw_rad - state.pose.yaw_rad == pytest.approx(math.radians(5.0), abs=0.001)
    assert after.covariance[YAW, YAW] != pytest.approx(state.covariance[YAW, YAW])


def test_the_jacobian_of_a_camera_with_a_lever_arm_is_the_derivative_of_its_position() -> None:
    state, lever, step = some_state(), (2.0, -1.0), 1e-6
    innovation = position_innovation(state, two_axes(), lever)
    for variable in range(6):
        above = position_innovation(shifted(state, variable, step), two_axes(), lever).residuals_m
        below = position_innovation(shifted(state, variable, -step), two_axes(), lever).residuals_m
        np.testing.assert_allclose(innovation.jacobian[:, variable], (below - above) / (2 * step), atol=1e-8)


def batch_update(state: FilterState, innovation: PositionInnovation) -> tuple[Float64Array, Float64Array]:
    """The textbook's Kalman update with all axes at once: mean and covariance."""
    jacobian, noise = innovation.jacobian, np.diag([axis.variance_m2 for axis in innovation.axes])
    gain = state.covariance @ jacobian.T @ np.linalg.inv(jacobian @ state.covariance @ jacobian.T + noise)
    return state.mean + gain @ innovation.residuals_m, (np.eye(6) - gain @ jacobian) @ state.covariance


def test_axis_by_axis_a_position_is_fused_as_all_at_once() -> None:
    state = some_state()
    innovation = position_innovation(state, two_axes(), (2.0, -1.0))
    mean, covariance = batch_update(state, innovation)
    updated = update_position(state, innovation, 1.0)
    np.testing.assert_allclose(updated.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(updated.covariance, covariance, rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(updated.covariance, updated.covariance.T)


def test_a_fix_with_little_new_information_weighs_as_one_of_greater_variance() -> None:
    state = some_state()
    vague = tuple(replace(axis, variance_m2=axis.variance_m2 * 4) for axis in two_axes())
    quarter = update_position(state, position_innovation(state, two_axes(), (0.0, 0.0)), 0.25)
    other = update_position(state, position_innovation(state, vague, (0.0, 0.0)), 1.0)
    np.testing.assert_allclose(quarter.mean, other.mean)
    np.testing.assert_allclose(quarter.covariance, other.covariance)


def test_the_correction_of_a_fix_brings_its_residuals_to_zero() -> None:
    state = some_state()
    correction = position_innovation(state, two_axes(), (2.0, -1.0)).correction_m
    moved = replace(state, mean=state.mean + np.concatenate([correction, np.zeros(4)]))
    assert position_innovation(moved, two_axes(), (2.0, -1.0)).residuals_m == pytest.approx([0.0, 0.0], abs=1e-12)


def test_the_squared_distance_is_one_at_one_standard_deviation() -> None:
    state = replace(some_state(), covariance=np.diag([3.0, 3.0, 0.0, 0.0, 0.0, 0.0]))
    axis = AxisMeasurement(np.array([1.0, 0.0]), 12.0, 1.0)  # 2 m east of the state, variance 3 + 1
    assert squared_distance(state, position_innovation(state, (axis,), (0.0, 0.0))) == pytest.approx(1.0)


def test_a_yaw_is_fused_across_the_turn_and_rejected_beyond_five_standard_deviations() -> None:
    state = replace(some_state(), covariance=np.diag([1.0, 1.0, 0.03**2, 0.0, 0.0, 0.0]))
    near = update_yaw(state, 1.0 + 0.1 - math.tau, 0.03**2, 1.0)
    assert near is not None
    assert near.mean[YAW] == pytest.approx(0.3 + 0.05)
    assert near.covariance[YAW, YAW] == pytest.approx(0.03**2 / 2)
    limit = 5.0 * math.sqrt(2) * 0.03
    assert update_yaw(state, 1.0 + 0.99 * limit, 0.03**2, 1.0) is not None
    assert update_yaw(state, 1.0 + 0.99 * limit, 0.03**2, 0.01) is not None
    assert update_yaw(state, 1.0 + 1.01 * limit, 0.03**2, 1.0) is None
    assert update_yaw(state, 1.0 + 1.01 * limit, 0.03**2, 0.01) is None


def test_a_heading_is_shared_between_yaw_and_bias_and_a_yaw_is_not() -> None:
    state = replace(some_state(), covariance=np.diag([1.0, 1.0, 0.02**2, 0.0, 0.0, 0.02**2]))
    heading = update_heading(state, 1.0 + 0.01 + 0.03, 0.001)
    yaw = update_yaw(state, 1.0 + 0.03, 0.001**2, 1.0)
    assert heading is not None
    assert yaw is not None
    assert heading.mean[[YAW, BIAS]] == pytest.approx([0.3 + 0.015, 0.01 + 0.015], abs=1e-4)
    assert yaw.mean[[YAW, BIAS]] == pytest.approx([0.3 + 0.03, 0.01], abs=1e-4)


@pytest.mark.parametrize(("distance_m", "seconds"), [(0.0, 1.0), (8.0, 0.0), (16.0, 2.0)])
def test_the_new_information_grows_with_distance_and_time_from_almost_none_to_all(
    distance_m: float, seconds: float
) -> None:
    share = new_information_share(distance_m, seconds, SETTINGS)
    assert new_information_share(0.0, 0.0, SETTINGS) <= share
    assert share < new_information_share(distance_m + 1.0, seconds, SETTINGS)
    assert share < new_information_share(distance_m, seconds + 1.0, SETTINGS)
    assert new_information_share(1e4, 0.0, SETTINGS) == pytest.approx(1.0)


def test_inflation_raises_the_uncertain_directions_only_as_far_as_asked() -> None:
    state = replace(some_state(), covariance=np.diag([100.0, 1.0, 0.01, 0.0, 0.0, 0.0]))
    inflated = inflate_yaw(inflate_position(state, 5.0), 0.05)
    assert np.diag(inflated.covariance)[:3] == pytest.approx([100.0, 25.0, 0.01])
    assert inflate_yaw(state, 0.2).covariance[YAW, YAW] == pytest.approx(0.04)
    np.testing.assert_array_equal(inflated.mean, state.mean)
    assert state.covariance[1, 1] == 1.0
