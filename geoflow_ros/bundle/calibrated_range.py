"""How far a calibration reaches: up to the standard deviations that it was fitted on, and fading beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from geoflow_ros.arrays import Float64Array

_FADE = math.log(2.0)  # in the logarithm: at twice the largest that was fitted on, what is stated counts as it is


def scales_within(covariance: Float64Array, scales: Sequence[float], largest: Sequence[float | None]) -> Float64Array:
    """Returns (..., n) factors on the standard deviations of (..., n, n) covariances.

    A scale below 1 says that a model is surer than it states. That was seen up to some stated standard deviation alone:
    beyond it the scale fades to 1. What a model states stays in order by it, more never becomes less.

    Args:
        covariance: as stated.
        scales: n, of each axis.
        largest: n standard deviations that the scales were fitted up to; None for one that is not known.
    """
    stated = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    factors = np.broadcast_to(np.asarray(scales, dtype=np.float64), stated.shape).copy()
    for axis, (scale, limit) in enumerate(zip(scales, largest, strict=True)):
        if limit is not None and scale < 1.0:
            beyond = np.log(np.maximum(stated[..., axis], limit) / limit) / _FADE
            factors[..., axis] = scale ** (1.0 - np.minimum(beyond, 1.0))
    return factors
