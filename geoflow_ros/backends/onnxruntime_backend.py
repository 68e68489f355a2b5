"""A bundle on onnxruntime: any execution provider that is installed, the CPU by default."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.host_frames import HostFrames
from geoflow_ros.backends.protocol import HeadOutput
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.manifest import (
    GROUND_ENCODER,
    HEAD,
    SATELLITE_ENCODER,
    GraphSpec,
    TensorSpec,
    describe_difference,
)
from geoflow_ros.errors import BackendError, BundleError, InputError

DEFAULT_PROVIDERS = ("CPUExecutionProvider",)


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
        wanted = tuple(providers) if providers else DEFAULT_PROVIDERS
        available = ort.get_available_providers()
        for provider in wanted:
            if provider not in available:
                raise InputError(f"onnxruntime has no provider '{provider}' here: choose from {', '.join(available)}")
        if threads is not None and threads < 1:
            raise InputError(f"threads must be at least 1, got {threads}")
        self._satellite = _open(bundle, SATELLITE_ENCODER, wanted, threads)
        self._ground = _open(bundle, GROUND_ENCODER, wanted, threads)
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
        return _run(self._satellite, {"satellite": satellite})[0]

    def f_vis(self, ground: UInt8Array, tokens: Float32Array) -> Float32Array:
        """Joint feature (B, d) of camera images (B, H, W, 3) and the tokens (B, T, d) of their patches."""
        return _run(self._ground, {"ground": ground, "satellite_tokens": tokens})[0]

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
        self._session = _open(bundle, HEAD, providers, 1)
        self._outputs = [tensor.name for tensor in bundle.manifest.tensors[HEAD].outputs]

    def run(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        """See `Backend.head`."""
        feed = {"f_vis": f_vis, "hypotheses": hypotheses, "step": np.asarray(step, np.float32)}
        outputs = dict(zip(self._outputs, _run(self._session, feed), strict=True))
        return HeadOutput(
            outputs["mu_log_r"],
            outputs["var_log_r"],
            outputs["direction"],
            outputs["kappa"],
            outputs["refined"],
            outputs.get("orientation"),
        )


@functools.cache
def _share_memory() -> bool:
    """Makes this process's memory pool for sessions on the CPU; whether there is one."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    as_requested = ort.OrtArenaCfg(0, 1, -1, -1)  # no limit, growth by what is asked for, onnxruntime's other defaults
    try:
        ort.create_and_register_allocator(memory, as_requested)
    except Exception:  # something else in this process has made one, with what settings is unknown
        return False
    return True


def _open(bundle: Bundle, graph: str, providers: tuple[str, ...], threads: int | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    # A layer takes less time than a thread takes to wake up (6 % of a frame); but between two frames the threads sleep,
    # because then the vehicle's cores belong to other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Sessions take their memory from one pool, as they need it and no more. A session's own pool grows by doubling, and
    # with a plan of all activations at once the two encoders of full-size images hold 155 MB more, for no gain in time.
    options.enable_mem_pattern = False
    if _share_memory():
        options.add_session_config_entry("session.use_env_allocators", "1")
    # Numbers below the normal range cost a hundred times the usual on x86, and mean nothing here.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    path = bundle.graph_path(graph)
    try:
        session = ort.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime raises its own family without a common, public base
        reason = str(error).strip().splitlines()[0]
        raise BundleError(f"{path} cannot be loaded by onnxruntime ({reason}): export the bundle again") from error
    # onnxruntime falls back to the CPU with no more than a log line; a vehicle's latency must not change silently.
    if session.get_providers()[0] != providers[0]:
        raise InputError(f"onnxruntime could not start '{providers[0]}': install its libraries or choose another")
    found = GraphSpec(_specs(session.get_inputs()), _specs(session.get_outputs()))
    difference = describe_difference(bundle.manifest.tensors[graph], found)
    if difference:
        raise BundleError(f"{path} is not the graph that its manifest describes: {difference}; export the bundle again")
    return session


_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def _specs(nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(node.name, _DTYPES.get(node.type, node.type), tuple(node.shape)) for node in nodes)


def _run(session: ort.InferenceSession, feed: dict[str, Any]) -> list[Float32Array]:
    try:
        outputs: list[Float32Array] = session.run(None, feed)
    except Exception as error:  # onnxruntime raises its own family without a common, public base
        raise BackendError(f"onnxruntime failed: {str(error).strip().splitlines()[0]}") from error
    return outputs
