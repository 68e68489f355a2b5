"""Absolute headings that wait for the track to come by their stamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from geoflow_ros.stamps import NANOSECONDS_PER_SECOND

# Absolute headings come at 50 to 400 Hz with errors that last; of those, this many a second are used.
_HEADINGS_PER_S = 5.0
_MAX_KEPT_HEADINGS = 1024


class Heading(NamedTuple):
    """An absolute heading.

    Attributes:
        stamp_ns: time of validity, nanoseconds.
        yaw_rad: yaw of base_link in the map.
        std_rad: its standard deviation.
    """

    stamp_ns: int
    yaw_rad: float
    std_rad: float


class HeadingQueue:
    """The headings that were not used yet, oldest first; not thread-safe."""

    def __init__(self) -> None:
        self._headings: deque[Heading] = deque(maxlen=_MAX_KEPT_HEADINGS)

    @property
    def newest(self) -> Heading | None:
        """The newest heading, or None."""
        return self._headings[-1] if self._headings else None

    def clear(self) -> None:
        """Forget all."""
        self._headings.clear()

    def add(self, heading: Heading) -> None:
        """Keep one, unless it comes too soon after the newest; an older one is another clock's and clears the rest."""
        newest = self.newest
        if newest is not None:
            age_s = (heading.stamp_ns - newest.stamp_ns) / NANOSECONDS_PER_SECOND
            if age_s < 0.0:
                self.clear()
            elif age_s < 1.0 / _HEADINGS_PER_S:
                return
        self._headings.append(heading)

    def pop_until(self, stamp_ns: int) -> Iterator[Heading]:
        """Takes out the headings up to a stamp, oldest first."""
        while self._headings and self._headings[0].stamp_ns <= stamp_ns:
            yield self._headings.popleft()
