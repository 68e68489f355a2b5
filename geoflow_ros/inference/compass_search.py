"""The least value of a function of a few numbers, without derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geoflow_ros.arrays import Float64Array


def compass_search(
    cost: Callable[[Float64Array], float],
    start: Float64Array,
    low: float | Float64Array,
    high: float | Float64Array,
    stride: float = 0.25,
    least_stride: float = 1e-4,
) -> Float64Array:
    """Steps along one axis after the other while that lowers the cost, and halves the stride where none does.

    Compass search (Fermi and Metropolis 1952; Kolda, Lewis and Torczon 2003).

    Args:
        cost: of n numbers.
        start: (n,).
        low: the least value of each.
        high: the largest.
        stride: of the first steps, in the numbers' unit.
        least_stride: it ends below.

    Returns:
        (n,) where the cost is least nearby.
    """
    lowest, highest = np.broadcast_to(low, start.shape), np.broadcast_to(high, start.shape)
    best, answer = cost(start), start
    while stride > least_stride:
        improved = False
        for axis in range(len(answer)):
            for sign in (1.0, -1.0):
                trial = answer.copy()
                trial[axis] = np.clip(trial[axis] + sign * stride, lowest[axis], highest[axis])
                value = cost(trial)
                if value < best:
                    answer, best, improved = trial, value, True
        if not improved:
            stride *= 0.5
    return answer
