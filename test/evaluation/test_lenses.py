"""The same places through several cameras: each is asked, or refused with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.bundle import write_bundle

from geoflow_ros.backends import BackendOptions
from geoflow_ros.evaluation.lenses import CAMERAS, UNCALIBRATED, measure_lenses
from geoflow_ros.evaluation.synthetic import Protocol
from geoflow_ros.world.pairs import Area


def test_every_camera_is_asked_or_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs onnx (the extra [test])")
    protocol = Protocol(Area.CROSS, 2, 5)
    report = measure_lenses(write_bundle(tmp_path), protocol, BackendOptions(backend="onnxruntime", threads=1))
    assert [*report.lenses] == [*CAMERAS, UNCALIBRATED]
    refused = [name for name, figures in report.lenses.items() if "refused" in figures]
    assert refused == ["45°", "35°"]  # a network that looks at the whole image needs more of it
    assert all(figures["mean_error_m"] > 0 for name, figures in report.lenses.items() if name not in refused)
    text = report.text()
    assert "2 pictures a camera" in text
    assert "35°: the camera shows" in text
    assert report.as_json()["lenses"] == report.lenses
