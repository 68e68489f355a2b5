"""The bird's-eye method behind the protocol: poses in the map, headings, trust, and what cannot be used."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the scenes are a torch network's (the extra [train])")

from fakes.birds_eye_scenes import SceneRunner, scene_bundle, scene_matcher  # noqa: E402
from fakes.heads import patch_at, picture  # noqa: E402

from geoflow_ros.bundle import Bundle, PoseCalibration  # noqa: E402
from geoflow_ros.bundle.methods import COARSE_MATCHER_WIDE  # noqa: E402
from geoflow_ros.errors import BundleError, InputError  # noqa: E402
from geoflow_ros.inference import SearchSettings, camera_calibration  # noqa: E402
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer  # noqa: E402
from geoflow_ros.inference.camera_calibration import EXTRINSICS, CameraUncertainty  # noqa: E402
from geoflow_ros.model import BirdsEyeMatcher  # noqa: E402
from geoflow_ros.tiles import SatellitePatch  # noqa: E402

OFFSET_M, TURN_DEG = (6.3, -9.4), 3.1
IMAGE = picture((128, 512, 3))


@pytest.fixture(scope="module")
def matcher() -> BirdsEyeMatcher:
    return scene_matcher()


@pytest.fixture(scope="module")
def bundle(matcher: BirdsEyeMatcher, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return scene_bundle(tmp_path_factory.mktemp("scene"), matcher)


@pytest.fixture
def runner(matcher: BirdsEyeMatcher) -> SceneRunner:
    return SceneRunner(matcher, OFFSET_M, TURN_DEG)


@pytest.fixture
def localizer(bundle: Bundle, runner: SceneRunner) -> BirdsEyeLocalizer:
    return BirdsEyeLocalizer(bundle, runner)


@pytest.mark.parametrize("yaw_rad", [0.7, -2.1])
def test_position_and_yaw_are_those_of_the_camera_in_the_map(
    bundle: Bundle, localizer: BirdsEyeLocalizer, yaw_rad: float
) -> None:
    fix = localizer.localize(IMAGE, patch_at(bundle, 500.0, -300.0, yaw_rad), stamp_ns=42)
    cosine, sine = math.cos(yaw_rad), math.sin(yaw_rad)
    forward, right = OFFSET_M
    expected = [500.0 + forward * cosine + right * sine, -300.0 + forward * sine - right * cosine]
    assert fix.assessment.trustworthy, fix.assessment.reason
    assert fix.position == pytest.approx(expected, abs=0.2)
    # the patch is turned to the left of the camera by the heading's error
    assert fix.yaw_rad == pytest.approx(yaw_rad - math.radians(TURN_DEG), abs=math.radians(0.5))
    assert (fix.stamp_ns, fix.frame.yaw_rad) == (42, yaw_rad)
    np.testing.assert_array_equal(fix.hypotheses[0], fix.position)
    assert fix.masses[0] > 0.5
    assert fix.assessment.quality == pytest.approx(fix.masses[0], abs=0.05)
    stages = fix.timings
    parts = stages.resize_ms + stages.satellite_ms + stages.ground_ms + stages.refine_ms + stages.covariance_ms
    assert parts == pytest.approx(stages.total_ms, rel=1e-6)


def test_the_covariance_is_turned_with_the_patch_and_yaw_is_counter_clockwise(
    bundle: Bundle, localizer: BirdsEyeLocalizer
) -> None:
    still = localizer.localize(IMAGE, patch_at(bundle))
    moved = localizer.localize(IMAGE, patch_at(bundle, yaw_rad=0.7))
    assert still.pose_covariance is not None
    assert moved.pose_covariance is not None
    turn = np.eye(3)
    turn[:2, :2] = [[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]]
    np.testing.assert_allclose(moved.pose_covariance, turn @ still.pose_covariance @ turn.T, atol=1e-9)
    np.testing.assert_array_equal(still.pose_covariance[:2, :2], still.covariance)
    # east is forward and north is left: both signs change once, that of right and that of the turn
    signs = np.diag([1.0, -1.0, 1.0])
    unfitted = PoseCalibration.unfitted().apply(still.raw_covariance)
    np.testing.assert_allclose(still.pose_covariance, signs @ unfitted @ signs, atol=1e-12)
    own, others = still.posterior.covariances_about(still.posterior.estimate().pose)
    assert still.raw_covariance[0, 2] == pytest.approx(-(own + others)[0, 2])
    assert np.linalg.eigvalsh(still.pose_covariance)[0] > 0.0


def test_calibration_softens_and_stretches_the_covariance_and_leaves_the_pose(
    matcher: BirdsEyeMatcher, runner: SceneRunner, tmp_path: Path
) -> None:
    plain = scene_bundle(tmp_path / "plain", matcher, PoseCalibration(1.0, 1, 1, 1, 0.0, 0.0, 0.0, 9, "test"))
    soft = scene_bundle(tmp_path / "soft", matcher, PoseCalibration(2.5, 1, 1, 1, 0.0, 0.0, 0.0, 9, "test"))
    wide = scene_bundle(tmp_path / "wide", matcher, PoseCalibration(1.0, 2, 1, 3, 0.0, 0.4, 0.0, 9, "test"))
    fixes = [BirdsEyeLocalizer(b, runner).localize(IMAGE, patch_at(b)) for b in (plain, soft, wide)]
    for fix in fixes[1:]:
        np.testing.assert_array_equal(fix.position, fixes[0].position)
        np.testing.assert_array_equal(fix.masses, fixes[0].masses)
    assert np.trace(fixes[1].raw_covariance) > 1.5 * np.trace(fixes[0].raw_covariance)
    before, after = (fix.pose_covariance for fix in (fixes[0], fixes[2]))
    assert before is not None
    assert after is not None
    others = np.diag(fixes[0].posterior.covariances_about(fixes[0].posterior.estimate().pose)[1])
    own = np.diag(before) - others
    assert np.diag(after) == pytest.approx(own * [4.0, 1.0, 9.0] + [0.0, 0.16, 0.0] + others)


def test_a_volume_bounds_the_covariance(matcher: BirdsEyeMatcher, runner: SceneRunner, tmp_path: Path) -> None:
    bundle = scene_bundle(tmp_path, matcher, PoseCalibration(1.0, 99.0, 99.0, 99.0, 0.0, 0.0, 0.0, 9, "test"))
    fix = BirdsEyeLocalizer(bundle, runner).localize(IMAGE, patch_at(bundle))
    reach_m = fix.search_radius_m
    assert fix.covariance[0, 0] <= reach_m**2 / 3.0 + OFFSET_M[0] ** 2 * 1.1
    assert fix.yaw_variance_rad2 is not None
    assert fix.yaw_variance_rad2 <= math.radians(10.0) ** 2 / 3.0 + math.radians(TURN_DEG * 1.2) ** 2


def test_a_heading_that_is_known_well_weighs_against_large_turns(bundle: Bundle, localizer: BirdsEyeLocalizer) -> None:
    def mean_turn_deg(heading_error_deg: float | None) -> float:
        told = None if heading_error_deg is None else math.radians(heading_error_deg)
        posterior = localizer.localize(IMAGE, patch_at(bundle), heading_error_rad=told).posterior
        return float(np.degrees(posterior.given_present @ np.abs(posterior.pose[:, 2])))

    untold, vague, known = (mean_turn_deg(told) for told in (None, 10.0, 2.0))
    assert known < vague < untold


@pytest.mark.parametrize(
    ("known_to_deg", "turn_deg", "is_wide"), [(9.0, -7.5, False), (40.0, 33.0, True), (170.0, -150.0, True)]
)
def test_headings_are_searched_as_far_as_they_are_unknown(
    bundle: Bundle,
    localizer: BirdsEyeLocalizer,
    runner: SceneRunner,
    known_to_deg: float,
    turn_deg: float,
    is_wide: bool,
) -> None:
    runner.turn_deg = turn_deg
    patch = patch_at(bundle, yaw_rad=2.0)
    fix = localizer.localize(IMAGE, patch, 0, math.radians(known_to_deg))
    assert fix.assessment.trustworthy, fix.assessment.reason
    assert fix.position == pytest.approx(patch.frame.local_to_enu(OFFSET_M), abs=0.3)
    assert fix.yaw_rad == pytest.approx(2.0 - math.radians(turn_deg), abs=math.radians(0.7))
    assert (COARSE_MATCHER_WIDE in runner.calls) == is_wide


def test_positions_are_searched_as_far_as_they_are_unknown(bundle: Bundle, localizer: BirdsEyeLocalizer) -> None:
    patch = patch_at(bundle)
    whole, part = (localizer.localize(IMAGE, patch, position_error_m=error_m) for error_m in (None, 10.0))
    assert part.assessment.trustworthy, part.assessment.reason
    np.testing.assert_allclose(part.position, whole.position, atol=0.05)
    assert 10.0 <= part.search_radius_m < 12.0 < whole.search_radius_m
    assert np.abs(part.posterior.pose[:, :2]).max() <= part.search_radius_m + 1e-6
    # the camera is farther off than was said: it is not found, and what is found instead lies at the end
    nearer = localizer.localize(IMAGE, patch, position_error_m=5.0)
    assert np.abs(nearer.position).max() <= nearer.search_radius_m
    assert not nearer.assessment.trustworthy


@pytest.mark.parametrize("error_m", [0.0, -1.0, math.nan, 20.1])
def test_a_position_that_cannot_be_searched_is_refused(
    bundle: Bundle, localizer: BirdsEyeLocalizer, error_m: float
) -> None:
    with pytest.raises(InputError, match="up to 20 m: give a better position"):
        localizer.localize(IMAGE, patch_at(bundle), position_error_m=error_m)


def test_a_heading_less_certain_than_what_is_searched_is_refused(bundle: Bundle, runner: SceneRunner) -> None:
    localizer = BirdsEyeLocalizer(bundle, runner, SearchSettings(max_heading_error_rad=math.radians(30.0)))
    assert localizer.max_heading_error_rad == pytest.approx(math.radians(30.0))
    with pytest.raises(InputError, match=r"±40° only.*±30°"):
        localizer.localize(IMAGE, patch_at(bundle), 0, math.radians(40.0))
    fix = localizer.localize(IMAGE, patch_at(bundle), 0, math.radians(25.0))
    assert fix.posterior.search.max_turn_rad == pytest.approx(math.radians(30.0))


def test_a_heading_range_that_the_bundle_has_no_graphs_for_is_refused(bundle: Bundle, runner: SceneRunner) -> None:
    tensors = {name: spec for name, spec in bundle.manifest.tensors.items() if not name.endswith("_wide")}
    narrow = Bundle(bundle.path, replace(bundle.manifest, tensors=tensors))
    assert math.degrees(BirdsEyeLocalizer(narrow, runner).max_heading_error_rad) == pytest.approx(15.0)
    for bad_deg in (45.0, 0.0, math.nan):
        with pytest.raises(InputError, match="headings"):
            BirdsEyeLocalizer(narrow, runner, SearchSettings(max_heading_error_rad=math.radians(bad_deg)))


@pytest.mark.parametrize("graph", ["coarse_matcher", "fine_matcher"])
def test_scores_that_are_not_finite_give_no_pose(
    bundle: Bundle, localizer: BirdsEyeLocalizer, runner: SceneRunner, graph: str
) -> None:
    runner.broken = graph
    with pytest.raises(BundleError, match="not finite"):
        localizer.localize(IMAGE, patch_at(bundle))
    runner.broken = ""
    assert localizer.localize(IMAGE, patch_at(bundle)).assessment.trustworthy


def test_a_patch_is_encoded_once_ahead_of_its_first_frame(
    bundle: Bundle, localizer: BirdsEyeLocalizer, runner: SceneRunner
) -> None:
    patch = patch_at(bundle)
    localizer.prepare(patch)
    first, second = localizer.localize(IMAGE, patch), localizer.localize(IMAGE, patch)
    assert runner.calls.count("satellite_encoder") == 1
    np.testing.assert_array_equal(first.posterior.probability, second.posterior.probability)
    coarse = replace(patch.frame, ground_resolution_m=1.0)
    with pytest.raises(InputError, match="m per pixel"):
        localizer.localize(IMAGE, SatellitePatch(patch.pixels, coarse))


def test_a_camera_that_sees_no_ground_is_refused_at_once(bundle: Bundle, runner: SceneRunner) -> None:
    assert bundle.manifest.birds_eye is not None
    blind = replace(bundle.manifest, birds_eye=replace(bundle.manifest.birds_eye, horizon_row_px=500.0))
    with pytest.raises(BundleError, match="sees no") as caught:
        BirdsEyeLocalizer(Bundle(bundle.path, blind), runner)
    assert "\n" not in str(caught.value)


def test_a_bundle_of_the_other_method_is_refused(bundle: Bundle, runner: SceneRunner) -> None:
    other = Bundle(bundle.path, replace(bundle.manifest, method="geoflow", birds_eye=None))
    with pytest.raises(BundleError, match="birds_eye"):
        BirdsEyeLocalizer(other, runner)


def test_a_camera_that_stands_otherwise_than_assumed_is_found_out_over_a_drive(
    bundle: Bundle, runner: SceneRunner
) -> None:
    runner.pitch_rad = math.radians(0.9)
    localizer = BirdsEyeLocalizer(bundle, runner, SearchSettings(camera=EXTRINSICS))
    first = localizer.localize(IMAGE, patch_at(bundle))
    assert int(localizer.facts["camera_hypotheses"]) > 7
    fixes = [localizer.localize(IMAGE, patch_at(bundle), stamp_ns=index) for index in range(21)]
    assert all(fix.assessment.trustworthy for fix in fixes)
    pitch_deg = float(localizer.facts["camera_pitch_deg"].split()[0])
    assert pitch_deg == pytest.approx(0.9, abs=0.4)
    assumed, learned = bundle.manifest.geometry.camera, fixes[-1].view.camera
    assert learned.ground_to_pixel([10.0, 0.0])[1] > assumed.ground_to_pixel([10.0, 0.0])[1]
    assert first.assessment.trustworthy
    # a camera that is taken as known sees the place hardly
    as_known = BirdsEyeLocalizer(bundle, runner).localize(IMAGE, patch_at(bundle))
    assert as_known.assessment.entropy > fixes[-1].assessment.entropy


def test_a_camera_between_the_hypotheses_is_closed_in_on(bundle: Bundle, runner: SceneRunner) -> None:
    runner.pitch_rad = math.radians(1.2)
    localizer = BirdsEyeLocalizer(bundle, runner, SearchSettings(camera=EXTRINSICS))
    fix = localizer.localize(IMAGE, patch_at(bundle))
    scores = fix.posterior.scores
    assert len(scores.log_prior) == len(scores.coarse) + 7
    assert runner.projected == [len(scores.coarse), 2, 7]  # of the first cross, only the heights are new
    # a camera of which little is unknown is not worth it
    little = CameraUncertainty(math.radians(0.2), math.radians(0.2), 0.02, math.radians(0.4))
    other = BirdsEyeLocalizer(bundle, runner, SearchSettings(camera=little)).localize(IMAGE, patch_at(bundle))
    assert 1 < len(other.posterior.scores.log_prior) == len(other.posterior.scores.coarse)
    closer = scores.windows.camera >= len(scores.coarse)
    assert scores.fine[closer].max() > scores.fine[~closer].max() + 0.1
    assert fix.posterior.camera_probability[-7:].sum() > 0.5


def test_what_one_camera_learned_is_not_believed_of_another_on_the_same_vehicle(
    bundle: Bundle, runner: SceneRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_calibration, "_SAVE_FRAMES", 10)
    file = tmp_path / "camera.json"
    front = BirdsEyeLocalizer(bundle, runner, SearchSettings(camera=EXTRINSICS, camera_file=file))
    fresh, patch = front.facts, patch_at(bundle, 0.0, 0.0, 0.7)
    rear = front.beside("rear")
    for _ in range(10):
        assert front.localize(IMAGE, patch).assessment.trustworthy
    assert front.facts != fresh
    assert rear.facts == fresh
    assert [f.name for f in tmp_path.iterdir()] == ["camera.json"]
    for _ in range(10):
        rear.localize(IMAGE, patch)
    assert rear.facts == front.facts  # it learns for itself, by the same runner
    assert {f.name for f in tmp_path.iterdir()} == {"camera.json", "camera_rear.json"}
