"""`geoflow demo`: a simulated vehicle drives through a city, the localizer follows it, and the recording is measured.

The vehicle, the localizer and the recorder are processes of their own, as on a real vehicle; they talk over a private
ROS domain on this machine. The map reaches the localizer over HTTP. Nothing here imports ROS: the figures come from the
bag.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoflow_ros.bundle import Bundle, Manifest
from geoflow_ros.bundle.methods import GEOFLOW
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag import drive_figures, read_drive
from geoflow_ros.evaluation.faults import FaultAnswer, FaultWindow, fault_answers
from geoflow_ros.progress import progress_bar
from geoflow_ros.resources import DEFAULT_MODEL, GEOFLOW_MODEL, available_models, model_path
from geoflow_ros.simulation.domains import ClaimedDomain
from geoflow_ros.simulation.events import EventKind, EventReader
from geoflow_ros.simulation.faults import Injection
from geoflow_ros.simulation.pictures import RecordedDrive, draw_pictures
from geoflow_ros.simulation.processes import Child, ChildError, Children
from geoflow_ros.simulation.surroundings import Surroundings
from geoflow_ros.tiles import open_tile_source
from geoflow_ros.world import Area, Drive, World
from geoflow_ros.world.drive_map import write_drive_map

_LOCALIZER = "/geoflow_localizer"
_RECORDER = "geoflow_recorder"
_READY_S = 120.0  # a model on a slow disk, a cold cache: patience, not an expectation
_PROBE_START_S = 20.0  # how much later than the probe itself the demo loses its patience
_STALLED_S = 180.0
_POLL_S = 0.2
_LAST_ANSWER_S = 1.0  # how long the answer to the last frame may be on its way
RECORDED = (
    "/image/compressed",
    "/odom",
    "/imu",
    "/initialpose",
    "/ground_truth/odom",
    "/geoflow_localizer/pose",
    "/geoflow_localizer/fix",
    "/geoflow_localizer/track",
    "/geoflow_localizer/status",
    "/geoflow_localizer/hypotheses",
    "/diagnostics",
    "/tf",
    "/tf_static",
)
_BEGIN = ("--begin-with=/initialpose", "--begin-with=/odom")  # a bag of a drive begins with the drive


@dataclass(frozen=True)
class DemoSettings:
    """What is driven.

    Attributes:
        seconds: length of the drive, real time.
        seed: which drive (and, with `Area.CROSS`, which city).
        area: the town of the training, or a city that training never saw.
        out: folder for map, bag, logs, metrics and pictures; files of an earlier demo are replaced.
        model: a bundle's folder or a shipped one's name; None takes the shipped one of the localizer.
        localizer: the method of the model, "geoflow" or "birds_eye"; None is the model's.
        image_rate_hz: camera frames a second.
        progress: say on standard error what is going on, with progress bars where that is a terminal.
        faults: what goes wrong on the way.
    """

    seconds: float
    seed: int
    area: Area
    out: Path
    model: str | None = None
    localizer: str | None = None
    image_rate_hz: float = 5.0
    progress: bool = False
    faults: tuple[Injection, ...] = ()


@dataclass(frozen=True)
class DemoResult:
    """The figures (`metrics.json`), every file that was written for a person to look at, and the answers to faults."""

    metrics: dict[str, Any]
    files: tuple[Path, ...]
    faults: tuple[FaultAnswer, ...] = ()


def run_demo(settings: DemoSettings) -> DemoResult:
    """Drives, records, measures.

    Raises:
        GeoFlowError: settings, model or folder that cannot be used (found before anything is rendered), or a process
            that failed (its log's end is in the message). No process is left behind, whatever happens.
    """
    bundle = Bundle.load(model_path(settings.model or default_model(settings.area, settings.localizer)))
    if settings.localizer not in (None, bundle.manifest.method):
        raise InputError(
            f"the model '{bundle.manifest.name}' is of the method {bundle.manifest.method}, not "
            f"{settings.localizer}: leave --localizer out, or take another model"
        )
    if bundle.manifest.camera.model != "perspective":
        raise InputError(f"the demo's camera is a perspective one; model '{bundle.manifest.name}' is for another")
    drive = Drive(World.of(settings.area, settings.seed), settings.seed, settings.seconds)
    out = _prepared(settings.out)
    _say(settings, "drawing the map")
    tiles = write_drive_map(drive, out / "map.mbtiles")
    _say(settings, f"rendering the camera, then driving for {settings.seconds:.0f} s (logs in {out / 'logs'})")
    bag, memory_mb = _drive(settings, bundle, drive, tiles)

    _say(settings, "measuring")
    record = read_drive(bag)
    metrics = {
        **drive_figures(record),
        "datum": {"latitude_deg": drive.world.datum.lat_deg, "longitude_deg": drive.world.datum.lon_deg},
        "seed": settings.seed,
        "area": settings.area.value,
        "model": bundle.manifest.name,
        "localizer": bundle.manifest.method,
        "localizer_memory_mb": memory_mb,
    }
    answers = fault_answers(bag, _windows(settings)) if settings.faults else []
    if answers:
        metrics["faults"] = [asdict(answer) for answer in answers]
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    _say(settings, "drawing the pictures")
    pictures = draw_pictures(RecordedDrive(settings.area, drive, bundle, tiles, bag, record), out)
    return DemoResult(metrics, (out / "metrics.json", *pictures, bag, tiles, out / "logs"), tuple(answers))


def _windows(settings: DemoSettings) -> list[FaultWindow]:
    ordered = sorted(settings.faults, key=lambda injection: injection.start_s)
    ends = [*(following.start_s for following in ordered[1:]), settings.seconds]
    return [FaultWindow(i.fault.value, i.start_s, i.end_s, end) for i, end in zip(ordered, ends, strict=True)]


def default_model(area: Area, method: str | None = None) -> str:
    """Returns the shipped model of a method; GeoFlow's for the town where there is such a one, else the general one."""
    if method != GEOFLOW:
        return DEFAULT_MODEL
    names = available_models()
    if area is Area.SAME and "town" in names:
        return "town"
    return GEOFLOW_MODEL


def _drive(settings: DemoSettings, bundle: Bundle, drive: Drive, tiles: Path) -> tuple[Path, dict[str, float] | None]:
    """Runs the processes of one drive; returns the bag and the memory that the localizer took."""
    with ClaimedDomain() as domain:
        return _drive_in(domain, settings, bundle, drive, tiles)


def _drive_in(
    domain: ClaimedDomain, settings: DemoSettings, bundle: Bundle, drive: Drive, tiles: Path
) -> tuple[Path, dict[str, float] | None]:
    out = settings.out
    environment = {
        "ROS_DOMAIN_ID": str(domain.id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }
    bag = out / "bag"
    source = open_tile_source(tiles)
    try:
        with Surroundings(source) as surroundings, Children(out / "logs", environment) as children:
            command = _localizer_command(surroundings.tiles_url, bundle, drive)
            if settings.faults:
                command += ["-p", f"start.resume_file:={(out / 'last_pose.json').resolve()}"]
            localizer = children.start("localizer", command)
            probe = children.start("ready", _module("ready", _LOCALIZER, "--timeout", repr(_READY_S)))
            recorder = children.start("recorder", _module("recorder", str(bag), *RECORDED, *_BEGIN))
            children.wait_for_end(probe, _READY_S + _PROBE_START_S)
            children.wait_until_ready(recorder, _READY_S)
            vehicle = children.start("vehicle", _vehicle_command(settings, bundle.manifest))
            surroundings.harm(settings.faults, children, localizer, command)
            _follow(settings, children, vehicle, surroundings.at)
            time.sleep(_LAST_ANSWER_S)
            children.check(vehicle)
            children.stop(vehicle)
            children.stop(recorder)
            memory_mb = surroundings.localizer.memory_mb()
            children.stop(surroundings.localizer)
    finally:
        source.close()
    return bag, memory_mb


def _module(name: str, *arguments: str) -> list[str]:
    """The command that runs a program of this room."""
    return [sys.executable, "-m", f"geoflow_ros.simulation.{name}", *arguments]


def _localizer_command(tiles_url: str, bundle: Bundle, drive: Drive) -> list[str]:
    datum = drive.world.datum
    parameters = {
        "model.path": str(bundle.path.resolve()),
        "tiles.source": f"{tiles_url}/",
        "datum.latitude_deg": repr(datum.lat_deg),
        "datum.longitude_deg": repr(datum.lon_deg),
        "image_transport": "compressed",
        "camera.lever_arm.x_m": repr(float(drive.lever_arm_m)),
    }
    command = [sys.executable, "-m", "geoflow_ros.ros.command", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    return command


def _vehicle_command(settings: DemoSettings, manifest: Manifest) -> list[str]:
    options = {
        "--area": settings.area.value,
        "--seed": str(settings.seed),
        "--seconds": repr(settings.seconds),
        "--image-rate": repr(settings.image_rate_hz),
        "--width": str(manifest.ground.width_px),
        "--height": str(manifest.ground.height_px),
        "--recorder": _RECORDER,
    }
    faults = [word for injection in settings.faults for word in ("--fault", injection.text())]
    return _module("vehicle", *(word for option in options.items() for word in option), *faults)


def _follow(settings: DemoSettings, children: Children, vehicle: Child, at: Callable[[float], None]) -> None:
    """Waits for the end of the drive, and shows how far rendering and driving are; `at` is told the drive's time.

    Raises:
        ChildError: a process failed, or the vehicle told nothing for too long.
    """
    reader = EventReader(vehicle.log)
    last_event_s = time.monotonic()
    with progress_bar(None, "rendering the camera", "frames", is_shown=settings.progress) as rendering:
        is_driving = False
        while vehicle.running and not is_driving:
            last_event_s = _check_progress(children, vehicle, last_event_s)
            for event in reader.new_events():
                last_event_s = time.monotonic()
                if event.kind is EventKind.RENDERED:
                    rendering.advance_to(int(event.done), total=int(event.of))
                is_driving = is_driving or event.kind is EventKind.DRIVEN
    with progress_bar(round(settings.seconds), "driving", "s", is_shown=settings.progress) as driving:
        while vehicle.running:
            last_event_s = _check_progress(children, vehicle, last_event_s)
            for event in reader.new_events():
                last_event_s = time.monotonic()
                driving.advance_to(int(event.done))
                at(event.done)
        children.check(vehicle)
        driving.advance_to(round(settings.seconds))


def _check_progress(children: Children, vehicle: Child, last_event_s: float) -> float:
    """Waits a moment, and refuses a vehicle that stands still; returns `last_event_s`."""
    time.sleep(_POLL_S)
    children.check(vehicle)
    if time.monotonic() - last_event_s > _STALLED_S:
        raise ChildError(f"the vehicle stands still since {_STALLED_S:.0f} s: see {vehicle.log}")
    return last_event_s


def _prepared(out: Path) -> Path:
    """Makes the folder, or removes what an earlier demo left in it; returns it.

    Raises:
        InputError: it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("bag", "logs"):
            shutil.rmtree(out / name, ignore_errors=True)
        for name in ("map.mbtiles", "metrics.json", "last_pose.json", "trajectory.png", "error.png", "frame.png"):
            (out / name).unlink(missing_ok=True)
        (out / "logs").mkdir()
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror or error}") from None
    return out


def _say(settings: DemoSettings, what: str) -> None:
    if settings.progress:
        print(what, file=sys.stderr, flush=True)
