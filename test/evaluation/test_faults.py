"""What is said of a fault is what was published and said in its time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes.bags import SECOND_NS, START_NS, STORE, header, message, odometry, pose_with_covariance
from rosbags.rosbag2 import StoragePlugin, Writer

from geoflow_ros.evaluation.bag import Topics
from geoflow_ros.evaluation.faults import STATUS_TOPIC, FaultWindow, fault_answers, faults_table


def write_drive(path: Path, poses: Sequence[tuple[float, float, float]], said: Sequence[tuple[float, str]]) -> Path:
    """Thirty seconds along x at 1 m/s; poses are (time, error along y, sigma), what is said is (time, text)."""
    topics = Topics()
    kinds = {
        topics.truth: "nav_msgs/msg/Odometry",
        topics.odometry: "nav_msgs/msg/Odometry",
        topics.fixes: "geometry_msgs/msg/PoseWithCovarianceStamped",
        STATUS_TOPIC: "diagnostic_msgs/msg/DiagnosticStatus",
    }
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {name: writer.add_connection(name, kind, typestore=STORE) for name, kind in kinds.items()}

        def put(topic: str, t_s: float, content: object) -> None:
            at_ns = START_NS + round(t_s * SECOND_NS)
            writer.write(connections[topic], at_ns, STORE.serialize_cdr(content, kinds[topic]))

        for t_s in range(31):
            for topic in (topics.truth, topics.odometry):
                put(topic, t_s, odometry(START_NS + t_s * SECOND_NS, float(t_s), 0.0, 0.0))
        for t_s, error_m, sigma_m in poses:
            pose = message(
                kinds[topics.fixes],
                header=header(START_NS + round(t_s * SECOND_NS)),
                pose=pose_with_covariance(t_s, error_m, 0.0, sigma_m**2),
            )
            put(topics.fixes, t_s, pose)
        for t_s, text in said:
            content = message(kinds[STATUS_TOPIC], level=0, name="pose", message=text, hardware_id="", values=[])
            put(STATUS_TOPIC, t_s, content)
    return path


def test_poses_and_states_are_those_of_the_window(tmp_path: Path) -> None:
    poses = [(2.0, 0.1, 0.5), (11.0, 3.0, 1.0), (12.0, 6.0, 1.0), (17.0, 1.0, 1.0), (25.0, 9.0, 1.0)]
    said = [
        (1.0, "TRACKING"),
        (12.5, "DEGRADED: the camera is frozen (3 s)"),
        (13.0, "LOST: frozen"),
        (18.0, "TRACKING"),
    ]
    bag = write_drive(tmp_path / "bag", poses, said)
    (answer,) = fault_answers(bag, [FaultWindow("camera frozen", 10.0, 15.0, 20.0)])
    assert (answer.poses, answer.poses_after, answer.beyond_5_sigma) == (2, 1, 1)
    assert answer.largest_error_m == pytest.approx(6.0)
    assert answer.largest_sigmas == pytest.approx(6.0)
    assert answer.tracks_after_s == pytest.approx(3.0)
    assert answer.said == ("DEGRADED: the camera is frozen (3 s)", "LOST: frozen", "TRACKING")
    text = faults_table([answer])
    assert "DEGRADED → LOST → TRACKING" in text
    assert "3.0" in text


def test_a_moment_of_tracking_is_no_recovery(tmp_path: Path) -> None:
    said = [(1.0, "TRACKING"), (11.0, "LOST: x"), (15.5, "TRACKING"), (16.0, "LOST: x"), (18.0, "TRACKING")]
    bag = write_drive(tmp_path / "bag", [], said)
    windows = [FaultWindow("a", 10.0, 15.0, 17.0), FaultWindow("b", 10.0, 15.0, 25.0), FaultWindow("c", 2.0, 3.0, 9.0)]
    never, later, untouched = fault_answers(bag, windows)
    assert never.tracks_after_s is None
    assert later.tracks_after_s == pytest.approx(3.0)
    assert untouched.tracks_after_s == 0.0
    assert untouched.largest_error_m is None
    assert " not " in faults_table([never])
