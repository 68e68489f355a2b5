"""Whole drives, localized offline: deterministic, without ROS and without a clock, against the truth.

Each drive is rendered once, into a recorded drive's folder on disk, and every model is asked about it under every
disturbance; the real `VehicleLocalizer` answers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from geoflow_ros.backends import BackendOptions
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.bundle import Manifest
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.drive_answers import DriveAnswers, DriveRecorder
from geoflow_ros.evaluation.drive_protocol import (
    BLACK_CAMERA,
    BLACK_FROM_S,
    OTHER_CAMERA,
    OTHER_STYLE,
    WRONG_MAP,
    DriveProtocol,
)
from geoflow_ros.evaluation.drive_report import DrivesReport
from geoflow_ros.evaluation.synthetic import loaded
from geoflow_ros.images import encode_jpeg
from geoflow_ros.inference import PatchLocalizer, SearchSettings, open_localizer
from geoflow_ros.inference.camera_calibration import EXTRINSICS
from geoflow_ros.localization import (
    CameraFrame,
    DriveEvent,
    FrameRejected,
    InlineExecutor,
    RecordedDrive,
    VehicleFix,
    VehicleLocalizer,
    VehicleSettings,
    replay,
)
from geoflow_ros.localization.recorded_drive import write_recorded_drive
from geoflow_ros.progress import ProgressBar, progress_bar
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tiles import SatelliteMap, open_tile_source
from geoflow_ros.world import Camera
from geoflow_ros.world.disturbed_drive import DisturbedDrive
from geoflow_ros.world.drive_map import write_drive_map
from geoflow_ros.world.drive_sensors import JPEG_QUALITY, drive_events, image_times_s, stamp_at
from geoflow_ros.world.other_style import other_style_photo

_FIRST_NS = NANOSECONDS_PER_SECOND  # stamp of a drive's beginning; 0 would mean that there is none
_MAP = "map.mbtiles"
_SAME_SHAPE = 0.01  # relative difference between the shapes of two cameras' images


@dataclass(eq=False)
class _Contender:
    """One model with its answers, by disturbance."""

    name: str
    manifest: Manifest
    localizer: PatchLocalizer
    answers: dict[str, list[DriveAnswers]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Rendered:
    """A drive whose pictures are in a folder, and what rendering them took."""

    drive: DisturbedDrive
    recorded: RecordedDrive
    seconds: float


def measure_drives(
    models: Sequence[str | Path],
    protocol: DriveProtocol,
    *,
    backend: BackendOptions | None = None,
    progress: bool = False,
) -> DrivesReport:
    """Drives, and has models follow. The pictures of two drives at most lie on disk, in the folder for temporary files.

    Args:
        models: bundles' folders or shipped ones' names.
        protocol: which drives.
        backend: what runs the bundles; onnxruntime in float32 where None, which is the same on every machine.
        progress: show progress on standard error.

    Raises:
        GeoFlowError: a bundle that cannot be used, models whose cameras differ, or a drive that cannot be driven.
    """
    contenders = _contenders(models, backend or BackendOptions(ONNXRUNTIME))
    camera = _camera_of([contender.manifest for contender in contenders])
    rendering_s: list[float] = []
    following: _Rendered | None = None
    with TemporaryDirectory(prefix="geoflow-drives-") as root:
        for number in range(protocol.drives):
            here = following or _rendered(protocol, number, camera, Path(root), progress)
            following = None
            if OTHER_CAMERA in protocol.disturbed:
                following = _rendered(protocol, number + 1, camera, Path(root), progress)
            rendering_s.append(here.seconds)
            frames = _frame_count(protocol) * len(protocol.disturbed) * len(contenders)
            label = f"drive {number + 1} of {protocol.drives}, localizing"
            with progress_bar(frames, label, "frames", is_shown=progress) as bar:
                for name in protocol.disturbed:
                    tiles = _map_for(name, here, protocol, number)
                    onset_s = _black_from_s(here.drive) if name == BLACK_CAMERA else 0.0
                    for contender in contenders:
                        recorder = DriveRecorder(here.drive.seed, here.drive.states, _FIRST_NS, onset_s)
                        events = recorder.watched(_disturbed_events(name, here, following))
                        answers = _follow(contender.localizer, here, tiles, events, recorder, bar)
                        contender.answers.setdefault(name, []).append(answers)
            shutil.rmtree(here.recorded.folder)
    speed = _frame_count(protocol) * len(rendering_s) / sum(rendering_s)
    return DrivesReport(protocol, {contender.name: contender.answers for contender in contenders}, speed)


def _contenders(models: Sequence[str | Path], backend: BackendOptions) -> list[_Contender]:
    if not models:
        raise InputError("there is nobody to drive with: name at least one model")
    bundles = [loaded(model) for model in models]
    names = [bundle.manifest.name for bundle in bundles]
    search = SearchSettings(camera=EXTRINSICS)  # what the node takes the camera to be known by, unless told otherwise
    return [
        _Contender(
            name if names.count(name) == 1 else str(model),
            bundle.manifest,
            open_localizer(bundle, backend, search=search),
        )
        for model, name, bundle in zip(models, names, bundles, strict=True)
    ]


def _camera_of(manifests: Sequence[Manifest]) -> Camera:
    """Makes the camera of a vehicle that all models follow: with the pixels of the one that takes the most.

    Raises:
        InputError: their images are of different shapes.
    """
    sizes = [(manifest.ground.width_px, manifest.ground.height_px) for manifest in manifests]
    width, height = max(sizes)
    if any(abs(w * height / (h * width) - 1.0) > _SAME_SHAPE for w, h in sizes):
        told = " and ".join(sorted({f"{w} x {h}" for w, h in sizes}))
        raise InputError(f"models with camera images of {told} pixels see no drive alike: measure them one by one")
    return Camera.perspective(width, height)


def _frame_count(protocol: DriveProtocol) -> int:
    return len(image_times_s(protocol.seconds, protocol.rate_hz))


def _rendered(protocol: DriveProtocol, number: int, camera: Camera, root: Path, progress: bool) -> _Rendered:
    """Drives, and writes what the vehicle senses, with the map, into a folder of its own."""
    drive = protocol.drive(number, camera)
    folder = root / str(number)
    folder.mkdir()
    which = f"drive {number + 1} of {protocol.drives}" if number < protocol.drives else "the other drive"
    with progress_bar(_frame_count(protocol), f"{which}, rendering", "frames", is_shown=progress) as bar:
        started_s = time.perf_counter()
        write_recorded_drive(
            folder,
            _counted(drive_events(drive, _FIRST_NS, protocol.rate_hz), bar),
            tiles=_MAP,
            datum=(drive.world.datum.lat_deg, drive.world.datum.lon_deg),
            lever_arm_m=(drive.lever_arm_m, 0.0),
        )
        seconds = time.perf_counter() - started_s
    drive.world.forget_windows()
    write_drive_map(drive, folder / _MAP, photo=drive.photo)
    return _Rendered(drive, RecordedDrive(folder), seconds)


def _map_for(name: str, here: _Rendered, protocol: DriveProtocol, number: int) -> Path:
    """Returns the map that a drive is localized on; one that is not its own is drawn."""
    drive, own = here.drive, here.recorded.folder / _MAP
    path = own.with_name(f"{name}.mbtiles")
    if name == WRONG_MAP:
        other = protocol.other_city(number, drive.world.layout.side_m)
        return write_drive_map(drive, path, other, drive.photo)
    if name == OTHER_STYLE:
        return write_drive_map(drive, path, photo=other_style_photo(drive.seed))
    return own


def _disturbed_events(name: str, here: _Rendered, following: _Rendered | None) -> Iterator[DriveEvent]:
    """Gives what a drive's localizer is told: the sensors are its own, the pictures may not be."""
    events = here.recorded.events()
    if name == BLACK_CAMERA:
        return _blackened(events, here.drive)
    if name == OTHER_CAMERA:
        assert following is not None
        return _with_pictures_of(events, following.recorded.events())
    return events


def _blackened(events: Iterable[DriveEvent], drive: DisturbedDrive) -> Iterator[DriveEvent]:
    camera = drive.camera
    black = encode_jpeg(np.zeros((camera.height, camera.width, 3), np.uint8), JPEG_QUALITY)
    from_ns = stamp_at(_black_from_s(drive), _FIRST_NS)
    for event in events:
        is_black = isinstance(event, CameraFrame) and event.stamp_ns >= from_ns
        yield CameraFrame(event.stamp_ns, black) if is_black else event


def _black_from_s(drive: DisturbedDrive) -> float:
    return min(BLACK_FROM_S, drive.duration_s / 2.0)


def _with_pictures_of(events: Iterable[DriveEvent], others: Iterable[DriveEvent]) -> Iterator[DriveEvent]:
    pictures = (event for event in others if isinstance(event, CameraFrame))
    for event in events:
        yield replace(next(pictures), stamp_ns=event.stamp_ns) if isinstance(event, CameraFrame) else event


def _follow(
    localizer: PatchLocalizer,
    here: _Rendered,
    tiles: Path,
    events: Iterable[DriveEvent],
    recorder: DriveRecorder,
    bar: ProgressBar,
) -> DriveAnswers:
    """Has a vehicle localizer follow a drive on a map, from its start pose on."""
    localizer.forget()
    settings = VehicleSettings(wait_for_odometry_s=0.0).mounted(here.recorded.mounting)
    with ExitStack() as stack:
        source = open_tile_source(tiles)
        stack.callback(source.close)
        satellite_map = SatelliteMap(source, here.drive.world.datum)
        vehicle = stack.enter_context(VehicleLocalizer(localizer, satellite_map, settings, InlineExecutor()))
        started_s = time.perf_counter()
        for answer in replay(vehicle, events):
            if isinstance(answer, VehicleFix):
                recorder.add(answer, answer.track, vehicle.status.state)
            elif isinstance(answer, FrameRejected):
                recorder.add(answer, answer.track or vehicle.newest_track(), vehicle.status.state)
            else:
                recorder.add_rejected_input(answer)
                continue
            bar.update()
        return recorder.done(time.perf_counter() - started_s)


def _counted(events: Iterable[DriveEvent], bar: ProgressBar) -> Iterator[DriveEvent]:
    for event in events:
        yield event
        if isinstance(event, CameraFrame):
            bar.update()
