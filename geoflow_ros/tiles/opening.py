"""Opens and describes the tile source that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from geoflow_ros.errors import InputError, TileCorruptError
from geoflow_ros.geo import MAX_LATITUDE_DEG, ground_resolution
from geoflow_ros.tiles.folder import FolderSource
from geoflow_ros.tiles.mbtiles import MBTilesSource
from geoflow_ros.tiles.mosaic import Mosaic
from geoflow_ros.tiles.raster import decode_tile
from geoflow_ros.tiles.source import TileSource
from geoflow_ros.tiles.validity import Tile, shares_without_ground
from geoflow_ros.tiles.xyz import XyzSource

_JUDGED_TILES = 100


def open_tile_source(spec: str | Path, tile_size: int = 256) -> TileSource:
    """Opens the tile source that a user names.

    Args:
        spec: one of

            - `map.mbtiles`: an MBTiles file;
            - `https://host/{z}/{x}/{y}.png`: an XYZ server ({-y} for TMS rows);
            - `http://host:port/` or any http(s) address without {z}: the TileJSON document of an XYZ server;
            - `file:///folder/{z}/{x}/{y}.png`, or the same as a plain path: tiles in folders.
        tile_size: pixels along one side of a tile of a server or folder; MBTiles and TileJSON say it themselves.

    A server given by its template does not say which zooms it has: name the zoom to `SatelliteMap`, or give TileJSON.

    Raises:
        InputError: none of these.
        TileSourceUnavailableError: the file, folder or TileJSON server cannot be opened.
    """
    text = str(spec).strip()
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme in ("http", "https"):
        return XyzSource(text, tile_size=tile_size) if "{" in text else XyzSource.from_tilejson(text)
    if scheme == "file":
        text = unquote(text.split("://", 1)[1])
        if not text.startswith("/"):
            raise InputError(f"'{spec}': a file address has three slashes, like file:///folder/{{z}}/{{x}}/{{y}}.png")
    elif scheme:
        raise InputError(f"'{spec}': tiles come from http, https or file addresses, not '{scheme}'")
    if "{" in text:
        return FolderSource(text, tile_size)
    if Path(text).suffix.lower() == ".mbtiles":
        return MBTilesSource(text)
    raise InputError(
        f"'{spec}' is no tile source; give FILE.mbtiles, http(s)://host/{{z}}/{{x}}/{{y}}.png or "
        "file:///folder/{z}/{x}/{y}.png"
    )


def tile_source_info(source: TileSource) -> dict[str, Any]:
    """Describes a source, ready for JSON.

    Returns:
        `kind`, `name`, `tile_size`, `min_zoom`, `max_zoom`, `bounds` (west, south, east, north in degrees), `centre`
        (lat, lon in degrees), `ground_resolution_m` (metres a pixel at the centre in the finest zoom); for MBTiles also
        `format`, `tiles` (number by zoom), `bytes`, `description`, `ground_share` (of the pixels, by a hundred tiles of
        the finest zoom) and `no_ground` (the share of each reason why the rest shows none).
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
    if isinstance(source, MBTilesSource):
        info |= {
            "format": source.tile_format.value,
            "tiles": source.tile_counts(),
            "bytes": source.path.stat().st_size,
            "description": source.description,
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
            tile = Tile.judged(*decode_tile(data, source.tile_size, label), data)
        except TileCorruptError:
            shares = {"damaged": 1.0}
        else:
            marks = Mosaic.join([(x, y)], [tile], source.tile_size).no_ground
            shares = {} if marks is None else {k.words: share for k, share in shares_without_ground(marks).items()}
        for words, share in shares.items():
            found[words] = found.get(words, 0.0) + share / len(places)
    no_ground = {words: round(share, 3) for words, share in sorted(found.items(), key=lambda item: -item[1])}
    return {"ground_share": round(1.0 - sum(found.values()), 3), "no_ground": no_ground}
