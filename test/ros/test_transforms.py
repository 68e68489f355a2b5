"""Which way the transform from map to odom goes, by what is installed."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from geometry_msgs.msg import TransformStamped

from geoflow_ros.ros.transforms import transform_sender


class Publishers:
    """Publishers that note what they send."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def create_publisher(self, kind: Any, topic: str, qos: Any) -> Any:
        return types.SimpleNamespace(publish=lambda message: self.sent.append((topic, message)))


def install(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tf2_ros", "tf2_msgs", "tf2_msgs.msg", "geoflow_ros.ros.dds_transforms"):
        monkeypatch.setitem(sys.modules, name, None)


def test_with_tf2_ros_its_broadcaster_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[TransformStamped] = []

    class Broadcaster:
        def __init__(self, node: Any) -> None:
            self.sendTransform = sent.append

    install(monkeypatch, "tf2_ros", TransformBroadcaster=Broadcaster)
    node: Any = Publishers()
    sender = transform_sender(node)
    transform = TransformStamped(child_frame_id="odom")
    sender.send(transform)
    assert (sender.name, sent) == ("tf2_ros", [transform])


def test_with_tf2_msgs_alone_the_message_goes_out_on_tf(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "tf2_msgs")
    install(monkeypatch, "tf2_msgs.msg", TFMessage=types.SimpleNamespace)
    node: Any = Publishers()
    sender = transform_sender(node)
    transform = TransformStamped(child_frame_id="odom")
    sender.send(transform)
    assert sender.name == "tf2_msgs"
    assert [(topic, message.transforms) for topic, message in node.sent] == [("/tf", [transform])]


def test_with_neither_nothing_is_sent_and_the_name_says_so() -> None:
    node: Any = Publishers()
    sender = transform_sender(node)
    sender.send(TransformStamped())
    assert node.sent == []
    assert sender.name == "none: install tf2_ros (ROS), or cyclonedds (pip)"


def test_where_another_node_sends_it_this_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "tf2_msgs")
    install(monkeypatch, "tf2_msgs.msg", TFMessage=types.SimpleNamespace)
    node: Any = Publishers()
    sender = transform_sender(node, is_wanted=False)
    sender.send(TransformStamped())
    assert (sender.name, node.sent) == ("none: frames.broadcast_tf is false", [])
