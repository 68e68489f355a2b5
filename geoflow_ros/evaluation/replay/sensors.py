"""The sensors of a bag as events for a vehicle localizer, in the order of their stamps, with bounded memory."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import GeometryError, ImageError, InputError, OdometryError
from geoflow_ros.evaluation.bag_files import Bag
from geoflow_ros.evaluation.replay.odometry import FixOdometry, OdometrySource, odometry_of
from geoflow_ros.evaluation.replay.topics import COMPRESSED, TF_STATIC_TOPIC, Chosen, Wanted, choose
from geoflow_ros.evaluation.replay.truth import TruthRecorder
from geoflow_ros.geo import Datum
from geoflow_ros.geo.camera import Intrinsics, Mounting
from geoflow_ros.localization import CameraFrame, DriveEvent, VehicleSettings
from geoflow_ros.localization.compressed_images import rgb_from_compressed
from geoflow_ros.localization.encodings import DECODED_ENCODINGS, rgb_of_encoding, why_not
from geoflow_ros.localization.frame_tree import FrameTree
from geoflow_ros.localization.messages import (
    gnss_from_message,
    heading_from_imu,
    intrinsics_from_camera_info,
    start_from_initialpose,
)
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND, stamp_ns
from geoflow_ros.tracking import Heading, OdometryPose, StartPose

REORDER_NS = NANOSECONDS_PER_SECOND
"""Messages are put in the order of their stamps as long as they were recorded within this of each other."""

HEADING_NOISE_RAD = math.radians(1.0)
_BASE_LINK, _GROUND_FRAME = "base_link", "base_footprint"
_Give = Callable[[Any, int], Iterable[DriveEvent]]  # of a message and when it was received
_SENSOR, _IMAGE = 0, 1  # at the same stamp, sensors come before the image


@dataclass(frozen=True, eq=False)
class RecordedFrame(CameraFrame):
    """A camera message, raw or compressed, decoded when it is looked at.

    Attributes:
        message: of rosbags.
        kind: its type.
    """

    message: Any = None
    kind: str = COMPRESSED

    def rgb(self) -> UInt8Array:
        """RGB uint8 (h, w, 3).

        Raises:
            ImageError: it is damaged, empty, or of an encoding that nothing here decodes.
        """
        if self.kind == COMPRESSED:
            return rgb_from_compressed(self.message)
        if not self.message.height or not self.message.width:
            raise ImageError("the image is empty: check the camera driver")
        if self.message.encoding not in DECODED_ENCODINGS:
            raise ImageError(why_not(self.message.encoding))
        return rgb_of_encoding(self.message)


class BagSensors:
    """Reads a bag as a vehicle's sensors.

    Args:
        bag: the bag.
        chosen: its topics.
        odometry: where odometry comes from.
        vehicle: how uncertain a start pose counts at least.
        truth: takes the messages of the truth's topic; None where there is none.
        start: where the drive begins; None takes it from the bag.

    Attributes:
        left_out: how many messages gave nothing, by the reason.
    """

    def __init__(
        self,
        bag: Bag,
        chosen: Chosen,
        odometry: OdometrySource,
        vehicle: VehicleSettings | None = None,
        truth: TruthRecorder | None = None,
        start: StartPose | None = None,
    ) -> None:
        self._bag, self._chosen, self._odometry = bag, chosen, odometry
        self._vehicle, self._truth, self._start = vehicle or VehicleSettings(), truth, start
        self.left_out: Counter[str] = Counter()
        gives = self._handlers()
        self._gives: dict[str, list[_Give]] = {}
        for topic, give in gives:
            self._gives.setdefault(topic, []).append(give)

    def _handlers(self) -> list[tuple[str, _Give]]:
        chosen = self._chosen
        handlers: list[tuple[str, _Give]] = [
            (chosen.image.name, self._frame),
            (self._odometry.topic, self._odometry_poses),
        ]
        if chosen.imu is not None:
            handlers.append((chosen.imu.name, self._heading))
        if chosen.fix is not None:
            handlers.append((chosen.fix.name, self._gnss))
        if chosen.start is not None and self._start is None:
            handlers.append((chosen.start.name, self._start_pose))
        if chosen.truth is not None and self._truth is not None:
            handlers.append((chosen.truth.name, self._true_pose))
        return handlers

    # ---- read before the drive ---------------------------------------------------------------------------------------

    def lens(self, rectified: bool = False) -> Intrinsics | None:
        """Returns the lens by the first calibration message; None where there is none or it is not calibrated.

        Raises:
            InputError: it cannot be used.
        """
        topic = self._chosen.camera_info
        if topic is None:
            return None
        for _, _, message in self._bag.messages([topic.name]):
            return intrinsics_from_camera_info(_of_ros2(message), rectified)
        return None

    def mounting(self) -> Mounting | None:
        """Returns where `/tf_static` says that the camera is on the vehicle; None where it does not.

        Raises:
            InputError: it says what no camera has.
        """
        frame = self._camera_frame()
        if not frame or self._bag.topic(TF_STATIC_TOPIC) is None:
            return None
        tree = FrameTree()
        for _, _, message in self._bag.messages([TF_STATIC_TOPIC]):
            tree.take(message.transforms)
        at = tree.lookup(frame, _BASE_LINK)
        if at is None:
            return None
        above_ground = tree.lookup(frame, _GROUND_FRAME) or at
        height_m = float(above_ground.translation_m[2])
        return Mounting.of_optical_frame(at.rotation, at.translation_m, height_m if height_m > 0.0 else None)

    def _camera_frame(self) -> str:
        for _, _, message in self._bag.messages([self._chosen.image.name]):
            return str(message.header.frame_id)
        return ""

    # ---- the drive ---------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[DriveEvent]:
        """Yields everything in the order of its stamp; a frame waits for odometry that is newer than itself."""
        waiting: deque[CameraFrame] = deque()
        start, hold_ns = self._start, self._odometry.hold_ns
        for at_ns, event in self._in_order():
            if isinstance(event, CameraFrame):
                waiting.append(event)
            else:
                yield event
            if isinstance(event, OdometryPose):
                if start is not None:
                    yield StartPose(event.stamp_ns, start.east_m, start.north_m, start.yaw_rad, start.covariance)
                    start = None
                while waiting and waiting[0].stamp_ns <= event.stamp_ns:
                    yield waiting.popleft()
            while waiting and at_ns - waiting[0].stamp_ns > hold_ns:
                yield waiting.popleft()
        yield from waiting

    def _in_order(self) -> Iterator[tuple[int, DriveEvent]]:
        heap: list[tuple[int, int, int, int, DriveEvent]] = []
        number, newest_ns = 0, 0
        for topic, received_ns, message in self._bag.messages([*self._gives]):
            newest_ns = max(newest_ns, received_ns)
            for give in self._gives[topic]:
                for event in self._given(give, topic, message, received_ns):
                    kind = _IMAGE if isinstance(event, CameraFrame) else _SENSOR
                    heapq.heappush(heap, (event.stamp_ns, kind, number, received_ns, event))
                    number += 1
            while heap and newest_ns - heap[0][3] > REORDER_NS:
                yield _released(heap)
        while heap:
            yield _released(heap)

    def _given(self, give: _Give, topic: str, message: Any, received_ns: int) -> list[DriveEvent]:
        try:
            return list(give(message, received_ns))
        except (OdometryError, GeometryError, InputError) as error:
            self.left_out[f"{topic}: {error}"] += 1
            return []

    def _frame(self, message: Any, received_ns: int) -> Iterator[DriveEvent]:
        at_ns = self._stamped(message, received_ns, self._chosen.image.name)
        kind = self._chosen.image.kind
        encoded = bytes(message.data) if kind == COMPRESSED else b""
        yield RecordedFrame(at_ns, encoded, message=message, kind=kind)

    def _odometry_poses(self, message: Any, received_ns: int) -> Iterator[DriveEvent]:
        for pose in self._odometry.poses(message):
            if isinstance(pose, Heading) and self._chosen.imu is not None:
                continue
            yield pose

    def _heading(self, message: Any, received_ns: int) -> Iterable[DriveEvent]:
        heading = heading_from_imu(message, HEADING_NOISE_RAD)
        if heading is not None:
            yield heading

    def _gnss(self, message: Any, received_ns: int) -> Iterator[DriveEvent]:
        gnss = gnss_from_message(message)
        if gnss is None:
            self.left_out["satellite fixes without a position (status or not finite)"] += 1
        else:
            yield gnss

    def _start_pose(self, message: Any, received_ns: int) -> Iterator[DriveEvent]:
        settings = self._vehicle
        yield start_from_initialpose(message, "map", settings.min_start_position_std_m, settings.min_start_yaw_std_rad)

    def _true_pose(self, message: Any, received_ns: int) -> Iterable[DriveEvent]:
        assert self._truth is not None
        self._truth.add(message, stamp_ns(message.header.stamp) or received_ns)
        return ()

    def _stamped(self, message: Any, received_ns: int, topic: str) -> int:
        at_ns = stamp_ns(message.header.stamp)
        if at_ns == 0:
            self.left_out[f"{topic}: messages without a stamp, taken at the time of their recording"] += 1
        return at_ns or received_ns


def bag_events(path: str | Path, datum: Datum, wanted: Wanted | None = None) -> Iterator[DriveEvent]:
    """Yields what a bag's sensors say, in the order of the stamps; the topics are those that a replay takes.

    Args:
        path: see `Bag`.
        datum: of the map.
        wanted: topics that are named.

    Raises:
        InputError: no such bag, or it has no camera or no odometry.
    """
    with Bag(path) as bag:
        chosen = choose(bag, wanted or Wanted())
        yield from BagSensors(bag, chosen, odometry_of(bag, chosen, datum)).events()


def gives_a_heading(chosen: Chosen, odometry: OdometrySource) -> bool:
    """Whether a bag says where the vehicle looks, so that a track may start from a satellite fix."""
    return chosen.imu is not None or isinstance(odometry, FixOdometry)


def _released(heap: list[tuple[int, int, int, int, DriveEvent]]) -> tuple[int, DriveEvent]:
    at_ns, _, _, _, event = heapq.heappop(heap)
    return at_ns, event


class _Ros2CameraInfo:
    """A ROS 1 calibration with ROS 2's names: k, d, r and p are small letters there."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name.upper() if name in "kdrp" else name)


def _of_ros2(message: Any) -> Any:
    return message if hasattr(message, "k") else _Ros2CameraInfo(message)
