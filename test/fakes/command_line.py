"""Running the `geoflow` command inside the test's process, and as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geoflow_ros import cli

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> int:
    """Runs `geoflow` with the arguments here; the exit code, also where argparse ends the program."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was written to standard error: one line."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    """Starts `geoflow` as a process that leads a group of its own; both its outputs are pipes."""
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "geoflow_ros.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )
