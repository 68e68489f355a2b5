"""Child processes that never outlive their parent's interest in them, and whose failures say why."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from geoflow_ros.errors import GeoFlowError, InputError
from geoflow_ros.memory import resident_bytes

# How long a child may take to end after each signal, seconds; the last signal cannot be refused.
_PATIENCE_S = ((signal.SIGINT, 8.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))
_LOG_TAIL_LINES = 15


class ChildError(GeoFlowError):
    """A process of ours failed; the message ends with the last lines of its log."""

    exit_code = 1  # not the user's input


@dataclass(frozen=True)
class Child:
    """A running process; all that it prints goes to `log`."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def memory_mb(self) -> dict[str, float] | None:
        """What it has resident now and the most that it has had, in MB (10^6 bytes); None where that is not told."""
        found = resident_bytes(self.process.pid)
        return None if found is None else {"resident": round(found[0] / 1e6, 1), "peak": round(found[1] / 1e6, 1)}

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])


class Children:
    """Starts processes and ends all of them when the `with` block is left, in whatever way.

    Each child is the leader of its own process group: the terminal's Ctrl-C reaches only the parent, which then ends
    the children in the reverse order of their start, so that a recorder that started first sees the others' last words.
    """

    def __init__(self, log_dir: Path, environment: Mapping[str, str]) -> None:
        self._log_dir = log_dir
        self._environment = dict(environment)
        self._children: list[Child] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            self.stop(child)

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
        return child

    def check(self, *allowed_to_end: Child) -> None:
        """Raises ChildError with the log's tail if a child has died, or one that may end has failed."""
        for child in self._children:
            code = child.process.poll()
            if code is None or (code == 0 and child in allowed_to_end):
                continue
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise ChildError(f"the {child.name} {how}; the end of {child.log}:\n{child.tail()}")

    def wait_for(self, child: Child, text: str, timeout_s: float) -> None:
        """Waits until a child has printed `text`.

        Raises:
            ChildError: a child died, or the text did not come in time.
        """
        deadline = time.monotonic() + timeout_s
        while text not in child.log.read_text(encoding="utf-8", errors="replace"):
            self.check()
            if time.monotonic() > deadline:
                raise ChildError(
                    f"the {child.name} was not ready after {timeout_s:.0f} s; the end of {child.log}:\n{child.tail()}"
                )
            time.sleep(0.1)

    def stop(self, child: Child) -> None:
        """Ends a child and its process group: politely first, then not."""
        for number, patience_s in _PATIENCE_S:
            if not child.running:
                break
            _signal_group(child, number)
            deadline = time.monotonic() + patience_s
            while child.running and time.monotonic() < deadline:
                time.sleep(0.05)
        child.process.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    try:
        os.killpg(child.process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # the whole group has gone already
