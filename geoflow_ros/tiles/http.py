"""Asks a tile server, as its operator and a moving vehicle would want it.

Connections are kept; waits are bounded; what may pass is tried again with growing pauses; a server that says when to
come back (`Retry-After`) is left alone until then, for all tiles; what was refused is not asked for again. The
credentials of an address or of headers stay out of every message (`secrets`).
"""

from __future__ import annotations

import email.utils
import ipaddress
import math
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

import geoflow_ros
from geoflow_ros.errors import InputError, TileCorruptError, TileError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.tiles.secrets import headers_from_environment, public, secret_headers

USER_AGENT = f"geoflow_ros/{geoflow_ros.__version__}"
MAX_ANSWER_BYTES = 16 * 1024 * 1024  # a tile is under 1 MB; stop reading whatever is not one
UNAVAILABLE_MEMORY_S = 2.0
"""A server that gave no answer is not asked again for so long: a patch takes a dozen tiles, and each would wait."""
REFUSAL_MEMORY_S = 600.0
"""What the server refused (HTTP 4xx), or has no imagery of, is not asked for again for so long."""
MAX_RETRY_AFTER_S = 3600.0
DEFAULT_LIFETIME_S = 7 * 86400.0
"""How long an answer counts as fresh where the server does not say; tile servers' policies ask for a week or more."""

_NO_IMAGERY = frozenset({204, 404, 410})  # some servers answer "no content" where there is no imagery
_NO_TILE = {"X-VE-Tile-Info": "no-tile"}  # headers with which others send a placeholder there (Bing Maps)
_NOT_LET_IN = frozenset({401, 402, 407})
_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
_COME_BACK_LATER = frozenset({429, 503})
_MOST_REFUSALS = 10_000
_MOST_REDIRECTS = 5


@dataclass(frozen=True)
class HttpSettings:
    """How a server is asked.

    Attributes:
        timeout_s: longest wait for a connection, and again for the whole answer.
        retries: further attempts after a failure that may pass; none is begun later than timeout_s after the first.
        backoff_s: pause before the first further attempt; doubles each time, and varies by a quarter.
        headers: further ones, such as a key; {env:NAME} and {file:PATH} are filled in.

    Raises:
        InputError: a value that cannot be.
    """

    timeout_s: float = 5.0
    retries: int = 2
    backoff_s: float = 0.2
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0.0 and self.retries >= 0 and self.backoff_s >= 0.0):
            raise InputError("tile server time-out must be positive, retries and back-off not negative")


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        data: the body, decompressed; None where what the asker has is still good (HTTP 304).
        etag: the server's mark of this version; empty where it gives none.
        lifetime_s: how long it is fresh; 0 where it may not be kept without asking.
        may_store: whether the server lets it be stored.
    """

    data: bytes | None
    etag: str = ""
    lifetime_s: float = DEFAULT_LIFETIME_S
    may_store: bool = True


class HttpClient:
    """Asks one server, from several threads at once.

    Args:
        host: of the server; that of this machine itself is asked without a proxy.
        settings: how it is asked.
    """

    def __init__(self, host: str, settings: HttpSettings) -> None:
        self._settings = settings
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._silent: tuple[float, str] = (-math.inf, "")  # until when (monotonic seconds), and why
        self._refused: OrderedDict[str, tuple[float, TileError]] = OrderedDict()  # by address, until when
        self._session = _session(host, {**headers_from_environment(), **secret_headers(settings.headers)})

    def get(self, url: str, label: str, etag: str = "", byte_range: tuple[int, int] | None = None) -> Answer:
        """Asks for an address. Waits about timeout_s for a server that does not answer.

        Args:
            url: http or https address.
            label: what to call it in an error, without credentials.
            etag: of the version that the asker has.
            byte_range: offset and length, of a part only.

        Raises:
            TileMissingError: the server has nothing there, or refuses that address.
            TileCorruptError: the answer is too large.
            TileSourceUnavailableError: no answer, or one that may pass; until when is in its message.
        """
        headers = {"If-None-Match": etag} if etag else {}
        if byte_range is not None:
            headers["Range"] = f"bytes={byte_range[0]}-{byte_range[0] + byte_range[1] - 1}"
        last_attempt_s = time.monotonic() + self._settings.timeout_s
        attempt = 0
        while True:
            try:
                return self._once(url, label, headers)
            except _PassingError as failure:
                is_last = attempt == self._settings.retries or time.monotonic() >= last_attempt_s
                if failure.silence_s > 0.0 and (is_last or failure.is_told):
                    with self._lock:
                        self._silent = max(self._silent, (time.monotonic() + failure.silence_s, str(failure)))
                if is_last or failure.is_told:
                    error = TileSourceUnavailableError(f"{label}: {failure}")
                    raise error if failure.silence_s > 0.0 else self._refuse(url, error, UNAVAILABLE_MEMORY_S) from None
            # An event and not sleep, so that close() ends the wait.
            self._closed.wait(self._settings.backoff_s * 2**attempt * random.uniform(0.75, 1.25))
            attempt += 1

    def silent_for_s(self) -> float:
        """Seconds until the server is asked again; 0 where it may be asked now."""
        return max(0.0, self._silent[0] - time.monotonic())

    def close(self) -> None:
        """Closes the connections; later questions fail."""
        self._closed.set()
        self._session.close()

    def _once(self, url: str, label: str, headers: Mapping[str, str]) -> Answer:
        self._check_worth_asking(url, label)
        try:
            with self._session.get(url, stream=True, timeout=self._settings.timeout_s, headers=headers) as answer:
                self._check_status(answer, url, label)
                if answer.status_code == 304:
                    return Answer(None, str(answer.headers.get("ETag", "")), *_freshness(answer.headers))
                data = _body(answer, time.monotonic() + self._settings.timeout_s, label)
                etag = str(answer.headers.get("ETag", ""))
                return Answer(data, etag, *_freshness(answer.headers))
        except requests.TooManyRedirects:
            raise self._refuse(
                url, TileSourceUnavailableError(f"{label}: the server redirects in a circle; check the address")
            ) from None
        except requests.exceptions.SSLError:
            raise _PassingError("the server has no valid TLS certificate", UNAVAILABLE_MEMORY_S) from None
        except requests.Timeout:
            raise _PassingError("the server does not answer in time", UNAVAILABLE_MEMORY_S) from None
        except requests.exceptions.ChunkedEncodingError as error:
            raise _PassingError(f"the server breaks off ({type(error).__name__})") from None
        except requests.ConnectionError:
            reason = "the server cannot be reached; is it running, and is the address right?"
            raise _PassingError(reason, UNAVAILABLE_MEMORY_S) from None
        except requests.RequestException as error:
            raise _PassingError(f"the server breaks off ({type(error).__name__})") from None

    def _check_worth_asking(self, url: str, label: str) -> None:
        if self._closed.is_set():
            raise TileSourceUnavailableError(f"{label}: the source is closed")
        with self._lock:
            until_s, reason = self._silent
            refused = self._refused.get(url)
        if time.monotonic() < until_s:
            raise TileSourceUnavailableError(f"{label}: {reason}")
        if refused is not None and time.monotonic() < refused[0]:
            raise type(refused[1])(str(refused[1]))  # a new one: a kept error would gather every caller's traceback

    def _check_status(self, answer: requests.Response, url: str, label: str) -> None:
        status = answer.status_code
        if status in _NO_IMAGERY:
            raise self._refuse(url, TileMissingError(f"{label}: the server has nothing there (HTTP {status})"))
        if any(answer.headers.get(name, "").lower() == value for name, value in _NO_TILE.items()):
            raise self._refuse(url, TileMissingError(f"{label}: the server says that it has no imagery there"))
        if status in _WORTH_RETRYING:
            told_s = _retry_after_s(answer.headers.get("Retry-After")) if status in _COME_BACK_LATER else None
            if not told_s:
                raise _PassingError(f"the server answers HTTP {status}", UNAVAILABLE_MEMORY_S * (status == 429))
            raise _PassingError(
                f"the server answers HTTP {status} and asks to be left alone for {told_s:.0f} s", told_s, is_told=True
            )
        if status in _NOT_LET_IN:
            raise self._refuse(
                url,
                TileSourceUnavailableError(
                    f"{label}: the server refuses with HTTP {status}; check the address and its key"
                ),
            )
        if 400 <= status < 500:
            # Stores answer 403 for what is not there, too.
            reason = f"the server refuses with HTTP {status}; there is no such tile, or check the address and its key"
            raise self._refuse(url, TileMissingError(f"{label}: {reason}"))
        if status not in (200, 203, 206, 304):
            raise TileSourceUnavailableError(f"{label}: the server answers HTTP {status}")

    def _refuse(self, url: str, error: TileError, memory_s: float = REFUSAL_MEMORY_S) -> TileError:
        """Remembers an address that need not be asked for again soon."""
        with self._lock:
            self._refused[url] = (time.monotonic() + memory_s, error)
            if len(self._refused) > _MOST_REFUSALS:
                self._refused.popitem(last=False)
        return error


class _PassingError(Exception):
    """A failure that another attempt may not meet.

    Attributes:
        silence_s: how long every other question would meet it too: the server is out of reach, too slow, or says so.
        is_told: whether the server said so.
    """

    def __init__(self, reason: str, silence_s: float = 0.0, is_told: bool = False) -> None:
        super().__init__(reason)
        self.silence_s, self.is_told = silence_s, is_told


class _Session(requests.Session):
    """A session whose own headers go to no other host than the one that they are for."""

    own_headers: frozenset[str] = frozenset()

    def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
        """Takes the credentials out of a redirected request, where it leaves the host."""
        super().rebuild_auth(prepared_request, response)
        if self.should_strip_auth(response.request.url, prepared_request.url):
            for name in self.own_headers:
                prepared_request.headers.pop(name, None)


def http_host(url: str) -> str:
    """The host of an http or https address; its name may hold placeholders.

    Raises:
        InputError: the address is no such one.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises on a port that is no number
    except ValueError:
        raise InputError(f"'{public(url)}' is not a valid URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"'{public(url)}' is not an http or https URL")
    return host


def _session(host: str, headers: Mapping[str, str]) -> requests.Session:
    session = _Session()
    session.headers["User-Agent"] = USER_AGENT
    session.headers.update(headers)
    session.own_headers = frozenset(name for name in headers if name.lower() != "user-agent")
    session.max_redirects = _MOST_REDIRECTS
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
            raise _PassingError("the answer did not end in time", UNAVAILABLE_MEMORY_S)
    return b"".join(chunks)


def _retry_after_s(said: str | None) -> float | None:
    """Seconds by a `Retry-After` header (RFC 9110, section 10.2.3: a number or a date); None where it says nothing."""
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None


def _freshness(headers: Mapping[str, str]) -> tuple[float, bool]:
    """How long an answer is fresh, and whether it may be stored (RFC 9111, section 4.2.1)."""
    told = {}
    for directive in headers.get("Cache-Control", "").lower().split(","):
        name, _, value = directive.strip().partition("=")
        told[name] = value.strip('"')
    may_store = "no-store" not in told
    if "no-cache" in told:
        return 0.0, may_store
    if told.get("max-age", "").isdigit():
        age = headers.get("Age", "")
        return max(0.0, float(told["max-age"]) - (float(age) if age.isdigit() else 0.0)), may_store
    if "Expires" in headers:
        try:
            expires = email.utils.parsedate_to_datetime(headers["Expires"]).timestamp()
            sent = email.utils.parsedate_to_datetime(headers["Date"]).timestamp() if "Date" in headers else time.time()
        except (TypeError, ValueError):
            return 0.0, may_store
        return max(0.0, expires - sent), may_store
    return DEFAULT_LIFETIME_S, may_store


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
