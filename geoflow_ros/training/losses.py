"""The losses: where the truth lies from each hypothesis, and what only a training set knows besides.

All functions take and return float32 tensors and reduce to one number, a mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geoflow_ros.model import Displacement

MIN_DISTANCE = 1e-3  # of the search radius (2 cm): below it log r says nothing that matters
IGNORED_LABEL = 255
_MIN_ATTENTION = 1e-8  # keeps the logarithm of an attention weight finite


@dataclass(frozen=True)
class LossWeights:
    """Factors of the losses that are added to the two of the displacement, which have factor 1."""

    attention: float = 1.0
    satellite_labels: float = 0.5
    ground_labels: float = 0.5
    orientation: float = 1.0


def log_distance_nll(displacement: Displacement, q: Tensor, offset: Tensor) -> Tensor:
    """Returns the Gaussian negative log-likelihood of the log distance from each hypothesis to the truth.

    Args:
        displacement: the head's answer to `q`.
        q: (B, N, 2) hypotheses in search radii.
        offset: (B, 2) true position in search radii.
    """
    log_r = (offset[:, None] - q).norm(dim=-1).clamp_min(MIN_DISTANCE).log()
    variance = displacement.var_log_r
    nll: Tensor = 0.5 * (variance.log() + (log_r - displacement.mu_log_r).square() / variance).mean()
    return nll


def direction_nll(displacement: Displacement, q: Tensor, offset: Tensor) -> Tensor:
    """Returns the angular Mises-Fisher negative log-likelihood of the direction from each hypothesis to the truth.

    -log(kappa^2 + 1) + kappa theta + log(1 + exp(-kappa pi)), with theta the angle between the two directions (Bae et
    al., ICCV 2021, there for surface normals: the density is normalised over the sphere). Shapes as in
    `log_distance_nll`. Hypotheses nearer than `MIN_DISTANCE` have no direction and are left out.
    """
    towards = offset[:, None] - q
    distance = towards.norm(dim=-1)
    theta = angle_between(displacement.direction, towards)
    nll = angmf_nll(theta, displacement.kappa)
    counts = (distance >= MIN_DISTANCE).to(nll.dtype)
    mean: Tensor = (nll * counts).sum() / counts.sum().clamp_min(1.0)
    return mean


def angmf_nll(theta: Tensor, kappa: Tensor) -> Tensor:
    """Returns the AngMF loss of each angle `theta` in [0, pi] for a rate `kappa` > 0, less the constant log 2 pi."""
    return kappa * theta + F.softplus(-kappa * math.pi) - torch.log1p(kappa.square())


def angle_between(first: Tensor, second: Tensor) -> Tensor:
    """Returns the angle in [0, pi] between plane vectors (..., 2) of any length.

    By the arc tangent: unlike the arc cosine's, its gradient stays finite where the vectors are parallel.
    """
    dot = (first * second).sum(-1)
    cross = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return torch.atan2(cross.abs(), dot)


def orientation_loss(displacement: Displacement, heading_error_rad: Tensor) -> Tensor:
    """Returns 1 - cos of the angle between the predicted and the true (B,) heading error.

    Raises:
        ValueError: the network has no orientation head.
    """
    if displacement.orientation is None:
        raise ValueError("the network has no orientation head; there is nothing to compare the heading error with")
    truth = torch.stack((heading_error_rad.cos(), heading_error_rad.sin()), dim=-1)
    return (1.0 - (displacement.orientation * truth[:, None]).sum(-1)).mean()


def attention_cross_entropy(attention: Tensor, target: Tensor) -> Tensor:
    """Returns the cross-entropy of the ground tokens' attention, (B, Tg, Ts) each.

    Rows of `target` that sum to 0 are tokens that see nothing of the patch (sky, far away): they are ignored.
    """
    per_row = -(target * (attention + _MIN_ATTENTION).log()).sum(-1)
    known = (target.sum(-1) > 0).to(per_row.dtype)
    return (per_row * known).sum() / known.sum().clamp_min(1.0)


def label_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the cross-entropy of dense classes.

    Args:
        logits: (n, C, h, w).
        labels: (n, h, w) uint8; `IGNORED_LABEL` is ignored.
    """
    targets = labels.to(torch.int64)
    total = F.cross_entropy(logits, targets, ignore_index=IGNORED_LABEL, reduction="sum")
    return total / (targets != IGNORED_LABEL).sum().clamp_min(1)
