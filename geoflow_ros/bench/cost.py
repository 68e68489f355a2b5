"""The cost of the graphs: operations and bytes of every layer, and the least time that a machine could take for them.

Counted are the layers that compute: convolutions and matrix products. All else (activations, gates, sums) can be done
while a layer's result is still in registers, so its traffic is not part of the floor; its share of the bytes is
reported beside it, because an engine that does not fuse pays it.

The floor of a layer is the longer of two times: its operations at the machine's peak of arithmetic, and its bytes
(input, weights and output once each) at the speed of main memory. Layers whose tensors stay in a cache can be quicker
than the second: the floor is a model, and says so where it is printed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoflow_ros.errors import BundleError

if TYPE_CHECKING:
    import onnx

FLOAT32_BYTES, REDUCED_BYTES = 4, 2
"""Size of a number in float32, and in bfloat16 or float16."""

_COMPUTING = ("Conv", "MatMul", "Gemm")
_FREE = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Shape", "Constant", "Identity", "Slice", "Split", "Expand")
"""Operations that need not move anything."""


@dataclass(frozen=True)
class LayerCost:
    """One node of a graph.

    Attributes:
        name: of the node.
        kind: "pointwise", "depthwise" or "spatial" convolution, "product" of matrices, or "other".
        macs: multiplications with addition.
        activation_values: numbers read and written, without weights.
        weight_values: numbers of weights and biases read.
    """

    name: str
    kind: str
    macs: int
    activation_values: int
    weight_values: int

    def bytes(self, value_bytes: int) -> int:
        """Bytes moved, where a number takes so many bytes."""
        return value_bytes * (self.activation_values + self.weight_values)

    def floor_s(self, gflops: float, gb_s: float, value_bytes: int) -> float:
        """The least seconds that it takes."""
        return max(2.0 * self.macs / (1e9 * gflops), self.bytes(value_bytes) / (1e9 * gb_s))


@dataclass(frozen=True)
class GraphCost:
    """The cost of a whole graph.

    Attributes:
        layers: those that compute.
        others: the rest that moves data.
    """

    layers: tuple[LayerCost, ...]
    others: tuple[LayerCost, ...]

    @property
    def macs(self) -> int:
        """Multiplications with addition of all layers that compute."""
        return sum(layer.macs for layer in self.layers)

    def floor_ms(self, gflops: float, gb_s: float, value_bytes: int = FLOAT32_BYTES) -> float:
        """The least milliseconds of all layers, one after the other."""
        return 1e3 * sum(layer.floor_s(gflops, gb_s, value_bytes) for layer in self.layers)

    def summary(self, gflops: float, gb_s: float, value_bytes: int = FLOAT32_BYTES) -> dict[str, Any]:
        """Returns figures for a report: those of the graph, and of each kind of layer."""
        kinds = {}
        for kind in sorted({layer.kind for layer in self.layers}):
            chosen = [layer for layer in self.layers if layer.kind == kind]
            kinds[kind] = {"layers": len(chosen), **_figures(chosen, gflops, gb_s, value_bytes)}
        return {
            **_figures(self.layers, gflops, gb_s, value_bytes),
            "unfused_megabytes": sum(layer.bytes(value_bytes) for layer in self.others) / 1e6,
            "kinds": kinds,
        }


def _figures(layers: Iterable[LayerCost], gflops: float, gb_s: float, value_bytes: int) -> dict[str, float]:
    layers = tuple(layers)
    operations = 2.0 * sum(layer.macs for layer in layers)
    moved = float(sum(layer.bytes(value_bytes) for layer in layers))
    return {
        "gflop": operations / 1e9,
        "megabytes": moved / 1e6,
        "arithmetic_ms": operations / gflops / 1e6,
        "memory_ms": moved / gb_s / 1e6,
        "floor_ms": 1e3 * sum(layer.floor_s(gflops, gb_s, value_bytes) for layer in layers),
    }


def count(path: Path, axes: Mapping[str, int]) -> GraphCost:
    """Counts operations and bytes of an ONNX file.

    Args:
        path: of the file.
        axes: sizes of its dynamic axes by name, such as {"B": 1, "N": 10}.

    Raises:
        ModuleNotFoundError: onnx is not installed (extra [train]).
        BundleError: not a graph whose shapes can be found.
    """
    import onnx

    try:
        model = onnx.load(str(path))
        _fix_axes(model, axes)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # onnx and protobuf have no common base
        reason = str(error).strip().splitlines()[0]
        raise BundleError(f"the shapes of {path} cannot be found ({reason}): export the bundle again") from error
    weights = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        shapes[value.name] = tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
    layers: list[LayerCost] = []
    others: list[LayerCost] = []
    for node in model.graph.node:
        if node.op_type in _FREE:
            continue
        cost = _layer(node, shapes, weights)
        (layers if node.op_type in _COMPUTING else others).append(cost)
    return GraphCost(tuple(layers), tuple(others))


def _fix_axes(model: onnx.ModelProto, axes: Mapping[str, int]) -> None:
    del model.graph.value_info[:]  # with the dynamic sizes; they are found again
    for tensor in (*model.graph.input, *model.graph.output):
        for axis in tensor.type.tensor_type.shape.dim:
            if axis.dim_param in axes:
                axis.dim_value = axes[axis.dim_param]


def _layer(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, int]) -> LayerCost:
    def size(name: str) -> int:
        return math.prod(shapes.get(name, ()))

    weight_values = sum(weights[name] for name in node.input if name in weights)
    read = sum(size(name) for name in node.input if name and name not in weights)
    written = sum(size(name) for name in node.output if name)
    kind, macs = "other", 0
    if node.op_type == "Conv":
        _, channels, *kernel = shapes[node.input[1]]  # (out, in / groups, ...)
        macs = size(node.output[0]) * channels * math.prod(kernel)
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if math.prod(kernel) == 1:
            kind = "pointwise"
        else:
            kind = "depthwise" if groups > 1 and channels == 1 else "spatial"
    elif node.op_type in _COMPUTING:
        transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
        inner = shapes[node.input[0]][-2 if transposed else -1]
        kind, macs = "product", size(node.output[0]) * inner
    return LayerCost(node.name or node.output[0], kind, macs, read + written, weight_values)
