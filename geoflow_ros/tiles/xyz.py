"""Tiles from an XYZ server over HTTP."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

import geoflow_ros
from geoflow_ros.errors import (
    GeometryError,
    InputError,
    TileCorruptError,
    TileMissingError,
    TileSourceUnavailableError,
)
from geoflow_ros.geo import MAX_ZOOM, GeoBounds
from geoflow_ros.tiles.raster import tile_format
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD, check_tile_index
from geoflow_ros.tiles.template import TileTemplate

USER_AGENT = f"geoflow_ros/{geoflow_ros.__version__}"
MAX_ANSWER_BYTES = 16 * 1024 * 1024  # a tile is under 1 MB; stop reading whatever is not one
_MISSING = frozenset({204, 404, 410})  # some servers answer "no content" where there is no imagery
_NO_TILE = {"X-VE-Tile-Info": "no-tile"}  # headers with which others send a placeholder there (Bing Maps)
_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
# A server that gave no answer is not asked again for so long: a patch takes a dozen tiles, and each would wait.
UNAVAILABLE_MEMORY_S = 2.0


class XyzSource:
    """A source of tiles at a URL template such as `https://host/{z}/{x}/{y}.png?key=…`.

    Safe to use from several threads; connections are kept and shared. Once a tile got no answer from the server, all
    others fail at once for `UNAVAILABLE_MEMORY_S`; then the server is tried again. Addresses in messages leave out the
    query, which often holds a key.

    Args:
        template: http or https URL with {z}, {x} and {y} (or {-y}).
        name: short name; default: the host.
        tile_size: pixels along one side of a tile.
        min_zoom: coarsest zoom of the server.
        max_zoom: finest zoom of the server.
        bounds: where the server has tiles.
        timeout_s: longest wait for a connection, and again for the whole answer.
        retries: further attempts after a failure that may pass; none is begun later than timeout_s after the first.
        backoff_s: pause before the first further attempt; doubles each time.

    Raises:
        InputError: a bad template or value.
    """

    def __init__(
        self,
        template: str,
        *,
        name: str | None = None,
        tile_size: int = 256,
        min_zoom: int = 0,
        max_zoom: int = 22,
        bounds: GeoBounds = WEB_MERCATOR_WORLD,
        timeout_s: float = 5.0,
        retries: int = 2,
        backoff_s: float = 0.2,
    ) -> None:
        host = _http_host(template)
        if not 0 <= min_zoom <= max_zoom <= MAX_ZOOM:
            raise InputError(f"tile zooms must satisfy 0 <= min <= max <= {MAX_ZOOM}, not {min_zoom} and {max_zoom}")
        if not (timeout_s > 0.0 and retries >= 0 and backoff_s >= 0.0 and tile_size > 0):
            raise InputError("tile server time-out and tile size must be positive, retries and back-off not negative")
        self.name = name or host
        self.tile_size = tile_size
        self.min_zoom, self.max_zoom = min_zoom, max_zoom
        self.bounds = bounds
        self._template = TileTemplate(template)
        self._timeout_s = timeout_s
        self._retries = retries
        self._backoff_s = backoff_s
        self._closed = threading.Event()
        self._no_answer: tuple[float, str] = (-math.inf, "")  # until when it counts (monotonic seconds), the reason
        self._session = _session(host)

    @classmethod
    def from_tilejson(cls, url: str, **settings: Any) -> XyzSource:
        """Opens the server that a TileJSON document describes: template, zooms, bounds, name and tile size.

        Args:
            url: http or https address of the document; `TileServer` answers it at `/`.
            settings: `timeout_s`, `retries` and `backoff_s` of the constructor.

        Raises:
            TileSourceUnavailableError: no answer.
            InputError: the answer is not TileJSON of raster tiles.
        """
        timeout_s = float(settings.get("timeout_s", 5.0))
        refused = (
            f"'{_without_query(url)}' is no TileJSON document; give a template like http://host/{{z}}/{{x}}/{{y}}.png"
        )
        try:
            with _session(_http_host(url)) as session:
                answer = session.get(url, timeout=timeout_s)
        except requests.RequestException as error:
            raise TileSourceUnavailableError(f"tile server {_without_query(url)} {_describe(error)}") from error
        if answer.status_code != 200:
            raise TileSourceUnavailableError(f"tile server {_without_query(url)} answers HTTP {answer.status_code}")
        try:
            document = answer.json()
            template = urljoin(url, document["tiles"][0])
            if document.get("scheme", "xyz") == "tms":
                template = template.replace("{y}", "{-y}")
            bounds = GeoBounds(*map(float, document["bounds"])) if "bounds" in document else WEB_MERCATOR_WORLD
            return cls(
                template,
                name=str(document.get("name") or _http_host(url)),
                tile_size=int(document.get("tileSize", 256)),
                min_zoom=int(document.get("minzoom", 0)),
                max_zoom=int(document.get("maxzoom", 22)),
                bounds=bounds,
                **settings,
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, GeometryError) as error:
            raise InputError(refused) from error

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """Reads a tile; see `TileSource.read`. Waits about timeout_s for a server that does not answer."""
        check_tile_index(zoom, x, y)
        url = self._template.fill(zoom, x, y)
        last_attempt_s = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            try:
                return self._get(url)
            except _TransientError as failure:
                if attempt == self._retries or time.monotonic() >= last_attempt_s:
                    if isinstance(failure, _NoAnswerError):
                        self._no_answer = (time.monotonic() + UNAVAILABLE_MEMORY_S, str(failure))
                    raise TileSourceUnavailableError(f"tile {_without_query(url)}: {failure}") from failure
            # An event and not sleep, so that close() ends the wait.
            self._closed.wait(self._backoff_s * 2**attempt)
            attempt += 1

    def close(self) -> None:
        """Closes the connections; later reads fail."""
        self._closed.set()
        self._session.close()

    def _get(self, url: str) -> bytes:
        label = f"tile {_without_query(url)}"
        if self._closed.is_set():
            raise TileSourceUnavailableError(f"{label}: the source is closed")
        until_s, reason = self._no_answer
        if time.monotonic() < until_s:
            raise TileSourceUnavailableError(f"{label}: {reason}")
        try:
            with self._session.get(url, stream=True, timeout=self._timeout_s) as answer:
                if answer.status_code in _MISSING:
                    raise TileMissingError(f"{label}: the server has no such tile (HTTP {answer.status_code})")
                if any(answer.headers.get(name, "").lower() == value for name, value in _NO_TILE.items()):
                    raise TileMissingError(f"{label}: the server says that it has no imagery there")
                if answer.status_code in _WORTH_RETRYING:
                    raise _TransientError(f"the server answers HTTP {answer.status_code}")
                if answer.status_code != 200:
                    raise TileSourceUnavailableError(
                        f"{label}: the server refuses with HTTP {answer.status_code}; check the address and its key"
                    )
                data = _body(answer, time.monotonic() + self._timeout_s, label)
        except (requests.Timeout, requests.ConnectionError) as error:
            raise _NoAnswerError(_describe(error)) from error
        except requests.RequestException as error:
            raise _TransientError(_describe(error)) from error
        if not data:
            raise TileMissingError(f"{label}: the server's answer is empty, as where it has no imagery")
        tile_format(data, label)
        return data


class _TransientError(Exception):
    """A failure that another attempt may not meet."""


class _NoAnswerError(_TransientError):
    """A failure that every other tile would meet as well: the server is out of reach, or too slow."""


def _session(host: str) -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = USER_AGENT
    # A proxy that the environment names cannot reach this machine's own loopback.
    session.trust_env = not _is_loopback(host)
    adapter = HTTPAdapter(pool_maxsize=16)  # ≥ the threads that fetch the tiles of one patch
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _body(answer: requests.Response, deadline_s: float, label: str) -> bytes:
    # requests' time-out is per packet; a server that drips would hold a thread for ever. Small chunks, because the
    # clock is looked at after each.
    chunks, size = [], 0
    for chunk in answer.iter_content(1024):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise TileCorruptError(f"{label} is larger than {MAX_ANSWER_BYTES // 2**20} MiB: not a tile")
        if time.monotonic() > deadline_s:
            raise _NoAnswerError("the answer did not end in time")
    return b"".join(chunks)


def _describe(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "does not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "has no valid TLS certificate"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached; is it running, and is the address right?"
    return f"breaks off ({type(error).__name__})"


def _http_host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises on a port that is no number
    except ValueError as error:
        raise InputError(f"'{_without_query(url)}' is not a valid URL") from error
    if parts.scheme not in ("http", "https") or not host or "{" in host:
        raise InputError(f"'{_without_query(url)}' is not an http or https URL")
    return host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_query(url: str) -> str:
    return url.split("?", 1)[0]
