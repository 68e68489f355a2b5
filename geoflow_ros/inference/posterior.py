"""The Gaussian of the camera's position that explains what the head says from all over the search square.

From one place the head can only say "so far, in that direction, each give or take". For a position that is known well
sideways and badly ahead that is a poor picture from every single place: seen from the side the unknown length bends
into distance and direction, seen from ahead it hides behind its own far end. A mean over such pictures is round where
the truth is long. But training makes each answer an average over the true positions x that fit the images: mu and s are
mean and variance of log ``|x - q|`` (the minimum of the Gaussian loss), kappa says the mean angle between the direction
and x - q, and the direction is the one that makes that mean smallest (the minimum of the AngMF loss). All probes q
speak of the same distribution of x. So it is found the other way round: the mean and covariance of x whose averages are
those that the head gives, by least squares.

On a problem whose posterior is known exactly (the head of the network trained on noisy positions, deviations of 0.4 to
16 m per axis, all scaled on other samples as a calibration does), a position known to 7.3 m x 0.7 m came out as
7.0 m x 1.3 m; the mixture of the single answers says 5.5 m x 4.8 m. Mean negative log-likelihood of the truth: 4.4 for
the exact posterior, 4.6 for this one, 5.0 for the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends.protocol import HeadOutput
from geoflow_ros.geo.gaussian import Gaussian2D
from geoflow_ros.inference.covariance import displacement_moments, mean_angle, mixture

PROBES_PER_SIDE = 5
_OUTERMOST_PROBE = 0.9  # within the square that hypotheses were trained in

_ITERATIONS = 12  # at most
_SETTLED = 1e-6  # undamped change of any parameter at which no further iteration is worth its time: 0.02 mm of 20 m
_LARGEST_CHANGE = 0.5  # of any parameter in one iteration; they are search radii and logarithms of them
_NEAREST_SQUARE = 1e-4  # |x - q| is not taken below a hundredth of the search radius: log r has no limit there
_SMALLEST_VARIANCE = 1e-4  # of log r; below, float32 outputs of the head carry no more information
_SMALLEST_ANGLE = 1e-3
_LARGEST_RESIDUAL = 2.0  # residuals saturate here: one probe that the head gets wrong must not bend the whole
_POOR_MISFIT = 0.5  # where fit and mixture count alike; heads with a known posterior stay below 0.35
_DEVIATION_RANGE = (np.log(1e-3), np.log(2.0))  # of a standard deviation in search radii

_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def _normal_points(pairs: int) -> Float64Array:
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
_AVERAGE: Float64Array = np.full(len(_XI), 1.0 / len(_XI))  # (J,); times the values at the points it is their average
_AVERAGES: Float64Array = np.stack([_AVERAGE, *_XI.T * _AVERAGE])  # (3, J); and those of the values times x1 and x2


@dataclass(frozen=True)
class Posterior:
    """The Gaussian positions of B frames, in units of the search radius, axes (forward, right).

    Attributes:
        gaussian: mean (B, 2) and covariance (B, 2, 2), positive definite.
        misfit: (B,) root mean square of the residuals; above about 0.5 no single Gaussian explains the head's answers.
    """

    gaussian: Gaussian2D
    misfit: Float64Array


def probe_grid() -> Float32Array:
    """(K, 2) places in the search square, in units of its radius, from which the head is asked."""
    axis = np.linspace(-_OUTERMOST_PROBE, _OUTERMOST_PROBE, PROBES_PER_SIDE)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


def fit_posterior(probes: Float32Array, output: HeadOutput) -> Posterior:
    """Levenberg-Marquardt over mean and Cholesky factor, all frames at once.

    Answers that contradict each other have no common Gaussian; a least-squares compromise would be surer than they are.
    The worse the misfit, the more the mixture of the single answers, which is never too sure, takes the fit's place.

    Args:
        probes: (K, 2) of `probe_grid`.
        output: the head's answers (B, K) there; finite.
    """
    places = probes.astype(np.float64)
    moments = displacement_moments(output.mu_log_r, output.var_log_r, output.direction, output.kappa)
    mixed = mixture(Gaussian2D(places + moments.mean, moments.covariance))
    target = _Target.of(output, places)
    best = _Comparison(_start(mixed), target)
    parameters, residuals, cost, slopes = best.parameters, best.residuals, best.cost, best.slopes()
    damping = np.full(len(parameters), 1e-2)
    for _ in range(_ITERATIONS):
        normal = slopes @ np.swapaxes(slopes, 1, 2)  # (B, 5, 5)
        gradient = slopes @ residuals[..., None]
        diagonal = np.einsum("bii->bi", normal)  # a view
        diagonal += damping[:, None] * diagonal + 1e-9
        change = np.linalg.solve(normal, gradient)[..., 0]
        change = np.minimum(np.maximum(change, -_LARGEST_CHANGE), _LARGEST_CHANGE)
        trial = _Comparison(_within_limits(parameters - change), target)
        better = trial.cost < cost
        if better.any():
            parameters = np.where(better[:, None], trial.parameters, parameters)
            residuals = np.where(better[:, None], trial.residuals, residuals)
            slopes = np.where(better[:, None, None], trial.slopes(), slopes)
            cost = np.where(better, trial.cost, cost)
        if ((1.0 + damping) * np.abs(change).max(axis=1) < _SETTLED).all():
            break
        damping = np.where(better, 0.3 * damping, 4.0 * damping)
    root = _root(parameters)
    fitted = Gaussian2D(parameters[:, :2], root @ np.swapaxes(root, 1, 2))
    misfit = np.sqrt(cost / residuals.shape[1])
    return Posterior(_blend(fitted, mixed, 1.0 / (1.0 + (misfit / _POOR_MISFIT) ** 4)), misfit)


def _blend(a: Gaussian2D, b: Gaussian2D, weight: Float64Array) -> Gaussian2D:
    """Mixture of a with `weight` (B,) and b with the rest."""
    w = weight[:, None]
    between = a.mean - b.mean
    spread = (w * (1.0 - w))[..., None] * between[:, :, None] * between[:, None, :]
    covariance = w[..., None] * a.covariance + (1.0 - w)[..., None] * b.covariance + spread
    return Gaussian2D(w * a.mean + (1.0 - w) * b.mean, covariance)


@dataclass(frozen=True)
class _Target:
    """What the head says at the probes, in the form in which it is compared.

    Attributes:
        axes: (B, 2, 2, K) unit vectors in which a probe sees offsets: the head's direction and, a quarter turn on, the
            one across it; each (forward, right).
        places: (B, 2, K) the probes in their own axes.
        values: (B, 4, K) mean and logarithm of the variance of log r, logarithm of the mean angle, balance.
        weights: (B, 4, K) of their differences; one over a standard deviation for the first.
        angle_square: (B, K) of the mean angle.
        turns: (B, 4, 2, 2, K) to which (forward, right) each value's two slopes belong, see `_Comparison.slopes`.
    """

    axes: Float64Array
    places: Float64Array
    values: Float64Array
    weights: Float64Array
    angle_square: Float64Array
    turns: Float64Array

    @classmethod
    def of(cls, output: HeadOutput, places: Float64Array) -> _Target:
        along = np.swapaxes(output.direction, 1, 2).astype(np.float64)  # (B, 2, K)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1)
        axes = np.stack([along, across], axis=1)
        var_log_r = output.var_log_r.astype(np.float64) + _SMALLEST_VARIANCE
        angle = mean_angle(output.kappa) + _SMALLEST_ANGLE
        balance = np.zeros_like(angle)
        values = np.stack([output.mu_log_r.astype(np.float64), np.log(var_log_r), np.log(angle), balance], axis=1)
        weights = np.ones_like(values)
        weights[:, 0] = 1.0 / np.sqrt(var_log_r)
        of_angle = np.stack([across, -along], axis=1)
        turns = np.stack([axes, axes, of_angle, of_angle], axis=1)
        return cls(axes, np.einsum("back,kc->bak", axes, places), values, weights, np.square(angle), turns)


def _start(gaussian: Gaussian2D) -> Float64Array:
    """Parameters (B, 5): mean, log l11, l21, log l22 of the Cholesky factor [[l11, 0], [l21, l22]]."""
    lower, upper = np.exp(_DEVIATION_RANGE)
    values, vectors = np.linalg.eigh(gaussian.covariance)
    values = np.clip(values, lower**2, upper**2)
    root = np.linalg.cholesky((vectors * values[:, None, :]) @ np.swapaxes(vectors, 1, 2))
    return _within_limits(
        np.stack(
            [gaussian.mean[:, 0], gaussian.mean[:, 1], np.log(root[:, 0, 0]), root[:, 1, 0], np.log(root[:, 1, 1])],
            axis=1,
        )
    )


_LARGEST = np.exp(_DEVIATION_RANGE[1])
_LOW = np.array([-_LARGEST, -_LARGEST, _DEVIATION_RANGE[0], -_LARGEST, _DEVIATION_RANGE[0]])
_HIGH = np.array([_LARGEST, _LARGEST, _DEVIATION_RANGE[1], _LARGEST, _DEVIATION_RANGE[1]])


def _within_limits(parameters: Float64Array) -> Float64Array:
    return np.asarray(np.minimum(np.maximum(parameters, _LOW), _HIGH))


def _root(parameters: Float64Array) -> Float64Array:
    """(B, 2, 2) Cholesky factors."""
    root = np.zeros((len(parameters), 2, 2))
    root[:, 0, 0], root[:, 1, 0], root[:, 1, 1] = np.exp(parameters[:, 2]), parameters[:, 3], np.exp(parameters[:, 4])
    return root


class _Comparison:
    """Compares the Gaussians with these parameters with what the head says.

    Few calls on large arrays, the probes along the last axis: for one frame they hold K J = 1200 numbers, and most of
    the time is numpy's own for each call.

    Attributes:
        parameters: (B, 5), see `_start`.
        residuals: (B, 4 K), saturated.
        cost: (B,) sum of their squares.
    """

    def __init__(self, parameters: Float64Array, target: _Target) -> None:
        self.parameters = parameters
        self._target = target
        frames, _, probes = target.values.shape

        points = _XI @ np.swapaxes(_root(parameters), 1, 2) + parameters[:, None, :2]  # (B, J, 2)
        self._offset = points[:, None] @ target.axes  # (B, 2, J, K) as the probes see them
        self._offset -= target.places[:, :, None]
        along, across = self._offset[:, 0], self._offset[:, 1]  # (B, J, K)
        self._square = along * along
        self._square += across * across
        self._square += _NEAREST_SQUARE
        self._angle = np.arctan2(across, along)
        angle_square = self._angle * self._angle
        self._scale_square = angle_square + target.angle_square[:, None]
        self._scale = np.sqrt(self._scale_square)
        terms = np.empty((frames, 3, len(_XI), probes))
        log_r, self._soft_angle = terms[:, 0], terms[:, 1]
        np.log(self._square, out=log_r)
        log_r *= 0.5
        angle_square += _SMALLEST_ANGLE**2
        np.sqrt(angle_square, out=self._soft_angle)
        # balance: at the smallest mean angle as many points lie to the left as to the right; smooth at the middle
        np.divide(self._angle, self._scale, out=terms[:, 2])

        averages = _AVERAGE @ terms  # (B, 3, K)
        self._deviation = log_r - averages[:, :1]
        self._spread = np.empty((frames, 2, probes))  # variance of log r and mean angle
        np.matmul(_AVERAGE, self._deviation * self._deviation, out=self._spread[:, 0])
        self._spread[:, 0] += _SMALLEST_VARIANCE
        np.add(averages[:, 1], _SMALLEST_ANGLE, out=self._spread[:, 1])
        found = np.empty((frames, 4, probes))
        found[:, ::3] = averages[:, ::2]
        np.log(self._spread, out=found[:, 1:3])

        found -= target.values
        found *= target.weights
        self._saturation = 1.0 + np.square(found / _LARGEST_RESIDUAL)
        found /= np.sqrt(self._saturation)
        self.residuals = found.reshape(frames, -1)
        self.cost = np.einsum("bi,bi->b", self.residuals, self.residuals)

    def slopes(self) -> Float64Array:
        """(B, 5, 4 K) derivatives of the residuals by the parameters.

        Of log r by a point's place (along, across) is (along, across) / r^2, of the angle (-across, along) / r^2: the
        same two numbers for every residual, weighted by what it makes of log r or of the angle, averaged over the
        points, and turned into (forward, right) at the end.
        """
        target = self._target
        frames, _, count, probes = self._offset.shape
        by_place = np.empty((frames, 4, 2, count, probes))
        np.divide(self._offset, self._square[:, None], out=by_place[:, 0])
        np.multiply(by_place[:, 0], self._deviation[:, None], out=by_place[:, 1])
        np.multiply(by_place[:, 0], (self._angle / self._soft_angle)[:, None], out=by_place[:, 2])
        np.divide(by_place[:, 0], (self._scale_square * self._scale)[:, None], out=by_place[:, 3])
        sums = _AVERAGES @ by_place  # (B, 4, 2, 3, K)

        factors = target.weights / (self._saturation * np.sqrt(self._saturation))
        factors[:, 1:3] /= self._spread
        factors[:, 1] *= 2.0
        factors[:, 3] *= target.angle_square
        sums *= factors[:, :, None, None]

        turns = target.turns[:, :, :, :, None]
        turned = sums[:, :, 0, None] * turns[:, :, 0] + sums[:, :, 1, None] * turns[:, :, 1]  # (B, 4, 2, 3, K)
        slopes = np.empty((frames, 5, 4, probes))
        slopes[:, :2] = np.swapaxes(turned[:, :, :, 0], 1, 2)
        slopes[:, 2:4] = np.swapaxes(turned[:, :, :, 1], 1, 2)
        slopes[:, 4] = turned[:, :, 1, 2]
        slopes[:, 2::2] *= np.exp(self.parameters[:, 2::2, None, None])
        return slopes.reshape(frames, 5, -1)
