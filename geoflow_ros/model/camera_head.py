"""How the camera stands, from its image alone: horizon, vanishing points and what is upright tell it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoflow_ros.bundle.birds_eye import ORDINARY_STANCE

_LEAST_SIGMA = (math.radians(0.05), math.radians(0.05), 0.005)
_HIDDEN = 64


class CameraStance(NamedTuple):
    """Normal distributions of what differs from the assumed camera: pitch and roll in radians, log of the height.

    Pitch is of the optical axis against the ground ahead, positive upwards; roll about it, positive to the right.

    Attributes:
        mean: (B, 3).
        sigma: (B, 3).
    """

    mean: Tensor
    sigma: Tensor


class CameraHead(nn.Module):
    """Features (B, C, h, w) of images, at a quarter of their size, to a `CameraStance`.

    Args:
        channels: C.
        height: h.
        width: w.
    """

    assumed: Tensor
    least: Tensor

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.first = nn.Conv2d(channels, channels, 4, 2, 1)
        self.second = nn.Conv2d(channels, half, 4, 2, 1)
        cells = (height // 4) * (width // 4)
        self.hidden = nn.Linear(half * cells, _HIDDEN)
        self.last = nn.Linear(_HIDDEN, 2 * len(ORDINARY_STANCE))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("assumed", torch.tensor(ORDINARY_STANCE), persistent=False)
        self.register_buffer("least", torch.tensor(_LEAST_SIGMA), persistent=False)

    def forward(self, features: Tensor) -> CameraStance:
        """Estimates how each camera stands."""
        x = F.relu(self.second(F.relu(self.first(features))))
        mean, log_sigma = self.last(F.relu(self.hidden(x.flatten(1)))).chunk(2, dim=1)
        return CameraStance(mean * self.assumed, self.least + self.assumed * log_sigma.clamp(-6.0, 3.0).exp())
