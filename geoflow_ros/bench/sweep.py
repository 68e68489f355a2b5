"""The cost of more hypotheses and of more iterations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bundle import IrsSettings
from geoflow_ros.inference import GeoFlowLocalizer

HYPOTHESES = (1, 3, 10, 30, 100, 300, 1000)
ITERATIONS = (1, 2, 5, 10, 20)
FEW, MANY, USUAL_ITERATIONS = 10, 1000, 5  # the paper's N and R, and N a hundred times
_WARM_UP = 2  # frames of each setting before each that is counted: a GPU's plan and its graph are made in these


@dataclass(frozen=True)
class SweepPoint:
    """The cost of one setting: medians over frames, in milliseconds, image to fix on a kept patch."""

    hypotheses: int
    iterations: int
    total_ms: float
    refine_ms: float


@dataclass(frozen=True)
class Sweep:
    """All settings, measured in turn, so that a machine that gets slower does so for all alike."""

    points: tuple[SweepPoint, ...]

    def at(self, hypotheses: int, iterations: int) -> SweepPoint:
        """Finds the point of that setting."""
        return next(p for p in self.points if (p.hypotheses, p.iterations) == (hypotheses, iterations))

    @property
    def ratio(self) -> float:
        """Cost of N = 1000 over that of N = 10, R = 5."""
        return self.at(MANY, USUAL_ITERATIONS).total_ms / self.at(FEW, USUAL_ITERATIONS).total_ms

    def as_json(self) -> dict[str, Any]:
        """Returns the ratio and all points as plain values."""
        return {
            "ratio_1000_to_10_hypotheses": self.ratio,
            "points": [
                {"hypotheses": p.hypotheses, "iterations": p.iterations, "ms": p.total_ms, "refine_ms": p.refine_ms}
                for p in self.points
            ],
        }


def settings_of(hypotheses: Sequence[int], iterations: Sequence[int]) -> list[tuple[int, int]]:
    """Returns every N with the usual R and every R with few and with many hypotheses; each once, sorted."""
    chosen = {(n, USUAL_ITERATIONS) for n in (*hypotheses, FEW, MANY)}
    chosen |= {(n, r) for n in (FEW, MANY) for r in iterations}
    return sorted(chosen)


def measure_sweep(
    localizer: GeoFlowLocalizer,
    pictures: Pictures,
    choices: Sequence[tuple[int, int]],
    rounds: int,
    tick: Callable[[], object] = lambda: None,
) -> Sweep:
    """Times every setting once a round, as it runs when it has run before.

    Args:
        localizer: with the back end to measure; its settings are put back afterwards.
        pictures: that are shown.
        choices: (N, R); `settings_of`.
        rounds: how many are counted.
        tick: called after every counted round.
    """
    before = localizer.settings
    image, patch = pictures.decode(), pictures.patch(localizer.manifest)
    times: dict[tuple[int, int], list[tuple[float, float]]] = {choice: [] for choice in choices}
    try:
        for index in range(rounds):
            for choice in choices:
                localizer.settings = IrsSettings(*choice, before.step)
                for _ in range(_WARM_UP):
                    localizer.localize(image, patch, stamp_ns=index)
                timings = localizer.localize(image, patch, stamp_ns=index).timings
                times[choice].append((timings.total_ms, timings.refine_ms))
            tick()
    finally:
        localizer.settings = before
    points = []
    for (n, r), measured in times.items():
        total_ms, refine_ms = np.median(measured, axis=0)
        points.append(SweepPoint(n, r, float(total_ms), float(refine_ms)))
    return Sweep(tuple(points))
