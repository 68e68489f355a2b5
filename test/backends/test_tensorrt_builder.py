"""TensorRT engines are built, with tensorrt_rtx and without a GPU; what cannot be built is refused with the reason."""

from __future__ import annotations

import logging
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.tensorrt import needs_no_gpu, needs_rtx

from geoflow_ros.backends.protocol import require_counts
from geoflow_ros.backends.tensorrt.api import TENSORRT_RTX, TensorRt
from geoflow_ros.backends.tensorrt.builder import MAX_HYPOTHESES, PROFILES, WORKSPACE_BYTES, build_engine
from geoflow_ros.backends.tensorrt.cuda import Cuda
from geoflow_ros.backends.tensorrt.engine import (
    EngineRecord,
    EngineRequest,
    Target,
    build,
    bundle_in,
)
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.methods import GRAPHS, GROUND_ENCODER, HEAD, SATELLITE_ENCODER
from geoflow_ros.bundle.precision import PrecisionCheck
from geoflow_ros.errors import BundleError, InputError

TARGETS = (
    ("sm75", "fp32"),
    ("sm75", "fp16"),
    ("sm80", "fp32"),
    ("sm86", "fp32"),
    ("sm86", "fp16"),
    ("sm89", "fp16"),
    ("sm120", "fp32"),
    ("sm121", "fp16"),
)
"""Every compute capability, the first and a usual one in both precisions: a target takes seconds."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def own_bundle(converging_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to put engines into."""
    return shutil.copytree(converging_bundle, tmp_path_factory.mktemp("own") / "bundle")


@needs_rtx
@pytest.mark.parametrize(("capability", "precision"), TARGETS)
def test_every_graph_is_built_for_every_capability_without_a_gpu(
    own_bundle: Path, api: TensorRt, capability: str, precision: str
) -> None:
    from geoflow_ros.export.engines import export_engines

    good = PrecisionCheck("fp16", "onnxruntime", "pairs of a test", 512, 2.005, 2.0, 0.1, 0.01)
    options: dict[str, Any] = {"precision": precision, "compute_capabilities": [capability], "check": lambda _: good}
    if (capability, precision) == ("sm75", "fp32"):  # the library has no such matrix products
        with pytest.raises(BundleError, match="for sm75.*choose precision fp16"):
            export_engines(own_bundle, **options)
        return
    paths = export_engines(own_bundle, **options)
    folder = own_bundle / "engines" / f"tensorrt_rtx-{capability}-{precision}"
    assert paths == [folder / f"{graph}.engine" for graph in GRAPHS]
    graphs = bundle_in(Bundle.load(own_bundle), precision, capability, [own_bundle / "engines"])
    for graph, path in zip(GRAPHS, paths, strict=True):
        record = EngineRecord.read(path.with_suffix(".json"))
        assert record.onnx_sha256 == graphs.manifest.files[f"{graph}.onnx"]
        assert record.engine_sha256 == sha256(path.read_bytes()).hexdigest()
        assert record.target == Target(TENSORRT_RTX, api.version, capability, None)
        assert (record.precision, record.profiles) == (precision, PROFILES)
        assert record.build_seconds > 0.0
        assert record.built_at.endswith("+00:00")
        # an engine holds the weights, so that it cannot be smaller than its graph
        assert path.stat().st_size > graphs.graph_path(graph).stat().st_size


@needs_rtx
def test_what_a_build_was_asked_for_must_exist(converging_bundle: Path, tmp_path: Path) -> None:
    from geoflow_ros.export.engines import export_engines

    with pytest.raises(InputError, match="builds for sm75, sm80.*, not for sm90"):
        export_engines(converging_bundle, compute_capabilities=["9.0"], out=tmp_path)
    with pytest.raises(InputError, match="'ampere' is not a compute capability"):
        export_engines(converging_bundle, compute_capabilities=["ampere"], out=tmp_path)
    with pytest.raises(InputError, match="at least 1 MiB"):
        export_engines(converging_bundle, compute_capabilities=["sm86"], workspace_mib=0, out=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export_engines(converging_bundle, compute_capabilities=["sm86"], out=tmp_path / "file")


@needs_rtx
@needs_no_gpu
def test_without_a_gpu_the_capability_must_be_named(converging_bundle: Path) -> None:
    from geoflow_ros.export.engines import export_engines

    with pytest.raises(InputError, match="no CUDA driver.*--compute-capability sm86"):
        export_engines(converging_bundle)


@needs_rtx
def test_a_build_that_fails_says_why(api: TensorRt, small_bundle: Bundle, tmp_path: Path) -> None:
    spec = small_bundle.manifest.tensors[HEAD]
    garbage = tmp_path / "head.onnx"
    garbage.write_bytes(b"no graph")
    options: dict[str, Any] = {"compute_capability": "sm86", "gpu": None}
    with pytest.raises(BundleError, match=r"head.onnx cannot be parsed by tensorrt_rtx [\d.]+ \(\S"):
        build_engine(api, garbage, spec, workspace_bytes=WORKSPACE_BYTES, **options)
    encoder = small_bundle.manifest.tensors[SATELLITE_ENCODER]
    with pytest.raises(BundleError, match="could not build.*OutOfMemory.*raise the workspace limit"):
        build_engine(api, small_bundle.graph_path(SATELLITE_ENCODER), encoder, workspace_bytes=1 << 10, **options)


@needs_rtx
def test_verbose_builds_say_what_tensorrt_does(small_bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    request = EngineRequest(small_bundle, HEAD, Target(TENSORRT_RTX, "", "sm86", None), "fp32", WORKSPACE_BYTES)
    with caplog.at_level(logging.INFO, "geoflow_ros"):
        build(TensorRt(TENSORRT_RTX), request)
        assert not caplog.records
        build(TensorRt(TENSORRT_RTX, verbose=True), request)
    assert any("tensorrt_rtx" in record.getMessage() for record in caplog.records)


def test_silu_is_exported_in_the_form_that_parsers_fuse(small_bundle: Bundle) -> None:
    onnx = pytest.importorskip("onnx")
    for graph in (SATELLITE_ENCODER, GROUND_ENCODER):
        model = onnx.load(str(small_bundle.graph_path(graph)))
        readers: dict[str, list[str]] = {}
        for node in model.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node.op_type)
        gates = [node for node in model.graph.node if node.op_type == "Sigmoid"]
        assert len(gates) == 64
        assert all(readers[node.output[0]] == ["Mul"] for node in gates)
        assert not {"Swish", "HardSwish"} & {node.op_type for node in model.graph.node}
        assert max(entry.version for entry in model.opset_import if entry.domain == "") < 24


@needs_no_gpu
def test_a_machine_without_a_driver_is_told_so(small_bundle: Bundle) -> None:
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend

    with pytest.raises(InputError, match="no CUDA driver: install NVIDIA's, or choose another back end"):
        TensorRtBackend(small_bundle)


@needs_no_gpu
@needs_rtx
def test_an_engine_is_not_loaded_without_a_gpu(api: TensorRt, head_engine: tuple[bytes, EngineRecord]) -> None:
    """As far as the library goes without one: it must refuse, with a reason, and not fall over."""
    for plan in (head_engine[0], head_engine[0][:64], bytes(200), b""):
        with pytest.raises(BundleError, match=r"tensorrt_rtx [\d.]+ refuses the engine \(\S"):
            api.deserialize(plan)


def test_devices_and_counts_that_cannot_be_are_refused(small_bundle: Bundle) -> None:
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend

    for device in ("cpu", "cuda:first", "gpu:0"):
        with pytest.raises(InputError, match="must be cuda:0"):
            Cuda(device)
    with pytest.raises(InputError, match="not bf16"):
        TensorRtBackend(small_bundle, precision="bf16")
    for count, iterations, reason in ((0, 5, "at least 1"), (10, 0, "at least 1"), (1025, 5, "at most 1024")):
        with pytest.raises(InputError, match=reason):
            require_counts(np.zeros((1, count, 2), np.float32), iterations, MAX_HYPOTHESES)
