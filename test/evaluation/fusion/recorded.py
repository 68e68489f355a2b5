"""What a filter behind the localizer is told on a recorded drive, and the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.evaluation.bag import Topics, messages
from geoflow_ros.geo import yaw_of_quaternion
from geoflow_ros.stamps import stamp_ns

_PLANAR = np.ix_((0, 1, 5), (0, 1, 5))  # of a (6, 6) covariance


@dataclass(frozen=True, eq=False)
class Series:
    """Messages of one topic.

    Attributes:
        stamps_ns, received_ns: (n,) of when they are, and when they came.
        values: (n, 3) east, north, yaw; of a twist: vx, vy, yaw rate.
        covariances: (n, 3, 3) of these.
    """

    stamps_ns: Int64Array
    received_ns: Int64Array
    values: Float64Array
    covariances: Float64Array


@dataclass(frozen=True, eq=False)
class FusionDrive:
    """A drive.

    Attributes:
        odometry: the twists.
        poses: `~/pose`.
        track: `~/track`.
        truth: poses.
    """

    odometry: Series
    poses: Series
    track: Series
    truth: Series

    @classmethod
    def of_bag(cls, path: Path) -> FusionDrive:
        """Reads a bag of `geoflow demo`."""
        topics = Topics()
        names = (topics.odometry, topics.fixes, topics.track, topics.truth)
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in names}
        for topic, received_ns, message in messages(path, list(names)):
            row = _twist(message) if topic == topics.odometry else _pose(message)
            rows[topic].append((stamp_ns(message.header.stamp), received_ns, *row))
        return cls(*(_series(rows[name]) for name in names))

    @classmethod
    def of_file(cls, path: Path) -> FusionDrive:
        """Reads what `save` wrote."""
        with np.load(path) as stored:
            return cls(*(
                Series(*(np.asarray(stored[f"{name}_{field}"]) for field in _FIELDS)) for name in _SERIES
            ))  # fmt: skip

    def until(self, seconds: float) -> FusionDrive:
        """Returns the beginning of the drive."""
        end_ns = int(self.truth.stamps_ns[0] + seconds * 1e9)
        return FusionDrive(*(_cut(getattr(self, name), end_ns) for name in _SERIES))

    def thinned(self) -> FusionDrive:
        """Returns what a filter is told, with a fifth of the truth and without the track: smaller."""
        none, fifth = slice(0), slice(None, None, 5)
        return replace(self, track=_part(self.track, none), truth=_part(self.truth, fifth))

    def arrays(self) -> dict[str, Any]:
        """Returns the drive as arrays by name."""
        return {f"{name}_{field}": getattr(getattr(self, name), field) for name in _SERIES for field in _FIELDS}

    def errors_of(self, stamps_ns: Int64Array, positions_m: Float64Array) -> Float64Array:
        """Returns (n, 2) how far positions (n, 2) are from the truth."""
        true = [np.interp(stamps_ns, self.truth.stamps_ns, self.truth.values[:, axis]) for axis in (0, 1)]
        return np.asarray(positions_m - np.stack(true, axis=1))


_SERIES = ("odometry", "poses", "track", "truth")
_FIELDS = ("stamps_ns", "received_ns", "values", "covariances")


def _twist(message: Any) -> tuple[Any, Any]:
    twist = message.twist.twist
    return (twist.linear.x, twist.linear.y, twist.angular.z), message.twist.covariance.reshape(6, 6)[_PLANAR]


def _pose(message: Any) -> tuple[Any, Any]:
    at, q = message.pose.pose.position, message.pose.pose.orientation
    yaw_rad = yaw_of_quaternion(q.x, q.y, q.z, q.w)
    return (at.x, at.y, yaw_rad), message.pose.covariance.reshape(6, 6)[_PLANAR]


def _series(rows: list[tuple[Any, ...]]) -> Series:
    rows.sort(key=lambda row: row[0])
    return Series(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 3),
        np.array([row[3] for row in rows], np.float64).reshape(-1, 3, 3),
    )


def _cut(series: Series, end_ns: int) -> Series:
    return _part(series, series.stamps_ns <= end_ns)


def _part(series: Series, kept: Any) -> Series:
    return Series(*(getattr(series, field)[kept] for field in _FIELDS))
