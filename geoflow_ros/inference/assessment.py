"""How good the answers are: covariances from the posterior, and reasons not to trust an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends.protocol import HeadOutput
from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.evidence import Evidence
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.errors import BundleError
from geoflow_ros.geo.gaussian import Gaussian2D
from geoflow_ros.inference.covariance import bounded_by_prior, covariance_about
from geoflow_ros.inference.fix import Assessment
from geoflow_ros.inference.irs import INITIAL_SPREAD, spread
from geoflow_ros.inference.posterior import fit_posterior

_LEAST = 1e-3  # of a value that a logarithm is taken of


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


@dataclass(frozen=True, kw_only=True)
class GeoFlowAssessment(Assessment):
    """What speaks for and against a fix of GeoFlow.

    Without the bundle's evidence its quality is the standard deviation of its position, negative. Its signs are the
    misfit and logarithms of the spread (m), of the raw standard deviations of forward and right (m), of kappa's mean
    and of the posterior's distance (m).

    Attributes:
        spread_m: root mean square distance of the hypotheses from their mean. Convergence, not accuracy.
        inside_fraction: share of the hypotheses that ended inside the search square.
        kappa_mean: AngMF rate of the direction, mean over the probes (see `posterior`).
        sigma_log_r_mean: standard deviation of log r, mean over the probes.
        posterior_misfit: how badly one Gaussian explains all the probes; above about 0.5 it does not,
            and the covariance is mostly that of their mixture.
        posterior_distance_m: between the answer and the mean of that Gaussian.
    """

    spread_m: float
    inside_fraction: float
    kappa_mean: float
    sigma_log_r_mean: float
    posterior_misfit: float
    posterior_distance_m: float


@dataclass(frozen=True, eq=False)
class AssessedEstimate:
    """One answer with its covariance and assessment. Lengths in metres, axes (forward, right) from the patch centre.

    Attributes:
        position_m: (2,) mean of the refined hypotheses.
        posterior_mean_m: (2,) mean of the Gaussian that explains the head's answers.
        raw_covariance: (2, 2) mean square error of the answer as the head sees it.
        covariance: (2, 2) the same calibrated, nowhere worse than knowing nothing but the search square.
        heading_error_rad: None without an orientation head.
        assessment: what speaks for and against the answer.
    """

    position_m: Float64Array
    posterior_mean_m: Float64Array
    raw_covariance: Float64Array
    covariance: Float64Array
    heading_error_rad: float | None
    assessment: GeoFlowAssessment


def assess(
    probed: HeadOutput,
    probes: Float32Array,
    hypotheses: Float32Array,
    estimate: Float64Array,
    search_radius_m: float,
    calibration: Calibration,
    settings: IrsSettings,
    limits: QualityLimits,
    evidence: Evidence | None = None,
) -> tuple[AssessedEstimate, ...]:
    """Covariance and assessment of the answers of B frames.

    Args:
        probed: the head's answers (B, K) at the probes.
        probes: (K, 2) places in search radii at which it was asked.
        hypotheses: (B, N, 2) refined, in search radii.
        estimate: (B, 2) the answers, in search radii.
        search_radius_m: metres of that unit.
        calibration: of the covariance.
        settings: with which the hypotheses were refined.
        limits: of trust. That of the spread counts where there is no evidence to weigh.
        evidence: of the bundle.

    Returns:
        B answers.

    Raises:
        BundleError: the network answered with numbers that are not finite.
    """
    require_finite(hypotheses, probed.mu_log_r, probed.var_log_r, probed.direction, probed.kappa)
    posterior, position_m = fit_posterior(probes, probed), estimate * search_radius_m
    gaussian = Gaussian2D(posterior.gaussian.mean * search_radius_m, posterior.gaussian.covariance * search_radius_m**2)
    raw = covariance_about(gaussian, position_m)
    covariance = bounded_by_prior(calibration.apply(raw), position_m, search_radius_m)
    measured = {
        "centre_distance_m": np.hypot(*position_m.T),
        "spread_m": spread(hypotheses) * search_radius_m,
        "inside_fraction": np.mean((np.abs(hypotheses) <= 1.0).all(axis=-1), axis=-1),
        "kappa_mean": probed.kappa.mean(axis=-1, dtype=np.float64),
        "sigma_log_r_mean": np.sqrt(probed.var_log_r).mean(axis=-1, dtype=np.float64),
        "posterior_misfit": posterior.misfit,
        "posterior_distance_m": np.hypot(*(gaussian.mean - position_m).T),
    }
    headings = None if probed.orientation is None else _mean_angle(probed.orientation)
    spread_limit_m = (INITIAL_SPREAD * settings.remaining_fraction + limits.largest_spread) * search_radius_m

    def one(b: int) -> AssessedEstimate:
        own = {name: float(values[b]) for name, values in measured.items()}
        signs = _signs(raw[b], own)
        probability, doubt = weighed(signs, evidence, _doubt(own["spread_m"], spread_limit_m))
        reason = _outside(estimate[b], 1.0 + limits.outside_margin) or doubt
        quality = -float(np.sqrt(np.trace(covariance[b]))) if probability is None else probability
        assessment = GeoFlowAssessment(
            trustworthy=not reason, reason=reason, quality=quality, probability=probability, signs=signs, **own
        )
        turn = None if headings is None else float(headings[b])
        return AssessedEstimate(position_m[b], gaussian.mean[b], raw[b], covariance[b], turn, assessment)

    return tuple(one(b) for b in range(len(estimate)))


def require_finite(*answers: NDArray[np.floating]) -> None:
    """Refuses what a network answered if any of it is not finite.

    Raises:
        BundleError: it is not.
    """
    if not all(np.isfinite(values).all() for values in answers):
        raise BundleError(
            "the network answered with numbers that are not finite: its weights or the precision of its back end "
            "are at fault; export the bundle again or choose another back end"
        )


def _mean_angle(orientation: Float32Array) -> Float64Array:
    """(B,) direction of the mean of unit vectors (B, K, 2), cosine first."""
    mean = orientation.mean(axis=-2, dtype=np.float64)
    return np.asarray(np.arctan2(mean[..., 1], mean[..., 0]))


def weighed(signs: Mapping[str, float], evidence: Evidence | None, doubt: str) -> tuple[float | None, str]:
    """Returns the probability of an error under 5 m, and why the answer is doubtful, empty where it is not.

    Without evidence what is known against the answer counts; with it that only gives the words.
    """
    if evidence is None:
        return None, doubt
    probability = evidence.probability(signs)
    return probability, evidence.doubt(probability, doubt)


def _signs(raw: Float64Array, measured: Mapping[str, float]) -> dict[str, float]:
    """See `GeoFlowAssessment`; logarithms are taken of no less than `_LEAST`."""
    forward_m, right_m = np.sqrt(np.diag(raw))
    of_logarithms = {
        "log_spread": measured["spread_m"],
        "log_sigma_forward": float(forward_m),
        "log_sigma_right": float(right_m),
        "log_kappa": measured["kappa_mean"],
        "log_apart": measured["posterior_distance_m"],
    }
    logarithms = {name: math.log(max(value, _LEAST)) for name, value in of_logarithms.items()}
    return {**logarithms, "misfit": measured["posterior_misfit"]}


def _outside(estimate: Float64Array, border: float) -> str:
    """Why an answer cannot be one; empty where it can."""
    if np.abs(estimate).max() > border:
        return f"the answer lies outside the search square ({np.abs(estimate).max():.1f} search radii from the centre)"
    return ""


def _doubt(spread_m: float, spread_limit_m: float) -> str:
    """Why the hypotheses are no answer; empty where they are."""
    if spread_m > spread_limit_m:
        return f"the hypotheses did not meet (spread {spread_m:.1f} m, limit {spread_limit_m:.1f} m)"
    return ""
