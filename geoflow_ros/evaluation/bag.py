"""A recorded drive, read from a ROS 2 bag, and its figures: how far odometry, fixes and track were from the truth.

Nothing here needs ROS: bags (MCAP or SQLite) are read with `rosbags`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag_files import Bag
from geoflow_ros.evaluation.metrics import figures, timing, trajectory_figures
from geoflow_ros.geo import yaw_of_quaternion
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND, stamp_ns
from geoflow_ros.tracking.trajectory import DriveRecord, Trajectory

_log = logging.getLogger("geoflow_ros")

# A fix answers the frames of the second after its stamp, if it was received by then: odometry bridges that easily.
FRESH_FIX_NS = NANOSECONDS_PER_SECOND


@dataclass(frozen=True)
class Topics:
    """The topics of a recorded drive.

    Poses are thinned (`output.spacing_m`); hypotheses come with every fix, and tell which frames had one.
    """

    truth: str = "/ground_truth/odom"
    odometry: str = "/odom"
    fixes: str = "/geoflow_localizer/pose"
    track: str = "/geoflow_localizer/track"
    hypotheses: str = "/geoflow_localizer/hypotheses"
    image: str = "/image/compressed"


def read_drive(path: str | Path, topics: Topics | None = None) -> DriveRecord:
    """Reads the poses of a recorded drive.

    Args:
        path: the bag's folder or file, see `Bag`.
        topics: the topics' names, when they are not the demo's.

    Raises:
        InputError: no such bag, one that cannot be read, or one without truth or odometry.
    """
    names = topics or Topics()
    poses: dict[str, list[tuple[Any, ...]]] = {name: [] for name in (names.truth, names.odometry, names.fixes)}
    poses[names.track] = []
    images: list[int] = []
    answers: list[tuple[int, int]] = []
    for topic, received_ns, message in messages(path, [*poses, names.image, names.hypotheses]):
        if topic == names.image:
            images.append(stamp_ns(message.header.stamp))
        elif topic == names.hypotheses:
            answers.append((stamp_ns(message.header.stamp), received_ns))
        else:
            poses[topic].append(_pose_row(message, received_ns))
    for needed in (names.truth, names.odometry):
        if len(poses[needed]) < 2:
            raise InputError(
                f"bag {path} holds no drive: topic {needed} has {len(poses[needed])} messages; name the topic that has "
                f"them (the bag's topics: {', '.join(_topics_in(path)) or 'none'})"
            )
    fixes = _trajectory(poses[names.fixes])
    answers = answers or list(zip(fixes.stamps_ns.tolist(), fixes.received_ns.tolist(), strict=True))
    return DriveRecord(
        truth=_trajectory(poses[names.truth]),
        odometry=_trajectory(poses[names.odometry]),
        fixes=fixes,
        track=_trajectory(poses[names.track]),
        image_stamps_ns=np.sort(np.array(images, dtype=np.int64)),
        answers_ns=np.array(sorted(answers), dtype=np.int64).reshape(-1, 2),
    )


def messages(path: str | Path, topics: list[str]) -> Iterator[tuple[str, int, Any]]:
    """Yields the messages of some topics in the order of their recording: (topic, received_ns, message).

    Raises:
        InputError: as `read_drive`.
    """
    with Bag(path) as bag:
        yield from bag.messages(topics)
        for note in bag.notes:
            _log.warning(note)


def _topics_in(path: str | Path) -> list[str]:
    with Bag(path) as bag:
        return [topic.name for topic in bag.topics]


def drive_figures(record: DriveRecord) -> dict[str, Any]:
    """Computes the figures of a drive: dead reckoning, poses and track against the truth, rates, latency, availability.

    Fixes a second and availability are those of the frames that gave a fix; in a bag without hypotheses, of the poses
    that were published. `fixes` are the published poses, with the fixed figures of `metrics.figures` in the vehicle's
    frame too. Latency is from the image's stamp to the recording of its pose; `latency_ms` is None where a pose was
    recorded before its image was taken, because then the camera's and the recorder's clocks differ and no latency means
    anything.

    Raises:
        InputError: no fix or no track within the time of the ground truth.
    """
    first_ns, last_ns = int(record.truth.stamps_ns[0]), int(record.truth.stamps_ns[-1])
    dead_reckoning = record.dead_reckoning()
    fixes = record.fixes.within(first_ns, last_ns)
    track = record.track.within(first_ns, last_ns)
    for name, trajectory in (("pose", fixes), ("track", track)):
        if len(trajectory) == 0:
            raise InputError(f"the localizer published no {name} during the drive: look at its log and diagnostics")
    answers_ns = record.answers_ns
    answers_ns = answers_ns[(answers_ns[:, 0] >= first_ns) & (answers_ns[:, 0] <= last_ns)]
    images = record.image_stamps_ns[(record.image_stamps_ns >= first_ns) & (record.image_stamps_ns <= last_ns)]
    forward_right, covariances = _in_vehicle_frame(fixes, record.truth)
    latencies_ms = (fixes.received_ns - fixes.stamps_ns) * 1e-6
    same_clock = bool((latencies_ms >= 0.0).all())
    duration_s = (last_ns - first_ns) * 1e-9
    steps_m = np.diff(record.truth.positions_m, axis=0)
    return {
        "dead_reckoning": dict(trajectory_figures(_errors(dead_reckoning, record.truth))),
        "fixes": {
            **trajectory_figures(_errors(fixes, record.truth)),
            **figures(forward_right, covariances),
        },
        "track": dict(trajectory_figures(_errors(track, record.truth))),
        "fixes_per_second": len(answers_ns) / duration_s,
        "poses_per_second": len(fixes) / duration_s,
        "latency_ms": timing(latencies_ms)["latency_ms"] if same_clock else None,
        "availability": availability(images, answers_ns),
        "camera_frames_per_second": len(images) / duration_s,
        "duration_s": duration_s,
        "distance_m": float(np.linalg.norm(steps_m, axis=1).sum()),
    }


def availability(image_stamps_ns: Int64Array, answers_ns: Int64Array) -> float:
    """Computes the share of camera frames with an answer, as `metrics.figures` has it; 0 without frames.

    On a drive, a frame's answer is its own fix or that of an earlier frame whose stamp is at most `FRESH_FIX_NS` before
    its own. A fix that was received later than that after its stamp counts for no frame.

    Args:
        image_stamps_ns: (k,) of the camera frames.
        answers_ns: (m, 2) of the frames that gave a fix: stamp, ascending, and reception.
    """
    in_time_ns = answers_ns[answers_ns[:, 1] - answers_ns[:, 0] <= FRESH_FIX_NS, 0]
    if len(image_stamps_ns) == 0 or len(in_time_ns) == 0:
        return 0.0
    last = np.searchsorted(in_time_ns, image_stamps_ns, side="right") - 1  # -1: no fix yet
    age_ns = image_stamps_ns - in_time_ns[np.maximum(last, 0)]
    return float(np.mean((last >= 0) & (age_ns <= FRESH_FIX_NS)))


def _errors(estimate: Trajectory, truth: Trajectory) -> Float64Array:
    return estimate.positions_m - truth.at(estimate.stamps_ns)[0]


def _in_vehicle_frame(estimate: Trajectory, truth: Trajectory) -> tuple[Float64Array, Float64Array]:
    """Returns errors (n, 2) and covariances (n, 2, 2) as (forward, right) of the true heading."""
    positions, yaws = truth.at(estimate.stamps_ns)
    to_local = forward_right_axes(yaws)  # (n, 2, 2), rows forward and right
    errors = np.einsum("nij,nj->ni", to_local, estimate.positions_m - positions)
    return errors, to_local @ estimate.covariances @ to_local.transpose(0, 2, 1)


def _pose_row(message: Any, received_ns: int) -> tuple[Any, ...]:
    pose = message.pose.pose
    q = pose.orientation
    yaw = yaw_of_quaternion(q.x, q.y, q.z, q.w)
    covariance = message.pose.covariance
    return (
        (stamp_ns(message.header.stamp), received_ns),
        (pose.position.x, pose.position.y, yaw),
        (covariance[0], covariance[1], covariance[6], covariance[7]),
    )


def _trajectory(rows: list[tuple[Any, ...]]) -> Trajectory:
    stamps = np.array([row[0] for row in rows], dtype=np.int64).reshape(-1, 2)
    order = np.argsort(stamps[:, 0], kind="stable")
    poses = np.array([row[1] for row in rows], dtype=np.float64).reshape(-1, 3)[order]
    covariances = np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 2, 2)[order]
    return Trajectory(stamps[order, 0], stamps[order, 1], poses[:, :2], poses[:, 2], covariances)
