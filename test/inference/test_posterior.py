"""The Gaussian that explains all of the head's answers, against heads whose posterior is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends import HeadOutput
from geoflow_ros.geo.gaussian import Gaussian2D
from geoflow_ros.inference.covariance import displacement_moments, mean_angle, mixture
from geoflow_ros.inference.posterior import fit_posterior, probe_grid


def ideal_head(
    mean: ArrayLike, covariance: Float64Array, probes: Float32Array, samples: int = 20_000, seed: int = 0
) -> HeadOutput:
    """What a head says that was trained to perfection on truths x ~ N(mean, covariance): the minimum of its losses."""
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal(mean, covariance, samples)
    offset = x[None] - probes[:, None]  # (K, S, 2)
    log_r = np.log(np.linalg.norm(offset, axis=-1))
    angle = np.arctan2(offset[..., 1], offset[..., 0])
    candidates = np.linspace(-np.pi, np.pi, 361)[:-1]
    direction, kappa = [], []
    rates = np.logspace(-2, 4, 2001)
    for angles in angle[:, ::20]:  # the direction needs no more
        error = np.abs((angles[None] - candidates[:, None] + np.pi) % (2.0 * np.pi) - np.pi).mean(axis=1)
        best = int(np.argmin(error))
        direction.append([np.cos(candidates[best]), np.sin(candidates[best])])
        kappa.append(np.interp(-error[best], -mean_angle(rates), rates))
    mu, s = log_r.mean(axis=1), log_r.var(axis=1)
    arrays = [np.asarray(value, dtype=np.float32)[None] for value in (mu, s, direction, kappa)]
    return HeadOutput(*arrays, refined=np.zeros((1, len(probes), 2), np.float32), orientation=None)


def gaussian(long: float, short: float, axis_deg: float) -> Float64Array:
    turn = np.radians(axis_deg)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return axes @ np.diag([long**2, short**2]) @ axes.T


@pytest.mark.parametrize("axis_deg", [0.0, 35.0, 90.0, 160.0])
@pytest.mark.parametrize(("long", "short"), [(0.05, 0.03), (0.15, 0.15), (0.35, 0.04), (0.4, 0.3)])
def test_the_posterior_that_the_head_learnt_from_is_found_again(axis_deg: float, long: float, short: float) -> None:
    mean, covariance = np.array([0.15, -0.1]), gaussian(long, short, axis_deg)
    posterior = fit_posterior(probe_grid(), ideal_head(mean, covariance, probe_grid()))
    np.testing.assert_allclose(posterior.gaussian.mean[0], mean, atol=0.02 + 0.05 * long)
    # deviations in the coordinates in which the truth is a circle: 1 where right
    root = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(root, np.linalg.solve(root, posterior.gaussian.covariance[0]).T)
    deviations = np.sqrt(np.linalg.eigvalsh(whitened))
    assert deviations.min() > 0.7
    assert deviations.max() < 1.5
    assert posterior.misfit[0] < 0.3


def test_it_tells_a_long_ignorance_from_a_round_one_where_a_mixture_does_not() -> None:
    probes = probe_grid()
    output = ideal_head([0.0, 0.0], gaussian(0.4, 0.04, 0.0), probes)
    moments = displacement_moments(output.mu_log_r, output.var_log_r, output.direction, output.kappa)
    mixed = mixture(Gaussian2D(probes + moments.mean, moments.covariance)).covariance[0]
    fitted = fit_posterior(probes, output).gaussian.covariance[0]
    assert np.sqrt(mixed[0, 0] / mixed[1, 1]) < 3.0
    assert np.sqrt(fitted[0, 0] / fitted[1, 1]) > 6.0


def test_frames_in_a_batch_do_not_disturb_each_other() -> None:
    probes = probe_grid()
    outputs = [
        ideal_head([0.2, 0.1], gaussian(0.3, 0.1, 20.0), probes),
        ideal_head([-0.6, 0.4], gaussian(0.1, 0.05, 70.0), probes),
    ]
    together = HeadOutput(
        *(np.concatenate([getattr(output, name) for output in outputs])
          for name in ("mu_log_r", "var_log_r", "direction", "kappa", "refined")),
        orientation=None,
    )  # fmt: skip
    both = fit_posterior(probes, together)
    for index, output in enumerate(outputs):
        alone = fit_posterior(probes, output)
        np.testing.assert_allclose(both.gaussian.mean[index], alone.gaussian.mean[0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(both.gaussian.covariance[index], alone.gaussian.covariance[0], rtol=1e-6, atol=1e-12)


def test_whatever_a_head_says_the_covariance_is_finite_and_positive_definite() -> None:
    rng = np.random.default_rng(1)
    count, probes = 500, probe_grid()
    direction = rng.normal(size=(count, len(probes), 2))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    shape = (count, len(probes))
    output = HeadOutput(
        rng.normal(-1.0, 3.0, shape).astype(np.float32),
        np.exp(rng.uniform(-14.0, 8.0, shape)).astype(np.float32),
        direction.astype(np.float32),
        np.exp(rng.uniform(-14.0, 14.0, shape)).astype(np.float32),
        np.zeros((*shape, 2), np.float32),
        None,
    )
    posterior = fit_posterior(probes, output)
    assert np.isfinite(posterior.gaussian.mean).all()
    assert np.linalg.eigvalsh(posterior.gaussian.covariance)[:, 0].min() > 0.0
    assert np.median(posterior.misfit) > 0.5


def test_the_fit_turns_with_the_answers_by_a_quarter() -> None:
    """The grid of probes is the same after a quarter turn; the points of the quadrature nearly so."""
    probes = probe_grid()
    output = ideal_head([0.3, -0.2], gaussian(0.3, 0.06, 25.0), probes)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    order = [int(np.argmin(np.linalg.norm(probes - turn.T @ probe, axis=1))) for probe in probes]
    turned = HeadOutput(
        output.mu_log_r[:, order],
        output.var_log_r[:, order],
        (output.direction[:, order] @ turn.T).astype(np.float32),
        output.kappa[:, order],
        output.refined,
        None,
    )
    straight, rotated = fit_posterior(probes, output).gaussian, fit_posterior(probes, turned).gaussian
    np.testing.assert_allclose(rotated.mean[0], turn @ straight.mean[0], atol=1e-2)
    np.testing.assert_allclose(rotated.covariance[0], turn @ straight.covariance[0] @ turn.T, rtol=0.1, atol=1e-3)


def test_answers_that_contradict_each_other_are_worth_no_more_than_their_mixture() -> None:
    """The same direction, distance and certainty from everywhere: no position is like that."""
    probes = probe_grid()
    shape = (1, len(probes))
    output = HeadOutput(
        np.full(shape, -1.0, np.float32),
        np.full(shape, 0.001, np.float32),
        np.broadcast_to(np.float32([1.0, 0.0]), (*shape, 2)),
        np.full(shape, 100.0, np.float32),
        np.zeros((*shape, 2), np.float32),
        None,
    )
    posterior = fit_posterior(probes, output)
    moments = displacement_moments(output.mu_log_r, output.var_log_r, output.direction, output.kappa)
    mixed = mixture(Gaussian2D(probes + moments.mean, moments.covariance))
    assert posterior.misfit[0] > 0.7
    assert np.linalg.det(posterior.gaussian.covariance[0]) > 0.5 * np.linalg.det(mixed.covariance[0])
