"""`geoflow bench`: all measurements of one run, as a tree of plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.backends import Backend
from geoflow_ros.bench import cost, targets
from geoflow_ros.bench.authors import TorchNetwork
from geoflow_ros.bench.candidates import (
    CANDIDATES,
    UNAVAILABLE,
    Candidate,
    open_candidate,
    reason_of,
    require_available,
)
from geoflow_ros.bench.machine import Peaks, describe_machine, measure_peaks
from geoflow_ros.bench.patch_change import measure_patch_change
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bench.sizes import MODEL, in_size
from geoflow_ros.bench.stages import measure_stages
from geoflow_ros.bench.start import FreshProcesses
from geoflow_ros.bench.sweep import FEW, HYPOTHESES, ITERATIONS, MANY, measure_sweep, settings_of
from geoflow_ros.bench.temporary import temporary_folder
from geoflow_ros.bench.views import render_pictures
from geoflow_ros.bundle import Bundle, IrsSettings
from geoflow_ros.bundle.methods import GEOFLOW, GRAPHS, GROUND_ENCODER, HEAD, SATELLITE_ENCODER
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT32, PrecisionCheck
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation import precision
from geoflow_ros.inference import GeoFlowLocalizer
from geoflow_ros.progress import progress_bar
from geoflow_ros.resources import GEOFLOW_MODEL, model_path


@dataclass(frozen=True)
class BenchSettings:
    """The back ends and measurements of a run, and how long each takes.

    Attributes:
        model: a bundle's folder or a shipped one's name.
        size: "full", "half" or "model" (see `sizes.in_size`).
        hypotheses, iterations: N and R of all but the sweep.
        candidates: labels of the back ends, each of which must run here; where empty, all that do.
        threads: of the CPU back ends; their own choice where None.
        frames, new_patch_frames: counted for each back end, on a kept patch and on a new one each.
        sweep_rounds: of every N and R; 0 leaves the sweep out.
        sweep_hypotheses, sweep_iterations: N and R of the sweep.
        authors_frames: whole frames in the authors' way of evaluating; at 0 only so many of their passes are run:
        authors_passes: see `authors.AuthorsWay`; 0 too leaves both torch rows out.
        starts: fresh processes for each back end after its first; 0 leaves the starts out.
        patch_frames: of the drive that changes patches; 0 leaves it out.
        soak: frames of the memory test with the quickest back end; 0 leaves it out.
        precision_pairs: image pairs of the check of each reduced precision; 0 leaves it out.
        peak_size, peak_megabytes: of the machine's peaks.
        command: that asked for the run, for the record.
        progress: show progress bars on standard error.
    """

    model: str | Path = GEOFLOW_MODEL
    size: str = MODEL
    hypotheses: int = 10
    iterations: int = 5
    candidates: tuple[str, ...] = ()
    threads: int | None = None
    frames: int = 200
    new_patch_frames: int = 40
    sweep_rounds: int = 20
    sweep_hypotheses: tuple[int, ...] = HYPOTHESES
    sweep_iterations: tuple[int, ...] = ITERATIONS
    authors_frames: int = 1
    authors_passes: int = 1
    starts: int = 3
    patch_frames: int = 300
    soak: int = 0
    precision_pairs: int = 512
    peak_size: int = 2048
    peak_megabytes: int = 256
    command: str = ""
    progress: bool = False

    def quick(self) -> BenchSettings:
        """Returns settings for seconds: every measurement, far too short for its figures to mean much."""
        return replace(
            self,
            frames=4,
            new_patch_frames=2,
            sweep_rounds=1,
            sweep_hypotheses=(FEW, MANY),
            sweep_iterations=(1, 5),
            authors_frames=0,
            authors_passes=1,
            starts=1,
            patch_frames=25,
            precision_pairs=0,
            peak_size=512,
            peak_megabytes=16,
        )


@dataclass
class _Measured:
    """One back end's part of the report."""

    candidate: Candidate
    report: dict[str, Any]
    total_ms: float
    ground_ms: float
    satellite_ms: float
    new_total_ms: float
    counts: bool = True  # whether its precision is good enough to be used


@dataclass
class _Run:
    """The state that the measurements of one run share.

    Attributes:
        bundle: as it was trained.
        sized: the same weights in the image size that is measured.
        pictures: that are localized.
        folder: for temporary files.
        left_out: what could not be measured, with the reasons.
    """

    settings: BenchSettings
    bundle: Bundle
    sized: Bundle
    pictures: list[Pictures]
    folder: Path
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def irs(self) -> IrsSettings:
        """N and R of the run, the bundle's step."""
        return IrsSettings(self.settings.hypotheses, self.settings.iterations, self.bundle.manifest.irs.step)

    def localizer(self, backend: Backend) -> GeoFlowLocalizer:
        return GeoFlowLocalizer(
            self.sized, backend, hypotheses=self.settings.hypotheses, iterations=self.settings.iterations
        )

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[..., object]]:
        """Shows progress; yields the function that counts steps."""
        with progress_bar(total, what, "steps", is_shown=self.settings.progress, leave=False) as bar:
            yield bar.update


def run_bench(settings: BenchSettings) -> dict[str, Any]:
    """Measures everything and returns it as plain values for JSON; `report.text_of` makes tables of it.

    Raises:
        GeoFlowError: the bundle or a setting cannot be used, a back end that was asked for cannot run here, or none
            can. What can be known before anything is measured is said at once.
    """
    bundle = Bundle.load(model_path(settings.model))
    bundle.require_method(GEOFLOW)
    IrsSettings(settings.hypotheses, settings.iterations)  # refuses what cannot be, before anything is measured
    if settings.frames < 1 or settings.new_patch_frames < 1:
        raise InputError("the bench needs at least one frame on a kept patch and one on a new one")
    candidates = _asked_for(settings, bundle) or CANDIDATES
    with in_size(bundle, settings.size) as sized, temporary_folder() as folder:
        run = _Run(settings, bundle, sized, render_pictures(sized.manifest, 4), folder)
        peaks = measure_peaks(settings.peak_size, settings.peak_megabytes)
        measured = [found for candidate in candidates if (found := _measure_backend(run, candidate)) is not None]
        if not measured:
            reasons = "; ".join(f"{label}: {reason}" for label, reason in run.left_out.items())
            raise InputError(f"no back end runs here ({reasons})")
        result = _measure_rest(run, measured)
        # again at the end: the peaks are what the machine can do, not what it did at one moment
        peaks = peaks.or_better(measure_peaks(settings.peak_size, settings.peak_megabytes))
        result["cost"] = _costs(run, measured, peaks)
        result["targets"] = [asdict(target) for target in targets.assess(result)]
    return result


def _asked_for(settings: BenchSettings, bundle: Bundle) -> list[Candidate]:
    """Finds the back ends that were asked for; empty for all.

    Raises:
        InputError: one of them is not known, or cannot run here.
    """
    asked = [Candidate.of_label(label) for label in settings.candidates]
    for candidate in asked:
        try:
            require_available(bundle, candidate)
        except UNAVAILABLE as error:
            raise InputError(f"{candidate.label} cannot run here: {reason_of(error)}") from error
    return asked


def _measure_rest(run: _Run, measured: Sequence[_Measured]) -> dict[str, Any]:
    """Measures what is not done with each back end by itself; all of the result but costs and targets."""
    settings = run.settings
    checks = _check_precisions(run, measured)
    usable = [found for found in measured if found.counts]
    quickest = min(usable or measured, key=lambda found: found.total_ms)
    torch_rows = _torch_rows(run, [found for found in usable or measured if found.candidate.on_cpu])
    patch_change = _patch_change(run, quickest.candidate)
    processes = FreshProcesses(run.sized, run.pictures[0], run.irs, settings.threads, run.folder)
    _starts(run, processes, measured)
    return {
        "command": settings.command,
        "machine": describe_machine(),
        "model": _describe_model(run),
        "settings": {
            "hypotheses": settings.hypotheses,
            "iterations": settings.iterations,
            "step": run.irs.step,
            "threads": settings.threads,
        },
        "backends": {found.candidate.label: found.report for found in measured},
        "left_out": run.left_out,
        "quickest": quickest.candidate.label,
        "quickest_is_checked": quickest.counts,
        "precision_checks": [{**asdict(check), "change": check.change, "passes": check.passes} for check in checks],
        "torch": torch_rows,
        "patch_change": patch_change,
        "soak": _soak(run, processes, quickest.candidate),
    }


def _describe_model(run: _Run) -> dict[str, Any]:
    manifest, sized = run.bundle.manifest, run.sized.manifest
    return {
        "name": manifest.name,
        "size": run.settings.size,
        "satellite_px": sized.satellite.size_px,
        "ground_px": [sized.ground.height_px, sized.ground.width_px],
        "trained_satellite_px": manifest.satellite.size_px,
        "trained_ground_px": [manifest.ground.height_px, manifest.ground.width_px],
    }


def _measure_backend(run: _Run, candidate: Candidate) -> _Measured | None:
    """Measures stages and sweep of one back end; None, with the reason noted, where it cannot run here."""
    s = run.settings
    try:
        require_available(run.bundle, candidate)
        backend = open_candidate(run.sized, candidate, s.threads)
    except UNAVAILABLE as error:
        run.left_out[candidate.label] = reason_of(error)
        return None
    localizer = run.localizer(backend)
    choices = settings_of(s.sweep_hypotheses, s.sweep_iterations) if s.sweep_rounds else []
    # a frame of the sweep counts as one, so that the bar moves evenly
    with run.bar(candidate.label, s.frames + s.new_patch_frames + s.sweep_rounds * len(choices)) as tick:
        kept = measure_stages(localizer, run.pictures, s.frames, kept=True, tick=tick)
        new = measure_stages(localizer, run.pictures, s.new_patch_frames, kept=False, tick=tick)
        report: dict[str, Any] = {
            "name": backend.name,
            "precision": backend.precision,
            "kept_patch": kept.as_json(),
            "new_patch": new.as_json(),
            "refinement_share": kept.refinement_share,
            "sweep": None,
            "start": None,
        }
        if choices:
            sweep = measure_sweep(localizer, run.pictures[0], choices, s.sweep_rounds, lambda: tick(len(choices)))
            report["sweep"] = sweep.as_json()
    return _Measured(
        candidate, report, kept.median("total"), kept.median("ground"), new.median("satellite"), new.median("total")
    )


def _check_precisions(run: _Run, measured: Sequence[_Measured]) -> list[PrecisionCheck]:
    """Checks every reduced precision that runs here, on the bundle as it was trained."""
    checks = []
    for found in measured:
        if found.candidate.precision == FLOAT32:
            continue
        found.counts = run.bundle.manifest.allows(found.candidate.precision)
        if not run.settings.precision_pairs:
            continue
        try:
            backend = open_candidate(run.bundle, found.candidate, run.settings.threads)
            check = precision.compare(run.bundle, backend, run.settings.precision_pairs, progress=run.settings.progress)
        except UNAVAILABLE as error:
            run.left_out[f"precision of {found.candidate.label}"] = reason_of(error)
            found.counts = False
            continue
        checks.append(check)
        found.counts = check.passes
    return checks


def _torch_rows(run: _Run, on_cpu: Sequence[_Measured]) -> dict[str, Any] | None:
    """Measures the authors' way of evaluating, and torch as it comes with each image encoded once.

    Both run on the processor, and are compared with the quickest of the back ends that run there too.
    """
    s = run.settings
    if not (s.authors_frames or s.authors_passes):
        return None
    try:
        from geoflow_ros.backends.torch_network import network_of

        network = TorchNetwork(network_of(run.sized), run.sized, run.pictures[0], run.irs, s.threads)
    except UNAVAILABLE as error:
        run.left_out["torch as it comes"] = reason_of(error)
        return None
    with run.bar("the authors' way", s.authors_frames * s.iterations or s.authors_passes) as tick:
        authors, slow_answer = network.authors_way(s.authors_frames, s.authors_passes, tick)
    frames = max(1, s.new_patch_frames // 2)
    with run.bar("torch, encode once", frames) as tick:
        once, answer = network.encode_once(frames, tick)
    radius_m = run.sized.manifest.search_radius_m
    best = min(on_cpu, key=lambda found: found.total_ms, default=None)

    def ratios(kept_ms: float, new_ms: float) -> dict[str, float | None]:
        if best is None:
            return {"ratio": None, "ratio_new_patch": None}
        return {"ratio": kept_ms / best.total_ms, "ratio_new_patch": new_ms / best.new_total_ms}

    return {
        "beside": None if best is None else best.candidate.label,
        "authors": {**asdict(authors), **ratios(authors.frame_ms, authors.frame_ms)},
        "encode_once": {**asdict(once), **ratios(once.kept_ms, once.new_ms)},
        # that both ways compute the same
        "difference_m": float(np.linalg.norm(slow_answer - answer) * radius_m) if s.authors_frames else None,
    }


def _patch_change(run: _Run, candidate: Candidate) -> dict[str, Any] | None:
    frames = run.settings.patch_frames
    if not frames:
        return None
    localizer = run.localizer(open_candidate(run.sized, candidate, run.settings.threads))
    with run.bar("driving over patches", frames) as tick:
        return asdict(measure_patch_change(localizer, run.pictures[0], frames, tick=tick))


def _starts(run: _Run, processes: FreshProcesses, measured: Sequence[_Measured]) -> None:
    """Measures the first start of each back end (nothing compiled is kept), and the median of a few later ones."""
    count = run.settings.starts
    if not count:
        return
    with run.bar("starting processes", len(measured) * (1 + count)) as tick:
        for found in measured:
            starts = []
            for _ in range(1 + count):
                starts.append(processes.start(found.candidate))
                tick()
            later = sorted(starts[1:], key=lambda start: start.wall_s)[(count - 1) // 2]
            found.report["start"] = {"first": asdict(starts[0]), "later": asdict(later)}


def _soak(run: _Run, processes: FreshProcesses, candidate: Candidate) -> dict[str, Any] | None:
    frames = run.settings.soak
    if not frames:
        return None
    with run.bar("soak", frames) as tick:
        return asdict(processes.soak(candidate, frames, tick))


def _costs(run: _Run, measured: Sequence[_Measured], peaks: Peaks) -> dict[str, Any] | None:
    """Returns operations, bytes and floor of the graphs, and how far the back ends on the CPU are from it."""
    if find_spec("onnx") is None:
        run.left_out["cost model"] = "onnx is not installed: pip install 'geoflow_ros[train]'"
        return None
    axes = {"B": 1, "N": run.settings.hypotheses}
    graphs = {name: cost.count(run.sized.graph_path(name), axes) for name in GRAPHS}
    result: dict[str, Any] = {
        "peaks": asdict(peaks),
        "graphs": {name: graph.summary(peaks.fp32_gflops, peaks.copy_gb_s) for name, graph in graphs.items()},
        "backends": {},
    }
    for found in measured:
        reduced_gflops = peaks.bf16_gflops if found.candidate.precision == BFLOAT16 else peaks.fp32_gflops
        if not found.candidate.on_cpu or reduced_gflops is None:
            continue  # the peaks are the CPU's
        value_bytes = cost.FLOAT32_BYTES if found.candidate.precision == FLOAT32 else cost.REDUCED_BYTES
        refinement_ms = found.report["kept_patch"]["stages_ms"]["refinement"]["p50"]
        stages = {}
        # the head is float32 in every precision
        for graph, ms, gflops, size in (
            (GROUND_ENCODER, found.ground_ms, reduced_gflops, value_bytes),
            (SATELLITE_ENCODER, found.satellite_ms, reduced_gflops, value_bytes),
            (HEAD, refinement_ms, peaks.fp32_gflops, cost.FLOAT32_BYTES),
        ):
            floor_ms = graphs[graph].floor_ms(gflops, peaks.copy_gb_s, size)
            stages[graph] = {
                "floor_ms": floor_ms,
                "measured_ms": ms,
                "times_floor": ms / floor_ms,
                "gflops": 2.0 * graphs[graph].macs / ms / 1e6 if ms > 0.0 else math.nan,
            }
        result["backends"][found.candidate.label] = stages
    return result
