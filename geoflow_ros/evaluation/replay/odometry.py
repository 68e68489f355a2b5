"""The odometry of a bag: its own topic, a transform, or the differences of its satellite fixes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag_files import Bag
from geoflow_ros.evaluation.replay.topics import TF, TF_TOPIC, Chosen
from geoflow_ros.evaluation.replay.truth import Course
from geoflow_ros.geo import Datum, yaw_of_quaternion
from geoflow_ros.localization.messages import gnss_from_message, odometry_from_message
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND, stamp_ns
from geoflow_ros.tracking import Heading, OdometryPose

_LOOKED_AT = 2000  # messages on /tf, until a transform of the odometry is found
_DENSE_NS = NANOSECONDS_PER_SECOND // 10
_LONGEST_GAP_NS = 3 * NANOSECONDS_PER_SECOND
_COURSE_STD_RAD = math.radians(3.0)


class OdometrySource(Protocol):
    """Makes odometry of the messages of one topic.

    Attributes:
        topic: whose messages.
        told: what it is, in one line.
        hold_ns: how long a frame may have to wait for odometry newer than itself.
    """

    topic: str
    told: str
    hold_ns: int

    def poses(self, message: Any) -> Iterator[OdometryPose | Heading]:
        """Yields what a message gives, in the order of the stamps.

        Raises:
            OdometryError: it holds no pose.
        """
        ...


class TopicOdometry:
    """nav_msgs/Odometry as it is."""

    hold_ns = NANOSECONDS_PER_SECOND // 2

    def __init__(self, topic: str) -> None:
        self.topic, self.told = topic, f"odometry from {topic}"

    def poses(self, message: Any) -> Iterator[OdometryPose | Heading]:
        """See `OdometrySource.poses`."""
        yield odometry_from_message(message)


class TransformOdometry:
    """The pose of the vehicle in its odometry frame, on `/tf`."""

    topic = TF_TOPIC
    hold_ns = NANOSECONDS_PER_SECOND // 2

    def __init__(self, parent: str, child: str) -> None:
        self._frames = parent, child
        self.told = f"no odometry topic: it is taken from {TF_TOPIC}, {parent} → {child}"

    @classmethod
    def found(cls, bag: Bag) -> TransformOdometry | None:
        """Returns the transform below a frame that is called odom; None where there is none near the bag's begin."""
        topic = bag.topic(TF_TOPIC)
        if topic is None or topic.kind != TF:
            return None
        for _, _, message in islice(bag.messages([TF_TOPIC]), _LOOKED_AT):
            for transform in message.transforms:
                parent, child = transform.header.frame_id, transform.child_frame_id
                if parent.rpartition("/")[2] == "odom":
                    return cls(parent, child)
        return None

    def poses(self, message: Any) -> Iterator[OdometryPose | Heading]:
        """See `OdometrySource.poses`."""
        for transform in message.transforms:
            if (transform.header.frame_id, transform.child_frame_id) == self._frames:
                at, q = transform.transform.translation, transform.transform.rotation
                yaw_rad = yaw_of_quaternion(q.x, q.y, q.z, q.w)
                yield OdometryPose(stamp_ns(transform.header.stamp), at.x, at.y, yaw_rad)


class FixOdometry:
    """Differences of satellite fixes: rough, and with a heading only where the vehicle moves.

    Between two fixes poses are interpolated, so that frames between them have one.

    Args:
        topic: of the fixes.
        datum: of the map.
    """

    hold_ns = _LONGEST_GAP_NS

    def __init__(self, topic: str, datum: Datum) -> None:
        self.topic, self._datum = topic, datum
        self.told = f"no odometry topic: differences of the positions on {topic} stand in for it, which is rough"
        self._course = Course()
        self._last: OdometryPose | None = None

    def poses(self, message: Any) -> Iterator[OdometryPose | Heading]:
        """See `OdometrySource.poses`."""
        gnss = gnss_from_message(message)
        if gnss is None:
            return
        east_m, north_m = self._datum.to_enu(gnss.latitude_deg, gnss.longitude_deg)
        is_new = self._course.add(east_m, north_m)
        if self._course.yaw_rad is None:
            return
        last, here = self._last, OdometryPose(gnss.stamp_ns, east_m, north_m, self._course.yaw_rad)
        self._last = here
        if last is not None and 0 < here.stamp_ns - last.stamp_ns <= _LONGEST_GAP_NS:
            yield from _between(last, here)
        yield here
        if is_new:
            yield Heading(here.stamp_ns, here.yaw_rad, _COURSE_STD_RAD)


def odometry_of(bag: Bag, chosen: Chosen, datum: Datum, *, without_topic: bool = False) -> OdometrySource:
    """Finds what there is of odometry.

    Args:
        bag: the bag.
        chosen: its topics.
        datum: of the map.
        without_topic: also where there is an odometry topic, take something else.

    Raises:
        InputError: there is nothing.
    """
    if chosen.odometry is not None and not without_topic:
        return TopicOdometry(chosen.odometry.name)
    transform = TransformOdometry.found(bag)
    if transform is not None:
        return transform
    if chosen.fix is not None:
        return FixOdometry(chosen.fix.name, datum)
    raise InputError(
        f"bag {bag.path} has no odometry: no nav_msgs/msg/Odometry, no transform below odom on {TF_TOPIC} and no "
        f"sensor_msgs/msg/NavSatFix; its topics are {bag.described()}"
    )


def _between(last: OdometryPose, here: OdometryPose) -> Iterator[OdometryPose]:
    turn_rad = math.remainder(here.yaw_rad - last.yaw_rad, math.tau)
    for at_ns in range(last.stamp_ns + _DENSE_NS, here.stamp_ns, _DENSE_NS):
        share = (at_ns - last.stamp_ns) / (here.stamp_ns - last.stamp_ns)
        yield OdometryPose(
            at_ns,
            last.x_m + share * (here.x_m - last.x_m),
            last.y_m + share * (here.y_m - last.y_m),
            last.yaw_rad + share * turn_rad,
        )
