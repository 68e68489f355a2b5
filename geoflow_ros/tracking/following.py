"""Whether fixes follow the motion: their differences against those of the odometry and of the search area.

A fix that comes from the picture moves with the wheels, and its error is much like that of its neighbour, which saw
the same street. One that does not either stays where it was looked for and jumps when the search area does, or lies
anywhere about there, each on its own. Between two fixes the odometry and the centre of the search area move by
different amounts: how probable the difference of the fixes is under each assumption is a likelihood ratio, summed from
pair to pair (a sequential test, Wald 1945, with Page's bound, so that it neither remembers a good hour when the
pictures fail nor the failure when they are back).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.axes import rotation_matrix
from geoflow_ros.tracking.filter import SCALE, YAW, FilterState, PositionInnovation
from geoflow_ros.tracking.likelihood import AxisMeasurement
from geoflow_ros.tracking.values import TrackerSettings

# Fixes are compared over this distance at least: over less, hardly anything moves.
_LEAST_STEP_M = 1.5
# Fixes that are further apart than this are not compared: the odometry has errors of its own.
_FARTHEST_M = 20.0
# At least this share of a fix's variance is its own, however near its neighbour is: 0.15 to 0.2 was measured.
_LEAST_INDEPENDENT = 0.3
# An axis of one fix counts where the other measured it too, up to this squared sine of the angle between them.
_MOST_UNMEASURED = 0.1
# Bounds of the sums: how long they remember.
_LEAST, _MOST = -4.0, 4.0
# A fix that is off by more standard deviations than this is an outlier, under either assumption.
_OUTLIER_SIGMAS = 3.0


@dataclass(frozen=True)
class _Place:
    """A fix: where it puts base_link, what it measured, where it was looked for, and the state that it came to."""

    position_m: Float64Array
    axes: tuple[AxisMeasurement, ...]
    centre_m: Float64Array
    state: FilterState


class FollowingTest:
    """The sequential test of what fixes follow; keeps one fix and two numbers. Not thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again: the track is another one."""
        self._last: _Place | None = None
        self._log_ratios = np.full(2, _LEAST / 2.0)  # of what is not the wheels: see `_log_ratios`

    def doubt(self) -> None:
        """Begin again without a bias: the fixes failed, and may be right from now on."""
        self.clear()
        self._log_ratios = np.zeros(2)

    @property
    def inflation(self) -> float:
        """How much more probable it is that fixes do not follow the wheels than that they do; at least 1."""
        return math.exp(max(float(self._log_ratios.max()), 0.0))

    def add(
        self,
        state: FilterState,
        innovation: PositionInnovation,
        centre_m: Float64Array,
        inflation: float,
        settings: TrackerSettings,
    ) -> None:
        """Compare one fix with the last one that was compared, once the vehicle has moved on.

        Args:
            state: the state at the fix's stamp, before it is fused.
            innovation: what the fix says beyond it.
            centre_m: (2,) centre of the search area (east, north).
            inflation: of the fixes' covariances.
            settings: over which distance errors are correlated, and the odometry's noise.
        """
        place = _Place(state.mean[:2] + innovation.correction_m, innovation.axes, centre_m, state)
        step_m = math.inf if self._last is None else state.driven_m - self._last.state.driven_m
        if step_m < _LEAST_STEP_M:
            return
        if self._last is not None and step_m <= _FARTHEST_M:
            said = _log_ratios(self._last, place, inflation, settings)
            self._log_ratios = np.clip(self._log_ratios + said, _LEAST, _MOST)
        self._last = place


def _log_ratios(last: _Place, now: _Place, inflation: float, settings: TrackerSettings) -> Float64Array:
    """How much more probable one pair of fixes is if it does not follow the wheels, (2,) logarithms.

    The first: the fixes stay where they are looked for, with errors as alike as those of good ones. The second: each
    lies on its own about where it is looked for.
    """
    step_m = now.state.driven_m - last.state.driven_m
    correlation = min(math.exp(-step_m / settings.fix_correlation_length_m), 1.0 - _LEAST_INDEPENDENT)
    moved = now.position_m - last.position_m
    by_wheels = moved - _driven(last.state, now.state)
    by_area = moved - (now.centre_m - last.centre_m)
    odometry_m2 = _odometry_variance(last.state, now.state, settings)
    total = np.zeros(2)
    for axis in now.axes:
        cosines = [float(axis.direction @ other.direction) for other in last.axes]
        if 1.0 - sum(cosine**2 for cosine in cosines) > _MOST_UNMEASURED:
            continue
        now_m2 = axis.variance_m2
        last_m2 = sum(cosine**2 * other.variance_m2 for cosine, other in zip(cosines, last.axes, strict=True))
        apart_m2 = inflation * (now_m2 + last_m2) + odometry_m2
        alike_m2 = apart_m2 - inflation * 2.0 * correlation * math.sqrt(now_m2 * last_m2)
        wheels = _log_density(float(axis.direction @ by_wheels), alike_m2)
        miss_m = float(axis.direction @ by_area)
        total += np.array([_log_density(miss_m, alike_m2), _log_density(miss_m, apart_m2)]) - wheels
    return total


def _log_density(miss_m: float, variance_m2: float) -> float:
    """Logarithm of a normal density, but for a constant; an outlier is not less probable than at its limit."""
    return -(min(miss_m**2 / variance_m2, _OUTLIER_SIGMAS**2) + math.log(variance_m2)) / 2.0


def _odometry_variance(last: FilterState, now: FilterState, settings: TrackerSettings) -> float:
    """Variance of the way between two states by odometry, along any direction, m²."""
    way = _driven(last, now)
    shares = now.covariance[YAW, YAW] + now.covariance[SCALE, SCALE]
    noise = settings.position_noise_m_per_sqrt_m**2 * (now.driven_m - last.driven_m)
    return float(way @ way * shares + noise)


def _driven(last: FilterState, now: FilterState) -> Float64Array:
    """(2,) the way between two states by odometry, as the map has it, metres."""
    way = np.array([now.odometry.x_m - last.odometry.x_m, now.odometry.y_m - last.odometry.y_m])
    driven: Float64Array = now.mean[SCALE] * (rotation_matrix(float(now.mean[YAW])) @ way)
    return driven
