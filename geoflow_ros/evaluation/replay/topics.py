"""Which topics of a bag are camera, odometry and the rest: by type, and by name where several have the same type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag_files import Bag, Topic

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, ODOMETRY, IMU = "sensor_msgs/msg/CameraInfo", "nav_msgs/msg/Odometry", "sensor_msgs/msg/Imu"
FIX, TF = "sensor_msgs/msg/NavSatFix", "tf2_msgs/msg/TFMessage"
POSE, POSE_WITH_COVARIANCE = "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped"
TRUTH_KINDS = (ODOMETRY, FIX, POSE, POSE_WITH_COVARIANCE)
TF_TOPIC, TF_STATIC_TOPIC = "/tf", "/tf_static"

_NO_PICTURES = ("depth", "mask", "segment", "label", "debug", "disparity", "thermal", "theora")
_OF_TRUTH = ("truth", "groundtruth", "ground_truth", "rtk", "reference")
_ESTIMATES = ("filtered", "global", "fused", "localiz", "gps", "gnss", "map", "track")


@dataclass(frozen=True)
class Wanted:
    """Topics that a person names; None where they are to be found. An empty name means: do without."""

    image: str | None = None
    camera_info: str | None = None
    odometry: str | None = None
    imu: str | None = None
    fix: str | None = None
    truth: str | None = None
    start: str | None = None


@dataclass(frozen=True)
class Chosen:
    """The topics of a replay; None where there is none."""

    image: Topic
    camera_info: Topic | None
    odometry: Topic | None
    imu: Topic | None
    fix: Topic | None
    truth: Topic | None
    start: Topic | None

    def lines(self) -> list[str]:
        """Says what was chosen, one line a role."""
        return [
            f"{role:<12} {'none' if topic is None else f'{topic.name} ({topic.kind}, {topic.count})'}"
            for role, topic in vars(self).items()
        ]


def choose(bag: Bag, wanted: Wanted) -> Chosen:
    """Finds the topics of a replay.

    Raises:
        InputError: a named topic is missing or of another type, or there is no camera; the bag's topics are told.
    """
    used = [topic for topic in bag.topics if topic.count and not _is_our_own(topic, bag.topics)]
    image = _named(bag, "image", wanted.image, (IMAGE, COMPRESSED)) or _best(used, (IMAGE, COMPRESSED), _as_camera)
    if image is None:
        raise InputError(
            f"bag {bag.path} has no camera (a topic of {IMAGE} or {COMPRESSED} with messages): its topics are "
            f"{bag.described()}"
        )

    def found(role: str, name: str | None, kinds: Sequence[str], rank: Callable[[str], int | None]) -> Topic | None:
        return None if name == "" else _named(bag, role, name, kinds) or _best(used, kinds, rank)

    return Chosen(
        image,
        found("camera-info", wanted.camera_info, (CAMERA_INFO,), lambda name: _beside(name, image.name)),
        found("odom", wanted.odometry, (ODOMETRY,), _as_odometry),
        found("imu", wanted.imu, (IMU,), lambda name: 1 if "raw" in name else 0),
        found("fix", wanted.fix, (FIX,), lambda name: None if _is_truth(name) else 0),
        found("truth", wanted.truth, TRUTH_KINDS, lambda name: 0 if _is_truth(name) else None),
        found("start", wanted.start, (POSE_WITH_COVARIANCE,), lambda name: 0 if "initialpose" in name else None),
    )


def _named(bag: Bag, role: str, name: str | None, kinds: Sequence[str]) -> Topic | None:
    """The topic of a name that a person gave; with or without its first slash."""
    if not name:
        return None
    topic = bag.topic(name) or bag.topic(f"/{name}") or bag.topic(name.removeprefix("/"))
    if topic is None:
        raise InputError(f"--{role}: bag {bag.path} has no topic {name}; its topics are {bag.described()}")
    if topic.kind not in kinds:
        raise InputError(f"--{role}: {name} is of type {topic.kind}, and {' or '.join(kinds)} is needed")
    if not topic.count:
        raise InputError(f"--{role}: topic {name} has no message in bag {bag.path}")
    return topic


def _best(topics: Sequence[Topic], kinds: Sequence[str], rank: Callable[[str], int | None]) -> Topic | None:
    """The topic with the lowest rank, the most messages among these; None where all ranks are None."""
    ranked = [
        (place, -topic.count, topic.name, topic)
        for topic in topics
        if topic.kind in kinds and (place := rank(topic.name.lower())) is not None
    ]
    return min(ranked, key=lambda entry: entry[:3])[3] if ranked else None


def _is_our_own(topic: Topic, topics: Sequence[Topic]) -> bool:
    """Whether a localizer of this package published a topic: it has a topic of hypotheses beside it."""
    namespace = topic.name.rpartition("/")[0]
    names = {other.name for other in topics}
    return bool(namespace) and {f"{namespace}/hypotheses", f"{namespace}/track"} <= names


def _as_camera(name: str) -> int | None:
    if any(word in name for word in _NO_PICTURES):
        return None
    for place, words in enumerate((("front", "forward"), (), ("left",), ("right", "side"), ("rear", "back"))):
        if any(word in name for word in words):
            return place
    return 1


def _as_odometry(name: str) -> int | None:
    if _is_truth(name):
        return None
    return 1 if any(word in name for word in _ESTIMATES) else 0


def _beside(name: str, image: str) -> int | None:
    """A calibration belongs to a camera where the two are in one namespace."""
    base = image.lower().removesuffix("/compressed").rpartition("/")[0]
    folder = name.rpartition("/")[0]
    if folder == base:
        return 0
    return 1 if base.startswith(folder) and folder else None


def _is_truth(name: str) -> bool:
    return any(word in name for word in _OF_TRUTH)
