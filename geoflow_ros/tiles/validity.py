"""Which pixels of tiles show ground: those that are transparent, of one colour, or a black or white border do not.

Every threshold is a share or a number of tile pixels, so that one tile can be judged without knowing its scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from geoflow_ros.arrays import BoolArray, UInt8Array

SPECK_PX = 64
"""Transparent spots of up to so many pixels are filled from their neighbours. GDAL makes them of shadows that have the
no-data value by chance."""

# A tile is of one colour where so much of it is, to so many levels: the placeholders of tile services have a few words
# on it. Of 7,416 pieces of real aerial photos, 51 m wide, none is (0.894 at most, of bare desert).
_ONE_COLOUR_SHARE, _ONE_COLOUR_LEVELS = 0.9, 2
_SAMPLED = 3  # every n-th row and column is looked at for it; odd, to see both of any pattern that alternates
_FOR_MEDIAN = 31  # and of what is looked at, every n-th for the colour

# Black and white of lossy tiles are not exact. Real shadows and roofs are that pure in places, but not over this many
# pixels, as shares of a tile: where the region reaches the border of the picture, and anywhere.
_PURE_LEVELS = 4
_LEAST_BORDER_SHARE, _LEAST_REGION_SHARE = 1.0 / 64.0, 1.0 / 8.0
_FRINGE_PX = 4  # around such a region, what lossy compression has smeared into it: half of a JPEG block


class NoGround(IntEnum):
    """Why a pixel shows no ground. 0, which is none of these, is a pixel that shows it."""

    MISSING = 1
    TRANSPARENT = 2
    BLACK = 3
    WHITE = 4
    ONE_COLOUR = 5
    REPEATED = 6

    @property
    def words(self) -> str:
        """For a message: what the pixels are."""
        return _WORDS[self]


_WORDS = {
    NoGround.MISSING: "missing tiles",
    NoGround.TRANSPARENT: "transparent",
    NoGround.BLACK: "black",
    NoGround.WHITE: "white",
    NoGround.ONE_COLOUR: "tiles of one colour",
    NoGround.REPEATED: "one and the same tile at several places",
}
_PURE = (NoGround.BLACK, NoGround.WHITE)


@dataclass(frozen=True, eq=False)
class Tile:
    """A decoded tile, read-only.

    Attributes:
        pixels: (N, N, 3) uint8 RGB.
        no_ground: (N, N) uint8, why a pixel shows no ground (`NoGround`) or 0; None where all of them show it.
        pure_px: number of its black and white pixels.
        digest: of the encoded bytes, 64 bits.
    """

    pixels: UInt8Array
    no_ground: UInt8Array | None
    pure_px: int
    digest: int

    @classmethod
    def judged(cls, pixels: UInt8Array, opaque: BoolArray | None, data: bytes) -> Tile:
        """Judges a tile by itself. What a black or white border is, only the picture around it tells (`mark_pure`).

        Args:
            pixels: (N, N, 3) uint8 RGB.
            opaque: (N, N), or None where all of it is.
            data: that it was decoded from.
        """
        no_ground: UInt8Array | None = None
        if opaque is not None:
            pixels, hole = _without_specks(pixels, ~opaque)
            if hole.any():
                no_ground = hole.astype(np.uint8) * np.uint8(NoGround.TRANSPARENT)
        colour = _only_colour(pixels, no_ground)
        if colour is not None:
            no_ground = np.full(pixels.shape[:2], colour, np.uint8) if no_ground is None else no_ground
            no_ground[no_ground == 0] = colour
        pure_px = sum(cv2.countNonZero(_pure(pixels, kind)) for kind in _PURE)
        for array in (pixels, no_ground):
            if array is not None:
                array.flags.writeable = False
        return cls(pixels, no_ground, pure_px, hash(data))

    @property
    def side_px(self) -> int:
        """Pixels along one side."""
        return int(self.pixels.shape[0])

    def resized(self, side_px: int) -> Tile:
        """The same tile with other pixels: of a service whose tiles differ in size, all of which show the same area."""
        if side_px == self.side_px:
            return self
        size = (side_px, side_px)
        pixels = cv2.resize(self.pixels, size, interpolation=cv2.INTER_LINEAR)
        marks = None if self.no_ground is None else cv2.resize(self.no_ground, size, interpolation=cv2.INTER_NEAREST)
        pure_px = self.pure_px * side_px**2 // self.side_px**2
        return Tile(
            np.asarray(pixels, np.uint8), None if marks is None else np.asarray(marks, np.uint8), pure_px, self.digest
        )


def mark_pure(pixels: UInt8Array, no_ground: UInt8Array, tile_size: int) -> None:
    """Marks the borders and large regions of pure black and white of a picture that is made of tiles.

    Tiles that are all black or white have their marks already, and belong to the regions.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        no_ground: (H, W) uint8; what it marks already counts as outside the picture. Changed in place.
        tile_size: pixels along one side of a tile.
    """
    outside = cv2.dilate((no_ground != 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    outside[[0, -1], :] = outside[:, [0, -1]] = 1
    for kind in _PURE:
        pure = _pure(pixels, kind)
        pure[(no_ground != 0) & (no_ground != kind)] = 0
        if not may_have_borders(cv2.countNonZero(pure), tile_size):
            continue
        count, labels, stats, _ = cv2.connectedComponentsWithStats(pure, connectivity=4)
        area = stats[:, cv2.CC_STAT_AREA] / tile_size**2
        at_border = np.zeros(count, bool)
        at_border[labels[cv2.bitwise_and(outside, pure) > 0]] = True
        found = (area >= _LEAST_REGION_SHARE) | (at_border & (area >= _LEAST_BORDER_SHARE))
        region = np.zeros_like(pure)
        for label in np.flatnonzero(found[1:]) + 1:  # 0 is all that is not pure
            region |= np.asarray(cv2.inRange(labels, int(label), int(label)), np.uint8)
        side = 2 * _FRINGE_PX + 1
        no_ground[(cv2.dilate(region, np.ones((side, side), np.uint8)) > 0) & (no_ground == 0)] = kind


def may_have_borders(pure_px: int, tile_size: int) -> bool:
    """Whether `mark_pure` may find anything among so many black and white pixels."""
    return pure_px >= _LEAST_BORDER_SHARE * tile_size**2


def shares_without_ground(no_ground: UInt8Array) -> dict[NoGround, float]:
    """Returns the share of a picture that each kind of no ground takes, the largest first."""
    counts = np.bincount(no_ground.ravel(), minlength=len(NoGround) + 1)
    shares = {kind: float(counts[kind] / no_ground.size) for kind in NoGround if counts[kind]}
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def _without_specks(pixels: UInt8Array, hole: BoolArray) -> tuple[UInt8Array, BoolArray]:
    """Fills small holes; returns the pixels and the holes that are left."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    is_speck = stats[:, cv2.CC_STAT_AREA] <= SPECK_PX
    is_speck[0] = False  # the label of what is no hole
    if not is_speck.any():
        return pixels, hole
    speck = is_speck[labels]
    filled = cv2.inpaint(pixels, speck.astype(np.uint8), 3.0, cv2.INPAINT_TELEA)
    return np.asarray(filled, np.uint8), hole & ~speck


def _only_colour(pixels: UInt8Array, no_ground: UInt8Array | None) -> NoGround | None:
    """Tells that what is left of a tile is black, white or of another one colour; None for any other tile."""
    sample = pixels[::_SAMPLED, ::_SAMPLED].reshape(-1, 3)
    if no_ground is not None:
        sample = sample[no_ground[::_SAMPLED, ::_SAMPLED].ravel() == 0]
        if not len(sample):
            return None
    colour = np.median(sample[::_FOR_MEDIAN], axis=0)  # that of more than half, where so many have the same
    low, high = (tuple(colour + side * _ONE_COLOUR_LEVELS) for side in (-1, 1))
    if cv2.countNonZero(cv2.inRange(sample[None], low, high)) < _ONE_COLOUR_SHARE * len(sample):
        return None
    if colour.max() <= _PURE_LEVELS:
        return NoGround.BLACK
    return NoGround.WHITE if colour.min() >= 255 - _PURE_LEVELS else NoGround.ONE_COLOUR


def _pure(pixels: UInt8Array, kind: NoGround) -> UInt8Array:
    """(H, W) uint8, above 0 where pixels are black or white."""
    low, high = (0, _PURE_LEVELS) if kind is NoGround.BLACK else (255 - _PURE_LEVELS, 255)
    return np.asarray(cv2.inRange(pixels, (low,) * 3, (high,) * 3), np.uint8)
