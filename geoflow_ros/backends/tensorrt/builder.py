"""Builds the bytes of an engine from an ONNX file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from geoflow_ros.backends.tensorrt.api import TensorRt
from geoflow_ros.bundle.tensors import GraphSpec
from geoflow_ros.errors import BundleError
from geoflow_ros.files import keep
from geoflow_ros.resources import cache_dir

MAX_CAMERAS = 4
MAX_HYPOTHESES = 1024

PROFILES: Mapping[str, tuple[int, int, int]] = MappingProxyType({
    "B": (1, 1, MAX_CAMERAS), "N": (1, 10, MAX_HYPOTHESES),
    "C": (1, 1, 12), "M": (1, 3, 8), "K": (2, 8, 72),
})  # fmt: skip
"""Smallest, usual and largest size of each dynamic axis: one optimisation profile for every engine.

Of the bird's-eye method: C ways in which the camera may stand, M windows of the fine level, K coarse headings (72 all
around).
"""

WORKSPACE_BYTES = 256 << 20
"""Limit of the device memory that TensorRT plans with beside its inputs and outputs. tensorrt_rtx counts all that lies
between layers: 38 MiB a camera for a float32 encoder of 512 x 512 pixels, so that Isaac ROS's default of 64 MiB is too
little for four. It is a limit, not what is taken: see `_Context` in backend.py."""

_ADVICE = {
    "OutOfMemory": ": raise the workspace limit",
    "FP32 GEMM is not supported": ": choose precision fp16, this GPU is run in no other",  # sm75, tensorrt_rtx 1.7.1
}

_log = logging.getLogger("geoflow_ros")


def build_engine(
    api: TensorRt, onnx: Path, spec: GraphSpec, *, compute_capability: str, gpu: str | None, workspace_bytes: int
) -> bytes:
    """Builds one graph, which takes seconds with tensorrt_rtx and minutes with tensorrt, which times kernels.

    Args:
        api: what builds.
        onnx: file of the graph; its precision is the engine's.
        spec: its tensors.
        compute_capability: of the GPU that it is for, as in "sm86".
        gpu: name of the GPU at hand, whose timings are kept for the next build; None where there is none.
        workspace_bytes: see `WORKSPACE_BYTES`.

    Raises:
        InputError: this TensorRT has no builder, or does not build for that compute capability.
        BundleError: the graph cannot be parsed or built, with TensorRT's reason.
    """
    builder = api.builder()
    network = api.network(builder)
    parser = api.module.OnnxParser(network, api.log)
    api.log.reason()  # forget what was said before
    if not parser.parse_from_file(str(onnx)):
        errors = [" ".join(str(parser.get_error(index).desc()).split()) for index in range(parser.num_errors)]
        reason = errors[0] if errors else api.log.reason()
        raise BundleError(f"{onnx} cannot be parsed by {api.name} ({reason}): export the bundle again")

    config = builder.create_builder_config()
    api.configure(config, compute_capability)
    config.set_memory_pool_limit(api.module.MemoryPoolType.WORKSPACE, workspace_bytes)
    config.add_optimization_profile(_profile(builder, spec))
    timings = cache_dir() / "tensorrt" / f"{api.version}-{compute_capability}-{_slug(gpu)}.timings"
    if api.has_timing_cache and gpu is not None:
        kept = config.create_timing_cache(_read(timings))
        if kept is None or not config.set_timing_cache(kept, False):  # of another CUDA or another state of the GPU
            config.set_timing_cache(config.create_timing_cache(b""), False)

    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = api.log.reason() or "without a reason"
        advice = next((text for words, text in _ADVICE.items() if words in reason), "")
        raise BundleError(f"{api.name} could not build {onnx.name} for {compute_capability} ({reason}){advice}")
    measured = config.get_timing_cache() if api.has_timing_cache and gpu is not None else None
    if measured is not None:
        keep(timings, bytes(measured.serialize()))
    return bytes(plan)


def _profile(builder: Any, spec: GraphSpec) -> Any:
    profile = builder.create_optimization_profile()
    for tensor in spec.inputs:
        if any(isinstance(axis, str) for axis in tensor.shape):
            smallest, usual, largest = (
                tuple(PROFILES[axis][which] if isinstance(axis, str) else axis for axis in tensor.shape)
                for which in range(3)
            )
            profile.set_shape(tensor.name, smallest, usual, largest)
    return profile


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _slug(gpu: str | None) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in gpu or "")
