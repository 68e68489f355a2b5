"""What a frame does on a GPU, run with numpy and onnxruntime in the GPU's place; and on a GPU where there is one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from fakes.tensorrt import HostMachine, frame_inputs, image_shape, needs_gpu

from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.tensorrt.frame import PATH, TOKENS, FrameLayout, Sizes
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.methods import SATELLITE_ENCODER
from geoflow_ros.errors import InputError


@pytest.mark.parametrize(("cameras", "iterations"), [(1, 1), (2, 2), (1, 5)])
def test_a_frame_on_the_device_is_the_frame_on_the_host(small_bundle: Bundle, cameras: int, iterations: int) -> None:
    backend = OnnxRuntimeBackend(small_bundle, threads=1)
    ground, tokens, hypotheses, probes = frame_inputs(small_bundle, backend, cameras)
    layout = FrameLayout(small_bundle.manifest.tensors, Sizes(cameras, hypotheses.shape[1], len(probes), iterations))
    machine = HostMachine(backend, layout)
    machine.device[TOKENS][...] = tokens
    machine.host.update(ground=ground, odd=hypotheses, probes=np.repeat(probes[None], cameras, 0), step=np.float32(0.5))
    expected = backend.frame(ground, tokens, hypotheses, probes, 0.5, iterations)
    for _ in range(2):  # the second frame finds what the first left behind
        machine.run(layout.frame())
        np.testing.assert_allclose(machine.host[PATH], expected.path[1:], atol=1e-6)
        for tensor, values in asdict(expected.probed).items():
            np.testing.assert_allclose(machine.host[layout.probed[tensor]], values, atol=1e-5)


def test_the_parts_of_a_frame_can_be_had_alone(small_bundle: Bundle) -> None:
    backend = OnnxRuntimeBackend(small_bundle, threads=1)
    ground, tokens, hypotheses, _ = frame_inputs(small_bundle, backend, 1)
    layout = FrameLayout(small_bundle.manifest.tensors, Sizes(1, 1, hypotheses.shape[1], 1))
    machine = HostMachine(backend, layout)
    machine.device[TOKENS][...] = tokens
    machine.host["ground"][...] = ground
    machine.run(layout.encode())
    f_vis = backend.f_vis(ground, tokens)
    np.testing.assert_allclose(machine.host["f_vis"], f_vis, atol=1e-6)
    machine.host.update(f_vis=2.0 * f_vis, probes=hypotheses, step=np.float32(0.25))
    machine.run(layout.ask())
    expected = backend.head(2.0 * f_vis, hypotheses, 0.25)
    np.testing.assert_allclose(machine.host[layout.probed["refined"]], expected.refined, atol=1e-6)


def test_no_context_writes_what_it_reads(small_bundle: Bundle) -> None:
    layout = FrameLayout(small_bundle.manifest.tensors, Sizes(1, 10, 25, 5))
    for binding in layout.bindings.values():
        spec = small_bundle.manifest.tensors[binding.graph]
        inputs, outputs = ([binding.buffers[tensor.name] for tensor in side] for side in (spec.inputs, spec.outputs))
        assert len({*inputs, *outputs}) == len(inputs) + len(outputs)


@needs_gpu
def test_frames_on_a_gpu_are_those_on_the_cpu(small_bundle: Bundle, tmp_path: Path) -> None:
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend

    reference = OnnxRuntimeBackend(small_bundle)
    try:
        backend = TensorRtBackend(small_bundle, tmp_path)
    except InputError as error:
        pytest.skip(str(error))
    radius_m = small_bundle.manifest.search_radius_m
    for cameras, iterations in ((1, 5), (4, 3), (1, 5), (1, 5)):
        ground, tokens, hypotheses, probes = frame_inputs(small_bundle, reference, cameras)
        satellite = np.random.default_rng(1).integers(
            0, 256, image_shape(small_bundle, SATELLITE_ENCODER, cameras), np.uint8
        )
        found = backend.frame(ground, backend.satellite_tokens(satellite), hypotheses, probes, 0.5, iterations)
        expected = reference.frame(ground, tokens, hypotheses, probes, 0.5, iterations)
        assert np.abs(found.path - expected.path).max() * radius_m < 0.01
        for name, values in asdict(expected.probed).items():
            np.testing.assert_allclose(asdict(found.probed)[name], values, rtol=1e-2, atol=1e-3)
    assert backend.uses_graph
