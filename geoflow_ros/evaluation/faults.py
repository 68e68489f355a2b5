"""What a localizer published while something was wrong, and how long it took to track again: from a recorded drive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.evaluation.bag import messages, read_drive
from geoflow_ros.evaluation.drive_answers import FAR_SIGMAS
from geoflow_ros.evaluation.tables import metres, table
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking.trajectory import Trajectory
from geoflow_ros.tracking.trust import TrackState

STATUS_TOPIC = "/geoflow_localizer/status"


@dataclass(frozen=True)
class FaultWindow:
    """When something was wrong, by the recorder's clock: that of the vehicle may have been what was wrong.

    Attributes:
        name: what was wrong.
        start_s: first moment, seconds from the beginning of the drive.
        end_s: first moment at which nothing is wrong any more.
        next_s: until when its consequences are looked for: the next fault, or the end of the drive.
    """

    name: str
    start_s: float
    end_s: float
    next_s: float


@dataclass(frozen=True)
class FaultAnswer:
    """What was said in one window, its consequences included.

    Attributes:
        name: what was wrong.
        seconds: for how long.
        poses: published while it was wrong.
        poses_after: published between its end and the next fault.
        largest_error_m: of both; None where there are none.
        largest_sigmas: the largest error over its own standard deviation, likewise.
        beyond_5_sigma: poses with an error beyond five standard deviations: published nonsense.
        said: the states and reasons, in the order in which they were said first.
        tracks_after_s: from the end of the fault until `TRACKING` is said and stays for the rest of a second; None
            where it is not.
    """

    name: str
    seconds: float
    poses: int
    poses_after: int
    largest_error_m: float | None
    largest_sigmas: float | None
    beyond_5_sigma: int
    said: tuple[str, ...]
    tracks_after_s: float | None


def fault_answers(bag: str | Path, windows: Sequence[FaultWindow]) -> list[FaultAnswer]:
    """Reads what was published and said in each window of a recorded drive.

    Raises:
        InputError: as `read_drive`.
    """
    record = read_drive(bag)
    status = [(received_ns, message.message) for _, received_ns, message in messages(bag, [STATUS_TOPIC])]
    began_ns = int(record.truth.received_ns.min())
    return [_answer(window, record.truth, record.fixes, status, began_ns) for window in windows]


def _answer(
    window: FaultWindow, truth: Trajectory, poses: Trajectory, status: Sequence[tuple[int, str]], began_ns: int
) -> FaultAnswer:
    start_ns, end_ns, next_ns = (began_ns + round(s * NANOSECONDS_PER_SECOND) for s in _times(window))
    during, after = _between(poses, start_ns, end_ns), _between(poses, end_ns, next_ns)
    error_m, sigmas = _errors(poses, truth, during | after)
    said = [text for at_ns, text in status if start_ns <= at_ns < next_ns]
    return FaultAnswer(
        name=window.name,
        seconds=window.end_s - window.start_s,
        poses=int(during.sum()),
        poses_after=int(after.sum()),
        largest_error_m=float(error_m.max()) if len(error_m) else None,
        largest_sigmas=float(sigmas.max()) if len(sigmas) else None,
        beyond_5_sigma=int((sigmas > FAR_SIGMAS).sum()),
        said=tuple(dict.fromkeys(said)),
        tracks_after_s=_tracks_after_s(status, end_ns, next_ns),
    )


def _times(window: FaultWindow) -> tuple[float, float, float]:
    return window.start_s, window.end_s, window.next_s


def _between(poses: Trajectory, start_ns: int, end_ns: int) -> Any:
    """Which poses were received in a time."""
    received: Int64Array = poses.received_ns
    return (received >= start_ns) & (received < end_ns)


def _errors(poses: Trajectory, truth: Trajectory, kept: Any) -> tuple[Float64Array, Float64Array]:
    """Errors in metres, and over the standard deviations that the poses state."""
    positions, _ = truth.at(poses.stamps_ns[kept])
    error = poses.positions_m[kept] - positions
    square = np.einsum("ni,nij,nj->n", error, np.linalg.inv(poses.covariances[kept]), error)
    return np.hypot(*error.T), np.sqrt(square)


def _tracks_after_s(status: Sequence[tuple[int, str]], end_ns: int, next_ns: int) -> float | None:
    """The first moment from which on nothing else is said for a second, or till the next fault."""
    before = [text for at_ns, text in status if at_ns <= end_ns]
    said = [(end_ns, before[-1] if before else ""), *((at, text) for at, text in status if end_ns < at < next_ns)]
    since: int | None = None
    for at_ns, text in [*said, (next_ns, said[-1][1])]:
        if text.split(":")[0] != TrackState.TRACKING.value:
            since = None
        elif since is None:
            since = at_ns
        elif at_ns - since >= NANOSECONDS_PER_SECOND:
            break
    return None if since is None else (since - end_ns) / NANOSECONDS_PER_SECOND


def faults_table(answers: Sequence[FaultAnswer]) -> str:
    """One line a fault."""
    header = ["fault", "s", "poses", "after", "largest error m", "sigmas", "beyond 5", "tracks again after s", "said"]
    return table(
        header,
        [
            [
                a.name,
                f"{a.seconds:.0f}",
                str(a.poses),
                str(a.poses_after),
                metres(a.largest_error_m),
                metres(a.largest_sigmas),
                str(a.beyond_5_sigma),
                "not" if a.tracks_after_s is None else f"{a.tracks_after_s:.1f}",
                _states(a.said),
            ]
            for a in answers
        ],
    )


def _states(said: Sequence[str]) -> str:
    """The states in their order, without the reasons."""
    states = [text.split(":")[0] for text in said]
    return " → ".join(state for state, _ in groupby(states))
