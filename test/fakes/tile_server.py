"""A tile server that misbehaves as real ones do."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fakes.tiles import GREY

from geoflow_ros.tiles import HttpSettings, XyzSource


class _FailingHandler(BaseHTTPRequestHandler):
    """Answers by the first part of the path; what it has seen is on the server."""

    protocol_version = "HTTP/1.1"
    server: FailingTileServer

    def do_GET(self) -> None:
        failure = self.path.split("/")[1]
        with self.server.lock:
            self.server.seen.append((self.path, self.headers.get("User-Agent", "")))
            count = len(self.server.seen)
        if failure.isdigit():
            self.answer(int(failure), b"sorry")
        elif failure == "garbage":
            self.answer(200, b"<html>Sign in to the network</html>")
        elif failure == "cut":
            self.answer(200, GREY[:-30])
        elif failure == "empty":
            self.answer(200, b"")
        elif failure == "placeholder":  # as Bing Maps where it has no imagery
            self.answer(200, GREY, headers={"X-VE-Tile-Info": "no-tile"})
        elif failure == "short":  # promises more than it sends
            self.answer(200, GREY[:-30], length=len(GREY))
            self.close_connection = True
        elif failure == "slow":
            self.server.stop.wait(3.0)
            self.answer(200, GREY)
        elif failure == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            while not self.server.stop.wait(0.02):
                self.wfile.write(bytes(1024))
        elif failure == "endless":
            self.send_response(200)
            self.end_headers()
            while not self.server.stop.is_set():
                self.wfile.write(bytes(2**20))
        elif failure == "recovering":
            self.answer(*((503, b"busy") if count < 3 else (200, GREY)))
        else:
            self.answer(200, GREY)

    def answer(
        self, status: int, body: bytes, length: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the source hung up on a slow answer: expected here

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class FailingTileServer(ThreadingHTTPServer):
    """A tile server on loopback that fails in the way that the first part of the path names."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _FailingHandler)
        self.seen: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def source(self, failure: str, timeout_s: float = 0.3, retries: int = 1, query: str = "") -> XyzSource:
        url = f"http://127.0.0.1:{self.server_address[1]}/{failure}/{{z}}/{{x}}/{{y}}.png{query}"
        return XyzSource(url, http=HttpSettings(timeout_s, retries, backoff_s=0.01))
