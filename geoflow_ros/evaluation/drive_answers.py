"""What a vehicle localizer answered on a drive, frame by frame, and the figures of several drives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

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
LOST = TrackState.LOST.value
_BOTH_AXES = 2
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

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @classmethod
    def of(cls, rows: Sequence[tuple[int, Float64Array, Float64Array]]) -> Poses:
        """Makes poses of rows of a stamp, an error (2,) and a covariance (2, 2)."""
        return cls(
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows], np.float64).reshape(-1, 2),
            np.array([row[2] for row in rows], np.float64).reshape(-1, 2, 2),
        )

    @classmethod
    def joined(cls, parts: Sequence[Poses]) -> Poses:
        """Makes one of several, at least one."""
        fields = ("stamps_ns", "errors_m", "covariances")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))

    def take(self, kept: npt.NDArray[np.bool_]) -> Poses:
        """Returns those that are kept, (n,)."""
        return Poses(self.stamps_ns[kept], self.errors_m[kept], self.covariances[kept])

    @property
    def distance_m(self) -> Float64Array:
        """(n,) from the truth."""
        return np.asarray(np.hypot(*self.errors_m.T))

    @property
    def rmse_m(self) -> float | None:
        """Root mean square of the distance; None without poses."""
        return float(np.sqrt(np.mean(self.distance_m**2))) if len(self) else None

    @property
    def nees(self) -> Float64Array:
        """(n,) squared errors in standard deviations, over both axes."""
        return np.asarray(np.einsum("ni,nij,nj->n", self.errors_m, np.linalg.inv(self.covariances), self.errors_m))

    @property
    def anees(self) -> float | None:
        """Mean of `nees` over the number of axes (truthful: 1); None without poses."""
        return float(self.nees.mean() / _BOTH_AXES) if len(self) else None

    @property
    def largest_sigmas(self) -> float | None:
        """The largest error in its own standard deviations; None without poses."""
        return float(np.sqrt(self.nees.max())) if len(self) else None

    def share_within(self, level: float) -> float | None:
        """Share of errors inside the ellipse that should hold a share of them; None without poses."""
        return float(np.mean(self.nees <= chi_square_quantile(level, _BOTH_AXES))) if len(self) else None

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
        return self.track.take(np.array([self.states[frame] != LOST for frame in self.track_frames], bool))

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
        frames, rmse_m = self.track_frames, self.track.rmse_m
        caption = f"seed {self.seed}" + ("" if rmse_m is None else f", RMSE {rmse_m:.1f} m")
        states = [self.states[frame] for frame in frames]
        return caption, self.driven_m[frames], self.track.errors_m, self.track.sigmas_m, states

    def figures(self) -> dict[str, Any]:
        """Computes the few figures of the drive that a person looks for where one drive is odd."""
        return {
            "seed": self.seed,
            "distance_m": float(self.driven_m[-1]),
            "rmse_m": self.track.rmse_m,
            "anees": self.track.anees,
            "published": len(self.published),
            "published_largest_sigmas": self.published.largest_sigmas,
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
        return DriveAnswers(
            seed=self.seed,
            first_ns=self.first_ns,
            onset_s=self.onset_s,
            stamps_ns=stamps_ns,
            driven_m=np.interp(self._seconds(stamps_ns), states.t_s, states.driven_m),
            outcomes=tuple(self._outcomes),
            states=tuple(self._called),
            track=Poses.of(self._track),
            track_frames=np.array(self._track_frames, np.int64),
            published=Poses.of(self._published),
            inputs_rejected=self._inputs_rejected,
            seconds_per_frame=seconds / max(len(self._stamps_ns), 1),
        )

    def _seconds(self, stamps_ns: Any) -> Any:
        return (stamps_ns - self.first_ns) / NANOSECONDS_PER_SECOND

    def _against_truth(self, stamp_ns: int, position: Float64Array, covariance: Float64Array) -> tuple[Any, ...]:
        east, north, yaw = self.states.at(self._seconds(stamp_ns))
        axes = forward_right_axes(yaw)
        return stamp_ns, axes @ (position - [east, north]), axes @ covariance @ axes.T


def figures_of(drives: Sequence[DriveAnswers]) -> dict[str, Any]:
    """Computes the figures of drives with the same model under the same disturbance.

    The fixed keys (see `metrics.Figures`) are of the track after each frame; those of what is published are under
    `published`, and None where nothing is.
    """
    frames = sum(len(drive.stamps_ns) for drive in drives)
    outcomes = Counter(outcome for drive in drives for outcome in drive.outcomes)
    result: dict[str, Any] = {
        "frames": frames,
        "tracked": sum(len(drive.track) for drive in drives),
        "distance_m": sum(float(drive.driven_m[-1]) for drive in drives),
        "availability": sum(drive.availability * len(drive.stamps_ns) for drive in drives) / frames,
        "outcomes": {name: count / frames for name, count in sorted(outcomes.items())},
        "states": {state.value: _share(state.value, drives) for state in TrackState},
        "lost": _lost_figures(drives),
        "vouched_for": _vouched_figures(Poses.joined([drive.vouched_for for drive in drives])),
        "inputs_rejected": sum(drive.inputs_rejected for drive in drives),
        "published": _published_figures(Poses.joined([drive.published for drive in drives])),
        "drives": [drive.figures() for drive in drives],
    }
    tracks = [drive.track for drive in drives if len(drive.track)]
    if tracks:
        track = Poses.joined(tracks)
        of_track = figures(track.errors_m, track.covariances)
        result |= {key: value for key, value in of_track.items() if key != "frames"}
        result["max_error_m"] = float(track.distance_m.max())
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


def _vouched_figures(track: Poses) -> dict[str, Any]:
    """Computes the few figures of the track where it is not called lost; None where it always is."""
    return {
        "rmse_m": track.rmse_m,
        "anees": track.anees,
        "coverage_95": track.share_within(_LEVEL_95),
        "largest_sigmas": track.largest_sigmas,
    }


def _published_figures(poses: Poses) -> dict[str, Any]:
    """Computes what a filter sees that takes the published poses; None where there is none."""
    within = poses.share_within(BEYOND)
    return {
        "count": len(poses),
        "mean_error_m": float(poses.distance_m.mean()) if len(poses) else None,
        "anees": poses.anees,
        "beyond_999": None if within is None else 1.0 - within,
        "largest_sigmas": poses.largest_sigmas,
        "beyond_5_sigma": int((poses.nees > FAR_SIGMAS**2).sum()),
    }
