"""Where sensors are mounted: the tree of static frames (`/tf_static`), whoever deserialized its messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import OdometryError
from geoflow_ros.geo.attitude import rotation_of_quaternion

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


class FrameTree:
    """The tree of static frames, as far as it is known. Thread-safe.

    Args:
        changed: called after every message, in the thread that brings it.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._parents: dict[str, tuple[str, Placement]] = {}

    def take(self, transforms: Sequence[Any]) -> None:
        """Takes geometry_msgs/TransformStamped; those that are no rotation are left out, as tf2 does."""
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
