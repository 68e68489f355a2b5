"""A bundle on image pairs of the synthetic worlds, measured on the run-time path (no torch)."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends import BackendOptions, open_backend
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.bundle import Bundle, Calibration, IrsSettings, Manifest
from geoflow_ros.bundle.manifest import FORWARD_X
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.ablation import AblationRow, ablate, ablation_tables
from geoflow_ros.evaluation.baseline import BirdsEyeMatcher
from geoflow_ros.evaluation.metrics import figures, timing
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.tables import accuracy_table, consistency_table
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference import Fix, GeoFlowLocalizer, fit_calibration
from geoflow_ros.resources import model_path
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.pairs import Area, HeadingError, Pair, PairSampler
from geoflow_ros.world.splits import Split


@dataclass(frozen=True)
class Protocol:
    """Which pairs are measured.

    Attributes:
        area: the town of the training (other drives, other light, an older map), or cities of which training saw none.
        pairs: how many.
        seed: which; with `Area.CROSS`, also which cities.
        heading: how wrong the assumed heading is.
        split: whose worlds. `Split` keeps them apart from those of the training, whatever the seed.
        conditions: how hard. The pairs' places, offsets and headings are the same under all of them.
        photometric: whether the colours, tones and sharpness of both pictures are changed strongly, apart.
    """

    area: Area
    pairs: int
    seed: int
    heading: HeadingError = HeadingError()
    split: Split = Split.TEST
    conditions: Conditions = EASY
    photometric: bool = False

    @property
    def key(self) -> str:
        """What a manifest keeps the figures under: the area, and what makes the pairs harder than the easy ones."""
        parts = ["synthetic", self.area.value, *([self.conditions.name] if self.conditions.disturb else [])]
        return "-".join([*parts, *(["photometric"] if self.photometric else [])])


@dataclass(frozen=True)
class SyntheticReport:
    """The result of `evaluate`.

    Attributes:
        model: the bundle's name.
        protocol: which pairs were measured.
        settings: N, R and step.
        figures: the fixed keys (see `metrics.Figures`).
        ablation: one row a setting; empty where it was not asked for.
        baselines: the figures of methods without a network, by their names; empty where not asked for.
    """

    model: str
    protocol: Protocol
    settings: IrsSettings
    figures: dict[str, Any]
    ablation: tuple[AblationRow, ...] = ()
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)

    def text(self) -> str:
        """Formats the tables that the command prints."""
        p, s = self.protocol, self.settings
        latency = self.figures["latency_ms"]
        pictures = f"conditions {p.conditions.name}{', strong photometric change' if p.photometric else ''}"
        parts = [
            f"{self.model}: {p.pairs} pairs, {p.area.value}-area, seed {p.seed}, heading error {describe(p.heading)}, "
            f"{pictures}, N = {s.hypotheses}, R = {s.iterations}, step {s.step:g}",
            accuracy_table({self.model: self.figures, **self.baselines}),
            consistency_table(self.figures),
            f"latency ms p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, p99 {latency['p99']:.0f}; "
            f"{self.figures['frames_per_second']:.1f} frames a second; "
            f"{100 * self.figures['availability']:.1f} % of the fixes trusted by the localizer itself",
        ]
        if self.ablation:
            parts += ablation_tables(self.ablation, self.settings)
        return "\n\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values: the fixed keys at the top; how they were measured, ablation, baselines beside them."""
        return {
            "model": self.model,
            "area": self.protocol.area.value,
            "pairs": self.protocol.pairs,
            "seed": self.protocol.seed,
            "heading_error": asdict(self.protocol.heading),
            "conditions": self.protocol.conditions.name,
            "photometric": self.protocol.photometric,
            **asdict(self.settings),
            **self.figures,
            "ablation": [{**asdict(row.settings), **row.figures} for row in self.ablation],
            "baselines": self.baselines,
        }

    def summary(self) -> dict[str, Any]:
        """Returns the part that a manifest keeps: the figures, and how they were measured."""
        kept = self.as_json()
        for key in ("model", "ablation", "baselines"):
            kept.pop(key)
        return kept


def evaluate(
    model: str | Path,
    protocol: Protocol,
    *,
    hypotheses: int | None = None,
    iterations: int | None = None,
    ablation: bool = False,
    baseline: bool = False,
    backend: BackendOptions | None = None,
    progress: bool = False,
) -> SyntheticReport:
    """Measures a bundle on synthetic pairs.

    The ablation encodes every pair once more, and refines from the kept features.

    Args:
        model: a bundle's folder or a shipped one's name.
        protocol: which pairs.
        hypotheses: N of the refinement; the bundle's default where None.
        iterations: R of the refinement; the bundle's default where None.
        ablation: also measure the settings of the paper's tables, and a few steps.
        baseline: also measure bird's-eye template matching and the guess "centre of the patch".
        backend: what runs the bundle; onnxruntime in float32 where None, which is the same on every machine.
        progress: show a progress bar on standard error.

    Raises:
        GeoFlowError: a bundle or setting that cannot be used.
    """
    bundle = _loaded(model)
    manifest = bundle.manifest
    engine = open_backend(bundle, backend or BackendOptions(ONNXRUNTIME))
    localizer = GeoFlowLocalizer(bundle, engine, hypotheses=hypotheses, iterations=iterations)
    sampler = sampler_for(manifest, protocol)
    matcher = _matcher(sampler, manifest) if baseline else None

    answers = _Answers()
    matched: list[Float64Array] = []
    features: list[Float32Array] = []
    for index, pair in enumerate(render_pairs(sampler, protocol.pairs, manifest.name, progress)):
        answers.add(pair, localizer.localize(pair.ground, as_patch(pair, manifest), stamp_ns=index))
        if ablation:
            features.append(engine.f_vis(pair.ground[None], engine.satellite_tokens(pair.satellite[None])))
        if matcher is not None:
            matched.append(matcher.locate(pair.ground, pair.satellite) - pair.offset_m)

    offsets_m = np.array(answers.offsets_m)
    rows: tuple[AblationRow, ...] = ()
    if ablation:
        radius_m = manifest.search_radius_m
        rows = ablate(engine, np.concatenate(features), offsets_m, radius_m, localizer.settings, progress)
    return SyntheticReport(
        model=manifest.name,
        protocol=protocol,
        settings=localizer.settings,
        figures=answers.figures(),
        ablation=rows,
        baselines=_baselines(matched, offsets_m) if baseline else {},
    )


@dataclass
class _Answers:
    """The localizer's answers to one pair after the other; lengths in metres, (forward, right)."""

    offsets_m: list[Float64Array] = field(default_factory=list)  # the true positions from the patch centres
    errors_m: list[Float64Array] = field(default_factory=list)
    covariances: list[Float64Array] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    trusted: list[bool] = field(default_factory=list)

    def add(self, pair: Pair, fix: Fix) -> None:
        self.offsets_m.append(pair.offset_m)
        self.errors_m.append(fix.frame.enu_to_local(fix.position) - pair.offset_m)
        self.covariances.append(fix.frame.rotate_covariance_to_local(fix.covariance))
        self.latencies_ms.append(fix.timings.total_ms)
        self.trusted.append(fix.assessment.trustworthy)

    def figures(self) -> dict[str, Any]:
        """Computes the fixed figures of all answers, times included."""
        # The first frame pays for what is set up once.
        warm_ms = self.latencies_ms[1:] if len(self.latencies_ms) > 1 else self.latencies_ms
        # By the localizer's own assessment: a node publishes nothing from a fix that it does not trust.
        availability = float(np.mean(self.trusted))
        return dict(figures(self.errors_m, self.covariances, availability=availability)) | timing(warm_ms)


def _baselines(matching_errors_m: list[Float64Array], offsets_m: Float64Array) -> dict[str, dict[str, Any]]:
    """Computes the figures of what needs no network, on the same pairs."""
    return {
        "bird's-eye template matching": dict(figures(matching_errors_m)),
        "centre of the patch": dict(figures(-offsets_m)),
    }


def calibrate(model: str | Path, protocol: Protocol, *, progress: bool = False) -> Calibration:
    """Fits the covariance's scale and floor on pairs of `Split.CALIBRATION`: neither training nor test sees them.

    Args:
        model: a bundle's folder or a shipped one's name; its own calibration is not used.
        protocol: which pairs.
        progress: show a progress bar on standard error.
    """
    bundle = _loaded(model)
    localizer = GeoFlowLocalizer(bundle)
    errors, raw = [], []
    sampler = sampler_for(bundle.manifest, protocol)
    for index, pair in enumerate(render_pairs(sampler, protocol.pairs, "calibrating", progress)):
        fix = localizer.localize(pair.ground, as_patch(pair, bundle.manifest), stamp_ns=index)
        errors.append(fix.frame.enu_to_local(fix.position) - pair.offset_m)
        raw.append(fix.raw_covariance)
    area, heading = protocol.area.value, describe(protocol.heading)
    data = f"{protocol.pairs} {area}-area pairs, seed {protocol.seed}, heading error {heading}"
    return fit_calibration(np.array(errors), np.array(raw), data)


def _loaded(model: str | Path) -> Bundle:
    bundle = Bundle.load(model_path(model))
    manifest = bundle.manifest
    if manifest.alignment != FORWARD_X or manifest.camera.model != "perspective":
        raise InputError(
            f"the synthetic pairs are forward-x with a perspective camera; '{manifest.name}' is "
            f"{manifest.alignment} with a {manifest.camera.model} camera"
        )
    return bundle


def sampler_for(manifest: Manifest, protocol: Protocol) -> PairSampler:
    """Makes the sampler of the protocol's pairs, in the sizes and scale of a model."""
    return PairSampler(
        area=protocol.area,
        seed=protocol.seed,
        satellite_size=manifest.satellite.size_px,
        ground_size=(manifest.ground.height_px, manifest.ground.width_px),
        ground_resolution_m=manifest.satellite.ground_resolution_m,
        search_radius_m=manifest.search_radius_m,
        heading_error=protocol.heading,
        split=protocol.split,
        conditions=protocol.conditions,
        photometric_share=float(protocol.photometric),
    )


def as_patch(pair: Pair, manifest: Manifest) -> SatellitePatch:
    """Places a pair's patch in a map of its own: its centre is the origin, its forward the east."""
    frame = PatchFrame(0.0, 0.0, 0.0, manifest.satellite.size_px, manifest.satellite.ground_resolution_m)
    return SatellitePatch(pair.satellite, frame)


def _matcher(sampler: PairSampler, manifest: Manifest) -> BirdsEyeMatcher:
    return BirdsEyeMatcher(sampler.camera, manifest.satellite.ground_resolution_m, manifest.search_radius_m)


def heading_error(normal_deg: float | None, uniform_deg: float | None) -> HeadingError:
    """Returns the heading error that the command line's options ask for: normal with 2° where neither is given."""
    return HeadingError(sigma_deg=2.0 if normal_deg is None else normal_deg, uniform_deg=uniform_deg)


def describe(heading: HeadingError) -> str:
    """Describes the heading error in a few words."""
    if heading.uniform_deg is not None:
        return f"uniform in ±{heading.uniform_deg:g}°"
    return f"normal, sigma {heading.sigma_deg:g}°"
