"""The time that each stage of a camera frame takes, from the JPEG to the fix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.evaluation.metrics import timing
from geoflow_ros.inference import GeoFlowLocalizer

STAGES = ("decode", "resize", "satellite", "ground", "refinement", "covariance", "total")
"""In their order; "refinement" is one of the R."""

WARM_UP = 5  # frames that are not counted


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of every stage of n frames.

    Attributes:
        ms: stage to its n times; "total" is all of them together, by the wall clock.
        iterations: R.
    """

    ms: dict[str, list[float]]
    iterations: int

    @property
    def refinement_share(self) -> float:
        """The part of the total that all R refinements take, by medians."""
        return self.iterations * self.median("refinement") / self.median("total")

    def median(self, stage: str) -> float:
        """The median of a stage, milliseconds."""
        return float(np.median(self.ms[stage]))

    def as_json(self) -> dict[str, Any]:
        """Returns median and 95th percentile of the stages, latency and rate of the whole."""
        stages = {
            stage: {"p50": self.median(stage), "p95": float(np.percentile(times, 95))}
            for stage, times in self.ms.items()
        }
        return {"frames": len(self.ms["total"]), "stages_ms": stages, **timing(self.ms["total"])}


def measure_stages(
    localizer: GeoFlowLocalizer,
    pictures: Sequence[Pictures],
    frames: int,
    kept: bool,
    tick: Callable[[], object] = lambda: None,
) -> StageTimes:
    """Times frames one after the other.

    Args:
        localizer: with the back end and the settings to measure.
        pictures: shown in turn.
        frames: how many are counted, after a few that are not.
        kept: whether all frames are on one patch, whose tokens are kept; else each is on a new one.
        tick: called after every counted frame.
    """
    iterations = localizer.settings.iterations
    manifest = localizer.manifest
    patch = pictures[0].patch(manifest)
    ms: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for index in range(WARM_UP + frames):
        picture = pictures[index % len(pictures)]
        if not kept:
            patch = picture.patch(manifest)
        begin = perf_counter()
        image = picture.decode()
        decoded = perf_counter()
        timings = localizer.localize(image, patch, stamp_ns=index).timings
        done = perf_counter()
        if index < WARM_UP:
            continue
        values = (
            1e3 * (decoded - begin),
            timings.resize_ms,
            timings.satellite_ms,
            timings.ground_ms,
            timings.refine_ms / iterations,
            timings.covariance_ms,
            1e3 * (done - begin),
        )
        for stage, value in zip(STAGES, values, strict=True):
            ms[stage].append(value)
        tick()
    return StageTimes(ms, iterations)
