"""A window of a city as pixels: the orthophoto, the street's surface, heights, materials and labels.

Rows run south, columns east; the centre of cell (row, column) is at
`(west + (column + 0.5) * cell, north - (row + 0.5) * cell)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.world import kinds, textures
from geoflow_ros.world.appearance import LOW_SUN_RAD, Appearance, Look
from geoflow_ros.world.cells import CELL_M, pyramid
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.parts import Parts, make_parts
from geoflow_ros.world.plan import Polygons

_SHIFT = 4  # fractional bits of cv2's polygon corners
_SIDE_MULTIPLE = 32  # of a window's side in cells, so that five pyramid levels are halves without a rest

# How far outside a window a thing's middle may lie while some of it is inside, metres.
_ROAD_MARGIN_M, _HOUSE_MARGIN_M, _TREE_MARGIN_M, _LAMP_MARGIN_M, _CAR_MARGIN_M = 15.0, 15.0, 6.0, 2.0, 4.0
_POLE_SHADOW_MARGIN_M = 10.0

_KERB_M = 0.15  # width of a kerbstone
_JUNCTION_RADIUS_M = 7.5  # of asphalt that joins the roads
_PAVEMENT_DM = 1  # the kerb's height
_MAX_HEIGHT_DM = 250  # what fits a byte
_DM_PER_M = 10
_ASPECT_STEPS = 255  # of a turn, in which a roof's slope looks

# Trees and lamps from above: four clumps of leaves on a round crown.
_CLUMP_OFFSET, _CLUMP_RADIUS = 0.6, 0.4  # of the crown's radius
_CROWN_TONES = 5.99  # a tone of 0..1 picks one of six crowns
_LAMP_HEAD_M = 0.25  # radius

# Cars of a common size, metres; x forward, y left of the middle.
_CAR_LENGTH_M, _CAR_HALF_WIDTH_M = 4.4, 0.9
_LANE_OCCUPANCY = 0.6  # share of the places in the lanes that hold a car in the photo
_CAR_JITTER = (0.5, 0.12, 0.03, 0.25)  # standard deviations: forward and left, yaw in radians, length
_WINDSCREEN = ((1.0, 0.75), (1.0, -0.75), (0.45, -0.7), (0.45, 0.7))
_REAR_WINDOW = ((-1.3, 0.75), (-1.3, -0.75), (-1.75, -0.7), (-1.75, 0.7))
_CABIN = ((0.9, 0.86), (0.9, -0.86), (-1.7, -0.86), (-1.7, 0.86))
_BONNET_DM, _CABIN_DM, _CABIN_SPREAD_DM = 9, 14, 3  # heights; cabins differ by less than the last

# Light and shadow.
_COARSE = 4  # map cells per cell of the shadow raster, along one axis
_STRIDE = 1.5  # cells of the shadow raster that one step goes towards the sun
_MAX_STRIDES, _LOW_SUN_STRIDES, _SHADOW_REACH_M = 26, 53, 40.0
_PENUMBRA_M = 0.6  # height over which a shadow's edge fades
_CROWN_HEIGHT_M, _CROWN_HEIGHT_PER_RADIUS = 1.6, 2.0  # of what casts a tree's shadow
_TRUNK_SHADOW_M = 2.5  # height of a trunk that casts a shadow of its own
_POLE_SHADE, _POLE_SHADOW_CELLS = 0.9, 2  # of a shadow's darkness; width
_ROOF_LIGHT, _ROOF_CONTRAST = 225, 0.6  # grey level of a level roof; how much a slope's differs
_NOISE_SHIFT = 6  # bits: a roughness of 64 would give the noise its whole range
_MIN_BLUR_M = 0.06  # a sensor that blurs less than half a cell is left as it is


@dataclass(frozen=True)
class CityRaster:
    """A square window of a city under one appearance.

    Attributes:
        west_m: ENU position of the upper left corner.
        north_m: likewise.
        side: number of cells along a side, a multiple of 32.
        map_pyramid: (side, 1.5 side, 3) uint8: the image, and right of it LEVELS - 1 ever smaller ones.
        street_pyramid: likewise, of the street's surface.
        height_dm: (side, side) uint8, decimetres above the ground, as the street sees it.
        material: (side, side) uint8, row of the appearance's wall table, 0 where nothing stands.
        map_label: (side, side) uint8, `kinds.Label`.
        street_label: likewise.
        parts: upright furniture.
        appearance: what it was baked with.
    """

    west_m: float
    north_m: float
    side: int
    map_pyramid: UInt8Array
    street_pyramid: UInt8Array
    height_dm: UInt8Array
    material: UInt8Array
    map_label: UInt8Array
    street_label: UInt8Array
    parts: Parts
    appearance: Appearance

    @property
    def side_m(self) -> float:
        """The side in metres."""
        return self.side * CELL_M

    @property
    def orthophoto(self) -> UInt8Array:
        """The (side, side, 3) uint8 RGB image that the map shows."""
        return self.map_pyramid[:, : self.side]


def bake(layout: CityLayout, appearance: Appearance, west_m: float, north_m: float, side_m: float) -> CityRaster:
    """Bakes the window whose upper left corner is (`west_m`, `north_m`).

    A cell's content depends on the layout, the appearance and the cell's place, not on the window: neighbouring windows
    fit, except for shadows of things further than 40 m outside.

    Args:
        layout: the plan.
        appearance: light, season and cars of map and street.
        west_m: ENU position of the corner.
        north_m: likewise.
        side_m: the window's side; it is rounded up to whole multiples of 4 m.
    """
    west_m, north_m = float(np.floor(west_m)), float(np.ceil(north_m))  # whole metres: cells of all windows coincide
    side = int(np.ceil(side_m / CELL_M / _SIDE_MULTIPLE)) * _SIDE_MULTIPLE
    canvas = _Canvas(west_m, north_m, side)
    ground = canvas.ground(layout)
    height = np.zeros((side, side), np.uint8)
    height[kinds.labels()[ground] == kinds.Label.PAVEMENT] = _PAVEMENT_DM
    material = np.zeros((side, side), np.uint8)
    canvas.hedges(layout, height, material)
    turns = canvas.buildings(layout, height, material)
    photo = ground.copy()
    canvas.cars(layout, appearance.map, photo, None, None)
    canvas.roofs(layout, photo)
    canvas.crowns(layout, photo)
    street = ground
    canvas.cars(layout, appearance.street, street, height, material)
    street_label = kinds.labels()[street]
    street_label[(material > 0) & (material < kinds.MATERIAL_CAR)] = kinds.Label.BUILDING
    tall = canvas.tall(layout, height)
    photo_shade = canvas.shade(layout, appearance.map, tall, turns)
    street_shade = canvas.shade(layout, appearance.street, tall, None)
    return CityRaster(
        west_m=west_m,
        north_m=north_m,
        side=side,
        map_pyramid=pyramid(canvas.colour(photo, appearance.map, photo_shade)),
        street_pyramid=pyramid(canvas.colour(street, appearance.street, street_shade)),
        height_dm=height,
        material=material,
        map_label=kinds.labels()[photo],
        street_label=street_label,
        parts=make_parts(layout, appearance, np.array([west_m, north_m - side * CELL_M]), side * CELL_M),
        appearance=appearance,
    )


class _Canvas:
    """Draws vectors of the plan into rasters of one window."""

    def __init__(self, west_m: float, north_m: float, side: int) -> None:
        self.west, self.north, self.side = west_m, north_m, side
        self.low = np.array([west_m, north_m - side * CELL_M])
        self.high = np.array([west_m + side * CELL_M, north_m])

    def cells(self, points: Float64Array, per_m: float = 1 / CELL_M) -> npt.NDArray[np.int32]:
        """Converts ENU metres to cv2's fixed-point (column, row), whose integer coordinates are cell centres."""
        column = (points[..., 0] - self.west) * per_m - 0.5
        row = (self.north - points[..., 1]) * per_m - 0.5
        fixed: npt.NDArray[np.int32] = np.round(np.stack([column, row], axis=-1) * 2**_SHIFT).astype(np.int32)
        return fixed

    def near(self, points: Float64Array, margin_m: float) -> npt.NDArray[np.bool_]:
        """Tells which of the points lie in the window or within a margin of it; a bool for a single point."""
        inside = ((points >= self.low - margin_m) & (points <= self.high + margin_m)).all(axis=-1)
        return np.asarray(inside)

    def disc(self, image: UInt8Array, centre: Float64Array, radius_m: float, kind: int) -> None:
        """Draws a disc about a point, (2,) ENU metres."""
        x, y = self.cells(centre)
        cv2.circle(image, (int(x), int(y)), int(radius_m / CELL_M * 2**_SHIFT), kind, -1, shift=_SHIFT)

    def fill(self, image: UInt8Array, polygons: Polygons) -> None:
        """Draws polygons with their kinds."""
        visible = polygons.inside(self.low, self.high)
        for corners, kind in zip(self.cells(visible.corners), visible.kind.tolist(), strict=True):
            cv2.fillPoly(image, [corners], kind, shift=_SHIFT)

    def ground(self, layout: CityLayout) -> UInt8Array:
        """Returns what lies on the ground, the same for map and street."""
        image = textures.meadow(layout.seed, self.west, self.north, self.side)
        roads = [r for r in layout.roads if self.near(r.points, _ROAD_MARGIN_M).any()]
        for road in roads:
            self._stroke(
                image, road.points, road.half_width_m + road.pavement_m, kinds.PAVING[(road.start * 7 + road.end) % 4]
            )
        for road in roads:
            self._stroke(image, road.points, road.half_width_m + _KERB_M, kinds.KERB)
        self.fill(image, layout.driveways)  # a driveway crosses the pavement
        for road in roads:
            self._stroke(image, road.points, road.half_width_m, kinds.ASPHALT[(road.start * 5 + road.end) % 4])
        for node in layout.nodes[self.near(layout.nodes, _ROAD_MARGIN_M)]:
            self.disc(image, node, _JUNCTION_RADIUS_M, kinds.ASPHALT[0])
        self.fill(image, layout.surface)
        return image

    def _stroke(self, image: UInt8Array, points: Float64Array, half_width_m: float, kind: int) -> None:
        cv2.polylines(image, [self.cells(points)], False, kind, int(round(2 * half_width_m / CELL_M)), shift=_SHIFT)

    def hedges(self, layout: CityLayout, height: UInt8Array, material: UInt8Array) -> None:
        """Raises hedges and garden walls."""
        raised = np.isin(layout.surface.kind, kinds.HEDGES)
        visible = Polygons(layout.surface.corners[raised], layout.surface.kind[raised]).inside(self.low, self.high)
        for corners, kind in zip(self.cells(visible.corners), visible.kind.tolist(), strict=True):
            cv2.fillPoly(height, [corners], round(_DM_PER_M * kinds.hedge_height_m(kind)), shift=_SHIFT)
            row = kinds.MATERIAL_WALL if kind == kinds.HEDGES[2] else kinds.MATERIAL_GREEN
            cv2.fillPoly(material, [corners], row, shift=_SHIFT)

    def buildings(self, layout: CityLayout, height: UInt8Array, material: UInt8Array) -> Polygons:
        """Raises the buildings; returns the halves of pitched roofs, with their aspect as kind (256 steps a turn)."""
        b = layout.buildings
        near = self.near(b.corners.mean(axis=1), _HOUSE_MARGIN_M)
        halves, aspects = [], []
        for corners, h, facade, ridge in zip(
            b.corners[near], b.height_m[near], b.facade[near], b.ridge[near], strict=True
        ):
            side = corners[1] - corners[2]
            yaw = float(np.arctan2(side[1], side[0])) % (np.pi / 2)
            turn = int(yaw / (np.pi / 2) * kinds.FACADE_TURNS) % kinds.FACADE_TURNS
            fixed = self.cells(corners)
            cv2.fillPoly(height, [fixed], int(min(_MAX_HEIGHT_DM, _DM_PER_M * h)), shift=_SHIFT)
            cv2.fillPoly(material, [fixed], 1 + turn * kinds.FACADE_STYLES + int(facade), shift=_SHIFT)
            if ridge:
                for half, aspect in _roof_halves(corners):
                    halves.append(half)
                    aspects.append(aspect)
        return Polygons(np.array(halves).reshape(-1, 4, 2), np.array(aspects, np.uint8))

    def roofs(self, layout: CityLayout, image: UInt8Array) -> None:
        """Draws the roofs."""
        self.fill(image, Polygons(layout.buildings.corners, layout.buildings.roof))

    def crowns(self, layout: CityLayout, image: UInt8Array) -> None:
        """Draws trees and the heads of lamps as they look from above."""
        f = layout.furniture
        trees = (f.sort == kinds.Sort.TREE) & self.near(f.position, _TREE_MARGIN_M)
        offsets = np.random.default_rng(5).uniform(-_CLUMP_OFFSET, _CLUMP_OFFSET, (4, 2))
        for point, size, tone in zip(f.position[trees], f.size_m[trees], f.tone[trees], strict=True):
            shade = int(tone * _CROWN_TONES)
            self.disc(image, point, size, kinds.CROWNS[shade])
            for k, offset in enumerate(offsets):
                kind = kinds.CROWNS[(shade + 1 + k) % len(kinds.CROWNS)] if k % 2 else kinds.CROWNS[shade]
                self.disc(image, point + offset * size, _CLUMP_RADIUS * size, kind)
        lamps = (f.sort == kinds.Sort.LAMP) & self.near(f.position, _LAMP_MARGIN_M)
        for point in f.position[lamps]:
            self.disc(image, point, _LAMP_HEAD_M, kinds.KERB)

    def cars(
        self, layout: CityLayout, look: Look, image: UInt8Array, height: UInt8Array | None, material: UInt8Array | None
    ) -> None:
        """Parks the cars of `look`; with `height` and `material` they stand in the street, off the lanes."""
        slots = layout.slots
        rng = np.random.default_rng(look.car_seed)
        n = len(slots.yaw_rad)
        taken = rng.random(n) < np.where(slots.on_road, _LANE_OCCUPANCY, look.occupancy)
        if height is not None:
            taken &= ~slots.on_road
        colour = rng.integers(0, len(kinds.CARS), n)
        jitter = rng.normal(0, 1, (n, 4)) * np.array(_CAR_JITTER)
        for i in np.flatnonzero(taken & self.near(slots.position, _CAR_MARGIN_M)):
            c, s = np.cos(slots.yaw_rad[i] + jitter[i, 2]), np.sin(slots.yaw_rad[i] + jitter[i, 2])
            forward, left = np.array([c, s]), np.array([-s, c])
            at = slots.position[i] + jitter[i, 0] * forward + jitter[i, 1] * left

            def outline(
                corners: Sequence[tuple[float, float]],
                at: Float64Array = at,
                forward: Float64Array = forward,
                left: Float64Array = left,
            ) -> npt.NDArray[np.int32]:
                return self.cells(np.stack([at + a * forward + b * left for a, b in corners]))

            x, y = (_CAR_LENGTH_M + jitter[i, 3]) / 2, _CAR_HALF_WIDTH_M
            body = outline([(x, y), (x, -y), (-x, -y), (-x, y)])
            cv2.fillPoly(image, [body], kinds.CARS[colour[i]], shift=_SHIFT)
            for pane in (_WINDSCREEN, _REAR_WINDOW):
                cv2.fillPoly(image, [outline(pane)], kinds.CARS[1], shift=_SHIFT)
            if height is not None and material is not None:
                cv2.fillPoly(height, [body], _BONNET_DM, shift=_SHIFT)
                cv2.fillPoly(height, [outline(_CABIN)], _CABIN_DM + int(i) % _CABIN_SPREAD_DM, shift=_SHIFT)
                cv2.fillPoly(material, [body], kinds.MATERIAL_CAR + int(colour[i]), shift=_SHIFT)

    def tall(self, layout: CityLayout, height: UInt8Array) -> Float32Array:
        """Returns the heights that cast shadows, metres, on the coarse raster: buildings, cars and trees."""
        scale = 1 / _COARSE
        mean_dm = cv2.resize(height, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        coarse = np.asarray(mean_dm.astype(np.float32) / _DM_PER_M, np.float32)
        f = layout.furniture
        trees = (f.sort == kinds.Sort.TREE) & self.near(f.position, _TREE_MARGIN_M)
        crowns = np.zeros_like(coarse)
        centres = self.cells(f.position[trees], 1 / CELL_M / _COARSE).tolist()
        for (x, y), size in zip(centres, f.size_m[trees], strict=True):
            radius = int(size / CELL_M / _COARSE * 2**_SHIFT)
            top = _CROWN_HEIGHT_M + _CROWN_HEIGHT_PER_RADIUS * float(size)
            cv2.circle(crowns, (x, y), radius, top, -1, shift=_SHIFT)
        return np.maximum(coarse, crowns)

    def shade(self, layout: CityLayout, look: Look, tall: Float32Array, roofs: Polygons | None) -> UInt8Array:
        """Returns (side, side) uint8 brightness: shadows and, in the map, the slopes of `roofs`."""
        lit = (255 * (1 - look.shadow * _cast_shadows(look, tall))).astype(np.uint8)
        image = np.asarray(cv2.resize(lit, (self.side, self.side), interpolation=cv2.INTER_LINEAR), np.uint8)
        self._pole_shadows(layout, look, image)
        if roofs is not None:
            self._roof_slopes(look, roofs, image)
        return image

    def _pole_shadows(self, layout: CityLayout, look: Look, image: UInt8Array) -> None:
        """Draws the shadows of what is too thin for the coarse raster."""
        f = layout.furniture
        thin = np.isin(f.sort, (kinds.Sort.LAMP, kinds.Sort.SIGN, kinds.Sort.TREE))
        poles = thin & self.near(f.position, _POLE_SHADOW_MARGIN_M)
        reach = np.where(f.sort == kinds.Sort.TREE, _TRUNK_SHADOW_M, f.size_m)[poles] / np.tan(look.sun_elevation_rad)
        away = -np.array([np.cos(look.sun_azimuth_rad), np.sin(look.sun_azimuth_rad)])
        starts, ends = self.cells(f.position[poles]), self.cells(f.position[poles] + reach[:, None] * away)
        level = int(255 * (1 - look.shadow * _POLE_SHADE))
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
            cv2.line(image, a, b, level, _POLE_SHADOW_CELLS, shift=_SHIFT)

    def _roof_slopes(self, look: Look, roofs: Polygons, image: UInt8Array) -> None:
        """Makes slopes towards the sun brighter than those that look away from it."""
        for corners, aspect in zip(self.cells(roofs.corners), roofs.kind.tolist(), strict=True):
            facing = np.cos(aspect / _ASPECT_STEPS * 2 * np.pi - look.sun_azimuth_rad)
            level = int(np.clip(_ROOF_LIGHT * (1 + _ROOF_CONTRAST * look.shadow * facing), 0, 255))
            cv2.fillPoly(image, [corners], level, shift=_SHIFT)

    def colour(self, kind: UInt8Array, look: Look, shade: UInt8Array) -> UInt8Array:
        """Returns (side, side, 3) RGB: the look's colours, stains and grain, shadows and the sensor's blur."""
        table = np.clip(look.colours, 0, 255).astype(np.uint8).reshape(256, 1, 3)
        image = cv2.LUT(cv2.merge([kind, kind, kind]), table)
        amplitude = np.zeros(256, np.float32)
        amplitude[: kinds.KINDS] = kinds.roughness()
        noise = cv2.LUT(kind, amplitude.astype(np.uint8)).astype(np.int16) * textures.grain(
            self.west, self.north, self.side
        )
        noise >>= _NOISE_SHIFT
        grained = np.clip(image + noise[..., None], 0, 255).astype(np.uint8)
        image = cv2.multiply(grained, cv2.merge([shade, shade, shade]), scale=1 / 255)
        if look.blur_m > _MIN_BLUR_M:
            image = cv2.GaussianBlur(image, (0, 0), look.blur_m / CELL_M)
        return np.asarray(image, np.uint8)


def _roof_halves(corners: Float64Array) -> list[tuple[Float64Array, int]]:
    """Splits a house's roof along its longer side; returns the corners of each half and the direction of its slope."""
    a, b, c, d = corners
    if np.linalg.norm(a - b) > np.linalg.norm(b - c):
        a, b, c, d = b, c, d, a
    start, end = (np.stack([a, d]) + np.stack([b, c])) / 2
    halves = []
    for half, out in ((np.stack([a, start, end, d]), a - b), (np.stack([b, start, end, c]), b - a)):
        aspect = (np.arctan2(out[1], out[0]) % (2 * np.pi)) / (2 * np.pi)
        halves.append((half, int(aspect * _ASPECT_STEPS)))
    return halves


def _cast_shadows(look: Look, tall: Float32Array) -> Float32Array:
    """Returns how dark the sun's shadows of `tall` are on its own raster, 0..1: a march towards the sun."""
    step = CELL_M * _COARSE
    dark = np.zeros(tall.shape, np.float32)
    rise = step * _STRIDE * np.tan(look.sun_elevation_rad)
    dx, dy = np.cos(look.sun_azimuth_rad) * _STRIDE, -np.sin(look.sun_azimuth_rad) * _STRIDE
    strides = _LOW_SUN_STRIDES if look.sun_elevation_rad < LOW_SUN_RAD else _MAX_STRIDES
    for k in range(1, int(min(strides, _SHADOW_REACH_M / (_STRIDE * step), tall.max() / rise + 1)) + 1):
        moved = cv2.warpAffine(
            tall, np.array([[1, 0, -k * dx], [0, 1, -k * dy]]), tall.shape[::-1], flags=cv2.INTER_LINEAR
        )
        np.maximum(dark, np.clip((moved - tall - k * rise) / _PENUMBRA_M, 0, 1), out=dark)
    return dark
