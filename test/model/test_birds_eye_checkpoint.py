"""Checkpoints name their method, and are loaded as what they are or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training is an extra")

from fakes.colour_pairs import tiny_model  # noqa: E402
from fakes.ground_cells import TINY_BIRDS_EYE, tiny_matcher  # noqa: E402

from geoflow_ros.errors import CheckpointError  # noqa: E402
from geoflow_ros.model import (  # noqa: E402
    load_birds_eye,
    load_checkpoint,
    method_of,
    read_metadata,
    save_checkpoint,
    save_float16_parts,
)


@pytest.fixture
def birds_eye(tmp_path: Path) -> Path:
    return save_checkpoint(tiny_matcher(), tmp_path / "birds_eye.safetensors", {"pairs": 7})


def test_a_checkpoint_comes_back_with_its_configuration(birds_eye: Path) -> None:
    model = load_birds_eye(birds_eye)
    assert model.config == TINY_BIRDS_EYE
    assert not model.training
    for name, tensor in tiny_matcher().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert method_of(birds_eye) == "birds_eye"
    assert read_metadata(birds_eye) == {"pairs": 7}


def test_half_precision_parts_come_back_too(tmp_path: Path) -> None:
    save_float16_parts(tiny_matcher(), tmp_path / "parts", max_bytes=10_000)
    assert len(list((tmp_path / "parts").glob("weights-*.safetensors"))) > 1
    loaded = load_birds_eye(tmp_path / "parts").state_dict()
    for name, tensor in tiny_matcher().state_dict().items():
        assert torch.allclose(loaded[name].float(), tensor.float(), atol=1e-3, rtol=1e-3), name


def test_a_checkpoint_of_the_other_method_is_refused_in_one_line(birds_eye: Path, tmp_path: Path) -> None:
    geoflow = save_checkpoint(tiny_model(), tmp_path / "geoflow.safetensors")
    with pytest.raises(CheckpointError, match="of the method birds_eye; here one of geoflow is needed") as refused:
        load_checkpoint(birds_eye)
    assert "\n" not in str(refused.value)
    with pytest.raises(CheckpointError, match="of the method geoflow; here one of birds_eye is needed"):
        load_birds_eye(geoflow)
    torch.save({"model": tiny_model().state_dict()}, tmp_path / "release.pth")
    with pytest.raises(CheckpointError, match="here one of birds_eye is needed"):
        load_birds_eye(tmp_path / "release.pth")


def test_checkpoints_from_before_methods_had_names_are_geoflows(tmp_path: Path) -> None:
    path = save_checkpoint(tiny_model(), tmp_path / "old.safetensors")
    description = json.loads(path.with_suffix(".json").read_text())
    assert description.pop("method") == "geoflow"
    path.with_suffix(".json").write_text(json.dumps(description))
    assert load_checkpoint(path).config == tiny_model().config
    path.with_suffix(".json").write_text(json.dumps({**description, "method": "sorcery"}))
    with pytest.raises(CheckpointError, match="method 'sorcery'"):
        load_checkpoint(path)
