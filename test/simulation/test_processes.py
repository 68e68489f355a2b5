"""Node, vehicle and recorder as processes of their own: they end when they are told to, and leave a whole bag."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
pytest.importorskip("onnx", reason="needs onnx (the extra [test])")
pytest.importorskip("rosbags", reason="needs rosbags (the extra [demo])")

from fakes.ros_graph import GROUND_SHAPE, domain_id, write_bundle, write_map

from geoflow_ros.simulation.events import EventKind, EventReader

SECONDS = 4.0
TRUTH, POSE, TRACK = "/ground_truth/odom", "/geoflow_localizer/pose", "/geoflow_localizer/track"
TOPICS = ("/odom", "/imu", "/initialpose", "/image/compressed", TRUTH, POSE, TRACK, "/diagnostics")


class Processes:
    """Python modules as child processes on one ROS domain, with their output in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain_id()),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
        }

    def start(self, module: str, *arguments: str) -> None:
        with (self._folder / f"{module}.log").open("wb") as log:
            command = [sys.executable, "-m", f"geoflow_ros.{module}", *arguments]
            self._running[module] = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)

    def said(self, module: str) -> str:
        return (self._folder / f"{module}.log").read_text()

    def wait_for(self, module: str, awaited: EventKind) -> None:
        deadline = time.monotonic() + 120
        reader = EventReader(self._folder / f"{module}.log")
        while not any(event.kind is awaited and event.done == event.of for event in reader.new_events()):
            assert self._running[module].poll() is None, self.said(module)
            assert time.monotonic() < deadline, self.said(module)
            time.sleep(0.05)

    def end(self, module: str, number: signal.Signals | None = None) -> int:
        """Exit code; with a signal, after that signal was sent."""
        process = self._running[module]
        if number is not None:
            process.send_signal(number)
        return process.wait(120)

    def kill(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.kill()


def test_a_drive_is_localized_and_recorded_and_all_end_when_told(processes: Processes, tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader

    from geoflow_ros.world.world import DEFAULT_DATUM

    parameters = {
        "model.path": str(write_bundle(tmp_path)),
        # This model does not look at the map; that it is cut and encoded is what matters here.
        "tiles.source": str(write_map(tmp_path / "map.mbtiles", DEFAULT_DATUM, 1500.0, 16)),
        "datum.latitude_deg": repr(DEFAULT_DATUM.lat_deg),
        "datum.longitude_deg": repr(DEFAULT_DATUM.lon_deg),
        "image_transport": "compressed",
        "camera.lever_arm.x_m": "1.2",
    }
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    processes.start("ros.command", "--ros-args", *given)
    processes.start("simulation.ready", "/geoflow_localizer", "--timeout", "100")
    assert processes.end("simulation.ready") == 0, processes.said("simulation.ready")
    bag = tmp_path / "bag"
    processes.start("simulation.recorder", str(bag), *TOPICS)
    processes.wait_for("simulation.recorder", EventKind.READY)
    size = ("--width", str(GROUND_SHAPE[1]), "--height", str(GROUND_SHAPE[0]))
    heard = ("--recorder", "geoflow_recorder")
    processes.start("simulation.vehicle", "--seed", "5", "--seconds", str(SECONDS), *size, *heard)
    assert processes.end("simulation.vehicle") == 0, processes.said("simulation.vehicle")
    assert processes.end("simulation.recorder", signal.SIGINT) == 0, processes.said("simulation.recorder")
    assert processes.end("ros.command", signal.SIGTERM) == 0, processes.said("ros.command")

    messages: dict[str, list[Any]] = {topic: [] for topic in TOPICS}
    with AnyReader([bag]) as reader:
        for connection, _, raw in reader.messages():
            messages[connection.topic].append(reader.deserialize(raw, connection.msgtype))
    counts = {topic: len(found) for topic, found in messages.items()}
    assert counts["/odom"] == counts["/imu"] == counts[TRUTH] == round(50 * SECONDS) + 1
    assert counts["/image/compressed"] == round(5 * SECONDS)
    assert counts["/initialpose"] == 1
    assert counts["/diagnostics"] >= 2
    # The picture of a street is no answer of this model; that the node tracked it, and was started off the truth, is.
    assert counts[TRACK] >= 0.5 * counts["/image/compressed"]
    start, truth = messages["/initialpose"][0].pose.pose.position, messages[TRUTH][0].pose.pose.position
    assert 2.9 < math.hypot(start.x - truth.x, start.y - truth.y) < 7.1
    stamps = [message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for message in messages["/odom"]]
    np.testing.assert_allclose(np.diff(stamps), 2e7, atol=1)
    # Nothing is known exactly: a filter that takes a variance of 0 at its word follows that sensor alone.
    for message in (*messages["/odom"], *messages[TRUTH]):
        assert np.diagonal(message.twist.covariance.reshape(6, 6)).min() > 0.0


def test_a_parameter_that_cannot_be_used_ends_the_node_with_one_line(processes: Processes) -> None:
    processes.start("ros.command", "--ros-args", "-p", "gate.probability:=2.0")
    assert processes.end("ros.command") == 2
    last = processes.said("ros.command").strip().splitlines()[-1]
    assert last.startswith("localizer: ")
    assert "gate.probability" in last


def test_a_vehicle_to_which_nobody_listens_gives_up_with_one_line(processes: Processes) -> None:
    processes.start("simulation.vehicle", "--seconds", "0.1", "--wait", "0.2", "--width", "64", "--height", "16")
    assert processes.end("simulation.vehicle") == 2
    assert "geoflow_localizer did not listen" in processes.said("simulation.vehicle")


def test_a_vehicle_that_nobody_records_gives_up_with_one_line(processes: Processes, tmp_path: Path) -> None:
    processes.start("simulation.recorder", str(tmp_path / "bag"), "/image/compressed", "/odom", "/initialpose")
    processes.wait_for("simulation.recorder", EventKind.READY)
    size = ("--width", "64", "--height", "16")
    heard = ("--listener", "geoflow_recorder", "--recorder", "geoflow_recorder", "--wait", "8")
    processes.start("simulation.vehicle", "--seconds", "0.1", *size, *heard)
    processes.wait_for("simulation.vehicle", EventKind.RENDERED)
    assert processes.end("simulation.vehicle") == 2
    assert "did not listen to all of the vehicle's topics" in processes.said("simulation.vehicle")


def test_a_recorder_does_not_write_over_a_bag(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    processes.start("simulation.recorder", str(tmp_path / "there"), "/odom")
    assert processes.end("simulation.recorder") == 2
    assert "cannot be written" in processes.said("simulation.recorder")


def test_a_probe_of_a_node_that_is_not_there_gives_up_with_one_line(processes: Processes) -> None:
    processes.start("simulation.ready", "/nobody", "--timeout", "0.2")
    assert processes.end("simulation.ready") == 2
    assert (
        processes.said("simulation.ready")
        == "ready: /nobody was not active after 0.2 s but not there: look at its log\n"
    )
