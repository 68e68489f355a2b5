"""The satellite map: tiles in, metric heading-aligned patches out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType

import cv2
import numpy as np

from geoflow_ros.arrays import BoolArray, Float32Array, UInt8Array
from geoflow_ros.errors import GeometryError, InputError, TileError, TileMissingError
from geoflow_ros.geo import Datum, PatchFrame, ground_resolution
from geoflow_ros.tiles.cache import TileCache, first_of
from geoflow_ros.tiles.mosaic import Mosaic
from geoflow_ros.tiles.source import TileSource
from geoflow_ros.tiles.validity import NoGround, Tile, shares_without_ground
from geoflow_ros.tiles.warp import PatchWarp

COARSER_IS_FINE = 1.15
"""Tiles whose pixels are this much larger than the patch's still count as fine enough: the next zoom would cost four
times the tiles for detail that is hardly there. (At 49°, zoom 19 has 0.1959 m where the model wants 0.1958 m.)"""

TOO_COARSE = 5.0
"""Tiles whose pixels are this much larger than the patch's show nothing that the network knows."""

MAX_PATCH_TILES = 400
"""Most tiles in one patch (75 MiB decoded): more is a wrong zoom or resolution."""


@dataclass(frozen=True, eq=False)
class SatellitePatch:
    """A square satellite picture and where it lies. Compared by identity: one patch, one set of tokens.

    Attributes:
        pixels: (P, P, 3) uint8 RGB; +x is forward, +y is right (see `PatchFrame`).
        frame: where the picture lies in the map.
        no_ground: (P, P) uint8, why a pixel shows no ground (`NoGround`) or 0; None where all of them show it.

    Raises:
        InputError: pixels or marks that do not fit the frame.
    """

    pixels: UInt8Array
    frame: PatchFrame
    no_ground: UInt8Array | None = None

    def __post_init__(self) -> None:
        side = self.frame.size_px
        for array, expected in ((self.pixels, (side, side, 3)), (self.no_ground, (side, side))):
            if array is not None and (array.dtype != np.uint8 or array.shape != expected):
                raise InputError(
                    f"a patch of this frame is uint8 of shape {expected}, not {array.dtype} of {array.shape}"
                )

    @property
    def validity(self) -> BoolArray | None:
        """(P, P) of the pixels that show ground; None where all of them do."""
        return None if self.no_ground is None else self.no_ground == 0

    @cached_property
    def ground_share(self) -> float:
        """The share of the patch that shows ground, 0 to 1."""
        return 1.0 if self.no_ground is None else float(np.count_nonzero(self.no_ground == 0) / self.no_ground.size)

    @cached_property
    def shares_without_ground(self) -> Mapping[NoGround, float]:
        """The share of the patch that each kind of no ground takes, the largest first."""
        return {} if self.no_ground is None else shares_without_ground(self.no_ground)


class SatelliteMap:
    """Cuts patches out of a tile source. Safe to use from several threads.

    The tiles that the turned patch touches are put together, and resampled **once**, bilinearly, through the exact
    geometry (below 0.02 px). Where the tiles are finer than the patch, each of its pixels is the mean of several
    samples.

    Args:
        source: where tiles come from; stays open when the map is closed.
        datum: origin of the map frame.
        zoom: the tiles' zoom; default: for each patch the coarsest that is as fine as the patch, among the source's.
        cache_tiles: decoded tiles kept in memory (192 KiB each at 256 px).
        failure_memory_s: how long a missing or corrupt tile is not asked for again.

    Raises:
        InputError: a zoom that the source does not have, or a cache without room.
    """

    def __init__(
        self,
        source: TileSource,
        datum: Datum,
        zoom: int | None = None,
        cache_tiles: int = 256,
        failure_memory_s: float = 5.0,
    ) -> None:
        if zoom is not None and not source.min_zoom <= zoom <= source.max_zoom:
            raise InputError(f"map '{source.name}' has zooms {source.min_zoom} to {source.max_zoom}, not {zoom}")
        self.source = source
        self.datum = datum
        self._zoom = zoom
        # Pixels along one side of a tile: the most that came, by zoom; and of zooms of which none came.
        self._sizes: dict[int, int] = {}
        self._other_size = source.tile_size
        self._cache = TileCache(source, cache_tiles, failure_memory_s=failure_memory_s)

    @property
    def cached_tiles(self) -> int:
        """Number of decoded tiles in memory."""
        return len(self._cache)

    def zoom_for(self, frame: PatchFrame) -> int:
        """Chooses the zoom of the tiles that a patch is cut from.

        Raises:
            GeometryError: outside web mercator or the map frame.
        """
        if self._zoom is not None:
            return self._zoom
        lat, _ = self.datum.to_latlon(frame.centre_east_m, frame.centre_north_m)
        fine_m = frame.ground_resolution_m * COARSER_IS_FINE
        for zoom in range(self.source.min_zoom, self.source.max_zoom):
            if ground_resolution(lat, zoom, self.tile_size(zoom)) <= fine_m:
                return zoom
        return self.source.max_zoom

    def tile_size(self, zoom: int) -> int:
        """Pixels along one side of a tile: of those of the zoom that came, else of others that came, else as said."""
        return self._sizes.get(zoom, self._other_size)

    def patch(self, frame: PatchFrame) -> SatellitePatch:
        """Cuts the satellite picture of a frame. Its pixels are read-only.

        What shows no ground, missing tiles among it, has the mean colour of what does; the patch tells which pixels and
        how much of it that is (`SatellitePatch.no_ground`). How much a localizer bears is for that to say.

        Raises:
            TileMissingError: the patch's centre is outside the map, or it shows no ground and a tile of it is missing.
            TileCorruptError: a tile that it touches is not a whole image.
            TileSourceUnavailableError: the source does not answer.
            GeometryError: the patch leaves the map frame or web mercator, or does not suit the tiles' resolution.
        """
        self._check_inside(frame)
        warp, mosaic, missing, needed = self._fitting_mosaic(frame)
        ratio = warp.mercator_pixels_per_pixel
        # Bilinear sampling alone reads 2 x 2 tile pixels; from 1.5 tile pixels a patch pixel on, some would be skipped.
        samples = max(1, round(ratio))
        map_x, map_y = warp.sample_maps(mosaic.origin, samples)
        pixels = cv2.remap(mosaic.pixels, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if samples > 1:
            pixels = cv2.resize(pixels, (frame.size_px, frame.size_px), interpolation=cv2.INTER_AREA)
        pixels.flags.writeable = False
        no_ground = None if mosaic.no_ground is None else _resampled(mosaic.no_ground, map_x, map_y, samples)
        patch = SatellitePatch(np.asarray(pixels, np.uint8), frame, no_ground)
        if missing and patch.ground_share == 0.0:
            raise first_of(missing, needed)
        return patch

    def prefetch(self, frame: PatchFrame) -> None:
        """Begins to fetch the tiles of a frame that may be needed soon; returns at once.

        Raises:
            GeometryError: the frame leaves the map frame or web mercator.
        """
        zoom = self.zoom_for(frame)
        size = self.tile_size(zoom)
        warp = PatchWarp.fit(frame, self.datum, zoom, size)
        self._check_scale(frame, warp, zoom, size)
        self._cache.prefetch([(zoom, x % 2**zoom, y) for x, y in warp.tiles(size)])

    def close(self) -> None:
        """Stops fetching and forget the tiles: a patch that waits for some fails at once. The source stays open."""
        self._cache.close()

    def __enter__(self) -> SatelliteMap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_inside(self, frame: PatchFrame) -> None:
        lat, lon = self.datum.to_latlon(frame.centre_east_m, frame.centre_north_m)
        if not self.source.bounds.contains(lat, lon):
            west, south, east, north = self.source.bounds.as_tuple()
            raise TileMissingError(
                f"{lat:.6f}, {lon:.6f} is outside the map '{self.source.name}' "
                f"(latitude {south:.6f} to {north:.6f}, longitude {west:.6f} to {east:.6f})"
            )

    def _fitting_mosaic(self, frame: PatchFrame) -> tuple[PatchWarp, Mosaic, list[TileError], int]:
        """Joins the tiles that a patch touches; also says why some are missing, and how many there are in all.

        The size of tiles is that of those that come: where it is another than was thought, another zoom may suit.
        """
        while True:
            zoom = self.zoom_for(frame)
            size = self.tile_size(zoom)
            warp = PatchWarp.fit(frame, self.datum, zoom, size)
            self._check_scale(frame, warp, zoom, size)
            places = warp.tiles(size)
            found = self._cache.get([(zoom, x % 2**zoom, y) for x, y in places])
            tiles = [tile if isinstance(tile, Tile) else None for tile in found]
            came = max((tile.side_px for tile in tiles if tile is not None), default=0)
            if came:  # what a zoom has only grows, so that this ends
                self._sizes[zoom] = self._other_size = max(came, self._sizes.get(zoom, 0))
            if self.tile_size(zoom) == size:
                missing: list[TileError] = [tile for tile in found if isinstance(tile, TileMissingError)]
                even = [tile if tile is None else tile.resized(size) for tile in tiles]
                return warp, Mosaic.join(places, even, size), missing, len(places)

    def _check_scale(self, frame: PatchFrame, warp: PatchWarp, zoom: int, tile_size: int) -> None:
        ratio = warp.mercator_pixels_per_pixel
        if ratio * TOO_COARSE < 1.0:
            raise GeometryError(
                f"map '{self.source.name}' has {frame.ground_resolution_m / ratio:.2f} m a pixel at zoom {zoom}: too "
                f"coarse for a patch of {frame.ground_resolution_m:.2f} m a pixel; use a map with finer zooms"
            )
        # Compare sizes before listing: a wrong resolution would list millions.
        across = ratio * warp.size_px / tile_size
        if across * across > MAX_PATCH_TILES:
            raise GeometryError(
                f"a patch would need about {across * across:.0f} tiles at zoom {zoom} (at most {MAX_PATCH_TILES}); "
                "use a coarser zoom or a smaller patch"
            )


def _resampled(no_ground: UInt8Array, map_x: Float32Array, map_y: Float32Array, samples: int) -> UInt8Array | None:
    """(P, P) of the marks at the places of a patch's pixels; None where all of them show ground."""
    middle = slice(samples // 2, None, samples)
    marks = cv2.remap(
        no_ground, map_x[middle, middle], map_y[middle, middle], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    marks.flags.writeable = False
    return np.asarray(marks, np.uint8) if marks.any() else None
