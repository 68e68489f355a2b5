"""The arithmetic of every figure that geoflow_ros reports: arrays in, numbers out.

Keys are the same everywhere. Errors are of the camera's (or vehicle's) position in metres, as (forward, right): the
longitudinal error is the first component, the lateral error the second.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, cast

import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float64Array
from geoflow_ros.bundle.evidence import NEAR_M
from geoflow_ros.errors import InputError
from geoflow_ros.geo.angles import wrap_to_pi
from geoflow_ros.geo.gaussian import chi_square_quantile

RECALL_LIMITS_M = (1.0, 5.0)
RECALL_LIMITS_DEG = (1.0, 5.0)
COVERAGE_LEVELS = (0.50, 0.90, 0.95)
BEYOND = 0.999  # of an ellipse that hardly any error lies outside of
LATENCY_PERCENTILES = (50, 95, 99)
_BOOTSTRAP_DRAWS = 1000
_INTERVAL_PERCENTILES = (2.5, 97.5)


class Figures(TypedDict, total=False):
    """The accuracy and consistency of a set of fixes. Keys that a measurement cannot fill are absent.

    `anees`, `coverage_*`, `nll*` and `ause` need covariances of the position, the same with `pose_` those of position
    and yaw, `yaw_*` a method that gives the yaw, `auroc_5m` a quality and answers on both sides of 5 m; `*_interval`
    are between the 2.5th and the 97.5th percentile; `latency_ms` and `frames_per_second` are those of `timing`.
    """

    frames: int
    mean_error_m: float
    median_error_m: float
    rmse_m: float
    p95_error_m: float
    lateral_mean_error_m: float
    lateral_median_error_m: float
    longitudinal_mean_error_m: float
    longitudinal_median_error_m: float
    recall_1m: float
    recall_5m: float
    lateral_recall_1m: float
    lateral_recall_5m: float
    longitudinal_recall_1m: float
    longitudinal_recall_5m: float
    anees: float
    coverage_50: float
    coverage_90: float
    coverage_95: float
    nll: float
    nll_constant: float
    ause: float
    lateral_sigma_m: float
    longitudinal_sigma_m: float
    yaw_mean_error_deg: float
    yaw_median_error_deg: float
    yaw_recall_1deg: float
    yaw_recall_5deg: float
    yaw_sigma_deg: float
    pose_anees: float
    pose_coverage_50: float
    pose_coverage_90: float
    pose_coverage_95: float
    pose_nll: float
    auroc_5m: float
    mean_error_m_interval: tuple[float, float]
    median_error_m_interval: tuple[float, float]
    published_mean_error_m: float
    published_anees: float
    published_coverage_95: float
    published_beyond_999: float
    latency_ms: dict[str, float]
    frames_per_second: float
    availability: float


class TrajectoryFigures(TypedDict):
    """The distance of one trajectory from the truth."""

    rmse_m: float
    median_error_m: float
    p95_error_m: float
    mean_error_m: float
    max_error_m: float
    final_error_m: float
    samples: int


def figures(
    errors_forward_right: npt.ArrayLike,
    covariances: npt.ArrayLike | None = None,
    availability: float | None = None,
) -> Figures:
    """Computes the fixed figures of a set of fixes.

    Args:
        errors_forward_right: (n, 2) estimate minus truth in metres, (forward, right) of the vehicle.
        covariances: (n, 2, 2) covariance of each error in the same frame, m², positive definite.
        availability: the share of the frames (0 to 1) with an answer that the localizer itself trusts: of the frame,
            or, on a drive, at most a second old (see `bag.availability`).

    Returns:
        The figures; means over frames, recalls and coverages as shares of 1.

    Raises:
        InputError: no frame, values that are not finite, shapes that differ, or a covariance that is not positive
            definite.
    """
    errors = _errors(errors_forward_right)
    longitudinal, lateral = np.abs(errors[:, 0]), np.abs(errors[:, 1])  # (n,) each
    distance = np.hypot(errors[:, 0], errors[:, 1])
    result: dict[str, Any] = {
        "frames": len(errors),
        "mean_error_m": float(distance.mean()),
        "median_error_m": float(np.median(distance)),
        "rmse_m": float(np.sqrt(np.mean(distance**2))),
        "p95_error_m": float(np.percentile(distance, 95)),
    }
    for name, values in (("lateral", lateral), ("longitudinal", longitudinal)):
        result[f"{name}_mean_error_m"] = float(values.mean())
        result[f"{name}_median_error_m"] = float(np.median(values))
    for prefix, values in (("", distance), ("lateral_", lateral), ("longitudinal_", longitudinal)):
        for limit in RECALL_LIMITS_M:
            result[f"{prefix}recall_{limit:.0f}m"] = float(np.mean(values <= limit))
    if covariances is not None:
        result.update(consistency(errors, covariances))
    if availability is not None:
        if not 0.0 <= availability <= 1.0:
            raise InputError(f"an availability is a share between 0 and 1, not {availability}")
        result["availability"] = float(availability)
    return cast(Figures, result)


def consistency(errors: npt.ArrayLike, covariances: npt.ArrayLike) -> dict[str, float]:
    """Compares covariances with the errors that they describe, both in one frame.

    ANEES is the mean of eᵀΣ⁻¹e / 2 (Li, Zhao and Jilkov 2001): 1 for a truthful covariance, above 1 for an
    overconfident one. `coverage_p` is the share of errors inside the ellipse that should hold p of them; the ellipse
    is the χ² one of 2 degrees of freedom, eᵀΣ⁻¹e ≤ -2 ln(1 - p). `nll` is the mean negative log-likelihood, nats;
    `nll_constant` that of the one covariance which fits these errors best. `ause`: see `sparsification_error`.

    Args:
        errors: (n, 2) metres.
        covariances: (n, 2, 2) m².

    Raises:
        InputError: as `figures`.
    """
    e = _errors(errors)
    sigma = np.asarray(covariances, dtype=np.float64)
    result = _consistency(e, sigma)
    log_determinant = np.linalg.slogdet(e.T @ e / len(e))[1]
    if math.isfinite(log_determinant):  # errors on a line have no best ellipse
        result["nll_constant"] = float(1.0 + math.log(2.0 * math.pi) + log_determinant / 2.0)
    result["ause"] = sparsification_error(np.linalg.norm(e, axis=1), np.trace(sigma, axis1=1, axis2=2))
    result["longitudinal_sigma_m"] = float(np.median(np.sqrt(sigma[:, 0, 0])))
    result["lateral_sigma_m"] = float(np.median(np.sqrt(sigma[:, 1, 1])))
    return result


def sparsification_error(errors: npt.ArrayLike, uncertainty: npt.ArrayLike) -> float:
    """Computes AUSE, the area under the sparsification error (Ilg et al., ECCV 2018).

    Answers are left out one by one, first those that are said to be least certain, then first those that are worst.
    AUSE is by how much the mean error of what is left is larger in the first way, in units of the mean error of all,
    averaged over the shares that are left out: 0 where what is said is in the order of the errors.

    Args:
        errors: (n,) distances, not negative.
        uncertainty: (n,) larger for a less certain answer; its order alone counts.

    Raises:
        InputError: shapes differ, or none is given.
    """
    distance, said = np.asarray(errors, dtype=np.float64), np.asarray(uncertainty, dtype=np.float64)
    if distance.ndim != 1 or distance.shape != said.shape or not len(distance):
        raise InputError(f"an uncertainty for each error is wanted, got {said.shape} for {distance.shape}")
    if not distance.any():
        return 0.0
    kept = np.arange(1, len(distance) + 1)
    by_said, by_error = (np.cumsum(distance[np.argsort(key, kind="stable")]) / kept for key in (said, distance))
    return float((by_said - by_error).mean() / distance.mean())


def yaw_figures(errors_rad: npt.ArrayLike) -> dict[str, float]:
    """Computes the figures of yaws: the papers' azimuth error, wrapped to at most half a turn.

    Args:
        errors_rad: (n,) estimate minus truth.

    Raises:
        InputError: none given, another shape, or one that is not finite.
    """
    errors = np.asarray(errors_rad, dtype=np.float64)
    if errors.ndim != 1 or errors.size == 0 or not np.isfinite(errors).all():
        raise InputError(f"errors of the yaw are (n,) finite numbers, n at least 1; got the shape {errors.shape}")
    degrees = np.degrees(np.abs(wrap_to_pi(errors)))
    result = {"yaw_mean_error_deg": float(degrees.mean()), "yaw_median_error_deg": float(np.median(degrees))}
    for limit in RECALL_LIMITS_DEG:
        result[f"yaw_recall_{limit:.0f}deg"] = float(np.mean(degrees <= limit))
    return result


def pose_consistency(errors: npt.ArrayLike, covariances: npt.ArrayLike) -> dict[str, float]:
    """Compares covariances of poses with the errors that they describe: `consistency` with three degrees of freedom.

    Args:
        errors: (n, 3) forward and right in metres, yaw (or turn, as the covariances have it) in radians, wrapped.
        covariances: (n, 3, 3) in their squares.

    Raises:
        InputError: as `figures`.
    """
    e = _errors(errors, 3)
    sigma = np.asarray(covariances, dtype=np.float64)
    result = {f"pose_{key}": value for key, value in _consistency(e, sigma).items()}
    return {**result, "yaw_sigma_deg": float(np.degrees(np.median(np.sqrt(sigma[:, 2, 2]))))}


def auroc(scores: npt.ArrayLike, is_positive: npt.ArrayLike) -> float | None:
    """Computes the area under the ROC curve: the probability that a positive has a higher score than a negative.

    The rank statistic of Mann and Whitney (1947); equal scores count half. None where one class is missing.

    Args:
        scores: (n,).
        is_positive: (n,) bool.

    Raises:
        InputError: shapes differ, or a score is NaN.
    """
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(is_positive, dtype=bool)
    if values.ndim != 1 or values.shape != positive.shape:
        raise InputError(f"a score for each of the answers is wanted, got {values.shape} for {positive.shape}")
    if np.isnan(values).any():
        raise InputError("a score is not a number")
    positives = int(positive.sum())
    negatives = len(values) - positives
    if not positives or not negatives:
        return None
    _, level, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2.0  # the mean rank of each level, counted from 1
    above = rank[level][positive].sum() - positives * (positives + 1) / 2.0
    return float(above / (positives * negatives))


def quality_figures(errors_forward_right: npt.ArrayLike, quality: npt.ArrayLike) -> dict[str, float]:
    """Computes `auroc_5m`: how well a low quality warns of an error of more than 5 m; empty where it cannot be said.

    Args:
        errors_forward_right: (n, 2) metres.
        quality: (n,) higher for a better answer; any unit.

    Raises:
        InputError: as `figures` and `auroc`.
    """
    is_wrong = np.linalg.norm(_errors(errors_forward_right), axis=1) > NEAR_M
    area = auroc(-np.asarray(quality, dtype=np.float64), is_wrong)
    return {} if area is None else {f"auroc_{NEAR_M:.0f}m": area}


def published_figures(
    errors_forward_right: npt.ArrayLike, covariances: npt.ArrayLike, is_published: npt.ArrayLike
) -> dict[str, float]:
    """Computes what a filter sees: errors and covariances of those answers that the localizer trusts.

    Args:
        errors_forward_right: (n, 2) metres.
        covariances: (n, 2, 2) m².
        is_published: (n,) which are.

    Returns:
        The figures `published_*` (`beyond_999`: the share outside of its own 99.9 % ellipse); none where none is.
    """
    kept = np.asarray(is_published, bool)
    if not kept.any():
        return {}
    errors, sigma = np.asarray(errors_forward_right, float)[kept], np.asarray(covariances, float)[kept]
    found = consistency(errors, sigma)
    square = np.einsum("ni,nij,nj->n", errors, np.linalg.inv(sigma), errors)
    return {
        "published_mean_error_m": float(np.hypot(*errors.T).mean()),
        "published_anees": found["anees"],
        "published_coverage_95": found["coverage_95"],
        "published_beyond_999": float(np.mean(square > chi_square_quantile(BEYOND, 2))),
    }


def intervals(errors_forward_right: npt.ArrayLike, worlds: npt.ArrayLike) -> dict[str, tuple[float, float]]:
    """Computes what chance leaves open of mean and median error: their 95 % intervals over other worlds.

    Pairs of one world (a baked window of a city: the same light, map and streets) are alike, so whole worlds are drawn
    with replacement (bootstrap; Efron 1979). Empty where there is one world only.

    Args:
        errors_forward_right: (n, 2) metres.
        worlds: (n,) the number of the world that each pair is of.

    Raises:
        InputError: as `figures`, or another number of worlds than of errors.
    """
    distance = np.linalg.norm(_errors(errors_forward_right), axis=1)
    numbers = np.asarray(worlds)
    if numbers.shape != distance.shape:
        raise InputError(f"{len(distance)} errors need as many numbers of worlds, not {numbers.shape}")
    groups = [distance[numbers == number] for number in np.unique(numbers)]
    found = {name: resampled_interval(groups, of) for name, of in (("mean", np.mean), ("median", np.median))}
    return {f"{name}_error_m_interval": interval for name, interval in found.items() if interval is not None}


def resampled_interval(
    groups: Sequence[Float64Array], statistic: Callable[[Float64Array], Any]
) -> tuple[float, float] | None:
    """Computes the 95 % interval of a statistic over other groups: groups are drawn with replacement, as many.

    Args:
        groups: of values that are alike within each, each (n,).
        statistic: of all values.

    Returns:
        Its 2.5th and 97.5th percentile; None where there is one group only.
    """
    if len(groups) < 2:
        return None
    rng = np.random.default_rng(0)  # the same figures for the same errors
    drawn = rng.integers(len(groups), size=(_BOOTSTRAP_DRAWS, len(groups)))
    samples = [statistic(np.concatenate([groups[index] for index in indices])) for indices in drawn]
    low, high = np.percentile(samples, _INTERVAL_PERCENTILES)
    return float(low), float(high)


def _consistency(e: Float64Array, sigma: Float64Array) -> dict[str, float]:
    """ANEES, coverages and negative log-likelihood of (n, d) errors with (n, d, d) covariances."""
    n, degrees = e.shape
    if sigma.shape != (n, degrees, degrees):
        raise InputError(f"{n} errors need covariances of shape ({n}, {degrees}, {degrees}), not {sigma.shape}")
    if not np.isfinite(sigma).all():
        raise InputError("a covariance is not finite")
    if not (np.linalg.eigvalsh(sigma) > 0.0).all():
        raise InputError("a covariance is not positive definite")
    nees = np.einsum("ni,nij,nj->n", e, np.linalg.inv(sigma), e)  # (n,)
    result = {"anees": float(nees.mean() / degrees)}
    for level in COVERAGE_LEVELS:
        result[f"coverage_{level * 100:.0f}"] = float(np.mean(nees <= chi_square_quantile(level, degrees)))
    log_determinant = np.linalg.slogdet(sigma)[1]
    result["nll"] = float(np.mean(nees + degrees * np.log(2 * math.pi) + log_determinant) / 2)
    return result


def timing(latencies_ms: npt.ArrayLike) -> dict[str, Any]:
    """Computes `latency_ms` {p50, p95, p99} of single frames, and the frames a second of one after the other.

    Raises:
        InputError: none given, or values that are not finite or negative.
    """
    latencies = np.asarray(latencies_ms, dtype=np.float64).ravel()
    if latencies.size == 0 or not np.isfinite(latencies).all() or (latencies < 0).any():
        raise InputError("latencies must be given, finite and not negative")
    percentiles = {f"p{p}": float(np.percentile(latencies, p)) for p in LATENCY_PERCENTILES}
    mean = float(latencies.mean())
    return {"latency_ms": percentiles, "frames_per_second": 1000.0 / mean if mean > 0 else math.inf}


def trajectory_figures(errors: npt.ArrayLike) -> TrajectoryFigures:
    """The distance of a trajectory from the truth.

    Args:
        errors: (n, 2) position differences in metres, any frame, in the order of time.

    Raises:
        InputError: no sample, or one that is not finite.
    """
    distance = np.linalg.norm(_errors(errors), axis=1)
    return TrajectoryFigures(
        rmse_m=float(np.sqrt(np.mean(distance**2))),
        median_error_m=float(np.median(distance)),
        p95_error_m=float(np.percentile(distance, 95)),
        mean_error_m=float(distance.mean()),
        max_error_m=float(distance.max()),
        final_error_m=float(distance[-1]),
        samples=len(distance),
    )


def _errors(errors: npt.ArrayLike, size: int = 2) -> Float64Array:
    values = np.asarray(errors, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != size:
        raise InputError(f"errors have the shape (n, {size}), not {values.shape}")
    if len(values) == 0:
        raise InputError("there is nothing to measure: no errors were given")
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values).all(axis=1)).sum())} of {len(values)} errors are not finite")
    return values
