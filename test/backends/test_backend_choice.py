"""Which engine runs a bundle: what was asked for, what "auto" takes, and what is refused."""

import json
import logging
from dataclasses import replace

import pytest

from geoflow_ros.backends import BackendOptions, OnnxRuntimeBackend, open_backend
from geoflow_ros.backends import choice as backends
from geoflow_ros.bundle import Bundle, PrecisionCheck
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.annotate import store_precision_check

CHECK = PrecisionCheck("bf16", "an engine", "cross-area pairs", 512, 4.04, 4.0, 0.5, 0.01)


@pytest.fixture(scope="module")
def bundle(converging_bundle):
    return Bundle.load(converging_bundle)


def with_check(bundle, check):
    return Bundle(bundle.path, replace(bundle.manifest, precision_checks=(check,)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"backend": "abacus"}, "abacus.*onnxruntime"),
        ({"backend": "onnxruntime", "precision": "int4"}, "int4.*fp32"),
        ({"precision": "int4"}, "int4.*bf16"),
        ({"backend": "onnxruntime", "precision": "fp16"}, "fp16.*fp32"),
        ({"threads": 0}, "threads"),
        ({"max_workspace_size": 0}, "max_workspace_size"),
    ],
)
def test_options_that_name_nothing_are_refused_with_what_there_is(options, text):
    with pytest.raises(InputError, match=text):
        BackendOptions(**options)


def test_what_was_asked_for_is_opened(bundle):
    backend = open_backend(bundle, BackendOptions("onnxruntime", threads=1))
    assert isinstance(backend, OnnxRuntimeBackend)
    assert backend.precision == "fp32"
    assert "onnxruntime" in backend.name


def test_execution_providers_are_onnxruntimes(bundle):
    backend = open_backend(bundle, BackendOptions(providers=("CPUExecutionProvider",)))
    assert isinstance(backend, OnnxRuntimeBackend)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "geoflow_ros" / "cpu-backend"


def test_auto_times_openvino_and_onnxruntime_once_and_remembers_the_quicker(bundle, own_cache):
    pytest.importorskip("openvino", reason="openvino is not installed")
    first = open_backend(bundle, BackendOptions(threads=1))
    (note,) = own_cache.glob("*.json")
    told = json.loads(note.read_text())
    assert first.name.startswith(told["winner"])
    assert told["ground_ms"][told["winner"]] == min(told["ground_ms"].values())
    assert first.precision == "fp32"  # this bundle holds no check
    for other in ("onnxruntime", "openvino"):  # what is remembered decides, not another race
        note.write_text(json.dumps({**told, "winner": other}))
        assert open_backend(bundle, BackendOptions(threads=1)).name.startswith(other)
    note.write_text("not json")
    open_backend(bundle, BackendOptions(threads=1))
    assert json.loads(note.read_text())["winner"] in ("onnxruntime", "openvino")


def test_a_race_that_cannot_be_run_leaves_onnxruntime_and_no_note(bundle, own_cache, monkeypatch, caplog):
    pytest.importorskip("openvino", reason="openvino is not installed")
    from geoflow_ros.backends import timing

    for python, reason in (("/no/such/python", "No such file"), ("/bin/false", "ended with 1")):
        monkeypatch.setattr(timing.sys, "executable", python)
        caplog.clear()
        with caplog.at_level(logging.INFO, "geoflow_ros"):
            assert isinstance(open_backend(bundle, BackendOptions(threads=1)), OnnxRuntimeBackend)
        assert any("openvino is not used" in r.message and reason in r.message for r in caplog.records)
        assert not own_cache.exists()


def test_a_cache_that_cannot_be_written_is_done_without(bundle, own_cache):
    pytest.importorskip("openvino", reason="openvino is not installed")
    own_cache.parent.write_text("a file where the folder would be")
    assert open_backend(bundle, BackendOptions(threads=1)).name


def test_auto_says_in_the_log_what_it_passed_over(bundle, caplog):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    from geoflow_ros.backends.tensorrt.cuda import Cuda

    try:
        Cuda("cuda:0")
    except InputError:
        pass
    else:
        pytest.skip("there is a GPU: TensorRT is not passed over")
    with caplog.at_level(logging.INFO, "geoflow_ros"):
        open_backend(bundle, BackendOptions(threads=1))
    assert any("tensorrt_rtx is not used" in record.message for record in caplog.records)


def test_a_reduced_precision_needs_a_check_that_passed(bundle):
    with pytest.raises(InputError, match="geoflow evaluate precision"):
        open_backend(bundle, BackendOptions("openvino", "bf16"))
    worse = replace(CHECK, mean_error_m=4.09)  # 2.25 %
    with pytest.raises(InputError, match="geoflow evaluate precision"):
        open_backend(with_check(bundle, worse), BackendOptions("openvino", "bf16"))
    few = replace(CHECK, pairs=499)
    with pytest.raises(InputError, match="geoflow evaluate precision"):
        open_backend(with_check(bundle, few), BackendOptions("openvino", "bf16"))


def test_with_a_check_that_passed_the_reduced_precision_is_used(bundle):
    pytest.importorskip("openvino", reason="openvino is not installed")
    checked = with_check(bundle, CHECK)
    assert open_backend(checked, BackendOptions("openvino", "bf16", threads=1)).precision == "bf16"
    assert open_backend(checked, BackendOptions("openvino", threads=1)).precision == "bf16"
    assert open_backend(checked, BackendOptions("openvino", "fp32", threads=1)).precision == "fp32"
    assert open_backend(checked, BackendOptions(precision="bf16", threads=1)).precision == "bf16"


def test_a_processor_without_bfloat16_runs_openvino_in_float32(bundle, monkeypatch, own_cache):
    pytest.importorskip("openvino", reason="openvino is not installed")
    from geoflow_ros.backends import openvino_backend

    monkeypatch.setattr(openvino_backend, "has_bfloat16", lambda: False)
    checked = with_check(bundle, CHECK)
    assert open_backend(checked, BackendOptions("openvino", threads=1)).precision == "fp32"
    open_backend(checked, BackendOptions(threads=1))
    (note,) = own_cache.glob("*.json")
    assert set(json.loads(note.read_text())["ground_ms"]) == {"onnxruntime", "openvino"}
    with pytest.raises(InputError, match="no bfloat16 instructions"):
        open_backend(checked, BackendOptions("openvino", "bf16"))


@pytest.mark.parametrize(
    ("backend", "precision", "remedy"),
    [
        ("openvino", "bf16", "geoflow evaluate precision .* --backend openvino --precision bf16 --record"),
        ("torch", "fp16", "geoflow evaluate precision .* --backend torch --precision fp16 --record"),
        ("tensorrt", "fp16", "geoflow export --bundle .* --tensorrt --precision fp16"),
        ("auto", "bf16", "--backend openvino --precision bf16"),
        ("auto", "fp16", "geoflow export --bundle"),
    ],
)
def test_the_way_to_a_missing_check_is_named(bundle, backend, precision, remedy):
    with pytest.raises(InputError, match=remedy):
        open_backend(bundle, BackendOptions(backend, precision))


def test_each_tensorrt_has_its_turn_first_the_one_with_engines(bundle, tmp_path, monkeypatch, caplog):
    from geoflow_ros.backends.tensorrt import backend, engine

    monkeypatch.setattr(engine, "installed_flavours", lambda: ("tensorrt", "tensorrt_rtx"))
    monkeypatch.setattr(backends, "find_spec", lambda name: name if name.startswith("tensorrt") else None)
    monkeypatch.setattr(backend, "has_float16", lambda *_: False)

    def refuse(*_, flavour, **__):
        raise InputError(f"{flavour} was tried")

    monkeypatch.setattr(backend, "TensorRtBackend", refuse)

    def tried():
        caplog.clear()
        with caplog.at_level(logging.INFO, "geoflow_ros"):
            open_backend(bundle, BackendOptions(threads=1, engine_file_path=tmp_path))
        return [record.message for record in caplog.records if "is not used" in record.message]

    both = [f"{name} is not used: {name} was tried" for name in ("tensorrt", "tensorrt_rtx")]
    assert tried() == both
    (tmp_path / "tensorrt_rtx-sm86-fp32").mkdir()
    assert tried() == both[::-1]


def test_a_check_is_kept_in_the_manifest_in_the_place_of_the_last(converging_bundle, tmp_path):
    import shutil

    folder = tmp_path / "bundle"
    shutil.copytree(converging_bundle, folder)
    store_precision_check(folder, replace(CHECK, pairs=10))
    store_precision_check(folder, CHECK)
    manifest = Bundle.load(folder).manifest
    assert manifest.precision_checks == (CHECK,)
    assert manifest.allows("bf16")
    assert not manifest.allows("fp16")


def test_the_change_is_that_of_the_mean_error():
    assert CHECK.change == pytest.approx(0.01)
    assert replace(CHECK, precision="fp16", mean_error_m=4.03).passes
    assert not replace(CHECK, precision="fp16", mean_error_m=4.04).passes  # 1 % is not below 1 %
    assert "+1.00 %" in CHECK.describe()
