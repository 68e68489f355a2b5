"""TF without tf2_msgs: what Cyclone DDS sends is what ROS knows by that name."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
pytest.importorskip("cyclonedds", reason="needs cyclonedds (the extra [ros])")

import rclpy
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from fakes.node_checks import MakeGraph
from fakes.ros_domain import domain_id
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from geoflow_ros.ros import dds_transforms
from geoflow_ros.ros.static_transforms import StaticTransforms
from geoflow_ros.ros.transforms import transform_sender

PATIENCE_S = 20.0


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    for name in ("tf2_ros", "tf2_msgs", "tf2_msgs.msg"):
        monkeypatch.setitem(sys.modules, name, None)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id())
    made = rclpy.create_node("sender", context=context, cli_args=["--ros-args", "-r", "/tf_static:=/car/tf_static"])
    yield made
    made.destroy_node()
    rclpy.try_shutdown(context=context)


def transform() -> TransformStamped:
    made = TransformStamped(child_frame_id="odom")
    made.header.frame_id, made.header.stamp.sec, made.header.stamp.nanosec = "map", 12, 34
    made.transform.translation.x, made.transform.translation.z = 2.5, -1.0
    made.transform.rotation.z, made.transform.rotation.w = 0.6, 0.8
    return made


def eventually(is_so: Callable[[], Any]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(is_so())


def test_ros_sees_the_type_and_the_reliability_of_tf(node: Node) -> None:
    sender = transform_sender(node)
    assert sender.name == "cyclonedds"
    assert eventually(lambda: node.get_publishers_info_by_topic("/tf"))
    (publisher,) = node.get_publishers_info_by_topic("/tf")
    assert publisher.topic_type == "tf2_msgs/msg/TFMessage"
    assert publisher.qos_profile.reliability == rclpy.qos.ReliabilityPolicy.RELIABLE
    assert publisher.qos_profile.durability == rclpy.qos.DurabilityPolicy.VOLATILE


def test_the_bytes_are_those_of_a_tf_message() -> None:
    typesys = pytest.importorskip("rosbags.typesys", reason="needs rosbags (the extra [ros])")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    read = store.deserialize_cdr(dds_transforms._message(transform()).serialize(), "tf2_msgs/msg/TFMessage")
    (sent,) = read.transforms
    assert (sent.header.frame_id, sent.child_frame_id) == ("map", "odom")
    assert (sent.header.stamp.sec, sent.header.stamp.nanosec) == (12, 34)
    assert (sent.transform.translation.x, sent.transform.translation.z) == (2.5, -1.0)
    assert (sent.transform.rotation.z, sent.transform.rotation.w) == (0.6, 0.8)


def test_ros_takes_what_is_described_here(node: Node) -> None:
    """TFMessage itself cannot be taken here; what it is made of can."""
    taken: list[TransformStamped] = []
    node.create_subscription(TransformStamped, "/one", taken.append, 10)
    participant = dds_transforms._participant(node)
    writer = DataWriter(participant, Topic(participant, "rt/one", dds_transforms._TransformStamped))
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def sent() -> list[TransformStamped]:
        writer.write(dds_transforms._message(transform()).transforms[0])
        executor.spin_once(timeout_sec=0.05)
        return taken

    assert eventually(sent)
    assert taken[0] == transform()


def test_a_camera_mounted_before_the_node_started_is_found_under_the_remapped_name(node: Node) -> None:
    participant = dds_transforms._participant(node)
    topic = Topic(participant, "rt/car/tf_static", dds_transforms._TFMessage)
    latched = dds_transforms._qos(dds_transforms.Policy.Durability.TransientLocal)
    writer = DataWriter(participant, topic, qos=latched)
    writer.write(dds_transforms._message(transform()))
    frames = StaticTransforms()
    listening = frames.listen(node)
    assert listening is not None
    assert eventually(lambda: frames.lookup("odom", "map"))
    found = frames.lookup("odom", "map")
    assert found is not None
    np.testing.assert_allclose(found.translation_m, [2.5, 0.0, -1.0])


def test_a_configuration_that_cannot_be_used_costs_tf_and_not_the_node(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYCLONEDDS_URI", "<CycloneDDS><Domain><NoSuchThing/></Domain></CycloneDDS>")
    monkeypatch.setattr(node.context, "get_domain_id", lambda: 231)  # one that nothing here has joined before
    sender = transform_sender(node)
    assert sender.name.startswith("none: Cyclone DDS cannot join domain 231")
    assert StaticTransforms().listen(node) is None


@pytest.mark.parametrize("is_wanted", [True, False])
def test_the_node_broadcasts_where_odom_is_in_the_map_unless_another_does(own: MakeGraph, is_wanted: bool) -> None:
    if importlib.util.find_spec("tf2_ros") is not None:
        pytest.skip("tf2_ros sends TF here")
    graph = own({"frames.broadcast_tf": is_wanted})
    participant = dds_transforms._participant(graph.node)
    topic = Topic(participant, "rt/tf", dds_transforms._TFMessage)
    reader = DataReader(participant, topic, qos=dds_transforms._qos(dds_transforms.Policy.Durability.Volatile))
    graph.drive(0.2)
    graph.start_at(30.0, -20.0, math.pi / 2)
    graph.drive(0.4)
    graph.show()
    graph.localized()
    assert bool(graph.node.get_publishers_info_by_topic("/tf")) is is_wanted
    received: list[Any] = []
    if is_wanted:
        assert eventually(lambda: received.extend(reader.take(10)) or received)
        sent = received[0].transforms[0]
        assert (sent.header.frame_id, sent.child_frame_id) == ("map", "odom")
        assert math.hypot(sent.transform.translation.x - 30.0, sent.transform.translation.y + 20.0) < 15.0


def test_a_node_that_is_destroyed_sends_no_more(own: MakeGraph) -> None:
    if importlib.util.find_spec("tf2_ros") is not None:
        pytest.skip("tf2_ros sends TF here")
    graph = own()
    onlooker = rclpy.create_node("onlooker", context=graph.node.context)
    assert eventually(lambda: onlooker.get_publishers_info_by_topic("/tf"))
    graph.localizer.destroy_node()
    assert eventually(lambda: not onlooker.get_publishers_info_by_topic("/tf"))
    onlooker.destroy_node()
