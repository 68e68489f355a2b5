"""What a process that makes batches or bakes windows does first."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from geoflow_ros.workers import end_with_parent

_GRACE_S = 10.0  # for the trainer to end its workers in order, after a SIGTERM that all of them got


def begin_worker() -> None:
    """Makes this process a worker of the trainer; to be called first, in its main thread.

    Ctrl-C and a service's stop reach the whole process group; only the trainer answers them, as it must save its state,
    and ends its workers. A worker whose trainer was killed ends at once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    end_with_parent()


def _end_later(_: int, __: FrameType | None) -> None:
    timer = threading.Timer(_GRACE_S, os._exit, (0,))
    timer.daemon = True
    timer.start()
