"""A bundle on onnxruntime: any execution provider that is installed, the CPU by default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.host_frames import HostFrames
from geoflow_ros.backends.onnxruntime_session import (
    DEFAULT_PROVIDERS,
    installed_providers,
    open_session,
    run_session,
)
from geoflow_ros.backends.protocol import HeadOutput
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.methods import GROUND_ENCODER, HEAD, SATELLITE_ENCODER


class OnnxRuntimeBackend(HostFrames):
    """Runs a bundle's graphs with onnxruntime.

    Args:
        bundle: verified bundle.
        providers: execution providers by preference, such as ["CUDAExecutionProvider", "CPUExecutionProvider"].
        threads: of the encoders; None leaves the choice to onnxruntime (one per physical core).

    Raises:
        InputError: a provider that is not installed or does not start, or a thread count below 1.
        BundleError: a graph that onnxruntime cannot load, or whose tensors differ from the manifest's.
    """

    def __init__(self, bundle: Bundle, providers: Sequence[str] | None = None, threads: int | None = None) -> None:
        wanted = installed_providers(providers)
        self._satellite = open_session(bundle, SATELLITE_ENCODER, wanted, threads)
        self._ground = open_session(bundle, GROUND_ENCODER, wanted, threads)
        self._head = OnnxRuntimeHead(bundle, wanted)
        self._name = f"onnxruntime {ort.__version__} {self._satellite.get_providers()[0]} {self.precision}"

    @property
    def name(self) -> str:
        """Engine, version and the provider that the encoders run on."""
        return self._name

    @property
    def precision(self) -> str:
        """The precision of the encoders: that of the graphs."""
        return "fp32"

    def satellite_tokens(self, satellite: UInt8Array) -> Float32Array:
        """Tokens (B, T, d) of satellite patches (B, P, P, 3)."""
        return run_session(self._satellite, {"satellite": satellite})[0]

    def f_vis(self, ground: UInt8Array, tokens: Float32Array) -> Float32Array:
        """Joint feature (B, d) of camera images (B, H, W, 3) and the tokens (B, T, d) of their patches."""
        return run_session(self._ground, {"ground": ground, "satellite_tokens": tokens})[0]

    def head(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        """Displacements from hypotheses (B, N, 2), in units of the search radius, for features (B, d)."""
        return self._head.run(f_vis, hypotheses, step)


class OnnxRuntimeHead:
    """Runs the head alone: what back ends share that do better only at the encoders.

    Args:
        bundle: verified bundle.
        providers: see `OnnxRuntimeBackend`; installed ones.

    Raises:
        InputError, BundleError: see `OnnxRuntimeBackend`.
    """

    def __init__(self, bundle: Bundle, providers: tuple[str, ...] = DEFAULT_PROVIDERS) -> None:
        # A few small matrix products: handing them to a thread pool costs more than it saves.
        self._session = open_session(bundle, HEAD, providers, 1)
        self._outputs = [tensor.name for tensor in bundle.manifest.tensors[HEAD].outputs]

    def run(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        """See `Backend.head`."""
        feed = {"f_vis": f_vis, "hypotheses": hypotheses, "step": np.asarray(step, np.float32)}
        outputs = dict(zip(self._outputs, run_session(self._session, feed), strict=True))
        return HeadOutput(
            outputs["mu_log_r"],
            outputs["var_log_r"],
            outputs["direction"],
            outputs["kappa"],
            outputs["refined"],
            outputs.get("orientation"),
        )
