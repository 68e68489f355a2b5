"""The transform from map to odom is sent through tf2_ros where that is installed, else as a plain message, else not."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile


class TransformSender(Protocol):
    """Anything that publishes transforms.

    Attributes:
        name: of the package that it uses, for the diagnostics.
    """

    name: str

    def send(self, transform: TransformStamped) -> None:
        """Publishes one transform."""


class Tf2Sender:
    """Sends through the broadcaster of tf2_ros."""

    name = "tf2_ros"

    def __init__(self, node: Node) -> None:
        self._broadcaster: Any = importlib.import_module("tf2_ros").TransformBroadcaster(node)

    def send(self, transform: TransformStamped) -> None:
        """Publishes one transform."""
        self._broadcaster.sendTransform(transform)


class MessageSender:
    """Sends the same message on the same topic, where only tf2_msgs is installed."""

    name = "tf2_msgs"

    def __init__(self, node: Node) -> None:
        self._message_type: Any = importlib.import_module("tf2_msgs.msg").TFMessage
        self._publisher = node.create_publisher(self._message_type, "/tf", QoSProfile(depth=100))

    def send(self, transform: TransformStamped) -> None:
        """Publishes one transform."""
        self._publisher.publish(self._message_type(transforms=[transform]))


class NoSender:
    """Sends nothing: neither is installed, and the pose topics are all there is."""

    name = "none"

    def send(self, transform: TransformStamped) -> None:
        """Does nothing; the diagnostics name the sender, so that nobody waits for TF."""


def transform_sender(node: Node) -> TransformSender:
    """Returns the best sender that this installation has."""
    for sender in (Tf2Sender, MessageSender):
        try:
            return sender(node)
        except ImportError:
            continue
    return NoSender()
