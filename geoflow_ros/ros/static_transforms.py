"""Where sensors are mounted: the static transforms on `/tf_static`, read as messages, so that no tf2_ros is needed."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import OdometryError
from geoflow_ros.geo.attitude import rotation_of_quaternion

_LATCHED = QoSProfile(
    depth=100,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_DEEPEST = 100  # a chain of frames that is longer goes in a circle


@dataclass(frozen=True, eq=False)
class Placement:
    """The pose of a frame in another.

    Attributes:
        rotation: (3, 3) from the frame's axes to the other's.
        translation_m: (3,) of its origin in the other.
    """

    rotation: Float64Array
    translation_m: Float64Array

    def of(self, inner: Placement) -> Placement:
        """Returns the pose of what has the pose `inner` in this frame."""
        return Placement(self.rotation @ inner.rotation, self.rotation @ inner.translation_m + self.translation_m)

    def inverse(self) -> Placement:
        """Returns the pose of the other frame in this one."""
        return Placement(self.rotation.T, -self.rotation.T @ self.translation_m)


_SELF = Placement(np.eye(3), np.zeros(3))


class StaticTransforms:
    """The tree of static frames, as far as it is known. Thread-safe.

    Args:
        changed: called after every message, in the thread that brings it.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._parents: dict[str, tuple[str, Placement]] = {}

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

    def take(self, transforms: list[TransformStamped]) -> None:
        """Takes transforms; those that are no rotation are left out, as tf2 does."""
        with self._lock:
            for transform in transforms:
                q, at = transform.transform.rotation, transform.transform.translation
                try:
                    rotation = rotation_of_quaternion(q.x, q.y, q.z, q.w)
                except OdometryError:
                    continue
                placement = Placement(rotation, np.array([at.x, at.y, at.z], float))
                self._parents[_name(transform.child_frame_id)] = _name(transform.header.frame_id), placement
        self._changed()

    def lookup(self, frame: str, within: str) -> Placement | None:
        """Returns the pose of a frame in another; None where the tree does not connect them."""
        with self._lock:
            (root, inner), (other_root, outer) = self._to_root(_name(frame)), self._to_root(_name(within))
        return outer.inverse().of(inner) if root == other_root else None

    def _to_root(self, frame: str) -> tuple[str, Placement]:
        placement = _SELF
        for _ in range(_DEEPEST):
            if frame not in self._parents:
                break
            frame, outer = self._parents[frame]
            placement = outer.of(placement)
        return frame, placement


def _name(frame: str) -> str:
    return frame.removeprefix("/")
