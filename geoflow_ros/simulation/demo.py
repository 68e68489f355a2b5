"""`geoflow demo`: a simulated vehicle drives through a city, the localizer follows it, and the recording is measured.

The vehicle, the localizer and the recorder are processes of their own, as on a real vehicle; they talk over a private
ROS domain on this machine. The map reaches the localizer over HTTP. Nothing here imports ROS: the figures come from the
bag.
"""

import json
import re
import secrets
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bundle import Bundle, Manifest
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag import Topics, drive_figures, messages, read_drive
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.images import decode_image
from geoflow_ros.inference import GeoFlowLocalizer
from geoflow_ros.progress import progress_bar
from geoflow_ros.resources import available_models, model_path
from geoflow_ros.simulation.processes import Child, ChildError, Children
from geoflow_ros.stamps import stamp_ns
from geoflow_ros.tiles import SatelliteMap, TileServer, open_tile_source
from geoflow_ros.tracking.trajectory import DriveRecord
from geoflow_ros.visualization.report import MapPicture, error_picture, flow_picture, trajectory_picture
from geoflow_ros.world import Area, Drive, World, orthophoto, write_mbtiles

# The map reaches this far beyond the drive: half the diagonal of a 100 m patch and the prior's error.
_MAP_MARGIN_M = 120.0
_PICTURE_MARGIN_M = 40.0
_PICTURE_RESOLUTION_M = 0.25
_READY_S = 120.0  # a model on a slow disk, a cold cache: patience, not an expectation
_STALLED_S = 180.0
# Where the picture of one frame starts to search: metres (forward, right) from the truth to the prior.
_PICTURE_PRIOR_M = (-11.0, 8.0)
_PICTURE_HYPOTHESES = 48
RECORDED = (
    "/image/compressed",
    "/odom",
    "/imu",
    "/initialpose",
    "/ground_truth/odom",
    "/geoflow_localizer/pose",
    "/geoflow_localizer/fix",
    "/geoflow_localizer/track",
    "/geoflow_localizer/hypotheses",
    "/diagnostics",
    "/tf",
    "/tf_static",
)


@dataclass(frozen=True)
class DemoSettings:
    """What is driven.

    Attributes:
        seconds: length of the drive, real time.
        seed: which drive (and, with `Area.CROSS`, which city).
        area: the town of the training, or a city that training never saw.
        out: folder for map, bag, logs, metrics and pictures; files of an earlier demo are replaced.
        model: a bundle's folder or a shipped one's name; None takes the one made for the area.
        image_rate_hz: camera frames a second.
        progress: say on standard error what is going on, with progress bars where that is a terminal.
    """

    seconds: float
    seed: int
    area: Area
    out: Path
    model: str | None = None
    image_rate_hz: float = 5.0
    progress: bool = False


@dataclass(frozen=True)
class DemoResult:
    """The figures (`metrics.json`) and every file that was written for a person to look at."""

    metrics: dict[str, Any]
    files: tuple[Path, ...]


def run_demo(settings: DemoSettings) -> DemoResult:
    """Drives, records, measures.

    Raises:
        GeoFlowError: settings, model or folder that cannot be used, or a process that failed (its log's end is in the
            message). No process is left behind, whatever happens.
    """
    bundle = Bundle.load(model_path(settings.model or default_model(settings.area)))
    if bundle.manifest.camera.model != "perspective":
        raise InputError(f"the demo's camera is a perspective one; model '{bundle.manifest.name}' is for another")
    out = _prepared(settings.out)
    world = World.of(settings.area, settings.seed)
    drive = Drive(world, settings.seed, settings.seconds)
    _say(settings, "drawing the map")
    tiles = write_drive_map(drive, out / "map.mbtiles")
    _say(settings, f"rendering the camera, then driving for {settings.seconds:.0f} s (logs in {out / 'logs'})")
    bag, memory_mb = _drive(settings, bundle, world, drive, tiles)

    _say(settings, "measuring")
    record = read_drive(bag)
    metrics = {
        **drive_figures(record),
        "seed": settings.seed,
        "area": settings.area.value,
        "model": bundle.manifest.name,
        "localizer_memory_mb": memory_mb,
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    pictures = _pictures(settings, bundle, world, drive, tiles, bag, record)
    return DemoResult(metrics, (out / "metrics.json", *pictures, bag))


def write_drive_map(drive: Drive, path: Path) -> Path:
    """The tiles that a localizer needs on a drive, as MBTiles; returns the path."""
    return write_mbtiles(drive.world, path, _region(drive, _MAP_MARGIN_M))


def default_model(area: Area) -> str:
    """The shipped model for an area: one for the town where there is such a one, else the general one."""
    names = available_models()
    if area is Area.SAME and "town" in names:
        return "town"
    return "synthetic"


def _drive(
    settings: DemoSettings, bundle: Bundle, world: World, drive: Drive, tiles: Path
) -> tuple[Path, dict[str, float] | None]:
    """Runs the processes of one drive; returns the bag and the memory that the localizer took."""
    out = settings.out
    environment = {
        # A domain that nobody else on this machine is likely to use, and nobody on the network can hear. Above 101,
        # the ports of a domain overlap with those that Linux gives to any program.
        "ROS_DOMAIN_ID": str(1 + secrets.randbelow(101)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }
    bag = out / "bag"
    source = open_tile_source(tiles)
    try:
        with TileServer(source) as server, Children(out / "logs", environment) as children:
            localizer = children.start("localizer", _localizer_command(server.base_url, bundle, world, drive))
            children.wait_for(localizer, "]: active", _READY_S)
            recorder = children.start("recorder", _recorder_command(bag))
            children.wait_for(recorder, "recording", _READY_S)
            vehicle = children.start("vehicle", _vehicle_command(settings, bundle.manifest))
            _follow(settings, children, vehicle)
            time.sleep(1.0)  # the last frame's answer is still on its way
            children.check(vehicle)
            children.stop(vehicle)
            children.stop(recorder)
            memory_mb = localizer.memory_mb()
            children.stop(localizer)
    finally:
        source.close()
    return bag, memory_mb


def _localizer_command(tiles_url: str, bundle: Bundle, world: World, drive: Drive) -> list[str]:
    parameters = {
        "model.path": str(bundle.path.resolve()),
        "tiles.source": f"{tiles_url}/",
        "datum.latitude_deg": repr(world.datum.lat_deg),
        "datum.longitude_deg": repr(world.datum.lon_deg),
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
        "--recorder": "geoflow_recorder",
    }
    command = [sys.executable, "-m", "geoflow_ros.simulation.vehicle"]
    for name, value in options.items():
        command += [name, value]
    return command


def _recorder_command(bag: Path) -> list[str]:
    return [sys.executable, "-m", "geoflow_ros.simulation.recorder", str(bag), *RECORDED]


_RENDERED = re.compile(r"rendered (\d+)/(\d+) frames")
_DRIVEN = re.compile(r"driven (\d+)/(\d+) s")


def _follow(settings: DemoSettings, children: Children, vehicle: Child) -> None:
    """Waits for the end of the drive, and shows how far rendering and driving are."""
    with (
        progress_bar(None, "rendering the camera", "frames", is_shown=settings.progress) as rendering,
        progress_bar(round(settings.seconds), "driving", "s", is_shown=settings.progress) as driving,
    ):
        said, since = "", time.monotonic()
        while vehicle.running:
            time.sleep(0.2)
            children.check(vehicle)
            log = vehicle.tail()
            for pattern, bar in ((_RENDERED, rendering), (_DRIVEN, driving)):
                found = pattern.findall(log)
                if found:
                    bar.advance_to(int(found[-1][0]), total=int(found[-1][1]))
            if log != said:
                said, since = log, time.monotonic()
            elif time.monotonic() - since > _STALLED_S:
                raise ChildError(f"the vehicle stands still since {_STALLED_S:.0f} s: see {vehicle.log}")
        children.check(vehicle)
        driving.advance_to(driving.total or 0)


def _pictures(
    settings: DemoSettings, bundle: Bundle, world: World, drive: Drive, tiles: Path, bag: Path, record: DriveRecord
) -> tuple[Path, ...]:
    out = settings.out
    region = _region(drive, _PICTURE_MARGIN_M)
    background = MapPicture(orthophoto(world, region, _PICTURE_RESOLUTION_M), region)
    place = "the town of the training" if settings.area is Area.SAME else "a city never seen in training"
    title = f"{settings.seconds:.0f} s through {place} (seed {settings.seed})"
    trajectory_picture(record, background, out / "trajectory.png", title)
    error_picture(record, out / "error.png")
    _frame_picture(bundle, world, drive, tiles, bag, record, out / "frame.png")
    return out / "trajectory.png", out / "error.png", out / "frame.png"


def _frame_picture(
    bundle: Bundle, world: World, drive: Drive, tiles: Path, bag: Path, record: DriveRecord, path: Path
) -> None:
    """One recorded frame, localized again from a prior that is far off, with its hypotheses flowing to the answer."""
    stamp = int(record.image_stamps_ns[len(record.image_stamps_ns) // 2])
    ground = image_at(bag, Topics().image, stamp)
    position, yaw = record.truth.at(np.array([stamp]))
    yaw_rad = float(yaw[0])
    forward, right = forward_right_axes(yaw_rad)
    camera = position[0] + drive.lever_arm_m * forward
    prior = camera + _PICTURE_PRIOR_M[0] * forward + _PICTURE_PRIOR_M[1] * right
    source = open_tile_source(tiles)
    try:
        frame = bundle.manifest.patch_frame(float(prior[0]), float(prior[1]), yaw_rad)
        patch = SatelliteMap(source, world.datum).patch(frame)
    finally:
        source.close()
    fix = GeoFlowLocalizer(bundle, hypotheses=_PICTURE_HYPOTHESES).localize(ground, patch, stamp)
    flow_picture(fix, patch, ground, camera, path)


def image_at(bag: Path, topic: str, stamp: int) -> UInt8Array:
    """(H, W, 3) RGB uint8: the recorded compressed image with a stamp (nanoseconds).

    Raises:
        InputError: the bag has none, or it cannot be decoded.
    """
    for _, _, message in messages(bag, [topic]):
        if stamp_ns(message.header.stamp) == stamp:
            decoded = decode_image(bytes(message.data))
            if decoded is None:
                raise InputError(f"the image at {stamp} ns in {bag} cannot be decoded")
            return decoded
    raise InputError(f"{bag} has no image with stamp {stamp} ns on {topic}")


def _region(drive: Drive, margin_m: float) -> tuple[float, float, float, float]:
    """West, south, east, north of the drive with a margin, map metres; within the world."""
    states, half = drive.states, drive.world.layout.half_m
    low = np.array([states.east_m.min(), states.north_m.min()]) - margin_m
    high = np.array([states.east_m.max(), states.north_m.max()]) + margin_m
    west, south, east, north = np.clip(np.concatenate([low, high]), -half, half)
    return float(west), float(south), float(east), float(north)


def _prepared(out: Path) -> Path:
    """The folder, without what an earlier demo left in it.

    Raises:
        InputError: it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("bag", "logs"):
            shutil.rmtree(out / name, ignore_errors=True)
        for name in ("map.mbtiles", "metrics.json", "trajectory.png", "error.png", "frame.png"):
            (out / name).unlink(missing_ok=True)
        (out / "logs").mkdir()
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror or error}") from None
    return out


def _say(settings: DemoSettings, what: str) -> None:
    if settings.progress:
        print(what, file=sys.stderr, flush=True)
