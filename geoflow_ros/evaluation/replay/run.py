"""A bag through the vehicle's pipeline: what the node would have answered, offline, the same on every run."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.backends import BackendOptions
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag_files import Bag
from geoflow_ros.evaluation.replay.answers import AnswerRecorder, ReplayAnswers
from geoflow_ros.evaluation.replay.files import AnswerBag, answer_bag, write_frames, write_trajectories
from geoflow_ros.evaluation.replay.odometry import OdometrySource, odometry_of
from geoflow_ros.evaluation.replay.report import write_report
from geoflow_ros.evaluation.replay.sensors import BagSensors, gives_a_heading
from geoflow_ros.evaluation.replay.topics import Chosen, Wanted, choose
from geoflow_ros.evaluation.replay.truth import TruthRecorder, read_tum
from geoflow_ros.geo import Datum
from geoflow_ros.geo.angles import yaw_from_heading_deg
from geoflow_ros.geo.camera import Mounting, read_calibration
from geoflow_ros.localization import (
    CameraFrame,
    DriveEvent,
    FrameRejected,
    VehicleFix,
    VehicleLocalizer,
    VehicleOptions,
    VehicleSettings,
    open_vehicle_localizer,
    replay,
)
from geoflow_ros.progress import ProgressBar, progress_bar
from geoflow_ros.resources import DEFAULT_MODEL
from geoflow_ros.tracking import StartPose

START_STD_M, START_STD_RAD = 5.0, math.radians(3.0)
"""How well a start that a person types is taken to be known."""

METRICS = "metrics.json"
_BAG, _FRAMES, _REPORT = "answers", "frames.csv", "report.html"


@dataclass(frozen=True)
class ReplaySettings:
    """What is replayed.

    Attributes:
        bag: folder or file.
        tiles: the map, see `open_tile_source`.
        out: folder of what is written; files of an earlier replay are replaced.
        wanted: topics that are named.
        truth_file: truth in the TUM format, in the map frame; instead of a topic.
        start: (latitude, longitude, heading clockwise from north), degrees; None: the bag tells.
        datum: (latitude, longitude) of the map frame; None: the centre of the tiles.
        model: a bundle's folder or a shipped one's name.
        backend: what runs it.
        calibration: of the lens, ROS's YAML format; None: the camera_info's.
        rectified: whether the pictures are rectified.
        mounting: of the camera; None: that of /tf_static, or none.
        progress: show progress on standard error.
    """

    bag: Path
    tiles: str
    out: Path
    wanted: Wanted = field(default_factory=Wanted)
    truth_file: Path | None = None
    start: tuple[float, float, float] | None = None
    datum: tuple[float, float] | None = None
    model: str | Path = DEFAULT_MODEL
    backend: BackendOptions = field(default_factory=lambda: BackendOptions(ONNXRUNTIME))
    calibration: Path | None = None
    rectified: bool = False
    mounting: Mounting | None = None
    progress: bool = False


@dataclass(frozen=True, eq=False)
class ReplayResult:
    """A replay that is over: its figures (`metrics.json`), its answers, and every file that was written."""

    metrics: dict[str, Any]
    answers: ReplayAnswers
    files: tuple[Path, ...]


def replay_bag(settings: ReplaySettings, say: Callable[[str], object] = lambda line: None) -> ReplayResult:
    """Replays a bag and writes what it gave.

    Args:
        settings: what.
        say: takes the lines that say what is used and what is missing.

    Raises:
        GeoFlowError: bag, topics, map or model cannot be used, or no frame gave a pose (then the files are there).
    """
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(settings.bag))
        chosen = choose(bag, settings.wanted)
        if settings.truth_file is not None:
            chosen = replace(chosen, truth=None)
        for line in (*bag.notes, *chosen.lines()):
            say(line)
        vehicle = stack.enter_context(open_vehicle_localizer(_options(settings)))
        drive = _Drive.prepared(settings, bag, chosen, vehicle)
        for line in drive.told:
            say(line)
        told = len(bag.notes)
        out = _prepared(settings.out)
        bar = progress_bar(chosen.image.count, "replaying", "frames", is_shown=settings.progress)
        with bar, answer_bag(out / _BAG) as writer:
            began_s = time.perf_counter()
            drive.run(writer, bar)
            seconds = time.perf_counter() - began_s
        for line in bag.notes[told:]:
            say(line)
        answers = drive.recorder.done(drive.true_trajectory())
        metrics = _metrics(settings, drive, answers, seconds)
        files = [out / METRICS, out / _FRAMES, *write_trajectories(answers, out), out / _BAG, out / _REPORT]
        (out / METRICS).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        write_frames(answers, out / _FRAMES)
        write_report(out / _REPORT, metrics, answers, drive.true_trajectory(), bag, chosen.image, vehicle)
    if not answers.has_fix.any():
        raise InputError(_nothing_left(settings, answers, drive))
    return ReplayResult(metrics, answers, tuple(files))


class _Drive:
    """One bag with one vehicle localizer."""

    def __init__(
        self, bag: Bag, vehicle: VehicleLocalizer, sensors: BagSensors, truth: TruthRecorder | None, told: list[str]
    ) -> None:
        self.bag, self.vehicle, self.sensors, self.told = bag, vehicle, sensors, told
        self.recorder = AnswerRecorder()
        self._truth = truth
        self._from_file: Any = None

    @classmethod
    def prepared(cls, settings: ReplaySettings, bag: Bag, chosen: Chosen, vehicle: VehicleLocalizer) -> _Drive:
        datum = vehicle.satellite_map.datum
        odometry = odometry_of(bag, chosen, datum, without_topic=settings.wanted.odometry == "")
        start = _start(settings, datum)
        _check_start(start, bag, chosen, odometry)
        truth = None if chosen.truth is None else TruthRecorder(chosen.truth.kind, datum)
        sensors = BagSensors(bag, chosen, odometry, vehicle.settings, truth, start)
        told = [odometry.told, f"datum        {datum.lat_deg:.7f}, {datum.lon_deg:.7f}"]
        told += _calibrated(settings, vehicle, sensors)
        if truth is None and settings.truth_file is None:
            told.append("no truth (--truth TOPIC or a TUM file): the errors stay unknown")
        drive = cls(bag, vehicle, sensors, truth, told)
        if settings.truth_file is not None:
            drive._from_file = read_tum(settings.truth_file)
        return drive

    def true_trajectory(self) -> Any:
        """Returns the truth as far as it is known; None where it is not."""
        return self._from_file if self._truth is None else self._truth.trajectory()

    def run(self, writer: AnswerBag, bar: ProgressBar) -> None:
        """Localizes every frame."""
        asked: list[int] = []
        began_s = time.perf_counter()
        for answer in replay(self.vehicle, _watched(self.sensors.events(), asked)):
            if not isinstance(answer, VehicleFix | FrameRejected):
                self.recorder.add_rejected_input(answer)
                continue
            now_s = time.perf_counter()
            stamp_ns, track = asked[-1], answer.track
            if track is None:
                track = self.vehicle.newest_track()
            state = self.vehicle.status.state
            self.recorder.add(stamp_ns, answer, track, state, (now_s - began_s) * 1e3)
            writer.add(stamp_ns, answer, track, state)
            bar.update()
            began_s = time.perf_counter()


def _watched(events: Iterator[DriveEvent], asked: list[int]) -> Iterator[DriveEvent]:
    """Hands events on, and keeps the stamp of the newest frame: each is answered before the next event is asked for."""
    for event in events:
        if isinstance(event, CameraFrame):
            asked[:] = [event.stamp_ns]
        yield event


def _options(settings: ReplaySettings) -> VehicleOptions:
    return VehicleOptions(
        tiles=settings.tiles,
        datum=settings.datum,
        model=settings.model,
        backend=settings.backend,
        vehicle=VehicleSettings(wait_for_odometry_s=0.0),
        prepare_in_background=False,
    )


def _calibrated(settings: ReplaySettings, vehicle: VehicleLocalizer, sensors: BagSensors) -> list[str]:
    """Tells the localizer its lens and mounting; returns what was taken, one line each."""
    lens = sensors.lens(settings.rectified)
    if settings.calibration is not None:
        lens = read_calibration(settings.calibration, rectified=settings.rectified)
    if lens is not None and vehicle.localizer.manifest.virtual_camera is None:
        lens = None  # a panorama, or a model that does not say its lens
    vehicle.camera.calibrate(lens)
    mounting = settings.mounting or sensors.mounting()
    if mounting is not None:
        vehicle.settings = vehicle.settings.mounted(mounting)
    assumed = vehicle.localizer.manifest.camera.description
    where = (
        "not told (--lever-arm, /tf_static): taken for base_link's"
        if mounting is None
        else f"{mounting.forward_m:.2f} m forward, {mounting.left_m:.2f} m left of base_link"
    )
    return [
        f"lens         not told: taken for the model's ({assumed})" if lens is None else f"lens         {lens.model}",
        f"camera       {where}",
    ]


def _start(settings: ReplaySettings, datum: Datum) -> StartPose | None:
    if settings.start is None:
        return None
    lat, lon, heading_deg = settings.start
    east_m, north_m = datum.to_enu(lat, lon)
    covariance = np.diag([START_STD_M**2, START_STD_M**2, START_STD_RAD**2])
    return StartPose(0, east_m, north_m, float(yaw_from_heading_deg(heading_deg)), covariance)


def _check_start(start: StartPose | None, bag: Bag, chosen: Chosen, odometry: OdometrySource) -> None:
    if start is not None or chosen.start is not None:
        return
    if chosen.fix is not None and gives_a_heading(chosen, odometry):
        return
    raise InputError(
        f"nothing in bag {bag.path} says where the drive begins (no initialpose, no NavSatFix with a heading): give "
        "--start LAT,LON,HEADING"
    )


def _metrics(settings: ReplaySettings, drive: _Drive, answers: ReplayAnswers, seconds: float) -> dict[str, Any]:
    metrics = answers.figures()
    duration_s = metrics["duration_s"]
    return {
        **metrics,
        "seconds": seconds,
        "times_real_time": duration_s / seconds if seconds > 0.0 else None,
        "bag": str(settings.bag),
        "model": drive.vehicle.localizer.manifest.name,
        "told": drive.told,
        "notes": drive.bag.notes,
        "left_out": dict(sorted(drive.sensors.left_out.items())),
        "inputs_rejected": dict(sorted(drive.recorder.inputs_rejected.items())),
        "examples": dict(sorted(drive.recorder.examples.items())),
    }


def _nothing_left(settings: ReplaySettings, answers: ReplayAnswers, drive: _Drive) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in answers.figures()["outcomes"].items())
    example = next(iter(drive.recorder.examples.values()), "the bag holds no frame that could be used")
    return (
        f"none of {len(answers)} frames gave a pose ({counts or 'no frame'}): {example} (see {settings.out / _REPORT})"
    )


def _prepared(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out / _BAG, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror or error}") from None
    return out
