"""TF where tf2_msgs is not installed: the same messages on the same topics, through Cyclone DDS.

rclpy sends and takes only types that come with generated C code, and the package index has that of the common
interfaces, not of tf2_msgs. DDS itself needs no more than a type's description, which is here: ROS nodes find these
topics as they find any other.

Raises:
    ImportError: cyclonedds is not installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cyclonedds.core import DDSException, Listener, Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import make_idl_struct, types
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

_DEPTH = 100  # messages that are kept for whoever is slow
_BLOCKING = duration(milliseconds=100)
_RANGE, _CONFIGURATION = "ROS_AUTOMATIC_DISCOVERY_RANGE", "CYCLONEDDS_URI"
_THIS_MACHINE = """<CycloneDDS><Domain>
<General><Interfaces><NetworkInterface address="127.0.0.1" multicast="false"/></Interfaces>
<AllowMulticast>false</AllowMulticast></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>
<Peers><Peer address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""
"""ROS's discovery range LOCALHOST, in Cyclone's words."""


def _described(package: str, name: str, **fields: Any) -> Any:
    """Makes the class of a message, under the name that ROS gives its type in DDS."""
    return make_idl_struct(f"_{name}", f"{package}::msg::dds_::{name}_", fields)


_Time = _described("builtin_interfaces", "Time", sec=types.int32, nanosec=types.uint32)
_Header = _described("std_msgs", "Header", stamp=_Time, frame_id=str)
_Vector3 = _described("geometry_msgs", "Vector3", **dict.fromkeys("xyz", types.float64))
_Quaternion = _described("geometry_msgs", "Quaternion", **dict.fromkeys("xyzw", types.float64))
_Transform = _described("geometry_msgs", "Transform", translation=_Vector3, rotation=_Quaternion)
_TransformStamped = _described(
    "geometry_msgs", "TransformStamped", header=_Header, child_frame_id=str, transform=_Transform
)
_TFMessage = _described("tf2_msgs", "TFMessage", transforms=types.sequence[_TransformStamped])


class DdsSender:
    """Sends transforms on `/tf`.

    Args:
        node: whose domain and remappings count.

    Attributes:
        name: of the package that it uses, for the diagnostics.

    Raises:
        ConnectionError: its configuration (`CYCLONEDDS_URI`) or this machine's network cannot be used.
    """

    name = "cyclonedds"

    def __init__(self, node: Node) -> None:
        participant = _participant(node)
        self._writer = DataWriter(participant, _topic(node, participant, "/tf"), qos=_qos(Policy.Durability.Volatile))

    def send(self, transform: TransformStamped) -> None:
        """Publishes one transform."""
        self._writer.write(_message(transform))


def listen_to_static(node: Node, take: Callable[[list[TransformStamped]], None]) -> object:
    """Takes what is and was sent on `/tf_static`, until the answer is let go.

    Args:
        node: whose domain and remappings count.
        take: gets the transforms of every message, in a thread of its own.

    Raises:
        ConnectionError: as `DdsSender`.
    """

    def taken(reader: DataReader | None) -> None:
        for message in [] if reader is None else reader.take(_DEPTH):
            # What is no sample says that a sender has gone: static transforms stay.
            if isinstance(message, _TFMessage):
                take([_transform(transform) for transform in message.transforms])

    class Taker(Listener):
        def on_data_available(self, reader: DataReader | None) -> None:
            taken(reader)

    participant = _participant(node)
    topic = _topic(node, participant, "/tf_static")
    reader = DataReader(participant, topic, qos=_qos(Policy.Durability.TransientLocal))
    reader.set_listener(Taker())
    taken(reader)  # what came before the listener did
    return reader


def _participant(node: Node) -> DomainParticipant:
    domain_id = node.context.get_domain_id()
    is_local = os.environ.get(_RANGE) == "LOCALHOST" or os.environ.get("ROS_LOCALHOST_ONLY") == "1"
    try:
        if is_local and _CONFIGURATION not in os.environ:
            _domain_of_this_machine(domain_id)
        return DomainParticipant(domain_id)
    except DDSException as error:
        raise ConnectionError(f"Cyclone DDS cannot join domain {domain_id}: {' '.join(str(error).split())}") from None


_domains: dict[int, Domain] = {}  # a process has each of them once, and configures it before its first participant


def _domain_of_this_machine(domain_id: int) -> None:
    if domain_id not in _domains:
        _domains[domain_id] = Domain(domain_id, _THIS_MACHINE)


def _topic(node: Node, participant: DomainParticipant, name: str) -> Topic:
    return Topic(participant, f"rt{node.resolve_topic_name(name)}", _TFMessage)


def _qos(durability: object) -> Qos:
    return Qos(Policy.Reliability.Reliable(_BLOCKING), durability, Policy.History.KeepLast(_DEPTH))


def _message(transform: TransformStamped) -> Any:
    header, moved, turned = transform.header, transform.transform.translation, transform.transform.rotation
    return _TFMessage([
        _TransformStamped(
            _Header(_Time(header.stamp.sec, header.stamp.nanosec), header.frame_id),
            transform.child_frame_id,
            _Transform(_Vector3(moved.x, moved.y, moved.z), _Quaternion(turned.x, turned.y, turned.z, turned.w)),
        )
    ])  # fmt: skip


def _transform(sent: Any) -> TransformStamped:
    found = TransformStamped(child_frame_id=sent.child_frame_id)
    found.header.frame_id = sent.header.frame_id
    found.header.stamp.sec, found.header.stamp.nanosec = sent.header.stamp.sec, sent.header.stamp.nanosec
    for name in ("x", "y", "z"):
        setattr(found.transform.translation, name, getattr(sent.transform.translation, name))
    for name in ("x", "y", "z", "w"):
        setattr(found.transform.rotation, name, getattr(sent.transform.rotation, name))
    return found
