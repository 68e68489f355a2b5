"""A drive in a folder is read in the order of its stamps, localized, and refused where it is damaged."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes.map import DATUM
from fakes.vehicle import BEGIN_NS, RATE_HZ, picture

from geoflow_ros.errors import InputError
from geoflow_ros.localization import (
    CameraFrame,
    DriveEvent,
    FrameRejected,
    RecordedDrive,
    RejectReason,
    VehicleFix,
    open_vehicle_localizer,
    replay,
)
from geoflow_ros.localization.recorded_drive import write_recorded_drive
from geoflow_ros.tracking import Heading, OdometryPose, StartPose

ROOT = Path(__file__).resolve().parents[2]
FRAMES, SPEED_MPS = 5, 6.0


def events(tick: int = 10) -> list[DriveEvent]:
    """Straight north for a second, with a picture and a heading every fifth of it."""
    found: list[DriveEvent] = [StartPose(BEGIN_NS, 0.0, 0.0, math.pi / 2, np.diag([9.0, 9.0, 1e-3]))]
    for index in range(FRAMES * tick + 1):
        stamp = BEGIN_NS + index * 1_000_000_000 // RATE_HZ
        found.append(OdometryPose(stamp, SPEED_MPS * index / RATE_HZ, 0.0, 0.0, SPEED_MPS))
        if index and index % tick == 0:
            found.append(Heading(stamp, math.pi / 2, 0.02))
            found.append(CameraFrame(stamp, cv2.imencode(".png", picture(number=stamp)[..., ::-1])[1].tobytes()))
    return found


@pytest.fixture
def folder(tmp_path: Path, tiles: Path) -> Path:
    drive = tmp_path / "drive"
    drive.mkdir()
    datum = (DATUM.lat_deg, DATUM.lon_deg)
    assert write_recorded_drive(drive, events(), tiles=str(tiles), datum=datum, lever_arm_m=(1.0, 0.0)) == FRAMES
    return drive


def test_what_was_written_is_read_in_the_order_of_its_stamps(folder: Path) -> None:
    read = list(RecordedDrive(folder).events())
    written = events()
    assert [type(event) for event in read] == [type(event) for event in written]
    assert [event.stamp_ns for event in read] == [event.stamp_ns for event in written]
    assert [e for e in read if isinstance(e, OdometryPose)] == [e for e in written if isinstance(e, OdometryPose)]


def test_a_recorded_drive_is_localized(folder: Path, bundle: Path) -> None:
    drive = RecordedDrive(folder)
    with open_vehicle_localizer(drive.options(model=bundle)) as vehicle:
        answers = list(replay(vehicle, drive.events()))
    assert len(answers) == FRAMES
    assert all(isinstance(answer, VehicleFix) for answer in answers)


def test_a_drive_may_say_its_cameras_calibration_and_mounting(folder: Path) -> None:
    description = json.loads((folder / "drive.json").read_text())
    description["camera"] |= {"pitch_deg": 3.0, "roll_deg": -1.0, "height_m": 1.4, "calibration": "front.yaml"}
    (folder / "drive.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"front\.yaml cannot be read"):
        RecordedDrive(folder)
    (folder / "front.yaml").write_text(
        "{image_width: 640, image_height: 360, distortion_model: equidistant, "
        "camera_matrix: [300, 0, 320, 0, 300, 180, 0, 0, 1], distortion_coefficients: [0.1, 0, 0, 0]}"
    )
    options = RecordedDrive(folder).options()
    assert options.intrinsics is not None
    assert options.intrinsics.coefficients == (0.1, 0.0, 0.0, 0.0)
    mounting = options.vehicle.mounting
    assert (mounting.forward_m, mounting.height_m) == (1.0, 1.4)
    lean = math.degrees(mounting.lean.pitch_rad), math.degrees(mounting.lean.roll_rad)
    assert lean == pytest.approx((3.0, -1.0))


def test_a_damaged_picture_is_one_rejection_and_the_drive_goes_on(folder: Path, bundle: Path) -> None:
    path = sorted((folder / "images").iterdir())[2]
    path.write_bytes(path.read_bytes()[:30])
    drive = RecordedDrive(folder)
    with open_vehicle_localizer(drive.options(model=bundle)) as vehicle:
        answers = list(replay(vehicle, drive.events()))
    (rejected,) = [answer for answer in answers if isinstance(answer, FrameRejected)]
    assert rejected.reason is RejectReason.IMAGE
    assert path.stem in rejected.detail
    assert len(answers) == FRAMES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("drive.json", "{", "is not JSON"),
        ("drive.json", "[]", "must hold an object"),
        ("drive.json", "{}", "has no 'datum'"),
        ("odometry.csv", "stamp_ns,x_m,y_m,yaw_rad\n1,2,three,4\n", "odometry.csv, line 2"),
        ("odometry.csv", "stamp_ns,x_m\n1,2\n", "odometry.csv, line 2"),
        ("images/first.png", "", "not named by its stamp"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_place(folder: Path, name: str, content: str, message: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=message):
        list(RecordedDrive(folder).events())


@pytest.mark.parametrize("missing", ["drive.json", "odometry.csv", "images"])
def test_a_part_that_is_missing_is_named(folder: Path, missing: str) -> None:
    (folder / missing).rename(folder / "elsewhere")
    with pytest.raises(InputError, match=missing):
        list(RecordedDrive(folder).events())


def test_a_drive_without_a_start_pose_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no start pose"):
        write_recorded_drive(tmp_path, events()[1:], tiles="map.mbtiles", datum=(49.0, 8.4))


def test_the_example_localizes_a_folder_and_draws_its_track(folder: Path, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (the extra [plots])")
    out = tmp_path / "track.png"
    command = [sys.executable, str(ROOT / "examples" / "localize_drive.py"), str(folder), "--out", str(out)]
    done = subprocess.run([*command, "--model", str(bundle)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{FRAMES} fixes, 0 rejections" in done.stdout
    assert cv2.imread(str(out)).shape[0] > 500
    refused = subprocess.run([*command[:2], str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
