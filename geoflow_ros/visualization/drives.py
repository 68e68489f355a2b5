"""Simulated drives as a picture: how far the track is off, against what it says, and what it calls itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.visualization.plots import FIX, TRACK, pyplot, save_figure

_STATES = {"TRACKING": "#009e73", "DEGRADED": "#e69f00", "LOST": "#b2182b", "WAITING": "#999999"}
_NO_STATE = "#ffffff"
_STRIP = 0.07  # of a panel's height: where the states are
_LEAST_LIMIT_M, _MOST_LIMIT_M = 2.5, 40.0  # of the vertical axis
_PANEL_IN = (6.4, 1.9)


@dataclass(frozen=True, eq=False)
class TrackErrors:
    """One drive's track against the truth.

    Attributes:
        caption: which drive, in a few words.
        driven_m: (n,) from its beginning, ascending.
        errors_m: (n, 2) forward and right.
        sigmas_m: (n, 2) standard deviations of the same.
        states: (n,) what the localizer calls its pose: TRACKING, DEGRADED, LOST or WAITING.
    """

    caption: str
    driven_m: Float64Array
    errors_m: Float64Array
    sigmas_m: Float64Array
    states: Sequence[str]


def drives_picture(title: str, rows: Mapping[str, Mapping[str, TrackErrors]], path: Path) -> None:
    """Draws errors forward and to the right over the driven way, each with its ±σ, and the states below.

    Args:
        title: of the whole.
        rows: one for each disturbance, by its name: a drive of each model, by its name.
        path: the picture to write.

    Raises:
        InputError: matplotlib is not installed, or the place cannot be written.
    """
    plt = pyplot()
    models = list(dict.fromkeys(model for of_models in rows.values() for model in of_models))
    width, height = _PANEL_IN
    figure, axes = plt.subplots(
        len(rows),
        len(models),
        figsize=(width * len(models), height * len(rows) + 1.0),
        squeeze=False,
        layout="constrained",
    )
    for panels, (name, of_models) in zip(axes, rows.items(), strict=True):
        for panel, model in zip(panels, models, strict=True):
            panel.set_title(f"{model}, {name.replace('_', ' ')}", loc="left", fontsize=9, weight="bold")
            if model in of_models:
                _draw(panel, of_models[model])
        panels[0].set_ylabel("error, m", fontsize=8)
    for panel in axes[-1]:
        panel.set_xlabel("driven, m", fontsize=8)
    figure.legend(handles=_legend_handles(plt), loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)


def _draw(axes: Any, track: TrackErrors) -> None:
    """Draws one drive."""
    for axis, colour in enumerate((FIX, TRACK)):
        sigma = track.sigmas_m[:, axis]
        axes.fill_between(track.driven_m, -sigma, sigma, color=colour, alpha=0.22, lw=0)
        axes.plot(track.driven_m, track.errors_m[:, axis], color=colour, lw=1.3)
    axes.axhline(0.0, color="grey", lw=0.6)
    seen = np.concatenate([np.abs(track.errors_m), track.sigmas_m])
    limit = float(np.clip(1.15 * seen.max(initial=0.0), _LEAST_LIMIT_M, _MOST_LIMIT_M))
    axes.set_ylim(-limit * (1.0 + 2.0 * _STRIP), limit)
    for first, last, state in _spans(track):
        axes.axvspan(first, last, 0.0, _STRIP, color=_STATES.get(state, _NO_STATE), lw=0)
    axes.set_title(track.caption, loc="right", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _spans(track: TrackErrors) -> list[tuple[float, float, str]]:
    """From where to where on the way the track was in a state."""
    if not len(track.states):
        return []
    changes = [k for k in range(1, len(track.states)) if track.states[k] != track.states[k - 1]]
    firsts, lasts = [0, *changes], [*changes, len(track.states) - 1]
    return [
        (float(track.driven_m[first]), float(track.driven_m[last]), track.states[first])
        for first, last in zip(firsts, lasts, strict=True)
    ]


def _legend_handles(plt: Any) -> list[Any]:
    lines = [plt.Line2D([], [], color=colour, lw=2, label=f"{name}, band: ±σ") for name, colour in (
        ("error forward", FIX), ("error to the right", TRACK)
    )]  # fmt: skip
    return [*lines, *(plt.Line2D([], [], color=colour, lw=6, label=state) for state, colour in _STATES.items())]
