"""Grain, stains and meadows: textures that follow from a place alone, so that neighbouring windows fit."""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Int64Array, UInt8Array
from geoflow_ros.world.cells import CELL_M

_TILE = 1024  # cells (128 m) after which the noise repeats
_OCTAVES = ((1, 0.5), (4, 0.6), (16, 0.9), (64, 0.7))  # cells per knot and weight: from grain to stains of metres
_NOISE_GAIN = 42  # the sum's standard deviation becomes about half of int8's range
_PAD = 2  # knots repeated around the tile, so that it has no seam

_MEADOW_KNOTS, _MEADOW_KNOT_M = 64, 16  # the pattern of meadows repeats after 1024 m
_MEADOW_TONES = [0.4, 0.55, 0.7]  # the noise at which one sort of grass gives way to the next


@cache
def _noise_tile() -> npt.NDArray[np.int8]:
    """Returns (1024, 1024) noise over 128 m that repeats without a seam: from grain to stains of several metres."""
    rng = np.random.default_rng(1)
    total = np.zeros((_TILE, _TILE), np.float32)
    for cell, weight in _OCTAVES:
        n = _TILE // cell
        small = np.pad(rng.standard_normal((n, n)).astype(np.float32), _PAD, mode="wrap")
        large = cv2.resize(small, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        total += weight * large[_PAD * cell : _PAD * cell + _TILE, _PAD * cell : _PAD * cell + _TILE]
    return np.clip(total * _NOISE_GAIN, -127, 127).astype(np.int8)


def _place(west_m: float, north_m: float, side: int, tile: int) -> tuple[Int64Array, Int64Array]:
    rows = (np.arange(side) - int(round(north_m / CELL_M))) % tile
    columns = (np.arange(side) + int(round(west_m / CELL_M))) % tile
    return rows, columns


@lru_cache(maxsize=2)
def grain(west_m: float, north_m: float, side: int) -> npt.NDArray[np.int16]:
    """Returns the (side, side) noise, -127..127, of the window with that upper left corner; read it only."""
    rows, columns = _place(west_m, north_m, side, _TILE)
    return _noise_tile()[rows][:, columns].astype(np.int16)


def meadow(seed: int, west_m: float, north_m: float, side: int) -> UInt8Array:
    """Returns which of four sorts of grass grows in each of (side, side) cells: soft patches, one value a metre."""
    rng = np.random.default_rng([seed, 41])
    knots, knot_m = _MEADOW_KNOTS, _MEADOW_KNOT_M
    small = np.pad(rng.random((knots, knots)).astype(np.float32), 1, mode="wrap")
    whole = (knots + 2) * knot_m
    large = cv2.resize(small, (whole, whole), interpolation=cv2.INTER_LINEAR)[knot_m:-knot_m, knot_m:-knot_m]
    metres, period = int(side * CELL_M), knots * knot_m
    rows, columns = (np.arange(metres) - int(north_m)) % period, (np.arange(metres) + int(west_m)) % period
    tone = cv2.resize(large[rows][:, columns], (side, side), interpolation=cv2.INTER_NEAREST)
    return np.digitize(tone, _MEADOW_TONES).astype(np.uint8)
