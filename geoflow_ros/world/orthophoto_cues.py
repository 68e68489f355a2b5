"""What is what in an orthophoto, from colours and shapes alone: vegetation, shadows, roads, crowns and roofs.

These are heuristics, tuned on summer photos of towns in 0.4 to 0.6 m a pixel. They miss much (half of the squares with
a road), and that costs places only; what they find is used to stand on and to raise things, never as truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.world.orthophoto_squares import Building, Square

_SOFT_PX = 0.8  # blur before colours are judged
_GREENNESS = 12  # grey levels by which twice the green exceeds red and blue
_DARK_SHARE, _DARK_OVER, _DARK_MAX = 9, 5, 52  # the darkest per cent, and some grey levels above, are shadow

# Asphalt: grey, not warm, neither dark nor bright, smooth; see `_road_votes`.
_ASPHALT_SATURATION, _ASPHALT_WARMTH, _ASPHALT_GREY, _ASPHALT_GRADIENT = 0.17, 13, (34, 185), 12
_HIDDEN_VOTE = 0.6  # of what shade or a crown hides: unknown rather than wrong

# Roads: straight runs of asphalt, long in one direction and not in the one across.
_LINE_M, _LINE_DIRECTIONS, _LINE_SCORE, _LINE_CONTRAST = 60.0, 30, 0.84, 0.3
_AS_GOOD = 0.02  # scores within this are of one road
_LEAST_INSIDE = 0.4  # of a line that must lie on the photo
_ROAD_WIDTH_M, _ACROSS_M, _ACROSS_PX = (4.5, 26.0), 40.0, 9
_ROAD_OPENING_M, _LEAST_ROAD_M2, _LEAST_ROAD_M = 1.2, 200.0, 45.0

_CROWN_M, _CROWN_PEAK_M, _CROWN_SHARE = (1.2, 5.5), 1.8, 0.65  # radii; reach of a mark; of the way to the next tree
_TREE_SPACING_M, _LEAST_CROWN_M = 3.0, 1.2  # where nobody marked trees
_TREE_GREY = 105  # lawns are brighter
_SHADOW_DIRECTIONS, _SHADOW_AT_M = 16, 5.0

_ROOF_M2, _ROOF_SOLIDITY, _ROOF_WIDTH_M, _ROOF_EDGE = (45.0, 3000.0), 0.7, 5.5, 8.0
_ROOF_GREY, _ROOF_WARMTH, _ROOF_FILL, _ROOF_SLENDER = 128, 16, 0.66, 5.0
_ROOF_HEIGHT_M, _ROOF_HEIGHT_PER_M2, _ROOF_HEIGHT_MAX_M2 = 3.0, 1 / 400, 1500.0


@dataclass(frozen=True)
class Roads:
    """Where roads are, (H, W) each.

    Attributes:
        is_road: found.
        heading_rad: the road's direction there, counter-clockwise from east, modulo pi.
    """

    is_road: npt.NDArray[np.bool_]
    heading_rad: Float32Array


@dataclass(frozen=True)
class Cues:
    """What stands and lies on a square.

    Attributes:
        green: (H, W) vegetation.
        canopy: (H, W) below crowns.
        roads: where and along which direction.
        trees_px: (n, 2) tops of trees.
        crown_m: (n,) their radii.
        buildings: their outlines and heights.
    """

    green: npt.NDArray[np.bool_]
    canopy: npt.NDArray[np.bool_]
    roads: Roads
    trees_px: Float64Array
    crown_m: Float64Array
    buildings: tuple[Building, ...]


def find_cues(square: Square) -> Cues:
    """Finds roads, and whatever the square's annotation does not give."""
    soft = np.asarray(cv2.GaussianBlur(square.rgb, (0, 0), _SOFT_PX), np.float32)
    grey = soft.mean(axis=2)
    green = 2 * soft[..., 1] - soft[..., 0] - soft[..., 2] > _GREENNESS
    dark = grey < min(_DARK_MAX, float(np.percentile(grey, _DARK_SHARE)) + _DARK_OVER)
    trees = _marked_by_colour(green, grey, square.m_per_px) if square.trees_px is None else square.trees_px
    crowns = _crown_radii(green, trees, square.m_per_px) if square.crown_m is None else square.crown_m
    canopy = np.zeros(grey.shape, np.uint8)
    for (x, y), radius in zip(trees, crowns, strict=True):
        cv2.circle(canopy, (int(x * 16), int(y * 16)), int(radius / square.m_per_px * 16), 1, -1, shift=4)
    votes = _road_votes(soft, grey, green, dark, canopy > 0)
    roads = find_roads(votes, square.m_per_px)
    buildings = square.buildings
    if buildings is None:
        buildings = tuple(_roofs(square, soft, ~green & ~dark & ~roads.is_road & (canopy == 0)))
    return Cues(green, canopy > 0, roads, trees, crowns, buildings)


def _disc(radius_m: float, m_per_px: float) -> UInt8Array:
    radius = max(1, round(radius_m / m_per_px))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _road_votes(
    soft: Float32Array,
    grey: Float32Array,
    green: npt.NDArray[np.bool_],
    dark: npt.NDArray[np.bool_],
    canopy: npt.NDArray[np.bool_],
) -> Float32Array:
    """Returns (H, W): 1 for what looks like asphalt, something for what hides the ground, else 0."""
    spread = soft.max(axis=2) - soft.min(axis=2)
    saturation = spread / (soft.max(axis=2) + 1)
    gradient = np.hypot(cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)) / 16
    rough = np.asarray(cv2.blur(gradient, (3, 3)))
    warmth = soft[..., 0] - soft[..., 2]  # bare soil is warmer than asphalt and concrete
    asphalt = ~green & (saturation < _ASPHALT_SATURATION) & (warmth < _ASPHALT_WARMTH) & (rough < _ASPHALT_GRADIENT)
    asphalt &= (grey > _ASPHALT_GREY[0]) & (grey < _ASPHALT_GREY[1])
    return np.where(asphalt, 1.0, np.where((dark & ~green) | canopy, _HIDDEN_VOTE, 0.0)).astype(np.float32)


def find_roads(votes: Float32Array, m_per_px: float) -> Roads:
    """Finds straight roads.

    Args:
        votes: (H, W) how much each pixel looks like a road's surface, 0 to 1.
        m_per_px: ground resolution.
    """
    h, w = votes.shape
    scores = np.zeros((_LINE_DIRECTIONS, h, w), np.float32)
    best, width = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    angles = np.pi * np.arange(_LINE_DIRECTIONS) / _LINE_DIRECTIONS
    for k, angle in enumerate(angles):
        scores[k], across = _along_lines(votes, float(angle), m_per_px)
        better = scores[k] > best
        best[better], width[better] = scores[k][better], across[better]
    other_way = (scores.argmax(axis=0) + _LINE_DIRECTIONS // 2) % _LINE_DIRECTIONS
    contrast = best - np.take_along_axis(scores, other_way[None], 0)[0]
    found = (best > _LINE_SCORE) & (width > _ROAD_WIDTH_M[0]) & (width < _ROAD_WIDTH_M[1])
    found &= (contrast > _LINE_CONTRAST) & (votes > 0.4)
    opened = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, _disc(_ROAD_OPENING_M, m_per_px))
    _, part, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] * m_per_px**2 >= _LEAST_ROAD_M2
    keep &= np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) * m_per_px >= _LEAST_ROAD_M
    keep[0] = False  # the background
    # a line fits into a wide road in many directions: the road's is their mean, of doubled angles
    as_good = scores >= best - _AS_GOOD
    east, north = (np.tensordot(f(2 * angles), as_good, 1) for f in (np.cos, np.sin))
    return Roads(np.asarray(keep[part]), (np.arctan2(north, east) / 2).astype(np.float32))


def _along_lines(votes: Float32Array, angle: float, m_per_px: float) -> tuple[Float32Array, Float32Array]:
    """Returns (H, W) means of the votes along a line through each pixel, and the widths across it in metres.

    Args:
        votes: of the road's surface.
        angle: of the line, counter-clockwise from east; rows run south.
        m_per_px: ground resolution.
    """
    h, w = votes.shape
    side = int(np.ceil(np.hypot(h, w)))
    level = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), -np.degrees(angle), 1.0)  # lays the line level
    level = level + np.array([[0, 0, (side - w) / 2], [0, 0, (side - h) / 2]])
    turned, inside = (cv2.warpAffine(i, level, (side, side)) for i in (votes, np.ones_like(votes)))
    long_px, wide_px = int(_LINE_M / m_per_px) | 1, int(_ACROSS_M / m_per_px) | 1
    total, area = (cv2.boxFilter(i, -1, (long_px, 3), normalize=False) for i in (turned, inside))
    mean = np.where(area > _LEAST_INSIDE * long_px * 3, total / np.maximum(area, 1), 0)
    is_surface = (np.asarray(turned) > (1 + _HIDDEN_VOTE) / 2 - 0.1).astype(np.float32)
    width = cv2.boxFilter(is_surface, -1, (_ACROSS_PX, wide_px), normalize=False) * (m_per_px / _ACROSS_PX)
    first, second = (
        np.asarray(cv2.warpAffine(i, level, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), np.float32)
        for i in (mean, width)
    )
    return first, second


def _crown_radii(green: npt.NDArray[np.bool_], trees_px: Float64Array, m_per_px: float) -> Float64Array:
    """Returns (n,) radii: as far as the vegetation around a mark reaches, but not into the next crown."""
    if len(trees_px) == 0:
        return np.zeros(0)
    h, w = green.shape
    reach = cv2.distanceTransform(green.astype(np.uint8), cv2.DIST_L2, 5) * m_per_px
    peak = np.asarray(cv2.dilate(reach, _disc(_CROWN_PEAK_M, m_per_px)))
    at = np.clip(trees_px.round().astype(int), 0, [w - 1, h - 1])
    radius = np.clip(peak[at[:, 1], at[:, 0]] + 0.5, *_CROWN_M)
    gap = np.linalg.norm(trees_px[:, None] - trees_px[None], axis=-1) * m_per_px
    np.fill_diagonal(gap, np.inf)
    return np.asarray(np.minimum(radius, np.maximum(gap.min(axis=1) * _CROWN_SHARE, _CROWN_M[0])), np.float64)


def _marked_by_colour(green: npt.NDArray[np.bool_], grey: Float32Array, m_per_px: float) -> Float64Array:
    """Returns (n, 2) middles of dark green blobs."""
    leafy = (green & (grey < _TREE_GREY)).astype(np.uint8)
    reach = np.asarray(cv2.GaussianBlur(cv2.distanceTransform(leafy, cv2.DIST_L2, 5), (0, 0), 1.0)) * m_per_px
    peak = reach >= np.asarray(cv2.dilate(reach, _disc(_TREE_SPACING_M, m_per_px)))
    peak &= reach > _LEAST_CROWN_M
    middles = cv2.connectedComponentsWithStats(peak.astype(np.uint8), connectivity=8)[3]  # of each flat top, too
    return np.asarray(middles[1:], np.float64)


def _roofs(square: Square, soft: Float32Array, free: npt.NDArray[np.bool_]) -> Iterator[Building]:
    """Yields compact pieces of one bright or warm colour, as high as their size lets one guess.

    Args:
        square: the photo.
        soft: (H, W, 3) it, blurred.
        free: (H, W) what may be a roof.
    """
    flat = (
        cv2.pyrMeanShiftFiltering(np.ascontiguousarray(square.rgb), 5, 20, maxLevel=0).astype(np.float32).mean(axis=2)
    )
    step = np.hypot(cv2.Scharr(flat, cv2.CV_32F, 1, 0), cv2.Scharr(flat, cv2.CV_32F, 0, 1)) / 16
    plain = (free & (step < _ROOF_EDGE)).astype(np.uint8)
    plain = np.asarray(cv2.morphologyEx(plain, cv2.MORPH_OPEN, _disc(0.9, square.m_per_px)), np.uint8)
    _, part, stats, _ = cv2.connectedComponentsWithStats(plain, connectivity=4)
    for i in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] * square.m_per_px**2 > _ROOF_M2[0]) + 1:
        x, y, width, height, area_px = stats[i]
        area = float(area_px * square.m_per_px**2)
        piece = part[y : y + height, x : x + width] == i
        contours, _ = cv2.findContours(piece.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        contour = max(contours, key=cv2.contourArea)
        hull_px = max(cv2.contourArea(cv2.convexHull(contour)), 1.0)
        short, long = sorted(side * square.m_per_px for side in cv2.minAreaRect(contour)[1])
        red, green, blue = soft[y : y + height, x : x + width][piece].mean(axis=0)
        is_lit = (red + green + blue) / 3 > _ROOF_GREY or red - blue > _ROOF_WARMTH
        is_compact = cv2.contourArea(contour) / hull_px > _ROOF_SOLIDITY and area > _ROOF_FILL * short * long
        if area < _ROOF_M2[1] and is_lit and is_compact and short > _ROOF_WIDTH_M and long < _ROOF_SLENDER * short:
            outline = cv2.approxPolyDP(contour, 1.0 / square.m_per_px, True)[:, 0] + (x, y)
            if len(outline) >= 3:
                tall = _ROOF_HEIGHT_M + _ROOF_HEIGHT_PER_M2 * min(area, _ROOF_HEIGHT_MAX_M2)
                yield Building(outline.astype(np.float64), float(tall))
