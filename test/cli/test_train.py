"""`geoflow train`: a training in two sessions, and its learning curve."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from fakes.command_line import only_line, run
from fakes.orthophotos import collection


def test_a_training_is_interrupted_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoflow_ros.training.methods import GeoFlowMethod

    monkeypatch.setattr(
        GeoFlowMethod, "cpu", replace(GeoFlowMethod.cpu, pool=1)
    )  # one window of a city at a time: each takes seconds to make
    folder = tmp_path / "run"
    settings = ["--out", folder, "--steps", "2", "--batch-size", "4", "--validation-pairs", "1", "--workers", "1"]
    result = ["--json", tmp_path / "result.json"]
    assert run("train", *settings, *result, "--max-minutes", "0.0001") == 0
    stopped = json.loads((tmp_path / "result.json").read_text())
    assert not stopped["is_finished"]
    assert stopped["step"] < 2
    assert "--resume" in capsys.readouterr().out

    assert run("train", *settings, "--resume", "--conditions", "road") == 2
    assert "conditions was easy" in capsys.readouterr().err
    # a run from before conditions could be chosen was an easy one
    kept = json.loads((folder / "data.json").read_text())
    del kept["conditions"]
    (folder / "data.json").write_text(json.dumps(kept))

    assert run("train", *settings, *result, "--resume") == 0
    finished = json.loads((tmp_path / "result.json").read_text())
    assert finished["is_finished"]
    assert finished["step"] == 2
    assert Path(finished["best_checkpoint"]).is_file()

    assert run("evaluate", "curves", folder, "--out", tmp_path / "curves.png") == 0
    assert cv2.imread(str(tmp_path / "curves.png")) is not None


def test_what_is_of_the_other_method_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--method", "birds_eye", "--orientation", "--out", tmp_path / "run", "--steps", "1") == 2
    assert "of the method geoflow" in only_line(capsys)
    assert not (tmp_path / "run").exists()


def test_orthophotos_that_cannot_be_used_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--out", tmp_path / "run", "--steps", "1"]
    assert run("train", *settings, "--held-out", "aston") == 2
    assert "--orthophotos" in only_line(capsys)
    assert run("train", *settings, "--orthophotos", tmp_path) == 2
    assert "index.json" in only_line(capsys)
    folder = collection(tmp_path / "photos", ("aston",), 1)
    assert run("train", *settings, "--orthophotos", folder, "--held-out", "aston") == 2
    assert "aston" in only_line(capsys)
    assert not (tmp_path / "run").exists()
