"""A GPU's part played by numpy and onnxruntime, and what tests of TensorRT share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends import OnnxRuntimeBackend
from geoflow_ros.backends.tensorrt.api import TENSORRT_RTX, TensorRt, installed_flavours
from geoflow_ros.backends.tensorrt.builder import WORKSPACE_BYTES
from geoflow_ros.backends.tensorrt.cuda import Cuda
from geoflow_ros.backends.tensorrt.engine import EngineRequest, Target, load_or_build
from geoflow_ros.backends.tensorrt.frame import PATH, TOKENS, Download, Enqueue, FrameLayout, Program, Upload
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.methods import GROUND_ENCODER, HEAD, SATELLITE_ENCODER
from geoflow_ros.errors import InputError
from geoflow_ros.inference.irs import sample_hypotheses


def _has_gpu() -> bool:
    try:
        Cuda()
    except InputError:
        return False
    return True


_HAS_GPU = _has_gpu()
needs_rtx: pytest.MarkDecorator = pytest.mark.skipif(
    TENSORRT_RTX not in installed_flavours(), reason="tensorrt_rtx is not installed"
)
needs_gpu: pytest.MarkDecorator = pytest.mark.skipif(not _HAS_GPU, reason="no CUDA GPU on this machine")
needs_no_gpu: pytest.MarkDecorator = pytest.mark.skipif(_HAS_GPU, reason="this machine has a CUDA GPU")


def head_request(api: TensorRt, bundle: Bundle) -> EngineRequest:
    """A request for the head's engine, which is quick to build, for an sm86."""
    return EngineRequest(bundle, HEAD, Target.of(api, "sm86", None), "fp32", WORKSPACE_BYTES)


def build_head(bundle: Path, root: Path, barrier: Any, answers: Any) -> None:
    """Builds the head's engine in a process of its own, at the same time as another such process."""
    api = TensorRt(TENSORRT_RTX)
    request = head_request(api, Bundle.load(bundle))
    barrier.wait(60)
    answers.put(len(load_or_build(api, request, [root], bytes)))


class HostMachine:
    """Runs a frame's program with numpy arrays for the device's memory and onnxruntime for its engines."""

    def __init__(self, backend: OnnxRuntimeBackend, layout: FrameLayout) -> None:
        self.backend, self.layout = backend, layout
        sizes = layout.sizes
        self.device = {name: np.full(shape, 99, dtype) for name, (dtype, shape) in layout.buffers.items()}
        self.host = {name: np.full(shape, 77, dtype) for name, (dtype, shape) in layout.buffers.items()}
        self.host[PATH] = np.zeros((sizes.iterations, sizes.cameras, sizes.hypotheses, 2), np.float32)

    def run(self, program: Program) -> None:
        for step in program:
            if isinstance(step, Upload):
                self.device[step.buffer][...] = self.host[step.buffer]
            elif isinstance(step, Download):
                target = self.host[step.buffer] if step.into is None else self.host[step.into][step.row]
                target[...] = self.device[step.buffer]
            elif isinstance(step, Enqueue):
                self._enqueue(step.context)

    def _enqueue(self, context: str) -> None:
        binding = self.layout.bindings[context]
        at = {tensor: self.device[buffer] for tensor, buffer in binding.buffers.items()}
        if binding.graph == GROUND_ENCODER:
            at["f_vis"][...] = self.backend.f_vis(at["ground"], at[TOKENS])
            return
        output = asdict(self.backend.head(at["f_vis"], at["hypotheses"], float(at["step"])))
        for tensor in self.layout.tensors[HEAD].outputs:
            at[tensor.name][...] = output[tensor.name]


def frame_inputs(
    bundle: Bundle, backend: OnnxRuntimeBackend, cameras: int
) -> tuple[UInt8Array, Float32Array, Float32Array, Float32Array]:
    """Camera images, satellite tokens, hypotheses and probes."""
    satellite = np.random.default_rng(1).integers(0, 256, image_shape(bundle, SATELLITE_ENCODER, cameras), np.uint8)
    ground = np.random.default_rng(2).integers(0, 256, image_shape(bundle, GROUND_ENCODER, cameras), np.uint8)
    return ground, backend.satellite_tokens(satellite), sample_hypotheses(cameras, 10, 3), sample_hypotheses(1, 7, 4)[0]


def image_shape(bundle: Bundle, graph: str, cameras: int) -> tuple[int, ...]:
    _, *image = bundle.manifest.tensors[graph].inputs[0].shape
    return (cameras, *(int(side) for side in image))
