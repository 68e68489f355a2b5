"""The images that a method is given, held against what its model takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bundle.manifest import NORTH_UP, Manifest
from geoflow_ros.errors import ImageError, InputError, TileMissingError
from geoflow_ros.tiles import SatellitePatch

ASPECT_TOLERANCE = 0.03
"""Relative difference of width / height that resizing may swallow: a row or two of cropping, not another lens."""

LEAST_GROUND_SHARE = 0.7
"""Of a patch, that must show ground: what a straight border leaves that just spares the search area (20 m beside the
middle of 100 m). On patches of which half is left, mean errors are several times those on whole ones."""

_RESOLUTION_TOLERANCE = 1e-3
_LEAST_BLANK_HEIGHT_PX = 8

Encoded = TypeVar("Encoded")


class KeptPatches(Generic[Encoded]):
    """What a method has encoded of the last two patches, the one in use and the next. Thread-safe.

    Args:
        manifest: of the model; patches that do not fit it are refused.
        encode: encodes the pixels (1, P, P, 3) of one patch; called by one thread at a time.
    """

    def __init__(self, manifest: Manifest, encode: Callable[[UInt8Array], Encoded]) -> None:
        self._manifest, self._encode = manifest, encode
        self._encoding = threading.Lock()
        self._kept: tuple[tuple[SatellitePatch, Encoded], ...] = ()  # replaced as a whole: read without the lock

    def encoded(self, patch: SatellitePatch) -> Encoded:
        """What is encoded of a patch: kept from the last call with the same object, or computed now.

        Raises:
            InputError: the patch does not fit the model.
            TileMissingError: it shows too little ground.
            BackendError: the back end failed.
        """
        for kept, encoded in self._kept:
            if kept is patch:
                return encoded
        with self._encoding:
            for kept, encoded in self._kept:  # another thread was quicker
                if kept is patch:
                    return encoded
            check_patch(patch, self._manifest)
            encoded = self._encode(patch.pixels[None])
            self._kept = (*self._kept[-1:], (patch, encoded))
            return encoded


def searched_radius_m(manifest: Manifest, position_error_m: float | None) -> float:
    """How far from a patch's centre the camera is looked for: as far as it may be, or as the model can search.

    Raises:
        InputError: it is not positive, or larger than the model's search radius.
    """
    if position_error_m is None:
        return manifest.search_radius_m
    if not 0.0 < position_error_m <= manifest.search_radius_m:
        raise InputError(
            f"the position may be wrong by up to {position_error_m:g} m, but the model '{manifest.name}' searches more "
            f"than 0 and up to {manifest.search_radius_m:g} m: give a better position"
        )
    return position_error_m


def blank_inputs(manifest: Manifest) -> tuple[UInt8Array, SatellitePatch]:
    """A black image and a black patch that fit a model."""
    frame = manifest.patch_frame(0.0, 0.0, 0.0)
    patch = SatellitePatch(np.zeros((frame.size_px, frame.size_px, 3), np.uint8), frame)
    height = max(_LEAST_BLANK_HEIGHT_PX, manifest.ground.height_px)
    return np.zeros((height, round(height * manifest.camera.aspect_ratio), 3), np.uint8), patch


def fit_image(ground: UInt8Array, manifest: Manifest) -> UInt8Array:
    """The camera image (h, w, 3) at the model's size (H, W, 3).

    Raises:
        ImageError: it is not RGB uint8, is empty, or has another aspect ratio than the model's camera.
    """
    if not isinstance(ground, np.ndarray) or ground.ndim != 3 or ground.shape[2] != 3:
        found = f"shape {ground.shape}" if isinstance(ground, np.ndarray) else type(ground).__name__
        raise ImageError(f"the camera image must be RGB (height, width, 3), got {found}")
    if ground.dtype != np.uint8:
        raise ImageError(f"the camera image must be uint8 (0 to 255), got {ground.dtype}: convert it first")
    height, width = ground.shape[:2]
    if height == 0 or width == 0:
        raise ImageError(f"the camera image is empty ({height} x {width})")
    wanted = manifest.camera.aspect_ratio
    if abs(width / height / wanted - 1.0) > ASPECT_TOLERANCE:
        raise ImageError(
            f"the camera image is {width} x {height} (width / height {width / height:.2f}), but the model "
            f"'{manifest.name}' was made for {wanted:.2f}: give the camera's calibration (the topic camera_info, "
            "camera.info_file, --calibration), or crop the image to that ratio"
        )
    size = (manifest.ground.width_px, manifest.ground.height_px)
    if (width, height) == size:
        return np.ascontiguousarray(ground)
    # Area averaging shrinks without aliasing; enlarging with it would only repeat pixels.
    shrinking = width >= size[0] and height >= size[1]
    interpolation = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(ground, size, interpolation=interpolation), np.uint8)


def check_patch(patch: SatellitePatch, manifest: Manifest) -> None:
    """Refuses a patch that is not what the model was trained to see.

    Raises:
        InputError: its size, type, ground resolution or alignment is another.
        TileMissingError: less than `LEAST_GROUND_SHARE` of it shows ground.
    """
    size = manifest.satellite.size_px
    if patch.pixels.shape != (size, size, 3) or patch.pixels.dtype != np.uint8:
        raise InputError(
            f"the satellite patch is {patch.pixels.dtype} {patch.pixels.shape}, but the model '{manifest.name}' takes "
            f"uint8 ({size}, {size}, 3): cut it with the frame of manifest.patch_frame"
        )
    wanted_m, found_m = manifest.satellite.ground_resolution_m, patch.frame.ground_resolution_m
    if patch.frame.size_px != size or abs(found_m / wanted_m - 1.0) > _RESOLUTION_TOLERANCE:
        raise InputError(
            f"the satellite patch has {found_m:.4f} m per pixel, but the model '{manifest.name}' takes {wanted_m:.4f}: "
            "cut it with the frame of manifest.patch_frame"
        )
    if manifest.alignment == NORTH_UP and abs(patch.frame.yaw_rad) > 1e-6:
        raise InputError(f"the model '{manifest.name}' takes north-up patches: cut it with manifest.patch_frame")
    if patch.ground_share < LEAST_GROUND_SHARE:
        rest = ", ".join(f"{kind.words} {100 * share:.0f} %" for kind, share in patch.shares_without_ground.items())
        raise TileMissingError(
            f"only {100 * patch.ground_share:.0f} % of the satellite patch shows ground ({rest}), and "
            f"{100 * LEAST_GROUND_SHARE:.0f} % are needed: take a map that covers the place"
        )
