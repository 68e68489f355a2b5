"""What the head says about where the camera is, as a Gaussian in metres.

A probe at q is answered with a distribution of the displacement to the true position: the distance r is log-normal
(mean mu and variance s of log r), the direction is off by an angle theta of the AngMF family with rate kappa, to either
side alike. This module turns one such answer into mean and covariance, joins several as a mixture, bounds and
calibrates; `posterior` finds what all the answers of a frame say together.

Everything is local: the first axis of every point and matrix is the patch's forward (image +x), the second its right
(image +y). Functions are batched: "..." stands for any leading axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float64Array
from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.errors import InputError
from geoflow_ros.geo.gaussian import Gaussian2D
from geoflow_ros.inference.compass_search import compass_search

_LARGEST_LOG_R_VARIANCE = 8.0
"""Beyond this the log-normal's own moments (e^2s) say nothing of a distance that is bounded by the search square."""


def direction_moments(kappa: ArrayLike) -> tuple[Float64Array, Float64Array]:
    """E[cos theta] and E[cos 2 theta] of the AngMF family.

    The training loss -log(kappa^2+1) + kappa theta + log(1+exp(-kappa pi)) (Bae et al., ICCV 2021) is the negative log
    of a density that integrates to one over theta in [0, pi] with the weight sin theta:

        p(theta) = (kappa^2+1) / (1+exp(-kappa pi)) exp(-kappa theta) sin theta

    It is an exponential family in theta, so a kappa that minimizes the loss makes E[theta] of p equal to the mean angle
    of the data: about 2/kappa, which a plain exponential density would miss by half. With
    integral exp(-kappa theta) sin(n theta) = n (1 - (-1)^n exp(-kappa pi)) / (kappa^2 + n^2) over [0, pi]:

        E[cos theta]   = (kappa^2+1)/(kappa^2+4) tanh(kappa pi / 2)
        E[cos 2 theta] = (kappa^2-3)/(kappa^2+9)

    Args:
        kappa: rates (...,), not negative.

    Returns:
        Two arrays (...,).
    """
    kappa = np.asarray(kappa, dtype=np.float64)
    square = np.square(kappa)
    return (square + 1.0) / (square + 4.0) * np.tanh(0.5 * np.pi * kappa), (square - 3.0) / (square + 9.0)


def mean_angle(kappa: ArrayLike) -> Float64Array:
    """The mean angle E[theta] of the AngMF family.

    It is 2 kappa/(kappa^2+1) + pi/(exp(kappa pi)+1), minus the derivative of the log of the family's normalizing
    integral (1+exp(-kappa pi))/(kappa^2+1).

    Args:
        kappa: rates (...,), not negative.

    Returns:
        Radians (...,): pi/2 for kappa = 0, about 2/kappa for large kappa.
    """
    kappa = np.asarray(kappa, dtype=np.float64)
    fading = np.exp(-np.pi * kappa)
    return np.asarray(2.0 * kappa / (np.square(kappa) + 1.0) + np.pi * fading / (1.0 + fading))


def displacement_moments(
    mu_log_r: ArrayLike, var_log_r: ArrayLike, direction: ArrayLike, kappa: ArrayLike
) -> Gaussian2D:
    """Mean and covariance of the displacement r (cos, sin) that the head describes.

    With m = E[r] = exp(mu+s/2), E[r^2] = exp(2 mu+2 s) and the unit vector u of the direction: the mean is m E[cos] u,
    the variance along u is E[r^2] E[cos^2] - m^2 E[cos]^2, across u it is E[r^2] E[sin^2] (the moments of Lerro and
    Bar-Shalom's converted measurement, 1993, with AngMF in the place of the Gaussian bearing). The first is written as
    a sum of positive terms, so that it stays positive where a difference would cancel.

    Args:
        mu_log_r: mean of log r (...,); r in any unit of length.
        var_log_r: variance of log r (...,).
        direction: unit vectors (..., 2).
        kappa: AngMF rates (...,).

    Returns:
        Gaussian2D of the displacement (..., 2) in r's unit.
    """
    mu = np.asarray(mu_log_r, dtype=np.float64)
    s = np.minimum(np.asarray(var_log_r, dtype=np.float64), _LARGEST_LOG_R_VARIANCE)
    kappa = np.asarray(kappa, dtype=np.float64)
    along = np.asarray(direction, dtype=np.float64)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)

    square = np.square(kappa)
    cos_mean, _ = direction_moments(kappa)
    mean_r = np.exp(mu + 0.5 * s)
    mean_r_square = np.exp(2.0 * mu + 2.0 * s)
    # var(cos theta) = (k+3)/(k+9) - ((k+1)/(k+4))^2 tanh^2, k = kappa^2, with tanh^2 = 1 - sech^2 multiplied out
    sech = 1.0 / np.cosh(np.minimum(0.5 * np.pi * kappa, 300.0))
    cos_variance = (21.0 * square + 39.0) / ((square + 9.0) * (square + 4.0) ** 2)
    cos_variance = cos_variance + np.square((square + 1.0) / (square + 4.0) * sech)
    r_variance = np.square(mean_r) * np.expm1(s)
    variance_along = mean_r_square * cos_variance + r_variance * np.square(cos_mean)
    variance_across = mean_r_square * 6.0 / (square + 9.0)

    covariance = variance_along[..., None, None] * along[..., :, None] * along[..., None, :]
    covariance = covariance + variance_across[..., None, None] * across[..., :, None] * across[..., None, :]
    return Gaussian2D((mean_r * cos_mean)[..., None] * along, covariance)


def mixture(components: Gaussian2D) -> Gaussian2D:
    """Joins Gaussians of one position as an evenly weighted mixture: mean of covariances + covariance of means.

    The components see the same features of the same images, so their errors are one and the same: more of them do not
    make the position surer, and nothing is divided by their number.

    Args:
        components: mean (..., K, 2), covariance (..., K, 2, 2).

    Returns:
        Gaussian2D (..., 2), (..., 2, 2).
    """
    mean = components.mean.mean(axis=-2)
    deviation = components.mean - mean[..., None, :]
    between = np.einsum("...ki,...kj->...ij", deviation, deviation) / components.mean.shape[-2]
    return Gaussian2D(mean, components.covariance.mean(axis=-3) + between)


def covariance_about(gaussian: Gaussian2D, point: Float64Array) -> Float64Array:
    """Mean square error (..., 2, 2) of taking `point` (..., 2) for the position that `gaussian` describes."""
    bias = gaussian.mean - point
    return gaussian.covariance + bias[..., :, None] * bias[..., None, :]


def bounded_by_prior(covariance: Float64Array, answer_m: Float64Array, search_radius_m: float) -> Float64Array:
    """The covariance, nowhere worse than knowing nothing but the search square; see `bounded_by_uniform`.

    Args:
        covariance: (..., 2, 2) in m^2, positive definite, (forward, right).
        answer_m: (..., 2) from the patch centre.
        search_radius_m: half the side of the search square.

    Returns:
        (..., 2, 2) in m^2.
    """
    return bounded_by_uniform(covariance, answer_m, np.full(2, search_radius_m))


def bounded_by_uniform(covariance: Float64Array, answer: Float64Array, half_widths: Float64Array) -> Float64Array:
    """The covariance, nowhere worse than knowing nothing but the box that was searched.

    For a pose uniform in a box of +-h, an answer a has the mean square error B = diag(h^2)/3 + a a^T, whatever the
    network says: an axis of which nothing is known has a standard deviation of h/sqrt(3), and more only by the answer's
    own distance from the centre. The matrix is cut so that covariance <= B (in every direction); directions in which it
    says less than B are left as they are.

    Args:
        covariance: (..., n, n), positive definite, in the units of the axes.
        answer: (..., n) from the box's centre.
        half_widths: (n,) h of each axis.

    Returns:
        (..., n, n).
    """
    bound = answer[..., :, None] * answer[..., None, :] + np.diag(half_widths**2 / 3.0)
    root = np.linalg.cholesky(bound)
    inverse_root = np.linalg.inv(root)
    whitened = inverse_root @ covariance @ np.swapaxes(inverse_root, -1, -2)
    values, vectors = np.linalg.eigh(whitened)
    cut = (vectors * np.minimum(values, 1.0)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    exceeds = values[..., -1, None, None] > 1.0  # eigh sorts: the last is the largest
    result = np.where(exceeds, root @ cut @ np.swapaxes(root, -1, -2), covariance)
    return np.asarray(0.5 * (result + np.swapaxes(result, -1, -2)))


def fit_calibration(errors: ArrayLike, raw_covariances: ArrayLike, data: str = "held-out pairs") -> Calibration:
    """Maximum-likelihood scales and floors of a zero-mean Gaussian with the calibrated covariance.

    Each axis alone is first searched on a grid; then all four parameters are refined together (a compass search in
    their logarithms), because the raw correlation of the axes counts too.

    Args:
        errors: (n, 2) answer minus truth in metres, (forward, right), of pairs that training did not see.
        raw_covariances: (n, 2, 2) in m^2, (forward, right), before calibration.
        data: what the pairs were, for the manifest.

    Returns:
        The calibration, with pairs = n.

    Raises:
        InputError: shapes do not fit, numbers are not finite, or fewer than 20 pairs.
    """
    e = np.asarray(errors, dtype=np.float64)
    raw = np.asarray(raw_covariances, dtype=np.float64)
    if e.ndim != 2 or e.shape[1] != 2 or raw.shape != (len(e), 2, 2):
        raise InputError(f"calibration needs errors (n, 2) and covariances (n, 2, 2), got {e.shape} and {raw.shape}")
    if len(e) < 20:
        raise InputError(f"calibration needs at least 20 held-out pairs, got {len(e)}")
    if not (np.isfinite(e).all() and np.isfinite(raw).all()):
        raise InputError("calibration needs finite errors and covariances: leave out the pairs without an answer")
    if (raw[:, 0, 0] <= 0.0).any() or (raw[:, 1, 1] <= 0.0).any():
        raise InputError("calibration needs positive variances in every raw covariance")

    forward = _fit_axis(e[:, 0], raw[:, 0, 0])
    right = _fit_axis(e[:, 1], raw[:, 1, 1])
    start = np.log([forward[0], right[0], forward[1], right[1]])
    logs = compass_search(lambda trial: _negative_log_likelihood(trial, e, raw), start, *_LOG_RANGE)
    forward_scale, right_scale, forward_floor_m, right_floor_m = (float(value) for value in np.exp(logs))
    most_m = np.quantile(np.sqrt(raw[:, [0, 1], [0, 1]]), FITTED_SHARE, axis=0)
    fitted = forward_scale, right_scale, forward_floor_m, right_floor_m
    return Calibration(*fitted, len(e), data, float(most_m[0]), float(most_m[1]))


FITTED_SHARE = 0.99
"""Of the pairs' standard deviations that are said to be what a calibration was fitted on: the last ones are too few."""

_LOG_RANGE = (np.log(1e-2), np.log(1e2))
"""Range of scales and of floors in metres: one centimetre is below what a map pixel can tell."""


def _fit_axis(error: Float64Array, variance: Float64Array) -> tuple[float, float]:
    """Scale and floor of one axis on a grid: the start of the joint refinement."""
    grid = np.exp(np.linspace(*_LOG_RANGE, 49))
    best, answer = np.inf, (1.0, 1.0)
    for scale in grid:
        total = (scale**2 * variance)[None, :] + np.square(grid)[:, None]  # (floors, n)
        values = np.mean(np.log(total) + np.square(error) / total, axis=1)
        index = int(np.argmin(values))
        if values[index] < best:
            best, answer = float(values[index]), (float(scale), float(grid[index]))
    return answer


def _negative_log_likelihood(logs: Float64Array, errors: Float64Array, raw: Float64Array) -> float:
    """The errors' mean negative log-likelihood, up to a constant.

    `logs` are those of forward scale, right scale, forward floor and right floor.
    """
    forward_scale, right_scale, forward_floor, right_floor = np.exp(logs)
    a = forward_scale**2 * raw[:, 0, 0] + forward_floor**2
    b = right_scale**2 * raw[:, 1, 1] + right_floor**2
    c = forward_scale * right_scale * raw[:, 0, 1]
    determinant = a * b - c * c
    distance = (b * errors[:, 0] ** 2 - 2.0 * c * errors[:, 0] * errors[:, 1] + a * errors[:, 1] ** 2) / determinant
    return float(np.mean(np.log(determinant) + distance))
