"""Child processes: what they say, how they fail, and that none outlives its parent."""

from __future__ import annotations

import os
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
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children:
        children.start("doomed", python("print('the reason'); raise SystemExit(3)"))
        with pytest.raises(ChildError, match="(?s)doomed ended with exit code 3.*the reason"):
            for _ in range(500):
                children.check()
                time.sleep(0.02)


def test_a_child_that_may_end_may_end_only_well(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children:
        good = children.start("good", python("pass"))
        good.process.wait()
        children.check(good)
        bad = children.start("bad", python("raise SystemExit(1)"))
        bad.process.wait()
        with pytest.raises(ChildError, match="bad ended"):
            children.check(good, bad)


def test_waiting_for_a_child_ends_with_its_word_or_its_death(tmp_path: Path) -> None:
    with Children(tmp_path, {"GREETING": "ready now"}) as children:
        speaker = children.start("speaker", python("import os, time; print(os.environ['GREETING']); time.sleep(60)"))
        children.wait_for(speaker, "ready now", 30.0)
        with pytest.raises(ChildError, match="not ready"):
            children.wait_for(speaker, "something else", 0.2)


def test_no_child_outlives_an_error_even_one_that_ignores_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "geoflow_ros.simulation.processes._PATIENCE_S",
        ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)),
    )
    stubborn = "import signal, time\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\nprint('up'); time.sleep(60)"
    with pytest.raises(RuntimeError), Children(tmp_path, {}) as children:
        child = children.start("stubborn", python(stubborn))
        children.wait_for(child, "up", 30.0)
        raise RuntimeError("the caller's own trouble")
    assert not alive(child.process.pid)


def test_interrupting_the_parent_ends_the_children(tmp_path: Path) -> None:
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
    parent.send_signal(signal.SIGINT)
    parent.wait(timeout=30)
    parent.stdout.close()
    assert not alive(pid)


def test_a_program_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    with Children(tmp_path, {}) as children, pytest.raises(InputError, match="cannot start the nothing"):
        children.start("nothing", ["/no/such/program"])
