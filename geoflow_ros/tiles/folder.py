"""Tiles in a folder tree, as `gdal2tiles` and download tools write them."""

from __future__ import annotations

from pathlib import Path

from geoflow_ros.errors import InputError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import GeoBounds
from geoflow_ros.tiles.raster import tile_format
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD, check_tile_index
from geoflow_ros.tiles.template import TileTemplate


class FolderSource:
    """A source of tiles that are files under a path template such as `/maps/town/{z}/{x}/{y}.png`.

    Zooms are those of the folders that are there; bounds are not known, hence the world's.

    Args:
        template: path with {z}, {x} and {y} (or {-y}).
        tile_size: pixels along one side of a tile.

    Raises:
        InputError: a bad template.
        TileSourceUnavailableError: the folder is not there, or has no zoom in it.
    """

    def __init__(self, template: str, tile_size: int = 256) -> None:
        self._template = TileTemplate(template)
        parts = Path(template).parts
        depth = next(i for i, part in enumerate(parts) if "{" in part)
        self._root = Path(*parts[:depth])
        if parts[depth] != "{z}":
            raise InputError(f"tile template '{template}' must start its placeholders with a folder {{z}}")
        self._check_root()
        zooms = [int(p.name) for p in self._root.iterdir() if p.is_dir() and p.name.isdecimal()]
        if not zooms:
            raise TileSourceUnavailableError(f"tile folder '{self._root}' holds no zoom folder (0, 1, 2 …)")
        self.name = self._root.name or str(self._root)
        self.tile_size = tile_size
        self.min_zoom, self.max_zoom = min(zooms), max(zooms)
        self.bounds: GeoBounds = WEB_MERCATOR_WORLD

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`."""
        check_tile_index(zoom, x, y)
        path = Path(self._template.fill(zoom, x, y))
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self._check_root()  # a drive that was unplugged is not a missing tile
            raise TileMissingError(f"there is no tile file '{path}'") from None
        except OSError as error:
            raise TileSourceUnavailableError(f"tile file '{path}' cannot be read: {error.strerror}") from error
        tile_format(data, f"tile file '{path}'")
        return data

    def close(self) -> None:
        """Does nothing: no file is held open."""

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise TileSourceUnavailableError(f"tile folder '{self._root}' is not there")
