"""`geoflow evaluate` and `geoflow bench`: figures printed and written."""

import json
import shutil
from pathlib import Path

import pytest
from fakes.command_line import run


def test_synthetic_writes_its_figures(
    converging_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tmp_path / "figures.json"
    arguments = ["--area", "cross", "--model", converging_bundle, "--pairs", "2", "--seed", "3", "--json", facts]
    assert run("evaluate", "synthetic", *arguments, "--hypotheses", "4", "--iterations", "2", "--quiet") == 0
    assert "2 pairs, cross-area" in capsys.readouterr().out
    result = json.loads(facts.read_text())
    assert result["pairs"] == 2
    assert result["hypotheses"] == 4
    assert result["iterations"] == 2
    assert result["mean_error_m"] > 0


def test_figures_of_conditions_are_recorded_under_their_own_name(converging_bundle: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(converging_bundle, model)
    arguments = ["--area", "cross", "--model", model, "--pairs", "1", "--conditions", "road", "--record", "--quiet"]
    assert run("evaluate", "synthetic", *arguments) == 0
    figures = json.loads((model / "manifest.json").read_text())["figures"]
    assert figures["synthetic-cross-road"]["conditions"] == "road"
    assert "synthetic-cross" not in figures


def test_bench_measures_the_renderer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "--renderer", "--frames", "1", "--threads", "1", "--json", tmp_path / "bench.json") == 0
    assert "frames/s" in capsys.readouterr().out
    assert json.loads((tmp_path / "bench.json").read_text())["half"]["frames_per_second"] > 0
