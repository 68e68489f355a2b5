"""What a vehicle localizer answered on a replayed drive, a few hundred bytes a frame, and its figures."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geoflow_ros.arrays import BoolArray, Float64Array, Int64Array
from geoflow_ros.evaluation.bag import availability
from geoflow_ros.evaluation.drive_answers import PUBLISHED, THINNED
from geoflow_ros.evaluation.metrics import consistency, figures, timing, trajectory_figures, yaw_figures
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.localization import FrameRejected, InputRejected, VehicleFix
from geoflow_ros.tracking import TrackedPose, TrackState
from geoflow_ros.tracking.trajectory import Trajectory

COLUMNS = (
    *("east_m", "north_m", "yaw_rad", "var_east_m2", "cov_east_north_m2", "var_north_m2", "var_yaw_rad2"),
    *("latitude_deg", "longitude_deg", "track_east_m", "track_north_m", "track_yaw_rad"),
    *("track_var_east_m2", "track_cov_east_north_m2", "track_var_north_m2"),
    *("patch_east_m", "patch_north_m", "patch_yaw_rad"),
)
"""What is kept of a frame: of the fix (base_link), of the track, and the patch that the fix was found on."""

_FIX, _TRACK = COLUMNS.index("east_m"), COLUMNS.index("track_east_m")


@dataclass(eq=False)
class AnswerRecorder:
    """Takes answers one by one.

    Attributes:
        inputs_rejected: other inputs that were not taken, by the reason.
        examples: the first detail of each reason.
    """

    inputs_rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    _stamps: array[int] = field(default_factory=lambda: array("q"))
    _values: array[float] = field(default_factory=lambda: array("d"))
    _ms: array[float] = field(default_factory=lambda: array("d"))
    _outcomes: list[str] = field(default_factory=list)
    _states: list[str] = field(default_factory=list)

    def add(
        self,
        stamp_ns: int,
        answer: VehicleFix | FrameRejected,
        track: TrackedPose | None,
        state: TrackState,
        took_ms: float,
    ) -> None:
        """Adds what became of a frame.

        Args:
            stamp_ns: of the frame.
            answer: to it.
            track: after it, if there is one.
            state: of the track after it.
            took_ms: wall clock.
        """
        row = np.full(len(COLUMNS), np.nan)
        if isinstance(answer, VehicleFix):
            c, frame = answer.covariance, answer.patch.frame
            row[:9] = (
                *(*answer.position_m, answer.yaw_rad, c[0, 0], c[0, 1], c[1, 1], c[2, 2]),
                *(answer.latitude_deg, answer.longitude_deg),
            )
            row[15:] = frame.centre_east_m, frame.centre_north_m, frame.yaw_rad
            outcome = PUBLISHED if answer.is_news else THINNED
        else:
            outcome = answer.reason.value
            self.examples.setdefault(outcome, answer.detail)
        if track is not None:
            c = track.covariance
            row[9:15] = track.east_m, track.north_m, track.yaw_rad, c[0, 0], c[0, 1], c[1, 1]
        self._stamps.append(stamp_ns)
        self._values.extend(row.tolist())
        self._ms.append(took_ms)
        self._outcomes.append(outcome)
        self._states.append(state.value)

    def add_rejected_input(self, rejected: InputRejected) -> None:
        """Counts an input that is no frame and was not taken."""
        self.inputs_rejected[rejected.reason.value] += 1
        self.examples.setdefault(rejected.reason.value, rejected.detail)

    def done(self, truth: Trajectory | None) -> ReplayAnswers:
        """Returns what was added, as arrays, beside the truth."""
        stamps_ns = np.array(self._stamps, np.int64)
        values = np.array(self._values, np.float64).reshape(-1, len(COLUMNS))
        true_poses = np.full((len(stamps_ns), 3), np.nan)
        if truth is not None and len(stamps_ns):
            within = (stamps_ns >= truth.stamps_ns[0]) & (stamps_ns <= truth.stamps_ns[-1])
            positions, yaws = truth.at(stamps_ns[within])
            true_poses[within] = np.column_stack([positions, yaws])
        return ReplayAnswers(
            stamps_ns, tuple(self._outcomes), tuple(self._states), values, true_poses, np.array(self._ms)
        )


@dataclass(frozen=True, eq=False)
class ReplayAnswers:
    """A replayed drive.

    Attributes:
        stamps_ns: (k,) of the frames.
        outcomes: (k,) published, thinned or the reason of a rejection.
        states: (k,) of the track after each.
        values: (k, n) see `COLUMNS`; NaN where there is none.
        truth: (k, 3) true east, north and yaw at each; NaN where it is not known.
        took_ms: (k,) wall clock.
    """

    stamps_ns: Int64Array
    outcomes: tuple[str, ...]
    states: tuple[str, ...]
    values: Float64Array
    truth: Float64Array
    took_ms: Float64Array

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def has_fix(self) -> BoolArray:
        """(k,) which frames gave a pose."""
        return np.asarray(~np.isnan(self.values[:, _FIX]))

    @property
    def has_track(self) -> BoolArray:
        """(k,) after which frames there is a track."""
        return np.asarray(~np.isnan(self.values[:, _TRACK]))

    @property
    def has_truth(self) -> BoolArray:
        """(k,) at which frames the truth is known."""
        return np.asarray(~np.isnan(self.truth[:, 0]))

    def column(self, name: str) -> Float64Array:
        """(k,) of a name of `COLUMNS`."""
        return np.asarray(self.values[:, COLUMNS.index(name)])

    def poses(self, of_track: bool = False) -> tuple[Float64Array, Float64Array]:
        """Returns (k, 3) east, north and yaw of the fixes or the track, and the (k, 2, 2) covariances."""
        first = _TRACK if of_track else _FIX
        var_e, cov, var_n = self.values[:, first + 3 : first + 6].T
        matrices = np.stack([np.stack([var_e, cov], -1), np.stack([cov, var_n], -1)], -2)
        return self.values[:, first : first + 3], matrices

    def errors(self, of_track: bool = False) -> tuple[Float64Array, Float64Array]:
        """Returns (k, 2) errors and (k, 2, 2) covariances as (forward, right) of the truth; NaN where unknown."""
        poses, covariances = self.poses(of_track)
        axes = forward_right_axes(np.nan_to_num(self.truth[:, 2]))
        errors = np.einsum("nij,nj->ni", axes, poses[:, :2] - self.truth[:, :2])
        return errors, axes @ covariances @ axes.transpose(0, 2, 1)

    def figures(self) -> dict[str, Any]:
        """Computes the fixed keys of the fixes (`metrics.Figures`), beside them those of the track, and the counts."""
        fixed_ns = self.stamps_ns[self.has_fix]
        available = availability(self.stamps_ns, np.stack([fixed_ns, fixed_ns], axis=1))
        result: dict[str, Any] = {
            "frames": len(self),
            "fixes": int(self.has_fix.sum()),
            "published": self.outcomes.count(PUBLISHED),
            "availability": available,
            "duration_s": float(self.stamps_ns[-1] - self.stamps_ns[0]) * 1e-9 if len(self) else 0.0,
            "outcomes": dict(sorted(Counter(self.outcomes).items())),
            "states": dict(sorted(Counter(self.states).items())),
        }
        if len(self):
            result |= timing(self.took_ms)
        compared = self.has_fix & self.has_truth
        if compared.any():
            errors, covariances = self.errors()
            result |= {
                key: value
                for key, value in figures(errors[compared], covariances[compared], available).items()
                if key != "frames"
            }
            result["compared_with_truth"] = int(compared.sum())
            result |= yaw_figures(self.values[compared, _FIX + 2] - self.truth[compared, 2])
        tracked = self.has_track & self.has_truth
        if tracked.any():
            errors, covariances = self.errors(of_track=True)
            of_track = consistency(errors[tracked], covariances[tracked])
            result["track"] = {**trajectory_figures(errors[tracked]), **of_track}
        return result
