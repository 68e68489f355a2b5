"""Satellite pixels: where tiles come from, and the metric, heading-aligned patch that is cut from them.

`open_tile_source` opens files, folders and servers of many kinds behind one protocol, `TileSource`; `SatelliteMap`
keeps decoded tiles and cuts `SatellitePatch`es; `TileServer` serves any source over HTTP.
"""

from geoflow_ros.tiles.around import TilesAround
from geoflow_ros.tiles.describing import tile_source_info
from geoflow_ros.tiles.disk_cache import CacheSettings
from geoflow_ros.tiles.fetching import FetchReport, count_tiles, fetch_tiles
from geoflow_ros.tiles.folder import FolderSource
from geoflow_ros.tiles.http import HttpSettings
from geoflow_ros.tiles.mbtiles import MBTilesSource
from geoflow_ros.tiles.mbtiles_writer import MBTilesWriter
from geoflow_ros.tiles.opening import open_tile_source
from geoflow_ros.tiles.raster import TileFormat, decode_tile, encode_tile
from geoflow_ros.tiles.received import ReceivedTiles
from geoflow_ros.tiles.satellite_map import SatelliteMap, SatellitePatch
from geoflow_ros.tiles.server import TileServer
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD, TileSource
from geoflow_ros.tiles.validity import NoGround
from geoflow_ros.tiles.xyz import XyzSource

__all__ = [
    "WEB_MERCATOR_WORLD",
    "CacheSettings",
    "FetchReport",
    "FolderSource",
    "HttpSettings",
    "MBTilesSource",
    "MBTilesWriter",
    "NoGround",
    "ReceivedTiles",
    "SatelliteMap",
    "SatellitePatch",
    "TileFormat",
    "TileServer",
    "TileSource",
    "TilesAround",
    "XyzSource",
    "count_tiles",
    "decode_tile",
    "encode_tile",
    "fetch_tiles",
    "open_tile_source",
    "tile_source_info",
]
