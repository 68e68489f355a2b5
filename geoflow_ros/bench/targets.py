"""The package's performance targets, and whether a run met them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FULL_SIZE = (512, [256, 1024])  # patch and camera image, px
N, R = 10, 5


@dataclass(frozen=True)
class Target:
    """One figure and its limit.

    Attributes:
        what: the figure in words, with the unit.
        measured: None where it was left out.
        limit: what it should reach.
        at_least: whether the limit is a lower one.
        met: None where it was not measured.
        applies: whether the run was under the target's conditions: full-size images, N = 10, R = 5.
    """

    what: str
    measured: float | None
    limit: float
    at_least: bool
    met: bool | None
    applies: bool


def assess(result: Mapping[str, Any]) -> list[Target]:
    """Compares a finished run (`run.run_bench`) with the targets, for its quickest back end."""
    model, settings = result["model"], result["settings"]
    applies = (model["satellite_px"], model["ground_px"]) == FULL_SIZE
    applies = applies and (settings["hypotheses"], settings["iterations"]) == (N, R)
    quickest = result["backends"][result["quickest"]]
    start, torch = quickest["start"], result["torch"]
    sweep, drive, soak = quickest["sweep"], result["patch_change"], result["soak"]
    later = None if start is None else start["later"]
    authors = None if torch is None or not torch["authors"]["whole_frames"] else torch["authors"]["ratio"]
    figures: list[tuple[str, float | None, float, bool]] = [
        ("frames a second, JPEG to fix", quickest["kept_patch"]["frames_per_second"], 29.49, True),
        ("refinement, % of the frame", 100.0 * quickest["refinement_share"], 5.0, False),
        ("cost of N = 1000 over N = 10", None if sweep is None else sweep["ratio_1000_to_10_hypotheses"], 2.0, False),
        ("times quicker than the authors' way, both on the CPU", authors, 500.0, True),
        ("frames late with a new patch", None if drive is None else drive["most_frames_late"], 2.0, False),
        ("seconds to the first answer", None if later is None else later["wall_s"], 3.0, False),
        ("resident memory of a process without ROS, MB", _megabytes(later), 400.0, False),
        ("growth, MiB in 1000 frames", None if soak is None else soak["slope_mib_per_1000"], 0.1, False),
    ]
    return [
        Target(what, value, limit, at_least, _met(value, limit, at_least), applies)
        for what, value, limit, at_least in figures
    ]


def _met(value: float | None, limit: float, at_least: bool) -> bool | None:
    if value is None:
        return None
    return value >= limit if at_least else value <= limit


def _megabytes(start: Mapping[str, Any] | None) -> float | None:
    if start is None or start["peak_rss_mib"] is None:
        return None
    return float(start["peak_rss_mib"] * 2**20 / 1e6)
