"""A recording that is replayed without ROS gives the node's answers, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
pytest.importorskip("rosbags", reason="needs rosbags (the extra [demo])")

from fakes.map import DATUM
from fakes.node_checks import ANY_LATENCY
from fakes.ros_graph import Graph
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from geoflow_ros.backends import BackendOptions
from geoflow_ros.evaluation.replay.sensors import bag_events
from geoflow_ros.localization import (
    InlineExecutor,
    InputRejected,
    VehicleFix,
    VehicleOptions,
    VehicleSettings,
    open_vehicle_localizer,
    patch_manager,
    replay,
)
from geoflow_ros.ros.images import compressed_from_rgb
from geoflow_ros.ros.messages import quaternion_message

TOPICS = {"compressed": "/image/compressed", "odom": "/odom", "imu": "/imu", "initialpose": "/initialpose"}
LEVER_ARM_M = (2.0, 0.5)
RANGE_M = 1.0
FRAMES = 12


class RecordedGraph(Graph):
    """A graph that also keeps what its vehicle says, in the order in which it says it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.said: list[tuple[str, Any]] = []
        super().__init__(*arguments, **options)
        for name, publisher in self.publishers.items():
            self._keep(name, publisher)

    def _keep(self, name: str, publisher: Any) -> None:
        publish = publisher.publish

        def kept(message: Any) -> None:
            self.said.append((name, message))
            publish(message)

        publisher.publish = kept


@pytest.fixture
def recorded(bundle: Path, tiles: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedGraph]:
    # what the background has ready for which frame depends on the machine: here it is always ready
    monkeypatch.setattr(patch_manager, "ThreadPoolExecutor", lambda *arguments, **options: InlineExecutor())
    graph = RecordedGraph(
        bundle,
        str(tiles),
        {
            **ANY_LATENCY,
            "image_transport": "compressed",
            "camera.lever_arm.x_m": LEVER_ARM_M[0],
            "camera.lever_arm.y_m": LEVER_ARM_M[1],
            "tiles.recentre_distance_m": RANGE_M,
        },
    )
    yield graph
    graph.close()


def newest_heading_ns(graph: Graph) -> int | None:
    heading = graph.tracker.newest_heading
    return None if heading is None else heading.stamp_ns


def drive(graph: RecordedGraph) -> None:
    """A winding drive with headings, an outlier, a damaged picture and one that says nothing."""
    from sensor_msgs.msg import Imu

    graph.drive(0.2)
    graph.start_at(0.0, 0.0, math.pi / 2)
    for index in range(FRAMES):
        graph.drive(0.2, speed_mps=4.0 + index)
        heading = Imu(orientation=quaternion_message(graph.yaw_rad + 0.01 * math.sin(index)))
        heading.header.stamp = graph.stamp()
        heading.orientation_covariance[8] = 1e-4
        graph.publishers["imu"].publish(heading)
        graph.wait(lambda: newest_heading_ns(graph) == graph.t_ns, "the heading to arrive")
        red, blue = (250, 0) if index == 5 else (140, 255) if index == 7 else (120 + index, 10 * index)
        message = compressed_from_rgb(graph.picture(red=red, blue=blue), graph.stamp(), "camera", 95)
        if index == 9:
            message.data = message.data[:40]
        done = graph.count("poses") + graph.count_rejections()
        graph.show(message)
        graph.wait(lambda done=done: graph.count("poses") + graph.count_rejections() > done, "an answer")


def write_bag(graph: RecordedGraph, path: Path) -> Path:
    store = get_typestore(Stores.ROS2_JAZZY)
    kinds = {
        "compressed": "sensor_msgs/msg/CompressedImage",
        "odom": "nav_msgs/msg/Odometry",
        "imu": "sensor_msgs/msg/Imu",
        "initialpose": "geometry_msgs/msg/PoseWithCovarianceStamped",
    }
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {name: writer.add_connection(TOPICS[name], kind, typestore=store) for name, kind in kinds.items()}
        for index, (name, message) in enumerate(graph.said):
            writer.write(connections[name], 1_000_000 * (index + 1), bytes(serialize_message(message)))
    return path


def test_a_replayed_recording_gives_the_nodes_answers_bit_for_bit(
    recorded: RecordedGraph, bundle: Path, tiles: Path, tmp_path: Path
) -> None:
    drive(recorded)
    bag = write_bag(recorded, tmp_path / "bag")
    vehicle = VehicleSettings(lever_arm_m=LEVER_ARM_M, patch_range_m=RANGE_M)
    options = VehicleOptions(
        tiles=tiles,
        datum=(DATUM.lat_deg, DATUM.lon_deg),
        model=bundle,
        backend=BackendOptions("onnxruntime", threads=1),
        vehicle=vehicle,
        prepare_in_background=False,
    )
    with open_vehicle_localizer(options) as localizer:
        answers = list(replay(localizer, bag_events(bag, DATUM)))
    fixes = [answer for answer in answers if isinstance(answer, VehicleFix)]
    rejected = [answer for answer in answers if isinstance(answer, InputRejected)]

    poses = dict(zip(recorded.stamps(), recorded.received["pose"], strict=True))
    assert [fix.stamp_ns for fix in fixes] == sorted(poses)
    assert 0 < len(fixes) < FRAMES
    assert len(fixes) + len(rejected) == FRAMES
    for fix in fixes:
        pose, where = poses[fix.stamp_ns].pose, recorded.localized_at("fix", fix.stamp_ns)
        assert (pose.pose.position.x, pose.pose.position.y) == tuple(fix.position_m)
        assert pose.pose.orientation == quaternion_message(fix.yaw_rad)
        full = np.reshape(pose.covariance, (6, 6))[np.ix_([0, 1, 5], [0, 1, 5])]
        assert np.array_equal(full, (fix.covariance + fix.covariance.T) / 2.0)
        assert (where.latitude, where.longitude) == (fix.latitude_deg, fix.longitude_deg)
        track = recorded.localized_at("track", fix.stamp_ns).pose
        assert (track.pose.position.x, track.pose.position.y) == (fix.track.east_m, fix.track.north_m)
    said = {reason.reason.value for reason in rejected}
    assert said == {key for key, count in recorded.rejections().items() if count}
