"""The pictures that the benchmarks localize. Light to import: a process whose start is measured reads them with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import InputError
from geoflow_ros.images import decode_image
from geoflow_ros.tiles import SatellitePatch


@dataclass(frozen=True, eq=False)
class Pictures:
    """A camera image as it comes from the vehicle, and the satellite picture under it.

    Attributes:
        jpeg: bytes of the camera image, larger than the model's input and of its camera's aspect ratio.
        satellite: (P, P, 3) uint8 RGB.
    """

    jpeg: UInt8Array
    satellite: UInt8Array

    def patch(self, manifest: Manifest) -> SatellitePatch:
        """Returns a new patch, for which nothing has been encoded yet."""
        return SatellitePatch(self.satellite, manifest.patch_frame(0.0, 0.0, 0.0))

    def decode(self) -> UInt8Array:
        """Decodes the camera image to RGB uint8 (h, w, 3), as the node decodes a compressed one.

        Raises:
            InputError: not a picture.
        """
        rgb = decode_image(self.jpeg)
        if rgb is None:
            raise InputError("the benchmark's camera image cannot be decoded: it was damaged")
        return rgb

    def save(self, path: Path) -> None:
        """Writes both to a file for another process."""
        np.savez(path, jpeg=self.jpeg, satellite=self.satellite)

    @classmethod
    def load(cls, path: Path) -> Pictures:
        """Reads what `save` wrote."""
        with np.load(path) as content:
            return cls(content["jpeg"], content["satellite"])
