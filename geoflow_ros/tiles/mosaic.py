"""Tiles side by side: the picture that a patch is resampled from, and what in it shows no ground."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.tiles.validity import NoGround, Tile, mark_pure, may_have_borders

Place = tuple[int, int]
"""Column and row of a tile."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Joined tiles.

    Attributes:
        pixels: (H, W, 3) uint8 RGB. What shows no ground has the mean colour of what does, so that nothing in it looks
            like a road and no black mixes into its edges. Pixels of tiles that were not asked for are unset.
        no_ground: (H, W) uint8, why a pixel shows no ground (`NoGround`) or 0; None where all of them show it.
        origin: global mercator pixel (x, y) of the first pixel.
    """

    pixels: UInt8Array
    no_ground: UInt8Array | None
    origin: tuple[int, int]

    @classmethod
    def join(cls, places: Sequence[Place], tiles: Sequence[Tile | None], tile_size: int) -> Mosaic:
        """Joins tiles.

        Args:
            places: of the tiles, at least one.
            tiles: None for one that is missing.
            tile_size: pixels along one side of a tile.
        """
        columns, rows = zip(*places, strict=True)
        left, top = min(columns), min(rows)
        pixels = np.empty(((max(rows) - top + 1) * tile_size, (max(columns) - left + 1) * tile_size, 3), np.uint8)
        spots = [_spot(column - left, row - top, tile_size) for column, row in places]
        for spot, tile in zip(spots, tiles, strict=True):
            if tile is not None:
                pixels[spot] = tile.pixels
        no_ground = _no_ground(pixels, spots, tiles, tile_size)
        if no_ground is not None:
            shows = no_ground == 0
            if not shows.any():  # the colour of nothing: that of what was sent instead
                shows = no_ground != NoGround.MISSING
            mean = np.array(cv2.mean(pixels, shows.astype(np.uint8)))  # (4,): what OpenCV takes as one colour
            # Several times as fast as assignment to a mask: nothing where there is no ground, then the mean.
            pixels = np.asarray(cv2.bitwise_and(pixels, pixels, mask=(no_ground == 0).astype(np.uint8)), np.uint8)
            cv2.add(pixels, mean, dst=pixels, mask=no_ground)
        return cls(pixels, no_ground, (left * tile_size, top * tile_size))


Spot = tuple[slice, slice]


def _spot(column: int, row: int, size: int) -> Spot:
    return slice(row * size, (row + 1) * size), slice(column * size, (column + 1) * size)


def _no_ground(
    pixels: UInt8Array, spots: Sequence[Spot], tiles: Sequence[Tile | None], tile_size: int
) -> UInt8Array | None:
    """(H, W) of `NoGround`, tiles that were not asked for included; None where nothing of the tiles is any."""
    there = [tile for tile in tiles if tile is not None]
    repeated = _repeated(there)
    look_for_borders = may_have_borders(sum(tile.pure_px for tile in there), tile_size)
    is_whole = len(there) == len(tiles) and all(tile.no_ground is None for tile in there)
    if is_whole and not repeated and not look_for_borders:  # as it is on a sound map
        return None
    no_ground = np.full(pixels.shape[:2], NoGround.MISSING, np.uint8)
    for spot, tile in zip(spots, tiles, strict=True):
        if tile is not None:
            no_ground[spot] = 0 if tile.no_ground is None else tile.no_ground
            if tile.digest in repeated:
                no_ground[spot][no_ground[spot] == 0] = NoGround.REPEATED
    if look_for_borders:
        mark_pure(pixels, no_ground, tile_size)
    return no_ground if any(no_ground[spot].any() for spot in spots) else None


def _repeated(tiles: Sequence[Tile]) -> set[int]:
    """The digests of tiles that are at several places: of two places, no photo is the same to the bit."""
    return {digest for digest, count in Counter(tile.digest for tile in tiles).items() if count > 1}
