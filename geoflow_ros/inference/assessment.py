"""How good the answers are: covariances from the posterior, and reasons not to trust an answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends.protocol import HeadOutput
from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.errors import BundleError
from geoflow_ros.geo.gaussian import Gaussian2D
from geoflow_ros.inference.covariance import bounded_by_prior, covariance_about
from geoflow_ros.inference.irs import INITIAL_SPREAD, spread
from geoflow_ros.inference.posterior import fit_posterior, probe_grid


@dataclass(frozen=True)
class QualityLimits:
    """When an answer is not to be trusted; lengths as fractions of the search radius.

    Attributes:
        largest_spread: of the hypotheses, beyond what iterating with this step and count leaves even when every
            prediction is exact. 0.25 is 5 m of 20: two clusters a quarter of the square apart.
        outside_margin: how far outside the search square an answer may lie. The network saw no truth outside.
    """

    largest_spread: float = 0.25
    outside_margin: float = 0.15


@dataclass(frozen=True, eq=False)
class BatchEstimate:
    """About B answers. Lengths in metres, axes (forward, right) from the patch centre.

    Attributes:
        answer_m: (B, 2) mean of the refined hypotheses.
        posterior_mean_m: (B, 2) mean of the Gaussian that explains the head's answers.
        raw_covariance: (B, 2, 2) mean square error of the answer as the head sees it.
        covariance: (B, 2, 2) the same calibrated, nowhere worse than knowing nothing but the search square.
        spread_m, inside_fraction, kappa_mean, sigma_log_r_mean, posterior_misfit: (B,), see `Assessment`.
        heading_error_rad: (B,), or None without an orientation head.
        reasons: B reasons not to trust; empty where there is none.
    """

    answer_m: Float64Array
    posterior_mean_m: Float64Array
    raw_covariance: Float64Array
    covariance: Float64Array
    spread_m: Float64Array
    inside_fraction: Float64Array
    kappa_mean: Float64Array
    sigma_log_r_mean: Float64Array
    posterior_misfit: Float64Array
    heading_error_rad: Float64Array | None
    reasons: tuple[str, ...]


def assess(
    output: HeadOutput,
    hypotheses: Float32Array,
    answer: Float64Array,
    search_radius_m: float,
    calibration: Calibration,
    settings: IrsSettings,
    limits: QualityLimits,
) -> BatchEstimate:
    """Covariance and quality of the answers of B frames.

    Args:
        output: the head's answers (B, K) at `probe_grid`'s places.
        hypotheses: (B, N, 2) refined, in units of the search radius.
        answer: (B, 2) what they agreed on, in the same units.
        search_radius_m: metres of that unit.
        calibration: of the covariance.
        settings: with which the hypotheses were refined.
        limits: of trust.

    Raises:
        BundleError: the network answered with numbers that are not finite.
    """
    for values in (hypotheses, output.mu_log_r, output.var_log_r, output.direction, output.kappa):
        if not np.isfinite(values).all():
            raise BundleError(
                "the network answered with numbers that are not finite: its weights or the precision of its back end "
                "are at fault; export the bundle again or choose another back end"
            )
    posterior = fit_posterior(probe_grid(), output)
    belief = Gaussian2D(
        posterior.belief.mean * search_radius_m,
        posterior.belief.covariance * search_radius_m**2,
    )
    answer_m = answer * search_radius_m
    raw = covariance_about(belief, answer_m)
    spread_m = spread(hypotheses) * search_radius_m
    leftover_m = INITIAL_SPREAD * settings.remaining_fraction * search_radius_m
    limit_m = leftover_m + limits.largest_spread * search_radius_m
    border = 1.0 + limits.outside_margin
    return BatchEstimate(
        answer_m=answer_m,
        posterior_mean_m=belief.mean,
        raw_covariance=raw,
        covariance=bounded_by_prior(calibration.apply(raw), answer_m, search_radius_m),
        spread_m=spread_m,
        inside_fraction=np.mean((np.abs(hypotheses) <= 1.0).all(axis=-1), axis=-1),
        kappa_mean=output.kappa.mean(axis=-1, dtype=np.float64),
        sigma_log_r_mean=np.sqrt(output.var_log_r).mean(axis=-1, dtype=np.float64),
        posterior_misfit=posterior.misfit,
        heading_error_rad=None if output.orientation is None else _mean_angle(output.orientation),
        reasons=tuple(_reason(a, s, border, limit_m) for a, s in zip(answer, spread_m, strict=True)),
    )


def _mean_angle(orientation: Float32Array) -> Float64Array:
    """(B,) direction of the mean of unit vectors (B, K, 2), cosine first."""
    mean = orientation.mean(axis=-2, dtype=np.float64)
    return np.arctan2(mean[..., 1], mean[..., 0])


def _reason(answer: Float64Array, spread_m: float, border: float, limit_m: float) -> str:
    if np.abs(answer).max() > border:
        return f"the answer lies outside the search square ({np.abs(answer).max():.1f} search radii from the centre)"
    if spread_m > limit_m:
        return f"the hypotheses did not meet (spread {spread_m:.1f} m, limit {limit_m:.1f} m)"
    return ""
