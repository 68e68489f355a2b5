"""Any bag that rosbags reads, as topics and messages: ROS 1, SQLite and MCAP, split, compressed, or damaged in part.

Only types of the standard set are deserialized, by their standard definitions; a topic of another type is left alone.
What is not as it should be, and can be read all the same, is noted in one line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.mcap_stream import McapStream, unpack_zstd

if TYPE_CHECKING:
    from typing_extensions import Self

_ENDINGS = (".mcap", ".db3", ".bag")
_METADATA = "metadata.yaml"
_PACKED = ".zstd"


@dataclass(frozen=True)
class Topic:
    """A topic of a bag: its name, the type of its messages (`nav_msgs/msg/Odometry`) and their number."""

    name: str
    kind: str
    count: int


class _Source(Protocol):
    """One file of a bag, or one folder with an index of its own."""

    @property
    def topics(self) -> Sequence[Topic]: ...

    def raw(self, topics: Collection[str]) -> Iterator[tuple[str, str, int, bytes]]:
        """Yields (topic, type, reception in nanoseconds, bytes)."""
        ...


class Bag:
    """An open bag; a context manager.

    Args:
        path: a folder, or a single .bag, .db3 or .mcap file.

    Attributes:
        topics: sorted by name.
        notes: what is not as it should be, one line each; grows while messages are read.

    Raises:
        InputError: no such bag, or nothing in it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.notes: list[str] = []
        self._undo = ExitStack()
        if not self.path.exists():
            raise InputError(f"no bag at {self.path}")
        try:
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise InputError("reading bags needs rosbags: pip install 'geoflow_ros[plots]'") from None
        self._sources = self._opened()
        self._is_ros1 = any(isinstance(source, _Indexed) and source.is_ros1 for source in self._sources)
        self._store = get_typestore(Stores.ROS1_NOETIC if self._is_ros1 else Stores.ROS2_JAZZY)
        counts: dict[tuple[str, str], int] = {}
        for source in self._sources:
            for topic in source.topics:
                key = topic.name, topic.kind
                counts[key] = counts.get(key, 0) + topic.count
        self.topics = tuple(Topic(*key, count) for key, count in sorted(counts.items()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        self._undo.close()

    def topic(self, name: str) -> Topic | None:
        """Returns the topic of a name; None where there is none."""
        return next((topic for topic in self.topics if topic.name == name), None)

    def described(self) -> str:
        """Returns all topics with their types and numbers of messages, in one line."""
        return ", ".join(f"{topic.name} ({topic.kind}, {topic.count})" for topic in self.topics) or "none"

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """Yields (topic, reception in nanoseconds, message) in the order of the recording, one at a time.

        A message whose bytes are not of its type is left out and noted once a topic; where a file cannot be read on,
        what is there until then counts, with a note.
        """
        streams = [self._readable(source, topics) for source in self._sources]
        for topic, kind, received_ns, raw in merge(*streams, key=lambda entry: entry[2]):
            try:
                deserialize = self._store.deserialize_ros1 if self._is_ros1 else self._store.deserialize_cdr
                message = deserialize(raw, kind)
            except Exception as error:  # bytes of another type end in any error of numpy or struct
                self._note(f"{topic}: messages that are no {kind} are left out ({type(error).__name__})")
                continue
            yield topic, received_ns, message

    def _readable(self, source: _Source, topics: Collection[str]) -> Iterator[tuple[str, str, int, bytes]]:
        count = 0
        try:
            for entry in source.raw(topics):
                yield entry
                count += 1
        except (GeneratorExit, KeyboardInterrupt, InputError):
            raise
        except Exception as error:  # rosbags lets decoders' own errors through
            self._note(f"{self.path} cannot be read to its end ({_reason(error)}): {count} messages of it are used")

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    # ---- opening -----------------------------------------------------------------------------------------------------

    def _opened(self) -> list[_Source]:
        if self.path.is_file():
            return [self._open_file(self.path)]
        if (self.path / _METADATA).exists():
            try:
                return [_Indexed.opened(self.path, self._undo)]
            except Exception as error:  # of YAML, of rosbags, of a file: its files may be readable all the same
                reason = f"{_METADATA} cannot be used ({_reason(error)})"
        else:
            reason = f"there is no {_METADATA}"
        files = [path for path in sorted(self.path.iterdir(), key=_numbered) if _ending(path) in _ENDINGS]
        if not files:
            raise InputError(f"{self.path} is not a bag: {reason}, and there is no {' or '.join(_ENDINGS)} file in it")
        sources, failures = [], []
        for path in files:
            try:
                sources.append(self._open_file(path))
            except InputError as error:
                failures.append(str(error))
        if not sources:
            raise InputError(failures[0])
        self._note(f"{self.path}: {reason}; its {len(sources)} files are read by themselves")
        for failure in failures:
            self._note(failure)
        return sources

    def _open_file(self, path: Path) -> _Source:
        if path.suffix == _PACKED:
            path = self._unpacked(path)
        if path.suffix not in _ENDINGS:
            raise InputError(f"{path} is not a bag: give a folder, or a .bag, .db3 or .mcap file")
        try:
            return _Indexed.opened(path, self._undo)
        except Exception as error:  # each means that the bytes are not those of a whole bag
            if path.suffix == ".mcap" and (cut := self._cut_mcap(path)) is not None:
                return cut
            how = {".bag": "rosbag reindex", ".db3": "sqlite3 FILE .recover", ".mcap": "mcap recover"}[path.suffix]
            raise InputError(
                f"bag {path} is truncated or damaged ({_reason(error)}), and nothing of it can be read here: try "
                f"`{how}`, or record it again"
            ) from None

    def _cut_mcap(self, path: Path) -> _Source | None:
        try:
            cut = _Cut(McapStream(path))
        except (InputError, OSError):
            return None
        if not cut.topics:
            return None
        count, at = sum(topic.count for topic in cut.topics), cut.stream.cut_at
        where = "it has no index" if at is None else f"it ends in the middle, after {at} bytes"
        self._note(f"{path} was cut off ({where}): the {count} messages before are used; `mcap recover` mends the file")
        return cut

    def _unpacked(self, path: Path) -> Path:
        folder = Path(self._undo.enter_context(TemporaryDirectory(prefix="geoflow-bag-")))
        unpacked = folder / path.stem
        try:
            unpack_zstd(path, unpacked)
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"{path} cannot be unpacked ({_reason(error)})") from None
        return unpacked


class _Indexed:
    """What rosbags opens."""

    def __init__(self, reader: Any, is_ros1: bool) -> None:
        self._reader, self.is_ros1 = reader, is_ros1
        self.topics = [Topic(c.topic, c.msgtype, c.msgcount) for c in reader.connections]

    @classmethod
    def opened(cls, path: Path, undo: ExitStack) -> _Indexed:
        if path.suffix == ".bag":
            from rosbags.rosbag1 import Reader as Reader1

            return cls(undo.enter_context(Reader1(path)), True)
        from rosbags.rosbag2 import Reader as Reader2

        return cls(undo.enter_context(Reader2(path)), False)

    def raw(self, topics: Collection[str]) -> Iterator[tuple[str, str, int, bytes]]:
        wanted = [connection for connection in self._reader.connections if connection.topic in topics]
        if wanted:
            for connection, received_ns, raw in self._reader.messages(connections=wanted):
                yield connection.topic, connection.msgtype, int(received_ns), raw


class _Cut:
    """An MCAP file without an end: read once for its topics, and again for its messages."""

    is_ros1 = False

    def __init__(self, stream: McapStream) -> None:
        self.stream = stream
        counts: dict[tuple[str, str], int] = {}
        for channel, _, _ in stream.messages():
            key = channel.topic, channel.kind
            counts[key] = counts.get(key, 0) + 1
        self.topics = [Topic(*key, count) for key, count in counts.items()]

    def raw(self, topics: Collection[str]) -> Iterator[tuple[str, str, int, bytes]]:
        for channel, log_ns, raw in self.stream.messages():
            if channel.topic in topics:
                yield channel.topic, channel.kind, log_ns, raw


def _ending(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix == _PACKED else path.suffix


def _numbered(path: Path) -> list[int | str]:
    """Names with numbers in their order: part_2 before part_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
