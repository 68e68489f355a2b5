"""Temperature, scale and floor of a posterior's covariance, fitted to errors that were observed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float64Array
from geoflow_ros.bundle.pose_calibration import PoseCalibration
from geoflow_ros.errors import InputError
from geoflow_ros.inference.compass_search import compass_search
from geoflow_ros.inference.covariance import FITTED_SHARE

TEMPERATURES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4)
"""Those that a fit chooses from."""

_GROSS_SHARE = 0.002
"""Of the answers that are elsewhere altogether. A Gaussian cannot hold them, and must not widen all others for them."""

_LEAST_PAIRS = 20
_START = np.log([1.0, 1.0, 1.0, 0.1, 0.1, 0.01])
_LOWEST = np.log([0.1, 0.1, 0.1, 0.01, 0.01, 1e-3])
_HIGHEST = np.log([10.0, 10.0, 10.0, 3.0, 3.0, 0.1])
"""Logarithms of scales (forward, right, yaw), and of floors in metres, metres and radians."""

_LEAST_STRIDE = 1e-3  # a tenth of a per cent of a standard deviation


def fit_pose_calibration(
    errors: ArrayLike,
    raw_covariances: ArrayLike,
    temperatures: ArrayLike,
    half_widths: ArrayLike,
    data: str = "held-out pairs",
) -> PoseCalibration:
    """Maximum-likelihood temperature, scales and floors of a Gaussian with a few gross errors beside it.

    An error is zero-mean Gaussian with the calibrated covariance, or, rarely, uniform over the search volume: what the
    posterior did not see coming costs a constant, and what it saw coming is in its covariance. Position and yaw are
    each judged by themselves, as whoever takes only one of them does: a posterior sees their correlation better than
    it sees their variances, and a fit of the whole pays for the former with the latter.

    Args:
        errors: (n, 3) answer minus truth, (forward, right) in metres and yaw in radians, of pairs not in the training.
        raw_covariances: (n, T, 2, 3, 3) of the same, at each temperature, before calibration: of the answer's own hill,
            and what other places add.
        temperatures: (T,) of the scores.
        half_widths: (3,) of the volume that is searched: m, m, rad.
        data: what the pairs were, for the manifest.

    Returns:
        The calibration, with pairs = n.

    Raises:
        InputError: shapes do not fit, numbers are not finite, or fewer than 20 pairs.
    """
    e = np.asarray(errors, dtype=np.float64)
    raw = np.asarray(raw_covariances, dtype=np.float64)
    tried = np.asarray(temperatures, dtype=np.float64)
    if e.ndim != 2 or e.shape[1] != 3 or raw.shape != (len(e), len(tried), 2, 3, 3):
        raise InputError(
            f"calibration needs errors (n, 3) and covariances (n, {len(tried)}, 2, 3, 3), got {e.shape} and {raw.shape}"
        )
    if len(e) < _LEAST_PAIRS:
        raise InputError(f"calibration needs at least {_LEAST_PAIRS} held-out pairs, got {len(e)}")
    if not (np.isfinite(e).all() and np.isfinite(raw).all()):
        raise InputError("calibration needs finite errors and covariances: leave out the pairs without an answer")
    widths = 2.0 * np.asarray(half_widths, dtype=np.float64)
    if widths.shape != (3,) or not (widths > 0.0).all():
        raise InputError(f"calibration needs half the widths of the volume that is searched, got {half_widths!r}")

    fits = []
    for index, temperature in enumerate(tried):
        covariances = raw[:, index]

        def cost(logs: Float64Array, covariances: Float64Array = covariances) -> float:
            return _negative_log_likelihood(logs, e, covariances, widths)

        logs = compass_search(cost, _START, _LOWEST, _HIGHEST, least_stride=_LEAST_STRIDE)
        fits.append((cost(logs), float(temperature), logs))
    best = min(range(len(fits)), key=lambda index: fits[index][0])
    _, temperature, logs = fits[best]
    forward, right, yaw, forward_m, right_m, yaw_rad = (float(value) for value in np.exp(logs))
    own = np.sqrt(raw[:, best, 0][:, [0, 1, 2], [0, 1, 2]])
    most = (float(value) for value in np.quantile(own, FITTED_SHARE, axis=0))
    return PoseCalibration(temperature, forward, right, yaw, forward_m, right_m, yaw_rad, len(e), data, *most)


def _negative_log_likelihood(
    logs: Float64Array, errors: Float64Array, raw: Float64Array, widths: Float64Array
) -> float:
    """The mean negative log-likelihoods of positions and of yaws; `logs` as in `_START`."""
    scale, floor = np.exp(logs[:3]), np.exp(logs[3:])
    covariance = raw[:, 0] * np.outer(scale, scale) + np.diag(floor**2) + raw[:, 1]
    return sum(_of_axes(axes, errors, covariance, widths) for axes in (slice(0, 2), slice(2, 3)))


def _of_axes(axes: slice, errors: Float64Array, covariance: Float64Array, widths: Float64Array) -> float:
    e, sigma, searched = errors[:, axes], covariance[:, axes, axes], float(widths[axes].prod())
    distance = np.einsum("ni,nij,nj->n", e, np.linalg.inv(sigma), e)
    gaussian = -0.5 * (distance + np.linalg.slogdet(sigma)[1] + e.shape[1] * math.log(2.0 * math.pi))
    gross = math.log(_GROSS_SHARE / searched)
    return -float(np.mean(np.logaddexp(math.log1p(-_GROSS_SHARE) + gaussian, gross)))
