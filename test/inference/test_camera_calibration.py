"""Online calibration: what fixes say of the camera adds up, narrows the hypotheses, and is kept."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import VirtualCamera, VirtualPanorama
from geoflow_ros.inference.camera_calibration import EXTRINSICS, CameraCalibration, CameraUncertainty
from geoflow_ros.inference.pose_search import CameraHypotheses

CAMERA = VirtualCamera(512, 128, 256.0, 50.7, 1.65)
SEES_DEG, SEES_HEIGHT = 0.5, 0.04  # how sharply one image tells pitch and height


def answer(hypotheses: CameraHypotheses, pitch_deg: float, height: float) -> Float64Array:
    """Probabilities of the hypotheses after an image that a camera with this pitch and height took."""
    off = (np.degrees(hypotheses.pitch_rad) - pitch_deg) / SEES_DEG, (hypotheses.height_scale - height) / SEES_HEIGHT
    logit = hypotheses.log_prior - 0.5 * (off[0] ** 2 + off[1] ** 2)
    weight = np.exp(logit - logit.max())
    return np.asarray(weight / weight.sum())


def driven(
    calibration: CameraCalibration, pitch_deg: float, height: float, frames: int, seed: int = 0
) -> CameraCalibration:
    """A drive: mounting pitch and height as given, suspension of 0.5 degrees."""
    generator = np.random.default_rng(seed)
    for _ in range(frames):
        of_the_moment = pitch_deg + generator.normal(0.0, 0.5)
        calibration.learn(answer(calibration.hypotheses, of_the_moment, height))
    return calibration


def test_before_a_drive_the_hypotheses_span_what_is_stated_and_weigh_as_stated() -> None:
    hypotheses = CameraCalibration(CAMERA, EXTRINSICS).hypotheses
    assert len(hypotheses) == 15
    pitch = np.degrees(hypotheses.pitch_rad)
    probability = np.exp(hypotheses.log_prior)
    assert probability.sum() == pytest.approx(1.0)
    assert np.diff(np.unique(pitch)).max() <= 0.8 + 1e-9
    assert math.sqrt(probability @ pitch**2) == pytest.approx(math.hypot(1.0, 0.5), rel=0.2)
    assert math.sqrt(probability @ (hypotheses.height_scale - 1.0) ** 2) == pytest.approx(0.05, rel=0.2)


# between the first hypotheses, which are 0.8 degrees and 6 % apart
@pytest.mark.parametrize(("pitch_deg", "height"), [(0.0, 1.0), (-1.2, 1.03), (2.0, 0.93)])
def test_a_drive_finds_mounting_and_height_and_few_hypotheses_stay(pitch_deg: float, height: float) -> None:
    calibration = driven(CameraCalibration(CAMERA, EXTRINSICS), pitch_deg, height, 300)
    (pitch, scale), covariance = calibration.mean, calibration.covariance
    assert math.degrees(pitch) == pytest.approx(pitch_deg, abs=0.2)
    assert scale == pytest.approx(height, abs=0.015)
    assert math.degrees(math.sqrt(covariance[0, 0])) < 0.2
    assert np.linalg.eigvalsh(covariance)[0] >= 0.0
    hypotheses = calibration.hypotheses
    assert len(hypotheses) == 3  # the suspension stays unknown
    assert np.degrees(np.ptp(hypotheses.pitch_rad)) == pytest.approx(2 * 1.2 * 0.5, rel=0.15)


def test_what_is_learned_is_not_surer_than_the_error_that_is_left() -> None:
    truths = [(-0.9, 1.02), (0.3, 0.97), (0.8, 1.05), (-0.4, 0.99)]
    ratios = []
    for seed, (pitch_deg, height) in enumerate(truths):
        calibration = driven(CameraCalibration(CAMERA, EXTRINSICS), pitch_deg, height, 60, seed)
        error = calibration.mean - [math.radians(pitch_deg), height]
        ratios.append(error @ np.linalg.solve(calibration.covariance, error))
    assert np.mean(ratios) < 4.0  # 2 would be right, three sigma 18


def test_a_load_that_changes_is_followed() -> None:
    calibration = driven(CameraCalibration(CAMERA, EXTRINSICS), 0.0, 1.0, 300)
    driven(calibration, 1.0, 1.0, 2500, seed=1)
    assert math.degrees(calibration.mean[0]) == pytest.approx(1.0, abs=0.25)


def test_a_known_camera_and_a_panorama_have_one_hypothesis_and_learn_nothing(tmp_path: Path) -> None:
    for calibration in (
        CameraCalibration(CAMERA),
        CameraCalibration(VirtualPanorama(512, 128, 1.5, 1.65), EXTRINSICS, tmp_path / "camera.json"),
    ):
        hypotheses = calibration.hypotheses
        assert [*hypotheses.pitch_rad, *hypotheses.height_scale, *hypotheses.log_prior] == [0.0, 1.0, 0.0]
        calibration.learn(np.ones(1))
        assert calibration.hypotheses is hypotheses
    assert not (tmp_path / "camera.json").exists()


def test_one_wrong_frame_rules_nothing_out() -> None:
    calibration = CameraCalibration(CAMERA, EXTRINSICS)
    wrong = np.zeros(len(calibration.hypotheses))
    wrong[0] = 1.0
    calibration.learn(wrong)
    assert np.isfinite(calibration.mean).all()
    assert math.degrees(driven(calibration, 0.9, 1.0, 200).mean[0]) == pytest.approx(0.9, abs=0.25)


def test_the_next_drive_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    file = tmp_path / "calibration" / "camera.json"
    first = driven(CameraCalibration(CAMERA, EXTRINSICS, file), -1.2, 1.03, 300)
    again = CameraCalibration(CAMERA, EXTRINSICS, file)
    assert again.mean == pytest.approx(first.mean, abs=2e-3)
    assert again.frames == 300
    assert len(again.hypotheses) <= len(first.hypotheses) + 2
    assert again.facts["camera_pitch_deg"].startswith("-1.")


def test_a_file_that_cannot_be_used_is_named_in_one_line_and_learning_starts_afresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "camera.json"
    driven(CameraCalibration(CAMERA, EXTRINSICS, file), -1.2, 1.03, 50)
    good = json.loads(file.read_text())
    damaged = [
        "{",
        "[]",
        json.dumps({**good, "format": 9}),
        json.dumps({**good, "assumed": {**good["assumed"], "height_m": 2.0}}),
        json.dumps({**good, "pitch_rad_and_height": [math.nan, 1.0]}),
        json.dumps({**good, "pitch_rad_and_height": [1.0, 1.0]}),
        json.dumps({**good, "covariance": [[-1.0, 0.0], [0.0, 1.0]]}),
        json.dumps({**good, "covariance": "none"}),
    ]
    for content in damaged:
        file.write_text(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="geoflow_ros"):
            calibration = CameraCalibration(CAMERA, EXTRINSICS, file)
        assert len(caplog.messages) == 1, content
        assert str(file) in caplog.messages[0]
        assert "\n" not in caplog.messages[0]
        assert calibration.mean == pytest.approx([0.0, 1.0])


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with caplog.at_level(logging.WARNING, logger="geoflow_ros"):
        driven(CameraCalibration(CAMERA, EXTRINSICS, tmp_path / "taken" / "camera.json"), 0.5, 1.0, 60)
    assert "cannot be kept" in caplog.text or "cannot be read" in caplog.text


def test_uncertainties_that_cannot_be_are_refused() -> None:
    for values in ((-0.1, 0.0, 0.0), (math.nan, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.5, 0.0)):
        with pytest.raises(InputError):
            CameraUncertainty(*values)
