"""A queue of length one between two threads: the newest value wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands the newest value from one thread to another and drops an older one that was not taken yet."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, value: T) -> bool:
        """Leaves a value and returns whether it replaced one that nobody had taken."""
        with self._changed:
            replaced = self._value is not None
            self._value = value
            self._changed.notify()
            return replaced

    def take(self) -> T | None:
        """Waits for a value and returns it; None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._value is not None or self._closed)
            value, self._value = self._value, None
            return None if self._closed else value

    def close(self) -> None:
        """Wakes a thread that waits; from now on `take` returns None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
