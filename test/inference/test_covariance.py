"""What the head's numbers mean in metres: moments, mixture, bound, calibration, ellipse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.bundle import Calibration
from geoflow_ros.errors import InputError
from geoflow_ros.geo import Gaussian2D, PatchFrame, confidence_ellipse
from geoflow_ros.inference import fit_calibration
from geoflow_ros.inference.covariance import (
    bounded_by_prior,
    covariance_about,
    direction_moments,
    displacement_moments,
    mean_angle,
    mixture,
)

KAPPAS = [1e-6, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0, 1000.0]


def angle_grid(kappa: float, count: int = 400_001) -> tuple[Float64Array, Float64Array]:
    """Angles and normalised probabilities of AngMF on a grid that is fine where the density is."""
    theta = np.linspace(0.0, min(np.pi, 60.0 / kappa), count)
    density = np.exp(-kappa * theta) * np.sin(theta)
    return theta, density / np.trapezoid(density, theta)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_direction_moments_equal_numerical_integrals(kappa: float) -> None:
    theta, density = angle_grid(kappa)
    cos_mean, cos_double_mean = direction_moments(kappa)
    assert cos_mean == pytest.approx(np.trapezoid(density * np.cos(theta), theta), abs=1e-8)
    assert mean_angle(kappa) == pytest.approx(np.trapezoid(density * theta, theta), rel=1e-6)
    assert cos_double_mean == pytest.approx(np.trapezoid(density * np.cos(2.0 * theta), theta), abs=1e-8)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_the_density_is_the_one_that_the_training_loss_normalizes(kappa: float) -> None:
    theta = np.linspace(0.0, min(np.pi, 60.0 / kappa), 400_001)
    loss = -np.log(kappa**2 + 1.0) + kappa * theta + np.log1p(np.exp(-kappa * np.pi))
    assert np.trapezoid(np.exp(-loss) * np.sin(theta), theta) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("kappa", [5.0, 20.0, 100.0])
def test_a_kappa_that_minimizes_the_loss_gives_the_mean_angle_of_the_data(kappa: float) -> None:
    theta, density = angle_grid(kappa)
    data_angle = np.trapezoid(density * theta, theta)

    def loss(rate: float) -> float:
        return -np.log(rate**2 + 1.0) + rate * data_angle + np.log1p(np.exp(-rate * np.pi))

    rates = kappa * np.linspace(0.9, 1.1, 2001)
    assert rates[np.argmin(loss(rates))] == pytest.approx(kappa, rel=2e-3)
    assert data_angle == pytest.approx(2.0 / kappa, rel=0.05)


@pytest.mark.parametrize(("mu", "s", "kappa"), [(-0.7, 0.02, 40.0), (0.3, 0.4, 3.0), (-2.0, 0.6, 0.3)])
def test_displacement_moments_equal_those_of_samples(mu: float, s: float, kappa: float) -> None:
    rng = np.random.default_rng(1)
    count = 500_000
    theta, density = angle_grid(kappa, 40_001)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(theta))])
    angle = np.interp(rng.uniform(size=count), cumulative / cumulative[-1], theta) * rng.choice([-1.0, 1.0], count)
    towards = 0.6
    distance = np.exp(mu + np.sqrt(s) * rng.standard_normal(count))
    samples = distance[:, None] * np.stack([np.cos(towards + angle), np.sin(towards + angle)], axis=-1)

    gaussian = displacement_moments(mu, s, [np.cos(towards), np.sin(towards)], kappa)
    scale = np.sqrt(np.mean(np.square(distance)))
    np.testing.assert_allclose(gaussian.mean, samples.mean(axis=0), atol=5e-3 * scale)
    np.testing.assert_allclose(gaussian.covariance, np.cov(samples.T), atol=2e-2 * scale**2)


def test_covariances_are_positive_definite_for_every_output_that_a_head_can_give() -> None:
    kappa, s, mu = np.meshgrid(np.logspace(-6, 6, 49), np.logspace(-6, 3, 37), [-12.0, -1.0, 2.0], indexing="ij")
    direction = np.broadcast_to([0.28, -0.96], (*kappa.shape, 2))
    covariance = displacement_moments(mu, s, direction, kappa).covariance
    assert np.isfinite(covariance).all()
    values = np.linalg.eigvalsh(covariance)
    # relative to the length itself: far below what float32 outputs mean, and the calibration's floor comes on top
    assert (values[..., 0] > 0.0).all() or (values[..., 0] > -1e-15 * values[..., 1]).all()
    calibrated = Calibration.unfitted(0.1958).apply(covariance)
    assert np.linalg.eigvalsh(calibrated)[..., 0].min() > 0.0


def test_a_sharper_head_is_surer_along_and_across_the_direction() -> None:
    soft = displacement_moments(-0.5, 0.3, [1.0, 0.0], 5.0).covariance
    sharp_distance = displacement_moments(-0.5, 0.03, [1.0, 0.0], 5.0).covariance
    sharp_direction = displacement_moments(-0.5, 0.3, [1.0, 0.0], 50.0).covariance
    assert sharp_distance[0, 0] < soft[0, 0]
    assert sharp_direction[1, 1] < 0.05 * soft[1, 1]


def test_displacement_moments_turn_with_the_direction() -> None:
    turn = np.array([[np.cos(0.9), -np.sin(0.9)], [np.sin(0.9), np.cos(0.9)]])
    direction = np.array([0.8, 0.6])
    straight = displacement_moments(-0.4, 0.2, direction, 8.0)
    turned = displacement_moments(-0.4, 0.2, turn @ direction, 8.0)
    np.testing.assert_allclose(turned.mean, turn @ straight.mean, rtol=1e-12)
    np.testing.assert_allclose(turned.covariance, turn @ straight.covariance @ turn.T, rtol=1e-12)


def test_a_mixture_has_the_moments_of_samples_drawn_from_its_components() -> None:
    rng = np.random.default_rng(2)
    means = rng.normal(size=(5, 2))
    roots = rng.normal(size=(5, 2, 2))
    covariances = roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(2)
    samples = np.concatenate([rng.multivariate_normal(m, c, 200_000) for m, c in zip(means, covariances, strict=True)])
    joined = mixture(Gaussian2D(means, covariances))
    np.testing.assert_allclose(joined.mean, samples.mean(axis=0), atol=1e-2)
    np.testing.assert_allclose(joined.covariance, np.cov(samples.T), atol=3e-2)


def test_asking_the_same_question_many_times_does_not_make_the_answer_surer() -> None:
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    for count in (1, 3, 64):
        joined = mixture(Gaussian2D(np.tile([1.0, -2.0], (count, 1)), np.tile(covariance, (count, 1, 1))))
        np.testing.assert_allclose(joined.mean, [1.0, -2.0])
        np.testing.assert_allclose(joined.covariance, covariance)


def test_an_answer_beside_the_mean_is_charged_with_the_difference() -> None:
    gaussian = Gaussian2D(np.array([1.0, 0.0]), np.diag([2.0, 3.0]))
    np.testing.assert_allclose(covariance_about(gaussian, np.array([4.0, 0.0])), np.diag([11.0, 3.0]))


def test_the_bound_leaves_good_covariances_alone_and_cuts_ignorance_to_the_search_square() -> None:
    radius_m = 20.0
    good = np.array([[4.0, 0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(bounded_by_prior(good, np.array([3.0, -1.0]), radius_m), good)

    ignorant_ahead = bounded_by_prior(np.diag([4000.0, 1.0]), np.zeros(2), radius_m)
    np.testing.assert_allclose(ignorant_ahead, np.diag([radius_m**2 / 3.0, 1.0]), rtol=1e-12)


def test_the_bound_is_the_mean_square_error_of_the_answer_over_the_square() -> None:
    radius_m, answer = 20.0, np.array([12.0, -7.0])
    truth = np.random.default_rng(4).uniform(-radius_m, radius_m, (1_000_000, 2))
    observed = np.einsum("ni,nj->ij", truth - answer, truth - answer) / len(truth)
    np.testing.assert_allclose(bounded_by_prior(np.eye(2) * 1e6, answer, radius_m), observed, atol=1.0)


def test_a_bounded_covariance_exceeds_the_bound_in_no_direction_and_stays_positive_definite() -> None:
    rng = np.random.default_rng(5)
    roots = rng.normal(size=(1000, 2, 2)) * np.exp(rng.uniform(-2.0, 5.0, (1000, 1, 1)))
    covariances = roots @ np.swapaxes(roots, 1, 2) + 1e-3 * np.eye(2)
    answers = rng.uniform(-25.0, 25.0, (1000, 2))
    bounded = bounded_by_prior(covariances, answers, 20.0)
    bound = np.eye(2) * 400.0 / 3.0 + answers[:, :, None] * answers[:, None, :]
    assert np.linalg.eigvalsh(bound - bounded).min() > -1e-6
    assert np.linalg.eigvalsh(covariances - bounded).min() > -1e-6 * covariances.max()
    assert np.linalg.eigvalsh(bounded).min() > 0.0


def drawn_errors(
    raw: Float64Array, scales: Sequence[float], floors: Sequence[float], seed: int
) -> tuple[Float64Array, Float64Array]:
    rng = np.random.default_rng(seed)
    true = raw * np.outer(scales, scales) + np.diag(np.square(floors))
    return np.einsum("nij,nj->ni", np.linalg.cholesky(true), rng.standard_normal((len(raw), 2))), true


def raw_covariances(count: int, seed: int) -> Float64Array:
    rng = np.random.default_rng(seed)
    deviations = np.exp(rng.uniform(-1.5, 2.0, (count, 2)))
    correlation = rng.uniform(-0.6, 0.6, count)
    raw = np.zeros((count, 2, 2))
    raw[:, 0, 0], raw[:, 1, 1] = np.square(deviations).T
    raw[:, 0, 1] = raw[:, 1, 0] = correlation * deviations.prod(axis=1)
    return raw


def test_calibration_recovers_the_scales_and_floors_that_the_errors_were_drawn_with() -> None:
    raw = raw_covariances(20_000, 6)
    errors, _ = drawn_errors(raw, (1.8, 0.6), (0.4, 0.2), 7)
    calibration = fit_calibration(errors, raw, data="drawn")
    assert calibration.forward_scale == pytest.approx(1.8, rel=0.03)
    assert calibration.right_scale == pytest.approx(0.6, rel=0.03)
    assert calibration.forward_floor_m == pytest.approx(0.4, rel=0.15)
    assert calibration.right_floor_m == pytest.approx(0.2, rel=0.15)
    assert (calibration.pairs, calibration.data) == (20_000, "drawn")


def test_calibrated_covariances_hold_the_errors_of_pairs_that_were_not_fitted() -> None:
    raw = raw_covariances(6_000, 8)
    errors, _ = drawn_errors(raw, (2.5, 1.4), (0.3, 0.5), 9)
    calibration = fit_calibration(errors[:3000], raw[:3000])
    inverse = np.linalg.inv(calibration.apply(raw[3000:]))
    distance = np.einsum("ni,nij,nj->n", errors[3000:], inverse, errors[3000:])
    assert distance.mean() / 2.0 == pytest.approx(1.0, abs=0.06)
    assert np.mean(distance < 5.991) == pytest.approx(0.95, abs=0.02)


def test_calibration_of_a_head_that_knows_nothing_falls_back_to_one_size_for_all() -> None:
    rng = np.random.default_rng(10)
    errors = rng.normal(size=(5000, 2)) * (8.0, 0.9)
    calibrated = fit_calibration(errors, raw_covariances(5000, 11)).apply(raw_covariances(200, 12))
    np.testing.assert_allclose(np.median(calibrated[:, 0, 0]), 64.0, rtol=0.1)
    np.testing.assert_allclose(np.median(calibrated[:, 1, 1]), 0.81, rtol=0.1)


def test_calibration_refuses_what_it_cannot_be_fitted_on() -> None:
    raw, errors = raw_covariances(50, 13), np.ones((50, 2))
    with pytest.raises(InputError, match="at least 20"):
        fit_calibration(errors[:5], raw[:5])
    with pytest.raises(InputError, match=r"\(n, 2, 2\)"):
        fit_calibration(errors, raw[:10])
    with pytest.raises(InputError, match="finite"):
        fit_calibration(errors * np.nan, raw)
    with pytest.raises(InputError, match="positive variances"):
        fit_calibration(errors, raw * 0.0)


@pytest.mark.parametrize("field", ["forward_scale", "right_scale", "forward_floor_m", "right_floor_m"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_calibration_with_a_meaningless_number_cannot_be_made(field: str, value: float) -> None:
    values = {"forward_scale": 1.0, "right_scale": 1.0, "forward_floor_m": 0.1, "right_floor_m": 0.1} | {field: value}
    with pytest.raises(InputError, match=field):
        Calibration(**values, pairs=1, data="test")


@pytest.mark.parametrize("yaw_deg", [0.0, 30.0, 90.0, -130.0])
def test_the_ellipse_of_forward_uncertainty_points_along_the_vehicles_heading(yaw_deg: float) -> None:
    frame = PatchFrame(0.0, 0.0, np.radians(yaw_deg), 512, 0.1958)
    ellipse = confidence_ellipse(frame.rotate_covariance_to_enu(np.diag([9.0, 1.0])))
    assert ellipse.bearing_deg == pytest.approx((90.0 - yaw_deg) % 180.0, abs=1e-9)
    assert ellipse.semi_major_m == pytest.approx(3.0 * np.sqrt(5.991464547), rel=1e-9)
    assert ellipse.semi_minor_m == pytest.approx(np.sqrt(5.991464547), rel=1e-9)


def test_no_ellipse_is_drawn_of_what_is_not_a_covariance() -> None:
    for matrix in (np.diag([1.0, 0.0]), np.diag([1.0, -1.0]), np.full((2, 2), np.nan)):
        with pytest.raises(InputError, match="positive definite"):
            confidence_ellipse(matrix)
    with pytest.raises(InputError, match="between 0 and 1"):
        confidence_ellipse(np.eye(2), 1.0)
