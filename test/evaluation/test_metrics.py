"""The arithmetic of the figures."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.metrics import figures, published_figures, sparsification_error, timing, trajectory_figures
from geoflow_ros.geo.gaussian import chi_square_quantile


def test_figures_of_known_errors_are_the_ones_computed_by_hand() -> None:
    f = figures([[3.0, 4.0], [0.0, -0.5], [-1.0, 0.0], [6.0, 8.0]])
    assert f["frames"] == 4
    assert f["mean_error_m"] == pytest.approx((5 + 0.5 + 1 + 10) / 4)
    assert f["median_error_m"] == pytest.approx(3.0)
    assert f["longitudinal_mean_error_m"] == pytest.approx(10 / 4)
    assert f["lateral_mean_error_m"] == pytest.approx(12.5 / 4)
    assert f["recall_1m"] == 0.5
    assert f["recall_5m"] == 0.75
    assert f["lateral_recall_1m"] == 0.5
    assert f["longitudinal_recall_1m"] == 0.5
    assert f["rmse_m"] == pytest.approx(math.sqrt((25 + 0.25 + 1 + 100) / 4))


def test_figures_without_covariances_or_times_leave_those_keys_out() -> None:
    f = figures([[1.0, 1.0]])
    for key in ("anees", "coverage_95", "nll", "latency_ms", "frames_per_second", "availability"):
        assert key not in f


def test_truthful_covariances_have_anees_one_and_nominal_coverage() -> None:
    rng = np.random.default_rng(3)
    n = 40_000
    factors = rng.normal(size=(n, 2, 2)) + 2 * np.eye(2)
    covariances = factors @ factors.transpose(0, 2, 1)
    errors = np.einsum("nij,nj->ni", factors, rng.normal(size=(n, 2)))
    f = figures(errors, covariances)
    assert f["anees"] == pytest.approx(1.0, abs=0.03)
    assert f["coverage_50"] == pytest.approx(0.50, abs=0.01)
    assert f["coverage_90"] == pytest.approx(0.90, abs=0.01)
    assert f["coverage_95"] == pytest.approx(0.95, abs=0.01)


def test_halving_sigma_multiplies_anees_by_four_and_worsens_nll() -> None:
    rng = np.random.default_rng(4)
    errors = rng.normal(size=(20_000, 2))
    truthful = figures(errors, np.tile(np.eye(2), (len(errors), 1, 1)))
    overconfident = figures(errors, np.tile(np.eye(2) / 4, (len(errors), 1, 1)))
    assert overconfident["anees"] == pytest.approx(4 * truthful["anees"])
    assert overconfident["nll"] > truthful["nll"]
    assert truthful["nll"] == pytest.approx(1 + math.log(2 * math.pi), abs=0.03)


def test_no_constant_covariance_has_a_better_likelihood_than_the_one_of_the_errors() -> None:
    rng = np.random.default_rng(5)
    errors = rng.normal(size=(500, 2)) @ np.array([[3.0, 0.0], [1.0, 0.5]])
    best = errors.T @ errors / len(errors)
    f = figures(errors, np.tile(best, (len(errors), 1, 1)))
    assert f["nll"] == pytest.approx(f["nll_constant"])
    for other in (1.2 * best, best / 1.2, best + np.diag([1.0, 0.0])):
        assert figures(errors, np.tile(other, (len(errors), 1, 1)))["nll"] > f["nll_constant"]
    assert "nll_constant" not in figures([[1.0, 1.0], [2.0, 2.0]], np.tile(np.eye(2), (2, 1, 1)))


def test_sparsification_is_perfect_in_the_order_of_the_errors_and_worst_against_it() -> None:
    errors = np.array([4.0, 1.0, 3.0, 2.0])
    assert sparsification_error(errors, 10.0 * errors) == 0.0
    # the means of what is left are, from one answer on, 4, 3.5, 3, 2.5 against 1, 1.5, 2, 2.5
    assert sparsification_error(errors, -errors) == pytest.approx((3.0 + 2.0 + 1.0) / 4.0 / 2.5)
    assert sparsification_error(np.zeros(3), np.arange(3)) == 0.0
    with pytest.raises(InputError, match="for each error"):
        sparsification_error(errors, errors[:2])


def test_sigmas_name_the_axis_they_belong_to() -> None:
    f = figures([[0.0, 0.0]], [[[9.0, 0.0], [0.0, 0.25]]])
    assert f["longitudinal_sigma_m"] == pytest.approx(3.0)
    assert f["lateral_sigma_m"] == pytest.approx(0.5)


def test_latency_percentiles_and_rate_come_from_single_frames() -> None:
    t = timing(np.arange(1, 101))
    assert t["latency_ms"]["p50"] == pytest.approx(50.5)
    assert t["latency_ms"]["p95"] == pytest.approx(95.05)
    assert t["latency_ms"]["p99"] == pytest.approx(99.01)
    assert t["frames_per_second"] == pytest.approx(1000 / 50.5)


def test_the_chi_square_quantiles_are_those_of_the_tables() -> None:
    assert chi_square_quantile(0.95, 2) == pytest.approx(5.991, abs=1e-3)
    assert chi_square_quantile(0.50, 2) == pytest.approx(1.386, abs=1e-3)


def test_trajectory_figures_are_of_distances_in_time_order() -> None:
    t = trajectory_figures([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    assert t["rmse_m"] == pytest.approx(math.sqrt(26 / 3))
    assert t["median_error_m"] == 1.0
    assert t["max_error_m"] == 5.0
    assert t["final_error_m"] == 1.0


@pytest.mark.parametrize(
    ("errors", "covariances", "reason"),
    [
        (np.empty((0, 2)), None, "nothing to measure"),
        ([[1.0, math.nan]], None, "not finite"),
        ([[1.0, math.inf]], None, "not finite"),
        ([[1.0, 2.0, 3.0]], None, "shape"),
        ([[1.0, 2.0]], np.zeros((2, 2, 2)), "shape"),
        ([[1.0, 2.0]], np.full((1, 2, 2), math.nan), "not finite"),
        ([[1.0, 2.0]], np.zeros((1, 2, 2)), "positive definite"),
        ([[1.0, 2.0]], [[[1.0, 2.0], [2.0, 1.0]]], "positive definite"),
    ],
)
def test_figures_refuse_what_cannot_be_measured(
    errors: npt.ArrayLike, covariances: npt.ArrayLike | None, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        figures(errors, covariances)


@pytest.mark.parametrize("latencies", [[], [math.nan], [-1.0]])
def test_timing_refuses_impossible_latencies(latencies: list[float]) -> None:
    with pytest.raises(InputError, match="latencies"):
        timing(latencies)


def test_availability_is_a_share() -> None:
    with pytest.raises(InputError, match="share"):
        figures([[1.0, 1.0]], availability=1.5)


def test_what_is_published_is_measured_apart() -> None:
    errors = np.array([[1.0, 0.0], [8.0, 0.0], [30.0, 0.0]])
    covariances = np.eye(2)[None] * np.array([1.0, 4.0, 1.0])[:, None, None]
    found = published_figures(errors, covariances, [True, True, False])
    assert found["published_mean_error_m"] == pytest.approx(4.5)
    assert found["published_anees"] == pytest.approx((1.0 / 2 + 16.0 / 2) / 2)
    assert found["published_coverage_95"] == found["published_beyond_999"] == 0.5
    assert published_figures(errors, covariances, [False] * 3) == {}
