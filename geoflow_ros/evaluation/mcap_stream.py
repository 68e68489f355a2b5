"""An MCAP file read from its beginning, record by record: also one that was cut off and has no index.

Specification: https://mcap.dev/spec. One chunk is in memory at a time.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from geoflow_ros.errors import InputError

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x03, 0x04, 0x05, 0x06
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_LARGEST_RECORD = 1 << 32  # bytes; a length beyond it is damage


@dataclass(frozen=True)
class McapChannel:
    """A channel: its topic and the name of its messages' type."""

    topic: str
    kind: str


class McapStream:
    """The messages of an MCAP file in the order in which they were written.

    Args:
        path: the file.

    Attributes:
        cut_at: after a reading: byte at which the file ends in the middle of a record or is damaged; None where it is
            whole.

    Raises:
        InputError: it does not begin as an MCAP file does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cut_at: int | None = None
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, McapChannel] = {}
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise InputError(f"{path} is not an MCAP file")

    def messages(self) -> Iterator[tuple[McapChannel, int, bytes]]:
        """Yields (channel, log time in nanoseconds, CDR bytes) as far as the file can be read."""
        self.cut_at = None
        with self._path.open("rb") as file:
            file.seek(len(_MAGIC))
            while (whole := file.tell()) >= 0:
                try:
                    record = _next_record(file)
                    found = None if record is None else list(self._messages_of(*record))
                except (EOFError, ValueError, struct.error, KeyError, UnicodeDecodeError):
                    self.cut_at = whole
                    return
                if found is None:
                    return
                yield from found

    def _messages_of(self, kind: int, content: bytes) -> Iterator[tuple[McapChannel, int, bytes]]:
        if kind == _MESSAGE:
            channel, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(content)
            yield self._channels[channel], log_ns, content[_MESSAGE_HEAD.size :]
        elif kind == _SCHEMA:
            (number,), name = struct.unpack_from("<H", content), _text(content, 2)[0]
            self._schemas[number] = name
        elif kind == _CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            self._channels[number] = McapChannel(_text(content, 4)[0], self._schemas.get(schema, ""))
        elif kind == _CHUNK:
            yield from self._messages_of_chunk(content)

    def _messages_of_chunk(self, content: bytes) -> Iterator[tuple[McapChannel, int, bytes]]:
        compression, end = _text(content, _CHUNK_HEAD.size)
        (size,) = struct.unpack_from("<Q", content, end)
        packed = content[end + 8 : end + 8 + size]
        records = BytesIO(_decompressor(compression)(packed))
        while (record := _next_record(records)) is not None:
            yield from self._messages_of(*record)


def _next_record(file: BinaryIO | BufferedReader | BytesIO) -> tuple[int, bytes] | None:
    """Reads (opcode, content); None at the end, or at the magic that ends a whole file.

    Raises:
        EOFError: the file ends within the record.
    """
    head = file.read(_RECORD.size)
    if not head or head.startswith(_MAGIC):
        return None
    if len(head) < _RECORD.size:
        raise EOFError
    kind, size = _RECORD.unpack(head)
    content = file.read(size) if size < _LARGEST_RECORD else b""
    if len(content) < size:
        raise EOFError
    return kind, content


def _text(content: bytes, offset: int) -> tuple[str, int]:
    """Reads a string with its length before it, and returns where it ends."""
    (size,) = struct.unpack_from("<I", content, offset)
    end = offset + 4 + size
    return content[offset + 4 : end].decode(), end


def unpack_zstd(packed: Path, unpacked: Path) -> None:
    """Unpacks a file, block by block.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the bytes are damaged.
    """
    with packed.open("rb") as source, unpacked.open("wb") as target:
        decompressor = _zstd().ZstdDecompressor()
        while block := source.read(1 << 20):
            target.write(_unpacking(decompressor.decompress)(block))


def _decompressor(name: str) -> Callable[[bytes], bytes]:
    """Returns what unpacks a chunk; the libraries are those that rosbags needs.

    Raises:
        ValueError: nothing here does.
    """
    if name == "":
        return bytes
    if name == "lz4":
        lz4: Any = importlib.import_module("lz4.frame")
        return _unpacking(lz4.decompress)
    if name == "zstd":
        return _unpacking(_zstd().decompress)
    raise ValueError(f"chunks are compressed by '{name}'")


def _zstd() -> Any:
    with suppress(ImportError):
        return importlib.import_module("compression.zstd")  # Python 3.14 and later
    return importlib.import_module("backports.zstd")


def _unpacking(decompress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def unpacked(packed: bytes) -> bytes:
        try:
            return decompress(packed)
        except Exception as error:  # each library raises its own: the bytes are damaged
            raise ValueError(str(error)) from None

    return unpacked
