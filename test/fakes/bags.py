"""Writes small ROS 2 bags without ROS: a straight drive whose figures can be computed by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from geoflow_ros.evaluation.bag import Topics

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
LATENCY_NS = 80_000_000
STORE = get_typestore(Stores.ROS2_JAZZY)


def message(kind: str, **fields: Any) -> Any:
    return STORE.types[kind](**fields)


def header(stamp_ns: int) -> Any:
    stamp = message("builtin_interfaces/msg/Time", sec=stamp_ns // SECOND_NS, nanosec=stamp_ns % SECOND_NS)
    return message("std_msgs/msg/Header", stamp=stamp, frame_id="map")


def pose_with_covariance(x: float, y: float, yaw: float, variance: float) -> Any:
    covariance = np.zeros((6, 6))
    covariance[0, 0] = covariance[1, 1] = covariance[5, 5] = variance
    quaternion = message("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2))
    pose = message(
        "geometry_msgs/msg/Pose",
        position=message("geometry_msgs/msg/Point", x=x, y=y, z=0.0),
        orientation=quaternion,
    )
    return message("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance.ravel())


def odometry(stamp_ns: int, x: float, y: float, yaw: float, variance: float = 0.01) -> Any:
    zero = message("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    twist = message(
        "geometry_msgs/msg/TwistWithCovariance",
        twist=message("geometry_msgs/msg/Twist", linear=zero, angular=zero),
        covariance=np.zeros(36),
    )
    return message(
        "nav_msgs/msg/Odometry",
        header=header(stamp_ns),
        child_frame_id="base_link",
        pose=pose_with_covariance(x, y, yaw, variance),
        twist=twist,
    )


def jpeg(grey: int) -> npt.NDArray[np.uint8]:
    done, data = cv2.imencode(".jpg", np.full((16, 32, 3), grey, np.uint8))
    assert done
    return np.asarray(data, np.uint8).ravel()


def write_bag(path: Path, with_fixes: bool = True) -> Path:
    """Ten seconds straight north at 10 m/s; odometry that starts at its own zero, looks east and runs 3 % too long.

    Poses are 1 m ahead of the truth, one for every fifth image, the track 0.5 m to its right; every image has a fix.
    """
    topics = Topics()
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {
            topics.truth: "nav_msgs/msg/Odometry",
            topics.odometry: "nav_msgs/msg/Odometry",
            topics.track: "nav_msgs/msg/Odometry",
            topics.fixes: "geometry_msgs/msg/PoseWithCovarianceStamped",
            topics.hypotheses: "geometry_msgs/msg/PoseArray",
            topics.image: "sensor_msgs/msg/CompressedImage",
        }
        connections = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in kinds.items()}

        def put(topic: str, received_ns: int, content: Any) -> None:
            writer.write(connections[topic], received_ns, STORE.serialize_cdr(content, kinds[topic]))

        for k in range(101):
            t, stamp = 0.1 * k, START_NS + k * SECOND_NS // 10
            put(topics.truth, stamp, odometry(stamp, 100.0, 200.0 + 10.0 * t, math.pi / 2))
            put(topics.odometry, stamp, odometry(stamp, 10.3 * t, 0.0, 0.0))
            if k % 2 == 0:
                image = message("sensor_msgs/msg/CompressedImage", header=header(stamp), format="jpeg", data=jpeg(k))
                put(topics.image, stamp, image)
            if k % 2 == 0 and with_fixes:
                fix = message(
                    "geometry_msgs/msg/PoseWithCovarianceStamped",
                    header=header(stamp),
                    pose=pose_with_covariance(100.0, 201.0 + 10.0 * t, math.pi / 2, 1.0),
                )
                if k % 10 == 0:
                    put(topics.fixes, stamp + LATENCY_NS, fix)
                hypotheses = message("geometry_msgs/msg/PoseArray", header=header(stamp), poses=[])
                put(topics.hypotheses, stamp + LATENCY_NS, hypotheses)
                put(topics.track, stamp + LATENCY_NS, odometry(stamp, 100.5, 200.0 + 10.0 * t, math.pi / 2))
    return path


SENSORS = {
    "/camera/image/compressed": "sensor_msgs/msg/CompressedImage",
    "/odom": "nav_msgs/msg/Odometry",
    "/initialpose": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "/ground_truth/odom": "nav_msgs/msg/Odometry",
}
"""The topics of `sensor_messages`."""


def sensor_messages(seconds: float = 6.0) -> Iterator[tuple[int, str, Any]]:
    """Straight north through the datum at 4.8 m/s: what a vehicle senses, as (stamp, topic, message), stamps ascending.

    There are ten odometries a second, and two pictures for the model of `fakes.bundle`, which say how far ahead of the
    patch's centre the vehicle is: a patch is kept for 5 m, that is for three pictures.

    Args:
        seconds: length of the drive.
    """
    from fakes.bundle import GREY, GROUND_SHAPE, scenery

    start = pose_with_covariance(1.0, -10.0, math.pi / 2, 4.0)
    start.covariance[-1] = 0.001  # rad²
    kind = "geometry_msgs/msg/PoseWithCovarianceStamped"
    yield START_NS, "/initialpose", message(kind, header=header(START_NS), pose=start)
    for k in range(round(10 * seconds) + 1):
        stamp, way = START_NS + k * SECOND_NS // 10, 0.48 * k
        yield stamp, "/odom", odometry(stamp, way, 0.0, 0.0)
        yield stamp, "/ground_truth/odom", odometry(stamp, 0.0, -10.0 + way, math.pi / 2)
        if k % 5 == 0:
            done, data = cv2.imencode(".png", scenery(*GROUND_SHAPE, GREY + 10 * (k // 5 % 3), 0, k)[..., ::-1])
            assert done
            kind = "sensor_msgs/msg/CompressedImage"
            picture = message(kind, header=header(stamp), format="png", data=np.asarray(data, np.uint8).ravel())
            yield stamp, "/camera/image/compressed", picture


def write_messages(
    path: Path,
    messages: Iterable[tuple[int, str, Any]],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode | None = None,
    kinds: Mapping[str, str] = SENSORS,
) -> Path:
    """Writes a rosbag2 of (reception, topic, message); returns its folder."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in kinds.items()}
        for received_ns, topic, content in messages:
            writer.write(connections[topic], received_ns, STORE.serialize_cdr(content, kinds[topic]))
    return path


def write_ros1(path: Path, messages: Iterable[tuple[int, str, Any]]) -> Path:
    """Writes a ROS 1 bag of (reception, topic, message), whose types have the same fields but the header's."""
    store = get_typestore(Stores.ROS1_NOETIC)

    def of_ros1(value: Any) -> Any:
        kind = getattr(value, "__msgtype__", None)
        if kind is None:
            return value
        fields = {name: of_ros1(getattr(value, name)) for name in value.__dataclass_fields__ if name != "__msgtype__"}
        return store.types[kind](**({"seq": 0} if kind == "std_msgs/msg/Header" else {}), **fields)

    with Writer1(path) as writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in SENSORS.items()}
        for received_ns, topic, content in messages:
            writer.write(connections[topic], received_ns, store.serialize_ros1(of_ros1(content), SENSORS[topic]))
    return path
