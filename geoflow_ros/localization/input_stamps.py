"""What is odd about the stamps of each input: missing, twice, late, or of a clock that jumped back."""

from __future__ import annotations

import logging
from enum import Enum

from geoflow_ros.stamps import NANOSECONDS_PER_SECOND

_log = logging.getLogger(__name__)
ODOMETRY, CAMERA, IMU, FIX = "odometry", "camera", "imu", "fix"
"""The inputs whose messages have stamps."""

JUMP_BACK_S = 0.5
"""A stamp older than the newest by more than this is of a clock that jumped back, as of a bag that begins again."""


class StampVerdict(Enum):
    """What a stamp is, beside those before it; the value is how it is counted in words."""

    NEWER = "in order"
    ZERO = "without a stamp"
    DUPLICATE = "duplicate"
    LATE = "late"
    JUMPED_BACK = "after the clock jumped back"


class _StampWatch:
    """Looks at the stamps of one input."""

    def __init__(self) -> None:
        self.newest_ns: int | None = None
        self.counts = dict.fromkeys(StampVerdict, 0)

    def look(self, stamp_ns: int) -> StampVerdict:
        verdict = self._judged(stamp_ns)
        self.counts[verdict] += 1
        if verdict in (StampVerdict.NEWER, StampVerdict.JUMPED_BACK):
            self.newest_ns = stamp_ns
        return verdict

    def _judged(self, stamp_ns: int) -> StampVerdict:
        if stamp_ns == 0:
            return StampVerdict.ZERO
        if self.newest_ns is None or stamp_ns > self.newest_ns:
            return StampVerdict.NEWER
        if stamp_ns == self.newest_ns:
            return StampVerdict.DUPLICATE
        behind_s = (self.newest_ns - stamp_ns) / NANOSECONDS_PER_SECOND
        return StampVerdict.JUMPED_BACK if behind_s > JUMP_BACK_S else StampVerdict.LATE


class InputStamps:
    """The stamps of all inputs. Each input is looked at by one thread; facts may be asked for by any."""

    def __init__(self) -> None:
        self._watches = {name: _StampWatch() for name in (ODOMETRY, CAMERA, IMU, FIX)}

    def add(self, name: str) -> None:
        """Looks at another input too."""
        self._watches[name] = _StampWatch()

    def look(self, name: str, stamp_ns: int) -> StampVerdict:
        """Judges and counts one message's stamp; a clock that jumped back is logged."""
        watch = self._watches[name]
        before_ns = watch.newest_ns
        verdict = watch.look(stamp_ns)
        if verdict is StampVerdict.JUMPED_BACK and before_ns is not None:
            back_s = (before_ns - stamp_ns) / NANOSECONDS_PER_SECOND
            _log.warning("%s: its clock jumped back by %.1f s, as of a bag that begins again", name, back_s)
        return verdict

    def facts(self) -> dict[str, str]:
        """What was odd, as keys and values for diagnostics, such as `imu_stamps`: "2 duplicate, 1 late"."""
        return {f"{name}_stamps": _in_words(watch.counts) for name, watch in self._watches.items()}


def _in_words(counts: dict[StampVerdict, int]) -> str:
    odd = [f"{n} {verdict.value}" for verdict, n in counts.items() if n and verdict is not StampVerdict.NEWER]
    return ", ".join(odd) or "in order"
