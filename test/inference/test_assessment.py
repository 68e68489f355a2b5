"""An answer gets its covariance, and a reason where it is not to be trusted."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.heads import ExactHead
from numpy.typing import ArrayLike

from geoflow_ros.backends.host_frames import refine
from geoflow_ros.bundle import Calibration, Evidence, IrsSettings
from geoflow_ros.bundle.evidence import SIGNS_OF
from geoflow_ros.errors import BundleError
from geoflow_ros.inference import AssessedEstimate, QualityLimits, assess
from geoflow_ros.inference.irs import mean_estimate, sample_hypotheses
from geoflow_ros.inference.posterior import probe_grid

RADIUS_M = 20.0


def assessed(
    truth: ArrayLike,
    hypotheses: ArrayLike,
    head: ExactHead | None = None,
    calibration: Calibration | None = None,
    settings: IrsSettings | None = None,
    evidence: Evidence | None = None,
) -> AssessedEstimate:
    hypotheses, truth = np.asarray(hypotheses, dtype=np.float32), np.asarray(truth, dtype=np.float32)
    probes = np.repeat(probe_grid()[None], len(truth), axis=0)
    return assess(
        (head or ExactHead()).head(truth, probes, 0.5),
        probe_grid(),
        hypotheses,
        mean_estimate(hypotheses),
        RADIUS_M,
        calibration or Calibration.unfitted(0.2),
        settings or IrsSettings(),
        QualityLimits(),
        evidence,
    )[0]


def test_hypotheses_that_met_inside_the_square_are_trusted() -> None:
    estimate = assessed([[0.5, -0.2]], [[[0.5, -0.2], [0.52, -0.2], [0.48, -0.2]]])
    assert estimate.assessment.trustworthy
    assert estimate.assessment.reason == ""
    np.testing.assert_allclose(estimate.position_m, [10.0, -4.0], atol=1e-5)
    np.testing.assert_allclose(estimate.posterior_mean_m, [10.0, -4.0], atol=0.1)
    assert estimate.assessment.inside_fraction == 1.0
    assert estimate.heading_error_rad is None


def test_an_answer_outside_the_search_square_is_not_trusted_and_says_why() -> None:
    estimate = assessed([[1.4, 0.0]], [[[1.4, 0.0], [1.4, 0.0]]])
    assert "outside the search square" in estimate.assessment.reason
    assert estimate.assessment.inside_fraction == 0.0


def test_hypotheses_in_two_clusters_are_not_trusted_and_the_reason_names_the_spread() -> None:
    estimate = assessed([[0.0, 0.0]], [[[-0.6, 0.0], [-0.6, 0.0], [0.6, 0.0], [0.6, 0.0]]])
    assert "did not meet" in estimate.assessment.reason
    assert estimate.assessment.spread_m == pytest.approx(12.0, rel=1e-6)


def test_one_iteration_is_trusted_for_the_spread_that_it_must_leave() -> None:
    settings = IrsSettings(hypotheses=200, iterations=1, step=0.5)
    truth = np.zeros((1, 2), dtype=np.float32)
    end = refine(ExactHead(), truth, sample_hypotheses(1, 200, 5), settings.step, settings.iterations)[-1]
    assert assessed(truth, end, settings=settings).assessment.trustworthy


def test_the_covariance_grows_with_both_uncertainties_of_the_head() -> None:
    at = [[0.1, 0.1]]
    sure = assessed(at, [at], ExactHead(0.05, 100.0)).covariance
    far_unsure = assessed(at, [at], ExactHead(0.5, 100.0)).covariance
    aside_unsure = assessed(at, [at], ExactHead(0.05, 5.0)).covariance
    both_unsure = assessed(at, [at], ExactHead(0.5, 5.0)).covariance
    # from all around, distance alone or direction alone tells the position too: both must go for it to be lost
    assert np.trace(far_unsure) > 2.0 * np.trace(sure)
    assert np.trace(aside_unsure) > 2.0 * np.trace(sure)
    assert np.trace(both_unsure) > 20.0 * np.trace(sure)


def test_calibration_stretches_each_axis_of_the_patch_by_itself() -> None:
    at = [[0.0, 0.0]]
    plain = assessed(at, [at]).raw_covariance
    stretched = assessed(at, [at], calibration=Calibration(3.0, 0.5, 0.4, 0.2, 100, "test")).covariance
    assert stretched[0, 0] == pytest.approx(9.0 * plain[0, 0] + 0.16)
    assert stretched[1, 1] == pytest.approx(0.25 * plain[1, 1] + 0.04)


def test_a_head_that_knows_nothing_is_worth_no_less_and_no_more_than_the_search_square() -> None:
    covariance = assessed([[0.0, 0.0]], [[[0.0, 0.0]]], ExactHead(3.0, 1e-3)).covariance
    np.testing.assert_allclose(covariance, np.eye(2) * RADIUS_M**2 / 3.0, rtol=1e-6, atol=1e-9)


def test_an_output_that_is_not_finite_gives_no_fix() -> None:
    broken = ExactHead(sigma_log_r=float("nan"))
    with pytest.raises(BundleError, match="not finite"):
        assessed([[0.0, 0.0]], [[[0.0, 0.0]]], broken)
    with pytest.raises(BundleError, match="not finite"):
        assessed([[0.0, 0.0]], [[[np.nan, 0.0]]])


def test_evidence_is_weighed_in_the_place_of_the_spread() -> None:
    apart = sample_hypotheses(1, 10, 0)
    without = assessed([[0.2, -0.3]], apart).assessment
    assert "did not meet" in without.reason
    weights = {**dict.fromkeys(SIGNS_OF["geoflow"], 0.0), "log_spread": -1.0}
    sure, unsure = (
        assessed([[0.2, -0.3]], apart, evidence=Evidence(weights, 3.0, least, 100, "a test")).assessment
        for least in (0.5, 0.9)
    )
    wanted = 1.0 / (1.0 + np.exp(np.log(sure.spread_m) - 3.0))
    assert sure.probability == sure.quality == pytest.approx(wanted)
    assert sure.trustworthy
    assert unsure.reason == without.reason
    assert without.probability is None
    assert set(sure.signs) == set(SIGNS_OF["geoflow"])
