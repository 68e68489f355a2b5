"""Pictures that no position can be read from, refused before anything is asked of the model."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import ImageError

# The smallest picture that is taken: this part of the model's input in both directions. Enlarged from less, it shows
# the model nothing but blur.
SMALLEST_SIDE = 1.0 / 8.0

# The least contrast, grey levels of 255: a view in full darkness has some (a lens cap, with the sensor's noise, none).
LEAST_CONTRAST = 0.5
# Contrast is that between the means of so many cells (columns, rows): they average noise away, and do not see blur.
_CELLS = (32, 8)

# A camera that shows the same picture, to the bit, over this way is frozen: what moves changes every picture.
MOST_FROZEN_M = 1.0
_EVERY = 8  # rows and columns of a picture that are compared


class PictureWatch:
    """Checks the pictures of one camera, one after the other."""

    def __init__(self) -> None:
        self._last = b""
        self._shown_m = 0.0

    def check(self, rgb: UInt8Array, manifest: Manifest, moved_m: float) -> None:
        """Refuses what `check_picture` does, and the same picture again although the vehicle has moved.

        Args:
            rgb: (H, W, 3) uint8.
            manifest: of the model that is to localize it.
            moved_m: since the picture before.

        Raises:
            ImageError: as `check_picture`, or the camera is frozen.
        """
        check_picture(rgb, manifest)
        seen = hashlib.blake2b(rgb[::_EVERY, ::_EVERY].tobytes(), digest_size=16).digest()
        self._shown_m = self._shown_m + moved_m if seen == self._last else 0.0
        self._last = seen
        if self._shown_m > MOST_FROZEN_M:
            raise ImageError(
                f"the camera is frozen: it shows the same picture although the vehicle has moved {self._shown_m:.1f} m"
            )


def check_picture(rgb: UInt8Array, manifest: Manifest) -> None:
    """Refuses a picture that is far too small for the model, or shows nothing.

    Args:
        rgb: (H, W, 3) uint8.
        manifest: of the model that is to localize it.

    Raises:
        ImageError: fewer pixels than `SMALLEST_SIDE` of the model's input, or a contrast below `LEAST_CONTRAST`.
    """
    height, width = rgb.shape[:2]
    least_width, least_height = (
        round(SMALLEST_SIDE * side) for side in (manifest.ground.width_px, manifest.ground.height_px)
    )
    if width < least_width or height < least_height:
        raise ImageError(
            f"the camera image has {width} x {height} pixels, too few for the model '{manifest.name}': "
            f"give {least_width} x {least_height} at least, better {manifest.ground.width_px} x "
            f"{manifest.ground.height_px}"
        )
    contrast = picture_contrast(rgb)
    if contrast < LEAST_CONTRAST:
        raise ImageError(
            f"the camera image shows nothing: its contrast is {contrast:.2f} grey levels of 255, and "
            f"{LEAST_CONTRAST} is the least (a covered lens, a black or empty picture?)"
        )


def picture_contrast(rgb: UInt8Array) -> float:
    """The standard deviation of brightness over a picture's coarse cells, grey levels (0 to 127.5).

    Args:
        rgb: (H, W, 3) uint8, not empty.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(cv2.resize(grey, _CELLS, interpolation=cv2.INTER_AREA).std())
