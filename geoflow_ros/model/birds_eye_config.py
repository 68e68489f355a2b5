"""What a bird's-eye network is, beside the camera, the ground and the search that it was made for."""

from __future__ import annotations

from dataclasses import dataclass

from geoflow_ros.bundle.birds_eye import BirdsEyeGeometry
from geoflow_ros.errors import InputError
from geoflow_ros.inference.pose_search import PoseSearch, search_of


@dataclass(frozen=True)
class BirdsEyeConfig(BirdsEyeGeometry):
    """A bird's-eye network; the defaults are the small one at half size.

    Attributes:
        width: channels of the encoders' first stage; the stages at stride 2, 4, 8 and 16 have 1, 2, 4 and 4 times it.
        blocks: residual blocks of each stage.
        refine_kernel: first kernel of the block that refines what was laid on the ground; 7 in the paper.
        fine_channels: features of a fine cell.
        coarse_channels: features of a coarse cell, two fine cells wide.
    """

    width: int = 16
    blocks: int = 1
    refine_kernel: int = 3
    fine_channels: int = 8
    coarse_channels: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "blocks", "fine_channels", "coarse_channels"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.refine_kernel < 1 or self.refine_kernel % 2 == 0:
            raise InputError(f"refine_kernel is {self.refine_kernel}; it must be odd")

    @property
    def search(self) -> PoseSearch:
        """The volume of poses that is searched."""
        return search_of(self)


PAPER_ENCODERS = {"width": 64, "blocks": 2, "refine_kernel": 7, "fine_channels": 32, "coarse_channels": 256}
"""Sizes of the paper: two residual blocks a stage as in a ResNet-18, 256 channels per cell of 8 pixels of 0.2 m."""
