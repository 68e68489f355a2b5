"""The learning curves of training runs, from what they logged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError
from geoflow_ros.visualization.plots import pyplot, save_figure

_SMOOTHING_ENTRIES = 15


def learning_curves(runs: Mapping[str, Path], path: Path) -> None:
    """Draws the curves of training runs from their `metrics.jsonl`, over the pairs seen, as PNG.

    Left the training loss; right every validation error in metres, and the error on the training pairs (dotted), whose
    distance from the validation is what more worlds could still give.

    Args:
        runs: the label of each run and its folder (or the file itself).
        path: the PNG to write.

    Raises:
        InputError: a run without a readable `metrics.jsonl`.
    """
    plt = pyplot()
    curves = {label: read_metrics(source) for label, source in runs.items()}
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.0, 4.6))
    for label, entries in curves.items():
        pairs, loss = _series(entries, "loss")
        left.plot(pairs, _smooth(loss), lw=1.2, label=label)
        pairs, error = _series(entries, "train_error_m")
        right.plot(pairs, _smooth(error), ":", color="grey", lw=1.2, label=f"{label}: training pairs, mean")
        for key in validation_keys(entries):
            right.plot(*_series(entries, key), marker=".", lw=1.3, label=f"{label}: {key}")
    left.set(xlabel="training pairs", ylabel="training loss (running mean)")
    right.set(xlabel="training pairs", ylabel="error, m", yscale="log")
    right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for panel in (left, right):
        panel.grid(alpha=0.3, which="both")
        panel.legend(fontsize=7)
    save_figure(figure, path)


def validation_keys(entries: list[dict[str, Any]]) -> list[str]:
    """Returns the keys of a run's mean validation errors in metres, of every protocol and axis."""
    keys = {key for entry in entries for key in entry}
    return sorted(key for key in keys if key.endswith("mean_error_m"))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Reads the entries of a training run's `metrics.jsonl`, one dictionary a line.

    A last line that was cut off (the run was killed while it wrote) is left out.

    Raises:
        InputError: no such file, or nothing in it that can be read.
    """
    source = run / "metrics.jsonl" if run.is_dir() else run
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"no learning curve at {source}: {error.strerror or error}") from None
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines):
                break
            raise InputError(f"line {number} of {source} is not JSON: the file is damaged") from None
        if isinstance(entry, dict):
            entries.append(entry)
    if not entries:
        raise InputError(f"{source} holds no entries yet")
    return entries


def _series(entries: list[dict[str, Any]], key: str) -> tuple[Float64Array, Float64Array]:
    """Returns pairs seen and values of a key, (n,) each; validation has the pairs of the training entry before it."""
    pairs, points = 0.0, []
    for entry in entries:
        pairs = float(entry.get("pairs", pairs))
        if isinstance(entry.get(key), (int, float)):
            points.append((pairs, float(entry[key])))
    values = np.array(points, dtype=np.float64).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def _smooth(values: Float64Array, window: int = _SMOOTHING_ENTRIES) -> Float64Array:
    """Returns the mean of the last `window` values, (n,); of fewer at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))
