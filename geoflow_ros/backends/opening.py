"""Opens one back end by its name, in the precision that was asked for or that pays there."""

from __future__ import annotations

from collections.abc import Callable

from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.options import AUTO, ONNXRUNTIME, OPENVINO, TENSORRT, TORCH, BackendOptions
from geoflow_ros.backends.protocol import Backend
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT16, FLOAT32
from geoflow_ros.errors import InputError
from geoflow_ros.resources import cache_dir


def open_named(name: str, bundle: Bundle, options: BackendOptions) -> Backend:
    """Opens one back end.

    Args:
        name: one of `BACKENDS`, but not "auto".
        bundle: verified bundle.
        options: how to run it; `options.backend` does not count.

    Raises:
        InputError: a library or device that it needs is missing, or a precision that it cannot have here.
        BundleError: a graph or an engine that does not fit the bundle.
    """
    return _OPENERS[name](bundle, options)


def open_tensorrt(bundle: Bundle, options: BackendOptions, flavour: str | None = None) -> Backend:
    """Opens TensorRT under one of its names ("tensorrt", "tensorrt_rtx"); the preferred one where None.

    Raises:
        InputError, BundleError, BackendError: see `TensorRtBackend`.
    """
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend, has_float16

    # the check may be another back end's: float16 engines also need float16 graphs
    fastest = FLOAT16 if has_float16(bundle, options.engine_file_path, options.device) else FLOAT32
    return TensorRtBackend(
        bundle,
        engines=options.engine_file_path,
        precision=_precision(bundle, options, fastest),
        device=options.device,
        force_engine_update=options.force_engine_update,
        max_workspace_size=options.max_workspace_size,
        verbose=options.verbose,
        flavour=flavour,
    )


def openvino_precision(bundle: Bundle, options: BackendOptions) -> str:
    """The precision that OpenVINO runs this bundle in.

    Raises:
        InputError: OpenVINO is not installed.
    """
    from geoflow_ros.backends.openvino_engine import has_bfloat16

    return _precision(bundle, options, BFLOAT16 if has_bfloat16() else FLOAT32)


def _open_openvino(bundle: Bundle, options: BackendOptions) -> Backend:
    from geoflow_ros.backends.openvino_backend import OpenVinoBackend

    precision = openvino_precision(bundle, options)
    return OpenVinoBackend(bundle, precision=precision, threads=options.threads, cache_dir=cache_dir() / "openvino")


def _open_onnxruntime(bundle: Bundle, options: BackendOptions) -> Backend:
    if options.precision not in (AUTO, FLOAT32):
        raise InputError(f"onnxruntime runs this bundle in fp32; {options.precision} needs another back end")
    return OnnxRuntimeBackend(bundle, options.providers or None, options.threads)


def _open_torch(bundle: Bundle, options: BackendOptions) -> Backend:
    from geoflow_ros.backends.torch_backend import TorchBackend

    precision = _precision(bundle, options, FLOAT32)
    return TorchBackend(bundle, device=options.device, precision=precision, threads=options.threads)


def _precision(bundle: Bundle, options: BackendOptions, fastest: str) -> str:
    """Returns what was asked for; with "auto" the fastest that the back end has, if its check passed."""
    if options.precision != AUTO:
        return options.precision
    return fastest if fastest == FLOAT32 or bundle.manifest.allows(fastest) else FLOAT32


_OPENERS: dict[str, Callable[[Bundle, BackendOptions], Backend]] = {
    TENSORRT: open_tensorrt,
    OPENVINO: _open_openvino,
    ONNXRUNTIME: _open_onnxruntime,
    TORCH: _open_torch,
}
