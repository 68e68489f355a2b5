"""OpenVINO on this machine's CPU: its core, its settings, and graphs of bundles read for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from geoflow_ros.backends.cpu import has_bfloat16 as cpu_has_bfloat16
from geoflow_ros.bundle.bundle import Bundle, sha256_of
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT32
from geoflow_ros.bundle.tensors import GraphSpec, TensorSpec, describe_difference
from geoflow_ros.errors import BundleError, InputError

_DEVICE = "CPU"
_PRECISION_HINTS = {FLOAT32: "f32", BFLOAT16: "bf16"}
_DTYPES = {"u8": "uint8", "f32": "float32", "i64": "int64"}

_log = logging.getLogger("geoflow_ros")

_core: Any = None
_core_lock = threading.Lock()


def openvino_core() -> Any:
    """The process's only `openvino.Core`, which stays for as long as the process does.

    A Core's CPU plugin gives the thread that makes it a stack for signal handlers, and unmaps that stack when it goes
    (SigAltStackSetup in OpenVINO's intel_cpu). Of two Cores the one that goes last puts the stack of the first back,
    which is unmapped by then; of one that goes in another thread, nothing is put back at all. The next signal with a
    handler of Python's, such as Ctrl-C, would then kill the process.

    Raises:
        InputError: OpenVINO is not installed.
    """
    global _core
    openvino = _import_openvino()
    with _core_lock:
        if _core is None:
            _core = openvino.Core()
    return _core


def openvino_name(precision: str) -> str:
    """Engine, version, device and precision."""
    return f"openvino {_import_openvino().__version__.split('-')[0]} {_DEVICE} {precision}"


def has_bfloat16() -> bool:
    """Returns whether OpenVINO can use bfloat16 instructions of this CPU.

    Raises:
        InputError: OpenVINO is not installed.
    """
    return cpu_has_bfloat16() and "BF16" in openvino_core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


def _require_precision(precision: str) -> None:
    if precision not in _PRECISION_HINTS:
        raise InputError(f"OpenVINO runs in {' or '.join(_PRECISION_HINTS)}, not in '{precision}'")
    if precision == BFLOAT16 and not has_bfloat16():
        raise InputError("this CPU has no bfloat16 instructions (AVX-512 BF16, AMX): choose the precision fp32")


def openvino_configuration(precision: str, threads: int | None, cache_dir: Path | None) -> dict[str, Any]:
    """Returns the settings with which graphs are compiled.

    Args:
        precision: "fp32" or "bf16".
        threads: of each graph; None leaves the choice to OpenVINO (one per physical core).
        cache_dir: folder for compiled graphs; one that cannot be written is noted in the log and done without.

    Raises:
        InputError: OpenVINO is not installed, a precision that it cannot have here, or a thread count below 1.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    _require_precision(precision)
    folder = _usable(cache_dir)
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
        # Both encoders, and on a vehicle much else, share the cores: a thread bound to a busy one would wait for it.
        "ENABLE_CPU_PINNING": False,
        # Numbers below the normal range cost a hundred times the usual on x86, and mean nothing here.
        "CPU_DENORMALS_OPTIMIZATION": True,
    }
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    if folder is not None:
        config["CACHE_DIR"] = str(folder)
    return config


def _usable(cache_dir: Path | None) -> Path | None:
    """The folder, made where it is missing, or None where it cannot be written."""
    if cache_dir is None:
        return None
    probe = cache_dir / f".{threading.get_native_id()}"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        _log.warning("compiled models are not kept: %s cannot be written (%s)", cache_dir, error.strerror)
        return None
    return cache_dir


def infer_request(
    bundle: Bundle, graph: str, config: Mapping[str, Any], prepare: Callable[[Any], object] = lambda model: None
) -> Any:
    """Reads, checks and compiles a graph of a bundle.

    The file is read each time: kept, it would hold all weights twice.

    Args:
        bundle: verified bundle.
        graph: one of its graphs.
        config: see `openvino_configuration`.
        prepare: changes the `openvino.Model` before it is compiled.

    Returns:
        An `openvino.InferRequest`.

    Raises:
        BundleError: the file was changed, OpenVINO cannot load it, or it has other tensors than the manifest says.
    """
    path = bundle.graph_path(graph)
    if sha256_of(path) != bundle.manifest.files[path.name]:
        raise BundleError(f"{path} was changed since the bundle was opened: start again")
    core = openvino_core()
    try:
        model = core.read_model(path)
        found = GraphSpec(_specs(model.inputs), _specs(model.outputs))
        difference = describe_difference(_without_names(bundle.manifest.tensors[graph]), found)
        if difference:
            raise BundleError(
                f"{path} is not the graph that its manifest describes: {difference}; export the bundle again"
            )
        prepare(model)
        return core.compile_model(model, _DEVICE, dict(config)).create_infer_request()
    except RuntimeError as error:
        raise BundleError(
            f"{path} cannot be loaded by OpenVINO ({reason_of(error)}): export the bundle again"
        ) from error


def _specs(ports: list[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            port.any_name,
            _DTYPES.get(port.element_type.get_type_name(), port.element_type.get_type_name()),
            tuple(axis.get_length() if axis.is_static else "?" for axis in port.partial_shape),
        )
        for port in ports
    )


def _without_names(spec: GraphSpec) -> GraphSpec:
    """The same with "?" for every dynamic axis: OpenVINO does not keep their names."""

    def anonymous(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                tensor.name, tensor.dtype, tuple("?" if isinstance(axis, str) else axis for axis in tensor.shape)
            )
            for tensor in tensors
        )

    return GraphSpec(anonymous(spec.inputs), anonymous(spec.outputs))


def reason_of(error: Exception) -> str:
    """The last line of an OpenVINO message; those above it are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _import_openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise InputError(
            "the back end 'openvino' needs the package openvino: pip install geoflow_ros[openvino]"
        ) from error
    return openvino
