"""`geoflow bench` of a bird's-eye model: from the JPEG to the fix, by engine and by what is not known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from geoflow_ros.backends import BackendOptions, open_runner
from geoflow_ros.backends.options import ONNXRUNTIME, OPENVINO, TORCH
from geoflow_ros.backends.protocol import GraphRunner
from geoflow_ros.bench.candidates import UNAVAILABLE, reason_of
from geoflow_ros.bench.machine import describe_machine
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bench.views import render_pictures
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.birds_eye import ZERO
from geoflow_ros.bundle.methods import BIRDS_EYE
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.metrics import timing
from geoflow_ros.evaluation.tables import table
from geoflow_ros.inference import SearchSettings
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer
from geoflow_ros.inference.camera_calibration import EXTRINSICS, CameraUncertainty
from geoflow_ros.progress import progress_bar
from geoflow_ros.resources import model_path
from geoflow_ros.visualization.plots import pyplot, save_figure

RUNNERS = (ONNXRUNTIME, OPENVINO, TORCH)
STAGES = ("decode", "resize", "satellite", "ground", "matching", "posterior", "total")
KNOWN, NEW_PATCH, UNKNOWN = "camera known", "camera known, new patch", "camera unknown"
_AXES: Mapping[str, tuple[str, ...]] = {
    "headings": ("range_m", "camera_hypotheses"),
    "range_m": ("headings", "camera_hypotheses"),
    "camera_hypotheses": ("headings", "range_m"),
}
"""What a frame's time is drawn against, and what is then as usual."""
_HALF_KNOWN = "mounting known, suspension not"
_WARM_UP = 4  # frames that are not counted
_PICTURES = 4


@dataclass(frozen=True)
class _Case:
    """What is measured of each engine.

    Attributes:
        camera: what is known of it; all where None.
        heading_deg: how far it may be off; as far as the model was made for where None.
        range_m: how far the camera may be from the patch's centre, likewise.
        is_kept: whether all frames are on one patch.
    """

    camera: CameraUncertainty | None = None
    heading_deg: float | None = None
    range_m: float | None = None
    is_kept: bool = True


_CASES: Mapping[str, _Case] = {
    KNOWN: _Case(),
    "camera known, within ±10 m": _Case(range_m=10.0),
    "camera known, within ±5 m": _Case(range_m=5.0),
    NEW_PATCH: _Case(is_kept=False),
    "camera known, heading ±45°": _Case(heading_deg=45.0),
    "camera known, any heading": _Case(heading_deg=180.0),
    _HALF_KNOWN: _Case(replace(EXTRINSICS, pitch_std_rad=0.0, roll_std_rad=0.0, height_std=0.0)),
    UNKNOWN: _Case(EXTRINSICS),
    "camera unknown, within ±10 m": _Case(EXTRINSICS, range_m=10.0),
    "camera unknown, within ±5 m": _Case(EXTRINSICS, range_m=5.0),
}


@dataclass(frozen=True)
class BirdsEyeBench:
    """What is measured.

    Attributes:
        model: a bundle's folder or a shipped one's name.
        runners: engines, each of which must run here; where empty, all that do.
        threads: of each; their own choice where None.
        frames: counted for each case.
        command: that asked for the run, for the record.
        progress: show progress bars on standard error.
    """

    model: str | Path = "birds_eye"
    runners: tuple[str, ...] = ()
    threads: int | None = None
    frames: int = 100
    command: str = ""
    progress: bool = False


def bench_birds_eye(settings: BirdsEyeBench) -> dict[str, Any]:
    """Measures every engine and returns plain values for JSON; `text_of` makes tables of it.

    Raises:
        GeoFlowError: the bundle or a setting cannot be used, an engine that was asked for cannot run here, or none can.
    """
    bundle = Bundle.load(model_path(settings.model))
    bundle.require_method(BIRDS_EYE)
    if settings.frames < 1:
        raise InputError("the bench needs at least one frame")
    if bundle.manifest.birds_eye is not None and bundle.manifest.birds_eye.flow_start == ZERO:
        raise InputError(f"the bundle '{bundle.manifest.name}' has flow from zero: there is no search to be timed")
    unknown = [name for name in settings.runners if name not in RUNNERS]
    if unknown:
        raise InputError(f"'{unknown[0]}' is no engine of this method; there are {', '.join(RUNNERS)}")
    pictures = render_pictures(bundle.manifest, _PICTURES)
    engines: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name in settings.runners or RUNNERS:
        try:
            runner = open_runner(bundle, BackendOptions(name, threads=settings.threads, device="cpu"))
        except UNAVAILABLE as error:
            if settings.runners:
                raise InputError(f"{name} cannot run here: {reason_of(error)}") from error
            left_out[name] = reason_of(error)
            continue
        frames = len(_CASES) * settings.frames
        with progress_bar(frames, name, "frames", is_shown=settings.progress, leave=False) as bar:
            cases = {
                case: _measure(bundle, runner, what, pictures, settings.frames, bar.update)
                for case, what in _CASES.items()
            }
        engines[name] = {"name": runner.name, "precision": runner.precision, "cases": cases}
    if not engines:
        raise InputError(f"no engine runs here ({'; '.join(f'{n}: {why}' for n, why in left_out.items())})")
    manifest = bundle.manifest
    return {
        "command": settings.command,
        "machine": describe_machine(),
        "model": {
            "name": manifest.name,
            "satellite_px": manifest.satellite.size_px,
            "ground_px": [manifest.ground.height_px, manifest.ground.width_px],
        },
        "settings": {"threads": settings.threads, "frames": settings.frames},
        "backends": engines,
        "left_out": left_out,
    }


def _measure(
    bundle: Bundle, runner: GraphRunner, case: _Case, pictures: Sequence[Pictures], frames: int, tick: Callable[[], Any]
) -> dict[str, Any]:
    """Times frames one after the other; what they tell of the camera is forgotten, so that all cost the same."""
    localizer = BirdsEyeLocalizer(bundle, runner, SearchSettings(camera=case.camera))
    heading_rad = None if case.heading_deg is None else math.radians(case.heading_deg)
    patch = pictures[0].patch(bundle.manifest)
    ms: dict[str, list[float]] = {stage: [] for stage in STAGES}
    hypotheses = headings = 0
    range_m = 0.0
    for index in range(_WARM_UP + frames):
        picture = pictures[index % len(pictures)]
        if not case.is_kept:
            patch = picture.patch(bundle.manifest)
        localizer.forget()
        begin = perf_counter()
        image = picture.decode()
        decoded = perf_counter()
        fix = localizer.localize(image, patch, index, heading_rad, case.range_m)
        done = perf_counter()
        assert isinstance(fix, BirdsEyeFix)  # as all that is matched
        if index < _WARM_UP:
            continue
        times, scores = fix.timings, fix.posterior.scores
        hypotheses, headings, range_m = len(scores.coarse), len(scores.turn_rad), fix.search_radius_m
        values = (
            1e3 * (decoded - begin), times.resize_ms, times.satellite_ms, times.ground_ms, times.refine_ms,
            times.covariance_ms, 1e3 * (done - begin),
        )  # fmt: skip
        for stage, value in zip(STAGES, values, strict=True):
            ms[stage].append(value)
        tick()
    return {
        "camera_hypotheses": hypotheses,
        "headings": headings,
        "range_m": range_m,
        "stages_ms": {
            stage: {"p50": float(np.median(times)), "p95": float(np.percentile(times, 95))}
            for stage, times in ms.items()
        },
        **timing(ms["total"]),
    }


def text_of(result: Mapping[str, Any]) -> str:
    """Formats the result as tables."""
    machine, model, settings = result["machine"], result["model"], result["settings"]
    height, width = model["ground_px"]
    head = "\n".join(
        [
            f"command  {result['command'] or '(called from Python)'}",
            f"machine  {machine['cpu']}, {machine['cores']} cores ({', '.join(machine['vector_units'])})",
            f"versions {', '.join(f'{name} {version}' for name, version in machine['versions'].items())}",
            f"model    {model['name']}, patch {model['satellite_px']}², camera {height} x {width}",
            f"frames   {settings['frames']} of each kind, threads {settings['threads'] or 'as each engine likes'}",
        ]
    )
    parts = [head]
    for label, engine in result["backends"].items():
        rows = [
            [
                case, str(found["camera_hypotheses"]), str(found["headings"]), f"{found['range_m']:.1f}",
                *(f"{found['stages_ms'][stage]['p50']:.1f}" for stage in STAGES),
                f"{found['stages_ms']['total']['p95']:.1f}", f"{found['frames_per_second']:.1f}",
            ]
            for case, found in engine["cases"].items()
        ]  # fmt: skip
        parts.append(table([f"{label}, ms", "cameras", "headings", "± m", *STAGES, "p95", "frames/s"], rows))
    parts += [f"left out: {label}: {reason}" for label, reason in result["left_out"].items()]
    return "\n\n".join(parts)


def cost_picture(result: Mapping[str, Any], path: Path) -> None:
    """Draws the time of a frame against what is not known: headings, range and how the camera stands, as PNG.

    Raises:
        InputError: matplotlib is not installed, or the place cannot be written.
    """
    figure, panels = pyplot().subplots(1, 3, figsize=(13.0, 4.2), sharey=True)
    for number, (label, engine) in enumerate(result["backends"].items()):
        usual, found = engine["cases"][KNOWN], [f for case, f in engine["cases"].items() if case != NEW_PATCH]
        most = max(f["camera_hypotheses"] for f in found)
        for axes, (key, fixed) in zip(panels, _AXES.items(), strict=True):
            for cameras, style in ({most: "o--", 1: "o-"} if key == "range_m" else {1: "o-"}).items():
                held = usual | {"camera_hypotheses": cameras}
                chosen = [f for f in found if all(f[other] == held[other] for other in fixed)]
                points = sorted((f[key], f["stages_ms"]["total"]["p50"]) for f in chosen)
                name = label if cameras == 1 else f"{label}, camera unknown"
                axes.plot(*zip(*points, strict=True), style, color=f"C{number}", markersize=4, label=name)
    for axes, name in zip(panels, ("coarse headings (camera known)", "range, ± m", "ways of the camera"), strict=True):
        axes.set_xlabel(name)
        axes.set(xlim=(0.0, None), ylim=(0.0, None))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("image to fix, ms")
    panels[1].legend(fontsize=8)
    machine = result["machine"]
    figure.suptitle(f"{result['model']['name']}, {machine['cpu']}, {machine['cores']} cores", fontsize=10)
    save_figure(figure, path)
