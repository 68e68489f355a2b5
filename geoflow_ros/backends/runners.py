"""Opens what runs the graphs of a bundle by their names."""

from __future__ import annotations

from geoflow_ros.backends.onnxruntime_runner import OnnxRuntimeRunner
from geoflow_ros.backends.options import AUTO, ONNXRUNTIME, OPENVINO, TORCH, BackendOptions
from geoflow_ros.backends.protocol import GraphRunner
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.precision import FLOAT32
from geoflow_ros.errors import InputError
from geoflow_ros.resources import cache_dir


def open_runner(bundle: Bundle, options: BackendOptions | None = None) -> GraphRunner:
    """Opens what runs a bundle's graphs.

    "auto" takes onnxruntime: OpenVINO gains a fifth of the time where the camera may stand in several ways and nothing
    where it is known, for twice the memory.

    Args:
        bundle: verified bundle.
        options: how to run it; the defaults where None.

    Raises:
        InputError: what was asked for cannot be had here.
        BundleError: a graph that does not fit the bundle.
    """
    options = options if options is not None else BackendOptions()
    if options.precision not in (AUTO, FLOAT32):
        raise InputError(f"{bundle.manifest.method} models run in {FLOAT32} here, not in {options.precision}")
    if options.backend == TORCH:
        from geoflow_ros.backends.torch_runner import TorchRunner

        return TorchRunner(bundle, options.device, options.threads)
    if options.backend == OPENVINO:
        from geoflow_ros.backends.openvino_runner import OpenVinoRunner

        return OpenVinoRunner(bundle, options.threads, cache_dir() / "openvino")
    if options.backend not in (AUTO, ONNXRUNTIME):
        known = f"{OPENVINO}, {ONNXRUNTIME} or {TORCH}"
        raise InputError(f"{bundle.manifest.method} models run on {known}, not on {options.backend}")
    return OnnxRuntimeRunner(bundle, options.providers or None, options.threads)
