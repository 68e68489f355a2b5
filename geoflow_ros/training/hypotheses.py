"""Which guesses of the position a training step asks the head about."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geoflow_ros.errors import InputError


@dataclass(frozen=True)
class HypothesisSampling:
    """Many hypotheses per pair: most anywhere, the others near the truth so that the last refinements are trained too.

    Lengths are in search radii. The near ones lie at log-uniform distances between `near_min` and `near_max`.
    """

    count: int = 64
    extent: float = 1.2  # uniform in the square [-extent, extent]; beyond 1, as a refinement may overshoot
    near_share: float = 0.25
    near_min: float = 0.003
    near_max: float = 0.5

    def __post_init__(self) -> None:
        if self.count < 1 or not self.extent > 0.0 or not 0.0 <= self.near_share <= 1.0:
            raise InputError("hypotheses: count must be at least 1, extent positive and near_share in [0, 1]")
        if not 0.0 < self.near_min <= self.near_max:
            raise InputError("hypotheses: near_min must be positive and at most near_max")

    def draw(self, offset: Tensor, generator: torch.Generator) -> Tensor:
        """Draws (B, count, 2) hypotheses for the true `offset` (B, 2), from a generator on the same device."""
        device, pairs = offset.device, offset.shape[0]
        near = round(self.count * self.near_share)
        anywhere = torch.rand((pairs, self.count - near, 2), generator=generator, device=device)
        anywhere = (2.0 * anywhere - 1.0) * self.extent
        polar = torch.rand((pairs, near, 2), generator=generator, device=device)
        angle = 2.0 * math.pi * polar[..., 0]
        ratio = math.log(self.near_max / self.near_min)
        distance = self.near_min * torch.exp(ratio * polar[..., 1])
        around = torch.stack((angle.cos(), angle.sin()), dim=-1) * distance[..., None]
        return torch.cat((anywhere, offset[:, None] + around), dim=1)
