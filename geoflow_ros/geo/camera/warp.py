"""A real camera's image as a level virtual camera would have taken it."""

from __future__ import annotations

import cv2
import numpy as np

from geoflow_ros.arrays import BoolArray, Float64Array, UInt8Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.geo.camera.intrinsics import Intrinsics

HEIGHT_RATIO = 3.0
"""The real camera may be so many times as high as the virtual one, or as low."""


class CameraWarp:
    """One table of where the virtual camera's pixels are in the real one's image, and which of them are in it at all.

    The virtual camera may be at another height: the rays' slopes are multiplied by the ratio of the heights, so that
    every point on level ground keeps its place before the vehicle. What stands on the ground becomes taller or shorter
    by that ratio, as if the world were.

    Args:
        intrinsics: of the real camera's images.
        optical_of_level: (3, 3) rotation of level axes (forward, left, up) into the real camera's optical ones.
        virtual: the camera to look through.
        height_m: of the real camera above the ground.

    Attributes:
        covered: (H, W) bool, which of the virtual camera's pixels the real one shows; not to be written to.

    Raises:
        InputError: the heights differ by more than `HEIGHT_RATIO`.
    """

    def __init__(
        self, intrinsics: Intrinsics, optical_of_level: Float64Array, virtual: VirtualCamera, height_m: float
    ) -> None:
        ratio = height_m / virtual.height_m
        if not 1.0 / HEIGHT_RATIO <= ratio <= HEIGHT_RATIO:
            raise InputError(
                f"the camera is {height_m:g} m above the ground, and the model's {virtual.height_m:g} m: more than "
                f"{HEIGHT_RATIO:g} times as high or low cannot be made up for; check the camera's height"
            )
        rays = _level_rays(virtual)
        rays[..., 2] *= ratio
        pixels = intrinsics.project(rays @ optical_of_level.T)
        with np.errstate(invalid="ignore"):
            covered = (pixels >= -0.5) & (pixels <= (intrinsics.width_px - 0.5, intrinsics.height_px - 0.5))
        self.covered: BoolArray = np.asarray(covered.all(axis=-1))
        self.covered.flags.writeable = False
        self._size = intrinsics.width_px, intrinsics.height_px
        self._reduced = _reduced_size(pixels, self.covered, self._size)
        scale = np.array(self._reduced) / self._size
        table = _filled((pixels + 0.5) * scale - 0.5, self.covered).astype(np.float32)
        self._columns, self._rows = np.ascontiguousarray(table[..., 0]), np.ascontiguousarray(table[..., 1])

    def __call__(self, rgb: UInt8Array) -> UInt8Array:
        """Returns the virtual camera's image (H, W, 3); where the real one shows nothing, its nearest pixel again.

        Networks that cannot be told which pixels to leave out are misled by black ones far more.

        Args:
            rgb: (height_px, width_px, 3) of the intrinsics.
        """
        # Area averaging first: reading single pixels of a large image would alias.
        small = rgb if self._reduced == self._size else cv2.resize(rgb, self._reduced, interpolation=cv2.INTER_AREA)
        warped = cv2.remap(small, self._columns, self._rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, np.uint8)


def _level_rays(virtual: VirtualCamera) -> Float64Array:
    """Rays (H, W, 3) of the virtual camera's pixels in level axes (forward, left, up), 1 forward."""
    right = (np.arange(virtual.width_px) - (virtual.width_px - 1) / 2.0) / virtual.focal_px
    down = (np.arange(virtual.height_px) - virtual.horizon_row_px) / virtual.focal_px
    shape = virtual.height_px, virtual.width_px
    return np.stack([np.ones(shape), np.broadcast_to(-right, shape), np.broadcast_to(-down[:, None], shape)], axis=-1)


def _filled(table: Float64Array, covered: BoolArray) -> Float64Array:
    """The table (H, W, 2) with the entries of pixels that are not covered taken from the nearest that are."""
    if covered.all() or not covered.any():
        return np.nan_to_num(table)
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    entry_of_label = np.zeros((int(labels.max()) + 1, 2))
    entry_of_label[labels[covered]] = table[covered]
    return np.asarray(entry_of_label[labels])


def _reduced_size(pixels: Float64Array, covered: BoolArray, size: tuple[int, int]) -> tuple[int, int]:
    """The size (width, height) of the real image at which its pixels are about as large as the virtual ones."""
    across, down = np.diff(pixels, axis=1)[:-1], np.diff(pixels, axis=0)[:, :-1]
    area = np.abs(across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0])
    area = area[covered[:-1, :-1] & np.isfinite(area)]
    times = max(1, round(float(np.sqrt(np.median(area))))) if area.size else 1
    return max(1, round(size[0] / times)), max(1, round(size[1] / times))
