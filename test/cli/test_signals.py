"""A command that is told to end does so at once, says so, and leaves no process and no file behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.command_line import ROOT, only_line, run, start
from fakes.process_groups import end_session, processes_of_session, wait_until_empty

from geoflow_ros.cli import tiles

# A time-out is for a test that fails; nothing here takes long on a machine of its own.
PATIENCE_S = 120.0


@pytest.fixture
def sessions() -> Iterator[list[int]]:
    """Sessions whose processes are killed at the test's end, whatever happened."""
    started: list[int] = []
    yield started
    for session in started:
        end_session(session)


def start_script(script: str, sessions: list[int], *arguments: str) -> "subprocess.Popen[str]":
    """Runs a command whose body is `script`, in a session of its own, and waits until it has printed a line."""
    code = textwrap.dedent(
        """
        import sys
        from geoflow_ros.cli import main, tiles

        def command(args):
            {body}
            return 0

        if __name__ == "__main__":
            tiles.info = command
            sys.exit(main(["tiles", "info", "x"]))
        """
    ).format(body=textwrap.indent(textwrap.dedent(script), " " * 4).strip())
    path = Path(arguments[0]) / "command.py"
    path.write_text(code)
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    process = subprocess.Popen(
        [sys.executable, "-u", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )
    sessions.append(process.pid)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def test_an_interrupted_command_says_so_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(tiles, "info", interrupted)
    assert run("tiles", "info", "x") == 130
    assert "interrupted" in only_line(capsys)


def test_signals_are_as_before_when_a_command_has_ended() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    run("tiles", "info", "no-such.mbtiles")
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(
    ("number", "exit_code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "terminated")],
)
def test_a_signal_runs_what_puts_away_and_ends_the_command(
    number: signal.Signals, exit_code: int, word: str, sessions: list[int], tmp_path: Path
) -> None:
    script = """
        import tempfile, time
        with tempfile.TemporaryDirectory(dir=sys.argv[1]):
            print("ready")
            time.sleep(600)
    """
    process = start_script(script, sessions, str(tmp_path))
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == exit_code
    assert said == f"geoflow tiles: {word}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["command.py"]


def test_an_error_that_a_signal_leads_to_is_not_reported_as_one(sessions: list[int], tmp_path: Path) -> None:
    script = """
        import time
        try:
            print("ready")
            time.sleep(600)
        except BaseException as ended:  # as an extension module's import does
            raise ImportError("initialization failed") from ended
    """
    process = start_script(script, sessions, str(tmp_path))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert said == "geoflow tiles: terminated\n"
    assert process.returncode == 143


def test_a_second_signal_does_not_disturb_the_putting_away(sessions: list[int], tmp_path: Path) -> None:
    script = """
        import time
        try:
            print("ready")
            time.sleep(600)
        finally:
            print("putting away")
            sys.stdin.readline()  # the test has sent its second signal
            time.sleep(0.2)
            print("done")
    """
    code_path = tmp_path / "in"
    os.mkfifo(code_path)
    process = start_script(script.replace("sys.stdin", f"open({str(code_path)!r})"), sessions, str(tmp_path))
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "putting away\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    code_path.write_text("go on\n")
    printed, said = process.communicate(timeout=PATIENCE_S)
    assert printed == "done\n"
    assert said == "geoflow tiles: interrupted\n"
    assert process.returncode == 130


def test_a_thread_that_hangs_does_not_keep_the_command(sessions: list[int], tmp_path: Path) -> None:
    script = """
        import threading, time
        threading.Thread(target=time.sleep, args=(600,)).start()
        print("ready")
        time.sleep(600)
    """
    process = start_script(script, sessions, str(tmp_path))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143


@pytest.mark.parametrize(
    ("number", "is_group", "exit_code"),
    [
        (signal.SIGINT, True, 130),  # Ctrl-C in a terminal reaches the workers too
        (signal.SIGTERM, False, 143),
        (signal.SIGTERM, True, 143),
        (signal.SIGKILL, False, -9),
    ],
)
def test_rendering_ends_with_its_workers(
    number: signal.Signals, is_group: bool, exit_code: int, sessions: list[int], tmp_path: Path
) -> None:
    script = """
        import os
        import numpy as np
        from geoflow_ros.evaluation.rendering import render_pairs
        from geoflow_ros.world.pairs import Area, PairSampler
        from slow import SlowSampler
        os.cpu_count = lambda: 2
        for pair in render_pairs(SlowSampler(), 10_000):
            print("ready")
    """
    (tmp_path / "slow.py").write_text(
        textwrap.dedent(
            """
            import time

            class SlowSampler:
                def pair(self, index):
                    if index > 70:
                        time.sleep(0.2)
                    return index
            """
        )
    )
    process = start_script(script, sessions, str(tmp_path))
    assert len(processes_of_session(process.pid)) >= 3  # itself and two workers
    if is_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == exit_code
    assert wait_until_empty(process.pid) == {}
    if number is not signal.SIGKILL:
        assert said.splitlines()[-1].startswith("geoflow tiles: ")
        assert "Traceback" not in said


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor renders without workers")
def test_evaluate_synthetic_ends_with_its_workers(sessions: list[int], tmp_path: Path) -> None:
    process = start("evaluate", "synthetic", "--area", "same", "--pairs", "70", "--json", tmp_path / "figures.json")
    sessions.append(process.pid)
    deadline = time.monotonic() + PATIENCE_S
    while len(processes_of_session(process.pid)) < 3 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143
    assert said == "geoflow evaluate: terminated\n"
    assert wait_until_empty(process.pid) == {}
    assert list(tmp_path.iterdir()) == []
