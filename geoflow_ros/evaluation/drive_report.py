"""The figures of drives as tables and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from geoflow_ros.evaluation.drive_answers import PUBLISHED, THINNED, DriveAnswers, figures_of
from geoflow_ros.evaluation.drive_protocol import DriveProtocol
from geoflow_ros.evaluation.tables import metres, share, table
from geoflow_ros.tracking import TrackState


@dataclass(frozen=True, eq=False)
class DrivesReport:
    """What models made of the same drives.

    Attributes:
        protocol: which.
        answers: of each model, by disturbance: a drive after the other.
        rendered_per_second: camera frames; of the wall clock, and so not among the plain values.
    """

    protocol: DriveProtocol
    answers: Mapping[str, Mapping[str, Sequence[DriveAnswers]]]
    rendered_per_second: float

    @cached_property
    def runs(self) -> list[dict[str, Any]]:
        """The figures of every model under every disturbance (see `drive_answers.figures_of`), with their names."""
        return [
            {"model": model, "disturbed": name, **figures_of(drives)}
            for model, of_model in self.answers.items()
            for name, drives in of_model.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """Returns plain values: the same for the same drives and models, on every run."""
        p = self.protocol
        return {
            "area": p.area.value,
            "conditions": p.conditions.name,
            "photometric": p.photometric,
            "split": p.split.name.lower(),
            "seed": p.seed,
            "seconds": p.seconds,
            "camera_frames_per_second": p.rate_hz,
            "runs": self.runs,
        }

    def text(self) -> str:
        """Formats the tables that the command prints."""
        tables = self._track_table(), self._published_table(), self._state_table(), self._outcome_table()
        return "\n\n".join([self.protocol.title, *tables, self._speed()])

    def worst(self) -> dict[str, dict[str, DriveAnswers]]:
        """Returns, by disturbance and model, the drive whose track was off most: one that is worth a look."""
        names = dict.fromkeys(name for of_model in self.answers.values() for name in of_model)
        return {
            name: {
                model: max(of_model[name], key=lambda drive: drive.track.rmse_m or 0.0)
                for model, of_model in self.answers.items()
            }
            for name in names
        }

    def _track_table(self) -> str:
        header = ["track after every frame", "RMSE m", "95 % interval", "median m", "p95 m"]
        header += ["NEES/2", "interval", "in 95 %", "interval", "available %"]
        rows = [
            [
                _named(run), metres(run.get("rmse_m")), _interval(run, "rmse_m"),
                metres(run.get("median_error_m")), metres(run.get("p95_error_m")),
                metres(run.get("anees")), _interval(run, "anees"),
                share(run.get("coverage_95")), _interval(run, "coverage_95", 100.0), share(run["availability"]),
            ]
            for run in self.runs
        ]  # fmt: skip
        return table(header, rows)

    def _published_table(self) -> str:
        header = ["published poses", "number", "mean m", "NEES/2", "beyond 99.9 %", "largest sigmas", "beyond 5 sigma"]
        rows = []
        for run in self.runs:
            p = run["published"]
            rows.append([
                _named(run), str(p["count"]), metres(p["mean_error_m"]), metres(p["anees"]), share(p["beyond_999"]),
                metres(p["largest_sigmas"]), str(p["beyond_5_sigma"]),
            ])  # fmt: skip
        return table(header, rows)

    def _state_table(self) -> str:
        header = ["states, % of the frames", *(state.value for state in TrackState)]
        header += ["drives lost", "after s", "after m"]
        header += ["not lost: RMSE m", "NEES/2", "in 95 %", "largest sigmas"]
        rows = []
        for run in self.runs:
            lost, vouched = run["lost"], run["vouched_for"]
            rows.append([
                _named(run), *(share(run["states"][state.value]) for state in TrackState),
                f"{lost['drives']} of {len(run['drives'])}", metres(lost["median_after_s"]),
                metres(lost["median_after_m"]), metres(vouched["rmse_m"]), metres(vouched["anees"]),
                share(vouched["coverage_95"]), metres(vouched["largest_sigmas"]),
            ])  # fmt: skip
        return table(header, rows)

    def _outcome_table(self) -> str:
        found = {name for run in self.runs for name in run["outcomes"]}
        names = [name for name in (PUBLISHED, THINNED) if name in found]
        names += sorted(found - set(names))
        header = ["frames, %", *(name.replace("_", " ") for name in names)]
        rows = [[_named(run), *(share(run["outcomes"].get(name, 0.0)) for name in names)] for run in self.runs]
        return table(header, rows)

    def _speed(self) -> str:
        """Returns what the wall clock said, in a line."""
        took = []
        for model, of_model in self.answers.items():
            per_frame = [drive.seconds_per_frame for drives in of_model.values() for drive in drives]
            took.append(f"{model} {1e3 * sum(per_frame) / len(per_frame):.0f} ms a frame")
        return f"rendered {self.rendered_per_second:.1f} frames a second; {', '.join(took)}, decoding included"


def _named(run: Mapping[str, Any]) -> str:
    return f"{run['model']}, {run['disturbed'].replace('_', ' ')}"


def _interval(run: Mapping[str, Any], key: str, scale: float = 1.0) -> str:
    """The interval of a figure; a dash where there is none."""
    found = run.get(f"{key}_interval")
    digits = 2 if scale == 1.0 else 1
    return "-" if found is None else f"{scale * found[0]:.{digits}f}..{scale * found[1]:.{digits}f}"
