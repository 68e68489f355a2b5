"""A bundle that computes in float16, for TensorRT: there the precision of an engine is that of its ONNX file.

float16 is what lies between an encoder's first convolution and its last, which projects to tokens: nearly all of the
work. float32 stays what would lose by it and costs next to nothing:

- the normalisation of the uint8 image, which is exact that way;
- the means of squeeze-and-excite: a sum over 16,384 pixels passes 65,504, float16's largest number;
- the tokens with their positions, and attention with its softmax;
- the head: LayerNorms, variance and kappa with their softplus, and positions (hypotheses, step and refined), which
  float16 would round by up to 1 cm in each refinement.

tensorrt_rtx has no float32 matrix products for Turing (sm75, seen with 1.7.1), so that there these are float16 too, and
nothing else. Graph inputs and outputs are those of the manifest, uint8 and float32.

onnxruntime has no float16 kernels for the CPU: it computes such a file in float32 and drops the roundings between
nodes, so that an overflow would go unseen. `Float16OnCpu` keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.tensorrt.engine import FLOAT16_OF
from geoflow_ros.bundle.bundle import Bundle, sha256_of
from geoflow_ros.bundle.manifest import FILE_NAME
from geoflow_ros.bundle.methods import GRAPHS
from geoflow_ros.bundle.precision import FLOAT16

_PRODUCTS = ("MatMul", "Gemm")
_SUMS = ("ReduceMean",)


def write_float16_bundle(bundle: Bundle, folder: Path, *, products: bool = False) -> Bundle:
    """Writes the same model in float16.

    Args:
        bundle: in float32.
        folder: empty; it becomes a bundle that remembers in its `training` what it was made of.
        products: matrix products as well.

    Raises:
        OSError: it cannot be written.
    """
    for graph in GRAPHS:
        half = to_float16(onnx.load(str(bundle.graph_path(graph))), products=products)
        onnx.save(half, str(folder / f"{graph}.onnx"))
    return _finish(bundle, folder)


class Float16OnCpu(OnnxRuntimeBackend):
    """Answers as a float16 bundle does where float16 is real, for measuring what it costs in accuracy.

    Args:
        half: float16 bundle.

    Raises:
        OSError: there is no room for temporary files.
    """

    def __init__(self, half: Bundle) -> None:
        with TemporaryDirectory() as folder:
            for graph in GRAPHS:
                model = with_roundings(onnx.load(str(half.graph_path(graph))))
                onnx.save(model, str(Path(folder) / f"{graph}.onnx"))
            super().__init__(_finish(half, Path(folder)))

    @property
    def name(self) -> str:
        """Engine and what it stands for."""
        return f"{super().name} with float16's roundings"

    @property
    def precision(self) -> str:
        """The precision of the encoders."""
        return FLOAT16


def to_float16(source: ModelProto, *, products: bool = False) -> ModelProto:
    """A graph with convolutions and what lies between them, but for sums, in float16; matrix products where asked."""
    # Types noted for constants make the converter take blocked ones for float16.
    del source.graph.value_info[:]
    encoder = _between_convolutions(source.graph.node)
    others = [
        node.name
        for node in source.graph.node
        if not (node.name in encoder and node.op_type not in _SUMS) and not (products and node.op_type in _PRODUCTS)
    ]
    model = OnnxModel(convert_float_to_float16(source, keep_io_types=True, op_block_list=[], node_block_list=others))
    # The converter puts casts around every node of the others: what goes from one to the next would be rounded.
    model.remove_cascaded_cast_nodes()
    model.topological_sort()
    del model.model.graph.value_info[:]
    model = OnnxModel(onnx.shape_inference.infer_shapes(model.model))
    model.disable_shape_inference()  # onnxruntime's own, which needs sympy
    model.remove_useless_cast_nodes()
    converted: ModelProto = model.model
    del converted.graph.value_info[:]
    onnx.checker.check_model(converted, full_check=True)
    return converted


def with_roundings(model: ModelProto) -> ModelProto:
    """The graph in float32, every float16 tensor of it rounded to float16 and back.

    That is what float16 storage with float32 accumulators gives, which is how GPUs multiply; an overflow is infinite.
    """
    graph = model.graph
    half = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    for tensor in graph.initializer:
        if tensor.name in half:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name))
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        casts_to = [attribute.i for attribute in node.attribute if attribute.name == "to"]
        if casts_to != [TensorProto.FLOAT16] and (casts_to or not half.intersection(node.input)):
            continue
        for index, name in enumerate(node.output):
            half.add(name)
            node.output[index] = f"{name}_exact"
            nodes.append(helper.make_node("Cast", [f"{name}_exact"], [f"{name}_half"], to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _between_convolutions(nodes: Sequence[NodeProto]) -> set[str]:
    """Names of the convolutions and of the nodes that come after one and before another; `nodes` are in order."""
    reached: set[str] = set()  # tensors that a convolution had a part in
    needed: set[str] = set()  # tensors that have a part in a convolution
    after, before = set[str](), set[str]()
    for node in nodes:
        if node.op_type == "Conv" or reached.intersection(node.input):
            reached.update(node.output)
            after.add(node.name)
    for node in reversed(nodes):
        if node.op_type == "Conv" or needed.intersection(node.output):
            needed.update(node.input)
            before.add(node.name)
    return after & before


def _finish(source: Bundle, folder: Path) -> Bundle:
    files = {f"{graph}.onnx": sha256_of(folder / f"{graph}.onnx") for graph in GRAPHS}
    training = {**source.manifest.training, FLOAT16_OF: dict(source.manifest.files)}
    manifest = replace(source.manifest, files=files, training=training, checkpoint={})
    (folder / FILE_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return Bundle.load(folder)
