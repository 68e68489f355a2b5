"""TensorRT engines: real ones are built, with tensorrt_rtx and without a GPU, then read, refused and built again.

What runs on a GPU is tested where there is one. What a frame does there is data (`tensorrt/frame.py`), which is run
here with numpy and onnxruntime in the GPU's place.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.protocol import require_counts
from geoflow_ros.backends.tensorrt.api import TENSORRT_RTX, TensorRt, installed_flavours
from geoflow_ros.backends.tensorrt.builder import MAX_HYPOTHESES, PROFILES, WORKSPACE_BYTES, build_engine
from geoflow_ros.backends.tensorrt.cuda import Cuda
from geoflow_ros.backends.tensorrt.engine import (
    EngineRecord,
    EngineRequest,
    Target,
    build,
    bundle_in,
    engine_roots,
    load_or_build,
    read_engine,
    write_engine,
)
from geoflow_ros.backends.tensorrt.frame import (
    PATH,
    TOKENS,
    Download,
    Enqueue,
    FrameLayout,
    Program,
    Sizes,
    Upload,
)
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.manifest import GRAPHS, GROUND_ENCODER, HEAD, SATELLITE_ENCODER
from geoflow_ros.bundle.precision import PrecisionCheck
from geoflow_ros.errors import BundleError, InputError
from geoflow_ros.inference.irs import sample_hypotheses

CAPABILITIES = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")

needs_rtx = pytest.mark.skipif(TENSORRT_RTX not in installed_flavours(), reason="tensorrt_rtx is not installed")


def _gpu() -> Cuda | None:
    try:
        return Cuda()
    except InputError:
        return None


needs_gpu = pytest.mark.skipif(_gpu() is None, reason="no CUDA GPU on this machine")
needs_no_gpu = pytest.mark.skipif(_gpu() is not None, reason="this machine has a CUDA GPU")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def bundle(converging_bundle: Path) -> Bundle:
    return Bundle.load(converging_bundle)


@pytest.fixture(scope="module")
def own_bundle(converging_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to put engines into."""
    return shutil.copytree(converging_bundle, tmp_path_factory.mktemp("own") / "bundle")


@pytest.fixture(scope="module")
def api() -> TensorRt:
    return TensorRt(TENSORRT_RTX)


@pytest.fixture
def request_of(api: TensorRt, bundle: Bundle) -> Callable[..., EngineRequest]:
    """A request for the head's engine, which is quick to build, for an sm86."""

    def make(**changes: object) -> EngineRequest:
        request = EngineRequest(bundle, HEAD, Target.of(api, "sm86", None), "fp32", WORKSPACE_BYTES)
        return replace(request, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="module")
def head_engine(api: TensorRt, bundle: Bundle) -> tuple[bytes, EngineRecord]:
    return build(api, EngineRequest(bundle, HEAD, Target.of(api, "sm86", None), "fp32", WORKSPACE_BYTES))


# Building


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_graph_is_built_for_every_capability_without_a_gpu(
    own_bundle: Path, api: TensorRt, capability: str, precision: str
) -> None:
    from geoflow_ros.export.engines import export_engines

    good = PrecisionCheck("fp16", "onnxruntime", "pairs of a test", 512, 2.005, 2.0, 0.1, 0.01)
    options = {"precision": precision, "compute_capabilities": [capability], "check": lambda _: good}
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
def test_a_build_that_fails_says_why(api: TensorRt, bundle: Bundle, tmp_path: Path) -> None:
    spec = bundle.manifest.tensors[HEAD]
    garbage = tmp_path / "head.onnx"
    garbage.write_bytes(b"no graph")
    options = {"compute_capability": "sm86", "gpu": None}
    with pytest.raises(BundleError, match=r"head.onnx cannot be parsed by tensorrt_rtx [\d.]+ \(\S"):
        build_engine(api, garbage, spec, workspace_bytes=WORKSPACE_BYTES, **options)
    encoder = bundle.manifest.tensors[SATELLITE_ENCODER]
    with pytest.raises(BundleError, match="could not build.*OutOfMemory.*raise the workspace limit"):
        build_engine(api, bundle.graph_path(SATELLITE_ENCODER), encoder, workspace_bytes=1 << 10, **options)


@needs_rtx
def test_verbose_builds_say_what_tensorrt_does(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    request = EngineRequest(bundle, HEAD, Target(TENSORRT_RTX, "", "sm86", None), "fp32", WORKSPACE_BYTES)
    with caplog.at_level(logging.INFO, "geoflow_ros"):
        build(TensorRt(TENSORRT_RTX), request)
        assert not caplog.records
        build(TensorRt(TENSORRT_RTX, verbose=True), request)
    assert any("tensorrt_rtx" in record.getMessage() for record in caplog.records)


def test_silu_is_exported_in_the_form_that_parsers_fuse(bundle: Bundle) -> None:
    onnx = pytest.importorskip("onnx")
    for graph in (SATELLITE_ENCODER, GROUND_ENCODER):
        model = onnx.load(str(bundle.graph_path(graph)))
        readers: dict[str, list[str]] = {}
        for node in model.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node.op_type)
        gates = [node for node in model.graph.node if node.op_type == "Sigmoid"]
        assert len(gates) == 64
        assert all(readers[node.output[0]] == ["Mul"] for node in gates)
        assert not {"Swish", "HardSwish"} & {node.op_type for node in model.graph.node}
        assert max(entry.version for entry in model.opset_import if entry.domain == "") < 24


# Engines on disk


@needs_rtx
def test_an_engine_that_fits_is_read(
    request_of: Callable[..., EngineRequest], head_engine: tuple[bytes, EngineRecord], tmp_path: Path
) -> None:
    write_engine(tmp_path, *head_engine)
    assert read_engine(tmp_path, request_of()) == head_engine[0]
    assert {path.name for path in tmp_path.iterdir()} >= {"head.engine", "head.json"}
    assert not list(tmp_path.glob(".head*"))  # no drafts are left
    assert EngineRecord.read(tmp_path / "head.json") == head_engine[1]


@needs_rtx
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"onnx_sha256": "0" * 64}, "built from other weights"),
        ({"precision": "fp16"}, "it is fp16, not fp32"),
        ({"graph": SATELLITE_ENCODER}, "it is the satellite_encoder"),
        ({"profiles": {"B": (1, 1, 1), "N": (1, 10, 64)}}, "other numbers of cameras or hypotheses"),
        ({"target": {"version": "1.0.0"}}, "built by tensorrt_rtx 1.0.0, here is tensorrt_rtx"),
        ({"target": {"flavour": "tensorrt"}}, "built by tensorrt "),
        ({"target": {"compute_capability": "sm89"}}, "for sm89, this GPU is sm86"),
        ({"target": {"gpu": "NVIDIA RTX A2000"}}, "timed on 'NVIDIA RTX A2000', this GPU is 'Other'"),
    ],
)
def test_an_engine_of_something_else_is_refused(
    request_of: Callable[..., EngineRequest],
    head_engine: tuple[bytes, EngineRecord],
    change: dict[str, object],
    reason: str,
    tmp_path: Path,
) -> None:
    path = write_engine(tmp_path, *head_engine).with_suffix(".json")
    content = asdict(head_engine[1])
    target = change.pop("target", {})
    content = {**content, **change, "target": {**content["target"], **target}}  # type: ignore[dict-item]
    path.write_text(json.dumps(content, default=dict))
    request = request_of(target=replace(request_of().target, gpu="Other"))
    with pytest.raises(BundleError, match=reason):
        read_engine(tmp_path, request)


@needs_rtx
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("head.engine", b"", "it is empty"),
        ("head.engine", bytes(1000), "cut short or changed"),
        ("head.engine", None, "cannot be read"),
        ("head.json", None, "cannot be read"),
        ("head.json", b"{", "not the record of an engine"),
        ("head.json", b'{"graph": "head"}', "not the record of an engine"),
        ("head.json", b"[]", "not the record of an engine"),
        ("head.json", b"\xff\xfe", "not the record of an engine"),
    ],
)
def test_damaged_files_are_refused(
    request_of: Callable[..., EngineRequest],
    head_engine: tuple[bytes, EngineRecord],
    name: str,
    content: bytes | None,
    reason: str,
    tmp_path: Path,
) -> None:
    write_engine(tmp_path, *head_engine)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=reason):
        read_engine(tmp_path, request_of())


@needs_rtx
def test_an_engine_cut_short_is_built_again(
    api: TensorRt, request_of: Callable[..., EngineRequest], head_engine: tuple[bytes, EngineRecord], tmp_path: Path
) -> None:
    request = request_of()
    folder = tmp_path / request.target.folder_name("fp32")
    path = write_engine(folder, head_engine[0][:5000], head_engine[1])
    with pytest.raises(BundleError, match="cut short.*geoflow export --tensorrt"):
        load_or_build(api, request, [tmp_path], bytes, may_build=False)
    plan = load_or_build(api, request, [tmp_path], bytes)
    assert len(plan) > 100_000
    assert path.read_bytes() == plan == read_engine(folder, request)


@needs_rtx
def test_an_engine_is_built_again_when_asked_or_when_the_library_refuses_it(
    api: TensorRt, request_of: Callable[..., EngineRequest], head_engine: tuple[bytes, EngineRecord], tmp_path: Path
) -> None:
    request = request_of()
    folder = tmp_path / request.target.folder_name("fp32")
    before = write_engine(folder, *head_engine).stat().st_mtime_ns
    assert load_or_build(api, request, [tmp_path], bytes) == head_engine[0]
    assert (folder / "head.engine").stat().st_mtime_ns == before
    load_or_build(api, request, [tmp_path], bytes, force=True)
    rebuilt = (folder / "head.engine").stat().st_mtime_ns
    assert rebuilt > before

    attempts = []

    def refuse_once(plan: bytes) -> int:
        attempts.append(plan)
        if len(attempts) == 1:
            raise BundleError("tensorrt refuses the engine (driver)")
        return len(plan)

    assert load_or_build(api, request, [tmp_path], refuse_once) == len(attempts[-1])
    assert (folder / "head.engine").stat().st_mtime_ns > rebuilt


@needs_rtx
def test_engines_of_other_weights_are_built_again(
    api: TensorRt, bundle: Bundle, request_of: Callable[..., EngineRequest], tmp_path: Path
) -> None:
    """The folder of a vehicle, kept over an update of the bundle."""
    request = request_of()
    load_or_build(api, request, [tmp_path], bytes)
    files = {**bundle.manifest.files, "head.onnx": "1" * 64}
    updated = replace(request, bundle=Bundle(bundle.path, replace(bundle.manifest, files=files)))
    folder = tmp_path / request.target.folder_name("fp32")
    with pytest.raises(BundleError, match="other weights"):
        read_engine(folder, updated)
    load_or_build(api, updated, [tmp_path], bytes)
    assert EngineRecord.read(folder / "head.json").onnx_sha256 == "1" * 64


@needs_rtx
def test_a_folder_that_cannot_be_written_costs_a_warning(
    api: TensorRt, request_of: Callable[..., EngineRequest], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "engines").touch()  # a file in the folder's place stops even root
    with caplog.at_level(logging.WARNING, "geoflow_ros"):
        assert load_or_build(api, request_of(), [tmp_path / "engines"], len) > 100_000
    assert "cannot be kept" in caplog.text


@needs_rtx
def test_exported_engines_come_before_the_cache(
    bundle: Bundle, request_of: Callable[..., EngineRequest], head_engine: tuple[bytes, EngineRecord], api: TensorRt
) -> None:
    exported, cache = engine_roots(bundle, None)
    assert exported == bundle.path / "engines"
    assert cache.parent.name == "engines"
    request = request_of()
    plan = load_or_build(api, request, [cache / "none", cache], bytes)  # what is missing in the first goes to the last
    assert read_engine(cache / request.target.folder_name("fp32"), request) == plan
    write_engine(cache / "first" / request.target.folder_name("fp32"), *head_engine)
    assert load_or_build(api, request, [cache / "first", cache], bytes) == head_engine[0]


def _build_head(bundle: Path, root: Path, barrier: object, answers: object) -> None:
    api = TensorRt(TENSORRT_RTX)
    request = EngineRequest(Bundle.load(bundle), HEAD, Target.of(api, "sm86", None), "fp32", WORKSPACE_BYTES)
    barrier.wait(60)  # type: ignore[attr-defined]
    answers.put(len(load_or_build(api, request, [root], bytes)))  # type: ignore[attr-defined]


@needs_rtx
def test_two_processes_may_build_at_once(
    bundle: Bundle, request_of: Callable[..., EngineRequest], tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    arguments = (bundle.path, tmp_path, barrier, answers)
    builders = [context.Process(target=_build_head, args=arguments) for _ in range(2)]
    for builder in builders:
        builder.start()
    assert all(answers.get(timeout=120) > 100_000 for _ in builders)
    for builder in builders:
        builder.join(30)
        assert builder.exitcode == 0
    folder = tmp_path / request_of().target.folder_name("fp32")
    assert len(read_engine(folder, request_of())) > 100_000
    assert sorted(path.name for path in folder.iterdir()) == ["head.engine", "head.json"]


def test_float16_graphs_must_be_of_these_weights(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle_in(bundle, "fp32", "sm86", []) is bundle
    with pytest.raises(BundleError, match="--tensorrt --precision fp16 --compute-capability sm86"):
        bundle_in(bundle, "fp16", "sm86", [tmp_path])


# The machine


@needs_no_gpu
def test_a_machine_without_a_driver_is_told_so(bundle: Bundle) -> None:
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend

    with pytest.raises(InputError, match="no CUDA driver: install NVIDIA's, or choose another back end"):
        TensorRtBackend(bundle)


@needs_no_gpu
@needs_rtx
def test_an_engine_is_not_loaded_without_a_gpu(api: TensorRt, head_engine: tuple[bytes, EngineRecord]) -> None:
    """As far as the library goes without one: it must refuse, with a reason, and not fall over."""
    for plan in (head_engine[0], head_engine[0][:64], bytes(200), b""):
        with pytest.raises(BundleError, match=r"tensorrt_rtx [\d.]+ refuses the engine \(\S"):
            api.deserialize(plan)


def test_devices_and_counts_that_cannot_be_are_refused(bundle: Bundle) -> None:
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend

    for device in ("cpu", "cuda:first", "gpu:0"):
        with pytest.raises(InputError, match="must be cuda:0"):
            Cuda(device)
    with pytest.raises(InputError, match="not bf16"):
        TensorRtBackend(bundle, precision="bf16")
    for count, iterations, reason in ((0, 5, "at least 1"), (10, 0, "at least 1"), (1025, 5, "at most 1024")):
        with pytest.raises(InputError, match=reason):
            require_counts(np.zeros((1, count, 2), np.float32), iterations, MAX_HYPOTHESES)


# What a frame does on the GPU


class _HostMachine:
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


@pytest.mark.parametrize(("cameras", "iterations"), [(1, 1), (2, 2), (1, 5)])
def test_a_frame_on_the_device_is_the_frame_on_the_host(bundle: Bundle, cameras: int, iterations: int) -> None:
    backend = OnnxRuntimeBackend(bundle, threads=1)
    ground, tokens, hypotheses, probes = _frame_inputs(bundle, backend, cameras)
    layout = FrameLayout(bundle.manifest.tensors, Sizes(cameras, hypotheses.shape[1], len(probes), iterations))
    machine = _HostMachine(backend, layout)
    machine.device[TOKENS][...] = tokens
    machine.host.update(ground=ground, odd=hypotheses, probes=np.repeat(probes[None], cameras, 0), step=np.float32(0.5))
    expected = backend.frame(ground, tokens, hypotheses, probes, 0.5, iterations)
    for _ in range(2):  # the second frame finds what the first left behind
        machine.run(layout.frame())
        np.testing.assert_allclose(machine.host[PATH], expected.path[1:], atol=1e-6)
        for tensor, values in asdict(expected.probed).items():
            np.testing.assert_allclose(machine.host[layout.probed[tensor]], values, atol=1e-5)


def test_the_parts_of_a_frame_can_be_had_alone(bundle: Bundle) -> None:
    backend = OnnxRuntimeBackend(bundle, threads=1)
    ground, tokens, hypotheses, _ = _frame_inputs(bundle, backend, 1)
    layout = FrameLayout(bundle.manifest.tensors, Sizes(1, 1, hypotheses.shape[1], 1))
    machine = _HostMachine(backend, layout)
    machine.device[TOKENS][...] = tokens
    machine.host["ground"][...] = ground
    machine.run(layout.encode())
    f_vis = backend.f_vis(ground, tokens)
    np.testing.assert_allclose(machine.host["f_vis"], f_vis, atol=1e-6)
    machine.host.update(f_vis=2.0 * f_vis, probes=hypotheses, step=np.float32(0.25))
    machine.run(layout.ask())
    expected = backend.head(2.0 * f_vis, hypotheses, 0.25)
    np.testing.assert_allclose(machine.host[layout.probed["refined"]], expected.refined, atol=1e-6)


def test_no_context_writes_what_it_reads(bundle: Bundle) -> None:
    layout = FrameLayout(bundle.manifest.tensors, Sizes(1, 10, 25, 5))
    for binding in layout.bindings.values():
        spec = bundle.manifest.tensors[binding.graph]
        inputs, outputs = ([binding.buffers[tensor.name] for tensor in side] for side in (spec.inputs, spec.outputs))
        assert len({*inputs, *outputs}) == len(inputs) + len(outputs)


@needs_gpu
def test_frames_on_a_gpu_are_those_on_the_cpu(bundle: Bundle, tmp_path: Path) -> None:
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend

    reference = OnnxRuntimeBackend(bundle)
    try:
        backend = TensorRtBackend(bundle, tmp_path)
    except InputError as error:
        pytest.skip(str(error))
    radius_m = bundle.manifest.search_radius_m
    for cameras, iterations in ((1, 5), (4, 3), (1, 5), (1, 5)):
        ground, tokens, hypotheses, probes = _frame_inputs(bundle, reference, cameras)
        satellite = np.random.default_rng(1).integers(0, 256, _shape(bundle, SATELLITE_ENCODER, cameras), np.uint8)
        found = backend.frame(ground, backend.satellite_tokens(satellite), hypotheses, probes, 0.5, iterations)
        expected = reference.frame(ground, tokens, hypotheses, probes, 0.5, iterations)
        assert np.abs(found.path - expected.path).max() * radius_m < 0.01
        for name, values in asdict(expected.probed).items():
            np.testing.assert_allclose(asdict(found.probed)[name], values, rtol=1e-2, atol=1e-3)
    assert backend.uses_graph


def _frame_inputs(
    bundle: Bundle, backend: OnnxRuntimeBackend, cameras: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Camera images, satellite tokens, hypotheses and probes."""
    satellite = np.random.default_rng(1).integers(0, 256, _shape(bundle, SATELLITE_ENCODER, cameras), np.uint8)
    ground = np.random.default_rng(2).integers(0, 256, _shape(bundle, GROUND_ENCODER, cameras), np.uint8)
    return ground, backend.satellite_tokens(satellite), sample_hypotheses(cameras, 10, 3), sample_hypotheses(1, 7, 4)[0]


def _shape(bundle: Bundle, graph: str, cameras: int) -> tuple[int, ...]:
    _, *image = bundle.manifest.tensors[graph].inputs[0].shape
    return (cameras, *(int(side) for side in image))
