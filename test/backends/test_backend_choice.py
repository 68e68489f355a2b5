"""Which engine runs a bundle: what was asked for, what "auto" takes, and what is refused."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from geoflow_ros.backends import (
    BackendOptions,
    OnnxRuntimeBackend,
    choice,
    cpu,
    open_backend,
    openvino_backend,
    openvino_engine,
    timing,
)
from geoflow_ros.bundle import Bundle, PrecisionCheck
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.annotate import store_precision_check

CHECK = PrecisionCheck("bf16", "an engine", "cross-area pairs", 512, 4.04, 4.0, 0.5, 0.01)


needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


@pytest.fixture
def cpu_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives the CPU these instruction sets, as far as it is asked by its flags."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)

    def set_flags(flags: str) -> None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
        monkeypatch.setattr(cpu, "CPU_INFO", tmp_path / "cpuinfo")

    return set_flags


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The precisions that OpenVINO was opened in, by an OpenVINO that has them all and runs nothing."""
    precisions: list[str] = []
    core = SimpleNamespace(get_property=lambda *_: ["FP32", "BF16"])
    monkeypatch.setattr(openvino_engine, "openvino_core", lambda: core)
    monkeypatch.setattr(
        openvino_backend, "OpenVinoBackend", lambda bundle, precision, **_: precisions.append(precision)
    )
    monkeypatch.setattr(choice, "find_spec", lambda name: name if name == "openvino" else None)
    monkeypatch.setattr(choice, "version", lambda name: "0")
    return precisions


def with_check(bundle: Bundle, check: PrecisionCheck) -> Bundle:
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
def test_options_that_name_nothing_are_refused_with_what_there_is(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        BackendOptions(**options)


def test_what_was_asked_for_is_opened(small_bundle: Bundle) -> None:
    backend = open_backend(small_bundle, BackendOptions("onnxruntime", threads=1))
    assert isinstance(backend, OnnxRuntimeBackend)
    assert backend.precision == "fp32"
    assert "onnxruntime" in backend.name


def test_execution_providers_are_onnxruntimes(small_bundle: Bundle) -> None:
    backend = open_backend(small_bundle, BackendOptions(providers=("CPUExecutionProvider",)))
    assert isinstance(backend, OnnxRuntimeBackend)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is remembered about timings, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "geoflow_ros" / "cpu-backend"


@pytest.fixture
def times_ms(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What each back end takes for a camera image on a machine without other work; a test may change it."""
    monkeypatch.setattr(choice.WorkOfOthers, "share", lambda self: 0.0)
    times = {"onnxruntime": 20.0, "openvino": 10.0}
    monkeypatch.setattr(choice, "camera_image_ms", lambda bundle, options: times[options.backend])
    return times


@needs_openvino
def test_auto_times_openvino_and_onnxruntime_in_processes_of_their_own(small_bundle: Bundle, own_cache: Path) -> None:
    first = open_backend(small_bundle, BackendOptions(threads=1))
    (note,) = own_cache.glob("*.json")
    told = json.loads(note.read_text())
    assert first.name.startswith(told["quicker"])
    assert set(told["ground_ms"]) == {"onnxruntime", "openvino"}
    assert told["ground_ms"][told["quicker"]] == min(told["ground_ms"].values()) > 0.0
    assert first.precision == "fp32"  # this bundle holds no check


@needs_openvino
@pytest.mark.parametrize("quicker", ["onnxruntime", "openvino"])
def test_auto_takes_the_quicker_and_remembers_it(
    small_bundle: Bundle, own_cache: Path, times_ms: dict[str, float], quicker: str
) -> None:
    times_ms[quicker] = 1.0
    assert open_backend(small_bundle, BackendOptions(threads=1)).name.startswith(quicker)
    times_ms[quicker] = 99.0  # what is remembered decides, not another timing
    assert open_backend(small_bundle, BackendOptions(threads=1)).name.startswith(quicker)
    (note,) = own_cache.glob("*.json")
    note.write_text("not json")
    assert not open_backend(small_bundle, BackendOptions(threads=1)).name.startswith(quicker)


@needs_openvino
def test_what_was_quicker_on_a_busy_machine_is_timed_again_until_it_is_sure_or_the_machine_is_always_busy(
    small_bundle: Bundle, own_cache: Path, times_ms: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = [0.9, 0.8, 0.1]

    def engine() -> str:
        return open_backend(small_bundle, BackendOptions(threads=1)).name.split()[0].lower()

    monkeypatch.setattr(choice.WorkOfOthers, "share", lambda self: shares.pop(0))
    times_ms.update(onnxruntime=1.0)
    assert engine() == "onnxruntime"
    times_ms.update(onnxruntime=99.0)
    assert engine() == "openvino"  # timed again
    times_ms.update(onnxruntime=1.0)
    assert engine() == "onnxruntime"  # and again, on an idle machine
    times_ms.update(onnxruntime=99.0)
    assert engine() == "onnxruntime"  # which counts
    assert shares == []
    (note,) = own_cache.glob("*.json")
    note.unlink()
    shares += [0.9, 0.9, 0.9]
    for _ in range(4):
        assert engine() == "openvino"
    assert shares == []  # a fourth timing would have found none


@needs_openvino
def test_a_timing_that_cannot_be_taken_leaves_onnxruntime_and_no_note(
    small_bundle: Bundle, own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for python, reason in (("/no/such/python", "No such file"), ("/bin/false", "ended with 1")):
        monkeypatch.setattr(timing.sys, "executable", python)  # type: ignore[attr-defined]
        caplog.clear()
        with caplog.at_level(logging.INFO, "geoflow_ros"):
            assert isinstance(open_backend(small_bundle, BackendOptions(threads=1)), OnnxRuntimeBackend)
        assert any("openvino is not used" in r.message and reason in r.message for r in caplog.records)
        assert not own_cache.exists()


@needs_openvino
def test_a_cache_that_cannot_be_written_is_done_without(
    small_bundle: Bundle, own_cache: Path, times_ms: dict[str, float]
) -> None:
    own_cache.parent.write_text("a file where the folder would be")
    assert open_backend(small_bundle, BackendOptions(threads=1)).name


def test_auto_says_in_the_log_what_it_passed_over(
    small_bundle: Bundle, times_ms: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    from geoflow_ros.backends.tensorrt.cuda import Cuda

    try:
        Cuda("cuda:0")
    except InputError:
        pass
    else:
        pytest.skip("there is a GPU: TensorRT is not passed over")
    with caplog.at_level(logging.INFO, "geoflow_ros"):
        open_backend(small_bundle, BackendOptions(threads=1))
    assert any("tensorrt_rtx is not used" in record.message for record in caplog.records)


def test_a_reduced_precision_needs_a_check_that_passed(small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="geoflow evaluate precision"):
        open_backend(small_bundle, BackendOptions("openvino", "bf16"))
    worse = replace(CHECK, mean_error_m=4.09)  # 2.25 %
    with pytest.raises(InputError, match="geoflow evaluate precision"):
        open_backend(with_check(small_bundle, worse), BackendOptions("openvino", "bf16"))
    few = replace(CHECK, pairs=499)
    with pytest.raises(InputError, match="geoflow evaluate precision"):
        open_backend(with_check(small_bundle, few), BackendOptions("openvino", "bf16"))


@needs_openvino
@pytest.mark.skipif(not cpu.has_bfloat16(), reason="this CPU has no bfloat16 instructions")
def test_with_a_check_that_passed_the_reduced_precision_is_used(small_bundle: Bundle) -> None:
    checked = with_check(small_bundle, CHECK)
    assert open_backend(checked, BackendOptions("openvino", threads=1)).precision == "bf16"


@pytest.mark.parametrize("flags", ["fpu avx2 avx512f avx512_bf16", "fpu avx2 avx512f amx_bf16"])
def test_a_processor_with_bfloat16_runs_openvino_in_it_where_a_check_passed(
    small_bundle: Bundle, cpu_with: Callable[[str], None], opened: list[str], flags: str
) -> None:
    cpu_with(flags)
    checked = with_check(small_bundle, CHECK)
    for options, precision in (
        (BackendOptions("openvino", "bf16"), "bf16"),
        (BackendOptions("openvino"), "bf16"),
        (BackendOptions("openvino", "fp32"), "fp32"),
        (BackendOptions(precision="bf16"), "bf16"),
    ):
        open_backend(checked, options)
        assert opened[-1] == precision
    open_backend(small_bundle, BackendOptions("openvino"))
    assert opened[-1] == "fp32"  # no check


@needs_openvino
@pytest.mark.parametrize("flags", ["fpu sse2 avx2", "fpu avx2 avx512f avx512_vnni", ""])
def test_a_processor_without_bfloat16_runs_openvino_in_float32(
    small_bundle: Bundle, cpu_with: Callable[[str], None], times_ms: dict[str, float], flags: str
) -> None:
    cpu_with(flags)
    checked = with_check(small_bundle, CHECK)
    assert open_backend(checked, BackendOptions("openvino", threads=1)).precision == "fp32"
    assert open_backend(checked, BackendOptions(threads=1)).name.startswith("openvino")
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
def test_the_way_to_a_missing_check_is_named(small_bundle: Bundle, backend: str, precision: str, remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        open_backend(small_bundle, BackendOptions(backend, precision))


def test_each_tensorrt_has_its_turn_first_the_one_with_engines(
    small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from geoflow_ros.backends.tensorrt import backend, engine

    monkeypatch.setattr(engine, "installed_flavours", lambda: ("tensorrt", "tensorrt_rtx"))
    monkeypatch.setattr(choice, "find_spec", lambda name: name if name.startswith("tensorrt") else None)
    monkeypatch.setattr(backend, "has_float16", lambda *_: False)

    def refuse(*_: object, flavour: str, **__: object) -> None:
        raise InputError(f"{flavour} was tried")

    monkeypatch.setattr(backend, "TensorRtBackend", refuse)

    def tried() -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "geoflow_ros"):
            open_backend(small_bundle, BackendOptions(threads=1, engine_file_path=tmp_path))
        return [record.message for record in caplog.records if "is not used" in record.message]

    both = [f"{name} is not used: {name} was tried" for name in ("tensorrt", "tensorrt_rtx")]
    assert tried() == both
    (tmp_path / "tensorrt_rtx-sm86-fp32").mkdir()
    assert tried() == both[::-1]


def test_a_check_is_kept_in_the_manifest_in_the_place_of_the_last(converging_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(converging_bundle, folder)
    store_precision_check(folder, replace(CHECK, pairs=10))
    store_precision_check(folder, CHECK)
    manifest = Bundle.load(folder).manifest
    assert manifest.precision_checks == (CHECK,)
    assert manifest.allows("bf16")
    assert not manifest.allows("fp16")


def test_the_change_is_that_of_the_mean_error() -> None:
    assert CHECK.change == pytest.approx(0.01)
    assert replace(CHECK, precision="fp16", mean_error_m=4.03).passes
    assert not replace(CHECK, precision="fp16", mean_error_m=4.04).passes  # 1 % is not below 1 %
    assert "+1.00 %" in CHECK.describe()
