"""How the vehicle leaned when a picture was taken."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque

from geoflow_ros.geo.camera import Attitude
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND

FARTHEST_S = 0.1
"""An attitude says nothing of a picture that was taken so much earlier or later."""

_FARTHEST_NS = round(FARTHEST_S * NANOSECONDS_PER_SECOND)
_KEPT = 1000  # some seconds of the fastest sensors


class AttitudeBuffer:
    """The last attitudes, in the order of their stamps. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, Attitude]] = deque(maxlen=_KEPT)

    def add(self, stamp_ns: int, attitude: Attitude) -> None:
        """Takes one; what is newer, from a clock before it jumped back, is forgotten."""
        with self._lock:
            while self._kept and self._kept[-1][0] >= stamp_ns:
                self._kept.pop()
            self._kept.append((stamp_ns, attitude))

    def at(self, stamp_ns: int) -> Attitude | None:
        """Returns the attitude at a stamp, between the two about it; None where none is within `FARTHEST_S`."""
        with self._lock:
            kept = list(self._kept)
        after = bisect_left(kept, stamp_ns, key=lambda entry: entry[0])
        near = [entry for entry in kept[max(0, after - 1) : after + 1] if abs(entry[0] - stamp_ns) <= _FARTHEST_NS]
        if len(near) < 2:
            return near[0][1] if near else None
        (begin_ns, begin), (end_ns, end) = near
        share = (stamp_ns - begin_ns) / (end_ns - begin_ns)
        return Attitude(
            begin.roll_rad + share * (end.roll_rad - begin.roll_rad),
            begin.pitch_rad + share * (end.pitch_rad - begin.pitch_rad),
        )
