"""The images of a batch through the encoders: each image once, however many pairs it is part of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geoflow_ros.model import GeoFlow, normalize_images
from geoflow_ros.training.pairs import PairBatch

Encoder = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ImageFeatures:
    """Encoder features in float32: `satellite` (S, 320, h, w) and `ground` (G, 320, h, w)."""

    satellite: Tensor
    ground: Tensor


def encode_images(
    model: GeoFlow,
    batch: PairBatch,
    dtype: torch.dtype,
    satellite_encoder: Encoder | None = None,
    ground_encoder: Encoder | None = None,
) -> ImageFeatures:
    """Runs both encoders; with `dtype` bfloat16 under autocast.

    Everything after the encoders is small and stays in float32: bfloat16 has 8 bits, a grid of 8 cm in q.

    Args:
        model: the network.
        batch: the images, uint8.
        dtype: float32 or bfloat16.
        satellite_encoder: instead of the model's own, its compiled form.
        ground_encoder: likewise.
    """
    with torch.autocast(batch.ground.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        satellite = (satellite_encoder or model.sat_extractor)(normalize_images(batch.satellite))
        ground = (ground_encoder or model.grd_extractor)(normalize_images(batch.ground))
    return ImageFeatures(satellite=satellite.float(), ground=ground.float())
