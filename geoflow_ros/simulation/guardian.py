"""Ends process groups: at once when told, and, as a program, when the process that started them has died.

As a program it reads lines from standard input, ``+GROUP`` for a process group to watch and ``-GROUP`` for one that has
ended. At the end of the input, which comes also when its writer is killed, it ends the groups that are left. It uses
the standard library alone, so that it starts at once, and runs in a session of its own, out of reach of a terminal's
Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

# How long a group may take to end after each signal, seconds; the last signal cannot be refused.
PATIENCE_S = ((signal.SIGINT, 8.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))
_POLL_S = 0.05


def end_group(group: int, is_alive: Callable[[int], bool]) -> None:
    """Ends a process group: politely first, then not.

    Args:
        group: its number.
        is_alive: whether a process of a group lives.
    """
    for number, patience_s in PATIENCE_S:
        if not is_alive(group):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
        deadline = time.monotonic() + patience_s
        while is_alive(group) and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def group_is_alive(group: int) -> bool:
    """Returns whether a process of the group lives; one that nobody has waited for counts too."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def watch(lines: Iterable[str]) -> None:
    """Follows which groups there are, and at the end of the lines ends them, the newest first."""
    groups: list[int] = []
    for line in lines:
        group = int(line[1:])
        if line[0] == "+":
            groups.append(group)
        else:
            groups.remove(group)
    for group in reversed(groups):
        end_group(group, group_is_alive)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watch(sys.stdin)
