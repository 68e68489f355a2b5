"""The arithmetic of every figure that geoflow_ros reports: arrays in, numbers out.

Keys are the same everywhere. Errors are of the camera's (or vehicle's) position in metres, as (forward, right): the
longitudinal error is the first component, the lateral error the second.
"""

import math
from typing import Any, TypedDict, cast

import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo.gaussian import chi_square_quantile

RECALL_LIMITS_M = (1.0, 5.0)
COVERAGE_LEVELS = (0.50, 0.90, 0.95)
LATENCY_PERCENTILES = (50, 95, 99)


class Figures(TypedDict, total=False):
    """The accuracy and consistency of a set of position fixes. Keys that a measurement cannot fill are absent.

    `anees`, `coverage_*` and `nll` need covariances; `latency_ms` and `frames_per_second` are those of `timing`.
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
    lateral_sigma_m: float
    longitudinal_sigma_m: float
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
    is the χ² one of 2 degrees of freedom, eᵀΣ⁻¹e ≤ -2 ln(1 - p). `nll` is the mean negative log-likelihood, nats.

    Args:
        errors: (n, 2) metres.
        covariances: (n, 2, 2) m².

    Raises:
        InputError: as `figures`.
    """
    e = _errors(errors)
    sigma = np.asarray(covariances, dtype=np.float64)
    if sigma.shape != (len(e), 2, 2):
        raise InputError(f"{len(e)} errors need covariances of shape ({len(e)}, 2, 2), not {sigma.shape}")
    if not np.isfinite(sigma).all():
        raise InputError("a covariance is not finite")
    determinant = sigma[:, 0, 0] * sigma[:, 1, 1] - sigma[:, 0, 1] * sigma[:, 1, 0]
    if not ((sigma[:, 0, 0] > 0).all() and (determinant > 0).all()):
        raise InputError("a covariance is not positive definite")
    nees = np.einsum("ni,nij,nj->n", e, np.linalg.inv(sigma), e)  # (n,)
    result = {"anees": float(nees.mean() / 2)}
    for level in COVERAGE_LEVELS:
        result[f"coverage_{level * 100:.0f}"] = float(np.mean(nees <= chi_square_quantile(level, 2)))
    result["nll"] = float(np.mean(nees / 2 + np.log(2 * math.pi) + np.log(determinant) / 2))
    result["longitudinal_sigma_m"] = float(np.median(np.sqrt(sigma[:, 0, 0])))
    result["lateral_sigma_m"] = float(np.median(np.sqrt(sigma[:, 1, 1])))
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


def _errors(errors: npt.ArrayLike) -> Float64Array:
    values = np.asarray(errors, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise InputError(f"errors have the shape (n, 2), not {values.shape}")
    if len(values) == 0:
        raise InputError("there is nothing to measure: no errors were given")
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values).all(axis=1)).sum())} of {len(values)} errors are not finite")
    return values
