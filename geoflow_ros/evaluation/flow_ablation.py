"""The paper's table of ablations: dense flow from zero without one of its parts, each trained alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from geoflow_ros.evaluation.tables import metres, table
from geoflow_ros.model import read_metadata
from geoflow_ros.model.dense_flow import ABLATIONS
from geoflow_ros.training.methods import FLOW_FROM_ZERO, ablated
from geoflow_ros.training.run import SyntheticTraining, train_synthetic
from geoflow_ros.training.trainer import STATE_NAME
from geoflow_ros.world.pairs import Area

WHOLE = "whole"
_FIGURES = ("mean_error_m", "median_error_m", "yaw_mean_error_deg", "yaw_median_error_deg")
_HEADER = ("mean m", "median m", "yaw mean deg", "yaw median deg")


def ablate_flow(settings: SyntheticTraining) -> dict[str, Mapping[str, Any]]:
    """Trains the method and each of its ablations from one seed for equally many steps, and measures each at its end.

    What is in the folder already is not trained again, and what was interrupted goes on.

    Args:
        settings: of every training; `out` is the folder of their folders, and `steps` must be given.

    Returns:
        The figures of the validation by what is left out, "whole" being nothing. One that was interrupted again ends
        the table.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    methods = {WHOLE: FLOW_FROM_ZERO, **{f"without {name.replace('_', ' ')}": ablated(name) for name in ABLATIONS}}
    for name, method in methods.items():
        out = settings.out / method
        result = train_synthetic(
            replace(settings, method=method, out=out, validate_every=settings.steps, resume=(out / STATE_NAME).exists())
        )
        if not result.is_finished or result.best_checkpoint is None:
            break
        rows[name] = read_metadata(result.best_checkpoint)["validation"]
    return rows


def flow_ablation_tables(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Formats a table an area; `rows` as from `ablate_flow`."""
    return [
        table(
            [f"{area.value} area", *_HEADER],
            [[name, *(metres(figures[f"{area.value}_{key}"]) for key in _FIGURES)] for name, figures in rows.items()],
        )
        for area in Area
    ]
