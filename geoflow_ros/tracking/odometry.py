"""Stamped planar odometry, kept for a while and interpolated at the stamps of camera images."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from geoflow_ros.errors import OdometryError
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND

# Two samples this close define a speed too noisy to extrapolate with; look further back for the second one.
_EXTRAPOLATION_BASE_NS = NANOSECONDS_PER_SECOND // 10
# Across a gap the odometry may have gone on, or begun again elsewhere. It went on where the distance is at most this
# many times that at the greater of the speeds around the gap (a vehicle may be faster within it), and this more: one
# that stands at both ends may have moved up in between.
_MAX_SPEED_RATIO_IN_GAP = 1.5
_MAX_DISTANCE_FROM_REST_M = 5.0
# Samples closer in time than this are tested for a jump as if they were this far apart: their stamps jitter.
_MIN_STEP_S = 0.01
# The front of the buffer is cut off in blocks of more than this many samples: deleting there moves all the rest.
_TRIM_BLOCK = 256


@dataclass(frozen=True)
class OdometryPose:
    """The pose of the vehicle in the odometry frame.

    Attributes:
        stamp_ns: time of validity, nanoseconds.
        x_m, y_m: position of base_link in the odometry frame, metres.
        yaw_rad: yaw of base_link in the odometry frame, counter-clockwise; inside a buffer it is continuous, not
            wrapped.
        speed_mps: forward speed, where the odometry gives one.
    """

    stamp_ns: int
    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float | None = None


class OdometryBuffer:
    """Keeps the last seconds of odometry; thread-safe, since one thread fills it while another asks.

    Args:
        length_s: how much is kept.
        max_gap_s: a stamp between two samples further apart than this is not interpolated.
        max_extrapolation_s: how far beyond its ends the buffer answers, at constant velocity.
        jump_back_s: a sample older than the newest by more than this is a clock jump (a bag that starts again), which
            clears the buffer; one older by less came late and is only refused.
        max_speed_mps: samples that imply a faster motion are a reset of the odometry, which clears the buffer. So does,
            after a gap, a position that the speeds around the gap do not explain.
    """

    def __init__(
        self,
        length_s: float = 30.0,
        max_gap_s: float = 0.5,
        max_extrapolation_s: float = 0.2,
        jump_back_s: float = 0.5,
        max_speed_mps: float = 100.0,
    ) -> None:
        self._length_ns = round(length_s * NANOSECONDS_PER_SECOND)
        self._max_gap_s = max_gap_s
        self._max_extrapolation_s = max_extrapolation_s
        self._jump_back_ns = round(jump_back_s * NANOSECONDS_PER_SECOND)
        self._max_speed_mps = max_speed_mps
        self._stamps_ns: list[int] = []
        self._poses: list[OdometryPose] = []
        self._generation = 0
        self._trimmed = False
        self._changed = threading.Condition()

    @property
    def generation(self) -> int:
        """How often the buffer was cleared: poses of two generations share no frame."""
        return self._generation

    @property
    def newest(self) -> OdometryPose | None:
        """The newest sample, or None."""
        with self._changed:
            return self._poses[-1] if self._poses else None

    @property
    def oldest(self) -> OdometryPose | None:
        """The oldest sample still kept, or None."""
        with self._changed:
            return self._poses[0] if self._poses else None

    @property
    def max_extrapolation_s(self) -> float:
        """How far beyond its ends the buffer answers, seconds."""
        return self._max_extrapolation_s

    @property
    def trimmed(self) -> bool:
        """Whether odometry older than the oldest sample was there and is forgotten."""
        return self._trimmed

    def clear(self) -> None:
        """Forget everything: what comes next is another odometry frame or another clock."""
        with self._changed:
            self._clear()

    def _clear(self) -> None:
        self._stamps_ns.clear()
        self._poses.clear()
        self._generation += 1
        self._trimmed = False

    def breaks_at(self, pose: OdometryPose) -> bool:
        """Tells whether `add` would start again with a sample: of another clock, or of another odometry frame."""
        with self._changed:
            return bool(self._poses) and self._break_before(pose) is not None

    def add(self, pose: OdometryPose) -> None:
        """Append one sample.

        Raises:
            OdometryError: not finite; not newer than the newest (refused); older by more than `jump_back_s`, newer by
                more than `length_s`, or further away than a vehicle drives in the time between (the buffer was cleared
                and starts again with this sample).
        """
        if not all(map(math.isfinite, (pose.x_m, pose.y_m, pose.yaw_rad))):
            raise OdometryError("odometry with a position or yaw that is not finite: check its sender")
        if pose.speed_mps is not None and not math.isfinite(pose.speed_mps):
            raise OdometryError("odometry with a speed that is not finite: check its sender")
        with self._changed:
            if not self._poses:
                self._append(pose)
                return
            last = self._poses[-1]
            step_ns = pose.stamp_ns - last.stamp_ns
            if -self._jump_back_ns <= step_ns <= 0:
                raise OdometryError(
                    f"odometry out of order by {-step_ns / NANOSECONDS_PER_SECOND:.3f} s: the sample was dropped"
                )
            break_reason = self._break_before(pose)
            if break_reason is not None:
                self._clear()
                self._append(pose)
                raise OdometryError(f"{break_reason} the buffer was cleared, localization starts again")
            turn = math.remainder(pose.yaw_rad - last.yaw_rad, math.tau)
            self._append(OdometryPose(pose.stamp_ns, pose.x_m, pose.y_m, last.yaw_rad + turn, pose.speed_mps))

    def _break_before(self, pose: OdometryPose) -> str | None:
        """Tells what separates a sample from the newest, the first half of a sentence; None where nothing does."""
        last = self._poses[-1]
        step_ns = pose.stamp_ns - last.stamp_ns
        step_s = step_ns / NANOSECONDS_PER_SECOND
        if step_ns < -self._jump_back_ns:
            return f"odometry's clock jumped back by {-step_s:.3f} s:"
        if step_ns > self._length_ns:
            return f"odometry paused, or its clock jumped ahead, by {step_s:.1f} s:"
        distance_m = math.hypot(pose.x_m - last.x_m, pose.y_m - last.y_m)
        if distance_m > self._max_distance_m(pose):
            return f"odometry jumped by {distance_m:.1f} m in {step_s:.3f} s: it was reset,"
        return None

    def _max_distance_m(self, pose: OdometryPose) -> float:
        """How far from the newest sample a later one can be in the same odometry frame, metres.

        After a gap the speed before it is also taken from the positions, for drivers that leave the twist at zero. What
        this cannot tell: such an odometry that stood before the gap and drove far within it looks like one that began
        again (and is taken for that); one that began again within driving distance looks like motion.
        """
        last, seconds = self._poses[-1], (pose.stamp_ns - self._poses[-1].stamp_ns) / NANOSECONDS_PER_SECOND
        if seconds <= self._max_gap_s:
            return self._max_speed_mps * max(seconds, _MIN_STEP_S)
        speed = max(abs(last.speed_mps or 0.0), abs(pose.speed_mps or 0.0), self._speed_by_positions())
        explained_m = _MAX_SPEED_RATIO_IN_GAP * speed * seconds + _MAX_DISTANCE_FROM_REST_M
        return min(self._max_speed_mps * seconds, explained_m)

    def _speed_by_positions(self) -> float:
        """Speed over the newest samples, m/s; 0 where there is one only."""
        last = self._poses[-1]
        base = bisect_right(self._stamps_ns, last.stamp_ns - _EXTRAPOLATION_BASE_NS) - 1
        first = self._poses[max(base, 0)]
        span_s = (last.stamp_ns - first.stamp_ns) / NANOSECONDS_PER_SECOND
        return math.hypot(last.x_m - first.x_m, last.y_m - first.y_m) / span_s if span_s > 0.0 else 0.0

    def _append(self, pose: OdometryPose) -> None:
        self._stamps_ns.append(pose.stamp_ns)
        self._poses.append(pose)
        keep_from = bisect_left(self._stamps_ns, pose.stamp_ns - self._length_ns)
        if keep_from > _TRIM_BLOCK:
            del self._stamps_ns[:keep_from]
            del self._poses[:keep_from]
            self._trimmed = True
        self._changed.notify_all()

    def wait_for(self, stamp_ns: int, timeout_s: float) -> bool:
        """Wait until a sample at or after `stamp_ns` is there; False where `timeout_s` passed before."""

        def covered() -> bool:
            return bool(self._stamps_ns) and self._stamps_ns[-1] >= stamp_ns

        with self._changed:
            return self._changed.wait_for(covered, timeout_s)

    def stamps_between(self, start_ns: int, end_ns: int) -> list[int]:
        """Stamps of the samples in the open interval (start_ns, end_ns), oldest first."""
        with self._changed:
            return self._stamps_ns[bisect_right(self._stamps_ns, start_ns) : bisect_left(self._stamps_ns, end_ns)]

    def pose_at(self, stamp_ns: int) -> OdometryPose:
        """Returns the pose at a stamp: interpolated inside, extrapolated at constant velocity for a short time outside.

        Raises:
            OdometryError: nothing there yet, the stamp lies too far outside, or in too long a gap; the message says
                which.
        """
        with self._changed:
            if not self._poses:
                raise OdometryError("no odometry yet: check that it is published and that its topic name is right")
            index = bisect_left(self._stamps_ns, stamp_ns)
            if index < len(self._poses) and self._stamps_ns[index] == stamp_ns:
                return self._poses[index]
            if index == 0:
                return self._extrapolate_before(stamp_ns)
            if index == len(self._poses):
                return self._extrapolate_after(stamp_ns)
            before, after = self._poses[index - 1], self._poses[index]
        gap_s = (after.stamp_ns - before.stamp_ns) / NANOSECONDS_PER_SECOND
        if gap_s > self._max_gap_s:
            raise OdometryError(
                f"the stamp lies in a gap of {gap_s:.2f} s in the odometry: at most {self._max_gap_s:g} s is bridged"
            )
        return _on_line(before, after, stamp_ns)

    def _extrapolate_after(self, stamp_ns: int) -> OdometryPose:
        last = self._poses[-1]
        ahead_s = (stamp_ns - last.stamp_ns) / NANOSECONDS_PER_SECOND
        if ahead_s > self._max_extrapolation_s:
            raise OdometryError(
                f"the stamp is {ahead_s:.2f} s newer than the newest odometry (limit {self._max_extrapolation_s:g} s): "
                "odometry stopped, or the two clocks differ"
            )
        base = bisect_right(self._stamps_ns, last.stamp_ns - _EXTRAPOLATION_BASE_NS) - 1
        return self._at_constant_velocity(self._poses[max(base, 0)], last, stamp_ns)

    def _extrapolate_before(self, stamp_ns: int) -> OdometryPose:
        first = self._poses[0]
        behind_s = (first.stamp_ns - stamp_ns) / NANOSECONDS_PER_SECOND
        if behind_s > self._max_extrapolation_s:
            raise OdometryError(
                f"the stamp is {behind_s:.2f} s older than the oldest odometry (limit "
                f"{self._max_extrapolation_s:g} s): it came too late, or the two clocks differ"
            )
        base = bisect_left(self._stamps_ns, first.stamp_ns + _EXTRAPOLATION_BASE_NS)
        return self._at_constant_velocity(first, self._poses[min(base, len(self._poses) - 1)], stamp_ns)

    def _at_constant_velocity(self, first: OdometryPose, second: OdometryPose, stamp_ns: int) -> OdometryPose:
        span_s = (second.stamp_ns - first.stamp_ns) / NANOSECONDS_PER_SECOND
        if span_s == 0.0 or span_s > self._max_gap_s:
            # One sample alone says nothing about motion; within the short limit, standing still is the best guess.
            anchor = second if stamp_ns > second.stamp_ns else first
            return OdometryPose(stamp_ns, anchor.x_m, anchor.y_m, anchor.yaw_rad, anchor.speed_mps)
        return _on_line(first, second, stamp_ns)


def _on_line(first: OdometryPose, second: OdometryPose, stamp_ns: int) -> OdometryPose:
    """The pose at a stamp on the line through two poses, inside or outside of them; the speed is not extrapolated."""
    share = (stamp_ns - first.stamp_ns) / (second.stamp_ns - first.stamp_ns)
    speed = None
    if first.speed_mps is not None and second.speed_mps is not None:
        speed = first.speed_mps + min(max(share, 0.0), 1.0) * (second.speed_mps - first.speed_mps)
    return OdometryPose(
        stamp_ns,
        first.x_m + share * (second.x_m - first.x_m),
        first.y_m + share * (second.y_m - first.y_m),
        first.yaw_rad + share * (second.yaw_rad - first.yaw_rad),
        speed,
    )
