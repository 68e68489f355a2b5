"""`geoflow bench` of the shipped bird's-eye model, far too short for its figures to mean much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from geoflow_ros import cli
from geoflow_ros.bench.birds_eye import KNOWN, STAGES, UNKNOWN, BirdsEyeBench, bench_birds_eye, cost_picture, text_of
from geoflow_ros.errors import BundleError, InputError


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return bench_birds_eye(BirdsEyeBench(runners=("onnxruntime",), frames=1))


def test_every_case_is_measured_from_the_jpeg_to_the_fix(result: dict[str, Any]) -> None:
    json.dumps(result)
    cases = result["backends"]["onnxruntime"]["cases"]
    assert cases[KNOWN]["camera_hypotheses"] == 1
    assert cases[UNKNOWN]["camera_hypotheses"] > 7
    headings = [found["headings"] for found in cases.values()]
    assert max(headings) > 2 * min(headings)
    for camera in (KNOWN, UNKNOWN):
        ranges_m = [found["range_m"] for case, found in cases.items() if case.startswith(camera)]
        assert sorted({round(range_m / 5.0) for range_m in ranges_m}) == [1, 2, 4]
    for found in cases.values():
        stages = found["stages_ms"]
        assert set(stages) == set(STAGES)
        parts = sum(stages[stage]["p50"] for stage in STAGES if stage != "total")
        assert 0.5 * stages["total"]["p50"] < parts <= 1.001 * stages["total"]["p50"]


def test_text_and_picture_show_every_case(result: dict[str, Any], tmp_path: Path) -> None:
    text = text_of(result)
    assert all(case in text for case in result["backends"]["onnxruntime"]["cases"])
    cost_picture(result, tmp_path / "cost.png")
    assert cv2.imread(str(tmp_path / "cost.png")).shape[1] > 500


def test_what_cannot_be_measured_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="'openvino bf16' is no engine of this method; there are onnxruntime"):
        bench_birds_eye(BirdsEyeBench(runners=("openvino bf16",)))
    with pytest.raises(InputError, match="at least one frame"):
        bench_birds_eye(BirdsEyeBench(frames=0))
    with pytest.raises(BundleError, match="of the method geoflow"):
        bench_birds_eye(BirdsEyeBench(model="synthetic"))


@pytest.mark.parametrize("option", [("--soak", "5"), ("--size", "full"), ("--precision-pairs", "8")])
def test_an_option_of_the_other_method_is_refused(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--model", "birds_eye", "--quick", *option]) == 2
    assert f"{option[0]} is for GeoFlow's models" in capsys.readouterr().err
