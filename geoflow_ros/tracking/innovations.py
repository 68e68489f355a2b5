"""Whether fixes are as good as their covariances say: their innovations, over the last metres of driving.

A normalised innovation squared is 1 per axis on average where covariances are honest. Their mean over a window says by
how much too small the covariances are; what chance explains is not counted, so that honest fixes stay as they are.
"""

from __future__ import annotations

import math

from geoflow_ros.tracking.values import TrackerSettings

# What was found is forgotten with distance, to 1/e over this many metres.
_WINDOW_M = 20.0
# So many independent axes count as honest before any fix has come, so that one wild fix is one wild fix.
_HONEST_BEFORE = 4.0
# A single fix says no more than this per axis, whatever its distance: a wild one is wild, how wild does not matter.
_MOST_PER_AXIS = 12.0
# The mean of n squared normal variables stays below 1 + this · sqrt(2 / n), but for a few in a hundred.
_CHANCE_SIGMAS = 2.0


class InnovationTest:
    """The windowed mean of normalised innovations squared; a few numbers, not thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again: the track is another one."""
        self._driven_m: float | None = None
        self._axes = 0.0  # independent ones in the window
        self._squares = 0.0

    @property
    def inflation(self) -> float:
        """By how much the covariances of fixes are too small; 1 where chance explains the innovations."""
        axes = self._axes + _HONEST_BEFORE
        mean = (self._squares + _HONEST_BEFORE) / axes
        return max(mean / (1.0 + _CHANCE_SIGMAS * math.sqrt(2.0 / axes)), 1.0)

    def add(self, driven_m: float, squared_distance: float, axes: int, settings: TrackerSettings) -> None:
        """Take one fix, whether the gate lets it pass or not.

        Args:
            driven_m: distance driven from the start of the track to the fix.
            squared_distance: its normalised innovation squared, over all its axes.
            axes: how many it measured.
            settings: over which distance the errors of fixes are correlated. Fixes closer together count for less: so
                much as they add to the certainty of a variance, nothing at rest.
        """
        share = 1.0
        if self._driven_m is not None:
            step_m = max(driven_m - self._driven_m, 0.0)
            kept = math.exp(-step_m / _WINDOW_M)
            self._axes, self._squares = kept * self._axes, kept * self._squares
            # (1 - φ²) / (1 + φ²) for neighbours whose errors have the correlation φ = exp(-step / length).
            share = math.tanh(step_m / settings.fix_correlation_length_m)
        self._driven_m = driven_m
        self._axes += share * axes
        self._squares += share * min(squared_distance, _MOST_PER_AXIS * axes)
