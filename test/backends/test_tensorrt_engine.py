"""TensorRT engines on disk: read, refused and built again."""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fakes.tensorrt import build_head, needs_rtx

from geoflow_ros.backends.tensorrt.api import TensorRt
from geoflow_ros.backends.tensorrt.engine import (
    EngineRecord,
    EngineRequest,
    bundle_in,
    engine_roots,
    load_or_build,
    read_engine,
    write_engine,
)
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.methods import SATELLITE_ENCODER
from geoflow_ros.errors import BundleError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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
    api: TensorRt, small_bundle: Bundle, request_of: Callable[..., EngineRequest], tmp_path: Path
) -> None:
    """The folder of a vehicle, kept over an update of the small_bundle."""
    request = request_of()
    load_or_build(api, request, [tmp_path], bytes)
    files = {**small_bundle.manifest.files, "head.onnx": "1" * 64}
    updated = replace(request, bundle=Bundle(small_bundle.path, replace(small_bundle.manifest, files=files)))
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
    small_bundle: Bundle,
    request_of: Callable[..., EngineRequest],
    head_engine: tuple[bytes, EngineRecord],
    api: TensorRt,
) -> None:
    exported, cache = engine_roots(small_bundle, None)
    assert exported == small_bundle.path / "engines"
    assert cache.parent.name == "engines"
    request = request_of()
    plan = load_or_build(api, request, [cache / "none", cache], bytes)  # what is missing in the first goes to the last
    assert read_engine(cache / request.target.folder_name("fp32"), request) == plan
    write_engine(cache / "first" / request.target.folder_name("fp32"), *head_engine)
    assert load_or_build(api, request, [cache / "first", cache], bytes) == head_engine[0]


@needs_rtx
def test_two_processes_may_build_at_once(
    small_bundle: Bundle, request_of: Callable[..., EngineRequest], tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    arguments = (small_bundle.path, tmp_path, barrier, answers)
    builders = [context.Process(target=build_head, args=arguments) for _ in range(2)]
    for builder in builders:
        builder.start()
    assert all(answers.get(timeout=120) > 100_000 for _ in builders)
    for builder in builders:
        builder.join(30)
        assert builder.exitcode == 0
    folder = tmp_path / request_of().target.folder_name("fp32")
    assert len(read_engine(folder, request_of())) > 100_000
    assert sorted(path.name for path in folder.iterdir()) == ["head.engine", "head.json"]


def test_float16_graphs_must_be_of_these_weights(small_bundle: Bundle, tmp_path: Path) -> None:
    assert bundle_in(small_bundle, "fp32", "sm86", []) is small_bundle
    with pytest.raises(BundleError, match="--tensorrt --precision fp16 --compute-capability sm86"):
        bundle_in(small_bundle, "fp16", "sm86", [tmp_path])
