"""Dense class heads on the encoders' features: they exist while training and are never part of the released network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoflow_ros.errors import InputError
from geoflow_ros.model.efficientnet import FEATURE_CHANNELS, STRIDE


class DenseHead(nn.Module):
    """A 1x1 convolution that tells the class of every cell of a token: (n, 320, h, w) to (n, C, h * cells, w * cells).

    Args:
        classes: number of classes C.
        cells: cells per side of a token, 32 / cells pixels each.
    """

    def __init__(self, classes: int, cells: int) -> None:
        super().__init__()
        if classes < 2 or cells < 1 or STRIDE % cells:
            raise InputError(f"a dense head takes 2 or more classes and cells that divide {STRIDE}: {classes}, {cells}")
        self.cells = cells
        self.classify = nn.Conv2d(FEATURE_CHANNELS, classes * cells * cells, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Returns the logits of every cell."""
        return F.pixel_shuffle(self.classify(features), self.cells)


class DenseHeads(nn.ModuleDict):
    """The satellite's and the ground's head; either is absent where there are no classes for it."""

    def __init__(self, satellite_classes: int, ground_classes: int, cells: int) -> None:
        counts = {"satellite": satellite_classes, "ground": ground_classes}
        super().__init__({name: DenseHead(classes, cells) for name, classes in counts.items() if classes > 0})

    def logits(self, name: str, features: Tensor) -> Tensor | None:
        """Returns class logits in float32, or None where there is no such head."""
        return self[name](features).to(torch.float32) if name in self else None
