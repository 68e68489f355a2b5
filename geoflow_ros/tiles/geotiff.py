"""Georeferenced pictures, such as GeoTIFF and COG, in any coordinate system: tiles are cut when they are asked for.

Only the windows that a tile shows are read, from the overview that suits it; the picture is never whole in memory.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import UInt16Array
from geoflow_ros.errors import InputError, TileError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import MAX_ZOOM, GeoBounds, tile_bounds
from geoflow_ros.geo.mercator import EQUATOR_M
from geoflow_ros.tiles.raster import encode_tile_with_alpha
from geoflow_ros.tiles.source import check_tile_index

GEOTIFF_SUFFIXES = frozenset({".tif", ".tiff", ".vrt", ".jp2", ".img", ".gpkg"})
"""Of files that are opened as pictures with georeference."""

_log = logging.getLogger(__name__)
_WEB_MERCATOR = "EPSG:3857"
_TILE_PX = 256
_ZOOMS_ABOVE = 8  # coarser than the picture's own
_LEVELS = re.compile(r"(.*)\?levels=(\d+),(\d+)", re.DOTALL)
_SHOWN_PERCENT = (0.5, 99.5)  # of a 16-bit picture's pixels: what is darker or brighter is black or white
_SAMPLES, _SAMPLE_PX = 12, 64  # windows along each side of a picture that these are taken from, and their side


class GeotiffSource:
    """A source that cuts tiles from a georeferenced picture, with the library `rasterio` (GDAL).

    Pixels are resampled bilinearly (GDAL widens the kernel where it shrinks them); what the picture does not cover, has
    as no-data value or masks is transparent. Safe to use from several threads, one of which reads at a time.

    Of 16-bit pixels, one range of levels counts for the whole picture and all its bands: that between two percentiles
    of a sample of it, or the one that is given. `notes` say which.

    Args:
        path: the file; with `?levels=MIN,MAX` behind it, the levels that become black and white.

    Raises:
        InputError: the library is not installed, or the picture cannot be used, with the command that mends it.
        TileSourceUnavailableError: the file cannot be opened.
    """

    tile_size = _TILE_PX

    def __init__(self, path: str | Path) -> None:
        try:
            import rasterio
            from rasterio.warp import transform_bounds
        except ModuleNotFoundError:
            raise InputError(f"'{path}' needs rasterio: pip install 'geoflow_ros[geotiff]'") from None
        given = _LEVELS.fullmatch(str(path))
        self.path = Path(path if given is None else given[1])
        self._lock = threading.Lock()
        if not self.path.is_file():
            raise TileSourceUnavailableError(f"map file '{self.path}' is not there")
        try:
            self._data = rasterio.open(self.path)
        except rasterio.errors.RasterioIOError as error:
            raise TileSourceUnavailableError(f"'{path}' cannot be opened: {error}") from error
        try:
            self._bands, self._palette = _bands(self._data, str(self.path))
            self._levels = self._levels_of(given)
            west, south, east, north = transform_bounds(self._data.crs, "EPSG:4326", *self._data.bounds, densify_pts=21)
            if not west < 180.0 or west > east:  # GDAL says so across the antimeridian
                west = math.remainder(west, 360.0)
            self.bounds = GeoBounds(west, max(south, -90.0), east, min(north, 90.0))
            self.max_zoom = self._own_zoom()
        except TileError:
            self._data.close()
            raise
        except InputError:
            self._data.close()
            raise
        except Exception as error:
            self._data.close()
            raise InputError(f"'{path}' has a georeference that cannot be used: {error}") from error
        self.name = self.path.stem
        self.notes: tuple[str, ...] = ()
        if self._levels is not None:
            low, high = self._levels
            told = "as given" if given else f"{_SHOWN_PERCENT[0]:g} and {_SHOWN_PERCENT[1]:g} % of its pixels"
            self.notes = (
                f"16-bit pixels: levels {low} to {high} ({told}) become 0 to 255; FILE?levels=MIN,MAX says others",
            )
            _log.info("map '%s': %s", self.path, self.notes[0])
        self.min_zoom = max(0, self.max_zoom - _ZOOMS_ABOVE)

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Cuts a tile; see `TileSource.read`. It is a PNG with alpha."""
        from rasterio.enums import Resampling
        from rasterio.errors import RasterioError
        from rasterio.transform import from_bounds
        from rasterio.vrt import WarpedVRT

        check_tile_index(zoom, x, y)
        label = f"tile {zoom}/{x}/{y} of '{self.path}'"
        if not self._touches(tile_bounds(zoom, x, y)):
            raise TileMissingError(f"{label} is missing")
        side, half = EQUATOR_M / 2**zoom, EQUATOR_M / 2.0
        west, north = x * side - half, half - y * side
        settings = {
            "crs": _WEB_MERCATOR,
            "transform": from_bounds(west, north - side, west + side, north, _TILE_PX, _TILE_PX),
            "width": _TILE_PX,
            "height": _TILE_PX,
            "resampling": Resampling.nearest if self._palette is not None else Resampling.bilinear,
        }
        try:
            with self._lock, WarpedVRT(self._data, add_alpha=_needs_alpha(self._data), **settings) as warped:
                pixels = warped.read(list(self._bands))  # (bands, 256, 256)
                alpha = warped.dataset_mask()
        except (RasterioError, OSError) as error:
            raise TileSourceUnavailableError(f"{label} cannot be read: {error}") from error
        if not alpha.any():
            raise TileMissingError(f"{label} is missing")
        if self._levels is not None:
            low, high = self._levels
            pixels = (np.clip((pixels.astype(np.float32) - low) / (high - low), 0.0, 1.0) * 255.0 + 0.5).astype(
                np.uint8
            )
        if self._palette is not None:
            picture = self._palette[pixels[0]]
        else:
            picture = np.moveaxis(pixels if len(pixels) == 3 else np.repeat(pixels, 3, axis=0), 0, -1)
        return encode_tile_with_alpha(np.ascontiguousarray(picture), alpha)

    def close(self) -> None:
        """Closes the file; later reads fail."""
        with self._lock:
            self._data.close()

    def _touches(self, tile: GeoBounds) -> bool:
        own = self.bounds
        if not (tile.south_deg <= own.north_deg and tile.north_deg >= own.south_deg):
            return False
        offset = (tile.west_deg - own.west_deg) % 360.0
        return offset <= own.width_deg or offset + tile.width_deg >= 360.0

    def _levels_of(self, given: re.Match[str] | None) -> tuple[int, int] | None:
        """The levels of 16-bit pixels that become black and white; None of an 8-bit picture.

        Raises:
            InputError: no range, or levels for a picture that needs none.
        """
        is_deep = self._data.dtypes[self._bands[0] - 1] == "uint16" and self._palette is None
        if given is not None:
            low, high = int(given[2]), int(given[3])
            if not is_deep or low >= high:
                raise InputError(
                    f"'{self.path}' is no 16-bit picture with levels from {low} to {high}: leave ?levels=… out, or "
                    "give two that rise"
                )
            return low, high
        if not is_deep:
            return None
        samples = self._sampled()
        if not samples.size:
            raise InputError(f"'{self.path}' shows nothing where it was looked at: give its levels as ?levels=MIN,MAX")
        low, high = (int(level) for level in np.percentile(samples, _SHOWN_PERCENT))
        return low, max(high, low + 1)

    def _sampled(self) -> UInt16Array:
        """(n,) levels of all bands, from small windows all over the picture; what is masked is left out."""
        from rasterio.windows import Window

        def places(side: int) -> list[int]:
            last = max(side - _SAMPLE_PX, 0)
            return sorted({int(at) for at in np.linspace(0, last, _SAMPLES)})

        data, found = self._data, []
        for row in places(data.height):
            for column in places(data.width):
                window = Window(column, row, min(_SAMPLE_PX, data.width), min(_SAMPLE_PX, data.height))
                shown = data.dataset_mask(window=window) > 0
                found.append(data.read(list(self._bands), window=window)[:, shown].ravel())
        return np.concatenate(found)

    def _own_zoom(self) -> int:
        """The coarsest zoom whose pixels are as fine as the picture's own."""
        from rasterio.warp import calculate_default_transform

        data = self._data
        transform, _, _ = calculate_default_transform(data.crs, _WEB_MERCATOR, data.width, data.height, *data.bounds)
        zoom = math.log2(EQUATOR_M / _TILE_PX / abs(transform.a))
        return min(max(math.ceil(zoom - 0.1), 0), MAX_ZOOM - 1)


def _bands(data: Any, path: str) -> tuple[tuple[int, ...], Any]:
    """The bands that are red, green and blue, or the only one; and its palette, (levels, 3) uint8, where it has one."""
    from rasterio.enums import ColorInterp

    if data.crs is None:
        raise InputError(f"'{path}' has no coordinate system: give it with gdal_edit.py -a_srs EPSG:… '{path}'")
    colours = list(data.colorinterp)
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    shown = [i + 1 for i, colour in enumerate(colours) if colour is not ColorInterp.alpha]
    if all(colour in colours for colour in wanted):
        bands = tuple(colours.index(colour) + 1 for colour in wanted)
    elif len(shown) >= 3:
        bands = tuple(shown[:3])
    else:
        bands = tuple(shown[:1])
    kinds = {data.dtypes[band - 1] for band in bands}
    if kinds not in ({"uint8"}, {"uint16"}):
        raise InputError(
            f"'{path}' has {', '.join(sorted(kinds))} pixels; 8-bit or 16-bit imagery is needed: gdal_translate -ot "
            f"Byte -scale '{path}' 8bit.tif"
        )
    if len(bands) == 1 and colours[bands[0] - 1] is ColorInterp.palette:
        palette = np.zeros((256 if kinds == {"uint8"} else 65536, 3), np.uint8)
        for index, colour in data.colormap(bands[0]).items():
            palette[index] = colour[:3]
        return bands, palette
    return bands, None


def _needs_alpha(data: Any) -> bool:
    from rasterio.enums import ColorInterp

    return ColorInterp.alpha not in data.colorinterp
