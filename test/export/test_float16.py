"""float16 graphs: what stays in float32, how their cost is measured on a CPU, and when their export is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.protocol import Backend
from geoflow_ros.backends.tensorrt.api import TENSORRT_RTX, installed_flavours
from geoflow_ros.backends.tensorrt.engine import FLOAT16_OF, EngineRecord, bundle_in
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.methods import GRAPHS, GROUND_ENCODER
from geoflow_ros.bundle.precision import PrecisionCheck
from geoflow_ros.errors import BundleError, InputError
from geoflow_ros.inference.irs import sample_hypotheses

onnx = pytest.importorskip("onnx")
from geoflow_ros.export.engines import export_engines  # noqa: E402  # needs onnx
from geoflow_ros.export.float16 import Float16OnCpu, with_roundings, write_float16_bundle  # noqa: E402

GOOD = PrecisionCheck("fp16", "onnxruntime", "pairs of a test", 512, 2.005, 2.0, 0.1, 0.01)

needs_rtx = pytest.mark.skipif(TENSORRT_RTX not in installed_flavours(), reason="tensorrt_rtx is not installed")


@pytest.fixture(scope="module")
def bundle(converging_bundle: Path) -> Bundle:
    return Bundle.load(converging_bundle)


@pytest.fixture(scope="module")
def half(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_float16_bundle(bundle, tmp_path_factory.mktemp("half"))


@pytest.mark.parametrize("products", [False, True])
def test_encoders_compute_in_float16_and_the_rest_in_float32(bundle: Bundle, products: bool, tmp_path: Path) -> None:
    half = write_float16_bundle(bundle, tmp_path, products=products)
    in_half = {"Conv", "Sigmoid", *(("MatMul", "Gemm") if products else ())}
    for graph in GRAPHS:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(half.graph_path(graph))), strict_mode=True)
        kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        kinds |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        float16, float32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
        for node in model.graph.node:
            found = {kinds[name] for name in node.input if kinds.get(name) in (float16, float32)}
            if node.op_type in in_half:
                assert found == {float16}, node.name
            elif node.op_type not in ("Cast", "Mul", "Add", "Transpose", "Reshape", "Split"):  # these are in both
                assert found <= {float32}, node.name
        kinds |= {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
        for node in model.graph.node:  # what goes from one float32 node to the next is not rounded on its way
            if node.op_type == "Cast" and node.output[0] not in {value.name for value in model.graph.output}:
                assert kinds[node.input[0]] != kinds[node.output[0]], node.name
    step = next(node for node in model.graph.node if "refined" in node.output)
    assert "hypotheses" in step.input  # the head's last: the position itself, not its rounding, is moved
    assert half.graph_path(GROUND_ENCODER).stat().st_size < 0.6 * bundle.graph_path(GROUND_ENCODER).stat().st_size


def test_the_float16_bundle_remembers_its_weights(bundle: Bundle, half: Bundle) -> None:
    assert half.manifest.training[FLOAT16_OF] == dict(bundle.manifest.files)
    assert half.manifest.tensors == bundle.manifest.tensors  # inputs and outputs stay uint8 and float32
    others = replace(bundle.manifest, files={**bundle.manifest.files, "head.onnx": "0" * 64})
    with pytest.raises(BundleError, match="no float16 graphs of these weights"):
        bundle_in(Bundle(bundle.path, others), "fp16", "sm86", [half.path.parent])


def test_float16_costs_centimetres(bundle: Bundle, half: Bundle) -> None:
    exact, rounded = OnnxRuntimeBackend(bundle), Float16OnCpu(half)
    assert (rounded.precision, exact.precision) == ("fp16", "fp32")
    generator = np.random.default_rng(0)
    size, (height, width) = bundle.manifest.satellite.size_px, (64, 256)
    satellite = generator.integers(0, 256, (1, size, size, 3), np.uint8)
    ground = generator.integers(0, 256, (1, height, width, 3), np.uint8)
    hypotheses = sample_hypotheses(1, 10, 0)
    paths, tokens = [], []
    for backend in (exact, rounded):
        tokens.append(backend.satellite_tokens(satellite))
        paths.append(backend.frame(ground, tokens[-1], hypotheses, hypotheses[0], 0.5, 5).path)
    difference_m = np.abs(paths[0] - paths[1]).max() * bundle.manifest.search_radius_m
    assert difference_m < 0.05
    assert np.abs(tokens[0] - tokens[1]).max() > 1e-5  # it did round


def test_roundings_are_those_of_float16_and_overflow_is_seen() -> None:
    """Two 1 x 1 convolutions, of which the first gives 600,000 for an input of 10."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT16
    shape = [1, 1, 1, 1]
    weights = [np.full(shape, value, np.float16) for value in (60000.0, 1.0 / 60000.0)]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w0"], ["a"]), helper.make_node("Conv", ["a", "w1"], ["y"])],
        "two",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        [onnx.numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)],
    )
    graph.node.insert(0, helper.make_node("Cast", ["x32"], ["x"], to=kind))
    graph.node.append(helper.make_node("Cast", ["y"], ["y32"], to=onnx.TensorProto.FLOAT))
    graph.input[0].CopyFrom(helper.make_tensor_value_info("x32", onnx.TensorProto.FLOAT, shape))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("y32", onnx.TensorProto.FLOAT, shape))
    model = with_roundings(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))

    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for value in (1.0, 0.1, 0.3333, 10.0):
        x = np.float16(value)
        with np.errstate(over="ignore"):
            a = np.float16(np.float32(x) * np.float32(weights[0].item()))
            y = np.float32(np.float16(np.float32(a) * np.float32(weights[1].item())))
        (found,) = session.run(None, {"x32": np.full(shape, value, np.float32)})
        assert found.item() == y or (np.isinf(y) and np.isinf(found.item()))
    assert np.isinf(found.item())  # not 10, which float32 between the nodes would give


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (replace(GOOD, mean_error_m=2.03), r"float32 2.000 m \(\+1.50 %, limit \+1 %\) on 512 pairs"),
        (replace(GOOD, pairs=499), r"on 499 pairs"),
    ],
)
@needs_rtx
def test_an_export_that_costs_accuracy_is_refused_with_the_figure(
    converging_bundle: Path, check: PrecisionCheck, reason: str, tmp_path: Path
) -> None:
    before = (converging_bundle / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match=f"not accurate enough.*{reason}"):
        export_engines(
            converging_bundle, precision="fp16", compute_capabilities=["sm86"], out=tmp_path, check=lambda _: check
        )
    assert not list(tmp_path.iterdir())
    assert (converging_bundle / "manifest.json").read_bytes() == before


@needs_rtx
def test_float16_engines_are_exported_after_one_check(converging_bundle: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(converging_bundle, tmp_path / "bundle")
    with pytest.raises(InputError, match="need a check"):
        export_engines(folder, precision="fp16", compute_capabilities=["sm86"])
    asked: list[Backend] = []

    def check(candidate: Backend) -> PrecisionCheck:
        asked.append(candidate)
        return GOOD

    for capability in ("8.6", "sm_120"):
        paths = export_engines(folder, precision="fp16", compute_capabilities=[capability], check=check)
    assert [backend.precision for backend in asked] == ["fp16"]
    assert paths[0].parent == folder / "engines" / "tensorrt_rtx-sm120-fp16"
    assert Bundle.load(folder).manifest.allows("fp16")
    half = bundle_in(Bundle.load(folder), "fp16", "sm86", [folder / "engines"])
    assert half.manifest.precision_checks == (GOOD,)
    record = EngineRecord.read(paths[1].with_suffix(".json"))
    assert (record.precision, record.onnx_sha256) == ("fp16", half.manifest.files["ground_encoder.onnx"])
    assert paths[1].stat().st_size < 14_000_000  # 19 MB in float32
    # the bundle's manifest was put back: the next export notes the check in it again, without making it again
    shutil.copy(converging_bundle / "manifest.json", folder / "manifest.json")
    export_engines(folder, precision="fp16", compute_capabilities=["sm86"], check=check)
    assert len(asked) == 1
    assert Bundle.load(folder).manifest.allows("fp16")
