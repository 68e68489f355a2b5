"""Ending a training by a signal, with its state saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a training is to end after the step in progress.

    Attributes:
        is_made: set by the first SIGINT or SIGTERM while `on_signals` is entered.
    """

    def __init__(self) -> None:
        self.is_made = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Takes the first SIGINT or SIGTERM as the request; a second one ends the process as it always does."""
        self.is_made = False
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        earlier = {number: signal.getsignal(number) for number in _SIGNALS}

        def restore() -> None:
            for number, handler in earlier.items():
                signal.signal(number, handler)

        def request(_: int, __: FrameType | None) -> None:
            self.is_made = True
            restore()

        for number in earlier:
            signal.signal(number, request)
        try:
            yield
        finally:
            restore()


@contextmanager
def signals_postponed() -> Iterator[None]:
    """Lets what is in progress, such as a file that is being written, end before SIGINT or SIGTERM take effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    earlier = {number: signal.signal(number, lambda which, _: arrived.append(which)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        for which in arrived:
            signal.raise_signal(which)
