"""Pairs of noise for a tiny bird's-eye network: what a training step takes, with nothing to be learnt."""

from __future__ import annotations

import numpy as np
import torch

from geoflow_ros.training.pairs import PairBatch


class NoisePairs:
    """Places with two frames and two patches each, all of a place combined.

    Args:
        places: how many.
    """

    def __init__(self, places: int) -> None:
        self._places = places

    def batch(self, index: int) -> PairBatch:
        """Draws a batch of its number."""
        rng = np.random.default_rng([13, index])
        pictures, pairs = 2 * self._places, 4 * self._places

        def drawn(*shape: int) -> torch.Tensor:
            return torch.from_numpy(rng.integers(0, 256, (pictures, *shape, 3), dtype=np.uint8))

        first = 2 * torch.arange(self._places).repeat_interleave(4)
        return PairBatch(
            satellite=drawn(64, 64),
            ground=drawn(32, 128),
            satellite_index=first + torch.tensor([0, 1, 0, 1]).repeat(self._places),
            ground_index=first + torch.tensor([0, 0, 1, 1]).repeat(self._places),
            offset=torch.from_numpy(rng.uniform(-1, 1, (pairs, 2)).astype(np.float32)),
            heading_error_rad=torch.from_numpy(rng.normal(0, 0.05, pairs).astype(np.float32)),
        )

    def close(self) -> None:
        """Has nothing to release."""
