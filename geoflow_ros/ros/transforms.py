"""The transform from map to odom is sent through tf2_ros where that is installed, else as a plain message."""

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
    """Sends nothing, and says why: the diagnostics name the sender, so that nobody waits for TF."""

    def __init__(self, why: str) -> None:
        self.name = f"none: {why}"

    def send(self, transform: TransformStamped) -> None:
        """Does nothing."""


def transform_sender(node: Node, *, is_wanted: bool = True) -> TransformSender:
    """Returns the best sender that this installation has.

    Args:
        node: who sends.
        is_wanted: `frames.broadcast_tf`; where it is not, another node sends this transform, and this one must not.
    """
    if not is_wanted:
        return NoSender("frames.broadcast_tf is false")
    for sender in (Tf2Sender, MessageSender, _dds_sender):
        try:
            return sender(node)
        except ImportError:
            continue
        except ConnectionError as error:  # poses do without TF, and a node that ends because of it would not
            return NoSender(str(error))
    return NoSender("install tf2_ros (ROS), or cyclonedds (pip)")


def _dds_sender(node: Node) -> TransformSender:
    sender: TransformSender = importlib.import_module("geoflow_ros.ros.dds_transforms").DdsSender(node)
    return sender
