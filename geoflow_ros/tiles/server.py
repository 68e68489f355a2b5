"""Serves a tile source as XYZ over HTTP: to the demo's node, to RViz, to a browser map."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import cast

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.tiles.raster import tile_format
from geoflow_ros.tiles.source import TileSource

_log = logging.getLogger(__name__)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_TILE_PATH = re.compile(r"/(\d{1,2})/(\d{1,10})/(\d{1,10})(?:\.[A-Za-z]+)?")


class TileServer:
    """An HTTP server of one tile source, on loopback unless told otherwise.

    `/{z}/{x}/{y}.png` answers tiles (in the format that the source holds, whatever the extension), `/` answers TileJSON
    3.0 with the address that the client used. A missing tile is 404, a corrupt one 500, a source that does not answer
    503. Any web page may ask (CORS).

    Use it as a context manager, which serves from a thread of its own, or call `serve_forever`.

    Args:
        source: where tiles come from; stays open when the server is closed.
        host: address to listen on.
        port: port to listen on; 0 picks a free one.

    Raises:
        InputError: the address cannot be listened on.
    """

    def __init__(self, source: TileSource, host: str = "127.0.0.1", port: int = 0) -> None:
        try:
            self._http = (_HttpServerV6 if ":" in host else _HttpServer)((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"cannot serve tiles at {host}:{port}: {error}") from error
        self._http.source = source
        shown = f"[{host}]" if ":" in host else host
        self._http.base_url = f"http://{shown}:{self._http.server_address[1]}"
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Address of the server without a final slash; its `/` answers TileJSON."""
        return self._http.base_url

    @property
    def url(self) -> str:
        """Tile template, like http://127.0.0.1:8000/{z}/{x}/{y}.png."""
        return f"{self.base_url}/{{z}}/{{x}}/{{y}}.png"

    def serve_forever(self) -> None:
        """Serves from this thread until it is interrupted (KeyboardInterrupt passes on)."""
        try:
            self._http.serve_forever(poll_interval=0.1)
        finally:
            self._http.server_close()

    def close(self) -> None:
        """Stops serving and release the port."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()

    def __enter__(self) -> TileServer:
        self._thread = threading.Thread(target=self.serve_forever, name="tile server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    source: TileSource
    base_url: str


class _HttpServerV6(_HttpServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Listens on IPv4 too, where the address is that of all interfaces."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections: a patch takes a dozen tiles
    timeout = 30.0  # seconds after which an idle connection is given up
    wbufsize = -1  # head and body in one packet; apart, delayed acknowledgement costs 40 ms a tile
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_OPTIONS(self) -> None:
        """Lets web pages of any origin ask, with any header."""
        self.send_response(HTTPStatus.NO_CONTENT)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
        self.send_header("Access-Control-Allow-Headers", "*")
        self.end_headers()

    def _answer(self) -> None:
        path = self.path.split("?", 1)[0]
        match = _TILE_PATH.fullmatch(path)
        if path == "/":
            self._send(HTTPStatus.OK, "application/json", self._tilejson())
        elif match is None:
            self._send_text(HTTPStatus.NOT_FOUND, "ask for /{z}/{x}/{y}.png, or / for TileJSON")
        else:
            self._send_tile(int(match[1]), int(match[2]), int(match[3]))

    def _send_tile(self, zoom: int, x: int, y: int) -> None:
        try:
            data = self._server.source.read(zoom, x, y)
            content_type = tile_format(data, f"tile {zoom}/{x}/{y}").content_type
        except TileMissingError as error:
            self._send_text(HTTPStatus.NOT_FOUND, str(error))
        except TileCorruptError as error:
            self._send_text(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except TileSourceUnavailableError as error:
            self._send_text(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        else:
            self._send(HTTPStatus.OK, content_type, data)

    def _tilejson(self) -> bytes:
        source = self._server.source
        lat, lon = source.bounds.centre
        document = {
            "tilejson": "3.0.0",
            "name": source.name,
            "tiles": [f"{self._asked_base()}/{{z}}/{{x}}/{{y}}.png"],
            "scheme": "xyz",
            "minzoom": source.min_zoom,
            "maxzoom": source.max_zoom,
            "bounds": list(source.bounds.as_tuple()),
            "center": [lon, lat, source.max_zoom],
            "tileSize": source.tile_size,
        }
        return json.dumps(document).encode()

    def _asked_base(self) -> str:
        """The address by which the client reached this server, also through a proxy; its own where none is said."""
        host = self.headers.get("X-Forwarded-Host") or self.headers.get("Host") or ""
        scheme = self.headers.get("X-Forwarded-Proto", "http")
        if _HOST.fullmatch(host) and scheme in ("http", "https"):
            return f"{scheme}://{host}"
        return self._server.base_url

    def _send_text(self, status: HTTPStatus, text: str) -> None:
        self._send(status, "text/plain; charset=utf-8", text.encode() + b"\n")

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Logs one line a request, for debugging only: a drive asks for thousands of tiles."""
        _log.debug(format, *args)

    @property
    def _server(self) -> _HttpServer:
        return cast(_HttpServer, self.server)
