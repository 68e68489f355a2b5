"""The rigid motion in the plane that weighted points make, by least squares: position, turn and their covariance.

The weighted Procrustes (Kabsch) problem of "Learning Dense Flow Field for Highly-accurate Cross-view Camera
Localization" (NeurIPS 2023, appendix). In the plane its solution is an arc tangent, so that no reflection is possible,
no sign is left open and no singular value decomposition has to be differentiated or exported.

Points are (forward, right); a turn t takes (f, r) to (f cos t - r sin t, f sin t + r cos t), as in
`birds_eye_matching.turned`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LEAST_WEIGHT = 1e-12  # of all points together: with less there is none
_LEAST_SPREAD = 1e-6  # square units: points nearer together, or matches, show no turn
_UNKNOWNS = 3  # two observations per point determine them: forward, right, turn


class RigidFit(NamedTuple):
    """A fitted motion and how well its points determine it.

    Attributes:
        pose: (B, 3) forward, right (in the points' unit) and turn (radians).
        information: (B, 3, 3) matrix of the normal equations for residuals of unit variance: of forward, right, turn.
        variance: (B,) of the residuals on each axis, square units; infinite where too few points have weight.
    """

    pose: Tensor
    information: Tensor
    variance: Tensor


def rigid_fit(points: Tensor, matches: Tensor, weights: Tensor) -> RigidFit:
    """Fits matches = translation + rotation(turn) points.

    Weights that are scaled together change nothing. A weight says how much a point is to be trusted, not its variance:
    N points with unequal weights count as Kish's (sum w)^2 / sum w^2 equal ones, which is less.

    Args:
        points: (B, N, 2).
        matches: (B, N, 2) where they were found.
        weights: (B, N), not negative.

    Returns:
        The motion. Where the points do not show the turn (only one has weight, or all are in one place) it is 0, and
        where none has weight the motion is none.
    """
    total = weights.sum(dim=1, keepdim=True)
    share = weights / total.clamp_min(_LEAST_WEIGHT)
    point, match = (share[..., None] * points).sum(dim=1), (share[..., None] * matches).sum(dim=1)
    from_point, from_match = points - point[:, None], matches - match[:, None]
    along = (share * (from_point * from_match).sum(dim=2)).sum(dim=1)
    across = (share * (from_point[..., 0] * from_match[..., 1] - from_point[..., 1] * from_match[..., 0])).sum(dim=1)
    # an arc tangent of nothing has no derivative: where the turn is not shown its arguments are constants
    is_shown = along.square() + across.square() > _LEAST_SPREAD**2
    turn = torch.atan2(
        torch.where(is_shown, across, torch.zeros_like(across)), torch.where(is_shown, along, torch.ones_like(along))
    )
    translation = match - rotated(point[:, None], turn)[:, 0]
    residual = from_match - rotated(from_point, turn)
    pose = torch.cat((translation, turn[:, None]), dim=1)
    effective = 1.0 / share.square().sum(dim=1).clamp_min(_LEAST_WEIGHT)
    effective = torch.where(total[:, 0] > _LEAST_WEIGHT, effective, torch.zeros_like(effective))
    information = effective[:, None, None] * _mean_information(rotated(points, turn), share)
    return RigidFit(pose, information, _variance(residual, share, effective))


def rotated(points: Tensor, turn: Tensor) -> Tensor:
    """Turns (B, N, 2) points by (B,) radians."""
    cosine, sine = torch.cos(turn)[:, None], torch.sin(turn)[:, None]
    forward, right = points[..., 0], points[..., 1]
    return torch.stack((forward * cosine - right * sine, forward * sine + right * cosine), dim=2)


def moved(points: Tensor, pose: Tensor) -> Tensor:
    """Turns and moves (B, N, 2) points by (B, 3) poses."""
    return rotated(points, pose[:, 2]) + pose[:, None, :2]


def composed(first: Tensor, then: Tensor) -> Tensor:
    """Returns the pose (B, 3) that is `then` in the frame of `first`: moves points by `then`, and that by `first`."""
    return torch.cat((moved(then[:, None, :2], first)[:, 0], first[:, 2:] + then[:, 2:]), dim=1)


def seen_from(frame: Tensor, pose: Tensor) -> Tensor:
    """Returns the pose (B, 3) in the frame of another: what `composed` puts behind that one to give it back."""
    place = rotated((pose[:, :2] - frame[:, :2])[:, None], -frame[:, 2])[:, 0]
    return torch.cat((place, pose[:, 2:] - frame[:, 2:]), dim=1)


def covariance(fit: RigidFit) -> Tensor:
    """Returns the (B, 3, 3) covariance of a fit's pose: variance times the inverse of its information.

    The residuals are taken as independent. Where the points determine no turn, or there are too few, the diagonal is
    infinite and the rest 0.
    """
    n = fit.information[:, 0, 0]
    is_any = n > 0.0
    count = torch.where(is_any, n, torch.ones_like(n))
    u, v = fit.information[:, 0, 2] / count, fit.information[:, 1, 2] / count
    spread = fit.information[:, 2, 2] / count - u.square() - v.square()
    is_known = is_any & (spread > _LEAST_SPREAD) & torch.isfinite(fit.variance)
    spread = torch.where(is_known, spread, torch.ones_like(spread))
    # the inverse of [[1, 0, u], [0, 1, v], [u, v, spread + u^2 + v^2]]
    inverse = _symmetric(
        (1.0 + u.square() / spread, u * v / spread, -u / spread, 1.0 + v.square() / spread, -v / spread, 1.0 / spread)
    )
    scale = torch.where(is_known, fit.variance, torch.ones_like(fit.variance)) / count
    unknown = torch.diag(torch.full((3,), torch.inf, device=n.device, dtype=n.dtype))
    return torch.where(is_known[:, None, None], scale[:, None, None] * inverse, unknown)


def _mean_information(turned: Tensor, share: Tensor) -> Tensor:
    """Returns the weighted mean of J^T J, J = [1 0 -r; 0 1 f] being what the pose does to a turned point (f, r)."""
    u, v = -(share * turned[..., 1]).sum(dim=1), (share * turned[..., 0]).sum(dim=1)
    ones = share.sum(dim=1)  # 0 where there is no weight at all
    squares = (share * turned.square().sum(dim=2)).sum(dim=1)
    return _symmetric((ones, torch.zeros_like(ones), u, ones, v, squares))


def _variance(residual: Tensor, share: Tensor, effective: Tensor) -> Tensor:
    """Returns the (B,) unbiased variance of residuals (B, N, 2) on an axis, infinite with no more than the unknowns."""
    square = (share * residual.square().sum(dim=2)).sum(dim=1)
    freedom = 2.0 * effective - _UNKNOWNS
    is_known = freedom > 0.0
    factor = effective / torch.where(is_known, freedom, torch.ones_like(freedom))
    return torch.where(is_known, square * factor, torch.full_like(square, torch.inf))


def _symmetric(upper: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Returns (B, 3, 3) matrices from their upper triangle, row by row, (B,) each."""
    a, b, c, d, e, f = upper
    return torch.stack((a, b, c, b, d, e, c, e, f), dim=1).reshape(-1, 3, 3)
