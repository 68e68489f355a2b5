"""What a vehicle localizer answered on a drive, frame by frame, and the figures of several drives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.evaluation.bag import availability
from geoflow_ros.evaluation.metrics import BEYOND, COVERAGE_LEVELS, figures, resampled_interval
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.geo.gaussian import chi_square_quantile
from geoflow_ros.localization import CameraFrame, DriveEvent, FrameRejected, InputRejected, VehicleFix
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import TrackedPose, TrackState
from geoflow_ros.world.drive import States

PUBLISHED, THINNED = "published", "thinned"
FAR_SIGMAS = 5.0  # a published pose with a larger error is one that a filter cannot survive
_BOTH_AXES = 2
LOST = TrackState.LOST.value
_LEVEL_95 = max(COVERAGE_LEVELS)


@dataclass(frozen=True, eq=False)
class Poses:
    """Estimated positions with their covariances against the truth, (forward, right) of the true heading.

    Attributes:
        stamps_ns: (n,).
        errors_m: (n, 2) estimate less truth.
        covariances: (n, 2, 2) m².
    """

    stamps_ns: Int64Array
    errors_m: Float64Array
    covariances: Float64Array

    @property
    def distance_m(self) -> Float64Array:
        """(n,) from the truth."""
        return np.asarray(np.hypot(*self.errors_m.T))

    @property
    def nees(self) -> Float64Array:
        """(n,) squared errors in standard deviations, over both axes."""
        return np.asarray(np.einsum("ni,nij,nj->n", self.errors_m, np.linalg.inv(self.covariances), self.errors_m))

    @property
    def sigmas_m(self) -> Float64Array:
        """(n, 2) standard deviations forward and right."""
        return np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))


@dataclass(frozen=True, eq=False)
class DriveAnswers:
    """One drive with one model under one disturbance.

    Attributes:
        seed: of the drive.
        first_ns: when it begins.
        onset_s: from when on something is wrong, if anything is.
        stamps_ns: (k,) of the camera frames.
        driven_m: (k,) at these, from the drive's beginning.
        outcomes: (k,) what became of each: `PUBLISHED`, `THINNED` (a pose too near to the last published one to be
            news), or the name of the reason of its rejection.
        states: (k,) what the localizer calls its track after each.
        track: after each frame that has one.
        track_frames: (t,) which frames these are.
        published: poses.
        inputs_rejected: how many other inputs were.
        seconds_per_frame: that an answer took, wall clock.
    """

    seed: int
    first_ns: int
    onset_s: float
    stamps_ns: Int64Array
    driven_m: Float64Array
    outcomes: tuple[str, ...]
    states: tuple[str, ...]
    track: Poses
    track_frames: Int64Array
    published: Poses
    inputs_rejected: int
    seconds_per_frame: float

    @property
    def availability(self) -> float:
        """Share of frames with a pose of their own, published or thinned, or of a frame at most a second before."""
        posed_ns = self.stamps_ns[np.isin(self.outcomes, (PUBLISHED, THINNED))]
        return availability(self.stamps_ns, np.stack([posed_ns, posed_ns], axis=1))

    @property
    def vouched_for(self) -> Poses:
        """The track where the localizer does not call it lost."""
        kept = np.array([self.states[frame] != LOST for frame in self.track_frames], bool)
        return Poses(self.track.stamps_ns[kept], self.track.errors_m[kept], self.track.covariances[kept])

    @property
    def until_lost(self) -> tuple[float, float] | None:
        """Seconds and metres from the onset of what is wrong until the track is called lost; None where it never is."""
        seconds = (self.stamps_ns - self.first_ns) / NANOSECONDS_PER_SECOND
        after = np.flatnonzero((seconds >= self.onset_s) & (np.array(self.states) == LOST))
        if not len(after):
            return None
        driven_m = self.driven_m[after[0]] - np.interp(self.onset_s, seconds, self.driven_m)
        return float(seconds[after[0]] - self.onset_s), float(driven_m)

    def plotted(self) -> tuple[str, Float64Array, Float64Array, Float64Array, list[str]]:
        """Returns what a picture of the track shows: see `visualization.drives.TrackErrors`."""
        frames, distance = self.track_frames, self.track.distance_m
        off = f", RMSE {np.sqrt(np.mean(distance**2)):.1f} m" if len(distance) else ""
        states = [self.states[frame] for frame in frames]
        return f"seed {self.seed}{off}", self.driven_m[frames], self.track.errors_m, self.track.sigmas_m, states

    def figures(self) -> dict[str, Any]:
        """Computes the few figures of the drive that a person looks for where one drive is odd."""
        distance = self.track.distance_m
        is_tracked = len(distance) > 0
        return {
            "seed": self.seed,
            "distance_m": float(self.driven_m[-1]),
            "rmse_m": float(np.sqrt(np.mean(distance**2))) if is_tracked else None,
            "anees": float(self.track.nees.mean() / _BOTH_AXES) if is_tracked else None,
            "published": len(self.published.stamps_ns),
            "published_largest_sigmas": _largest_sigmas([self.published]),
            "until_lost_s": None if self.until_lost is None else self.until_lost[0],
        }


@dataclass
class DriveRecorder:
    """Takes the answers to one drive, one by one; small, whatever the pictures' size.

    Attributes:
        seed: of the drive.
        states: the truth.
        first_ns: stamp of its beginning.
        onset_s: from when on something is wrong, if anything is.
    """

    seed: int
    states: States
    first_ns: int
    onset_s: float = 0.0
    _stamps_ns: list[int] = field(default_factory=list)
    _outcomes: list[str] = field(default_factory=list)
    _called: list[str] = field(default_factory=list)
    _track_frames: list[int] = field(default_factory=list)
    _track: list[tuple[Any, ...]] = field(default_factory=list)
    _published: list[tuple[Any, ...]] = field(default_factory=list)
    _inputs_rejected: int = 0

    def watched(self, events: Iterable[DriveEvent]) -> Iterator[DriveEvent]:
        """Gives a drive's events on, and takes down when its pictures were taken: each is answered before the next."""
        for event in events:
            if isinstance(event, CameraFrame):
                self._stamps_ns.append(event.stamp_ns)
            yield event

    def add(self, answer: VehicleFix | FrameRejected, track: TrackedPose | None, state: TrackState) -> None:
        """Adds what became of the newest picture of `watched`.

        Args:
            answer: to it.
            track: the tracked pose after it, if there is one.
            state: of the track after it.
        """
        self._called.append(state.value)
        if isinstance(answer, FrameRejected):
            self._outcomes.append(answer.reason.value)
        elif not answer.is_news:
            self._outcomes.append(THINNED)
        else:
            self._outcomes.append(PUBLISHED)
            self._published.append(self._against_truth(answer.stamp_ns, answer.position_m, answer.covariance[:2, :2]))
        if track is not None:
            self._track_frames.append(len(self._outcomes) - 1)
            position = np.array([track.east_m, track.north_m])
            self._track.append(self._against_truth(track.stamp_ns, position, track.covariance[:2, :2]))

    def add_rejected_input(self, rejected: InputRejected) -> None:
        """Counts an input that is no frame and was not taken."""
        self._inputs_rejected += 1

    def done(self, seconds: float) -> DriveAnswers:
        """Returns what was added, as arrays.

        Args:
            seconds: that all answers took.
        """
        states, stamps_ns = self.states, np.array(self._stamps_ns, np.int64)
        driven_m = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(states.east_m), np.diff(states.north_m)))])
        return DriveAnswers(
            seed=self.seed,
            first_ns=self.first_ns,
            onset_s=self.onset_s,
            stamps_ns=stamps_ns,
            driven_m=np.interp(self._seconds(stamps_ns), states.t_s, driven_m),
            outcomes=tuple(self._outcomes),
            states=tuple(self._called),
            track=_poses(self._track),
            track_frames=np.array(self._track_frames, np.int64),
            published=_poses(self._published),
            inputs_rejected=self._inputs_rejected,
            seconds_per_frame=seconds / max(len(self._stamps_ns), 1),
        )

    def _seconds(self, stamps_ns: Any) -> Any:
        return (stamps_ns - self.first_ns) / NANOSECONDS_PER_SECOND

    def _against_truth(self, stamp_ns: int, position: Float64Array, covariance: Float64Array) -> tuple[Any, ...]:
        east, north, yaw = self.states.at(self._seconds(stamp_ns))
        axes = forward_right_axes(yaw)
        return stamp_ns, axes @ (position - [east, north]), axes @ covariance @ axes.T


def _poses(rows: Sequence[tuple[Any, ...]]) -> Poses:
    return Poses(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.float64).reshape(-1, 2),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 2, 2),
    )


def figures_of(drives: Sequence[DriveAnswers]) -> dict[str, Any]:
    """Computes the figures of drives with the same model under the same disturbance.

    The fixed keys (see `metrics.Figures`) are of the track after each frame; those of what is published are under
    `published`, and None where nothing is.
    """
    frames = sum(len(drive.stamps_ns) for drive in drives)
    outcomes = Counter(outcome for drive in drives for outcome in drive.outcomes)
    result: dict[str, Any] = {
        "frames": frames,
        "tracked": sum(len(drive.track.stamps_ns) for drive in drives),
        "distance_m": sum(float(drive.driven_m[-1]) for drive in drives),
        "availability": sum(drive.availability * len(drive.stamps_ns) for drive in drives) / frames,
        "outcomes": {name: count / frames for name, count in sorted(outcomes.items())},
        "states": {state.value: _share(state.value, drives) for state in TrackState},
        "lost": _lost_figures(drives),
        "vouched_for": _vouched_figures([drive.vouched_for for drive in drives]),
        "inputs_rejected": sum(drive.inputs_rejected for drive in drives),
        "published": _published_figures([drive.published for drive in drives]),
        "drives": [drive.figures() for drive in drives],
    }
    tracks = [drive.track for drive in drives if len(drive.track.stamps_ns)]
    if tracks:
        errors = np.concatenate([track.errors_m for track in tracks])
        covariances = np.concatenate([track.covariances for track in tracks])
        result |= {key: value for key, value in figures(errors, covariances).items() if key != "frames"}
        result["max_error_m"] = float(np.hypot(*errors.T).max())
        result |= _intervals(tracks)
    return result


def _intervals(tracks: Sequence[Poses]) -> dict[str, tuple[float, float]]:
    """Computes the 95 % intervals of the main figures over other drives; none of one drive alone."""
    limit = chi_square_quantile(_LEVEL_95, _BOTH_AXES)
    wanted: dict[str, tuple[Iterable[Float64Array], Callable[[Float64Array], Any]]] = {
        "rmse_m": ((t.distance_m**2 for t in tracks), lambda square: np.sqrt(square.mean())),
        "anees": ((t.nees / _BOTH_AXES for t in tracks), np.mean),
        "coverage_95": (((t.nees <= limit).astype(np.float64) for t in tracks), np.mean),
    }
    found = {name: resampled_interval(list(groups), statistic) for name, (groups, statistic) in wanted.items()}
    return {f"{name}_interval": interval for name, interval in found.items() if interval is not None}


def _share(state: str, drives: Sequence[DriveAnswers]) -> float:
    """The share of frames after which the track was in a state."""
    frames = sum(len(drive.states) for drive in drives)
    return sum(drive.states.count(state) for drive in drives) / frames


def _lost_figures(drives: Sequence[DriveAnswers]) -> dict[str, Any]:
    """Computes how many drives were called lost, and after which time and way by the median; None where none was."""
    found = [lost for lost in (drive.until_lost for drive in drives) if lost is not None]
    after_s, after_m = (float(v) for v in np.median(found, axis=0)) if found else (None, None)
    return {"drives": len(found), "median_after_s": after_s, "median_after_m": after_m}


def _vouched_figures(vouched: Sequence[Poses]) -> dict[str, Any]:
    """Computes the few figures of the track where it is not called lost; None where it always is."""
    nees = np.concatenate([poses.nees for poses in vouched])
    if not len(nees):
        return dict.fromkeys(("rmse_m", "anees", "coverage_95", "largest_sigmas"))
    distance = np.concatenate([poses.distance_m for poses in vouched])
    return {
        "rmse_m": float(np.sqrt(np.mean(distance**2))),
        "anees": float(nees.mean() / _BOTH_AXES),
        "coverage_95": float(np.mean(nees <= chi_square_quantile(_LEVEL_95, _BOTH_AXES))),
        "largest_sigmas": float(np.sqrt(nees.max())),
    }


def _published_figures(published: Sequence[Poses]) -> dict[str, Any]:
    """Computes what a filter sees that takes the published poses."""
    count = sum(len(poses.stamps_ns) for poses in published)
    result: dict[str, Any] = {"count": count, "mean_error_m": None, "anees": None, "beyond_999": None}
    result |= {"largest_sigmas": _largest_sigmas(published), "beyond_5_sigma": 0}
    if count:
        nees = np.concatenate([poses.nees for poses in published])
        result["mean_error_m"] = float(np.concatenate([poses.distance_m for poses in published]).mean())
        result["anees"] = float(nees.mean() / _BOTH_AXES)
        result["beyond_999"] = float(np.mean(nees > chi_square_quantile(BEYOND, _BOTH_AXES)))
        result["beyond_5_sigma"] = int((nees > FAR_SIGMAS**2).sum())
    return result


def _largest_sigmas(published: Sequence[Poses]) -> float | None:
    """The largest error of poses in their own standard deviations; None where there is none."""
    nees = np.concatenate([poses.nees for poses in published])
    return float(np.sqrt(nees.max())) if len(nees) else None
