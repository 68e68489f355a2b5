"""Child processes: what they say, how they fail, and that none outlives its parent."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geoflow_ros.errors import InputError
from geoflow_ros.simulation.processes import ChildError, Children


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_for_the_end_of(pid: int) -> None:
    deadline = time.monotonic() + 30.0
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


READY = """print('{\"event\": \"ready\", \"done\": 0, \"of\": 0}', flush=True)"""


def check_for_a_while(children: Children) -> None:
    for _ in range(500):
        children.check()
        time.sleep(0.02)


def test_a_child_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children:
        children.start("doomed", python("print('the cause'); raise SystemExit(3)"))
        with pytest.raises(ChildError, match="(?s)doomed ended with exit code 3.*the cause"):
            check_for_a_while(children)


def test_a_child_that_may_end_may_end_only_well(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children:
        good = children.start("good", python("pass"))
        good.process.wait()
        children.check(good)
        bad = children.start("bad", python("raise SystemExit(1)"))
        bad.process.wait()
        with pytest.raises(ChildError, match="bad ended"):
            children.check(good, bad)


def test_waiting_for_a_child_ends_with_its_event(tmp_path: Path) -> None:
    with Children(tmp_path, {"GREETING": "hello"}) as children:
        child = children.start(
            "speaker", python(f"import os, time; print(os.environ['GREETING']); {READY}; time.sleep(60)")
        )
        children.wait_until_ready(child, 30.0)
        assert child.tail().startswith("hello")


def test_waiting_for_a_child_that_tells_nothing_ends_with_one_error(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children:
        child = children.start("silent", python("import time; print('ready'); time.sleep(60)"))
        with pytest.raises(ChildError, match="silent was not ready"):
            children.wait_until_ready(child, 0.2)


def test_a_child_that_has_ended_well_is_forgotten(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children:
        children.wait_for_end(children.start("short", python("pass")), 30.0)
        children.check()


def test_no_child_outlives_an_error_even_one_that_ignores_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "geoflow_ros.simulation.guardian.PATIENCE_S",
        ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)),
    )
    code = f"import signal, time\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n{READY}; time.sleep(60)"
    started: list[int] = []

    def work() -> None:
        with Children(tmp_path, {}) as children:
            child = children.start("stubborn", python(code))
            started.append(child.process.pid)
            children.wait_until_ready(child, 30.0)
            raise RuntimeError("the caller's own trouble")

    with pytest.raises(RuntimeError, match="own trouble"):
        work()
    assert not alive(started[0])


def test_what_a_child_has_started_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)\n"
        f"{READY}; time.sleep(60)"
    )
    with Children(tmp_path, {}) as children:
        child = children.start("parent", python(code))
        children.wait_until_ready(child, 30.0)
        grandchild = int(child.tail().splitlines()[0])
        assert alive(grandchild)
    wait_for_the_end_of(grandchild)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ending_the_parent_ends_the_children(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom geoflow_ros.simulation.processes import Children\n"
        f"with Children(Path({str(tmp_path)!r}), {{}}) as children:\n"
        "    child = children.start('sleeper', [sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "    print(child.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(number)
    parent.wait(timeout=30)
    parent.stdout.close()
    wait_for_the_end_of(pid)


def test_a_program_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children, pytest.raises(InputError, match="cannot start the nothing"):
        children.start("nothing", ["/no/such/program"])
