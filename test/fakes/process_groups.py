"""Which processes of a session are still there: what a command that has ended left behind."""

import contextlib
import os
import signal
import time
from pathlib import Path


def processes_of_session(session: int) -> dict[int, str]:
    """The processes (number and name) in a session, other than the ones that have ended and are not yet collected."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().split("(", 1)[1].rsplit(") ", 1)
        except OSError:  # ended in between
            continue
        state, _, _, its_session = rest.split()[:4]
        if int(its_session) == session and state != "Z":
            found[int(stat.parent.name)] = name
    return found


def wait_until_empty(session: int, seconds: float = 30.0) -> dict[int, str]:
    """What is left of a session once it is empty, or after so long."""
    deadline = time.monotonic() + seconds
    while (left := processes_of_session(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def end_session(session: int) -> None:
    """Kills what a failed test left."""
    for process in processes_of_session(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
