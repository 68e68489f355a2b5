"""The extended Kalman filter of the map→odom estimate: a state and pure functions of it.

State, at the stamp of an odometry pose:

    east, north     position of base_link in the map, metres
    yaw_offset      yaw in the map minus yaw in the odometry frame, radians
    yaw_drift       how fast that offset changes (the gyro's bias), rad/s
    scale           metres driven per metre of odometry
    heading_bias    what the absolute heading (imu) reads too much, radians

Measurements are fused one scalar after the other, in Joseph's form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.axes import rotation_matrix
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking.likelihood import AxisMeasurement
from geoflow_ros.tracking.odometry import OdometryPose
from geoflow_ros.tracking.values import StartPose, TrackedPose, TrackerSettings

EAST, NORTH, YAW, DRIFT, SCALE, BIAS = range(6)
_STATES = 6
# A yaw this many standard deviations off is a disturbance (a magnetometer beside a tram), not a measurement.
_YAW_GATE_SIGMAS = 5.0
# A vehicle that moves and turns no faster than this stands: what its odometry turns is the gyro's drift. No car turns
# faster at such a speed, and a robot that turns on the spot does.
_STANDING_MPS = 0.02
_STANDING_RADPS = math.radians(0.5)
# Two fixes that share the whole scene: the second adds at least this share of its information, so that a vehicle at
# rest converges.
_MIN_NEW_INFORMATION = 1e-3


@dataclass(frozen=True)
class FilterState:
    """Mean and covariance of the filter at the stamp of an odometry pose.

    Attributes:
        odometry: the odometry that the state belongs to.
        mean: (6,) east, north, yaw offset, yaw drift, scale, heading bias.
        covariance: (6, 6) of the mean.
        driven_m: distance driven since the start, metres.
    """

    odometry: OdometryPose
    mean: Float64Array
    covariance: Float64Array
    driven_m: float

    @property
    def pose(self) -> TrackedPose:
        """The pose of base_link in the map."""
        return TrackedPose(
            stamp_ns=self.odometry.stamp_ns,
            east_m=float(self.mean[EAST]),
            north_m=float(self.mean[NORTH]),
            yaw_rad=math.remainder(float(self.mean[YAW]) + self.odometry.yaw_rad, math.tau),
            covariance=self.covariance[:3, :3].copy(),
            odometry=self.odometry,
            driven_m=self.driven_m,
        )


@dataclass(frozen=True)
class PositionInnovation:
    """What a fix of the camera says beyond the state, along the axes that it measured.

    Attributes:
        axes: the k axes, orthogonal to each other.
        residuals_m: (k,) measured minus expected position of the camera along each axis, metres.
        jacobian: (k, 6) derivative of the expected position by the state.
    """

    axes: tuple[AxisMeasurement, ...]
    residuals_m: Float64Array
    jacobian: Float64Array

    @property
    def correction_m(self) -> Float64Array:
        """(2,) smallest move of the position that satisfies the fix, metres: the axes are orthonormal rows."""
        correction: Float64Array = self.jacobian[:, :2].T @ self.residuals_m
        return correction


def initial_state(start: StartPose, odometry: OdometryPose, settings: TrackerSettings) -> FilterState:
    """Returns the state of a track that begins at a start pose, where the odometry stands at `odometry`."""
    mean = np.zeros(_STATES)
    mean[:3] = start.east_m, start.north_m, start.yaw_rad - odometry.yaw_rad
    mean[SCALE] = 1.0
    covariance = np.zeros((_STATES, _STATES))
    covariance[:3, :3] = start.covariance
    covariance[DRIFT, DRIFT] = settings.yaw_drift_std_radps**2
    covariance[SCALE, SCALE] = settings.scale_std**2
    covariance[BIAS, BIAS] = settings.heading_bias_std_rad**2
    return FilterState(odometry, mean, covariance, 0.0)


def predict(state: FilterState, target: OdometryPose, settings: TrackerSettings) -> FilterState:
    """Carries the state to a later odometry pose in one step: the increment, turned by the yaw offset and scaled.

    Within the step, yaw is taken at its middle; keep steps short. A target that is not later changes nothing. While the
    vehicle stands its yaw stays, whatever the odometry's does, and grows no less certain.
    """
    seconds = (target.stamp_ns - state.odometry.stamp_ns) / NANOSECONDS_PER_SECOND
    if seconds <= 0.0:
        return state
    turned = target.yaw_rad - state.odometry.yaw_rad
    increment = np.array([target.x_m - state.odometry.x_m, target.y_m - state.odometry.y_m])
    stands = math.hypot(*increment) <= _STANDING_MPS * seconds and abs(turned) <= _STANDING_RADPS * seconds
    drift = -turned / seconds if stands else state.mean[DRIFT]
    turning_s = 0.0 if stands else seconds
    unscaled = rotation_matrix(state.mean[YAW] + drift * seconds / 2.0) @ increment
    moved = state.mean[SCALE] * unscaled
    driven = float(np.hypot(*moved))

    mean = state.mean.copy()
    mean[:2] += moved
    mean[YAW] += drift * seconds

    transition = np.eye(_STATES)
    transition[:2, YAW] = _quarter_turned(moved)
    transition[:2, DRIFT] = _quarter_turned(moved) * turning_s / 2.0
    transition[:2, SCALE] = unscaled
    transition[YAW, DRIFT] = turning_s

    noise = np.zeros(_STATES)
    noise[EAST] = noise[NORTH] = settings.position_noise_m_per_sqrt_m**2 * driven
    noise[YAW] = settings.yaw_noise_rad_per_sqrt_s**2 * turning_s
    noise[DRIFT] = settings.yaw_drift_walk_radps_per_sqrt_s**2 * seconds
    noise[SCALE] = settings.scale_walk_per_sqrt_m**2 * driven
    noise[BIAS] = settings.heading_bias_walk_rad_per_sqrt_s**2 * seconds
    covariance = transition @ state.covariance @ transition.T + np.diag(noise)
    return FilterState(target, mean, (covariance + covariance.T) / 2.0, state.driven_m + driven)


def position_innovation(
    state: FilterState, axes: tuple[AxisMeasurement, ...], lever_arm_m: tuple[float, float]
) -> PositionInnovation:
    """Compares a camera position, measured along some axes, with the state.

    Args:
        state: the state at the stamp of the image.
        axes: what was measured.
        lever_arm_m: (forward, left) of the camera from base_link, metres.
    """
    lever = rotation_matrix(state.mean[YAW] + state.odometry.yaw_rad) @ np.array(lever_arm_m)
    camera = state.mean[:2] + lever
    jacobian = np.zeros((len(axes), _STATES))
    residuals = np.zeros(len(axes))
    for row, axis in enumerate(axes):
        residuals[row] = axis.position_m - axis.direction @ camera
        jacobian[row, :2] = axis.direction
        jacobian[row, YAW] = axis.direction @ _quarter_turned(lever)
    return PositionInnovation(axes, residuals, jacobian)


def squared_distance(state: FilterState, innovation: PositionInnovation) -> float:
    """Returns the normalised innovation squared (squared Mahalanobis distance), 1."""
    variances = np.diag([axis.variance_m2 for axis in innovation.axes])
    covariance = innovation.jacobian @ state.covariance @ innovation.jacobian.T + variances
    return float(innovation.residuals_m @ np.linalg.solve(covariance, innovation.residuals_m))


def update_position(state: FilterState, innovation: PositionInnovation, new_information: float) -> FilterState:
    """Fuses a camera position, one axis after the other, since their errors are independent.

    Args:
        state: the state that the innovation was computed with; its covariance may have been inflated since.
        innovation: what the fix says beyond that state.
        new_information: share of the information that the fix claims which is new and true, in (0, 1].
    """
    before = state.mean
    for axis, residual, jacobian in zip(innovation.axes, innovation.residuals_m, innovation.jacobian, strict=True):
        remaining = float(residual - jacobian @ (state.mean - before))
        state = _scalar_update(state, jacobian, remaining, axis.variance_m2 / new_information)
    return state


def update_heading(state: FilterState, yaw_rad: float, std_rad: float) -> FilterState | None:
    """Fuses an absolute heading, a yaw of base_link in the map with a bias; None where the gate rejects it."""
    expected = state.mean[YAW] + state.odometry.yaw_rad + state.mean[BIAS]
    residual = math.remainder(yaw_rad - expected, math.tau)
    jacobian = np.zeros(_STATES)
    jacobian[YAW] = jacobian[BIAS] = 1.0
    variance = std_rad**2
    if not _passes_yaw_gate(state, jacobian, residual, variance):
        return None
    return _scalar_update(state, jacobian, residual, variance)


def update_yaw(state: FilterState, yaw_rad: float, variance_rad2: float, new_information: float) -> FilterState | None:
    """Fuses the yaw of base_link in the map that a fix measured; None where the gate rejects it.

    Its errors are taken as independent of the fix's position: the covariance between the two is not used.

    Args:
        state: the state after the fix's position.
        yaw_rad: the yaw that was measured.
        variance_rad2: its variance.
        new_information: share of the fix's information that is new, in (0, 1]; the gate does not depend on it.
    """
    residual = math.remainder(yaw_rad - (state.mean[YAW] + state.odometry.yaw_rad), math.tau)
    jacobian = np.zeros(_STATES)
    jacobian[YAW] = 1.0
    if not _passes_yaw_gate(state, jacobian, residual, variance_rad2):
        return None
    return _scalar_update(state, jacobian, residual, variance_rad2 / new_information)


def new_information_share(distance_m: float, seconds: float, settings: TrackerSettings) -> float:
    """Returns the share of a fix's information that its predecessor did not already give, in (0, 1].

    Errors of successive fixes are taken as a first-order Gauss-Markov sequence with correlation φ between neighbours.
    The best estimate of a constant from such a sequence gives its first member full weight and each later one
    (1 - φ) / (1 + φ).

    Args:
        distance_m: distance driven since the predecessor, metres.
        seconds: time since the predecessor.
        settings: correlation length and time.
    """
    exponent = distance_m / settings.fix_correlation_length_m
    exponent += seconds / settings.fix_correlation_time_s
    correlation = math.exp(-exponent)
    return max((1.0 - correlation) / (1.0 + correlation), _MIN_NEW_INFORMATION)


def inflate_position(state: FilterState, position_std_m: float) -> FilterState:
    """Raises the position's standard deviation to at least `position_std_m` in every direction; the mean stays."""
    variances, directions = np.linalg.eigh(state.covariance[:2, :2])
    covariance = state.covariance.copy()
    covariance[:2, :2] += (directions * np.maximum(position_std_m**2 - variances, 0.0)) @ directions.T
    return replace(state, covariance=covariance)


def inflate_yaw(state: FilterState, yaw_std_rad: float) -> FilterState:
    """Raises the standard deviation of the yaw offset to at least `yaw_std_rad`; the mean stays."""
    covariance = state.covariance.copy()
    covariance[YAW, YAW] = max(covariance[YAW, YAW], yaw_std_rad**2)
    return replace(state, covariance=covariance)


def _quarter_turned(vector: Float64Array) -> Float64Array:
    """The derivative d/dα of a vector that turns with α."""
    return np.array([-vector[1], vector[0]])


def _passes_yaw_gate(state: FilterState, jacobian: Float64Array, residual_rad: float, variance_rad2: float) -> bool:
    variance = float(jacobian @ state.covariance @ jacobian) + variance_rad2
    return residual_rad**2 <= _YAW_GATE_SIGMAS**2 * variance


def _scalar_update(state: FilterState, jacobian: Float64Array, residual: float, variance: float) -> FilterState:
    """Kalman update with one scalar, in Joseph's form, which keeps the covariance symmetric and positive."""
    innovation_variance = float(jacobian @ state.covariance @ jacobian) + variance
    gain = state.covariance @ jacobian / innovation_variance
    keep = np.eye(_STATES) - np.outer(gain, jacobian)
    covariance = keep @ state.covariance @ keep.T + variance * np.outer(gain, gain)
    return FilterState(state.odometry, state.mean + gain * residual, (covariance + covariance.T) / 2.0, state.driven_m)
