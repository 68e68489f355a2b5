"""The one place that keeps credentials out of messages, logs and diagnostics, and that reads them.

An address may hold a user and a password, a key in its query, or a key in its path that comes from the environment or a
file. Whatever says an address says `public(address)`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

from geoflow_ros.errors import InputError

HEADERS_VARIABLE = "GEOFLOW_TILE_HEADERS"
"""Environment variable with further request headers, one `Name: value` a line, or `@FILE` of such lines."""

_HIDDEN = "***"
_USER = re.compile(r"(?<=://)[^/@\s'\"]*@")
_QUERY = re.compile(r"\?[^\s'\"]*")
_PLACEHOLDER = re.compile(r"\{(env|file):([^{}]+)\}")
_LEAST_SECRET = 4  # characters: shorter ones would blacken ordinary words
_secrets: set[str] = set()


def public(text: str) -> str:
    """Returns a text without what nobody else may read: users, passwords and queries of addresses, and known keys."""
    text = _QUERY.sub("", _USER.sub("", text)) if "://" in text else text
    return _without_keys(text)


def with_keys(text: str) -> str:
    """Fills `{env:NAME}` from the environment and `{file:PATH}` from a file; what comes in is a secret from then on.

    Raises:
        InputError: no such variable, or the file cannot be read or is empty.
    """
    return _PLACEHOLDER.sub(lambda match: _key(match[1], match[2]), text)


def headers_from_environment() -> dict[str, str]:
    """Request headers of `GEOFLOW_TILE_HEADERS`; all values but that of User-Agent and Referer are secrets.

    Raises:
        InputError: the file cannot be read, or a line is no header.
    """
    said = os.environ.get(HEADERS_VARIABLE, "").strip()
    if said.startswith("@"):
        said = _content(said[1:])
    headers = {}
    for line in filter(None, map(str.strip, said.splitlines())):
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not value.strip():
            raise InputError(
                f"{HEADERS_VARIABLE}: a line is no header; write 'Name: value'"
            )  # not which: it may be a key
        headers[name.strip()] = value.strip()
    return secret_headers(headers)


def secret_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The same headers with their keys filled in, whose values are secrets from then on."""
    filled = {name: with_keys(value) for name, value in headers.items()}
    for name, value in filled.items():
        if name.lower() not in ("user-agent", "referer"):
            _remember(value)
            _remember(value.split()[-1])  # Bearer KEY
    return filled


def _key(kind: str, where: str) -> str:
    value = _content(where) if kind == "file" else os.environ.get(where, "")
    if not value:
        raise InputError(f"{{{kind}:{where}}} in the tile source is empty: set it to the key")
    _remember(value)
    return value


def _content(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file '{path}' that holds the keys of a tile source cannot be read: {error}") from None


def _remember(secret: str) -> None:
    if len(secret) >= _LEAST_SECRET:
        _secrets.add(secret)


def _without_keys(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


class _Redaction(logging.Filter):
    """Takes keys and queries out of what the HTTP library logs at its debug level."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _without_keys(_QUERY.sub("", _USER.sub("", record.getMessage()))), ()
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_Redaction())
