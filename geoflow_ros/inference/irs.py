"""Iterative refinement (IRS): hypotheses sampled over the search square flow to where the network sees the camera."""

from __future__ import annotations

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array

INITIAL_SPREAD = float(np.sqrt(2.0 / 3.0))
"""Root mean square distance from their mean of hypotheses uniform in [-1, 1]^2."""


def sample_hypotheses(frames: int, hypotheses: int, seed: int, stamp_ns: int = 0) -> Float32Array:
    """Start hypotheses (frames, hypotheses, 2), uniform in [-1, 1]^2.

    They depend on the seed and the stamp alone, so a frame's answer does not depend on which frames came before it.
    """
    generator = np.random.default_rng([seed, stamp_ns])
    return generator.uniform(-1.0, 1.0, size=(frames, hypotheses, 2)).astype(np.float32)


def mean_estimate(hypotheses: Float32Array) -> Float64Array:
    """The answer (..., 2) of refined hypotheses (..., N, 2): their mean."""
    return np.asarray(hypotheses.mean(axis=-2, dtype=np.float64))


def spread(hypotheses: Float32Array) -> Float64Array:
    """Root mean square distance (...,) of hypotheses (..., N, 2) from their mean.

    It measures whether they have met, not how near they are to the truth: all of them share one f_vis.
    """
    deviation = hypotheses - mean_estimate(hypotheses)[..., None, :]
    return np.asarray(np.sqrt(np.mean(np.sum(np.square(deviation), axis=-1), axis=-1)))
