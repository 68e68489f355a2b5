"""Where the vehicle really was: from a topic of the bag or a file, in the map frame."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.errors import GeometryError, InputError, OdometryError
from geoflow_ros.evaluation.replay.topics import FIX
from geoflow_ros.geo import Datum, yaw_of_quaternion
from geoflow_ros.localization.messages import gnss_from_message
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking.trajectory import Trajectory

COURSE_BASE_M = 2.0
"""Positions without an attitude give a heading over at least so much driving."""

_TUM_COLUMNS = 8


class Course:
    """The heading of what moves, from its positions: over the last `COURSE_BASE_M` of the way."""

    def __init__(self) -> None:
        self._from: tuple[float, float] | None = None
        self.yaw_rad: float | None = None

    def add(self, east_m: float, north_m: float) -> bool:
        """Takes a position; returns whether it gave a new heading."""
        if self._from is None:
            self._from = east_m, north_m
            return False
        east, north = east_m - self._from[0], north_m - self._from[1]
        if math.hypot(east, north) < COURSE_BASE_M:
            return False
        self.yaw_rad, self._from = math.atan2(north, east), (east_m, north_m)
        return True


class TruthRecorder:
    """Collects the truth while a bag is read: 32 bytes a sample.

    Args:
        kind: type of the topic's messages.
        datum: of the map.
    """

    def __init__(self, kind: str, datum: Datum) -> None:
        self._kind, self._datum = kind, datum
        self._stamps, self._values = array("q"), array("d")
        self._course = Course()

    def add(self, message: Any, at_ns: int) -> None:
        """Takes a message with its stamp.

        Raises:
            OdometryError: it holds no pose.
            GeometryError: it is too far from the datum.
        """
        if self._kind == FIX:
            pose = self._of_fix(message)
        else:
            body = message.pose.pose if hasattr(message.pose, "pose") else message.pose
            q = body.orientation
            pose = (body.position.x, body.position.y, yaw_of_quaternion(q.x, q.y, q.z, q.w))
        if pose is None:
            return
        if not all(map(math.isfinite, pose)):
            raise OdometryError("a true pose is not finite")
        self._stamps.append(at_ns)
        self._values.extend(pose)

    def trajectory(self) -> Trajectory | None:
        """Returns what was collected, in the order of its stamps; None with fewer than two poses."""
        stamps = np.array(self._stamps, np.int64)
        poses = np.array(self._values, np.float64).reshape(-1, 3)
        if self._kind == FIX:  # before the first course, the vehicle looks where it drives then
            known = ~np.isnan(poses[:, 2])
            poses[:, 2] = np.where(known, poses[:, 2], poses[known, 2][0] if known.any() else 0.0)
        return _trajectory(stamps, poses)

    def _of_fix(self, message: Any) -> tuple[float, float, float] | None:
        gnss = gnss_from_message(message)
        if gnss is None:
            return None
        east_m, north_m = self._datum.to_enu(gnss.latitude_deg, gnss.longitude_deg)
        self._course.add(east_m, north_m)
        yaw_rad = self._course.yaw_rad
        if yaw_rad is None:
            self._stamps.append(gnss.stamp_ns)
            self._values.extend((east_m, north_m, math.nan))
            return None
        return east_m, north_m, yaw_rad


def read_tum(path: Path) -> Trajectory:
    """Reads a trajectory in the TUM format: `stamp x y z qx qy qz qw` a line, seconds and metres in the map frame.

    Raises:
        InputError: it cannot be read, with the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--truth: {path} cannot be read ({error})") from None
    stamps, poses = [], []
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if len(words) != _TUM_COLUMNS:
                raise ValueError(f"{len(words)} columns, not {_TUM_COLUMNS}")
            whole, _, fraction = words[0].partition(".")
            stamps.append(int(whole) * NANOSECONDS_PER_SECOND + int(f"{fraction:0<9.9}" or 0))
            x, y, _, *quaternion = map(float, words[1:])
            poses.append((x, y, yaw_of_quaternion(*quaternion)))
        except (ValueError, OdometryError, GeometryError) as error:
            raise InputError(f"--truth: {path}, line {number} is no TUM pose ({error})") from None
    trajectory = _trajectory(np.array(stamps, np.int64), np.array(poses, np.float64).reshape(-1, 3))
    if trajectory is None:
        raise InputError(f"--truth: {path} has fewer than two poses")
    return trajectory


def _trajectory(stamps_ns: Any, poses: Any) -> Trajectory | None:
    order = np.argsort(stamps_ns, kind="stable")
    order = order[np.concatenate([[True], np.diff(stamps_ns[order]) > 0])] if len(order) else order
    if len(order) < 2:
        return None
    none = np.zeros((len(order), 2, 2))
    return Trajectory(stamps_ns[order], stamps_ns[order], poses[order, :2], np.unwrap(poses[order, 2]), none)
