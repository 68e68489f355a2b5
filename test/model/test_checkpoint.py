"""Checkpoints load as they were written, and nothing else loads."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from geoflow_ros.errors import CheckpointError
from geoflow_ros.model import (
    GeoFlow,
    GeoFlowConfig,
    load_checkpoint,
    load_imagenet,
    read_metadata,
    save_checkpoint,
    save_float16_parts,
)

HALF_SIZE = GeoFlowConfig(satellite_size_px=256, ground_height_px=128, ground_width_px=512, ground_resolution_m=0.3916)


@pytest.fixture(scope="module")
def model() -> GeoFlow:
    torch.manual_seed(5)
    return GeoFlow(HALF_SIZE).eval()


def assert_same_weights(first: GeoFlow, second: GeoFlow) -> None:
    expected = first.state_dict()
    assert expected.keys() == second.state_dict().keys()
    for name, tensor in second.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_our_checkpoint_comes_back_with_its_configuration_and_metadata(model: GeoFlow, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path / "a" / "model.safetensors", {"seed": 4})
    loaded = load_checkpoint(path)
    assert loaded.config == HALF_SIZE
    assert not loaded.training
    assert_same_weights(model, loaded)
    assert read_metadata(path) == {"seed": 4}
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.safetensors"]


def test_a_channels_last_network_is_stored_in_plain_order(model: GeoFlow, tmp_path: Path) -> None:
    reordered = GeoFlow(HALF_SIZE).to(memory_format=torch.channels_last)
    reordered.load_state_dict(model.state_dict())
    assert_same_weights(model, load_checkpoint(save_checkpoint(reordered, tmp_path / "m.safetensors")))


@pytest.mark.parametrize("has_orientation", [False, True])
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state, "epoch": 12, "best": 0.98}])
def test_the_authors_checkpoints_load(
    has_orientation: bool, wrap: Callable[[dict[str, torch.Tensor]], object], tmp_path: Path
) -> None:
    upstream = GeoFlow(GeoFlowConfig(predict_orientation=has_orientation))
    torch.save(wrap(upstream.state_dict()), tmp_path / "epoch.pth")
    loaded = load_checkpoint(tmp_path / "epoch.pth")
    assert loaded.config == GeoFlowConfig(predict_orientation=has_orientation)
    assert_same_weights(upstream, loaded)


def test_float16_parts_come_back_rounded(model: GeoFlow, tmp_path: Path) -> None:
    paths = save_float16_parts(model, tmp_path, {"seed": 4}, max_bytes=6_000_000)
    assert [path.name for path in paths] == [f"weights-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert all(path.stat().st_size <= 6_000_000 for path in paths)
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == HALF_SIZE
    assert read_metadata(tmp_path) == {"seed": 4}
    for name, tensor in model.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded.state_dict()[name], expected), name


def test_parts_of_an_earlier_save_do_not_stay(model: GeoFlow, tmp_path: Path) -> None:
    save_float16_parts(model, tmp_path, max_bytes=6_000_000)
    save_float16_parts(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "weights-00001-of-00001.safetensors"]
    load_checkpoint(tmp_path)


def test_parts_refuse_a_weight_beyond_float16(tmp_path: Path) -> None:
    large = GeoFlow()
    with torch.no_grad():
        large.sat_proj.bias[3] = 1e6
    with pytest.raises(CheckpointError, match="sat_proj.bias"):
        save_float16_parts(large, tmp_path)


def test_a_missing_part_is_refused(model: GeoFlow, tmp_path: Path) -> None:
    paths = save_float16_parts(model, tmp_path, max_bytes=6_000_000)
    paths[1].unlink()
    with pytest.raises(CheckpointError, match="part"):
        load_checkpoint(tmp_path)


def test_differences_are_named(model: GeoFlow, tmp_path: Path) -> None:
    state = dict(model.state_dict())
    del state["coord_proj.0.weight"]
    state["head.weight"] = torch.zeros(3)
    state["grd_proj.bias"] = torch.zeros(64)
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(tmp_path / "other.pth")
    message = str(refusal.value)
    assert "1 missing: coord_proj.0.weight" in message
    assert "1 unexpected: head.weight" in message
    assert "grd_proj.bias (64,) instead of (128,)" in message
    assert "\n" not in message


def test_a_whole_other_network_is_refused_in_one_short_line(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 4).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(CheckpointError, match="and 726 more.*2 unexpected: weight, bias") as refusal:
        load_checkpoint(tmp_path / "linear.pth")
    assert len(str(refusal.value)) < 1000


def test_weights_that_are_not_finite_are_refused(model: GeoFlow, tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["decoder_r.3.bias"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match="decoder_r.3.bias"):
        load_checkpoint(tmp_path / "nan.pth")


class _Payload:
    """Would create a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": _Payload(tmp_path / "created")}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Payload(tmp_path / "created")))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(CheckpointError, match="loaded safely"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "absent/"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="absent"):
        load_checkpoint(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"garbage that is no checkpoint", b"\x00" * 64])
@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_garbage_is_refused(content: bytes, name: str, model: GeoFlow, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "broken.safetensors")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="broken"):
        load_checkpoint(tmp_path / name)


def test_a_truncated_checkpoint_is_refused(model: GeoFlow, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path / "cut.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cut.safetensors"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("model_dim", "128"), ("predict_orientation", 1), ("satellite_size_px", 250), ("alignment", "up")],
)
def test_a_configuration_of_wrong_type_or_range_is_refused(
    field: str, value: object, model: GeoFlow, tmp_path: Path
) -> None:
    path = save_checkpoint(model, tmp_path / "m.safetensors")
    description = json.loads(path.with_suffix(".json").read_text())
    description["config"][field] = value
    path.with_suffix(".json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=field):
        load_checkpoint(path)


def test_weights_without_their_json_are_refused(model: GeoFlow, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path / "m.safetensors")
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="m.json is missing"):
        load_checkpoint(path)


def test_a_folder_that_cannot_be_written_is_named(model: GeoFlow, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(model, tmp_path / "file" / "m.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_imagenet_weights_start_both_encoders(suffix: str, model: GeoFlow, tmp_path: Path) -> None:
    published = {name: tensor.clone() for name, tensor in model.sat_extractor.state_dict().items()}
    published |= {"conv_head.weight": torch.zeros(1280, 320, 1, 1), "bn2.weight": torch.zeros(1280)}
    published |= {"classifier.weight": torch.zeros(1000, 1280), "classifier.bias": torch.zeros(1000)}
    path = tmp_path / f"imagenet{suffix}"
    if suffix == ".safetensors":
        save_file(published, path)
    else:
        torch.save(published, path)
    fresh = GeoFlow()
    load_imagenet(fresh, path)
    for encoder in (fresh.sat_extractor, fresh.grd_extractor):
        for name, tensor in encoder.state_dict().items():
            assert torch.equal(tensor, published[name]), name


def test_imagenet_weights_of_another_network_are_refused(model: GeoFlow, tmp_path: Path) -> None:
    path = save_checkpoint(model, tmp_path / "geoflow.safetensors")
    with pytest.raises(CheckpointError, match="conv_stem.weight"):
        load_imagenet(GeoFlow(), path)


def test_stored_tensors_are_float32(model: GeoFlow, tmp_path: Path) -> None:
    tensors = load_file(save_checkpoint(model, tmp_path / "m.safetensors"))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32, torch.int64}
