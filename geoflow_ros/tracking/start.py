"""A start pose that waits for the odometry to cover its stamp."""

from __future__ import annotations

import math

import numpy as np

from geoflow_ros.errors import OdometryError
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking.odometry import OdometryBuffer, OdometryPose
from geoflow_ros.tracking.values import StartPose

# A start pose further ahead of the odometry than any message is late was stamped by another clock.
_MAX_START_AHEAD_S = 1.0
# A start pose that came before the first odometry holds there: a vehicle without odometry has hardly driven. One that
# is older than this may be the latched one of another drive.
_MAX_START_BEFORE_S = 60.0
_NO_START = "there is no start pose yet: publish initialpose (or fix and imu, with an absolute heading)"


def check_start_pose(start: StartPose) -> None:
    """Checks that a track can begin at a pose.

    Raises:
        OdometryError: the pose is not finite, or its covariance is not positive definite.
    """
    values = [start.east_m, start.north_m, start.yaw_rad, *start.covariance.ravel()]
    if not all(map(math.isfinite, values)):
        raise OdometryError("the start pose or its covariance is not finite")
    if np.linalg.eigvalsh(start.covariance)[0] <= 0.0:
        raise OdometryError(
            "the start pose's covariance is not positive definite: give every axis a variance above zero"
        )


class PendingStart:
    """Keeps the newest start pose until a track begins with it; not thread-safe.

    Args:
        odometry: decides when, and whether ever, the pose can be placed in the odometry frame.

    Attributes:
        dropped: why the newest start pose can never take effect; empty where it can, or none came.
    """

    def __init__(self, odometry: OdometryBuffer) -> None:
        self._odometry = odometry
        self._start: StartPose | None = None
        self._newest_at_start: OdometryPose | None = None
        self.dropped = ""

    @property
    def waits(self) -> bool:
        """Whether a start pose is there that can still take effect."""
        self._drop_if_unreachable()
        return self._start is not None

    def put(self, start: StartPose) -> None:
        """Keep a start pose; it replaces the one before."""
        self._start = start
        self._newest_at_start = self._odometry.newest
        self.dropped = ""

    def clear(self) -> None:
        """Forget the start pose."""
        self._start = None
        self.dropped = ""

    def take(self, stamp_ns: int) -> tuple[StartPose, OdometryPose]:
        """Takes out the start pose for a track that is wanted at a stamp.

        Returns:
            The start pose, and the odometry where it holds.

        Raises:
            OdometryError: there is no start pose, it is newer than the stamp, or odometry does not cover it (yet).
        """
        self._drop_if_unreachable()
        start = self._start
        if start is None:
            raise OdometryError(self.dropped or _NO_START)
        oldest = self._odometry.oldest
        if oldest is not None and start.stamp_ns < oldest.stamp_ns and self._awaits_odometry():
            raise OdometryError("the start pose is older than the odometry: waiting for odometry that came after it")
        begin_ns = max(start.stamp_ns, oldest.stamp_ns) if oldest is not None else start.stamp_ns
        if begin_ns > stamp_ns:
            raise OdometryError("the start pose is newer than the stamp: waiting for the first image after it")
        odometry = self._odometry.pose_at(begin_ns)
        self._start = None
        return start, odometry

    def _awaits_odometry(self) -> bool:
        """Whether no odometry came since the start pose: it may have paused, or be another clock's (a looped bag)."""
        newest = self._odometry.newest
        return newest is None or newest is self._newest_at_start

    def _drop_if_unreachable(self) -> None:
        """Drop a start pose at whose stamp the odometry will never be known, so that it blocks no later one."""
        start, oldest, newest = self._start, self._odometry.oldest, self._odometry.newest
        if start is None or oldest is None or newest is None or self._awaits_odometry():
            return
        ahead_s = (start.stamp_ns - newest.stamp_ns) / NANOSECONDS_PER_SECOND
        behind_s = (oldest.stamp_ns - start.stamp_ns) / NANOSECONDS_PER_SECOND
        if ahead_s > _MAX_START_AHEAD_S:
            self.dropped = (
                f"the start pose was dropped, its stamp is {ahead_s:.1f} s ahead of the odometry: the clocks differ, "
                "check use_sim_time, then give it again (initialpose)"
            )
        elif behind_s > (self._odometry.max_extrapolation_s if self._odometry.trimmed else _MAX_START_BEFORE_S):
            self.dropped = (
                f"the start pose was dropped, it is {behind_s:.1f} s older than the odometry that is kept, and the "
                "vehicle may have driven since: give another one (initialpose)"
            )
        else:
            return
        self._start = None
