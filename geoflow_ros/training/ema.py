"""An exponential moving average of a network: what is validated and kept."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor

from geoflow_ros.model import Network

NetworkT = TypeVar("NetworkT", bound=Network)


class MovingAverage(Generic[NetworkT]):
    """A second network that follows the trained one.

    The average starts short, (1 + step) / (10 + step), so that it forgets the random start, and grows to `decay`.
    Statistics of the batch norms are averaged like the weights.
    """

    def __init__(self, model: NetworkT, decay: float) -> None:
        self.model: NetworkT = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.decay = decay
        source, average = model.state_dict(), self.model.state_dict()
        floating = [name for name, tensor in source.items() if tensor.is_floating_point()]
        self._source = [source[name] for name in floating]
        self._average = [average[name] for name in floating]
        self._counters = [(source[name], average[name]) for name in source if name not in set(floating)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follows the network after the step with this number, the first being 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._average, self._source, 1.0 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """Returns the average's state dict, counters of batches included."""
        for source, average in self._counters:
            average.copy_(source)
        return self.model.state_dict()
