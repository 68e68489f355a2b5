"""Poses of the bird's-eye method in the evaluation: answers, calibration and patches of other places."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.birds_eye_bundle import CALIBRATION, write_placeholder_bundle
from fakes.birds_eye_scenes import SceneRunner, scene_bundle, scene_matcher

from geoflow_ros.bundle import BirdsEyeGeometry, Bundle, Calibration, PoseCalibration, PoseCalibrations
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation import calibration, negatives
from geoflow_ros.evaluation.annotate import store_calibration
from geoflow_ros.evaluation.answers import Answers
from geoflow_ros.evaluation.comparison import compare
from geoflow_ros.evaluation.negatives import measure_negatives
from geoflow_ros.evaluation.synthetic import Protocol, as_patch, camera_of
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer
from geoflow_ros.world.conditions import EASY, ROAD
from geoflow_ros.world.pairs import Area, Pair

OFFSET_M, TURN_DEG = (3.0, -2.0), 4.0
PROTOCOL = Protocol(Area.CROSS, 40, 0)


@pytest.fixture
def located(tmp_path: Path) -> tuple[Bundle, BirdsEyeLocalizer]:
    """A localizer that answers about (3, -2) m and 4 degrees, whatever it sees."""
    model = scene_matcher()
    bundle = scene_bundle(tmp_path / "scene", model)
    return bundle, BirdsEyeLocalizer(bundle, SceneRunner(model, OFFSET_M, TURN_DEG))


def pair_at(bundle: Bundle, forward_m: float, right_m: float, turn_deg: float) -> Pair:
    manifest = bundle.manifest
    size, height, width = manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px
    camera: Any = manifest.geometry.camera
    satellite, ground = np.zeros((size, size, 3), np.uint8), np.zeros((height, width, 3), np.uint8)
    return Pair(satellite, ground, np.array([forward_m, right_m]), math.radians(turn_deg), 0.0, camera, np.zeros(2))


def test_a_poses_figures_have_its_yaw_and_the_covariance_of_all_three(
    located: tuple[Bundle, BirdsEyeLocalizer],
) -> None:
    bundle, localizer = located
    answers = Answers()
    for world, (right_m, turn_deg) in enumerate([(-2.0, 4.0), (-1.0, 4.0), (-9.0, 7.0)]):
        pair = pair_at(bundle, 3.0, right_m, turn_deg)
        answers.add(pair, localizer.localize(pair.ground, as_patch(pair, bundle.manifest)), world)
    exact, beside, _ = answers.pose_errors
    assert beside - exact == pytest.approx([0.0, 1.0, 0.0], abs=1e-9)  # the truth is 1 m more to the right: south
    figures = answers.figures()
    assert figures["yaw_median_error_deg"] < 0.7
    assert figures["yaw_recall_5deg"] == 1.0
    assert figures["yaw_mean_error_deg"] == pytest.approx((figures["yaw_median_error_deg"] * 2 + 3) / 3, abs=0.5)
    assert figures["pose_anees"] > 0.0
    assert figures["recall_1m"] < 1.0
    assert figures["auroc_5m"] == 0.5  # the same quality thrice


def test_a_pose_calibration_is_fitted_to_the_errors_of_the_answers(
    located: tuple[Bundle, BirdsEyeLocalizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, localizer = located
    rng = np.random.default_rng(3)

    def pairs(*_: Any) -> Iterator[Pair]:
        for error in rng.normal(size=(PROTOCOL.pairs, 3)) * [3.0, 0.5, 2.0]:
            yield pair_at(bundle, *(np.array([*OFFSET_M, TURN_DEG]) + error))

    monkeypatch.setattr(calibration, "loaded", lambda _: bundle)
    monkeypatch.setattr(calibration, "open_localizer", lambda *_, **__: localizer)
    monkeypatch.setattr(calibration, "render_pairs", pairs)
    both = calibration.calibrate("scene", [PROTOCOL])
    assert isinstance(both, PoseCalibrations)
    assert both.camera_unknown.pairs == 0  # no pairs speak of it
    fitted = both.camera_known
    assert fitted.pairs == PROTOCOL.pairs
    assert f"{PROTOCOL.pairs} cross-area pairs (easy)" in fitted.data
    fix = localizer.localize(pair_at(bundle, 0, 0, 0).ground, as_patch(pair_at(bundle, 0, 0, 0), bundle.manifest))
    own, others = calibration._raw_covariances(fix)[calibration.TEMPERATURES.index(fitted.temperature)]
    sigma = np.sqrt(np.diag(fitted.apply(own) + others))
    assert sigma == pytest.approx([3.0, 0.5, math.radians(2.0)], rel=0.35)


def test_a_pose_calibration_is_written_into_the_manifest_and_one_of_the_other_method_is_refused(tmp_path: Path) -> None:
    folder = write_placeholder_bundle(tmp_path / "bundle", BirdsEyeGeometry())
    one = PoseCalibration(0.6, 1.0, 1.5, 2.0, 0.1, 0.1, 0.01, 500, "a test")
    fitted = PoseCalibrations(one, CALIBRATION)
    store_calibration(folder, fitted)
    section = Bundle.load(folder).manifest.birds_eye
    assert section is not None
    assert section.calibration == fitted
    with pytest.raises(InputError, match="birds_eye"):
        store_calibration(folder, Calibration(1.0, 1.0, 0.1, 0.1, 1, "a test"))


def test_the_camera_is_taken_as_exact_under_easy_conditions_only_unless_told() -> None:
    assert camera_of(Protocol(Area.CROSS, 1, 0, conditions=EASY)) is None
    assert camera_of(Protocol(Area.CROSS, 1, 0, conditions=ROAD)) is not None
    assert camera_of(Protocol(Area.CROSS, 1, 0, conditions=ROAD, camera="nominal")) is None
    assert camera_of(Protocol(Area.CROSS, 1, 0, conditions=EASY, camera="hypotheses")) is not None


def test_a_localizer_that_cannot_tell_places_apart_has_chance_figures(
    located: tuple[Bundle, BirdsEyeLocalizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, localizer = located
    monkeypatch.setattr(negatives, "loaded", lambda _: bundle)
    monkeypatch.setattr(negatives, "open_localizer", lambda *_, **__: localizer)
    monkeypatch.setattr(
        negatives, "render_pairs", lambda _, count, *__: (pair_at(bundle, 0, 0, 0) for _ in range(count))
    )
    report = measure_negatives("scene", Protocol(Area.CROSS, 3, 0))
    assert (report.images, report.right_is_better, report.auroc) == (3, 0.5, 0.5)
    assert report.rejected_wrong == report.rejected_right
    assert "another place" in report.text()
    assert report.as_json()["images"] == 3


def test_the_ablation_is_refused_for_another_method(
    located: tuple[Bundle, BirdsEyeLocalizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, localizer = located
    monkeypatch.setattr("geoflow_ros.evaluation.comparison.loaded", lambda _: bundle)
    monkeypatch.setattr("geoflow_ros.evaluation.comparison.open_localizer", lambda *_, **__: localizer)
    with pytest.raises(InputError, match="N, R and step"):
        compare(["scene"], Protocol(Area.CROSS, 1, 0), ablation=True)
