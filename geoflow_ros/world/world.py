"""A city at a place on Earth, under one appearance: its map, and what a camera sees anywhere in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.errors import WorldError
from geoflow_ros.geo import Datum, GeoBounds, ground_resolution, latlon_to_pixel, pixel_to_latlon
from geoflow_ros.tiles.mbtiles_writer import MBTilesWriter
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.cells import CELL_M
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.pairs import Area
from geoflow_ros.world.places import town_layout
from geoflow_ros.world.raster import CityRaster, bake
from geoflow_ros.world.render import View, render_views
from geoflow_ros.world.splits import Split
from geoflow_ros.world.windows import Windows

DEFAULT_DATUM = Datum(49.0, 8.4)
_WINDOW_M, _STRIDE_M = (
    384.0,
    96.0,
)  # a camera stays within half a stride of its window's centre: it sees 140 m in all directions
_BLOCK_M, _SHADOW_M = 256.0, 40.0  # the map is baked in blocks, with a rim for the shadows that fall in from outside
_TILE = 256
_CITY_SIDE_M = 640.0

Region = tuple[float, float, float, float]  # west, south, east, north in ENU metres
Photo = Callable[[CityRaster], UInt8Array]
"""What a map shows of a baked window: (side, side, 3) uint8 RGB, north up."""


@dataclass(frozen=True, eq=False)
class World:
    """A city under one appearance; its frame is ENU about `datum`, the centre of the plan."""

    layout: CityLayout
    appearance: Appearance
    datum: Datum = DEFAULT_DATUM
    _windows: OrderedDict[tuple[int, int], CityRaster] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    def of(
        cls,
        area: Area,
        seed: int,
        datum: Datum = DEFAULT_DATUM,
        conditions: Conditions = EASY,
        split: Split = Split.TEST,
        side_m: float = _CITY_SIDE_M,
    ) -> World:
        """Returns the town, or a city that training never saw, under the appearance of `seed`.

        Args:
            area: which of the two.
            seed: of the appearance, and of the city.
            datum: where on Earth its centre is.
            conditions: what they do to the appearance: a low sun, a map of another year.
            split: whose worlds.
            side_m: of the city.
        """
        number = split.seed(seed, (1 << 20) - 1)  # apart from the worlds of the evaluation on pairs with the same seed
        layout = town_layout() if area is Area.SAME else CityLayout.generate(number, side_m)
        return cls(layout, Appearance.under(number, conditions), datum)

    def window(self, east_m: float, north_m: float) -> CityRaster:
        """Returns the baked window around a place; the last three are kept.

        Raises:
            WorldError: outside the plan.
        """
        if max(abs(east_m), abs(north_m)) > self.layout.half_m:
            raise WorldError(f"({east_m:.1f}, {north_m:.1f}) m is outside the world of {self.layout.side_m:.0f} m")
        key = (round(east_m / _STRIDE_M), round(north_m / _STRIDE_M))
        if key not in self._windows:
            west, north = key[0] * _STRIDE_M - _WINDOW_M / 2, key[1] * _STRIDE_M + _WINDOW_M / 2
            self._windows[key] = bake(self.layout, self.appearance, west, north, _WINDOW_M)
            if len(self._windows) > 3:
                self._windows.popitem(last=False)
        self._windows.move_to_end(key)
        return self._windows[key]

    def forget_windows(self) -> None:
        """Lets go of the baked windows, which take a world's memory; they are baked again where they are needed."""
        self._windows.clear()

    def view(self, camera: Camera, east_m: float, north_m: float, yaw_rad: float) -> View:
        """Renders what `camera` sees from a place, heading counter-clockwise from east; a batch of one."""
        windows = Windows.stack([self.window(east_m, north_m)])
        pose = (np.array([v], np.float32) for v in (east_m, north_m, yaw_rad))
        return render_views(windows, camera, np.zeros(1, np.int64), *pose)


def exact_photo(raster: CityRaster) -> UInt8Array:
    """Returns the map of a window as it is."""
    return raster.orthophoto


def orthophoto(world: World, region: Region, ground_resolution_m: float = CELL_M) -> UInt8Array:
    """Draws the map of a region as one image, north up, (h, w, 3) uint8 RGB; its outer edges are the region's.

    Raises:
        WorldError: for an empty region or a resolution that is not positive.
    """
    west, south, east, north = region
    if not (west < east and south < north and ground_resolution_m > 0):
        raise WorldError(
            f"a map needs west < east, south < north and a positive resolution, got {region}, {ground_resolution_m} m"
        )
    width, height = (int(round(v / ground_resolution_m)) for v in (east - west, north - south))
    image = np.zeros((height, width, 3), np.uint8)
    for top in np.arange(north, south, -_BLOCK_M):
        for left in np.arange(west, east, _BLOCK_M):
            column, row = (int(round(v / ground_resolution_m)) for v in (left - west, north - top))
            right, bottom = (
                min(int(round((v + _BLOCK_M) / ground_resolution_m)), n)
                for v, n in ((left - west, width), (north - top, height))
            )
            if right <= column or bottom <= row:  # a last block thinner than half a pixel
                continue
            raster = bake(world.layout, world.appearance, left - _SHADOW_M, top + _SHADOW_M, _BLOCK_M + 2 * _SHADOW_M)
            # the block's pixel centres, in the raster's cells
            size = ground_resolution_m / CELL_M
            x0 = (west + (column + 0.5) * ground_resolution_m - raster.west_m) / CELL_M - 0.5
            y0 = (raster.north_m - north + (row + 0.5) * ground_resolution_m) / CELL_M - 0.5
            source = _smoothed(raster.orthophoto, size)
            matrix = np.array([[size, 0, x0], [0, size, y0]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            image[row:bottom, column:right] = cv2.warpAffine(
                source, matrix, (right - column, bottom - row), flags=flags
            )
    return image


def write_mbtiles(
    world: World,
    path: str | Path,
    region: Region | None = None,
    zooms: Sequence[int] | None = None,
    tile_format: str = "jpg",
    photo: Photo = exact_photo,
) -> Path:
    """Writes the world's map as slippy tiles.

    Args:
        world: what to write.
        path: the MBTiles file; appears whole or not at all.
        region: ENU metres; default: the whole plan. Tiles that reach beyond it are filled from the plan's margin.
        zooms: default: four zooms, the finest the last that is not finer than the plan's own 0.125 m a pixel.
        tile_format: "png" (exact) or "jpg".
        photo: what it shows of a window.
    """
    half = world.layout.half_m
    west, south, east, north = region if region is not None else (-half, -half, half, half)
    if zooms is None:
        finest = max(z for z in range(14, 23) if ground_resolution(world.datum.lat_deg, z) >= CELL_M * 0.98)
        zooms = range(finest - 3, finest + 1)
    corners = [world.datum.to_latlon(e, n) for e in (west, east) for n in (south, north)]
    lats, lons = [c[0] for c in corners], [c[1] for c in corners]
    bounds = GeoBounds(min(lons), min(lats), max(lons), max(lats))
    top_zoom = max(zooms)
    x_low, y_low = (int(v // _TILE) for v in latlon_to_pixel(bounds.north_deg, bounds.west_deg, top_zoom))
    x_high, y_high = (int(v // _TILE) for v in latlon_to_pixel(bounds.south_deg, bounds.east_deg, top_zoom))
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if tile_format == "jpg" else []
    with MBTilesWriter(path, "geoflow_ros synthetic city", tile_format, bounds, min(zooms), top_zoom) as writer:

        def put(zoom: int, x: int, y: int, image: UInt8Array) -> None:
            good, data = cv2.imencode(f".{tile_format}", image[..., ::-1], quality)
            if not good:
                raise WorldError(f"a tile could not be encoded as {tile_format}")
            writer.add(zoom, x, y, data.tobytes())

        coarser: dict[tuple[int, int], UInt8Array] = {}
        block = 4  # tiles rendered from one window of the plan
        for by in range(y_low, y_high + 1, block):
            for bx in range(x_low, x_high + 1, block):
                xs, ys = range(bx, min(bx + block, x_high + 1)), range(by, min(by + block, y_high + 1))
                for (x, y), image in _tiles(world, top_zoom, xs, ys, photo):
                    put(top_zoom, x, y, image)
                    _shrink_into(coarser, x, y, image)
        for zoom in range(top_zoom - 1, min(zooms) - 1, -1):
            level, coarser = coarser, {}
            for (x, y), image in level.items():
                if zoom in zooms:
                    put(zoom, x, y, image)
                _shrink_into(coarser, x, y, image)
    return Path(path)


def _shrink_into(coarser: dict[tuple[int, int], UInt8Array], x: int, y: int, image: UInt8Array) -> None:
    """Puts a tile into its quarter of the next coarser one."""
    parent = coarser.setdefault((x // 2, y // 2), np.zeros((_TILE, _TILE, 3), np.uint8))
    half = _TILE // 2
    parent[(y % 2) * half : (y % 2 + 1) * half, (x % 2) * half : (x % 2 + 1) * half] = cv2.resize(
        image, (half, half), interpolation=cv2.INTER_AREA
    )


def _tiles(world: World, zoom: int, xs: range, ys: range, photo: Photo) -> list[tuple[tuple[int, int], UInt8Array]]:
    """Renders a block of neighbouring tiles from one baked window."""
    px = np.arange(xs.start * _TILE, xs.stop * _TILE) + 0.5
    py = np.arange(ys.start * _TILE, ys.stop * _TILE) + 0.5
    # latitude depends on the row alone and longitude on the column alone; ENU is bent by less than a micrometre over a
    # few pixels, so a grid of every 16th pixel is enough
    gx, gy = np.linspace(px[0], px[-1], len(px) // 16 + 1), np.linspace(py[0], py[-1], len(py) // 16 + 1)
    lat, lon = pixel_to_latlon(*np.meshgrid(gx, gy), zoom)
    east, north = world.datum.to_enu(lat, lon)
    west_m, north_m = float(east.min()) - _SHADOW_M, float(north.max()) + _SHADOW_M
    side = max(float(east.max() - east.min()), float(north.max() - north.min())) + 2 * _SHADOW_M
    raster = bake(world.layout, world.appearance, west_m, north_m, side)
    columns = ((east - raster.west_m) / CELL_M - 0.5).astype(np.float32)
    rows = ((raster.north_m - north) / CELL_M - 0.5).astype(np.float32)
    u, v = (np.linspace(0, n - 1, m, dtype=np.float32) for n, m in ((len(gx), len(px)), (len(gy), len(py))))
    grid = np.meshgrid(u, v)
    map_x, map_y = (_upsample(a, *grid) for a in (columns, rows))
    source = _smoothed(photo(raster), ground_resolution(world.datum.lat_deg, zoom) / CELL_M)
    image = np.asarray(cv2.remap(source, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    return [
        (
            (x, y),
            image[
                (y - ys.start) * _TILE : (y - ys.start + 1) * _TILE, (x - xs.start) * _TILE : (x - xs.start + 1) * _TILE
            ],
        )
        for y in ys
        for x in xs
    ]


def _smoothed(image: UInt8Array, ratio: float) -> UInt8Array:
    """Returns what is left of an image for pixels `ratio` times as large: without this, fine detail would alias."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), ratio / 3), np.uint8) if ratio > 1.5 else image


def _upsample(grid: Float32Array, u: Float32Array, v: Float32Array) -> Float32Array:
    """Interpolates bilinearly in float32 (cv2.remap rounds its weights to 1/32)."""
    i, j = np.minimum(u.astype(int), grid.shape[1] - 2), np.minimum(v.astype(int), grid.shape[0] - 2)
    fu, fv = u - i, v - j
    upper = grid[j, i] * (1 - fu) + grid[j, i + 1] * fu
    lower = grid[j + 1, i] * (1 - fu) + grid[j + 1, i + 1] * fu
    out: Float32Array = (upper * (1 - fv) + lower * fv).astype(np.float32)
    return out
