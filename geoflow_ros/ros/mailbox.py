"""A letter box with room for one: newest wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands the newest value from one thread to another; an older one that was not taken yet is dropped."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, value: T) -> bool:
        """Leave a value; True where it took the place of one that nobody had taken."""
        with self._changed:
            replaced = self._value is not None
            self._value = value
            self._changed.notify()
            return replaced

    def take(self) -> T | None:
        """Wait for a value and take it; None once the box is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._value is not None or self._closed)
            value, self._value = self._value, None
            return None if self._closed else value

    def close(self) -> None:
        """Wake whoever waits; from now on `take` returns None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
