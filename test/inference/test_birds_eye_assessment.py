"""Which posteriors over poses are answers, and what is said of the others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from geoflow_ros.bundle import Evidence
from geoflow_ros.inference.birds_eye_assessment import PoseLimits, assess_pose
from geoflow_ros.inference.pose_posterior import PoseEstimate, PoseMode
from geoflow_ros.inference.pose_search import PoseSearch

STEP = math.radians(1.25)
SEARCH = PoseSearch(0.8, 20, STEP, 2 * STEP, 8 * STEP)
SPREAD = np.diag([0.5, 0.5, 0.001])


def estimate(*modes: tuple[float, float, float, float], none: float = 0.02, entropy: float = -6.0) -> PoseEstimate:
    """Modes of (forward m, right m, turn deg, mass)."""
    found = tuple(PoseMode(np.array([f, r, math.radians(t)]), SPREAD, mass) for f, r, t, mass in modes)
    return PoseEstimate(found, SPREAD, none, np.ones(1), entropy)


def reason(found: PoseEstimate, search: PoseSearch = SEARCH) -> str:
    assessment = assess_pose(found, search, PoseLimits())
    assert assessment.trustworthy == (assessment.reason == "")
    return assessment.reason


def test_one_place_is_trusted_and_its_probability_is_the_quality() -> None:
    found = assess_pose(estimate((3.0, 4.0, 1.0, 0.9), (-9.0, 0.0, 0.0, 0.05), none=0.1), SEARCH, PoseLimits())
    assert found.trustworthy
    assert found.quality == pytest.approx(0.81)
    assert found.centre_distance_m == pytest.approx(5.0)
    assert (found.mass, found.rival_mass) == (0.9, 0.05)


def test_two_places_are_ambiguous_and_the_reason_names_both_masses() -> None:
    assert reason(estimate((3.0, 4.0, 0.0, 0.48), (-9.0, 4.0, 0.0, 0.44))) == "ambiguous: 48 % here, 44 % there"
    facing_back = estimate((3.0, 4.0, 0.0, 0.48), (3.0, 4.0, 179.0, 0.44))
    assert "ambiguous" in reason(facing_back, replace(SEARCH, max_turn_rad=math.pi))


def test_a_long_hill_and_a_small_rival_are_no_ambiguity() -> None:
    along = estimate((3.0, 4.0, 0.0, 0.45), (-3.0, 4.0, 0.0, 0.4))  # 7.5 cells apart: one street
    assert reason(along) == ""
    assert reason(estimate((3.0, 4.0, 0.0, 0.5), (-9.0, 4.0, 0.0, 0.1), (9.0, 4.0, 0.0, 0.1))) == ""
    assert reason(estimate((3.0, 4.0, 0.0, 0.65), (-9.0, 4.0, 0.0, 0.35))) == ""


def test_the_second_rival_counts_where_the_first_is_a_part_of_the_hill() -> None:
    found = estimate((3.0, 4.0, 0.0, 0.4), (-3.0, 4.0, 0.0, 0.3), (12.0, -9.0, 0.0, 0.25))
    assert reason(found) == "ambiguous: 40 % here, 25 % there"


def test_a_patch_of_another_place_is_named_so() -> None:
    assert reason(estimate((3.0, 4.0, 0.0, 0.9), none=0.93)) == "nothing on the patch matches (none 93 %)"


def test_an_image_that_says_nothing_gives_no_pose() -> None:
    assert "says nothing" in reason(estimate((3.0, 4.0, 0.0, 0.01), entropy=-0.1))


@pytest.mark.parametrize(("forward", "turn_deg", "words"), [(15.9, 0.0, "16.0 m"), (0.0, -9.9, "off by 9.9")])
def test_an_answer_at_the_end_of_the_volume_may_be_the_slope_of_one_beyond(
    forward: float, turn_deg: float, words: str
) -> None:
    assert words in reason(estimate((forward, 0.0, turn_deg, 0.95)))
    assert reason(estimate((forward * 0.95, 0.0, turn_deg * 0.95, 0.95))) == ""


def test_all_around_has_no_end() -> None:
    around = replace(SEARCH, max_turn_rad=math.pi, coarse_turn_step_rad=math.radians(5.0))
    assert reason(estimate((0.0, 0.0, 179.9, 0.95)), around) == ""


def evidence(least: float) -> Evidence:
    weights = {
        "entropy": -1.0,
        "log_rest": 0.0,
        "logit_none": 0.0,
        "log_sigma": -1.0,
        "highest_score": 0.1,
        "turn": -2.0,
    }
    return Evidence(weights, -6.5, least, 100, "a test")


def test_evidence_is_weighed_in_the_place_of_doubts() -> None:
    found = estimate((3.0, 4.0, 0.0, 0.48), (-9.0, 4.0, 0.0, 0.44))  # ambiguous, but for the evidence
    score = 6.0 - math.log(0.5) / 2.0 - 6.5 + 0.1 * 7.0
    trusted = assess_pose(found, SEARCH, PoseLimits(), evidence(0.5), highest_score=7.0)
    assert trusted.trustworthy
    assert trusted.probability == trusted.quality == pytest.approx(1.0 / (1.0 + math.exp(-score)))
    doubtful = assess_pose(found, SEARCH, PoseLimits(), evidence(0.9), highest_score=7.0)
    assert doubtful.reason == "ambiguous: 48 % here, 44 % there"
    plain = assess_pose(estimate((3.0, 4.0, 0.0, 0.9)), SEARCH, PoseLimits(), evidence(0.9), highest_score=7.0)
    assert plain.reason == "an error under 5 m is 63 % probable, and 90 % is the least"
    at_end = assess_pose(estimate((15.9, 0.0, 0.0, 0.95)), SEARCH, PoseLimits(), evidence(0.1), highest_score=7.0)
    assert "16.0 m" in at_end.reason
    assert plain.signs["log_rest"] == pytest.approx(math.log(0.1))
    assert plain.signs["logit_none"] == pytest.approx(math.log(0.02 / 0.98))


def test_a_turn_is_judged_by_the_error_that_the_heading_may_have() -> None:
    turned = estimate((3.0, 4.0, 4.0, 0.9))
    known = replace(SEARCH, heading_error_rad=math.radians(5.0))
    shares = [assess_pose(turned, search, PoseLimits(), evidence(0.5)).signs["turn"] for search in (SEARCH, known)]
    assert shares == pytest.approx([math.radians(4.0) / SEARCH.max_turn_rad, 0.8])
