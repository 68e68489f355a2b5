"""A proxy between a tile source and a real tile server, on loopback, that does to answers what networks do."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PATIENCE_S = 30.0


class Fault(Enum):
    """What happens to an answer."""

    NONE = "nothing"
    DROP = "the connection breaks off before the answer"
    DELAY = "the answer comes too late"
    TRUNCATE = "the connection breaks off within the answer"
    CUT = "half of the answer, called whole"
    WEB_PAGE = "a web page instead of a picture, with status 200"
    WRONG_TYPE = "the picture itself, called text"
    REDIRECT = "sent on to another address that has it"
    CIRCLE = "sent on to the same address"
    TOO_MANY = "429 with Retry-After"
    BUSY = "503"


Decide = Callable[[str, int], Fault]
"""The fault of a request, by its path and by how often that path was asked for before."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def do_GET(self) -> None:
        path = self.path.removeprefix("/moved")
        with self.server.lock:
            before = self.server.asked.count(self.path)
            self.server.asked.append(self.path)
        fault = Fault.NONE if path != self.path else self.server.decide(path, before)
        if fault is Fault.DROP:
            self.close_connection = True
        elif fault is Fault.REDIRECT:
            self._answer(302, b"", {"Location": f"/moved{self.path}"})
        elif fault is Fault.CIRCLE:
            self._answer(302, b"", {"Location": self.path})
        elif fault is Fault.TOO_MANY:
            self._answer(429, b"slower", {"Retry-After": f"{self.server.retry_after_s:g}"})
        elif fault is Fault.BUSY:
            self._answer(503, b"busy")
        elif fault is Fault.WEB_PAGE:
            self._answer(200, b"<html>Sign in to the network</html>", {"Content-Type": "text/html"})
        else:
            self._hand_on(path, fault)

    def _hand_on(self, path: str, fault: Fault) -> None:
        # The host that the client named: the addresses in a TileJSON document are then the proxy's.
        request = urllib.request.Request(f"{self.server.behind}{path}", headers={"Host": self.headers["Host"]})
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
                status, body, kind = answer.status, answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            with error:
                status, body, kind = error.code, error.read(), "text/plain"
        if fault is Fault.DELAY:
            self.server.stop.wait(self.server.delay_s)
        if fault is Fault.CUT:
            body = body[: len(body) // 2]
        headers = {"Content-Type": "text/plain" if fault is Fault.WRONG_TYPE else kind}
        if fault is Fault.TRUNCATE:
            self.close_connection = True
            self._answer(status, body[: len(body) // 2], headers, promised=len(body))
        else:
            self._answer(status, body, headers)

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, promised: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class FaultProxy(ThreadingHTTPServer):
    """Hands requests on to a server, and does to the answers what `decide` says. A context manager.

    Args:
        behind: address of the server, without a slash at its end.
        decide: may be replaced while it runs.
        delay_s: of late answers.
        retry_after_s: what is asked for with 429.
    """

    daemon_threads = True

    def __init__(self, behind: str, decide: Decide, delay_s: float = 2.0, retry_after_s: float = 1.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.decide = behind, decide
        self.delay_s, self.retry_after_s = delay_s, retry_after_s
        self.asked: list[str] = []
        self.lock, self.stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
