"""The paper's ablations: the same pairs with other numbers of hypotheses and iterations, and with other steps."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends import Backend
from geoflow_ros.backends.host_frames import refine
from geoflow_ros.bundle import IrsSettings
from geoflow_ros.evaluation.metrics import figures
from geoflow_ros.evaluation.tables import metres, table
from geoflow_ros.inference.irs import mean_estimate, sample_hypotheses
from geoflow_ros.progress import with_progress

# The paper's two ablation tables, (N, R), and the single hypothesis moved once.
ITERATION_ABLATION = ((10, 1), (10, 3), (10, 5), (10, 10))
HYPOTHESIS_ABLATION = ((1, 5), (10, 5), (20, 5))
SINGLE = ((1, 1),)
STEPS = (0.3, 0.5, 0.7, 1.0)
_HEAD_BATCH = 4  # as many cameras as every back end takes
_HEADER = ("mean m", "median m", "lateral m", "longitud. m", "@1m %")


@dataclass(frozen=True)
class AblationRow:
    """The figures of one setting of the refinement."""

    settings: IrsSettings
    figures: dict[str, Any]


def ablate(
    engine: Backend,
    features: Float32Array,
    offsets_m: Float64Array,
    search_radius_m: float,
    default: IrsSettings,
    progress: bool = False,
) -> tuple[AblationRow, ...]:
    """Measures every setting of the tables on pairs that are encoded already.

    Args:
        engine: runs the head.
        features: (n, d) joint features of the pairs.
        offsets_m: (n, 2) the true positions, (forward, right) in metres from the patch centres.
        search_radius_m: half the side of the search square.
        default: the step of the tables over N and R, N and R of the table over steps.
        progress: show a progress bar on standard error.
    """
    choices = [IrsSettings(n, r, default.step) for n, r in (*ITERATION_ABLATION, *HYPOTHESIS_ABLATION, *SINGLE)]
    choices += [IrsSettings(default.hypotheses, default.iterations, step) for step in STEPS]
    truth = offsets_m / search_radius_m
    rows = []
    for settings in with_progress(list(dict.fromkeys(choices)), "ablation", "settings", is_shown=progress):
        answers = [
            mean_estimate(refine(engine, batch, start, settings.step, settings.iterations)[-1])
            for batch, start in _batches(features, settings.hypotheses)
        ]
        rows.append(AblationRow(settings, dict(figures((np.concatenate(answers) - truth) * search_radius_m))))
    return tuple(rows)


def ablation_tables(rows: Sequence[AblationRow], default: IrsSettings) -> list[str]:
    """Formats the tables over iterations, hypotheses and steps; `rows` and `default` as in `ablate`."""
    n, r = default.hypotheses, default.iterations
    by_step = {f"step {step:g}": IrsSettings(n, r, step) for step in STEPS}
    return [
        _table("iterations, N = 10", _by_counts(ITERATION_ABLATION, default.step), rows),
        _table("hypotheses, R = 5", _by_counts(HYPOTHESIS_ABLATION + SINGLE, default.step), rows),
        _table(f"step, N = {n}, R = {r}", by_step, rows),
    ]


def _by_counts(choices: Iterable[tuple[int, int]], step: float) -> dict[str, IrsSettings]:
    return {f"N = {n}, R = {r}": IrsSettings(n, r, step) for n, r in choices}


def _table(title: str, choices: dict[str, IrsSettings], rows: Sequence[AblationRow]) -> str:
    measured = {row.settings: row.figures for row in rows}
    return table([title, *_HEADER], [[name, *_cells(measured[settings])] for name, settings in choices.items()])


def _cells(f: dict[str, Any]) -> list[str]:
    lengths = ("mean_error_m", "median_error_m", "lateral_mean_error_m", "longitudinal_mean_error_m")
    return [*[metres(f[key]) for key in lengths], f"{100 * f['recall_1m']:.1f}"]


def _batches(features: Float32Array, hypotheses: int) -> Iterator[tuple[Float32Array, Float32Array]]:
    """Yields features (b, d) and the start hypotheses (b, N, 2) that `GeoFlowLocalizer` samples for each frame."""
    for first in range(0, len(features), _HEAD_BATCH):
        batch = features[first : first + _HEAD_BATCH]
        starts = [sample_hypotheses(1, hypotheses, 0, first + offset) for offset in range(len(batch))]
        yield batch, np.concatenate(starts)
