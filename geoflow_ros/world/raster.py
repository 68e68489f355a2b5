"""A window of a city as pixels: the orthophoto, the street's surface, heights, materials and labels.

Rows run south, columns east; the centre of cell (row, column) is at
``(west + (column + 0.5) * cell, north - (row + 0.5) * cell)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float32Array, Float64Array, Int64Array, UInt8Array
from geoflow_ros.world import kinds
from geoflow_ros.world.appearance import Appearance, Look
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.plan import Polygons

CELL_M = 0.125
_COARSE = 4  # cells of the shadow raster per map cell, along one axis
_SHIFT = 4  # fractional bits of cv2's polygon corners
LEVELS = 6  # levels of the image pyramids: 0.125 m to 4 m


@dataclass(frozen=True)
class Parts:
    """Upright parts (trunks, crowns, poles, plates) that face every viewer.

    ``table`` is (n, 11) float32: east, north, bottom and top height, half width (m), 1 for an ellipse and 0 for a
    rectangle, RGB, roughness 0..1, label.
    """

    table: Float32Array


@dataclass(frozen=True)
class CityRaster:
    """A square window of a city under one appearance.

    Attributes:
        west_m, north_m: ENU position of the upper left corner.
        side: number of cells along a side, a multiple of 32.
        map_pyramid, street_pyramid: (side, 1.5 side, 3) uint8: the image, and right of it LEVELS - 1 ever smaller ones.
        height_dm: (side, side) uint8, decimetres above the ground, as the street sees it.
        material: (side, side) uint8, row of the appearance's wall table, 0 where nothing stands.
        map_label, street_label: (side, side) uint8, :class:`kinds.Label`.
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
        return self.side * CELL_M

    @property
    def orthophoto(self) -> UInt8Array:
        """(side, side, 3) uint8 RGB, what the map shows."""
        return self.map_pyramid[:, : self.side]


def bake(layout: CityLayout, appearance: Appearance, west_m: float, north_m: float, side_m: float) -> CityRaster:
    """Bake the window whose upper left corner is (``west_m``, ``north_m``).

    A cell's content depends on the layout, the appearance and the cell's place, not on the window: neighbouring windows
    fit, except for shadows of things further than 40 m outside.
    """
    west_m, north_m = float(np.floor(west_m)), float(np.ceil(north_m))  # whole metres: cells of all windows coincide
    side = int(np.ceil(side_m / CELL_M / 32)) * 32
    canvas = _Canvas(west_m, north_m, side)
    ground = canvas.ground(layout)
    height = np.zeros((side, side), np.uint8)
    height[kinds.labels()[ground] == kinds.Label.PAVEMENT] = 1
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
        map_pyramid=_pyramid(canvas.colour(photo, appearance.map, photo_shade)),
        street_pyramid=_pyramid(canvas.colour(street, appearance.street, street_shade)),
        height_dm=height,
        material=material,
        map_label=kinds.labels()[photo],
        street_label=street_label,
        parts=_parts(layout, appearance, np.array([west_m, north_m - side * CELL_M]), side * CELL_M),
        appearance=appearance,
    )


class _Canvas:
    """Draws vectors of the plan into rasters of one window."""

    def __init__(self, west_m: float, north_m: float, side: int) -> None:
        self.west, self.north, self.side = west_m, north_m, side
        self.low = np.array([west_m, north_m - side * CELL_M])
        self.high = np.array([west_m + side * CELL_M, north_m])

    def cells(self, points: Float64Array, per_m: float = 1 / CELL_M) -> npt.NDArray[np.int32]:
        """ENU metres → fixed-point (column, row) of cv2, whose integer coordinates are cell centres."""
        column = (points[..., 0] - self.west) * per_m - 0.5
        row = (self.north - points[..., 1]) * per_m - 0.5
        return np.round(np.stack([column, row], axis=-1) * 2**_SHIFT).astype(np.int32)

    def near(self, points: Float64Array, margin_m: float) -> npt.NDArray[np.bool_]:
        """Which of the points lie in the window or within a margin of it; a bool for a single point."""
        inside = ((points >= self.low - margin_m) & (points <= self.high + margin_m)).all(axis=-1)
        return np.asarray(inside)

    def fill(self, image: UInt8Array, polygons: Polygons) -> None:
        visible = polygons.inside(self.low, self.high)
        for corners, kind in zip(self.cells(visible.corners), visible.kind.tolist(), strict=True):
            cv2.fillPoly(image, [corners], kind, shift=_SHIFT)

    def ground(self, layout: CityLayout) -> UInt8Array:
        """What lies on the ground, the same for map and street."""
        image = _meadow(layout.seed, self.west, self.north, self.side)
        roads = [r for r in layout.roads if self.near(r.points, 15).any()]
        for road in roads:
            self._stroke(
                image, road.points, road.half_width_m + road.pavement_m, kinds.PAVING[(road.start * 7 + road.end) % 4]
            )
        for road in roads:
            self._stroke(image, road.points, road.half_width_m + 0.15, kinds.KERB)
        self.fill(image, layout.driveways)  # a driveway crosses the pavement
        for road in roads:
            self._stroke(image, road.points, road.half_width_m, kinds.ASPHALT[(road.start * 5 + road.end) % 4])
        for node in layout.nodes[self.near(layout.nodes, 15)]:
            x, y = self.cells(node)
            cv2.circle(image, (int(x), int(y)), int(7.5 / CELL_M * 2**_SHIFT), kinds.ASPHALT[0], -1, shift=_SHIFT)
        self.fill(image, layout.surface)
        return image

    def _stroke(self, image: UInt8Array, points: Float64Array, half_width_m: float, kind: int) -> None:
        cv2.polylines(image, [self.cells(points)], False, kind, int(round(2 * half_width_m / CELL_M)), shift=_SHIFT)

    def hedges(self, layout: CityLayout, height: UInt8Array, material: UInt8Array) -> None:
        raised = np.isin(layout.surface.kind, kinds.HEDGES)
        visible = Polygons(layout.surface.corners[raised], layout.surface.kind[raised]).inside(self.low, self.high)
        for corners, kind in zip(self.cells(visible.corners), visible.kind.tolist(), strict=True):
            cv2.fillPoly(height, [corners], round(10 * kinds.hedge_height_m(kind)), shift=_SHIFT)
            row = kinds.MATERIAL_WALL if kind == kinds.HEDGES[2] else kinds.MATERIAL_GREEN
            cv2.fillPoly(material, [corners], row, shift=_SHIFT)

    def buildings(self, layout: CityLayout, height: UInt8Array, material: UInt8Array) -> Polygons:
        """Raise the buildings; gives the halves of pitched roofs, with their aspect as kind (256 steps a turn)."""
        b = layout.buildings
        near = self.near(b.corners.mean(axis=1), 15)
        halves, aspects = [], []
        for corners, h, facade, ridge in zip(
            b.corners[near], b.height_m[near], b.facade[near], b.ridge[near], strict=True
        ):
            side = corners[1] - corners[2]
            yaw = float(np.arctan2(side[1], side[0])) % (np.pi / 2)
            turn = int(yaw / (np.pi / 2) * kinds.FACADE_TURNS) % kinds.FACADE_TURNS
            fixed = self.cells(corners)
            cv2.fillPoly(height, [fixed], int(min(250, 10 * h)), shift=_SHIFT)
            cv2.fillPoly(material, [fixed], 1 + turn * kinds.FACADE_STYLES + int(facade), shift=_SHIFT)
            if ridge:
                a, b_, c, d = corners
                if np.linalg.norm(a - b_) > np.linalg.norm(b_ - c):
                    a, b_, c, d = b_, c, d, a
                middle = (np.stack([a, d]) + np.stack([b_, c])) / 2  # the ridge runs along the longer side
                for half, out in (
                    (np.stack([a, middle[0], middle[1], d]), a - b_),
                    (np.stack([b_, middle[0], middle[1], c]), b_ - a),
                ):
                    halves.append(half)
                    aspects.append(int((np.arctan2(out[1], out[0]) % (2 * np.pi)) / (2 * np.pi) * 255))
        return Polygons(np.array(halves).reshape(-1, 4, 2), np.array(aspects, np.uint8))

    def roofs(self, layout: CityLayout, image: UInt8Array) -> None:
        self.fill(image, Polygons(layout.buildings.corners, layout.buildings.roof))

    def crowns(self, layout: CityLayout, image: UInt8Array) -> None:
        f = layout.furniture
        trees = (f.sort == kinds.Sort.TREE) & self.near(f.position, 6)
        offsets = np.random.default_rng(5).uniform(-0.6, 0.6, (4, 2))
        for point, size, tone in zip(f.position[trees], f.size_m[trees], f.tone[trees], strict=True):
            shade = int(tone * 5.99)
            x, y = self.cells(point)
            cv2.circle(image, (int(x), int(y)), int(size / CELL_M * 2**_SHIFT), kinds.CROWNS[shade], -1, shift=_SHIFT)
            for k, offset in enumerate(offsets):
                x, y = self.cells(point + offset * size)
                kind = kinds.CROWNS[(shade + 1 + k) % len(kinds.CROWNS)] if k % 2 else kinds.CROWNS[shade]
                cv2.circle(image, (int(x), int(y)), int(0.4 * size / CELL_M * 2**_SHIFT), kind, -1, shift=_SHIFT)
        lamps = (f.sort == kinds.Sort.LAMP) & self.near(f.position, 2)
        for x, y in self.cells(f.position[lamps]).tolist():
            cv2.circle(image, (x, y), int(0.25 / CELL_M * 2**_SHIFT), kinds.KERB, -1, shift=_SHIFT)

    def cars(
        self, layout: CityLayout, look: Look, image: UInt8Array, height: UInt8Array | None, material: UInt8Array | None
    ) -> None:
        """Park the cars of ``look``; with ``height`` and ``material`` they stand in the street, off the lanes."""
        slots = layout.slots
        rng = np.random.default_rng(look.car_seed)
        n = len(slots.yaw_rad)
        taken = rng.random(n) < np.where(slots.on_road, 0.6, look.occupancy)
        if height is not None:
            taken &= ~slots.on_road
        colour = rng.integers(0, len(kinds.CARS), n)
        jitter = rng.normal(0, 1, (n, 4)) * np.array([0.5, 0.12, 0.03, 0.25])
        for i in np.flatnonzero(taken & self.near(slots.position, 4)):
            c, s = np.cos(slots.yaw_rad[i] + jitter[i, 2]), np.sin(slots.yaw_rad[i] + jitter[i, 2])
            forward, left = np.array([c, s]), np.array([-s, c])
            at = slots.position[i] + jitter[i, 0] * forward + jitter[i, 1] * left
            length, width = (4.4 + jitter[i, 3]) / 2, 0.9
            body = np.stack(
                [at + a * length * forward + b * width * left for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
            )
            fixed = self.cells(body)
            cv2.fillPoly(image, [fixed], kinds.CARS[colour[i]], shift=_SHIFT)
            glass = [
                np.stack([at + a * forward + b * left for a, b in ((p, 0.75), (p, -0.75), (q, -0.7), (q, 0.7))])
                for p, q in ((1.0, 0.45), (-1.3, -1.75))
            ]
            for pane in glass:
                cv2.fillPoly(image, [self.cells(pane)], kinds.CARS[1], shift=_SHIFT)
            if height is not None and material is not None:
                cabin = np.stack(
                    [at + a * forward + b * 0.86 * left for a, b in ((0.9, 1), (0.9, -1), (-1.7, -1), (-1.7, 1))]
                )
                cv2.fillPoly(height, [fixed], 9, shift=_SHIFT)
                cv2.fillPoly(height, [self.cells(cabin)], 14 + int(i) % 3, shift=_SHIFT)
                cv2.fillPoly(material, [fixed], kinds.MATERIAL_CAR + int(colour[i]), shift=_SHIFT)

    def tall(self, layout: CityLayout, height: UInt8Array) -> Float32Array:
        """Heights that cast shadows, metres, on the coarse raster: buildings, cars and trees."""
        coarse = (
            cv2.resize(height, None, fx=1 / _COARSE, fy=1 / _COARSE, interpolation=cv2.INTER_AREA).astype(np.float32)
            / 10
        )
        f = layout.furniture
        trees = (f.sort == kinds.Sort.TREE) & self.near(f.position, 6)
        crowns = np.zeros_like(coarse)
        for (x, y), size in zip(
            self.cells(f.position[trees], 1 / CELL_M / _COARSE).tolist(), f.size_m[trees], strict=True
        ):
            cv2.circle(
                crowns, (x, y), int(size / CELL_M / _COARSE * 2**_SHIFT), 1.6 + 2.0 * float(size), -1, shift=_SHIFT
            )
        return np.maximum(coarse, crowns)

    def shade(self, layout: CityLayout, look: Look, tall: Float32Array, roofs: Polygons | None) -> UInt8Array:
        """(side, side) uint8 brightness: cast shadows, shadows of poles and, in the map, slopes of roofs."""
        step = CELL_M * _COARSE
        dark = np.zeros(tall.shape, np.float32)
        rise = step * 1.5 * np.tan(look.sun_elevation_rad)
        dx, dy = np.cos(look.sun_azimuth_rad) * 1.5, -np.sin(look.sun_azimuth_rad) * 1.5
        for k in range(1, int(min(26, 40 / (1.5 * step), tall.max() / rise + 1)) + 1):
            moved = cv2.warpAffine(
                tall, np.array([[1, 0, -k * dx], [0, 1, -k * dy]]), tall.shape[::-1], flags=cv2.INTER_LINEAR
            )
            np.maximum(dark, np.clip((moved - tall - k * rise) / 0.6, 0, 1), out=dark)
        lit = (255 * (1 - look.shadow * dark)).astype(np.uint8)
        image = np.asarray(cv2.resize(lit, (self.side, self.side), interpolation=cv2.INTER_LINEAR), np.uint8)
        f = layout.furniture
        poles = np.isin(f.sort, (kinds.Sort.LAMP, kinds.Sort.SIGN, kinds.Sort.TREE)) & self.near(f.position, 10)
        reach = np.where(f.sort == kinds.Sort.TREE, 2.5, f.size_m)[poles] / np.tan(look.sun_elevation_rad)
        away = -np.array([np.cos(look.sun_azimuth_rad), np.sin(look.sun_azimuth_rad)])
        starts, ends = self.cells(f.position[poles]), self.cells(f.position[poles] + reach[:, None] * away)
        level = int(255 * (1 - look.shadow * 0.9))
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
            cv2.line(image, a, b, level, 2, shift=_SHIFT)
        if roofs is not None:
            towards = look.sun_azimuth_rad
            for corners, aspect in zip(self.cells(roofs.corners), roofs.kind.tolist(), strict=True):
                facing = np.cos(aspect / 255 * 2 * np.pi - towards)
                cv2.fillPoly(
                    image, [corners], int(np.clip(225 * (1 + 0.6 * look.shadow * facing), 0, 255)), shift=_SHIFT
                )
        return image

    def colour(self, kind: UInt8Array, look: Look, shade: UInt8Array) -> UInt8Array:
        """(side, side, 3) RGB: the look's colours, the ground's stains and grain, shadows and the sensor's blur."""
        table = np.clip(look.colours, 0, 255).astype(np.uint8).reshape(256, 1, 3)
        image = cv2.LUT(cv2.merge([kind, kind, kind]), table)
        amplitude = np.zeros(256, np.float32)
        amplitude[: kinds.KINDS] = kinds.roughness()
        noise = cv2.LUT(kind, amplitude.astype(np.uint8)).astype(np.int16) * _grain(self.west, self.north, self.side)
        noise >>= 6
        grained = np.clip(image + noise[..., None], 0, 255).astype(np.uint8)
        image = cv2.multiply(grained, cv2.merge([shade, shade, shade]), scale=1 / 255)
        if look.blur_m > 0.06:
            image = cv2.GaussianBlur(image, (0, 0), look.blur_m / CELL_M)
        return np.asarray(image, np.uint8)


@cache
def _noise_tile() -> npt.NDArray[np.int8]:
    """(1024, 1024) noise over 128 m that repeats without a seam: from grain to stains of several metres."""
    rng = np.random.default_rng(1)
    total = np.zeros((1024, 1024), np.float32)
    for cell, weight in ((1, 0.5), (4, 0.6), (16, 0.9), (64, 0.7)):
        n = 1024 // cell
        small = np.pad(rng.standard_normal((n, n)).astype(np.float32), 2, mode="wrap")
        large = cv2.resize(small, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        total += weight * large[2 * cell : 2 * cell + 1024, 2 * cell : 2 * cell + 1024]
    return np.clip(total * 42, -127, 127).astype(np.int8)


def _place(west: float, north: float, side: int, tile: int) -> tuple[Int64Array, Int64Array]:
    rows = (np.arange(side) - int(round(north / CELL_M))) % tile
    columns = (np.arange(side) + int(round(west / CELL_M))) % tile
    return rows, columns


@lru_cache(maxsize=2)
def _grain(west: float, north: float, side: int) -> npt.NDArray[np.int16]:
    rows, columns = _place(west, north, side, 1024)
    return _noise_tile()[rows][:, columns].astype(np.int16)


def _meadow(seed: int, west: float, north: float, side: int) -> UInt8Array:
    """Grass of several tones in soft patches; the choice depends on the place alone."""
    rng = np.random.default_rng([seed, 41])
    small = np.pad(rng.random((64, 64)).astype(np.float32), 1, mode="wrap")
    large = cv2.resize(small, (66 * 16, 66 * 16), interpolation=cv2.INTER_LINEAR)[16:-16, 16:-16]
    metres = side // 8
    rows, columns = (np.arange(metres) - int(north)) % 1024, (np.arange(metres) + int(west)) % 1024
    tone = cv2.resize(large[rows][:, columns], (side, side), interpolation=cv2.INTER_NEAREST)
    return np.digitize(tone, [0.4, 0.55, 0.7]).astype(np.uint8)


def _pyramid(image: UInt8Array) -> UInt8Array:
    """(side, 1.5 side, 3): the image, and right of it, one below the other, each level at half the size of the last."""
    side = len(image)
    atlas = np.zeros((side, side * 3 // 2, 3), np.uint8)
    atlas[:, :side] = image
    row = 0
    for _ in range(LEVELS - 1):
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
        atlas[row : row + len(image), side : side + len(image)] = image
        row += len(image)
    return atlas


def _parts(layout: CityLayout, appearance: Appearance, low: Float64Array, side_m: float) -> Parts:
    f = layout.furniture
    inside = ((f.position >= low - 10) & (f.position <= low + side_m + 10)).all(axis=1)
    rows: list[list[float]] = []
    colours = appearance.street.colours
    gain = float(colours[kinds.KERB].mean() / kinds.colours()[kinds.KERB].mean())
    grey, tree, pole = 120 * gain, float(kinds.Label.TREE), float(kinds.Label.POLE)
    plates = np.array([[200, 40, 40], [40, 70, 170], [230, 230, 230], [220, 190, 40], [40, 120, 70]]) * gain
    for (e, n), sort, size, tone in zip(
        f.position[inside], f.sort[inside], f.size_m[inside], f.tone[inside], strict=True
    ):
        if sort == kinds.Sort.TREE:
            crown = colours[kinds.CROWNS[int(tone * 5.99)]]
            bottom = 1.2 + 0.35 * size
            rows.append(
                [e, n, 0, bottom + 0.5 * size, 0.08 + 0.05 * size, 0, 82 * gain, 68 * gain, 54 * gain, 0.3, tree]
            )
            rows.append([e, n, bottom, bottom + 2.1 * size, size, 1, *crown, 1.0, tree])
        elif sort == kinds.Sort.LAMP:
            rows.append(
                [e, n, 0, size, 0.09, 0, grey * (0.6 + 0.5 * tone), grey * (0.65 + 0.45 * tone), grey * 0.8, 0, pole]
            )
            rows.append([e, n, size - 0.2, size, 0.5, 0, grey, grey, grey, 0, pole])
        elif sort == kinds.Sort.SIGN:
            plate = plates[int(tone * 4.99)]
            rows.append([e, n, 0, size - 0.7, 0.05, 0, grey, grey, grey, 0, pole])
            rows.append([e, n, size - 0.7, size, 0.35, float(tone * 10 % 1 < 0.6), *plate, 0, pole])
        else:
            width, colour = {
                int(kinds.Sort.BIN): (0.3, np.array([70, 90, 70])),
                int(kinds.Sort.HYDRANT): (0.18, np.array([190, 50, 40])),
                int(kinds.Sort.CABINET): (0.5, np.array([150, 150, 140])),
                int(kinds.Sort.BOLLARD): (0.09, np.array([60, 60, 64])),
            }[int(sort)]
            rows.append([e, n, 0, size, width, 0, *(colour * gain * (0.8 + 0.4 * tone)), 0.1, pole])
    return Parts(np.array(rows, np.float32).reshape(-1, 11))
