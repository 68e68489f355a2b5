"""What runs the graphs of a bundle: one protocol a method, so that accelerators can take onnxruntime's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.errors import InputError

Tokens = Any
"""Satellite tokens in a back end's own form: an array, or memory on its device."""


@dataclass(frozen=True)
class HeadOutput:
    """The head's answer for B frames and N hypotheses each; lengths are in units of the search radius.

    Attributes:
        mu_log_r, var_log_r: (B, N) mean and variance of the logarithm of the distance to the true position.
        direction: (B, N, 2) unit vectors towards it, (forward, right).
        kappa: (B, N) AngMF rate of the direction.
        refined: (B, N, 2) hypotheses moved by step * exp(mu) along the direction.
        orientation: (B, N, 2) cosine and sine of the heading error, or None where the model has no such head.
    """

    mu_log_r: Float32Array
    var_log_r: Float32Array
    direction: Float32Array
    kappa: Float32Array
    refined: Float32Array
    orientation: Float32Array | None


@dataclass(frozen=True)
class FrameOutput:
    """What the network says about B camera images on their patches.

    Attributes:
        path: (R + 1, B, N, 2) hypotheses in search radii; path[0] is the start, path[-1] the end.
        probed: the head's answers (B, K) at the probes.
        ground_ms: time to encode the images.
        refine_ms: of all R refinements.
        probe_ms: of the head at the probes.
    """

    path: Float32Array
    probed: HeadOutput
    ground_ms: float
    refine_ms: float
    probe_ms: float


class Backend(Protocol):
    """Runs the graphs of one GeoFlow bundle. Images are RGB uint8 of the manifest's sizes; the caller has checked them.

    B is the number of cameras, 1 to 4. Whether what comes out is finite is the caller's to check.

    Raises, in every method:
        BackendError: the device failed, such as by running out of memory; the next call may succeed.
    """

    @property
    def name(self) -> str:
        """Engine, version, where it runs and in which precision, for diagnostics."""
        ...

    @property
    def precision(self) -> str:
        """The precision of the encoders: "fp32", "bf16" or "fp16"."""
        ...

    @property
    def max_hypotheses(self) -> int | None:
        """The largest N that :meth:`frame` takes; None where memory alone limits it."""
        ...

    def satellite_tokens(self, satellite: UInt8Array) -> Tokens:
        """Tokens of satellite patches (B, P, P, 3); another thread may be in :meth:`frame` meanwhile."""
        ...

    def frame(
        self,
        ground: UInt8Array,
        tokens: Tokens,
        hypotheses: Float32Array,
        probes: Float32Array,
        step: float,
        iterations: int,
    ) -> FrameOutput:
        """One camera frame: encode once, refine R times, ask the head at the probes.

        Args:
            ground: (B, H, W, 3) camera images.
            tokens: of their patches.
            hypotheses: (B, N, 2) in search radii.
            probes: (K, 2) in search radii, the same for all B.
            step: fraction of the predicted displacement per refinement.
            iterations: R.
        """
        ...

    def f_vis(self, ground: UInt8Array, tokens: Tokens) -> Float32Array:
        """Joint feature (B, d) of camera images (B, H, W, 3) and the tokens of their patches."""
        ...

    def head(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        """Displacements from hypotheses (B, N, 2), in units of the search radius, for features (B, d)."""
        ...


class GraphRunner(Protocol):
    """Runs the graphs of one bundle, each by its name, with inputs and outputs on the host.

    Different graphs may be run by different threads at the same time, such as the next patch's encoder beside a frame.
    """

    @property
    def name(self) -> str:
        """Engine, version, where it runs and in which precision, for diagnostics."""
        ...

    @property
    def precision(self) -> str:
        """The precision of the encoders: "fp32", "bf16" or "fp16"."""
        ...

    def run(self, graph: str, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs a graph.

        Args:
            graph: its name in `manifest.graphs`.
            feed: every input by its name, of the type and shape that the manifest states.

        Returns:
            Every output by its name, in memory that no later run changes. Whether it is finite is the caller's to
            check.

        Raises:
            BackendError: the device failed, or inputs of another shape; the next run may succeed.
        """
        ...


def require_counts(hypotheses: Float32Array, iterations: int, largest: int | None = None) -> None:
    """Refuses counts that no back end can run; `largest` is the most hypotheses that this one can.

    Raises:
        InputError: N or R is below 1, or N above `largest`.
    """
    count = hypotheses.shape[-2]
    if count < 1 or iterations < 1:
        raise InputError(f"hypotheses and iterations must be at least 1, got {count} and {iterations}")
    if largest is not None and count > largest:
        raise InputError(f"hypotheses must be at most {largest} with this back end, got {count}")
