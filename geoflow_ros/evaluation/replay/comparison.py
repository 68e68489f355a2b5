"""Models on the same recorded drive: each one's replay, and what the difference of their errors is worth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.bundle import Bundle
from geoflow_ros.evaluation.metrics import resampled_interval
from geoflow_ros.evaluation.replay.answers import ReplayAnswers
from geoflow_ros.evaluation.replay.run import METRICS, ReplayResult, ReplaySettings, replay_bag
from geoflow_ros.resources import model_path

STRETCH_M = 50.0
"""Errors of neighbouring frames are alike (the same patch, street and light): the drive is cut into stretches of this
length, and these are what chance is drawn from."""


@dataclass(frozen=True, eq=False)
class ReplayComparison:
    """Models on the frames of one bag.

    Attributes:
        results: of each model, by its name, in the order in which they were asked for.
        metrics: what `metrics.json` holds: `models`, the figures of each, and `differences`, see `differences`.
        files: that were written.
    """

    results: dict[str, ReplayResult]
    metrics: dict[str, Any]
    files: tuple[Path, ...]


def compare_replays(
    settings: ReplaySettings, others: Sequence[str | Path], say: Callable[[str], object] = lambda line: None
) -> ReplayComparison:
    """Replays a bag with several models, one after the other, from the same start; each leaves a folder of its name.

    Args:
        settings: of all of them, with the first model.
        others: the other models, bundles' folders or shipped ones' names.
        say: takes the lines that say what is used; what is the same for all is said once.

    Raises:
        GeoFlowError: as `replay_bag`; no model is asked before all of them were found.
    """
    models = [settings.model, *others]
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    results: dict[str, ReplayResult] = {}
    for name, model in zip(_names(models), models, strict=True):
        say(f"model        {name}")
        results[name] = replay_bag(replace(settings, model=model, out=settings.out / name), say_once)
    metrics = {
        "models": {name: result.metrics for name, result in results.items()},
        "differences": differences({name: result.answers for name, result in results.items()}),
    }
    path = settings.out / METRICS
    path.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return ReplayComparison(results, metrics, (path, *(file for result in results.values() for file in result.files)))


def differences(answers: dict[str, ReplayAnswers]) -> list[dict[str, Any]]:
    """Computes how much larger each model's mean error is than that of the first, on the frames that both answered.

    The interval is of a paired bootstrap: both models are asked about the same stretches of the drive (Carlstein 1986,
    "The use of subseries values for estimating the variance of a general statistic").

    Args:
        answers: of each model to the same frames, by its name.

    Returns:
        One entry a model after the first and a trajectory (`of`: fixes or track): `frames` that both answered where the
        truth is known, `stretches`, `difference_m` of the mean errors, negative where the model is better than the
        first, and its 95 % `interval_m`; None where there is one stretch only. None where nothing can be compared.
    """
    (first, reference), *others = answers.items()
    return [
        {"model": name, "against": first, "of": what, **_difference(other, reference, of_track)}
        for name, other in others
        for what, of_track in (("fixes", False), ("track", True))
    ]


def _difference(answers: ReplayAnswers, reference: ReplayAnswers, of_track: bool) -> dict[str, Any]:
    distances = [np.linalg.norm(each.errors(of_track)[0], axis=1) for each in (answers, reference)]
    more = distances[0] - distances[1]  # NaN where either did not answer, or the truth is not known
    compared = np.isfinite(more)
    if not compared.any():
        return {"frames": 0, "stretches": 0, "difference_m": None, "interval_m": None}
    numbers = _stretches(reference.truth)[compared]
    groups = [more[compared][numbers == number] for number in np.unique(numbers)]
    interval = resampled_interval(groups, np.mean)
    return {
        "frames": int(compared.sum()),
        "stretches": len(groups),
        "difference_m": float(more[compared].mean()),
        "interval_m": None if interval is None else list(interval),
    }


def _stretches(truth: Float64Array) -> Float64Array:
    """Returns (k,) on which stretch of the drive each frame is; NaN where the truth (k, 3) is not known."""
    known = ~np.isnan(truth[:, 0])
    steps = np.linalg.norm(np.diff(truth[known, :2], axis=0), axis=1)
    numbers = np.full(len(truth), np.nan)
    numbers[known] = np.floor(np.concatenate([[0.0], np.cumsum(steps)]) / STRETCH_M)
    return numbers


def _names(models: Sequence[str | Path]) -> list[str]:
    """Returns the models' names as folders may be called, with a number where one is asked for again."""
    names = [re.sub(r"[^\w-]", "_", Bundle.load(model_path(model)).manifest.name) for model in models]
    return [
        name if name not in names[:index] else f"{name}-{names[:index].count(name) + 1}"
        for index, name in enumerate(names)
    ]
