"""The sensors of a ROS 2 bag as events for a vehicle localizer: what was recorded is localized again, without ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoflow_ros.errors import OdometryError
from geoflow_ros.evaluation.bag import messages
from geoflow_ros.localization import CameraFrame, DriveEvent, InputRejected, RejectReason, VehicleSettings
from geoflow_ros.localization.messages import (
    gnss_from_message,
    heading_from_imu,
    odometry_from_message,
    start_from_initialpose,
)
from geoflow_ros.stamps import stamp_ns


@dataclass(frozen=True)
class SensorTopics:
    """The topics of a vehicle's sensors; the image is a sensor_msgs/CompressedImage."""

    image: str = "/image/compressed"
    odometry: str = "/odom"
    imu: str = "/imu"
    gnss: str = "/fix"
    start: str = "/initialpose"


def bag_events(
    path: str | Path,
    topics: SensorTopics | None = None,
    vehicle: VehicleSettings | None = None,
    *,
    map_frame: str = "map",
    heading_noise_rad: float = math.radians(1.0),
    on_rejected: Callable[[InputRejected], object] = lambda rejected: None,
) -> Iterator[DriveEvent]:
    """Yields the sensors' messages in the order of their recording, as the node would have taken them.

    Args:
        path: the bag's folder or a single .mcap file.
        topics: names other than the demo's.
        vehicle: how uncertain a start pose counts at least.
        map_frame: frame in which start poses are given.
        heading_noise_rad: noise of an imu's yaw whose message gives no variance.
        on_rejected: told of messages that hold no usable value; they are left out.

    Raises:
        InputError: no such bag, or a truncated or damaged one.
    """
    names, settings = topics or SensorTopics(), vehicle or VehicleSettings()

    def start(message: Any) -> DriveEvent:
        return start_from_initialpose(
            message, map_frame, settings.min_start_position_std_m, settings.min_start_yaw_std_rad
        )

    parsers: dict[str, tuple[RejectReason, Callable[[Any], DriveEvent | None]]] = {
        names.image: (RejectReason.IMAGE, _camera_frame),
        names.odometry: (RejectReason.ODOMETRY, odometry_from_message),
        names.imu: (RejectReason.HEADING, lambda message: heading_from_imu(message, heading_noise_rad)),
        names.gnss: (RejectReason.GNSS, gnss_from_message),
        names.start: (RejectReason.START, start),
    }
    for topic, _, message in messages(path, [*parsers]):
        reason, parse = parsers[topic]
        try:
            event = parse(message)
        except OdometryError as error:
            on_rejected(InputRejected(reason, str(error)))
            continue
        if event is not None:
            yield event


def _camera_frame(message: Any) -> CameraFrame:
    return CameraFrame(stamp_ns(message.header.stamp), bytes(message.data))
