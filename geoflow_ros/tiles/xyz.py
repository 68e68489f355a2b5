"""Tiles from a server over HTTP, at addresses that a template makes."""

from __future__ import annotations

import json
import logging
import re
from typing import Any
from urllib.parse import urljoin

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import MAX_ZOOM, GeoBounds
from geoflow_ros.tiles.claims import Claims, numbers, said_bounds
from geoflow_ros.tiles.http import Answer, HttpClient, HttpSettings, http_host
from geoflow_ros.tiles.raster import tile_format
from geoflow_ros.tiles.secrets import public
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD, check_tile_index
from geoflow_ros.tiles.template import TileTemplate

DEFAULT_MAX_ZOOM = 22
_log = logging.getLogger(__name__)
_PLACE_IN_HOST = re.compile(r"^[a-z]+://[^/?#]*\{-?[zxy]\}", re.IGNORECASE)
_TEXT_STARTS = (b"<", b"{", b"\xef\xbb\xbf<")
_QUOTED_TEXT = 120  # characters of an answer that is text


class XyzSource:
    """A source of tiles at a URL template such as `https://host/{z}/{x}/{y}.png?key=…`.

    Safe to use from several threads; connections are kept and shared. Once a tile got no answer from the server, all
    others fail at once for a while; then the server is tried again (`HttpClient`).

    Args:
        template: http or https URL with the placeholders of `TileTemplate`, or a template.
        name: short name; default: the host.
        tile_size: pixels along one side of a tile, as far as is known: what comes counts.
        min_zoom: coarsest zoom of the server.
        max_zoom: finest zoom of the server.
        bounds: where the server has tiles.
        http: how it is asked.

    Raises:
        InputError: a bad template or value.
    """

    def __init__(
        self,
        template: str | TileTemplate,
        *,
        name: str | None = None,
        tile_size: int | None = None,
        min_zoom: int = 0,
        max_zoom: int = DEFAULT_MAX_ZOOM,
        bounds: GeoBounds = WEB_MERCATOR_WORLD,
        http: HttpSettings | None = None,
    ) -> None:
        self._template = TileTemplate(template) if isinstance(template, str) else template
        text = self._template.text
        if _PLACE_IN_HOST.match(text):
            raise InputError(f"'{public(text)}' is not an http or https URL with a host")
        host = http_host(self._template.fill(min_zoom, 0, 0))
        if not 0 <= min_zoom <= max_zoom <= MAX_ZOOM:
            raise InputError(f"tile zooms must satisfy 0 <= min <= max <= {MAX_ZOOM}, not {min_zoom} and {max_zoom}")
        if tile_size is not None and tile_size < 1:
            raise InputError(f"tile size must be positive, not {tile_size}")
        self.name = public(name or host)
        self.tile_size = tile_size or (512 if self._template.is_high_density else 256)
        self.min_zoom, self.max_zoom = min_zoom, max_zoom
        self.bounds = bounds
        self.client = HttpClient(host, http or HttpSettings())

    @classmethod
    def from_tilejson(cls, url: str, http: HttpSettings | None = None) -> XyzSource:
        """Opens the server that a TileJSON document describes: template, zooms, bounds, name and tile size.

        Args:
            url: http or https address of the document; `TileServer` answers it at `/`.
            http: how the server is asked.

        Raises:
            TileSourceUnavailableError: no answer.
            InputError: the answer is not TileJSON of raster tiles.
        """
        refused = f"'{public(url)}' is no TileJSON document; give a template like http://host/{{z}}/{{x}}/{{y}}.png"
        data = document(url, http)
        try:
            said: dict[str, Any] = json.loads(data)
            template = urljoin(url, said["tiles"][0])
            claims = Claims.read(said)
            if claims.rows_from_south:
                template = template.replace("{y}", "{-y}")
            bounds, note = said_bounds(claims)
            size = numbers(next((said[key] for key in ("tileSize", "tilesize", "tile_size") if key in said), None), 1)
            low = claims.min_zoom or 0
            source = cls(
                template,
                name=str(said.get("name") or http_host(url)),
                tile_size=None if size is None else int(size[0]),
                min_zoom=low,
                max_zoom=max(low, DEFAULT_MAX_ZOOM if claims.max_zoom is None else claims.max_zoom),
                bounds=bounds or WEB_MERCATOR_WORLD,
                http=http,
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise InputError(refused) from None
        if note:
            _log.warning("map '%s': %s", source.name, note)
        return source

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`. Waits about the time-out for a server that does not answer."""
        data = self.fetch(zoom, x, y).data
        assert data is not None  # only an etag is answered by "not modified"
        return data

    def fetch(self, zoom: int, x: int, y: int, etag: str = "") -> Answer:
        """Asks for a tile, or whether the version `etag` of it is still good.

        Raises:
            TileError: as `read`.
        """
        check_tile_index(zoom, x, y)
        url = self._template.fill(zoom, x, y)
        label = f"tile {public(url)}"
        answer = self.client.get(url, label, etag)
        if answer.data is None:
            return answer
        if not answer.data:
            raise TileMissingError(f"{label}: the server's answer is empty, as where it has no imagery")
        if answer.data.startswith(_TEXT_STARTS):
            raise TileCorruptError(f"{label} is no image but text: {_quoted(answer.data)}")
        tile_format(answer.data, label)
        return answer

    def close(self) -> None:
        """Closes the connections; later reads fail."""
        self.client.close()


def document(url: str, http: HttpSettings | None) -> bytes:
    """Reads a document that describes a server.

    Raises:
        TileSourceUnavailableError: no answer, or a refusal.
    """
    client = HttpClient(http_host(url), http or HttpSettings())
    try:
        return client.get(url, f"tile source {public(url)}").data or b""
    except (TileMissingError, TileCorruptError) as error:
        raise TileSourceUnavailableError(str(error)) from None
    finally:
        client.close()


def _quoted(data: bytes) -> str:
    text = re.sub(r"<[^>]*>|\s+", " ", data.decode("utf-8", "replace"))
    return f"'{public(' '.join(text.split()))[:_QUOTED_TEXT]}'"
