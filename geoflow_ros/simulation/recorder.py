"""Records topics to a bag (MCAP) without rosbag2, which has no wheels. The bytes are kept as they came."""

from __future__ import annotations

import argparse
import importlib
import math
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore

from geoflow_ros.errors import GeoFlowError, InputError
from geoflow_ros.simulation.events import EventKind, tell

_DISCOVERY_PERIOD_S = 0.2
_DEPTH = 1000
# What was sent before the recorder was told to end is on its way still: it ends once nothing came for the first of
# these times, and after the second in any case.
_QUIET_S, _DRAIN_S = 0.3, 2.0


class Recorder(Node):
    """Writes topics to a bag from the moment that they appear; `close` makes the bag whole.

    Args:
        bag: folder of the bag; must not exist.
        topics: full names.
        begin_with: nothing is written before the first message of one of these, but what is transient local, which is
            written then; empty: everything is written.

    Raises:
        InputError: the folder exists, or cannot be written.
    """

    def __init__(self, bag: Path, topics: Sequence[str], begin_with: Sequence[str] = ()) -> None:
        super().__init__("geoflow_recorder")
        self._waiting, self._begin_with = set(topics), set(begin_with)
        self._held: list[tuple[Connection, bytes]] = []  # transient local, from before the beginning
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        try:
            self._writer = Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            self.destroy_node()
            raise InputError(f"the bag {bag} cannot be written: {error}") from error
        self.counts: dict[str, int] = dict.fromkeys(topics, 0)
        self.last_s = -math.inf  # monotonic: when the last message came
        self.create_timer(_DISCOVERY_PERIOD_S, self._discover)

    def close(self) -> None:
        """Writes what is buffered, and the index."""
        self._writer.close()

    def _discover(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            if topic in self._waiting:
                self._subscribe(topic, types[0])

    def _subscribe(self, topic: str, type_name: str) -> None:
        offers = [info.qos_profile for info in self.get_publishers_info_by_topic(topic)]
        if not offers:
            return  # only another subscriber so far: wait for what the publisher offers
        self._waiting.discard(topic)
        # Ask for no more than every publisher offers, or nothing would come.
        reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
        kept = all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        profile = QoSProfile(
            depth=_DEPTH,
            history=HistoryPolicy.KEEP_LAST,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE,
        )
        try:
            connection = self._writer.add_connection(
                topic, type_name, typestore=self._typestore, offered_qos_profiles=[_bag_qos(reliable, kept)]
            )
            message_type = _message_type(type_name)
        except (KeyError, ImportError, WriterError) as error:
            self.get_logger().error(f"{topic} cannot be recorded: type {type_name} is not known here ({error})")
            return
        self.create_subscription(message_type, topic, partial(self._take, connection, kept), profile, raw=True)

    def _take(self, connection: Connection, kept: bool, data: bytes) -> None:
        if self._begin_with and connection.topic not in self._begin_with:
            if kept:
                self._held.append((connection, data))
            return
        self._begin_with.clear()
        for held in self._held:
            self._write(*held)
        self._held.clear()
        self._write(connection, data)

    def _write(self, connection: Connection, data: bytes) -> None:
        self._writer.write(connection, self.get_clock().now().nanoseconds, data)
        self.counts[connection.topic] += 1
        self.last_s = time.monotonic()


def _message_type(type_name: str) -> Any:
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


def _bag_qos(reliable: bool, kept: bool) -> Qos:
    never = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST,
        10,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if kept else QosDurability.VOLATILE,
        never,
        never,
        QosLiveliness.AUTOMATIC,
        never,
        False,
    )


def record(bag: Path, topics: Sequence[str], begin_with: Sequence[str] = ()) -> dict[str, int]:
    """Records until SIGINT or SIGTERM comes, and what is on its way then; returns the number of messages per topic.

    Raises:
        InputError: see `Recorder`.
    """
    told_to_end = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal told_to_end
        told_to_end = True

    # Own handlers: rclpy's would end the context while messages are still being written.
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    recorder = Recorder(bag, topics, begin_with)
    executor = rclpy.executors.SingleThreadedExecutor()
    executor.add_node(recorder)
    tell(EventKind.READY)
    try:
        while not told_to_end:
            executor.spin_once(timeout_sec=0.1)
        told_s = time.monotonic()
        while (left_s := min(told_s + _DRAIN_S, max(told_s, recorder.last_s) + _QUIET_S) - time.monotonic()) > 0.0:
            executor.spin_once(timeout_sec=left_s)
    finally:
        recorder.close()
        executor.shutdown()
        recorder.destroy_node()
    return recorder.counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns 2 after one line on standard error where the input was bad."""
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__, allow_abbrev=False)
    parser.add_argument("bag", type=Path, help="folder of the bag, which is created")
    parser.add_argument("topics", nargs="+", metavar="TOPIC", help="full names, such as /odom")
    parser.add_argument(
        "--begin-with",
        action="append",
        default=[],
        metavar="TOPIC",
        help="write nothing before the first message of this topic, or of one of several, but what is transient local",
    )
    given = list(sys.argv if arguments is None else ["recorder", *arguments])
    options = parser.parse_args(remove_ros_args(given)[1:])
    rclpy.init(args=given, signal_handler_options=SignalHandlerOptions.NO)
    try:
        counts = record(options.bag, options.topics, options.begin_with)
    except GeoFlowError as error:
        print(f"recorder: {error}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
    for topic, count in counts.items():
        print(f"{count:7d} {topic}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
