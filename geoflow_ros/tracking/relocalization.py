"""Rejected fixes and the correction that they have in common: how a track that is wrong is found again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.gaussian import chi_square_quantile
from geoflow_ros.tracking.likelihood import AxisMeasurement
from geoflow_ros.tracking.values import TrackerSettings

# Rejected fixes are kept by distance driven, so many over `relocalize_distance_m`, that a slow vehicle's span it too;
# the rest of those kept is margin.
_REJECTIONS_PER_SPAN = 64
_MAX_KEPT_REJECTIONS = 4 * _REJECTIONS_PER_SPAN


@dataclass(frozen=True)
class RejectedFix:
    """A fix that the gate rejected.

    Attributes:
        driven_m: distance driven from the start of the track to the fix, metres.
        correction_m: (2,) the smallest move of the track (east, north) that satisfies the fix, metres.
        axes: what the fix measured.
    """

    driven_m: float
    correction_m: Float64Array
    axes: tuple[AxisMeasurement, ...]


class RejectionHistory:
    """The fixes that were rejected since the last one that was fused; not thread-safe."""

    def __init__(self) -> None:
        self._kept: deque[RejectedFix] = deque(maxlen=_MAX_KEPT_REJECTIONS)
        self._in_a_row = 0

    @property
    def in_a_row(self) -> int:
        """How many fixes were rejected since the last one that was fused."""
        return self._in_a_row

    def clear(self) -> None:
        """Forget all: a fix was fused, or the track is another one."""
        self._kept.clear()
        self._in_a_row = 0

    def add(self, rejected: RejectedFix, settings: TrackerSettings) -> None:
        """Count one and keep it; it replaces the last one where that is too close to the one before it."""
        self._in_a_row += 1
        spacing_m = settings.relocalize_distance_m / _REJECTIONS_PER_SPAN
        kept = self._kept
        if len(kept) > 1 and kept[-1].driven_m - kept[-2].driven_m < spacing_m:
            kept.pop()
        kept.append(rejected)

    def common_correction(self, settings: TrackerSettings, span_m: float) -> Float64Array | None:
        """Returns the move of the track after which the last rejected fixes would pass the gate.

        Looks back as far as it takes to have enough of them over enough distance, and no further: the odometry drifts.

        Args:
            settings: how many are enough, and the gate.
            span_m: which distance is enough.

        Returns:
            (2,) east and north, metres; None where the rejected fixes are too few, span too little distance or are
            inconsistent with each other.
        """
        kept = list(self._kept)
        if not kept or self._in_a_row < settings.relocalize_after:
            return None
        driven_m = kept[-1].driven_m
        far = [i for i, fix in enumerate(kept) if driven_m - fix.driven_m >= span_m]
        if not far:
            return None
        count = max(settings.relocalize_after, len(kept) - far[-1])
        recent = kept[-count:]
        move: Float64Array = np.mean([fix.correction_m for fix in recent], axis=0)
        return move if all(_passes_after(move, fix, settings.gate_probability) for fix in recent) else None


def _passes_after(move_m: Float64Array, fix: RejectedFix, gate_probability: float) -> bool:
    """Whether a rejected fix would pass the gate of a certain track that was moved by `move_m`."""
    misses_m = [float(axis.direction @ (fix.correction_m - move_m)) for axis in fix.axes]
    distance = sum(miss**2 / axis.variance_m2 for miss, axis in zip(misses_m, fix.axes, strict=True))
    return distance <= chi_square_quantile(gate_probability, len(fix.axes))
