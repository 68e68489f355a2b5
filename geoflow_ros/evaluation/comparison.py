"""Bundles on the same image pairs of the synthetic worlds, side by side, on the run-time path (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends import BackendOptions
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.bundle import IrsSettings, Manifest
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.ablation import AblationRow, ablate, ablation_tables
from geoflow_ros.evaluation.answers import Answers
from geoflow_ros.evaluation.baseline import TemplateMatcher
from geoflow_ros.evaluation.metrics import figures
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.synthetic import (
    HYPOTHESES,
    NOMINAL,
    Protocol,
    answer_to,
    camera_of,
    describe,
    loaded,
    sampler_for,
)
from geoflow_ros.evaluation.tables import accuracy_table, consistency_table, papers_table, scenes_table
from geoflow_ros.inference import GeoFlowLocalizer, PatchLocalizer, SearchSettings, open_localizer
from geoflow_ros.world.pairs import PAIRS_PER_WINDOW, Pair, PairSampler


@dataclass(frozen=True)
class ModelReport:
    """What one bundle reached.

    Attributes:
        model: the bundle's name, or how it was asked for where two have the same.
        protocol: which pairs were measured.
        settings: N, R and step of GeoFlow; None for another method.
        figures: the fixed keys (see `metrics.Figures`).
        ablation: one row a setting; empty where it was not asked for.
        baselines: the figures of methods without a network, by their names; empty where not asked for.
        scenes: the figures of each kind of scene, by its name.
    """

    model: str
    protocol: Protocol
    settings: IrsSettings | None
    figures: dict[str, Any]
    ablation: tuple[AblationRow, ...] = ()
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)
    scenes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values: the fixed keys at the top; how they were measured, ablation, baselines beside them."""
        return {
            "model": self.model,
            "area": self.protocol.area.value if self.protocol.orthophotos is None else "orthophotos",
            "pairs": self.protocol.pairs,
            "seed": self.protocol.seed,
            "heading_error": dict(vars(self.protocol.heading)),
            "conditions": self.protocol.conditions.name,
            "photometric": self.protocol.photometric,
            "prior_radius_m": self.protocol.prior_radius_m,
            "camera": NOMINAL if camera_of(self.protocol) is None else HYPOTHESES,
            **({} if self.settings is None else asdict(self.settings)),
            **self.figures,
            "ablation": [{**asdict(row.settings), **row.figures} for row in self.ablation],
            "baselines": self.baselines,
            "scenes": self.scenes,
        }

    def summary(self) -> dict[str, Any]:
        """Returns the part that a manifest keeps: the figures, and how they were measured."""
        kept = self.as_json()
        for key in ("model", "ablation", "baselines", "scenes"):
            kept.pop(key)
        return kept

    def title(self) -> str:
        """Returns the model with its settings."""
        s = self.settings
        return self.model + (f", N = {s.hypotheses}, R = {s.iterations}, step {s.step:g}" if s is not None else "")

    def speed(self) -> str:
        """Returns how long its answers took and how many of them it trusts, in one line."""
        latency = self.figures["latency_ms"]
        return (
            f"latency ms p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, p99 {latency['p99']:.0f}; "
            f"{self.figures['frames_per_second']:.1f} frames a second; "
            f"{100 * self.figures['availability']:.1f} % of the fixes trusted by the localizer itself"
        )


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: a report of each model, in the order in which they were asked for; at least one."""

    reports: tuple[ModelReport, ...]

    def text(self) -> str:
        """Formats the tables that the command prints."""
        first = self.reports[0]
        p = first.protocol
        pictures = f"conditions {p.conditions.name}{', strong photometric change' if p.photometric else ''}"
        rows = {report.model: report.figures for report in self.reports}
        measured = {**rows, **first.baselines}
        parts = [
            f"{p.pairs} pairs, {p.worlds}, seed {p.seed}, heading error {describe(p.heading)}, {pictures}",
            papers_table(measured),
            accuracy_table(measured),
            consistency_table(rows),
            "\n".join(f"{report.title()}: {report.speed()}" for report in self.reports),
        ]
        for report in self.reports:
            if report.scenes:
                parts.append(scenes_table(report.model, report.scenes))
            if report.settings is not None and report.ablation:
                parts += ablation_tables(report.ablation, report.settings)
        return "\n\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values: those of the one report, or `models` with those of each."""
        reports = [report.as_json() for report in self.reports]
        return reports[0] if len(reports) == 1 else {"models": reports}


def compare(
    models: Sequence[str | Path],
    protocol: Protocol,
    *,
    hypotheses: int | None = None,
    iterations: int | None = None,
    ablation: bool = False,
    baseline: bool = False,
    backend: BackendOptions | None = None,
    progress: bool = False,
) -> Comparison:
    """Measures bundles on the same synthetic pairs: each is rendered once for all models of its picture sizes.

    The ablation encodes every pair once more, and refines from the kept features.

    Args:
        models: bundles' folders or shipped ones' names; at least one.
        protocol: which pairs.
        hypotheses: N of GeoFlow's refinement; the bundle's default where None.
        iterations: R of GeoFlow's refinement; the bundle's default where None.
        ablation: also measure the settings of GeoFlow's tables, and a few steps.
        baseline: also measure bird's-eye template matching and the guess "centre of the patch".
        backend: what runs the bundles; onnxruntime in float32 where None, which is the same on every machine.
        progress: show a progress bar on standard error.

    Raises:
        GeoFlowError: a bundle or setting that cannot be used.
    """
    search = SearchSettings(hypotheses, iterations, camera=camera_of(protocol))
    contenders = [_contender(model, backend or BackendOptions(ONNXRUNTIME), search) for model in models]
    if not contenders:
        raise InputError("there is nothing to compare: name at least one model")
    _check(contenders, ablation)
    samplers = {contender.sizes: sampler_for(contender.manifest, protocol) for contender in contenders}
    first = contenders[0]
    matcher = _matcher(samplers[first.sizes], first.manifest) if baseline else None

    matched: list[Float64Array] = []
    names = " x ".join(f"{size} px" for size, _, _ in samplers)
    renderings = [render_pairs(s, protocol.pairs, names, progress and not i) for i, s in enumerate(samplers.values())]
    for index, pairs in enumerate(zip(*renderings, strict=True)):
        rendered = dict(zip(samplers, pairs, strict=True))
        for contender in contenders:
            contender.answer(rendered[contender.sizes], index, protocol, ablation)
        if matcher is not None:
            pair = rendered[first.sizes]
            matched.append(matcher.locate(pair.ground, pair.satellite) - pair.offset_m)

    baselines = _baselines(matched, np.array(first.answers.offsets_m)) if baseline else {}
    titles = _titles(models, contenders)
    return Comparison(
        tuple(
            contender.report(protocol, title, baselines if contender is first else {}, progress)
            for title, contender in zip(titles, contenders, strict=True)
        )
    )


@dataclass
class _Contender:
    """One model with what it has answered so far."""

    manifest: Manifest
    localizer: PatchLocalizer
    answers: Answers = field(default_factory=Answers)
    features: list[Float32Array] = field(default_factory=list)  # (1, d) of each pair, for the ablation

    @property
    def sizes(self) -> tuple[int, float, tuple[int, int]]:
        """Of the pictures that it takes: models with the same are asked about the same pictures."""
        satellite, ground = self.manifest.satellite, self.manifest.ground
        return satellite.size_px, satellite.ground_resolution_m, (ground.height_px, ground.width_px)

    def answer(self, pair: Pair, index: int, protocol: Protocol, ablation: bool) -> None:
        fix = answer_to(self.localizer, pair, index, protocol)
        self.answers.add(pair, fix, world=index // PAIRS_PER_WINDOW)
        if ablation and isinstance(self.localizer, GeoFlowLocalizer):
            engine = self.localizer.backend
            self.features.append(engine.f_vis(pair.ground[None], engine.satellite_tokens(pair.satellite[None])))

    def report(
        self, protocol: Protocol, name: str, baselines: dict[str, dict[str, Any]], progress: bool
    ) -> ModelReport:
        settings = self.localizer.settings if isinstance(self.localizer, GeoFlowLocalizer) else None
        rows: tuple[AblationRow, ...] = ()
        if self.features and isinstance(self.localizer, GeoFlowLocalizer):
            offsets_m, radius_m = np.array(self.answers.offsets_m), self.manifest.search_radius_m
            features = np.concatenate(self.features)
            rows = ablate(self.localizer.backend, features, offsets_m, radius_m, self.localizer.settings, progress)
        return ModelReport(
            name, protocol, settings, self.answers.figures(), rows, baselines, self.answers.figures_of_scenes()
        )


def _contender(model: str | Path, backend: BackendOptions, search: SearchSettings) -> _Contender:
    bundle = loaded(model)
    return _Contender(bundle.manifest, open_localizer(bundle, backend, search=search))


def _titles(models: Sequence[str | Path], contenders: Sequence[_Contender]) -> list[str]:
    """Returns the models' names; as they were asked for where two have the same."""
    names = [contender.manifest.name for contender in contenders]
    return [name if names.count(name) == 1 else str(model) for model, name in zip(models, names, strict=True)]


def _check(contenders: Sequence[_Contender], ablation: bool) -> None:
    """Refuses models that cannot be asked about the same pairs, and an ablation of what has none."""
    radii = {contender.manifest.search_radius_m for contender in contenders}
    if len(radii) > 1:
        told = " and ".join(f"{radius:g} m" for radius in sorted(radii))
        raise InputError(f"models with search radii of {told} have no pairs in common: measure them one by one")
    for contender in contenders:
        if ablation and not isinstance(contender.localizer, GeoFlowLocalizer):
            name = contender.manifest.name
            raise InputError(f"the ablation is over GeoFlow's N, R and step, which '{name}' has not: leave it out")


def _baselines(matching_errors_m: list[Float64Array], offsets_m: Float64Array) -> dict[str, dict[str, Any]]:
    """Computes the figures of what needs no network, on the same pairs."""
    return {
        "bird's-eye template matching": dict(figures(matching_errors_m)),
        "centre of the patch": dict(figures(-offsets_m)),
    }


def _matcher(sampler: PairSampler, manifest: Manifest) -> TemplateMatcher:
    return TemplateMatcher(sampler.camera, manifest.satellite.ground_resolution_m, manifest.search_radius_m)
