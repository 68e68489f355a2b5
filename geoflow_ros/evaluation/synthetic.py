"""A bundle on image pairs of the synthetic worlds, measured on the run-time path (no torch)."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends import Backend, BackendOptions, open_backend
from geoflow_ros.backends.choice import ONNXRUNTIME
from geoflow_ros.backends.host_frames import refine
from geoflow_ros.bundle import Bundle, Calibration, IrsSettings, Manifest
from geoflow_ros.bundle.manifest import FORWARD_X
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.baseline import BirdsEyeMatcher
from geoflow_ros.evaluation.metrics import figures, timing
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.tables import accuracy_table, consistency_table, metres, table
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference import Localizer, fit_calibration
from geoflow_ros.inference.irs import agree, scatter
from geoflow_ros.progress import with_progress
from geoflow_ros.resources import model_path
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.world.pairs import Area, HeadingError, Pair, PairSampler
from geoflow_ros.world.splits import Split

# The paper's two ablation tables, (N, R), and the single hypothesis moved once.
ITERATION_ABLATION = ((10, 1), (10, 3), (10, 5), (10, 10))
HYPOTHESIS_ABLATION = ((1, 5), (10, 5), (20, 5))
SINGLE = ((1, 1),)
STEPS = (0.3, 0.5, 0.7, 1.0)
_HEAD_BATCH = 4  # as many cameras as every back end takes


@dataclass(frozen=True)
class Protocol:
    """Which pairs are measured.

    Attributes:
        area: the town of the training (other drives, other light, an older map), or cities of which training saw none.
        pairs: how many.
        seed: which; with `Area.CROSS`, also which cities.
        heading: how wrong the assumed heading is.
        split: whose worlds. `Split` keeps them apart from those of the training, whatever the seed.
    """

    area: Area
    pairs: int
    seed: int
    heading: HeadingError = HeadingError()
    split: Split = Split.TEST


@dataclass(frozen=True)
class AblationRow:
    """The figures of one setting of the refinement."""

    settings: IrsSettings
    figures: dict[str, Any]


@dataclass(frozen=True)
class SyntheticReport:
    """What `evaluate` measured. `figures` has the fixed keys; `baselines` maps a method's name to its figures."""

    model: str
    protocol: Protocol
    settings: IrsSettings
    figures: dict[str, Any]
    ablation: tuple[AblationRow, ...] = ()
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)

    def text(self) -> str:
        """The tables for a person."""
        p, s = self.protocol, self.settings
        latency = self.figures["latency_ms"]
        parts = [
            f"{self.model}: {p.pairs} pairs, {p.area.value}-area, seed {p.seed}, heading error {describe(p.heading)}, "
            f"N = {s.hypotheses}, R = {s.iterations}, step {s.step:g}",
            accuracy_table({self.model: self.figures, **self.baselines}),
            consistency_table(self.figures),
            f"latency ms p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, p99 {latency['p99']:.0f}; "
            f"{self.figures['frames_per_second']:.1f} frames a second; "
            f"{100 * self.figures['availability']:.1f} % of the fixes trusted by the localizer itself",
        ]
        if self.ablation:
            parts += [
                self._ablation_table("iterations, N = 10", ITERATION_ABLATION),
                self._ablation_table("hypotheses, R = 5", HYPOTHESIS_ABLATION + SINGLE),
                self._step_table(),
            ]
        return "\n\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """The fixed keys at the top; how they were measured, ablation and baselines beside them."""
        return {
            "model": self.model,
            "area": self.protocol.area.value,
            "pairs": self.protocol.pairs,
            "seed": self.protocol.seed,
            "heading_error": asdict(self.protocol.heading),
            **asdict(self.settings),
            **self.figures,
            "ablation": [{**asdict(row.settings), **row.figures} for row in self.ablation],
            "baselines": self.baselines,
        }

    def summary(self) -> dict[str, Any]:
        """What a manifest keeps: the figures, and how they were measured."""
        kept = self.as_json()
        for key in ("model", "ablation", "baselines"):
            kept.pop(key)
        return kept

    def _ablation_table(self, title: str, choices: Iterable[tuple[int, int]]) -> str:
        rows = []
        for n, r in choices:
            row = self._row(IrsSettings(n, r, self.settings.step))
            rows.append([f"N = {n}, R = {r}", *_ablation_cells(row)])
        return table([title, *_ABLATION_HEADER], rows)

    def _step_table(self) -> str:
        n, r = self.settings.hypotheses, self.settings.iterations
        rows = [[f"step {step:g}", *_ablation_cells(self._row(IrsSettings(n, r, step)))] for step in STEPS]
        return table([f"step, N = {n}, R = {r}", *_ABLATION_HEADER], rows)

    def _row(self, settings: IrsSettings) -> dict[str, Any]:
        return next(row.figures for row in self.ablation if row.settings == settings)


_ABLATION_HEADER = ("mean m", "median m", "lateral m", "longitud. m", "@1m %")


def _ablation_cells(f: dict[str, Any]) -> list[str]:
    lengths = ("mean_error_m", "median_error_m", "lateral_mean_error_m", "longitudinal_mean_error_m")
    return [*[metres(f[key]) for key in lengths], f"{100 * f['recall_1m']:.1f}"]


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
    """Measures a bundle.

    The ablation encodes every pair once more, and refines from the kept features.

    Args:
        model: a bundle's folder or a shipped one's name.
        protocol: which pairs.
        hypotheses, iterations: of the refinement; the bundle's defaults where None.
        ablation: also measure the settings of the paper's tables, and a few steps.
        baseline: also measure bird's-eye template matching and the guess "centre of the patch".
        backend: what runs the bundle; onnxruntime in float32 where None, which is the same on every machine.
        progress: show a progress bar on standard error.

    Raises:
        GeoFlowError: a bundle or setting that cannot be used.
    """
    bundle = _loaded(model)
    engine = open_backend(bundle, backend or BackendOptions(ONNXRUNTIME))
    localizer = Localizer(bundle, engine, hypotheses=hypotheses, iterations=iterations)
    matcher = _matcher(bundle.manifest, protocol) if baseline else None

    truths, errors, covariances, latencies_ms, trusted, matched, features = [], [], [], [], [], [], []
    sampler = sampler_for(bundle.manifest, protocol)
    for index, pair in enumerate(render_pairs(sampler, protocol.pairs, bundle.manifest.name, progress)):
        fix = localizer.localize(pair.ground, as_patch(pair, bundle.manifest), stamp_ns=index)
        if ablation:
            features.append(engine.f_vis(pair.ground[None], engine.satellite_tokens(pair.satellite[None])))
        truths.append(pair.offset_m)
        errors.append(fix.frame.enu_to_local(fix.position) - pair.offset_m)
        covariances.append(fix.frame.rotate_covariance_to_local(fix.covariance))
        latencies_ms.append(fix.timings.total_ms)
        trusted.append(fix.quality.trustworthy)
        if matcher is not None:
            matched.append(matcher.locate(pair.ground, pair.satellite) - pair.offset_m)

    truth = np.array(truths)
    # The first frame pays for what is set up once.
    warm = latencies_ms[1:] if len(latencies_ms) > 1 else latencies_ms
    # The localizer's own judgement: a node publishes nothing from a fix that it does not trust.
    measured = dict(figures(errors, covariances, availability=float(np.mean(trusted)))) | timing(warm)
    baselines = {}
    if matcher is not None:
        baselines["bird's-eye template matching"] = dict(figures(matched))
        baselines["centre of the patch"] = dict(figures(-truth))
    rows: tuple[AblationRow, ...] = ()
    if ablation:
        radius_m = bundle.manifest.search_radius_m
        asked = _ablate(engine, np.concatenate(features), truth / radius_m, radius_m, localizer.settings, progress)
        rows = tuple(asked)
    return SyntheticReport(
        model=bundle.manifest.name,
        protocol=protocol,
        settings=localizer.settings,
        figures=measured,
        ablation=rows,
        baselines=baselines,
    )


def calibrate(model: str | Path, protocol: Protocol, *, progress: bool = False) -> Calibration:
    """Fits the covariance's scale and floor on pairs of `Split.CALIBRATION`: neither training nor test sees them.

    Args:
        model: a bundle's folder or a shipped one's name; its own calibration is not used.
        protocol: which pairs.
        progress: show a progress bar on standard error.
    """
    bundle = _loaded(model)
    localizer = Localizer(bundle)
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
    """The sampler of the protocol's pairs, in the sizes and scale of a model."""
    return PairSampler(
        area=protocol.area,
        seed=protocol.seed,
        satellite_size=manifest.satellite.size_px,
        ground_size=(manifest.ground.height_px, manifest.ground.width_px),
        ground_resolution_m=manifest.satellite.ground_resolution_m,
        search_radius_m=manifest.search_radius_m,
        heading_error=protocol.heading,
        split=protocol.split,
    )


def as_patch(pair: Pair, manifest: Manifest) -> SatellitePatch:
    """A pair's patch in a map of its own: its centre is the origin, its forward the east."""
    frame = PatchFrame(0.0, 0.0, 0.0, manifest.satellite.size_px, manifest.satellite.ground_resolution_m)
    return SatellitePatch(pair.satellite, frame)


def _ablate(
    engine: Backend, features: Float32Array, truth: Float64Array, radius_m: float, default: IrsSettings, progress: bool
) -> Iterator[AblationRow]:
    """The figures of every setting of the tables, for `features` (n, d) and `truth` (n, 2) in search radii."""
    choices = [IrsSettings(n, r, default.step) for n, r in (*ITERATION_ABLATION, *HYPOTHESIS_ABLATION, *SINGLE)]
    choices += [IrsSettings(default.hypotheses, default.iterations, step) for step in STEPS]
    for settings in with_progress(list(dict.fromkeys(choices)), "ablation", "settings", is_shown=progress):
        answers = [
            agree(refine(engine, batch, start, settings.step, settings.iterations)[-1])
            for batch, start in _batches(features, settings.hypotheses)
        ]
        yield AblationRow(settings, dict(figures((np.concatenate(answers) - truth) * radius_m)))


def _batches(features: Float32Array, hypotheses: int) -> Iterator[tuple[Float32Array, Float32Array]]:
    """Features (b, d) and their start hypotheses (b, N, 2): those that `Localizer` scatters for each frame."""
    for first in range(0, len(features), _HEAD_BATCH):
        batch = features[first : first + _HEAD_BATCH]
        starts = [scatter(1, hypotheses, 0, first + offset) for offset in range(len(batch))]
        yield batch, np.concatenate(starts)


def _matcher(manifest: Manifest, protocol: Protocol) -> BirdsEyeMatcher:
    camera = sampler_for(manifest, protocol).camera
    return BirdsEyeMatcher(camera, manifest.satellite.ground_resolution_m, manifest.search_radius_m)


def heading_error(normal_deg: float | None, uniform_deg: float | None) -> HeadingError:
    """The heading error that the command line's options ask for: normal with 2° where neither is given."""
    return HeadingError(sigma_deg=2.0 if normal_deg is None else normal_deg, uniform_deg=uniform_deg)


def describe(heading: HeadingError) -> str:
    """A heading error in a few words."""
    if heading.uniform_deg is not None:
        return f"uniform in ±{heading.uniform_deg:g}°"
    return f"normal, sigma {heading.sigma_deg:g}°"
