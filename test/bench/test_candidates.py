"""The back ends that can be measured, and those that cannot run here."""

import pytest

from geoflow_ros.backends.tensorrt import api
from geoflow_ros.bench import candidates
from geoflow_ros.bench.candidates import CANDIDATES, Candidate, reason_of, require_available
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError


def test_every_back_end_has_its_own_label_and_a_wrong_one_is_refused() -> None:
    assert len({candidate.label for candidate in CANDIDATES}) == len(CANDIDATES)
    for candidate in CANDIDATES:
        assert Candidate.of_label(candidate.label) == candidate
    with pytest.raises(InputError, match="openvino bf16"):
        Candidate.of_label("abacus")


def test_onnxruntime_runs_everywhere(bundle: Bundle) -> None:
    require_available(bundle, Candidate.of_label("onnxruntime fp32"))


@pytest.mark.parametrize("label", ["openvino bf16", "torch bf16"])
def test_bfloat16_needs_a_cpu_that_has_it(label: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "has_bfloat16", lambda: False)
    with pytest.raises(InputError, match="no bfloat16 instructions"):
        require_available(bundle, Candidate.of_label(label))


@pytest.mark.parametrize("label", ["torch fp32", "torch GPU fp16"])
def test_torch_needs_the_checkpoint(label: str, bundle: Bundle) -> None:
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="--with-checkpoint"):
        require_available(bundle, Candidate.of_label(label))


def test_torch_on_a_gpu_needs_one(monkeypatch: pytest.MonkeyPatch, shipped_bundle: Bundle) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA GPU"):
        require_available(shipped_bundle, Candidate.of_label("torch GPU fp32"))


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setattr(candidates, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as caught:
        require_available(bundle, Candidate.of_label("torch fp32"))
    assert reason_of(caught.value) == "torch is not installed"
    monkeypatch.setattr(api, "installed_flavours", lambda: ())
    with pytest.raises(InputError, match="neither tensorrt nor tensorrt_rtx is installed"):
        require_available(bundle, Candidate.of_label("tensorrt fp16"))
