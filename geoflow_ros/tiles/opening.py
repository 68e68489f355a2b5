"""Opens the tile source that a user names: the one place where a text becomes a source."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import unquote, urlsplit

from geoflow_ros.errors import InputError, TileSourceUnavailableError
from geoflow_ros.tiles.disk_cache import CachedSource, CacheSettings
from geoflow_ros.tiles.folder import FolderSource
from geoflow_ros.tiles.geotiff import GEOTIFF_SUFFIXES, GeotiffSource
from geoflow_ros.tiles.http import HttpSettings
from geoflow_ros.tiles.mbtiles import MBTilesSource
from geoflow_ros.tiles.pmtiles_archive import PMTilesSource
from geoflow_ros.tiles.secrets import public, with_keys
from geoflow_ros.tiles.services import is_service, open_service
from geoflow_ros.tiles.source import TileSource
from geoflow_ros.tiles.tile_store import TileStore
from geoflow_ros.tiles.xyz import XyzSource

_log = logging.getLogger(__name__)
KINDS = (
    "FILE.mbtiles, FILE.pmtiles, FILE.tif, http(s)://host/{z}/{x}/{y}.png, its TileJSON, WMTS or WMS, or "
    "file:///folder/{z}/{x}/{y}.png"
)


def open_tile_source(
    spec: str | Path, http: HttpSettings | None = None, cache: CacheSettings | None = None
) -> TileSource:
    """Opens the tile source that a user names.

    Args:
        spec: one of

            - `map.mbtiles`: an MBTiles file;
            - `map.pmtiles`: a PMTiles archive, also as an http(s) address (extra `pmtiles`);
            - `map.tif`, `.vrt`, `.jp2`, `.gpkg` …: a picture with georeference, such as a GeoTIFF (extra `geotiff`);
              `map.tif?levels=MIN,MAX`: one of 16 bits, with the levels that become black and white;
            - `https://host/{z}/{x}/{y}.png`: an XYZ server, with the placeholders of `TileTemplate`;
            - `https://host/wmts?SERVICE=WMTS&LAYER=…`, or with SERVICE=WMS: an OGC service;
            - `http://host:port/` or any other http(s) address: the TileJSON document of an XYZ server;
            - `file:///folder/{z}/{x}/{y}.png`, or the same as a plain path: tiles in folders.

            `{env:NAME}` and `{file:PATH}` in it stand for keys, see `tiles.secrets`.
        http: how servers are asked.
        cache: where servers' tiles are kept on disk; files on this machine need none.

    A server given by its template does not say which zooms it has: name the zoom to `SatelliteMap`, or give TileJSON.

    Raises:
        InputError: none of these, or what reads it is not installed.
        TileSourceUnavailableError: the file, folder or server cannot be opened.
    """
    named = str(spec).strip()
    if cache is not None and named.lower().startswith(("http://", "https://")):
        return _open_with_cache(named, http, cache)
    text = with_keys(named)
    scheme = urlsplit(text).scheme.lower() if "://" in text else ""
    if scheme in ("http", "https"):
        return _open_address(text, http)
    if scheme == "file":
        text = unquote(text.split("://", 1)[1])
        if not text.startswith("/"):
            raise InputError(f"'{spec}': a file address has three slashes, like file:///folder/{{z}}/{{x}}/{{y}}.png")
    elif scheme:
        raise InputError(f"'{public(text)}': tiles come from http, https or file addresses, not '{scheme}'")
    if "{" in text or "%7b" in text.lower():
        return FolderSource(text)
    suffix = Path(text.partition("?levels=")[0]).suffix.lower()
    if suffix == ".mbtiles":
        return MBTilesSource(text)
    if suffix == ".pmtiles":
        return PMTilesSource.from_file(text)
    if suffix in GEOTIFF_SUFFIXES:
        return GeotiffSource(text)
    raise InputError(f"'{text}' is no tile source; give {KINDS}")


def _open_with_cache(named: str, http: HttpSettings | None, cache: CacheSettings) -> TileSource:
    path = cache.path_of(named)
    source: TileSource | None = None
    if not cache.offline:
        try:
            source = _open_address(with_keys(named), http)
        except TileSourceUnavailableError as error:
            if not path.is_file():
                raise
            _log.warning("%s; what was kept of it in '%s' is shown instead", error, path)
    elif not path.is_file():
        raise TileSourceUnavailableError(
            f"the network is not to be used, and nothing of {public(named)} was kept in '{cache.folder}': drive there "
            "once with it, or give a file that geoflow tiles fetch has made"
        )
    if source is not None and not isinstance(source, XyzSource):
        return source  # an archive, of which no single tiles come
    return CachedSource(TileStore(path, cache.max_bytes), source)


def _open_address(text: str, http: HttpSettings | None) -> TileSource:
    if "{" in text or "%7b" in text.lower():
        return XyzSource(text, http=http)
    if urlsplit(text).path.lower().endswith(".pmtiles"):
        return PMTilesSource.from_address(text, http)
    return open_service(text, http) if is_service(text) else XyzSource.from_tilejson(text, http)
