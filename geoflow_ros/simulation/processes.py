"""Child processes that never outlive their parent's interest in them, and whose failures say why."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from geoflow_ros.errors import GeoFlowError, InputError
from geoflow_ros.memory import resident_bytes
from geoflow_ros.simulation import guardian
from geoflow_ros.simulation.events import EventKind, EventReader

_LOG_TAIL_LINES = 15
_POLL_S = 0.1


class ChildError(GeoFlowError):
    """A process of ours failed; the message ends with the last lines of its log."""

    exit_code = 1  # not the user's input


@dataclass(frozen=True)
class Child:
    """A running process and the leader of its process group; all that it prints goes to `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        """Whether the process itself has not ended."""
        return self.process.poll() is None

    def memory_mb(self) -> dict[str, float] | None:
        """Returns what it has resident now and the most that it has had, in MB (10^6 bytes); None where not known."""
        found = resident_bytes(self.process.pid)
        return None if found is None else {"resident": round(found[0] / 1e6, 1), "peak": round(found[1] / 1e6, 1)}

    def tail(self) -> str:
        """Returns the last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])


class Children:
    """Starts processes and ends all of them when the `with` block is left, in whatever way.

    Each child is the leader of its own process group: the terminal's Ctrl-C reaches only the parent, which then ends
    the children in the reverse order of their start, so that a recorder that started first sees the others' last words.
    Should the parent be killed, a guardian process ends them.

    Args:
        log_dir: folder of the logs; exists.
        environment: variables of the children, besides the parent's own.
    """

    def __init__(self, log_dir: Path, environment: Mapping[str, str]) -> None:
        self._log_dir = log_dir
        self._environment = dict(environment)
        self._children: list[Child] = []
        self._guardian: subprocess.Popen[str] | None = None

    def __enter__(self) -> Children:
        command = [sys.executable, "-I", str(Path(guardian.__file__).resolve())]
        try:
            self._guardian = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
            )
        except OSError as error:
            raise InputError(f"cannot start {sys.executable}: {error.strerror or error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for child in reversed(self._children):
                self.stop(child)
        finally:
            self._dismiss_guardian()

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Starts `command`; its output goes to `<log_dir>/<name>.log`.

        Raises:
            InputError: it cannot be started, or its log cannot be written.
        """
        log = self._log_dir / f"{name}.log"
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._environment},
                    start_new_session=True,
                )
        except OSError as error:
            raise InputError(f"cannot start the {name} ({command[0]}): {error.strerror or error}") from None
        child = Child(name, process, log)
        self._children.append(child)
        self._tell_guardian(f"+{process.pid}")
        return child

    def check(self, *allowed_to_end: Child) -> None:
        """Raises ChildError with the log's tail if a child has died, or one that may end has failed."""
        for child in self._children:
            code = child.process.poll()
            if code is None or (code == 0 and child in allowed_to_end):
                continue
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise ChildError(f"the {child.name} {how}; the end of {child.log}:\n{child.tail()}")

    def wait_until_ready(self, child: Child, timeout_s: float) -> None:
        """Waits until a child has told that it is ready.

        Raises:
            ChildError: a child died, or the event did not come in time.
        """
        deadline = time.monotonic() + timeout_s
        reader = EventReader(child.log)
        while not any(event.kind is EventKind.READY for event in reader.new_events()):
            self.check()
            self._check_time(child, deadline, timeout_s)
            time.sleep(_POLL_S)

    def wait_for_end(self, child: Child, timeout_s: float) -> None:
        """Waits until a child has ended well.

        Raises:
            ChildError: it failed, another child died, or it did not end in time.
        """
        deadline = time.monotonic() + timeout_s
        while child.running:
            self.check(child)
            self._check_time(child, deadline, timeout_s)
            time.sleep(_POLL_S)
        self.check(child)
        self.stop(child)

    def stop(self, child: Child) -> None:
        """Ends a child and its process group, politely first, and forgets it; nothing happens the second time."""
        if child not in self._children:
            return

        def is_alive(group: int) -> bool:
            child.process.poll()  # waits for a leader that has ended, or its group would seem to live
            return guardian.group_is_alive(group)

        guardian.end_group(child.process.pid, is_alive)
        child.process.wait()
        self._children.remove(child)
        self._tell_guardian(f"-{child.process.pid}")

    def kill(self, child: Child) -> None:
        """Ends a child at once, as a crash would, and forgets it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        self.stop(child)

    def _check_time(self, child: Child, deadline: float, timeout_s: float) -> None:
        if time.monotonic() > deadline:
            raise ChildError(
                f"the {child.name} was not ready after {timeout_s:.0f} s; the end of {child.log}:\n{child.tail()}"
            )

    def _tell_guardian(self, line: str) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(OSError):  # it was killed: the parent still ends its children itself
                self._guardian.stdin.write(line + "\n")
                self._guardian.stdin.flush()

    def _dismiss_guardian(self) -> None:
        if self._guardian is None:
            return
        if self._guardian.stdin is not None:
            with contextlib.suppress(OSError):
                self._guardian.stdin.close()
        self._guardian.wait()
        self._guardian = None
