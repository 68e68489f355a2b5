"""What can be wrong with a camera's image or a map, as functions of a right one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.world import lens

_SENSOR_NOISE = 2.0  # grey levels, standard deviation: what a covered or blinded camera still gives
_BLUR_SHARE = 1.0 / 24.0  # radius (sigma) of a defocused lens, as a share of the image's height
_DIRT = 0.5  # part of the image behind dirt
_TILE_PX = 128  # side of a map tile in a patch
_TEXT = "Map data not yet available"

Change = Callable[[UInt8Array, np.random.Generator], UInt8Array]


def _covered(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    return _noisy(np.zeros_like(image), rng, _SENSOR_NOISE)


def _blinded(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    return _noisy(np.full_like(image, 255), rng, _SENSOR_NOISE)


def _noise(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    return np.asarray(rng.integers(0, 256, image.shape), np.uint8)


def _blurred(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _BLUR_SHARE * image.shape[0]), np.uint8)


def _dirty(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    return lens.dirt(image, _DIRT, rng)


def _upside_down(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    return np.ascontiguousarray(image[::-1, ::-1])


def _mirrored(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    return np.ascontiguousarray(image[:, ::-1])


IMAGES: Mapping[str, Change] = MappingProxyType(
    {
        "black": _covered,
        "white": _blinded,
        "noise": _noise,
        "blurred": _blurred,
        "dirt": _dirty,
        "upside_down": _upside_down,
        "mirrored": _mirrored,
    }
)
"""Changes of the camera's image, by their names."""


def rotated_map(patch: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Returns a patch (P, P, 3) turned by one to three quarters."""
    return np.ascontiguousarray(np.rot90(patch, int(rng.integers(1, 4))))


def placeholder_tiles(patch: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Returns a patch (P, P, 3) of what tile services send where they have no picture: one colour and some words."""
    tile = np.full((_TILE_PX, _TILE_PX, 3), rng.integers(150, 246), np.uint8)
    grey = int(tile[0, 0, 0]) - 60
    cv2.putText(tile, _TEXT, (4, _TILE_PX // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.28, (grey,) * 3, 1, cv2.LINE_AA)
    count = -(-patch.shape[0] // _TILE_PX) + 1
    row, column = rng.integers(0, _TILE_PX, 2)
    size = patch.shape[0]
    return np.ascontiguousarray(np.tile(tile, (count, count, 1))[row : row + size, column : column + size])


def _noisy(image: UInt8Array, rng: np.random.Generator, sigma: float) -> UInt8Array:
    return np.asarray(np.clip(image + rng.normal(0.0, sigma, image.shape) + 0.5, 0, 255), np.uint8)
