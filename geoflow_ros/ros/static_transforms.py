"""The node's ear on `/tf_static`, read as messages, so that no tf2_ros is needed."""

from __future__ import annotations

import importlib
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from geoflow_ros.localization.frame_tree import FrameTree

_LATCHED = QoSProfile(
    depth=100,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class StaticTransforms(FrameTree):
    """The tree of static frames, as a node hears it."""

    def listen(self, node: Node) -> Any | None:
        """Listens to `/tf_static` on a node, until the answer is let go.

        Returns:
            None where this installation has neither tf2_msgs nor a cyclonedds that works.
        """
        try:
            message_type: Any = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            return self._listen_without_messages(node)

        def take(message: Any) -> None:
            self.take(message.transforms)

        return node.create_subscription(message_type, "/tf_static", take, _LATCHED)

    def _listen_without_messages(self, node: Node) -> Any | None:
        try:
            return importlib.import_module("geoflow_ros.ros.dds_transforms").listen_to_static(node, self.take)
        except (ImportError, ConnectionError):
            return None
