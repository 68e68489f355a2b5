"""How a command ends when it is told to: promptly, and with everything put away.

A signal becomes an exception, so that every `with` and `finally` on the way out runs: they end child processes, release
ports and remove temporary files.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

# How long putting away may take after a signal, seconds; the demo gives each of its processes 13 s at worst.
_CLEAN_UP_S = 60.0
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

    One signal is enough: those that follow are not heeded while everything is put away, so that an impatient second
    Ctrl-C leaves nothing behind. The process ends in any case, by force where putting away hangs.
    """

    def __init__(self) -> None:
        self._earlier: dict[signal.Signals, object] = {}
        self._exit_code: int | None = None
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
        if self._exit_code is not None:
            self._end_by_force_after(_INTERPRETER_END_S)

    def _raise(self, number: int, _: FrameType | None) -> None:
        if self._exit_code is not None:
            return
        self._exit_code = 128 + number
        self._end_by_force_after(_CLEAN_UP_S)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    def _end_by_force_after(self, seconds: float) -> None:
        if self._force is not None:
            self._force.cancel()
        self._force = threading.Timer(seconds, os._exit, (self._exit_code,))
        self._force.daemon = True
        self._force.start()
