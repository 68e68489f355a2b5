"""Sessions of onnxruntime on the graphs of a bundle, and runs of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime as ort

from geoflow_ros.arrays import Float32Array
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.tensors import GraphSpec, TensorSpec, describe_difference
from geoflow_ros.errors import BackendError, BundleError, InputError

DEFAULT_PROVIDERS = ("CPUExecutionProvider",)


def installed_providers(wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The execution providers to use: those that are wanted, else the CPU's.

    Raises:
        InputError: one that is not installed.
    """
    providers = tuple(wanted) if wanted else DEFAULT_PROVIDERS
    available = ort.get_available_providers()
    for provider in providers:
        if provider not in available:
            raise InputError(f"onnxruntime has no provider '{provider}' here: choose from {', '.join(available)}")
    return providers


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


def open_session(
    bundle: Bundle, graph: str, providers: tuple[str, ...] = DEFAULT_PROVIDERS, threads: int | None = None
) -> ort.InferenceSession:
    """Opens one graph of a bundle.

    Args:
        bundle: verified bundle.
        graph: its name in `manifest.graphs`.
        providers: execution providers by preference; installed ones.
        threads: None leaves the choice to onnxruntime (one per physical core).

    Raises:
        InputError: a thread count below 1, or the first provider does not start.
        BundleError: onnxruntime cannot load the graph, or its tensors differ from the manifest's.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
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


_DTYPES = {"tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(float)": "float32"}


def _specs(nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(node.name, _DTYPES.get(node.type, node.type), tuple(node.shape)) for node in nodes)


def run_session(session: ort.InferenceSession, feed: Mapping[str, Any]) -> list[Float32Array]:
    """The outputs of a graph, in its order.

    Raises:
        BackendError: onnxruntime failed.
    """
    try:
        outputs: list[Float32Array] = session.run(None, dict(feed))
    except Exception as error:  # onnxruntime raises its own family without a common, public base
        raise BackendError(f"onnxruntime failed: {str(error).strip().splitlines()[0]}") from error
    return outputs
