"""The batch norms' running statistics over steps that may not be finite."""

from __future__ import annotations

import torch
from torch import Tensor

from geoflow_ros.model import Network


class GoodStatistics:
    """The running statistics, put back after a step that was not finite.

    A forward pass changes them before its loss is known, and one NaN in them would stay for good.
    """

    def __init__(self, model: Network) -> None:
        self._buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._sizes = [buffer.numel() for buffer in self._buffers]
        self.remember()

    def remember(self) -> None:
        """Takes the present ones as good."""
        self._good = torch.cat([buffer.flatten() for buffer in self._buffers])

    @torch.no_grad()
    def keep_if(self, is_finite: Tensor) -> None:
        """Keeps the present ones if the step was finite, else puts the last good ones back, without asking which."""
        present = torch.cat([buffer.flatten() for buffer in self._buffers])
        self._good = torch.where(is_finite, present, self._good)
        good = [part.view_as(buffer) for part, buffer in zip(self._good.split(self._sizes), self._buffers, strict=True)]
        torch._foreach_copy_(self._buffers, good)
