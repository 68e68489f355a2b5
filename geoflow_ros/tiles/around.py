"""Which tiles are sent to a vehicle: those around it, each once until it leaves, the nearest first."""

from __future__ import annotations

import math
from contextlib import suppress

from geoflow_ros.errors import InputError, TileMissingError
from geoflow_ros.geo import Datum, PatchFrame, ground_resolution
from geoflow_ros.geo.mercator import latlon_to_pixel
from geoflow_ros.tiles.cache import TileKey
from geoflow_ros.tiles.satellite_map import SatelliteMap
from geoflow_ros.tiles.source import TileSource

MOST_TILES_AROUND = 500
"""Most tiles around a vehicle: more is a wrong radius or zoom."""

KEPT_FOR_LATECOMERS = 2 * MOST_TILES_AROUND
"""Of so many tiles that were sent last, all around the vehicle are among: a sender keeps them for who comes later."""

_LEFT_AT = (
    1.3  # radii, from which on a tile counts as left behind; above 1, so that a vehicle at its edge sends it once
)


class TilesAround:
    """Chooses the tiles to send. For one thread.

    Args:
        zoom: of the tiles.
        radius_m: a tile that is this near or nearer is sent.
        kept: how many of the tiles that were sent last are kept for those who come later.
    """

    def __init__(self, zoom: int, radius_m: float, kept: int = KEPT_FOR_LATECOMERS) -> None:
        self.zoom, self.radius_m = zoom, radius_m
        self._kept = kept
        self._sent: dict[TileKey, int] = {}  # the how-manieth it was
        self._count = 0

    def due(self, lat_deg: float, lon_deg: float) -> list[TileKey]:
        """The tiles that are to be sent to a vehicle at a place, the nearest first.

        Raises:
            InputError: more than `MOST_TILES_AROUND` are within the radius.
            GeometryError: outside web mercator.
        """
        distances_m = self._distances_m(lat_deg, lon_deg)
        self._sent = {key: n for key, n in self._sent.items() if key in distances_m and self._count - n < self._kept}
        due = [key for key, distance_m in distances_m.items() if distance_m <= self.radius_m and key not in self._sent]
        return sorted(due, key=lambda key: (distances_m[key], key))

    def sent(self, key: TileKey) -> None:
        """Notes that a tile was sent."""
        self._count += 1
        self._sent[key] = self._count

    def _distances_m(self, lat_deg: float, lon_deg: float) -> dict[TileKey, float]:
        """The tiles that are not left behind, with the distance of their nearest points."""
        tile_m = ground_resolution(lat_deg, self.zoom, 1)
        px, py = latlon_to_pixel(lat_deg, lon_deg, self.zoom, 1)
        reach = _LEFT_AT * self.radius_m / tile_m
        world = 2**self.zoom
        across = min(2.0 * self.radius_m / tile_m + 1.0, world)
        if across * across > MOST_TILES_AROUND:
            raise InputError(
                f"about {across * across:.0f} tiles of zoom {self.zoom} are within {self.radius_m:g} m (at most "
                f"{MOST_TILES_AROUND}): take a smaller radius or a coarser zoom"
            )
        found: dict[TileKey, float] = {}
        for column in range(math.floor(px - reach), math.floor(px + reach) + 1):
            for row in range(max(math.floor(py - reach), 0), min(math.floor(py + reach), world - 1) + 1):
                dx, dy = max(column - px, px - column - 1, 0.0), max(row - py, py - row - 1, 0.0)
                distance_m = math.hypot(dx, dy) * tile_m
                key = (self.zoom, column % world, row)
                if distance_m <= _LEFT_AT * self.radius_m:
                    found[key] = min(distance_m, found.get(key, math.inf))
        return found


def zoom_of_patches(source: TileSource, frame: PatchFrame, lat_deg: float, lon_deg: float, zoom: int | None) -> int:
    """The zoom that a localizer cuts its patches from at a place; the size of tiles is learnt from those that come.

    Args:
        source: the map.
        frame: size and scale of the patches.
        lat_deg: latitude of the place.
        lon_deg: its longitude.
        zoom: that of the localizer, where it is not the one that suits.

    Raises:
        InputError: a zoom that the source does not have.
        TileSourceUnavailableError, TileCorruptError: of tiles there.
        GeometryError: the place is outside web mercator.
    """
    with SatelliteMap(source, Datum(lat_deg, lon_deg), zoom) as satellite_map:
        with suppress(TileMissingError):
            satellite_map.patch(frame)
        return satellite_map.zoom_for(frame)


def tile_to_send(source: TileSource, key: TileKey) -> bytes:
    """The bytes of a tile as they are served; empty where the map has none.

    Raises:
        TileCorruptError, TileSourceUnavailableError: it is not to be had now.
    """
    try:
        return source.read(*key)
    except TileMissingError:
        return b""
