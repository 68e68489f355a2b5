"""What a replay leaves: a table of its frames, trajectories in the TUM format, and a bag of the answers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.replay.answers import COLUMNS, ReplayAnswers
from geoflow_ros.geo.quaternion import quaternion_of_yaw
from geoflow_ros.images import encode_jpeg
from geoflow_ros.localization import FrameRejected, VehicleFix
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import TrackedPose, TrackState
from geoflow_ros.visualization import draw_fix

NAMESPACE = "/geoflow_replay"
_KINDS = {
    "pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "track": "nav_msgs/msg/Odometry",
    "hypotheses": "geometry_msgs/msg/PoseArray",
    "patch/compressed": "sensor_msgs/msg/CompressedImage",
    "status": "diagnostic_msgs/msg/DiagnosticStatus",
    "diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}
_MAP, _BASE_LINK = "map", "base_link"
_JPEG_QUALITY = 85
_UNKNOWN_VARIANCE = 1e6  # of height, roll and pitch, as the node has it
_LEVELS = {TrackState.TRACKING: 0, TrackState.LOST: 2}


def write_frames(answers: ReplayAnswers, path: Path) -> None:
    """Writes one row a frame: what became of it, fix, track, and their errors where the truth is known.

    There are no times that a computer took, so that two replays of a bag write the same bytes.
    """
    fix_errors, track_errors = answers.errors()[0], answers.errors(of_track=True)[0]
    errors = np.column_stack([fix_errors, track_errors])
    names = ("error_forward_m", "error_right_m", "track_error_forward_m", "track_error_right_m")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["stamp_ns", "outcome", "state", *COLUMNS, "true_east_m", "true_north_m", "true_yaw_rad", *names]
        )
        numbers = np.column_stack([answers.values, answers.truth, errors])
        for stamp_ns, outcome, state, row in zip(
            answers.stamps_ns.tolist(), answers.outcomes, answers.states, numbers.tolist(), strict=True
        ):
            writer.writerow([stamp_ns, outcome, state, *("" if value != value else repr(value) for value in row)])


def write_trajectories(answers: ReplayAnswers, out: Path) -> list[Path]:
    """Writes fixes.tum, track.tum and truth.tum, at the stamps of the frames; one without poses is left out."""
    parts = {
        "fixes": (answers.has_fix, answers.poses()[0]),
        "track": (answers.has_track, answers.poses(of_track=True)[0]),
        "truth": (answers.has_truth, answers.truth),
    }
    written = []
    for name, (kept, poses) in parts.items():
        path = out / f"{name}.tum"
        path.unlink(missing_ok=True)
        if kept.any():
            write_tum(path, answers.stamps_ns[kept], poses[kept])
            written.append(path)
    return written


def write_tum(path: Path, stamps_ns: Int64Array, poses: Float64Array) -> None:
    """Writes poses (n, 3) of east, north and yaw as lines `stamp x y z qx qy qz qw`."""
    with path.open("w", encoding="utf-8") as file:
        for at_ns, (east, north, yaw) in zip(stamps_ns.tolist(), poses.tolist(), strict=True):
            seconds, rest = divmod(at_ns, NANOSECONDS_PER_SECOND)
            quaternion = " ".join(f"{value:.9f}" for value in quaternion_of_yaw(yaw))
            file.write(f"{seconds}.{rest:09d} {east:.6f} {north:.6f} 0.0 {quaternion}\n")


class AnswerBag:
    """An MCAP bag of answers, in the node's types, with the patches of the published fixes as pictures.

    Args:
        writer: of rosbags, open.
    """

    def __init__(self, writer: Any) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._store, self._writer = get_typestore(Stores.ROS2_JAZZY), writer
        self._connections = {
            name: writer.add_connection(f"{NAMESPACE}/{name}", kind, typestore=self._store)
            for name, kind in _KINDS.items()
        }

    def add(
        self, stamp_ns: int, answer: VehicleFix | FrameRejected, track: TrackedPose | None, state: TrackState
    ) -> None:
        """Writes what became of a frame, at its stamp."""
        if isinstance(answer, VehicleFix):
            self._put("pose", stamp_ns, header=self._header(stamp_ns, _MAP), pose=self._pose_of(answer))
            poses = [self._pose(east, north, answer.yaw_rad) for east, north in answer.hypotheses_m.tolist()]
            self._put("hypotheses", stamp_ns, header=self._header(stamp_ns, _MAP), poses=poses)
            if answer.is_news:
                picture = np.frombuffer(encode_jpeg(draw_fix(answer.patch, answer.fix), _JPEG_QUALITY), np.uint8)
                header = self._header(stamp_ns, _MAP)
                self._put("patch/compressed", stamp_ns, header=header, format="jpeg", data=picture)
        if track is not None:
            self._put_track(track)
        text = answer.detail if isinstance(answer, FrameRejected) else "the frame gave a pose"
        outcome = answer.reason.value if isinstance(answer, FrameRejected) else "pose"
        values = [self._made("diagnostic_msgs/msg/KeyValue", key=key, value=value) for key, value in (
            ("state", state.value), ("outcome", outcome)
        )]  # fmt: skip
        status: dict[str, Any] = {
            "level": _LEVELS.get(state, 1), "name": NAMESPACE[1:], "message": text, "hardware_id": "", "values": values
        }  # fmt: skip
        self._put("status", stamp_ns, **status)
        made = self._made(_KINDS["status"], **status)
        self._put("diagnostics", stamp_ns, header=self._header(stamp_ns, ""), status=[made])

    def _put_track(self, track: TrackedPose) -> None:
        zero = self._made("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
        twist = self._made("geometry_msgs/msg/Twist", linear=zero, angular=zero)
        unknown = np.zeros(36)
        unknown[0] = -1.0
        self._put(
            "track",
            track.stamp_ns,
            header=self._header(track.stamp_ns, _MAP),
            child_frame_id=_BASE_LINK,
            pose=self._with_covariance(track.east_m, track.north_m, track.yaw_rad, track.covariance),
            twist=self._made("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=unknown),
        )

    def _pose_of(self, fix: VehicleFix) -> Any:
        return self._with_covariance(float(fix.position_m[0]), float(fix.position_m[1]), fix.yaw_rad, fix.covariance)

    def _with_covariance(self, east_m: float, north_m: float, yaw_rad: float, covariance: Float64Array) -> Any:
        full = np.diag([0.0, 0.0, _UNKNOWN_VARIANCE, _UNKNOWN_VARIANCE, _UNKNOWN_VARIANCE, 0.0])
        full[np.ix_([0, 1, 5], [0, 1, 5])] = (covariance + covariance.T) / 2.0
        pose = self._pose(east_m, north_m, yaw_rad)
        return self._made("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=full.ravel())

    def _pose(self, east_m: float, north_m: float, yaw_rad: float) -> Any:
        x, y, z, w = quaternion_of_yaw(yaw_rad)
        return self._made(
            "geometry_msgs/msg/Pose",
            position=self._made("geometry_msgs/msg/Point", x=east_m, y=north_m, z=0.0),
            orientation=self._made("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        )

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        sec, nanosec = divmod(stamp_ns, NANOSECONDS_PER_SECOND)
        stamp = self._made("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
        return self._made("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _made(self, kind: str, /, **fields: Any) -> Any:
        return self._store.types[kind](**fields)

    def _put(self, name: str, at_ns: int, /, **fields: Any) -> None:
        kind = _KINDS[name]
        self._writer.write(self._connections[name], at_ns, self._store.serialize_cdr(self._made(kind, **fields), kind))


@contextmanager
def answer_bag(folder: Path) -> Iterator[AnswerBag]:
    """Writes a bag of answers into a folder that does not exist.

    Raises:
        InputError: it cannot be written.
    """
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

    try:
        writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with writer:
            yield AnswerBag(writer)
    except (WriterError, OSError) as error:
        raise InputError(f"the bag {folder} cannot be written: {error}") from error
