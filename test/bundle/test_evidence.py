"""Evidence: a probability from signs, why a fix is in doubt, and what a manifest may say of it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geoflow_ros.bundle import Bundle, Evidence
from geoflow_ros.bundle.evidence import SIGNS_OF
from geoflow_ros.errors import BundleError

SIGNS = dict.fromkeys(SIGNS_OF["geoflow"], 0.0)
EVIDENCE = Evidence({**SIGNS, "misfit": -2.0, "log_kappa": 1.0}, 0.5, 0.4, 100, "a test")


def test_the_probability_is_the_logistic_function_of_weighed_signs() -> None:
    assert EVIDENCE.probability({**SIGNS, "misfit": 0.25, "log_kappa": 2.0}) == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert EVIDENCE.probability({**SIGNS, "misfit": 1e9}) == pytest.approx(0.0, abs=1e-20)
    assert EVIDENCE.probability({**SIGNS, "misfit": -1e9}) == pytest.approx(1.0)


def test_a_doubt_says_what_is_known_or_else_the_probability() -> None:
    assert EVIDENCE.doubt(0.4, "the hypotheses did not meet") == ""
    assert EVIDENCE.doubt(0.39, "the hypotheses did not meet") == "the hypotheses did not meet"
    assert EVIDENCE.doubt(0.23, "") == "an error under 5 m is 23 % probable, and 40 % is the least"


def test_a_manifest_keeps_it_and_says_nothing_where_there_is_none(small_bundle: Bundle, tmp_path: Path) -> None:
    assert "evidence" not in json.loads((small_bundle.path / "manifest.json").read_text())
    assert small_bundle.manifest.evidence is None
    copy = shutil.copytree(small_bundle.path, tmp_path / "bundle")
    Bundle.load(copy).rewrite_manifest(replace(small_bundle.manifest, evidence=EVIDENCE))
    found = Bundle.load(copy).manifest.evidence
    assert found is not None
    assert dict(found.weights) == dict(EVIDENCE.weights)
    assert replace(found, weights=EVIDENCE.weights) == EVIDENCE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": {"misfit": 1.0}}, "'evidence.weights' must be of log_spread"),
        ({"least_probability": 1.5}, "'evidence.least_probability' must be"),
        ({"pairs": 0}, "'evidence.pairs' must be a whole number of at least 1"),
        ({"bias": None}, "'evidence.bias' must be a number"),
        ({"colour": 1}, "'evidence.colour' is not an entry"),
    ],
)
def test_evidence_that_cannot_be_weighed_is_named(
    small_bundle: Bundle, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    copy = shutil.copytree(small_bundle.path, tmp_path / "bundle")
    content = json.loads((copy / "manifest.json").read_text())
    content["evidence"] = {**vars(EVIDENCE), **changes}
    (copy / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=words):
        Bundle.load(copy)
