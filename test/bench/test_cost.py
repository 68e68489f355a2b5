"""The cost model: operations, bytes and floors of graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.methods import GROUND_ENCODER, HEAD, SATELLITE_ENCODER
from geoflow_ros.errors import BundleError


@pytest.fixture
def small_graph(tmp_path: Path) -> Path:
    """Two convolutions, a gate and a matrix product, small enough to be counted by hand."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def weights(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(np.zeros(shape, np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["wide"], "expand", kernel_shape=[1, 1]),
        helper.make_node("Conv", ["wide", "w2"], ["deep"], "blur", kernel_shape=[3, 3], group=6, pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["deep"], ["gate"], "gate"),
        helper.make_node("Reshape", ["gate", "shape"], ["rows"], "rows"),
        helper.make_node("MatMul", ["rows", "w3"], ["answer"], "project"),
    ]
    initializers = [
        weights("w1", 6, 2, 1, 1), weights("b1", 6), weights("w2", 6, 1, 3, 3), weights("w3", 5, 7),
        numpy_helper.from_array(np.array([-1, 24, 5]), "shape"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 2, 4, 5])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)],
        initializers,
    )
    path = tmp_path / "small.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path


def test_operations_and_bytes_of_a_graph_are_those_counted_by_hand(small_graph: Path) -> None:
    from geoflow_ros.bench.cost import count

    cost = count(small_graph, {"B": 3})
    expand, blur, project = cost.layers
    pixels = 3 * 4 * 5
    assert (expand.kind, expand.macs) == ("pointwise", pixels * 6 * 2)
    assert (expand.activation_values, expand.weight_values) == (pixels * 2 + pixels * 6, 12 + 6)
    assert (blur.kind, blur.macs) == ("depthwise", pixels * 6 * 9)
    assert (blur.activation_values, blur.weight_values) == (2 * pixels * 6, 54)
    assert (project.kind, project.macs) == ("product", 3 * 24 * 7 * 5)
    assert (project.activation_values, project.weight_values) == (3 * 24 * 5 + 3 * 24 * 7, 35)
    assert [layer.name for layer in cost.others] == ["gate"]  # a reshape moves nothing
    assert cost.others[0].activation_values == 2 * pixels * 6
    assert cost.macs == expand.macs + blur.macs + project.macs


def test_the_floor_of_a_layer_is_the_longer_of_arithmetic_and_memory(small_graph: Path) -> None:
    from geoflow_ros.bench.cost import count

    cost = count(small_graph, {"B": 1})
    operations = 2.0 * cost.macs
    moved = sum(layer.bytes(4) for layer in cost.layers)
    assert cost.floor_ms(gflops=1e-3, gb_s=1e9) == pytest.approx(operations / 1e6 * 1e3)
    assert cost.floor_ms(gflops=1e9, gb_s=1e-3) == pytest.approx(moved / 1e6 * 1e3)
    # each layer by itself: more than the longer of the two sums where the layers differ in what binds them
    gflops, gb_s = 1e-3, 1e-3 * moved / operations
    assert cost.floor_ms(gflops, gb_s) > max(operations / 1e6, moved / (1e9 * gb_s)) * 1e3
    summary = cost.summary(gflops, gb_s)
    assert summary["floor_ms"] == pytest.approx(sum(kind["floor_ms"] for kind in summary["kinds"].values()))
    assert summary["gflop"] == pytest.approx(operations / 1e9)
    assert cost.summary(1.0, 1.0, value_bytes=2)["megabytes"] == pytest.approx(summary["megabytes"] / 2)


def test_the_encoders_of_a_bundle_cost_what_efficientnet_b0_does(bundle: Bundle) -> None:
    """Tan and Le (2019) give 0.39 billion multiplications at 224 x 224, classifier included; sizes scale by area."""
    pytest.importorskip("onnx")
    from geoflow_ros.bench.cost import count

    satellite = count(bundle.graph_path(SATELLITE_ENCODER), {"B": 1})
    published = 0.39e9 * (128 / 224) ** 2
    assert 0.9 * published < satellite.macs < 1.1 * published
    one, two = (count(bundle.graph_path(GROUND_ENCODER), {"B": b}).macs for b in (1, 2))
    assert two == 2 * one
    few, many = (count(bundle.graph_path(HEAD), {"B": 1, "N": n}).macs for n in (10, 1000))
    assert many == 100 * few


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from geoflow_ros.bench.cost import count

    (tmp_path / "broken.onnx").write_bytes(b"\x08\x08not a graph")
    with pytest.raises(BundleError, match="export the bundle again"):
        count(tmp_path / "broken.onnx", {})
