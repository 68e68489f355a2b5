"""The losses of dense flow: of the flow itself, of its confidence and of the pose that follows.

They are those of "Learning Dense Flow Field for Highly-accurate Cross-view Camera Localization" (NeurIPS 2023).

Flows are (T, B, 2, F, R) over iterations, pairs, (forward, right) and the cells of the bird's-eye grid; `seen`
(B, 1, F, R) is 1 where the camera sees a cell whose true match lies on the patch, else 0. The paper measures flow in
pixels of its satellite images, and the weights of its losses with it: `PIXEL_M` metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geoflow_ros.bundle.image_sizes import IMAGE_SIZES, PATCH_EXTENT_M
from geoflow_ros.errors import InputError

PIXEL_M = PATCH_EXTENT_M / IMAGE_SIZES["full"].satellite_px
"""A pixel of the paper's satellite images."""

_SLOPE_TIMES_KAPPA = 10.0  # the authors' program has slopes of 0.05 and 0.5 where the paper says 200 and 20
_LEAST_DEVIATION = 1e-6  # of the distances: all alike have no order


@dataclass(frozen=True)
class FlowLossWeights:
    """The paper's sum: L_m + alpha L_c + beta L_p; beta and kappa change once, at epoch 15 of 30.

    Attributes:
        matching: of L_m; 1, or 0 to do without.
        gamma: an iteration weighs this much of the next one, in L_m and L_c.
        alpha: of L_c.
        kappa: of L_c, early and late: how gently confidence depends on a cell's distance.
        beta: of L_p, early and late.
    """

    matching: float = 1.0
    gamma: float = 0.8
    alpha: float = 100.0
    kappa: tuple[float, float] = (200.0, 20.0)
    beta: tuple[float, float] = (1.0, 10.0)

    def __post_init__(self) -> None:
        if min(self.matching, self.alpha, *self.beta) < 0.0 or not 0.0 < self.gamma <= 1.0 or min(self.kappa) <= 0.0:
            raise InputError("weights of losses must not be negative, gamma lies in (0, 1], kappa is positive")


def flow_matching_loss(flow: Tensor, truth: Tensor, seen: Tensor, gamma: float) -> Tensor:
    """Returns L_m: the mean absolute error of the flow's components, weighted over the iterations.

    Args:
        flow: (T, B, 2, F, R).
        truth: (B, 2, F, R), in the same unit.
        seen: (B, 1, F, R).
        gamma: as in `FlowLossWeights`.
    """
    error = _mean_over((flow - truth).abs().sum(dim=2, keepdim=True), seen) / 2.0
    return (error * _iteration_weights(error, gamma)).sum()


def confidence_loss(
    confidence: Tensor, flow: Tensor, truth: Tensor, seen: Tensor, kappa: float, gamma: float
) -> Tensor:
    """Returns L_c (eq. 5): cells whose flow is worse than average should not be trusted, better ones should.

    A cell's distance d is the sum of its absolute errors, standardised over all cells of the batch that are seen. The
    loss is the mean of S s(d) + (1 - S) s(-d), s being a logistic function with the slope 10 / kappa.

    Args:
        confidence: (T, B, 1, F, R), S.
        flow: (T, B, 2, F, R).
        truth: (B, 2, F, R).
        seen: (B, 1, F, R).
        kappa: as in `FlowLossWeights`.
        gamma: likewise.
    """
    distance = (flow - truth).abs().sum(dim=2, keepdim=True)
    mean = _mean_over(distance, seen)[:, None, None, None, None]
    count = seen.sum()
    square = ((distance - mean).square() * seen).flatten(1).sum(dim=1) / (count - 1.0).clamp_min(1.0)
    deviation = square.clamp_min(_LEAST_DEVIATION**2).sqrt()[:, None, None, None, None]
    worse = torch.sigmoid((_SLOPE_TIMES_KAPPA / kappa) * (distance - mean) / deviation)
    loss = _mean_over(confidence * worse + (1.0 - confidence) * (1.0 - worse), seen)
    return (loss * _iteration_weights(loss, gamma)).sum()


def pose_loss(pose: Tensor, truth: Tensor) -> Tensor:
    """Returns L_p: the mean over pairs of the absolute errors of forward and right (metres) and turn (degrees).

    Args:
        pose: (B, 3) forward and right in metres, turn in radians.
        truth: likewise.
    """
    position = (pose[:, :2] - truth[:, :2]).abs().sum(dim=1)
    turn = torch.remainder(pose[:, 2] - truth[:, 2] + math.pi, 2.0 * math.pi) - math.pi
    return (position + torch.rad2deg(turn.abs())).mean()


def _mean_over(value: Tensor, seen: Tensor) -> Tensor:
    """Returns the (T,) means of (T, B, 1, F, R) over the cells that are seen; 0 if none is."""
    return (value * seen).flatten(1).sum(dim=1) / seen.sum().clamp_min(1.0)


def _iteration_weights(loss: Tensor, gamma: float) -> Tensor:
    """Returns (T,) powers of gamma: 1 for the last iteration."""
    powers = torch.arange(len(loss) - 1, -1, -1, device=loss.device, dtype=loss.dtype)
    return torch.pow(gamma, powers)
