"""The two image sizes that models are trained and timed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class ImageSize:
    """Pixels of a model's inputs: side of the satellite patch, height and width of the camera image."""

    satellite_px: int
    ground_height_px: int
    ground_width_px: int


IMAGE_SIZES: Mapping[str, ImageSize] = MappingProxyType({
    "half": ImageSize(256, 128, 512),
    "full": ImageSize(512, 256, 1024),
})  # fmt: skip
"""The authors' images ("full"), and the same field of view in half the pixels each way."""

PATCH_EXTENT_M = 512 * 0.1958
"""Side of a patch on the ground, metres, whatever its pixels (section 4 of the paper: 512 px of 0.1958 m)."""
