"""From scores to poses: what is probable, where exactly, and what is ambiguous."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from geoflow_ros.bundle.birds_eye import BirdsEyeGeometry
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import VirtualCamera, VirtualPanorama
from geoflow_ros.inference.pose_posterior import PosePosterior, PoseScores, SearchWindows, choose_windows
from geoflow_ros.inference.pose_search import CameraHypotheses, PoseSearch, search_of

STEP = math.radians(1.25)
SEARCH = PoseSearch(
    cell_m=0.8, reach_cells=20, turn_step_rad=STEP, coarse_turn_step_rad=2 * STEP, max_turn_rad=8 * STEP
)
FLAT, NOWHERE = -8.0, -20.0


def hill(pose: tuple[float, float, float], forward: np.ndarray, right: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The logarithm of a Gaussian of 1 m and 2 degrees about a pose; arrays are broadcast over (turn, f, r)."""
    df, dr = (forward - pose[0])[..., :, None], (right - pose[1])[..., None, :]
    dt = (turn - pose[2])[..., None, None] / math.radians(2.0)
    return np.asarray(-0.5 * (df**2 + dr**2 + dt**2))


def scores_of(*hills: tuple[tuple[float, float, float], float], none: float = NOWHERE) -> PoseScores:
    """Scores of both levels of a sum of hills, each with its height."""

    def score(forward: np.ndarray, right: np.ndarray, turn: np.ndarray) -> np.ndarray:
        parts = [height + hill(pose, forward, right, turn) for pose, height in hills]
        return np.logaddexp.reduce([np.full_like(parts[0], FLAT), *parts])

    place = np.arange(-SEARCH.coarse_reach, SEARCH.coarse_reach + 1) * (2 * SEARCH.cell_m)
    turns = SEARCH.coarse_turns()
    coarse = score(place, place, turns)[None]
    windows = choose_windows(coarse, turns, SEARCH)
    step = np.arange(-SEARCH.window_cells, SEARCH.window_cells + 1)
    fine = np.stack(
        [
            score((centre[0] + step) * SEARCH.cell_m, (centre[1] + step) * SEARCH.cell_m, turn)
            for centre, turn in zip(windows.centre_cells, windows.turn_rad, strict=True)
        ]
    )
    return PoseScores(coarse, turns, np.zeros(1), windows, fine, none, outside=0.0)


@pytest.mark.parametrize("told_deg", [0.0, 2.0, 6.0, 10.0, 45.0])
def test_the_weights_of_headings_are_about_one_on_average(told_deg: float) -> None:
    search = PoseSearch(0.78, 20, math.radians(1.25), math.radians(2.5), math.radians(max(told_deg, 10.0)))
    turns = search.coarse_turns()
    assert (search.turn_score(turns) == 0.0).all()
    told = replace(search, heading_error_rad=math.radians(told_deg))
    weights = np.exp(told.turn_score(turns))
    assert weights.mean() == pytest.approx(1.0)
    assert weights.argmax() in (len(turns) // 2 - 1, len(turns) // 2)
    assert (replace(search, heading_error_rad=math.pi).turn_score(turns) == 0.0).all()


def test_the_mode_is_finer_than_the_cells_and_the_moments_are_the_hills() -> None:
    truth = (5.3, -7.1, math.radians(3.3))
    answer = PosePosterior.of(scores_of((truth, 0.0)), SEARCH).estimate()
    assert answer.pose[:2] == pytest.approx(truth[:2], abs=0.1)
    assert math.degrees(answer.pose[2] - truth[2]) == pytest.approx(0.0, abs=0.2)
    sigma = np.sqrt(np.diag(answer.modes[0].covariance))
    assert sigma[:2] == pytest.approx(1.0, abs=0.15)
    assert math.degrees(sigma[2]) == pytest.approx(2.0, abs=0.4)
    assert answer.none_probability < 1e-3


def test_probabilities_of_all_poses_and_of_none_sum_to_one() -> None:
    posterior = PosePosterior.of(scores_of(((0.0, 2.0, 0.0), 0.0), none=-6.0), SEARCH)
    assert posterior.probability.sum() + posterior.none_probability == pytest.approx(1.0)
    assert 0.01 < posterior.none_probability < 1.0
    keys = np.round(posterior.pose / (0.8, 0.8, STEP / 2)).astype(int)
    assert len(np.unique(keys[posterior.is_fine], axis=0)) == posterior.fine_count  # no pose is counted twice


def test_none_has_the_weight_of_a_volume_of_such_scores() -> None:
    flat = PoseScores(
        np.zeros((1, len(SEARCH.coarse_turns()), 21, 21)),
        SEARCH.coarse_turns(),
        np.zeros(1),
        SearchWindows(
            np.zeros((1, 2), np.int64), np.array([SEARCH.coarse_turns()[4:5].repeat(6)]), np.zeros(1, np.int64)
        ),
        np.zeros((1, 6, 9, 9)),
        none=0.0,
        outside=0.0,
    )
    # as probable to be nowhere as to be somewhere, but for the volume's rim
    assert PosePosterior.of(flat, SEARCH).none_probability == pytest.approx(0.5, abs=0.06)


def test_two_places_stay_two_with_their_masses() -> None:
    here, there = (6.0, 3.0, 0.0), (-9.0, 3.0, math.radians(2.0))
    answer = PosePosterior.of(scores_of((here, 0.3), (there, 0.0)), SEARCH).estimate()
    assert answer.pose[:2] == pytest.approx(here[:2], abs=0.15)
    assert answer.modes[1].pose[:2] == pytest.approx(there[:2], abs=0.15)
    ratio = answer.modes[0].mass / answer.modes[1].mass
    assert ratio == pytest.approx(math.exp(0.3), rel=0.15)
    # the whole posterior's moments hold both places: 15 m apart along forward
    share = answer.modes[1].mass / (answer.modes[0].mass + answer.modes[1].mass)
    assert answer.covariance[0, 0] == pytest.approx(share * 15.0**2, rel=0.25)
    assert np.linalg.eigvalsh(answer.covariance)[0] > 0.0


def test_other_places_add_to_the_moments_by_themselves() -> None:
    here, there = (6.0, 3.0, 0.0), (-9.0, 3.0, math.radians(2.0))
    posterior = PosePosterior.of(scores_of((here, 0.3), (there, 0.0)), SEARCH)
    answer = posterior.estimate()
    own, others = posterior.covariances_about(answer.pose)
    assert own[0, 0] == pytest.approx(answer.modes[0].mass * 1.0, rel=0.3)
    assert others[0, 0] == pytest.approx(answer.modes[1].mass * 15.0**2, rel=0.2)
    cell = np.diag([SEARCH.cell_m**2, SEARCH.cell_m**2, STEP**2]) / 12.0
    assert np.diag(own + others) == pytest.approx(np.diag(answer.covariance - cell), rel=0.05, abs=0.05)


def test_what_the_fine_level_did_not_look_at_keeps_its_coarse_mass() -> None:
    places = [((x, y, 0.0), 0.0) for x in (-12.0, 0.0, 12.0) for y in (-12.0, 12.0)]
    posterior = PosePosterior.of(scores_of(*places), SEARCH)
    outside = posterior.probability[~posterior.is_fine].sum()
    assert outside == pytest.approx(0.5, abs=0.12)  # three windows see three of six places


def test_a_temperature_softens_the_scores_and_leaves_the_priors() -> None:
    truth = (5.3, -7.1, math.radians(3.3))
    scores = scores_of((truth, 0.0), none=-6.0)
    posterior = PosePosterior.of(scores, SEARCH)
    assert posterior.softened(1.0) is posterior
    soft = posterior.softened(2.0)
    halved = replace(scores, coarse=scores.coarse / 2.0, fine=scores.fine / 2.0, none=-3.0)
    wanted = PosePosterior.of(halved, SEARCH)
    assert soft.probability == pytest.approx(wanted.probability)
    assert soft.none_probability == pytest.approx(wanted.none_probability)
    sharp, blurred = (sum(each.covariances_about(posterior.estimate().pose)) for each in (posterior, soft))
    assert blurred[0, 0] > 1.5 * sharp[0, 0]


def test_a_modes_mass_is_that_of_all_ways_in_which_the_camera_may_stand() -> None:
    scores = scores_of(((3.0, 2.0, 0.0), 0.0))
    prior, search = np.log([0.5, 0.5]), replace(SEARCH, windows=1)
    windows = choose_windows(scores.coarse, SEARCH.coarse_turns(), search)
    both = PoseScores(
        np.concatenate([scores.coarse] * 2), SEARCH.coarse_turns(), prior, windows, scores.fine[:1], NOWHERE, 0.0
    )
    estimate = PosePosterior.of(both, search).estimate()  # the fine level looked with one of them alone
    assert estimate.camera_probability == pytest.approx([0.5, 0.5], abs=0.05)
    assert estimate.modes[0].mass > 0.75  # with the fine level alone, less than half


def test_windows_take_the_best_places_and_do_not_repeat_one() -> None:
    coarse = np.full((1, len(SEARCH.coarse_turns()), 21, 21), FLAT)
    volume = coarse[0]
    volume[4, 10, 10], volume[4, 10, 11], volume[4, 3, 17], volume[0, 10, 10] = 3.0, 2.9, 2.0, 1.0
    windows = choose_windows(coarse, SEARCH.coarse_turns(), SEARCH)
    assert windows.centre_cells.tolist() == [[0, 0], [-14, 14], [0, 0]]
    assert windows.turn_rad.mean(axis=1) == pytest.approx(SEARCH.coarse_turns()[[4, 4, 0]])


def test_the_volumes_end_ends_the_windows() -> None:
    answer = PosePosterior.of(scores_of(((16.5, -16.5, 0.0), 0.0)), SEARCH)
    assert np.abs(answer.pose[:, :2]).max() <= 20 * 0.8 + 1e-6
    assert answer.estimate().pose[:2] == pytest.approx((16.0, -16.0), abs=1.0)


def test_headings_all_around_are_each_there_once_and_wrap() -> None:
    around = replace(SEARCH, max_turn_rad=math.pi, coarse_turn_step_rad=math.radians(5.0))
    turns = around.coarse_turns()
    assert len(turns) == 72
    assert np.diff(np.sort(np.r_[turns, turns.min() + 2 * math.pi])) == pytest.approx(math.radians(5.0))
    scores = np.full((1, 72, 21, 21), FLAT)
    scores[0, 0, 10, 10], scores[0, -1, 10, 10] = 2.0, 1.9  # -180 and 175 degrees: neighbours
    windows = choose_windows(scores, turns, replace(around, window_turns=10, windows=2))
    assert windows.centre_cells[0].tolist() == [0, 0]
    assert windows.centre_cells[1].tolist() != [0, 0]


def test_scores_that_are_not_numbers_are_refused() -> None:
    good = scores_of(((0.0, 0.0, 0.0), 0.0))
    for name in ("coarse", "fine"):
        broken = getattr(good, name).copy()
        broken.flat[7] = math.nan
        with pytest.raises(InputError, match="not finite"):
            PosePosterior.of(replace(good, **{name: broken}), SEARCH)


def test_searches_that_cannot_be_are_refused() -> None:
    for bad in ({"reach_cells": 7}, {"window_cells": 3}, {"windows": 0}, {"window_turns": 3}):
        with pytest.raises(InputError):
            replace(SEARCH, **bad)


def test_ways_in_which_the_camera_may_stand_share_the_probability() -> None:
    here, there = (3.0, 2.0, 0.0), (-8.0, 6.0, 0.0)
    first, second = scores_of((here, 0.0)), scores_of((there, 1.0))
    prior = np.log([0.5, 0.5])
    coarse = np.concatenate([first.coarse, second.coarse])
    search = replace(SEARCH, windows=2)
    windows = choose_windows(coarse, SEARCH.coarse_turns(), search, prior)
    assert windows.camera.tolist() == [1, 0]
    fine = np.stack([second.fine[0], first.fine[0]])
    answer = PosePosterior.of(PoseScores(coarse, SEARCH.coarse_turns(), prior, windows, fine, NOWHERE, 0.0), search)
    estimate = answer.estimate()
    assert estimate.pose[:2] == pytest.approx(there[:2], abs=0.15)
    assert estimate.camera_probability == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)], abs=0.04)
    known = PoseScores(coarse, SEARCH.coarse_turns(), np.log([0.9, 0.1]), windows, fine, NOWHERE, 0.0)
    assert PosePosterior.of(known, search).estimate().pose[:2] == pytest.approx(here[:2], abs=0.15)


def test_camera_hypotheses_are_weighted_by_what_is_known_of_the_camera() -> None:
    pitch = np.radians([-1.0, 0.0, 1.0])
    hypotheses = CameraHypotheses.grid(pitch, np.array([0.95, 1.05]), (0.0, math.radians(1.0)), (1.0, 0.05))
    assert len(hypotheses) == 6
    probability = np.exp(hypotheses.log_prior).reshape(3, 2)
    assert probability.sum() == pytest.approx(1.0)
    assert probability[1] / probability[0] == pytest.approx(math.exp(0.5))
    assumed = VirtualCamera(512, 128, 256.0, 50.0, 1.6)
    low = hypotheses.cameras(assumed)[0]
    assert isinstance(low, VirtualCamera)
    assert low.horizon_row_px == pytest.approx(50.0 - 256.0 * math.tan(math.radians(1.0)))  # looks down
    assert low.height_m == pytest.approx(1.52)
    panorama = VirtualPanorama(512, 128, 1.5, 1.6)
    assert CameraHypotheses.as_assumed().cameras(panorama) == (panorama,)
    with pytest.raises(InputError, match="panorama"):
        hypotheses.cameras(panorama)


def test_the_volume_reaches_the_search_radius() -> None:
    search = search_of(BirdsEyeGeometry(), max_turn_rad=0.5)
    assert search.reach_cells * search.cell_m >= 20.0
    assert search.reach_cells % 2 == 0
    assert search.coarse_turns().max() == pytest.approx(0.5, abs=search.coarse_turn_step_rad)


def test_hypotheses_about_a_belief_lie_on_its_axes() -> None:
    mean, sigma = np.array([0.01, -0.02, 0.05]), np.array([0.005, 0.004, 0.03])
    cross = CameraHypotheses.around(mean, sigma, np.array([[1.2, 0.0], [1.2, 2.4], [0.0, 0.0]]))
    assert len(cross) == 7
    assert cross.pitch_rad[:3] == pytest.approx([0.01, 0.01 - 1.2 * 0.005, 0.01 + 1.2 * 0.005])
    assert cross.roll_rad[3:] == pytest.approx(-0.02 + 0.004 * np.array([-1.2, 1.2, -2.4, 2.4]))
    assert cross.height_scale == pytest.approx(math.exp(0.05))
    assert np.exp(cross.log_prior).sum() == pytest.approx(1.0)
    assert cross.log_prior[0] - cross.log_prior[1] == pytest.approx(1.2**2 / 2)
    rolled = cross.cameras(VirtualCamera(512, 128, 256.0, 50.0, 1.6))[0]
    assert isinstance(rolled, VirtualCamera)
    assert rolled.roll_rad == pytest.approx(-0.02)


def test_corners_of_a_belief_have_pitch_and_roll_both_off() -> None:
    mean, sigma = np.array([0.01, -0.02, 0.05]), np.array([0.005, 0.004, 0.03])
    reach = np.array([[1.2, 2.4], [1.1, 0.0], [1.0, 0.0]])
    cross, with_corners = (CameraHypotheses.around(mean, sigma, reach, corners) for corners in (False, True))
    assert len(with_corners) == len(cross) + 4 == 13
    assert with_corners.points[:9] == pytest.approx(cross.points)
    off = (with_corners.points[9:] - mean) / sigma
    assert {tuple(row) for row in off.round(6)} == {(p, r, 0.0) for p in (-1.2, 1.2) for r in (-1.1, 1.1)}
    assert np.exp(with_corners.log_prior).sum() == pytest.approx(1.0)
    assert with_corners.log_prior[0] - with_corners.log_prior[9] == pytest.approx((1.2**2 + 1.1**2) / 2)


def test_cameras_that_only_the_fine_level_looked_through_join_the_others() -> None:
    place = (5.3, -7.1, 0.0)
    scores = scores_of((place, 0.0))
    before = PosePosterior.of(scores, SEARCH)
    best = scores.best_window
    joined = scores.joined(np.array([-1.0, -2.0]), scores.windows.through(best, 2), scores.fine[[best, best]] + 3.0)
    assert joined.best_window == len(scores.fine)  # the first of the new ones
    posterior = PosePosterior.of(joined, SEARCH)
    assert posterior.probability.sum() + posterior.none_probability == pytest.approx(1.0)
    assert posterior.fine_count == before.fine_count + 2 * scores.fine[best].size
    assert posterior.camera_probability.sum() == pytest.approx(1.0)
    assert posterior.camera_probability[1] / posterior.camera_probability[2] == pytest.approx(math.e)
    assert posterior.estimate().pose == pytest.approx(before.estimate().pose, abs=0.05)


def test_a_sharp_place_comes_before_a_broad_one_of_more_mass() -> None:
    sharp, broad = (6.0, 3.0, 0.0), (-9.0, 3.0, 0.0)
    scores = scores_of((sharp, 0.9), (broad, 0.0), ((-9.0, 4.6, 0.0), 0.0), ((-10.6, 3.0, 0.0), 0.0))
    first, second, *_ = PosePosterior.of(scores, SEARCH).estimate().modes
    assert first.pose[0] == pytest.approx(6.0, abs=0.3)
    assert second.mass > first.mass
