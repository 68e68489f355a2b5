"""What a posterior over poses is worth as an answer: its covariance, and reasons not to trust it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.bundle.evidence import Evidence
from geoflow_ros.bundle.pose_calibration import PoseCalibration
from geoflow_ros.inference.assessment import weighed
from geoflow_ros.inference.covariance import bounded_by_uniform
from geoflow_ros.inference.fix import Assessment
from geoflow_ros.inference.pose_posterior import PoseEstimate, PosePosterior, wrap
from geoflow_ros.inference.pose_search import PoseSearch

YAW_AXES = np.diag([1.0, 1.0, -1.0])
"""From (forward, right, turn) to (forward, right, yaw): a turn is the patch's yaw less the camera's."""


_LEAST = 1e-4  # of a probability that a logarithm is taken of


@dataclass(frozen=True)
class PoseLimits:
    """When a pose is not to be trusted.

    Attributes:
        none_probability: of the camera being nowhere in the volume. One half: nowhere is then more probable than all
            places together.
        least_information: nats by which the posterior must be surer than a uniform one. Half a nat is what a volume
            gives that is 60 % of the whole: the images say nothing.
        ambiguous_mass: a mode with less than this of the probability has to fear a rival. 0.6: with a rival that has
            the rest it is right three times out of five, which no covariance around it can say.
        rival_share: of the first mode's mass that makes another place its rival. Below a third of it the place is a
            tail, which the covariance holds.
        apart_cells: fine cells between the peaks of two places; nearer ones are one hill, whose covariance is wide: a
            street that looks the same for ten metres is no ambiguity. Twice a mode's reach and a cell between.
        apart_turns: fine turns between the peaks, likewise.
        rim_cells: an answer within so many fine cells of the volume's end may be the slope of a hill beyond it.
        rim_turns: likewise for the heading, in fine turns.
    """

    none_probability: float = 0.5
    least_information: float = 0.5
    ambiguous_mass: float = 0.6
    rival_share: float = 1.0 / 3.0
    apart_cells: float = 9.0
    apart_turns: float = 10.0
    rim_cells: float = 0.5
    rim_turns: float = 0.25


@dataclass(frozen=True, kw_only=True)
class PoseAssessment(Assessment):
    """What speaks for and against a pose. Without the bundle's evidence its quality is the probability of its mode.

    Its signs are the posterior's entropy (nats), the logarithm of the share that is not the first mode's, the logit of
    "none of these", the logarithm of the position's standard deviation in the posterior (m, geometric mean of the
    axes), the highest score of a cell of the fine level, and the turn over the error that the heading may have.

    Attributes:
        mass: share of the first mode in the probability of all places.
        rival_mass: share of the second mode; 0 where there is one alone.
        none_probability: of the camera being nowhere in the search volume.
        entropy: of the posterior against a uniform one, nats; 0 at most, and lower for a surer one.
        camera_hypotheses: ways in which the camera might stand that were looked at.
    """

    mass: float
    rival_mass: float
    none_probability: float
    entropy: float
    camera_hypotheses: int


def assess_pose(
    estimate: PoseEstimate,
    search: PoseSearch,
    limits: PoseLimits,
    evidence: Evidence | None = None,
    highest_score: float = 0.0,
) -> PoseAssessment:
    """Returns what speaks for and against the first mode of an estimate.

    Args:
        estimate: of a posterior.
        search: the volume.
        limits: of trust. Those of doubt (nowhere, nothing said, ambiguous) count where there is no evidence to weigh.
        evidence: of the bundle.
        highest_score: of a cell of the fine level.
    """
    first = estimate.modes[0]
    signs = _signs(estimate, highest_score, search)
    probability, doubt = weighed(signs, evidence, _doubt(estimate, search, limits))
    reason = doubt or _at_end(estimate, search, limits)
    return PoseAssessment(
        trustworthy=not reason,
        reason=reason,
        quality=first.mass * (1.0 - estimate.none_probability) if probability is None else probability,
        probability=probability,
        signs=signs,
        centre_distance_m=float(np.hypot(*first.pose[:2])),
        mass=first.mass,
        rival_mass=estimate.modes[1].mass if len(estimate.modes) > 1 else 0.0,
        none_probability=estimate.none_probability,
        entropy=estimate.entropy,
        camera_hypotheses=len(estimate.camera_probability),
    )


def pose_covariances(
    posterior: PosePosterior, pose: Float64Array, calibration: PoseCalibration, fitted: Float64Array | None = None
) -> tuple[Float64Array, Float64Array]:
    """Returns the covariance of an answer, raw and calibrated.

    Scales and floors are of the answer's own hill; other places count in full. Nowhere is the calibrated covariance
    worse than knowing nothing but the search volume.

    Args:
        posterior: of the frame.
        pose: (3,) forward and right in metres, turn in radians: the answer.
        calibration: whose temperature the raw covariance has as well.
        fitted: (3, 3) of the answer's own hill where something finer than the posterior tells it.

    Returns:
        Two (3, 3) of (forward, right, yaw); m^2, m rad, rad^2.
    """
    search = posterior.search
    own, others = raw_covariances(posterior, pose, calibration.temperature, fitted)
    return own + others, bounded_by_uniform(calibration.apply(own) + others, YAW_AXES @ pose, search.half_widths)


def raw_covariances(
    posterior: PosePosterior, pose: Float64Array, temperature: float, fitted: Float64Array | None = None
) -> tuple[Float64Array, Float64Array]:
    """Returns what the answer's own hill and what all other places add to its covariance, at a temperature.

    Both are (3, 3) of (forward, right, yaw); `fitted` is the former where something finer than the posterior tells it.
    """
    own, others = posterior.softened(temperature).covariances_about(pose)
    return YAW_AXES @ own @ YAW_AXES if fitted is None else fitted, YAW_AXES @ others @ YAW_AXES


def _signs(estimate: PoseEstimate, highest_score: float, search: PoseSearch) -> dict[str, float]:
    """See `PoseAssessment`; probabilities are kept a little off 0 and 1."""
    none = min(max(estimate.none_probability, _LEAST), 1.0 - _LEAST)
    return {
        "entropy": estimate.entropy,
        "log_rest": math.log(max(1.0 - estimate.modes[0].mass, _LEAST)),
        "logit_none": math.log(none / (1.0 - none)),
        "log_sigma": float(np.linalg.slogdet(estimate.covariance[:2, :2])[1]) / 4.0,
        "highest_score": highest_score,
        "turn": search.turn_share(float(estimate.pose[2])),
    }


def _doubt(estimate: PoseEstimate, search: PoseSearch, limits: PoseLimits) -> str:
    """Why the posterior is no answer; empty where it is."""
    none = estimate.none_probability
    if none > limits.none_probability:
        return f"nothing on the patch matches (none {none:.0%})".replace("%", " %")
    if estimate.entropy > -limits.least_information:
        return f"the image says nothing about the pose ({-estimate.entropy:.1f} nats)"
    rival = _rival_mass(estimate, search, limits)
    if rival > 0.0:
        return f"ambiguous: {estimate.modes[0].mass:.0%} here, {rival:.0%} there".replace("%", " %")
    return ""


def _at_end(estimate: PoseEstimate, search: PoseSearch, limits: PoseLimits) -> str:
    """Why an answer may be the slope of a hill outside of what was searched; empty where it is not."""
    pose = estimate.pose
    reach_m, offset_m = search.reach_m, float(np.abs(pose[:2]).max())
    if offset_m > reach_m - limits.rim_cells * search.cell_m:
        return f"the answer lies at the end of the search volume ({offset_m:.1f} m of {reach_m:.1f} m from the centre)"
    end_rad = search.coarse_turns().max() + search.coarse_turn_step_rad / 2.0
    if search.max_turn_rad < math.pi and abs(pose[2]) > end_rad - limits.rim_turns * search.turn_step_rad:
        turn_deg, end_deg = math.degrees(pose[2]), math.degrees(end_rad)
        return f"the heading is off by {abs(turn_deg):.1f}°, the end of what was searched ({end_deg:.1f}°)"
    return ""


def _rival_mass(estimate: PoseEstimate, search: PoseSearch, limits: PoseLimits) -> float:
    """The mass of the largest other place that the first mode has to fear; 0 where there is none."""
    first, *others = estimate.modes
    if first.mass >= limits.ambiguous_mass:
        return 0.0
    for other in others:
        cells = np.abs(other.pose[:2] - first.pose[:2]).max() / search.cell_m
        turns = np.abs(wrap(other.pose[2:] - first.pose[2:]))[0] / search.turn_step_rad
        is_apart = cells > limits.apart_cells or turns > limits.apart_turns
        if is_apart and other.mass >= limits.rival_share * first.mass:
            return other.mass
    return 0.0
