"""The Gaussian of the camera's position that explains what the head says from all over the search square.

From one place the head can only say "so far, in that direction, each give or take". For a position that is known well
sideways and badly ahead that is a poor picture from every single place: seen from the side the unknown length bends
into distance and direction, seen from ahead it hides behind its own far end. A mean over such pictures is round where
the truth is long. But training makes each answer an average over the true positions x that fit the images: mu and s are
mean and variance of log |x - q| (the minimum of the Gaussian loss), kappa says the mean angle between the direction and
x - q, and the direction is the one that makes that mean smallest (the minimum of the AngMF loss). All probes q speak of
the same distribution of x. So it is found the other way round: the mean and covariance of x whose averages are those
that the head gives, by least squares.

On a problem whose posterior is known exactly (the head of the network trained on noisy positions, deviations of 0.4 to
16 m per axis, all scaled on other samples as a calibration does), a position known to 7.3 m x 0.7 m came out as
7.0 m x 1.3 m; the mixture of the single answers says 5.5 m x 4.8 m. Mean negative log-likelihood of the truth: 4.4 for
the exact posterior, 4.6 for this one, 5.0 for the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.inference.backend import Floats32, HeadOutput
from geoflow_ros.inference.covariance import Belief, displacement_moments, mean_angle, mixture

Floats = NDArray[np.float64]

PROBES_PER_SIDE = 5
_OUTERMOST_PROBE = 0.9  # within the square that hypotheses were trained in

_ITERATIONS = 12
_LARGEST_CHANGE = 0.5  # of any parameter in one iteration; they are search radii and logarithms of them
_NEAREST_SQUARE = 1e-4  # |x - q| is not taken below a hundredth of the search radius: log r has no limit there
_SMALLEST_VARIANCE = 1e-4  # of log r; below, float32 outputs of the head carry no more information
_SMALLEST_ANGLE = 1e-3
_LARGEST_RESIDUAL = 2.0  # residuals saturate here: one probe that the head gets wrong must not bend the whole
_DOUBTFUL_MISFIT = 0.5  # where fit and mixture count alike; heads with a known posterior stay below 0.35
_DEVIATION_RANGE = (np.log(1e-3), np.log(2.0))  # of a standard deviation in search radii

_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def _normal_points(pairs: int) -> Floats:
    """(2 pairs, 2) evenly weighted points of a standard normal distribution, with its mean and covariance exactly.

    A sunflower spiral and its mirror image: in every direction the points have different coordinates, so that averages
    along a thin distribution are as good as along a round one. A square grid of as many has seven.
    """
    index = np.arange(pairs)
    radius = np.sqrt(-2.0 * np.log(1.0 - (index + 0.5) / pairs))
    spiral = radius[:, None] * np.stack([np.cos(index * _GOLDEN_ANGLE), np.sin(index * _GOLDEN_ANGLE)], axis=-1)
    points = np.concatenate([spiral, -spiral])
    return np.asarray(points @ np.linalg.inv(np.linalg.cholesky(points.T @ points / len(points))).T)


_XI = _normal_points(24)  # (J, 2)
_W: Floats = np.full(len(_XI), 1.0 / len(_XI))  # (J,)


@dataclass(frozen=True)
class Posterior:
    """Of B frames, in units of the search radius, axes (forward, right).

    Attributes:
        belief: mean (B, 2) and covariance (B, 2, 2), positive definite.
        misfit: (B,) root mean square of the residuals; above about 0.5 no single Gaussian explains the head's answers.
    """

    belief: Belief
    misfit: Floats


def probe_grid() -> Floats32:
    """(K, 2) places in the search square, in units of its radius, from which the head is asked."""
    axis = np.linspace(-_OUTERMOST_PROBE, _OUTERMOST_PROBE, PROBES_PER_SIDE)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


def fit_posterior(probes: Floats32, output: HeadOutput) -> Posterior:
    """Levenberg-Marquardt over mean and Cholesky factor, all frames at once.

    Answers that contradict each other have no common Gaussian; a least-squares compromise would be surer than they are.
    The worse the misfit, the more the mixture of the single answers, which is never too sure, takes the fit's place.

    Args:
        probes: (K, 2) of `probe_grid`.
        output: the head's answers (B, K) there; finite.
    """
    places = probes.astype(np.float64)
    moments = displacement_moments(output.mu_log_r, output.var_log_r, output.direction, output.kappa)
    mixed = mixture(Belief(places + moments.mean, moments.covariance))
    parameters = _start(mixed)
    target = _Target.of(output)
    residuals, jacobian = _evaluate(parameters, places, target)
    cost = np.sum(np.square(residuals), axis=1)
    damping = np.full(len(parameters), 1e-2)
    for _ in range(_ITERATIONS):
        transposed = np.swapaxes(jacobian, 1, 2)
        normal = transposed @ jacobian  # (B, 5, 5)
        gradient = transposed @ residuals[..., None]
        diagonal = np.einsum("bii->bi", normal)
        stiffness = damping[:, None] * diagonal + 1e-9
        change = np.linalg.solve(normal + stiffness[..., None] * np.eye(5), gradient)[..., 0]
        trial = _within_limits(parameters - np.clip(change, -_LARGEST_CHANGE, _LARGEST_CHANGE))
        trial_residuals, trial_jacobian = _evaluate(trial, places, target)
        trial_cost = np.sum(np.square(trial_residuals), axis=1)
        better = trial_cost < cost
        parameters = np.where(better[:, None], trial, parameters)
        residuals = np.where(better[:, None], trial_residuals, residuals)
        jacobian = np.where(better[:, None, None], trial_jacobian, jacobian)
        cost = np.where(better, trial_cost, cost)
        damping = np.where(better, 0.3 * damping, 4.0 * damping)
    root = _root(parameters)
    fitted = Belief(parameters[:, :2], root @ np.swapaxes(root, 1, 2))
    misfit = np.sqrt(cost / residuals.shape[1])
    return Posterior(_blend(fitted, mixed, 1.0 / (1.0 + (misfit / _DOUBTFUL_MISFIT) ** 4)), misfit)


def _blend(a: Belief, b: Belief, weight: Floats) -> Belief:
    """Mixture of a with `weight` (B,) and b with the rest."""
    w = weight[:, None]
    between = a.mean - b.mean
    spread = (w * (1.0 - w))[..., None] * between[:, :, None] * between[:, None, :]
    covariance = w[..., None] * a.covariance + (1.0 - w)[..., None] * b.covariance + spread
    return Belief(w * a.mean + (1.0 - w) * b.mean, covariance)


@dataclass(frozen=True)
class _Target:
    """What the head says: (B, K) mean and variance of log r, mean angle; (B, K, 2) direction."""

    mean_log_r: Floats
    var_log_r: Floats
    angle: Floats
    direction: Floats

    @classmethod
    def of(cls, output: HeadOutput) -> _Target:
        return cls(
            output.mu_log_r.astype(np.float64),
            output.var_log_r.astype(np.float64) + _SMALLEST_VARIANCE,
            mean_angle(output.kappa) + _SMALLEST_ANGLE,
            output.direction.astype(np.float64),
        )


def _start(belief: Belief) -> Floats:
    """Parameters (B, 5): mean, log l11, l21, log l22 of the Cholesky factor [[l11, 0], [l21, l22]]."""
    lower, upper = np.exp(_DEVIATION_RANGE)
    values, vectors = np.linalg.eigh(belief.covariance)
    values = np.clip(values, lower**2, upper**2)
    root = np.linalg.cholesky((vectors * values[:, None, :]) @ np.swapaxes(vectors, 1, 2))
    return _within_limits(
        np.stack(
            [belief.mean[:, 0], belief.mean[:, 1], np.log(root[:, 0, 0]), root[:, 1, 0], np.log(root[:, 1, 1])], axis=1
        )
    )


def _within_limits(parameters: Floats) -> Floats:
    largest = np.exp(_DEVIATION_RANGE[1])
    low = [-largest, -largest, _DEVIATION_RANGE[0], -largest, _DEVIATION_RANGE[0]]
    high = [largest, largest, _DEVIATION_RANGE[1], largest, _DEVIATION_RANGE[1]]
    return np.clip(parameters, low, high)


def _root(parameters: Floats) -> Floats:
    """(B, 2, 2) Cholesky factors."""
    root = np.zeros((len(parameters), 2, 2))
    root[:, 0, 0], root[:, 1, 0], root[:, 1, 1] = np.exp(parameters[:, 2]), parameters[:, 3], np.exp(parameters[:, 4])
    return root


def _evaluate(parameters: Floats, places: Floats, target: _Target) -> tuple[Floats, Floats]:
    """Residuals (B, 4 K), saturated, and their derivatives (B, 4 K, 5) by the parameters."""
    root = _root(parameters)
    x = parameters[:, None, :2] + _XI @ np.swapaxes(root, 1, 2)  # (B, J, 2)
    offset = x[:, None] - places[:, None]  # (B, K, J, 2)
    square = np.sum(np.square(offset), axis=-1) + _NEAREST_SQUARE
    along, aside = target.direction[:, :, None, 0], target.direction[:, :, None, 1]
    cosine = offset[..., 0] * along + offset[..., 1] * aside
    sine = offset[..., 1] * along - offset[..., 0] * aside
    angle = np.arctan2(sine, cosine)
    log_r = 0.5 * np.log(square)

    # averages over the points
    mean_log_r = log_r @ _W  # (B, K)
    deviation = log_r - mean_log_r[..., None]
    var_log_r = np.square(deviation) @ _W + _SMALLEST_VARIANCE
    soft_angle = np.sqrt(np.square(angle) + _SMALLEST_ANGLE**2)
    mean_soft_angle = soft_angle @ _W + _SMALLEST_ANGLE
    # balance: where the mean angle is smallest, as many points lie to the left as to the right; smooth at the middle
    width = target.angle[..., None]
    scale = np.sqrt(np.square(angle) + np.square(width))
    balance = (angle / scale) @ _W

    residuals = np.stack(
        [
            (mean_log_r - target.mean_log_r) / np.sqrt(target.var_log_r),
            np.log(var_log_r / target.var_log_r),
            np.log(mean_soft_angle / target.angle),
            balance,
        ],
        axis=1,
    )  # (B, 4, K)

    # derivatives by x of each residual, (B, 4, K, J), times those of x by the parameters
    by_log_r = np.stack(
        [
            np.broadcast_to(1.0 / np.sqrt(target.var_log_r)[..., None], deviation.shape),
            2.0 * deviation / var_log_r[..., None],
        ],
        axis=1,
    )
    by_angle = np.stack(
        [angle / soft_angle / mean_soft_angle[..., None], np.square(width) / scale**3],
        axis=1,
    )
    radial = offset / square[..., None]  # d log r / dx
    tangential = np.stack([-offset[..., 1], offset[..., 0]], axis=-1) / square[..., None]  # d angle / dx
    by_x = np.concatenate(
        [by_log_r[..., None] * radial[:, None], by_angle[..., None] * tangential[:, None]], axis=1
    )  # (B, 4, K, J, 2)
    by_x = by_x * _W[:, None]
    forward, right = by_x[..., 0], by_x[..., 1]
    jacobian = np.stack(
        [
            forward.sum(axis=-1),
            right.sum(axis=-1),
            (forward @ _XI[:, 0]) * root[:, None, None, 0, 0],
            right @ _XI[:, 0],
            (right @ _XI[:, 1]) * root[:, None, None, 1, 1],
        ],
        axis=-1,
    )  # (B, 4, K, 5)

    saturation = 1.0 + np.square(residuals / _LARGEST_RESIDUAL)
    jacobian = jacobian * (saturation**-1.5)[..., None]
    residuals = residuals / np.sqrt(saturation)
    frames = len(parameters)
    return residuals.reshape(frames, -1), jacobian.reshape(frames, -1, 5)
