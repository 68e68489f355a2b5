"""What a real aerial photo does to a satellite patch: leaning buildings, seams, blur and colour.

All functions are pure. Pixels are (column, row); forward is +column, right is +row, as on every patch. The point of the
ground that a pixel shows never moves, so the truth stays: only what stands above the ground, and the photo on the
other side of a seam, are displaced.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.world.kinds import Label

_STEP_PX = 0.5  # of the march down from the highest roof, on the patch
_WALL_LIGHT = 0.6  # brightness of a facade seen from above, over its roof's edge
_CROWN_FOOT_M, _CROWN_PER_EDGE = 1.6, 2.0  # a crown's height from its distance to the crown's edge, as its shadow has


@dataclass(frozen=True)
class Lean:
    """Where each pixel of a leaning patch is read from in the exact one.

    Attributes:
        column: (P, P) float32.
        row: (P, P) float32.
        wall: (P, P) bool, what shows a facade.
    """

    column: Float32Array
    row: Float32Array
    wall: npt.NDArray[np.bool_]

    def apply(self, rgb: UInt8Array) -> UInt8Array:
        """Returns the patch as it looks from aside, facades included, (P, P, 3)."""
        border = cv2.BORDER_REPLICATE
        leaning = np.array(cv2.remap(rgb, self.column, self.row, cv2.INTER_LINEAR, borderMode=border), np.uint8)
        leaning[self.wall] = (leaning[self.wall] * _WALL_LIGHT).astype(np.uint8)
        return leaning

    def apply_to_labels(self, label: UInt8Array) -> UInt8Array:
        """Returns the classes of what is seen, (P, P)."""
        return np.asarray(
            cv2.remap(label, self.column, self.row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )


@dataclass(frozen=True)
class Seam:
    """A straight line across a patch at which one photo ends and another begins.

    Attributes:
        normal_rad: direction from the near photo to the far one, from forward towards right.
        distance_m: of the line from the patch's centre along the normal.
        shift_m: (forward, right) that the far photo's content is displaced by.
        gain: (r, g, b) of the far photo over the near one.
    """

    normal_rad: float
    distance_m: float
    shift_m: tuple[float, float]
    gain: tuple[float, float, float]


def standing_m(label: UInt8Array, height_m: Float32Array, resolution_m: float) -> Float32Array:
    """Returns how high what the photo shows stands above the ground, (P, P) metres.

    Buildings have the height of the renderer's map. Trees have none there: a crown is a dome, from its distance to the
    crown's edge. Cars are taken as flat.
    """
    crown = cv2.distanceTransform((label == Label.TREE).astype(np.uint8), cv2.DIST_L2, 3) * resolution_m
    tree = np.where(crown > 0, _CROWN_FOOT_M + _CROWN_PER_EDGE * crown, 0.0)
    return np.where(label == Label.BUILDING, height_m, tree).astype(np.float32)


def lean_of(
    standing: Float32Array, is_built: npt.NDArray[np.bool_], tangent: tuple[float, float], resolution_m: float
) -> Lean:
    """Finds what a camera aside sees: a point h above the ground appears at its place plus h times `tangent`.

    Every ray is followed downwards from the highest roof until it meets something; what lies behind is hidden.

    Args:
        standing: (P, P) metres above the ground.
        is_built: (P, P) what has walls: buildings, but not trees.
        tangent: (forward, right) of the lean: displacement over height.
        resolution_m: metres per pixel.
    """
    size = standing.shape[0]
    column, row = np.meshgrid(*[np.arange(size, dtype=np.float32)] * 2)
    slope = float(np.hypot(*tangent)) / resolution_m  # pixels per metre of height
    # the height at which each ray meets something, and how high that stands
    met, found = np.zeros(standing.shape, np.float32), np.zeros(standing.shape, np.float32)
    step_m = _STEP_PX / slope if slope > 0 else np.inf
    if standing.max() > step_m:
        per_m = np.array(tangent) / resolution_m
        for k in range(int(standing.max() / step_m), 0, -1):
            shifted = _moved(standing, per_m * ((k + 0.5) * step_m))  # by the mean of what ends in this step
            hit = (shifted >= k * step_m) & (met == 0)
            met[hit], found[hit] = k * step_m, shifted[hit]
    # a roof is met less than a step below its height, and read at its height
    top = (met > 0) & (found - met < step_m)
    exact = np.where(top, found, met)
    column = (column - exact * np.float32(tangent[0] / resolution_m)).astype(np.float32)
    row = (row - exact * np.float32(tangent[1] / resolution_m)).astype(np.float32)
    wall = np.where(met > 0, ~top, standing > step_m)  # of what is met nowhere else, the foot of a wall
    built = cv2.remap(is_built.astype(np.uint8), column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return Lean(column, row, wall & (np.asarray(built) > 0))


def _moved(image: Float32Array, by_px: Float64Array) -> Float32Array:
    """Returns an image whose content is displaced by whole pixels, the nearest to `by_px` (column, row)."""
    right, down = (float(np.floor(v + 0.5)) for v in by_px)
    matrix = np.array([[1.0, 0.0, right], [0.0, 1.0, down]])
    size = (image.shape[1], image.shape[0])
    return np.asarray(
        cv2.warpAffine(image, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def is_beyond(seam: Seam, size_px: int, resolution_m: float) -> npt.NDArray[np.bool_]:
    """Tells which pixels of a patch, (P, P), show the far photo."""
    metres = (np.arange(size_px) - (size_px - 1) / 2) * resolution_m
    along = metres[None, :] * np.cos(seam.normal_rad) + metres[:, None] * np.sin(seam.normal_rad)
    return np.asarray(along > seam.distance_m)


def join(patch: UInt8Array, seam: Seam, resolution_m: float) -> UInt8Array:
    """Returns a patch (P, P, 3) with the far side of a seam displaced and in its own colour."""
    far = is_beyond(seam, len(patch), resolution_m)
    matrix = np.array([[1, 0, seam.shift_m[0] / resolution_m], [0, 1, seam.shift_m[1] / resolution_m]])
    moved = cv2.warpAffine(
        patch, matrix, (len(patch), len(patch)), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    coloured = np.clip(np.asarray(moved, np.float32) * np.array(seam.gain, np.float32), 0, 255).astype(np.uint8)
    return np.where(far[..., None], coloured, patch)


def blur(patch: UInt8Array, sigma_m: float, resolution_m: float) -> UInt8Array:
    """Returns what a photo shows whose points are `sigma_m` wide on the ground."""
    sigma_px = sigma_m / resolution_m
    return np.asarray(cv2.GaussianBlur(patch, (0, 0), sigma_px), np.uint8) if sigma_px > 0 else patch


def develop(patch: UInt8Array, gain: tuple[float, float, float], gamma: float, haze: float) -> UInt8Array:
    """Returns a patch under another tone curve.

    Args:
        patch: (P, P, 3) RGB.
        gain: of red, green and blue.
        gamma: exponent of the tone curve.
        haze: share of the contrast that gives way to an even bright veil.
    """
    veil = np.array([190.0, 198.0, 206.0])  # what the air between scatters: bright, a little blue
    levels = np.arange(256)[:, None] / 255.0
    table = 255.0 * np.clip(levels * np.array(gain), 0, 1) ** gamma
    table = np.clip(table * (1 - haze) + veil * haze, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(patch, table.reshape(1, 256, 3)), np.uint8)
