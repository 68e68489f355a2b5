"""How a command ends when it is told to: promptly, and with everything put away.

A signal becomes an exception, so that every `with` and `finally` on the way out runs: they end child processes, release
ports and remove temporary files.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType

# How long putting away may take after a signal, seconds; the demo gives each of its processes 13 s at worst.
_CLEAN_UP_S = 60.0
# Signals so soon after the first are those of an impatient person; a later one means that the first was lost.
_HEED_AGAIN_S = 10.0
# How long the interpreter may take to end after that: threads may still wait for a network that does not answer.
_INTERPRETER_END_S = 2.0


class Terminated(BaseException):
    """The process was told to end by another signal than Ctrl-C's.

    Attributes:
        exit_code: as a shell has it, 128 and the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.exit_code = 128 + number


class EndingSignals:
    """Raises KeyboardInterrupt on SIGINT, and Terminated on SIGTERM and SIGHUP, in the main thread.

    One signal is enough: those that follow soon are not heeded while everything is put away, so that an impatient
    second Ctrl-C leaves nothing behind. The process ends in any case, by force where putting away hangs. Errors after
    the signal count as its consequence: an extension module whose import is interrupted makes an ImportError of it.
    """

    def __init__(self) -> None:
        self._earlier: dict[signal.Signals, object] = {}
        self._number: int | None = None
        self._received_s = 0.0
        self._force: threading.Timer | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may handle signals
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background
                self._earlier[number] = signal.signal(number, self._raise)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what getsignal gave
        if self._number is None:
            return
        self._end_by_force_after(_INTERPRETER_END_S)
        if error is not None and not isinstance(error, (KeyboardInterrupt, Terminated)):
            raise _exception(self._number) from error

    def _raise(self, number: int, _: FrameType | None) -> None:
        now_s = time.monotonic()
        if self._number is not None and now_s - self._received_s < _HEED_AGAIN_S:
            return
        if self._number is None:
            self._number = number
            self._end_by_force_after(_CLEAN_UP_S)
        self._received_s = now_s
        raise _exception(number)

    def _end_by_force_after(self, seconds: float) -> None:
        if self._force is not None:
            self._force.cancel()
        self._force = threading.Timer(seconds, os._exit, (128 + (self._number or 0),))
        self._force.daemon = True
        self._force.start()


def _exception(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)
