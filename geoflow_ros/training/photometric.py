"""Photometric changes of a batch's pictures, one by one on the CPU."""

from __future__ import annotations

import numpy as np
import torch

from geoflow_ros.world.photometric import PhotometricRanges, changed


def changed_pictures(
    pictures: torch.Tensor, ranges: PhotometricRanges, share: float, rng: np.random.Generator
) -> torch.Tensor:
    """Returns pictures (n, H, W, 3) uint8, a `share` of them changed, each in its own way, on their device."""
    images = [changed(picture, ranges, rng, share) for picture in pictures.cpu().numpy()]
    return torch.from_numpy(np.stack(images)).to(pictures.device)
