"""GeoFlow's three parts as torch modules with a bundle's inputs and outputs, and ONNX files of any method's parts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from geoflow_ros.bundle.methods import GROUND_ENCODER, HEAD, SATELLITE_ENCODER
from geoflow_ros.bundle.tensors import GraphSpec, TensorSpec
from geoflow_ros.errors import GeoFlowError
from geoflow_ros.model import BirdsEyeMatcher, DenseFlow, GeoFlow, normalize_images
from geoflow_ros.model.birds_eye_graphs import birds_eye_module

OPSET = 18
_NOISY_LOGGERS = ("torch.onnx", "torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir")
_DTYPES = {"uint8": torch.uint8, "int64": torch.int64, "float32": torch.float32}
# Examples for tracing: no axis that may vary has size 0 or 1, which the tracer would take for fixed.
_EXAMPLE_SIZES = {"B": 2, "N": 3, "C": 2, "K": 3, "M": 4}


class SatelliteEncoder(nn.Module):
    """`satellite` uint8 (B, P, P, 3) → `satellite_tokens` (B, T, d)."""

    def __init__(self, model: GeoFlow) -> None:
        super().__init__()
        self.model = model

    def forward(self, satellite: Tensor) -> Tensor:
        """Returns the tokens of patches."""
        return self.model.satellite_tokens(normalize_images(satellite))


class GroundEncoder(nn.Module):
    """`ground` uint8 (B, H, W, 3), `satellite_tokens` (B, T, d) → `f_vis` (B, d)."""

    def __init__(self, model: GeoFlow) -> None:
        super().__init__()
        self.model = model

    def forward(self, ground: Tensor, satellite_tokens: Tensor) -> Tensor:
        """Returns the joint feature of camera images and the tokens of their patches."""
        return self.model.f_vis(normalize_images(ground), satellite_tokens)


class Head(nn.Module):
    """`f_vis` (B, d), `hypotheses` (B, N, 2), `step` () → the displacement and the moved hypotheses."""

    def __init__(self, model: GeoFlow) -> None:
        super().__init__()
        self.model = model

    def forward(self, f_vis: Tensor, hypotheses: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        """Returns the head's outputs in the order of the manifest."""
        displacement = self.model.displace(f_vis, hypotheses)
        refined = hypotheses + step * displacement.mu_log_r.exp()[..., None] * displacement.direction
        outputs = (
            displacement.mu_log_r,
            displacement.var_log_r,
            displacement.direction,
            displacement.kappa,
            refined,
        )
        return outputs if displacement.orientation is None else (*outputs, displacement.orientation)


def graph_module(model: GeoFlow | BirdsEyeMatcher | DenseFlow, graph: str) -> nn.Module:
    """The part of the network that a graph of the bundle holds, in evaluation mode."""
    if isinstance(model, BirdsEyeMatcher | DenseFlow):
        return birds_eye_module(model, graph)
    parts = {SATELLITE_ENCODER: SatelliteEncoder, GROUND_ENCODER: GroundEncoder, HEAD: Head}
    return parts[graph](model).eval()


def write_graph(module: nn.Module, graph: str, spec: GraphSpec, path: Path) -> None:
    """Exports one part of a network to a single ONNX file, batch norms folded into convolutions, weights in float32.

    Args:
        module: with the graph's inputs and outputs, in evaluation mode, on the CPU.
        graph: its name, for messages.
        spec: names, types and shapes that it must have.
        path: file to write.

    Raises:
        GeoFlowError: the exporter failed.
    """
    axes = {name: torch.export.Dim(name) for name in _EXAMPLE_SIZES}
    shapes = tuple(
        {index: axes[axis] for index, axis in enumerate(tensor.shape) if isinstance(axis, str)}
        for tensor in spec.inputs
    )
    examples = tuple(_example(tensor) for tensor in spec.inputs)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module,
                examples,
                input_names=[tensor.name for tensor in spec.inputs],
                output_names=[tensor.name for tensor in spec.outputs],
                dynamic_shapes=shapes,
                dynamo=True,
                opset_version=OPSET,
                optimize=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise GeoFlowError(f"torch could not export the {graph}: {str(error).splitlines()[0]}") from error
    if program is None:
        raise GeoFlowError(f"torch {torch.__version__} exported nothing for the {graph}: install the pinned version")
    onnx.save(_without_traces(program.model_proto), str(path))


def _example(tensor: TensorSpec) -> Tensor:
    shape = [_EXAMPLE_SIZES[axis] if isinstance(axis, str) else axis for axis in tensor.shape]
    return torch.zeros(shape, dtype=_DTYPES[tensor.dtype])


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drops the source lines and file paths of the exporting machine, which the exporter notes at every node."""
    graph = model.graph
    items: list[Any] = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for item in items:
        del item.metadata_props[:]
        item.ClearField("doc_string")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's notes about packages that are not needed, and its own deprecations, off the terminal."""
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
