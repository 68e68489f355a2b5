"""What was measured, written into a bundle's manifest."""

import shutil
from pathlib import Path

import pytest

from geoflow_ros.bundle import Bundle, Calibration
from geoflow_ros.errors import BundleError
from geoflow_ros.evaluation.annotate import store_calibration, store_figures


def test_calibration_and_figures_are_written_into_the_manifest(converging_bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(converging_bundle, copy)
    store_calibration(copy, Calibration(2.0, 1.5, 0.3, 0.2, 100, "a test"))
    store_figures(copy, "synthetic-cross", {"mean_error_m": 1.0})
    manifest = Bundle.load(copy).manifest  # the graphs still match it
    assert manifest.calibration.forward_scale == 2.0
    assert manifest.figures["synthetic-cross"]["mean_error_m"] == 1.0
    with pytest.raises(BundleError):
        store_figures(tmp_path / "nothing", "x", {})
