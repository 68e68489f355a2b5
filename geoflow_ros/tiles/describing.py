"""Describes a tile source: what it says, and what it holds."""

from __future__ import annotations

from typing import Any

from geoflow_ros.errors import TileCorruptError
from geoflow_ros.geo import MAX_LATITUDE_DEG, ground_resolution
from geoflow_ros.tiles.mbtiles import MBTilesSource
from geoflow_ros.tiles.mosaic import Mosaic
from geoflow_ros.tiles.raster import decode_tile
from geoflow_ros.tiles.source import TileSource
from geoflow_ros.tiles.validity import Tile, shares_without_ground

_JUDGED_TILES = 100


def tile_source_info(source: TileSource) -> dict[str, Any]:
    """Describes a source, ready for JSON.

    Returns:
        `kind`, `name`, `tile_size`, `min_zoom`, `max_zoom`, `bounds` (west, south, east, north in degrees), `centre`
        (lat, lon in degrees), `ground_resolution_m` (metres a pixel at the centre in the finest zoom); `notes` where
        something is odd; for MBTiles also `format`, `tiles` (number by zoom), `bytes`, `description`, `says` (its
        metadata as they are written), `ground_share` (of the pixels, by a hundred tiles of the finest zoom) and
        `no_ground` (the share of each reason why the rest shows none).
    """
    lat, lon = source.bounds.centre
    info: dict[str, Any] = {
        "kind": type(source).__name__,
        "name": source.name,
        "tile_size": source.tile_size,
        "min_zoom": source.min_zoom,
        "max_zoom": source.max_zoom,
        "bounds": list(source.bounds.as_tuple()),
        "centre": [lat, lon],
        "ground_resolution_m": ground_resolution(
            min(max(lat, -MAX_LATITUDE_DEG), MAX_LATITUDE_DEG), source.max_zoom, source.tile_size
        ),
    }
    notes = getattr(source, "notes", ())  # of files, which can be odd
    if notes:
        info["notes"] = list(notes)
    if isinstance(source, MBTilesSource):
        info |= {
            "format": source.tile_format.value,
            "tiles": source.tile_counts(),
            "bytes": source.path.stat().st_size,
            "description": source.description,
            "says": source.metadata(),
            **_ground_of(source),
        }
    return info


def _ground_of(source: MBTilesSource) -> dict[str, Any]:
    """`ground_share` and `no_ground` of some tiles, each judged as a picture of its own."""
    places = source.some_places(source.max_zoom, _JUDGED_TILES)
    if not places:  # the metadata name a zoom that has no tiles
        return {}
    found: dict[str, float] = {}
    for x, y in places:
        label = f"tile {source.max_zoom}/{x}/{y}"
        try:
            data = source.read(source.max_zoom, x, y)
            tile = Tile.judged(*decode_tile(data, label), data)
        except TileCorruptError:
            shares = {"damaged": 1.0}
        else:
            marks = Mosaic.join([(x, y)], [tile], tile.side_px).no_ground
            shares = {} if marks is None else {k.words: share for k, share in shares_without_ground(marks).items()}
        for words, share in shares.items():
            found[words] = found.get(words, 0.0) + share / len(places)
    no_ground = {words: round(share, 3) for words, share in sorted(found.items(), key=lambda item: -item[1])}
    return {"ground_share": round(1.0 - sum(found.values()), 3), "no_ground": no_ground}
