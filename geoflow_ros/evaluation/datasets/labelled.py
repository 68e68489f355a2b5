"""What a reader of recorded data gives evaluation: camera images on patches around priors whose error is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import InputError
from geoflow_ros.geo.camera import LEVEL, Attitude, Intrinsics, Mounting
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.world.priors import HeadingError
from geoflow_ros.world.scenes import Scene


class PairSkippedError(InputError):
    """A pair that a data set names and that cannot be used.

    Attributes:
        reason: in a few words, the same for all pairs with it: they are counted by it.
    """

    def __init__(self, reason: str, details: str) -> None:
        super().__init__(f"{reason}: {details}")
        self.reason = reason


@dataclass(frozen=True, eq=False)
class LabelledPair:
    """One camera image and the satellite patch around a wrong prior.

    Attributes:
        name: of the image in its data set.
        ground: (h, w, 3) uint8 RGB as the camera took it.
        patch: cut at the prior, in the size and scale of the model that is asked.
        offset_m: (2,) the camera's true (forward, right) from the patch's centre in the patch's frame, metres.
        heading_error_rad: the patch's yaw less the camera's.
        drive: number of the drive; pairs of one are alike, and intervals are over drives.
        intrinsics: of the image's lens; taken for the model's where None.
        mounting: of the camera; only its leaning and height count.
        vehicle: how the vehicle leant.
        scenes: what it is of.
    """

    name: str
    ground: UInt8Array
    patch: SatellitePatch
    offset_m: Float64Array
    heading_error_rad: float
    drive: int
    intrinsics: Intrinsics | None = None
    mounting: Mounting = Mounting()
    vehicle: Attitude = LEVEL
    scenes: frozenset[Scene] = frozenset()


class PairReader(Protocol):
    """Reads the pairs of one split of a data set; pair `i` is a function of the files, the seed and `i` alone."""

    @property
    def title(self) -> str:
        """Which pairs, in a few words."""
        ...

    @property
    def prior_radius_m(self) -> float:
        """Largest error of the prior on both axes, which localizers are told."""
        ...

    @property
    def heading(self) -> HeadingError:
        """How wrong the assumed heading is."""
        ...

    def __len__(self) -> int:
        """How many pairs the split names."""
        ...

    def pair(self, index: int, manifest: Manifest) -> LabelledPair:
        """Reads one pair.

        Args:
            index: of the pair.
            manifest: of the model, which says the patch's size and scale.

        Raises:
            PairSkippedError: the pair cannot be used.
        """
        ...


def north_up_patch(picture: UInt8Array, metres_per_px: float, frame: PatchFrame, name: str) -> SatellitePatch:
    """Cuts a patch from a north-up satellite picture, resampled once; finer pixels are averaged.

    Args:
        picture: (h, w, 3) RGB uint8; its middle is the origin of the map that the frame lies in.
        metres_per_px: of the picture.
        frame: of the patch.
        name: of the picture, for messages.

    Raises:
        PairSkippedError: the patch reaches beyond the picture.
    """
    finer = max(1, round(frame.ground_resolution_m / metres_per_px))
    side = frame.size_px * finer
    fine = PatchFrame(frame.centre_east_m, frame.centre_north_m, frame.yaw_rad, side, frame.ground_resolution_m / finer)
    height, width = picture.shape[:2]
    columns, rows = np.meshgrid(np.arange(side), np.arange(side))
    enu = fine.to_enu(np.stack([columns, rows], axis=-1))
    x = (width - 1) / 2.0 + enu[..., 0] / metres_per_px
    y = (height - 1) / 2.0 - enu[..., 1] / metres_per_px
    if min(x.min(), y.min()) < 0.0 or x.max() > width - 1 or y.max() > height - 1:
        raise PairSkippedError("patch beyond the satellite picture", f"{name} ({width} x {height})")
    sampled = cv2.remap(picture, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    size = (frame.size_px, frame.size_px)
    pixels = sampled if finer == 1 else cv2.resize(sampled, size, interpolation=cv2.INTER_AREA)
    return SatellitePatch(np.asarray(pixels, np.uint8), frame)
