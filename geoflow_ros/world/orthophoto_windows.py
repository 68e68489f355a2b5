"""Windows whose ground is a real orthophoto: what stands on it is raised, and cameras stand on its roads.

The square lies in the middle of a window as the renderer takes it, and is mirrored beyond its edges: the street and the
map in the same way, so that geometry stays exact everywhere. Where a place was photographed in another year, that photo
is the map and this one the street: other cars, other trees, another light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float32Array, Float64Array, Int64Array, UInt8Array
from geoflow_ros.errors import WorldError
from geoflow_ros.world import kinds, textures
from geoflow_ros.world.aerial import develop
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.cells import CELL_M, pyramid
from geoflow_ros.world.conditions import EASY, Conditions, Range
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.orthophoto_cues import Cues, Roads, find_cues
from geoflow_ros.world.orthophoto_squares import (
    DEFAULT_HELD_OUT,
    READING_ERRORS,
    Place,
    Square,
    SquareEntry,
    open_collection,
)
from geoflow_ros.world.parts import PART_COLUMNS, Parts
from geoflow_ros.world.places import WINDOW_M, Poses
from geoflow_ros.world.raster import CityRaster
from geoflow_ros.world.scenes import Scene
from geoflow_ros.world.splits import Split

OTHER_YEAR_SHARE = 0.85  # of training's windows whose map is of another year, where there is one

_SIDE = int(WINDOW_M / CELL_M)  # cells
_TRIES = 200  # squares in a row without a road before it is given up

_ROADLESS: set[SquareEntry] = set()
"""What is known to have no road: it is not looked at twice in a process. What a seed gives does not depend on it."""

# Where cameras stand: on roads, preferably near the middle, so that little of the patch is mirrored ground.
_REACHES_M = (40.0, 60.0)
_LEAST_LANE_M2 = 20.0
_BESIDE_BUILDING_M, _BESIDE_TRUNK_M = 1.5, 1.7
_PLACE_JITTER_M, _HEADING_SIGMA_DEG = 0.3, 2.0
_VERGE_STEPS, _VERGE_STEP_M, _VERGE_MARGIN_M = 12, 1.0, 1.5

# Photos of two years: how surely and how far they may be displaced to be put on each other.
_SURE, _MOST_SHIFT_M, _LEFT_OVER_M = 0.05, 3.0, 0.3

# The street is a photo, too: its edges are made as steep as those of a road seen from 1.65 m, and its surface rough.
_EDGE_SIGMA_M, _STREET_SHARPENING, _MAP_SHARPENING = 0.5, 0.8, (0.0, 0.9)
_STREET_GRAIN, _MAP_GRAIN = (6.0, 15.0), (0.0, 5.0)  # amplitudes, of `_NOISE_RANGE`
_NOISE_RANGE = 64
_GRAIN_TILE = 1024  # cells after which the grain repeats; the window is a multiple of them
_GAIN, _GAMMA, _CAST_SIGMA = (0.8, 1.12), (0.8, 1.25), 0.03
_INPAINT_PX = 3

# What is raised, about its annotation or cue.
_BUILDING_SCALE, _LEAST_BUILDING_M, _MOST_BUILDING_M = (0.8, 1.3), 2.7, 25.0
_FINE = 4  # sub-pixels in which outlines are drawn
_CROWN_SCALE, _CROWN_TONE, _CROWN_SIGMA = (0.85, 1.15), (0.8, 1.15), 4.0
_CROWN_BOTTOM_M, _CROWN_BOTTOM_PER_M, _BOTTOM_SCALE, _CROWN_HEIGHT = 1.2, 0.35, (0.8, 1.4), (1.6, 2.6)
_TRUNK_INTO_CROWN, _TRUNK_M, _TRUNK_PER_CROWN = 0.5, 0.08, 0.05
_BARK, _BARK_ROUGHNESS = np.array([82.0, 68.0, 54.0]), 0.3
_LEAF_PX = 1.2  # radius over which a crown's colour is read


@dataclass(frozen=True)
class OrthophotoWindow:
    """A window over a real orthophoto, and where a camera may stand in it.

    Attributes:
        raster: what the renderer reads.
        lanes: poses on roads, in the directions of travel.
        has_other_year: whether the map is a photo of another year than the street.
    """

    raster: CityRaster
    lanes: Poses
    has_other_year: bool

    def places(self, rng: np.random.Generator, n: int) -> Poses:
        """Draws `n` poses of a vehicle on the roads."""
        lanes = self.lanes.take(rng.integers(0, len(self.lanes), n))
        east, north = (v + rng.uniform(-_PLACE_JITTER_M, _PLACE_JITTER_M, n) for v in (lanes.east_m, lanes.north_m))
        return Poses(east, north, lanes.yaw_rad + np.radians(rng.normal(0, _HEADING_SIGMA_DEG, n)))

    def scenes(self, east_m: float, north_m: float) -> frozenset[Scene]:
        """Returns what is known of a place: whether its map is of another year."""
        return frozenset({Scene.OLD_MAP} if self.has_other_year else ())


def orthophoto_window(
    places: tuple[Place, ...], seed: int, conditions: Conditions = EASY, other_year_share: float = OTHER_YEAR_SHARE
) -> OrthophotoWindow:
    """Makes the window of a seed from one of the places on which a road is found.

    Args:
        places: to choose from.
        seed: of the choice, of what is drawn and of the appearance.
        conditions: they change sky, walls and haze, as in procedural cities.
        other_year_share: how often the map is of another year, where there is one.

    Raises:
        WorldError: no road was found on many squares in a row.
    """
    rng = np.random.default_rng([seed, 91])
    for _ in range(_TRIES):
        place = places[rng.integers(len(places))]
        first, *others = rng.permutation(len(place.photos))
        takes_other = bool(rng.random() < other_year_share)
        entry, street_rng = place.photos[first], np.random.default_rng(rng.integers(2**62))
        if entry in _ROADLESS:
            continue
        try:
            square = entry.read()
        except READING_ERRORS:
            continue
        cues = find_cues(square)
        lanes = _lanes(square, cues, street_rng)
        if lanes is None:
            _ROADLESS.add(entry)
            continue
        other = _other_year(square, place, others) if takes_other else None
        raster = _raster(
            square, cues, square.rgb if other is None else other, Appearance.under(seed, conditions), street_rng
        )
        return OrthophotoWindow(raster, lanes, other is not None)
    raise WorldError(f"no road was found on {_TRIES} orthophotos in a row; are they streets, in 0.4 to 0.6 m a pixel?")


@dataclass(frozen=True)
class Orthophotos:
    """Which orthophotos make worlds.

    Attributes:
        path: of the collection (see `open_collection`).
        share: part of training's windows that are of them; the others are of procedural cities.
        held_out: cities that training never sees.
    """

    path: str
    share: float = 0.5
    held_out: tuple[str, ...] = DEFAULT_HELD_OUT

    def window(self, split: Split, seed: int, conditions: Conditions, other_year_share: float) -> OrthophotoWindow:
        """Makes the window of a seed from the places of a split; see `orthophoto_window`.

        Raises:
            InputError: a collection that cannot be used, or has no places for the split.
            WorldError: no road was found on many squares in a row.
        """
        places = open_collection(self.path).places_of(split, self.held_out)
        return orthophoto_window(places, seed, conditions, other_year_share)


def shift_between(one: UInt8Array, other: UInt8Array) -> tuple[Float64Array, float]:
    """Returns by how many pixels (x, y) `one` must be moved to lie on `other`, and how sure that is, 0 to 1.

    Phase correlation of edges: they stay over the years, colours and shadows do not.
    """
    first, second = (_edges(photo) for photo in (one, other))
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    shift, response = cv2.phaseCorrelate(first, second, window)
    return np.asarray(shift, np.float64), float(response)


def _edges(rgb: UInt8Array) -> Float32Array:
    grey = cv2.GaussianBlur(rgb.astype(np.float32).mean(axis=2), (0, 0), 1.0)
    gradient = np.hypot(cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1))
    return np.asarray(gradient, np.float32)


def _other_year(square: Square, place: Place, others: list[int]) -> UInt8Array | None:
    """Returns a photo of another year, put on the square's; None where none lies on it surely."""
    for number in others:
        try:
            other = place.photos[number].read()
        except READING_ERRORS:
            continue
        if other.rgb.shape != square.rgb.shape or not np.isclose(other.m_per_px, square.m_per_px):
            continue
        shift, sure = shift_between(other.rgb, square.rgb)
        if sure < _SURE or np.abs(shift).max() * square.m_per_px > _MOST_SHIFT_M:
            continue
        moved = _moved(other.rgb, shift)
        left_over, _ = shift_between(moved, square.rgb)
        if np.abs(left_over).max() * square.m_per_px < _LEFT_OVER_M:
            return moved
    return None


def _moved(rgb: UInt8Array, shift_px: Float64Array) -> UInt8Array:
    matrix = np.array([[1, 0, shift_px[0]], [0, 1, shift_px[1]]])
    size = (rgb.shape[1], rgb.shape[0])
    return np.asarray(cv2.warpAffine(rgb, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _lanes(square: Square, cues: Cues, rng: np.random.Generator) -> Poses | None:
    """Returns poses on the roads, clear of what stands, with the road's middle on the left; None without a road."""
    free = cues.roads.is_road & ~_standing(square, cues)
    for reach in _REACHES_M:
        rows, columns = np.nonzero(free)
        enu = _enu(np.stack([columns, rows], axis=-1).astype(np.float64), square)
        near = (np.abs(enu) < reach).all(axis=1)
        if near.sum() * square.m_per_px**2 >= _LEAST_LANE_M2:
            yaw = _directions(cues.roads, columns[near], rows[near], square.m_per_px, rng)
            return Poses(enu[near, 0], enu[near, 1], yaw)
    return None


def _standing(square: Square, cues: Cues) -> npt.NDArray[np.bool_]:
    """Tells where (H, W) a building or trunk is too near."""
    taken = np.zeros(square.rgb.shape[:2], np.uint8)
    for building in cues.buildings:
        cv2.fillPoly(taken, [building.outline_px.round().astype(np.int32)], 1)
    reach = round(_BESIDE_BUILDING_M / square.m_per_px)
    taken = np.asarray(cv2.dilate(taken, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)), np.uint8)
    for x, y in cues.trees_px:
        cv2.circle(taken, (round(float(x)), round(float(y))), round(_BESIDE_TRUNK_M / square.m_per_px), 1, -1)
    return taken > 0


def _directions(
    roads: Roads, columns: Int64Array, rows: Int64Array, m_per_px: float, rng: np.random.Generator
) -> Float64Array:
    """Returns (n,) yaws along the road for traffic that keeps right; near the middle, either way."""
    yaw = roads.heading_rad[rows, columns].astype(np.float64)
    h, w = roads.is_road.shape
    verge = np.zeros((2, len(yaw)))
    for i, sign in enumerate((1.0, -1.0)):  # to the left of the heading, to its right
        inside = np.ones(len(yaw), bool)
        for step in range(1, _VERGE_STEPS + 1):
            away = sign * step * _VERGE_STEP_M / m_per_px
            x = np.clip((columns - away * np.sin(yaw)).round().astype(int), 0, w - 1)
            y = np.clip((rows - away * np.cos(yaw)).round().astype(int), 0, h - 1)
            inside &= roads.is_road[y, x]
            verge[i] += inside * _VERGE_STEP_M
    wider_left = verge[0] - verge[1]
    either = np.abs(wider_left) < _VERGE_MARGIN_M
    turned = np.where(either, rng.random(len(yaw)) < 0.5, wider_left < 0)
    return yaw + np.pi * turned


def _enu(pixels: Float64Array, square: Square) -> Float64Array:
    """Converts (..., 2) pixels (x, y) to (..., 2) metres east and north of the square's middle."""
    h, w = square.rgb.shape[:2]
    x, y = pixels[..., 0] - (w - 1) / 2, (h - 1) / 2 - pixels[..., 1]
    return np.stack([x, y], axis=-1) * square.m_per_px


def _on_cells(image: UInt8Array, m_per_px: float, interpolation: int) -> UInt8Array:
    """Returns an image on the window's cells: in their middle, and mirrored beyond its edges."""
    h, w = image.shape[:2]
    scale = CELL_M / m_per_px
    matrix = np.array([[scale, 0, (w - 1 - scale * (_SIDE - 1)) / 2], [0, scale, (h - 1 - scale * (_SIDE - 1)) / 2]])
    flags = interpolation | cv2.WARP_INVERSE_MAP
    cells = cv2.warpAffine(image, matrix, (_SIDE, _SIDE), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cells, np.uint8)


def _raster(
    square: Square, cues: Cues, map_rgb: UInt8Array, appearance: Appearance, rng: np.random.Generator
) -> CityRaster:
    """Makes the window; what the crowns hide of the street is guessed from around them."""
    h, w = square.rgb.shape[:2]
    photo = np.ascontiguousarray(square.rgb)
    below = np.asarray(cv2.inpaint(photo, cues.canopy.astype(np.uint8), _INPAINT_PX, cv2.INPAINT_TELEA), np.uint8)
    street = _surface(below, square.m_per_px, _STREET_SHARPENING, _STREET_GRAIN, rng)
    from_above = _surface(map_rgb, square.m_per_px, float(rng.uniform(*_MAP_SHARPENING)), _MAP_GRAIN, rng)
    gain = float(street.mean()) / max(float(square.rgb.mean()), 1.0)
    height, material = np.zeros((_FINE * h, _FINE * w), np.uint8), np.zeros((_FINE * h, _FINE * w), np.uint8)
    for building in cues.buildings:
        tall = float(np.clip(building.height_m * rng.uniform(*_BUILDING_SCALE), _LEAST_BUILDING_M, _MOST_BUILDING_M))
        outline = ((building.outline_px + 0.5) * _FINE - 0.5).round().astype(np.int32)
        cv2.fillPoly(height, [outline], round(10 * tall))
        cv2.fillPoly(material, [outline], _facade(building.outline_px, int(rng.integers(kinds.FACADE_STYLES))))
    height, material = (_on_cells(a, square.m_per_px / _FINE, cv2.INTER_NEAREST) for a in (height, material))
    labels = _on_cells(_labels(cues), square.m_per_px, cv2.INTER_NEAREST)
    street_label = np.where(labels == Label.TREE, np.uint8(Label.OTHER), labels)
    for label in (labels, street_label):
        label[material > 0] = Label.BUILDING
    return CityRaster(
        west_m=-WINDOW_M / 2,
        north_m=WINDOW_M / 2,
        side=_SIDE,
        map_pyramid=pyramid(from_above),
        street_pyramid=pyramid(street),
        height_dm=height,
        material=material,
        map_label=labels,
        street_label=street_label,
        parts=_trees(square, cues, gain, rng),
        appearance=appearance,
    )


def _surface(
    rgb: UInt8Array, m_per_px: float, sharpening: float, grain_amplitude: Range, rng: np.random.Generator
) -> UInt8Array:
    """Returns a photo on the window's cells, sharpened, rough, and under a light of its own."""
    fine = np.asarray(cv2.resize(rgb, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
    soft = cv2.GaussianBlur(fine, (0, 0), 2 * _EDGE_SIGMA_M / m_per_px)
    fine = np.asarray(cv2.addWeighted(fine, 1 + sharpening, soft, -sharpening, 0), np.uint8)
    red, green, blue = (float(v) for v in rng.uniform(*_GAIN) * (1 + rng.normal(0, _CAST_SIGMA, 3)))
    fine = develop(fine, (red, green, blue), float(rng.uniform(*_GAMMA)), 0.0)
    cells = _on_cells(fine, m_per_px / 2, cv2.INTER_LINEAR)
    grain = textures.grain(*(float(v) for v in rng.integers(0, 128, 2)), _GRAIN_TILE)
    rough = cv2.merge([(grain * (rng.uniform(*grain_amplitude) / _NOISE_RANGE)).astype(np.int16)] * 3)
    for top in range(0, _SIDE, _GRAIN_TILE):
        for left in range(0, _SIDE, _GRAIN_TILE):
            tile = cells[top : top + _GRAIN_TILE, left : left + _GRAIN_TILE]
            cv2.add(tile, rough, dst=tile, dtype=cv2.CV_8U)
    return cells


def _facade(outline_px: Float64Array, style: int) -> int:
    """Returns the material of walls along an outline's sides."""
    turn = float(-np.radians(cv2.minAreaRect(outline_px.astype(np.float32))[2]) % (np.pi / 2))
    return 1 + int(turn / (np.pi / 2) * kinds.FACADE_TURNS) % kinds.FACADE_TURNS * kinds.FACADE_STYLES + style


def _labels(cues: Cues) -> UInt8Array:
    """Returns the (H, W) classes of a photo, buildings left out."""
    labels = np.where(cues.green, np.uint8(Label.GREEN), np.uint8(Label.OTHER))
    labels[cues.roads.is_road] = Label.ROAD
    labels[cues.canopy] = Label.TREE
    return labels


def _trees(square: Square, cues: Cues, gain: float, rng: np.random.Generator) -> Parts:
    """Raises trees of random heights in the colours of their photo, and their mirror images beyond the edges."""
    h, w = square.rgb.shape[:2]
    soft = np.asarray(cv2.GaussianBlur(square.rgb, (0, 0), _LEAF_PX), np.float64)
    n = len(cues.trees_px)
    at = np.clip(cues.trees_px.round().astype(int), 0, [w - 1, h - 1])
    leaves = soft[at[:, 1], at[:, 0]] * gain * rng.uniform(*_CROWN_TONE, (n, 1)) + rng.normal(0, _CROWN_SIGMA, (n, 3))
    radius = cues.crown_m * rng.uniform(*_CROWN_SCALE, n)
    bottom = (_CROWN_BOTTOM_M + _CROWN_BOTTOM_PER_M * radius) * rng.uniform(*_BOTTOM_SCALE, n)
    top = bottom + radius * rng.uniform(*_CROWN_HEIGHT, n)
    label, zero, one = (np.full(n, float(v)) for v in (Label.TREE, 0, 1))
    bark = np.tile(_BARK * gain, (n, 1))
    crowns = np.column_stack([bottom, top, radius, one, leaves, one, label])
    trunks = np.column_stack([
        zero, bottom + _TRUNK_INTO_CROWN * radius, _TRUNK_M + _TRUNK_PER_CROWN * radius, zero, bark,
        np.full(n, _BARK_ROUGHNESS), label,
    ])  # fmt: skip
    enu = _enu(cues.trees_px, square)
    rows = []
    for x in (-1, 0, 1):  # a mirror image: about the edge, -1 or 1 half a side away
        for y in (-1, 0, 1):
            mirrored = np.column_stack(
                [_mirrored(enu[:, 0], w * square.m_per_px, x), _mirrored(enu[:, 1], h * square.m_per_px, y)]
            )
            inside = (np.abs(mirrored) < WINDOW_M / 2).all(axis=1)
            rows += [np.column_stack([mirrored, part])[inside] for part in (trunks, crowns)]
    return Parts(np.concatenate(rows).astype(np.float32).reshape(-1, PART_COLUMNS))


def _mirrored(metres: Float64Array, side_m: float, edge: int) -> Float64Array:
    return metres if edge == 0 else edge * side_m - metres
