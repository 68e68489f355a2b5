"""Iterative refinement: hypotheses scattered over the search square flow to where the network says the camera is."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.errors import InputError
from geoflow_ros.inference.backend import Backend, Bytes, Floats32, FrameOutput, Tokens, require_counts

INITIAL_SPREAD = float(np.sqrt(2.0 / 3.0))
"""Root mean square distance from their mean of hypotheses uniform in [-1, 1]^2."""


@dataclass(frozen=True)
class IrsSettings:
    """Chosen at run time; more hypotheses and iterations cost only head calls.

    Attributes:
        hypotheses: N, how many are scattered.
        iterations: R, how often each is moved.
        step: fraction of the predicted displacement per iteration, in (0, 1].
    """

    hypotheses: int = 10
    iterations: int = 5
    step: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.hypotheses <= 100_000:
            raise InputError(f"hypotheses must be 1 to 100000, got {self.hypotheses}")
        if not 1 <= self.iterations <= 1_000:
            raise InputError(f"iterations must be 1 to 1000, got {self.iterations}")
        if not 0.0 < self.step <= 1.0:
            raise InputError(f"step must be above 0 and at most 1, got {self.step}")

    @property
    def remaining_fraction(self) -> float:
        """What is left of a hypothesis's distance when every prediction is exact: (1 - step)^R."""
        return (1.0 - self.step) ** self.iterations


def scatter(frames: int, hypotheses: int, seed: int, stamp_ns: int = 0) -> Floats32:
    """Start hypotheses (frames, hypotheses, 2), uniform in [-1, 1]^2.

    They depend on the seed and the stamp alone, so a frame's answer does not depend on which frames came before it.
    """
    generator = np.random.default_rng([seed, stamp_ns])
    return generator.uniform(-1.0, 1.0, size=(frames, hypotheses, 2)).astype(np.float32)


def refine(backend: Backend, f_vis: Floats32, hypotheses: Floats32, step: float, iterations: int) -> Floats32:
    """Moves all hypotheses of all frames, in one batch per iteration.

    Args:
        backend: runs the head.
        f_vis: (B, d).
        hypotheses: (B, N, 2) in units of the search radius.
        step: fraction of the predicted displacement per iteration.
        iterations: R.

    Returns:
        The path (R + 1, B, N, 2) in units of the search radius; path[0] is the start, path[-1] the end.
    """
    path = np.empty((iterations + 1, *hypotheses.shape), dtype=np.float32)
    path[0] = hypotheses
    for iteration in range(iterations):
        path[iteration + 1] = backend.head(f_vis, path[iteration], step).refined
    return path


class HostFrames:
    """`Backend.frame` for back ends whose parts answer on the host: to be inherited from."""

    @property
    def most_hypotheses(self) -> int | None:
        """N is not limited."""
        return None

    def frame(
        self: Backend,
        ground: Bytes,
        tokens: Tokens,
        hypotheses: Floats32,
        probes: Floats32,
        step: float,
        iterations: int,
    ) -> FrameOutput:
        """See `Backend.frame`."""
        require_counts(hypotheses, iterations)
        begin = perf_counter()
        f_vis = self.f_vis(ground, tokens)
        encoded = perf_counter()
        path = refine(self, f_vis, hypotheses, step, iterations)
        refined = perf_counter()
        probed = self.head(f_vis, np.repeat(probes[None], len(f_vis), axis=0), step)
        done = perf_counter()
        return FrameOutput(
            path=path,
            probed=probed,
            ground_ms=1e3 * (encoded - begin),
            refine_ms=1e3 * (refined - encoded),
            probe_ms=1e3 * (done - refined),
        )


def agree(hypotheses: Floats32) -> NDArray[np.float64]:
    """The answer (..., 2) of refined hypotheses (..., N, 2): their mean."""
    return hypotheses.mean(axis=-2, dtype=np.float64)


def spread(hypotheses: Floats32) -> NDArray[np.float64]:
    """Root mean square distance (...,) of hypotheses (..., N, 2) from their mean.

    It measures whether they have met, not how near they are to the truth: all of them share one f_vis.
    """
    deviation = hypotheses - agree(hypotheses)[..., None, :]
    return np.sqrt(np.mean(np.sum(np.square(deviation), axis=-1), axis=-1))
