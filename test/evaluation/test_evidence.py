"""Fitting evidence: calibrated where the signs say something, refused where they cannot, written by one command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.evidence import SIGNS_OF
from geoflow_ros.cli import main
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.evidence import GOOD_SHARE, _Answer, weigh
from geoflow_ros.evaluation.stress import RIGHT

NAMES = ("first", "second")


def answers(count: int, weight: float, seed: int = 0) -> list[_Answer]:
    """Those whose first sign says as much as `weight` of their nearness, and whose second says nothing."""
    rng = np.random.default_rng(seed)
    signs = rng.normal(3.0, 2.0, (count, 2))
    near = rng.random(count) < 1.0 / (1.0 + np.exp(-weight * (signs[:, 0] - 3.0)))
    return [_Answer(RIGHT, row, bool(is_near)) for row, is_near in zip(signs, near, strict=True)]


def test_weights_are_found_and_probabilities_mean_what_they_say() -> None:
    report = weigh(answers(4000, 1.5), NAMES, "drawn")
    assert report.evidence.weights["first"] == pytest.approx(1.5, abs=0.4)
    assert report.evidence.weights["second"] == pytest.approx(0.0, abs=0.1)
    assert report.evidence.probability({"first": 3.0, "second": 9.0}) == pytest.approx(0.5, abs=0.15)
    assert report.auroc is not None
    assert report.auroc > 0.9
    for _, _, count, mean, near in report.reliability:
        assert near == pytest.approx(mean, abs=max(0.08, 2.0 / np.sqrt(count)))
    near_signs = [a.signs for a in answers(4000, 1.5) if a.is_near]
    kept = [report.evidence.probability(dict(zip(NAMES, s, strict=True))) for s in near_signs]
    assert np.mean(np.array(kept) >= report.evidence.least_probability) == pytest.approx(GOOD_SHARE, abs=0.01)


def test_signs_that_say_nothing_give_the_share_that_is_near() -> None:
    report = weigh(answers(2000, 0.0), NAMES, "drawn")
    assert report.auroc == pytest.approx(0.5, abs=0.05)
    assert report.evidence.probability({"first": 5.0, "second": 0.0}) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kind", ["few", "near", "far"])
def test_answers_that_show_no_difference_are_refused(kind: str) -> None:
    found = answers(20 if kind == "few" else 100, 1.0)
    if kind != "few":
        found = [_Answer(a.set, a.signs, kind == "near") for a in found]
    with pytest.raises(InputError, match="ask for more pairs"):
        weigh(found, NAMES, "drawn")


def test_the_command_writes_the_manifest_and_the_localizer_goes_by_it(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(small_bundle.path, tmp_path / "bundle")
    command = ["evaluate", "evidence", "--model", str(copy), "--pairs", "9", "--seed", "2", "--quiet"]
    assert main([*command, "--json", str(tmp_path / "evidence.json")]) == 0
    evidence = Bundle.load(copy).manifest.evidence
    assert evidence is not None
    assert set(evidence.weights) == set(SIGNS_OF["geoflow"])
    assert evidence.pairs > 150
    content = json.loads((tmp_path / "evidence.json").read_text())
    assert content["evidence"]["weights"] == dict(evidence.weights)
    printed = capsys.readouterr().out
    assert "AUROC" in printed
    assert "right, easy" in printed
