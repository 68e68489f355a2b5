"""Whether fixes follow the motion: their differences against those of the odometry and of the search area.

A fix that comes from the picture moves with the wheels. One that does not stays where it was looked for, and jumps when
the search area does. Between two fixes the odometry and the centre of the search area move by different amounts; which
of the two the fixes moved by is a likelihood ratio, summed from pair to pair (a sequential test, Wald 1945, with Page's
bound, so that it neither remembers a good hour when the pictures fail nor the failure when they are back).
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
# At least this share of a fix's variance is its own, however near its neighbour is.
_LEAST_INDEPENDENT = 0.1
# An axis of one fix counts where the other measured it too, up to this squared sine of the angle between them.
_MOST_UNMEASURED = 0.1
# Bounds of the sum: how long it remembers.
_LEAST, _MOST = -6.0, 4.0
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
    """The sequential test of what fixes follow; keeps one fix and one number. Not thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again: the track is another one."""
        self._last: _Place | None = None
        self._log_ratio = _LEAST / 2.0

    def doubt(self) -> None:
        """Begin again without a bias: the fixes failed, and may be right from now on."""
        self.clear()
        self._log_ratio = 0.0

    @property
    def inflation(self) -> float:
        """How much more probable it is that fixes follow the search area than the wheels; at least 1."""
        return math.exp(max(self._log_ratio, 0.0))

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
            log_ratio = self._log_ratio + _log_ratio(self._last, place, inflation, settings)
            self._log_ratio = min(max(log_ratio, _LEAST), _MOST)
        self._last = place


def _log_ratio(last: _Place, now: _Place, inflation: float, settings: TrackerSettings) -> float:
    """Logarithm of p(fixes | they follow the search area) / p(fixes | they follow the wheels), for one pair."""
    step_m = now.state.driven_m - last.state.driven_m
    correlation = min(math.exp(-step_m / settings.fix_correlation_length_m), 1.0 - _LEAST_INDEPENDENT)
    driven = _driven(last.state, now.state)
    by_wheels = now.position_m - last.position_m - driven
    lead = driven - (now.centre_m - last.centre_m)  # of the wheels before the search area
    covariance = now.state.covariance
    odometry_m2 = float(driven @ driven) * (covariance[YAW, YAW] + covariance[SCALE, SCALE])
    odometry_m2 += settings.position_noise_m_per_sqrt_m**2 * step_m
    total = 0.0
    for axis in now.axes:
        cosines = [float(axis.direction @ other.direction) for other in last.axes]
        if 1.0 - sum(cosine**2 for cosine in cosines) > _MOST_UNMEASURED:
            continue
        before_m2 = sum(cosine**2 * other.variance_m2 for cosine, other in zip(cosines, last.axes, strict=True))
        fixes_m2 = axis.variance_m2 + before_m2 - 2.0 * correlation * math.sqrt(axis.variance_m2 * before_m2)
        variance_m2 = inflation * fixes_m2 + odometry_m2
        unexplained = [float(axis.direction @ misses) for misses in (by_wheels, by_wheels + lead)]
        wheels, area = (min(miss**2 / variance_m2, _OUTLIER_SIGMAS**2) for miss in unexplained)
        total += (wheels - area) / 2.0
    return total


def _driven(last: FilterState, now: FilterState) -> Float64Array:
    """(2,) the way between two states by odometry, as the map has it, metres."""
    way = np.array([now.odometry.x_m - last.odometry.x_m, now.odometry.y_m - last.odometry.y_m])
    driven: Float64Array = now.mean[SCALE] * (rotation_matrix(float(now.mean[YAW])) @ way)
    return driven
