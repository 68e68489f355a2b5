"""The grid that cities are baked on, and images at several resolutions of it in one array."""

from __future__ import annotations

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array

CELL_M = 0.125  # side of a cell; cells of all windows coincide
LEVELS = 6  # of the image pyramids: 0.125 m to 4 m


def pyramid(image: UInt8Array) -> UInt8Array:
    """Returns an image's pyramid.

    Args:
        image: (side, side, 3) uint8; side a multiple of 32.

    Returns:
        (side, 1.5 side, 3): the image, and right of it, one below the other, each level at half the size of the last.
    """
    side = len(image)
    atlas = np.zeros((side, side * 3 // 2, 3), np.uint8)
    atlas[:, :side] = image
    row = 0
    for _ in range(LEVELS - 1):
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
        atlas[row : row + len(image), side : side + len(image)] = image
        row += len(image)
    return atlas
