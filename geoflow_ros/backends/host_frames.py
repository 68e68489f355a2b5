"""One camera frame through a back end whose parts answer on the host: encode once, refine R times, probe the head."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.protocol import Backend, FrameOutput, Tokens, require_counts


def refine(
    backend: Backend, f_vis: Float32Array, hypotheses: Float32Array, step: float, iterations: int
) -> Float32Array:
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
    def max_hypotheses(self) -> int | None:
        """N is not limited."""
        return None

    def frame(
        self: Backend,
        ground: UInt8Array,
        tokens: Tokens,
        hypotheses: Float32Array,
        probes: Float32Array,
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
