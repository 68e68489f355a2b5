"""What every source of satellite tiles offers."""

from __future__ import annotations

from typing import Protocol

from geoflow_ros.errors import TileMissingError
from geoflow_ros.geo import MAX_LATITUDE_DEG, MAX_ZOOM, GeoBounds

WEB_MERCATOR_WORLD = GeoBounds(-180.0, -MAX_LATITUDE_DEG, 180.0, MAX_LATITUDE_DEG)
"""Bounds of a source that does not know its own."""


class TileSource(Protocol):
    """A source of encoded tiles of the web-mercator tiling. `read` may be called from several threads at once."""

    @property
    def name(self) -> str:
        """Short name for people."""

    @property
    def tile_size(self) -> int:
        """Number of pixels along one side of a tile, as far as is known before one came: what comes counts."""

    @property
    def min_zoom(self) -> int:
        """Coarsest zoom."""

    @property
    def max_zoom(self) -> int:
        """Finest zoom."""

    @property
    def bounds(self) -> GeoBounds:
        """Where there may be tiles; none are outside."""

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Returns the encoded image (PNG, JPEG, WebP or AVIF) of tile (zoom, x, y), y counted from the north.

        Raises:
            TileMissingError: the source has no such tile.
            TileCorruptError: what the source has is not a whole image.
            TileSourceUnavailableError: the source does not answer.
        """

    def close(self) -> None:
        """Releases files and connections; the source cannot be read afterwards."""


def check_tile_index(zoom: int, x: int, y: int) -> None:
    """Refuses an index outside the tiling, which no source can hold.

    Raises:
        TileMissingError: there is no such tile anywhere.
    """
    if not (0 <= zoom <= MAX_ZOOM and 0 <= x < 2**zoom and 0 <= y < 2**zoom):
        raise TileMissingError(f"there is no tile {zoom}/{x}/{y} in the web-mercator tiling")
