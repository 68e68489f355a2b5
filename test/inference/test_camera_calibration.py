"""Online calibration: what images and fixes say of the camera adds up, narrows the hypotheses, and is kept."""

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
SEES = np.array([math.radians(0.5), math.radians(0.5), 0.04])  # how sharply one image's match tells the camera


def truth(pitch_deg: float, roll_deg: float, height: float) -> Float64Array:
    return np.array([math.radians(pitch_deg), math.radians(roll_deg), math.log(height)])


def answer(hypotheses: CameraHypotheses, stood: Float64Array) -> Float64Array:
    """Probabilities of the hypotheses after an image of a camera that stood so."""
    logit = hypotheses.log_prior - 0.5 * (((hypotheses.points - stood) / SEES) ** 2).sum(axis=1)
    weight = np.exp(logit - logit.max())
    return np.asarray(weight / weight.sum())


def driven(calibration: CameraCalibration, mounted: Float64Array, frames: int, seed: int = 0) -> CameraCalibration:
    """A drive with a suspension of 0.5 degrees."""
    generator = np.random.default_rng(seed)
    for _ in range(frames):
        stood = mounted + generator.normal(0.0, 1.0, 3) * EXTRINSICS.fast
        calibration.learn(calibration.hypotheses, answer(calibration.hypotheses, stood))
    return calibration


def test_before_a_drive_the_hypotheses_span_what_is_stated_and_weigh_as_stated() -> None:
    hypotheses = CameraCalibration(CAMERA, EXTRINSICS).hypotheses
    probability = np.exp(hypotheses.log_prior)
    assert probability.sum() == pytest.approx(1.0)
    pitch = np.unique(np.degrees(hypotheses.pitch_rad).round(6))
    assert np.diff(pitch).max() <= 1.1 + 1e-6
    assert np.ptp(pitch) >= 2 * 1.4 * math.hypot(1.0, 0.5)
    assert np.ptp(hypotheses.height_scale) == pytest.approx(2 * 1.2 * 0.05, rel=0.02)


@pytest.mark.parametrize(("pitch_deg", "roll_deg", "height"), [(0.0, 0.0, 1.0), (-1.2, 0.7, 1.03), (1.5, -0.9, 0.95)])
def test_a_drive_finds_how_the_camera_is_mounted_and_few_hypotheses_stay(
    pitch_deg: float, roll_deg: float, height: float
) -> None:
    mounted = truth(pitch_deg, roll_deg, height)
    calibration = driven(CameraCalibration(CAMERA, EXTRINSICS), mounted, 300)
    error = np.abs(calibration.mean - mounted)
    assert np.degrees(error[:2]).max() < 0.25
    assert error[2] < 0.02
    assert np.degrees(calibration.sigma[:2]).max() < 0.25
    assert len(calibration.hypotheses) <= 7  # the suspension stays unknown


def test_what_is_learned_is_not_surer_than_the_error_that_is_left() -> None:
    mounts = [truth(-0.9, 0.5, 1.02), truth(0.3, -0.8, 0.97), truth(0.8, 0.1, 1.05), truth(-0.4, 0.6, 0.99)]
    ratios = []
    for seed, mounted in enumerate(mounts):
        calibration = driven(CameraCalibration(CAMERA, EXTRINSICS), mounted, 60, seed)
        ratios.append(np.square((calibration.mean - mounted) / calibration.sigma).mean())
    assert np.mean(ratios) < 2.0  # 1 would be right


def test_a_load_that_changes_is_followed() -> None:
    calibration = driven(CameraCalibration(CAMERA, EXTRINSICS), truth(0.0, 0.0, 1.0), 300)
    driven(calibration, truth(1.0, 0.0, 1.0), 1000, seed=1)
    assert math.degrees(calibration.mean[0]) == pytest.approx(1.0, abs=0.25)


def test_a_known_camera_and_a_panorama_have_one_hypothesis_and_learn_nothing(tmp_path: Path) -> None:
    for calibration in (
        CameraCalibration(CAMERA),
        CameraCalibration(VirtualPanorama(512, 128, 1.5, 1.65), EXTRINSICS, tmp_path / "camera.json"),
    ):
        hypotheses = calibration.hypotheses
        assert [*hypotheses.pitch_rad, *hypotheses.height_scale, *hypotheses.log_prior] == [0.0, 1.0, 0.0]
        calibration.learn(hypotheses, np.ones(1))
        assert calibration.hypotheses is hypotheses
    assert not (tmp_path / "camera.json").exists()


def test_one_wrong_frame_rules_nothing_out() -> None:
    calibration = CameraCalibration(CAMERA, EXTRINSICS)
    wrong = np.zeros(len(calibration.hypotheses))
    wrong[-1] = 1.0
    calibration.learn(calibration.hypotheses, wrong)
    assert np.isfinite(calibration.mean).all()
    after = driven(calibration, truth(0.9, 0.0, 1.0), 200)
    assert math.degrees(after.mean[0]) == pytest.approx(0.9, abs=0.25)


def test_the_next_drive_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    file = tmp_path / "calibration" / "camera.json"
    first = driven(CameraCalibration(CAMERA, EXTRINSICS, file), truth(-1.2, 0.4, 1.03), 300)
    again = CameraCalibration(CAMERA, EXTRINSICS, file)
    assert again.mean == pytest.approx(first.mean)
    assert again.sigma == pytest.approx(first.sigma)
    assert again.frames == 300
    assert again.facts["camera_pitch_deg"].startswith("-1.")


def test_a_file_that_cannot_be_used_is_named_in_one_line_and_learning_starts_afresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "camera.json"
    driven(CameraCalibration(CAMERA, EXTRINSICS, file), truth(-1.2, 0.0, 1.03), 50)
    good = json.loads(file.read_text())
    damaged = [
        "{",
        "[]",
        json.dumps({**good, "format": 9}),
        json.dumps({**good, "assumed": {**good["assumed"], "height_m": 2.0}}),
        json.dumps({**good, "mean": {**good["mean"], "pitch": math.nan}}),
        json.dumps({**good, "mean": {**good["mean"], "pitch": 1.0}}),
        json.dumps({**good, "sigma": {**good["sigma"], "roll": -1.0}}),
        json.dumps({**good, "sigma": "none"}),
    ]
    for content in damaged:
        file.write_text(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="geoflow_ros"):
            calibration = CameraCalibration(CAMERA, EXTRINSICS, file)
        assert len(caplog.messages) == 1, content
        assert str(file) in caplog.messages[0]
        assert "\n" not in caplog.messages[0]
        assert calibration.mean.tolist() == [0.0, 0.0, 0.0]


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with caplog.at_level(logging.WARNING, logger="geoflow_ros"):
        driven(CameraCalibration(CAMERA, EXTRINSICS, tmp_path / "taken" / "camera.json"), truth(0.5, 0.0, 1.0), 60)
    assert "cannot be kept" in caplog.text or "cannot be read" in caplog.text


def test_uncertainties_that_cannot_be_are_refused() -> None:
    for values in ((-0.1,), (math.nan,), (0.5,), (0.0, 0.5), (0.0, 0.0, 0.5)):
        with pytest.raises(InputError):
            CameraUncertainty(*values)


def test_what_was_learned_is_forgotten() -> None:
    calibration = CameraCalibration(CAMERA, EXTRINSICS)
    mean, sigma, belief = calibration.mean, calibration.sigma, calibration.belief
    for _ in range(30):
        hypotheses = calibration.hypotheses
        calibration.learn(hypotheses, np.eye(len(hypotheses))[hypotheses.pitch_rad.argmax()])
    assert np.abs(calibration.mean - mean).max() > 1e-3
    assert calibration.belief is not belief
    calibration.forget()
    assert calibration.frames == 0
    assert calibration.belief is belief
    np.testing.assert_array_equal(calibration.mean, mean)
    np.testing.assert_array_equal(calibration.sigma, sigma)
