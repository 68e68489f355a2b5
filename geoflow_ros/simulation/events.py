"""What the demo's processes tell the demo: events, one line of JSON each, among the other lines of their output.

An event reads ``{"event": "rendered", "done": 12, "of": 300}``. Lines are written by `tell` and read by `EventReader`;
nothing else knows their form.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class EventKind(Enum):
    """What happened.

    READY: the process does what it was started for.
    RENDERED: so many of the camera's frames are rendered.
    DRIVEN: so many seconds of the drive are over.
    """

    READY = "ready"
    RENDERED = "rendered"
    DRIVEN = "driven"


@dataclass(frozen=True)
class Event:
    """One event; `done` of `of` frames or seconds where it is one of progress."""

    kind: EventKind
    done: float = 0.0
    of: float = 0.0


def tell(kind: EventKind, done: float = 0.0, of: float = 0.0) -> None:
    """Writes an event to standard output, as one line in one piece."""
    sys.stdout.write(json.dumps({"event": kind.value, "done": done, "of": of}) + "\n")
    sys.stdout.flush()


def parse_event(line: str) -> Event | None:
    """Returns the event that a line holds, or None for every other line."""
    if not line.startswith('{"event"'):
        return None
    try:
        content = json.loads(line)
        return Event(EventKind(content["event"]), float(content["done"]), float(content["of"]))
    except (ValueError, KeyError, TypeError):
        return None


class EventReader:
    """Reads the events of a growing log, each once.

    Args:
        log: the file to which a process's output goes.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0

    def new_events(self) -> list[Event]:
        """Returns the events that came since the last call, in their order."""
        with self._log.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # the rest of a last line is still to come
        self._offset += len(whole)
        lines = whole.decode("utf-8", errors="replace").splitlines()
        return [event for line in lines if (event := parse_event(line)) is not None]
