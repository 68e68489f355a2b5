"""What a training step is fed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class PairBatch:
    """Camera images and satellite patches of several places, and which of them are pairs.

    Several frames and patches of one place are combined, so there may be more pairs (B) than patches (S) or frames (G):
    pair `b` is `satellite[satellite_index[b]]` with `ground[ground_index[b]]`.

    Attributes:
        satellite: (S, P, P, 3) uint8 RGB.
        ground: (G, H, W, 3) uint8 RGB.
        satellite_index: (B,) int64.
        ground_index: (B,) int64.
        offset: (B, 2) float32 true (forward, right) of the camera from the patch's centre, over the search radius.
        heading_error_rad: (B,) float32.
        attention: (B, Tg, Ts) float32, the share of each ground token's pixels that see each satellite cell;
            rows sum to 1, or to 0 where the token sees nothing on the patch. None if the data does not know.
        satellite_labels: (S, h, w) uint8 class of the ground, coarser than the image by a whole factor, or None.
        ground_labels: (G, h, w) uint8, likewise.
        camera: (G, 3) float32, row of the horizon of the ground ahead in pixels, height above the ground in metres and
            roll in radians, as each camera stood. None if the data does not know.
    """

    satellite: torch.Tensor
    ground: torch.Tensor
    satellite_index: torch.Tensor
    ground_index: torch.Tensor
    offset: torch.Tensor
    heading_error_rad: torch.Tensor
    attention: torch.Tensor | None = None
    satellite_labels: torch.Tensor | None = None
    ground_labels: torch.Tensor | None = None
    camera: torch.Tensor | None = None


class PairSource(Protocol):
    """Where training pairs come from."""

    def batch(self, index: int) -> PairBatch:
        """Returns the `index`-th batch: a function of the settings and `index` alone, so that a run can be resumed."""
        ...

    def close(self) -> None:
        """Releases workers and memory."""
        ...
