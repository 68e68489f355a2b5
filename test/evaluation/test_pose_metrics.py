"""Figures beyond the position: yaw, poses with their covariance, qualities, and what chance leaves open."""

import math

import numpy as np
import pytest

from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.metrics import auroc, intervals, pose_consistency, quality_figures, yaw_figures
from geoflow_ros.geo.gaussian import chi_square_quantile


def test_yaw_figures_of_known_errors_are_the_ones_computed_by_hand() -> None:
    f = yaw_figures(np.radians([0.5, -1.0, 4.0, -6.0, 361.0]))
    assert f["yaw_mean_error_deg"] == pytest.approx((0.5 + 1 + 4 + 6 + 1) / 5)
    assert f["yaw_median_error_deg"] == pytest.approx(1.0)
    assert f["yaw_recall_5deg"] == pytest.approx(4 / 5)
    assert yaw_figures(np.radians([0.5, 3.0]))["yaw_recall_1deg"] == 0.5


@pytest.mark.parametrize("errors", [[], [math.nan], [[0.1]]])
def test_yaw_figures_refuse_what_is_no_error_of_a_yaw(errors: list[float]) -> None:
    with pytest.raises(InputError, match="yaw"):
        yaw_figures(errors)


def test_the_consistency_of_poses_counts_all_three_axes() -> None:
    errors = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.02]]
    covariance = np.diag([1.0, 4.0, 1e-4])
    f = pose_consistency(errors, [covariance, covariance])
    assert f["pose_anees"] == pytest.approx((1.0 + (1.0 + 4.0)) / 2 / 3)  # NEES 1, and 1 + 4
    assert f["pose_coverage_50"] == 0.5  # 50 %: 2.37
    assert f["pose_coverage_90"] == 1.0  # 90 %: 6.25
    constant = 1.5 * math.log(2 * math.pi) + 0.5 * math.log(4e-4)
    assert f["pose_nll"] == pytest.approx((0.5 + 2.5) / 2 + constant)
    assert f["yaw_sigma_deg"] == pytest.approx(math.degrees(0.01))


def test_truthful_covariances_of_poses_have_nominal_coverage() -> None:
    rng = np.random.default_rng(5)
    factors = rng.normal(size=(20_000, 3, 3)) + 2 * np.eye(3)
    errors = np.einsum("nij,nj->ni", factors, rng.normal(size=(20_000, 3)))
    f = pose_consistency(errors, factors @ factors.transpose(0, 2, 1))
    assert f["pose_anees"] == pytest.approx(1.0, abs=0.03)
    assert f["pose_coverage_95"] == pytest.approx(0.95, abs=0.01)


def test_the_chi_square_quantiles_of_three_degrees_are_those_of_the_tables() -> None:
    assert chi_square_quantile(0.50, 3) == pytest.approx(2.366, abs=1e-3)
    assert chi_square_quantile(0.95, 3) == pytest.approx(7.815, abs=1e-3)
    with pytest.raises(InputError, match="degrees of freedom"):
        chi_square_quantile(0.5, 4)


def test_auroc_is_the_share_of_pairs_in_the_right_order_and_ties_count_half() -> None:
    # positives 3, 2; negatives 2, 1: 3 > 2, 3 > 1, 2 = 2, 2 > 1
    assert auroc([3.0, 2.0, 2.0, 1.0], [True, True, False, False]) == pytest.approx(3.5 / 4)
    assert auroc([1.0, 2.0], [True, False]) == 0.0
    assert auroc([0.3, 0.3, 0.3], [True, False, True]) == 0.5


def test_auroc_is_not_given_where_a_class_is_missing() -> None:
    assert auroc([1.0, 2.0], [True, True]) is None
    assert quality_figures([[0.1, 0.2], [0.0, 4.0]], [0.5, 0.4]) == {}


def test_a_quality_that_falls_where_the_error_is_large_has_an_area_of_one() -> None:
    errors = [[0.0, 0.1], [6.0, 0.0], [3.0, 4.0], [0.0, -9.0]]  # 5.0 is not more than 5
    assert quality_figures(errors, [0.9, 0.2, 0.8, 0.1])["auroc_5m"] == 1.0
    assert quality_figures(errors, [0.1, 0.8, 0.2, 0.9])["auroc_5m"] == 0.0


@pytest.mark.parametrize(("scores", "labels"), [([1.0], [True, False]), ([math.nan, 1.0], [True, False])])
def test_auroc_refuses_scores_that_cannot_be_ranked(scores: list[float], labels: list[bool]) -> None:
    with pytest.raises(InputError, match="score"):
        auroc(scores, labels)


def test_intervals_draw_worlds_and_not_pairs() -> None:
    """In two worlds of equal errors 1 and 3, the mean of two drawn worlds is 1, 2 or 3, at 1/4, 1/2 and 1/4."""
    errors = np.zeros((40, 2))
    errors[:20, 0], errors[20:, 1] = 1.0, 3.0
    worlds = np.repeat([4, 9], 20)
    assert intervals(errors, worlds)["mean_error_m_interval"] == (1.0, 3.0)
    # taken as forty worlds of their own, the same errors leave little open
    low, high = intervals(errors, np.arange(40))["mean_error_m_interval"]
    assert 1.6 < low < 2.0 < high < 2.4


def test_intervals_need_two_worlds() -> None:
    assert intervals([[1.0, 0.0], [2.0, 0.0]], [3, 3]) == {}
    with pytest.raises(InputError, match="worlds"):
        intervals([[1.0, 0.0]], [1, 2])


def test_intervals_are_the_same_every_time() -> None:
    errors = np.random.default_rng(1).normal(size=(64, 2))
    worlds = np.arange(64) // 8
    assert intervals(errors, worlds) == intervals(errors, worlds)
