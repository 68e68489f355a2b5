"""However a demo ends, nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
pytest.importorskip("rosbags", reason="needs rosbags (the extra [demo])")

_MARK = "GEOFLOW_TEST_MARK"
_PATIENCE_S = 120.0


def marked(mark: str) -> list[int]:
    """The running processes that have a mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_no_process_and_no_temporary_file(tmp_path: Path, number: signal.Signals) -> None:
    mark, out, temporary = uuid.uuid4().hex, tmp_path / "demo", tmp_path / "temporary"
    temporary.mkdir()
    code = (
        "from pathlib import Path\n"
        "from geoflow_ros.simulation.demo import DemoSettings, run_demo\n"
        "from geoflow_ros.world import Area\n"
        f"run_demo(DemoSettings(2.0, 1, Area.CROSS, Path({str(out)!r})))\n"
    )
    environment = {**os.environ, _MARK: mark, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)}
    demo = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + _PATIENCE_S
    while not (out / "logs" / "vehicle.log").exists():
        assert demo.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(marked(mark)) >= 4  # demo, guardian, localizer, recorder and perhaps the vehicle
    demo.send_signal(number)
    demo.wait(_PATIENCE_S)
    deadline = time.monotonic() + _PATIENCE_S
    while marked(mark):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # onnxruntime keeps one file of this name for all of its sessions.
    assert [path.name for path in temporary.iterdir() if path.name != ".ses"] == []
    assert not [path for path in out.iterdir() if path.name not in {"bag", "logs", "map.mbtiles"}]
