"""map→odom for TF: through tf2_ros where it is installed, else straight as a message, else not at all."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile


class TransformSender(Protocol):
    """Something that makes a transform known."""

    name: str

    def send(self, transform: TransformStamped) -> None:
        """Publish one transform."""


class Tf2Sender:
    """tf2_ros's broadcaster."""

    name = "tf2_ros"

    def __init__(self, node: Node) -> None:
        self._broadcaster: Any = importlib.import_module("tf2_ros").TransformBroadcaster(node)

    def send(self, transform: TransformStamped) -> None:
        """Publish one transform."""
        self._broadcaster.sendTransform(transform)


class MessageSender:
    """The same message on the same topic, where only tf2_msgs is installed."""

    name = "tf2_msgs"

    def __init__(self, node: Node) -> None:
        self._message_type: Any = importlib.import_module("tf2_msgs.msg").TFMessage
        self._publisher = node.create_publisher(self._message_type, "/tf", QoSProfile(depth=100))

    def send(self, transform: TransformStamped) -> None:
        """Publish one transform."""
        self._publisher.publish(self._message_type(transforms=[transform]))


class NoSender:
    """Neither is installed: the pose topics are all there is."""

    name = "none"

    def send(self, transform: TransformStamped) -> None:
        """Do nothing; diagnostics name the sender, so that nobody waits for TF."""


def transform_sender(node: Node) -> TransformSender:
    """The best sender that this installation has."""
    for sender in (Tf2Sender, MessageSender):
        try:
            return sender(node)
        except ImportError:
            continue
    return NoSender()
