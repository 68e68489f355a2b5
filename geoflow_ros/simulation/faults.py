"""What goes wrong on the demo's fault drive, when, and what a camera, a sensor or a clock then says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from geoflow_ros.errors import InputError


class Fault(Enum):
    """What goes wrong. The last two are of the localizer's surroundings, all others of the vehicle."""

    FROZEN = "camera frozen"
    BLACK = "black frames"
    ODOMETRY = "odometry stopped"
    CLOCK = "clock one hour ahead"
    HEADING = "heading off by 30°"
    PRIOR = "prior 200 m off"
    TILES = "tile server dead"
    KILLED = "node killed"


CLOCK_AHEAD_S = 3600.0
HEADING_OFF_RAD = math.radians(30.0)
PRIOR_OFF_M = 200.0

_FIRST_S, _APART_S = 20.0, 20.0  # the localizer settles, then recovers
_DURATIONS_S = {
    Fault.FROZEN: 8.0,
    Fault.BLACK: 8.0,
    Fault.ODOMETRY: 8.0,
    Fault.CLOCK: 8.0,
    Fault.HEADING: 8.0,
    Fault.PRIOR: 8.0,
    Fault.KILLED: 0.0,  # it is started again at once
    Fault.TILES: 60.0,
}


@dataclass(frozen=True)
class Injection:
    """One fault on a drive, in seconds from its beginning."""

    fault: Fault
    start_s: float
    end_s: float

    def holds(self, t_s: float) -> bool:
        """Whether it is there at a time."""
        return self.start_s <= t_s < self.end_s

    def text(self) -> str:
        """As `injection_of` reads it."""
        return f"{self.fault.name.lower()}:{self.start_s!r}:{self.end_s!r}"


def injection_of(text: str) -> Injection:
    """Reads `NAME:START:END`.

    Raises:
        InputError: another form, an unknown fault, or an end before the start.
    """
    try:
        name, start, end = text.split(":")
        injection = Injection(Fault[name.upper()], float(start), float(end))
    except (ValueError, KeyError):
        names = ", ".join(fault.name.lower() for fault in Fault)
        raise InputError(f"a fault is NAME:START:END in seconds, with one of {names}; got {text!r}") from None
    if not 0.0 <= injection.start_s <= injection.end_s < math.inf:
        raise InputError(f"a fault ends after it starts, and both are times of the drive; got {text!r}")
    return injection


def schedule() -> tuple[Injection, ...]:
    """Returns every fault once, with time between them to recover."""
    injections, at_s = [], _FIRST_S
    for fault, duration_s in _DURATIONS_S.items():
        injections.append(Injection(fault, at_s, at_s + duration_s))
        at_s += duration_s + _APART_S
    return tuple(injections)


def drive_seconds(injections: tuple[Injection, ...]) -> float:
    """Returns how long the drive is on which all of them happen, time to recover from the last one included."""
    return max(injection.end_s for injection in injections) + _APART_S
