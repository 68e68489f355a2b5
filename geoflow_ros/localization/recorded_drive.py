"""A drive in a folder that anybody can write: images, odometry, where it began, and the map.

::

    drive.json      datum, start pose, camera on the vehicle, and the tiles
    odometry.csv    stamp_ns,x_m,y_m,yaw_rad,speed_mps
    headings.csv    stamp_ns,yaw_rad,std_rad          (absolute yaw in the map; may be missing)
    images/         STAMP_NS.jpg or .png

`drive.json`::

    {"tiles": "map.mbtiles", "datum": {"latitude_deg": 49.0, "longitude_deg": 8.4},
     "start": {"stamp_ns": 0, "east_m": 0.0, "north_m": 0.0, "yaw_deg": 90.0,
               "position_std_m": 3.0, "yaw_std_deg": 2.0},
     "camera": {"forward_m": 1.5, "left_m": 0.0, "yaw_deg": 0.0}}

`camera` may also have `pitch_deg` (positive looks down), `roll_deg` (positive lowers its right side), `height_m` above
the ground, and `calibration`: a file in ROS's format, in the folder.
"""

from __future__ import annotations

import csv
import heapq
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.errors import InputError
from geoflow_ros.geo.camera import Attitude, Mounting, read_calibration
from geoflow_ros.localization.opening import VehicleOptions
from geoflow_ros.localization.replay import CameraFrame, DriveEvent
from geoflow_ros.localization.values import VehicleSettings
from geoflow_ros.tracking import Heading, OdometryPose, StartPose

DESCRIPTION, ODOMETRY, HEADINGS, IMAGES = "drive.json", "odometry.csv", "headings.csv", "images"
_PICTURES = (".jpg", ".jpeg", ".png")
_PNG_SIGNATURE = b"\x89PNG"
_SENSOR, _IMAGE = 0, 1  # at the same stamp, sensors come before the image


class RecordedDrive:
    """A folder with a recorded drive.

    Args:
        folder: see the module's docstring.

    Raises:
        InputError: a part of it is missing or cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        description = _description(self.folder / DESCRIPTION)
        try:
            datum, start, camera = description["datum"], description["start"], description.get("camera", {})
            self.tiles = _tiles(self.folder, str(description["tiles"]))
            self.datum = (float(datum["latitude_deg"]), float(datum["longitude_deg"]))
            self.start = _start(start)
            self.mounting = _mounting(camera)
            self.intrinsics = (
                read_calibration(self.folder / str(camera["calibration"])) if "calibration" in camera else None
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be used ({error})"
            raise InputError(
                f"{self.folder / DESCRIPTION} {what}: see geoflow_ros.localization.recorded_drive"
            ) from None

    def options(self, **chosen: Any) -> VehicleOptions:
        """What to open a vehicle localizer with for this drive; `chosen` are further fields of `VehicleOptions`."""
        vehicle = VehicleSettings().mounted(self.mounting)
        return VehicleOptions(**{
            "tiles": self.tiles, "datum": self.datum, "vehicle": vehicle, "intrinsics": self.intrinsics,
            "prepare_in_background": False, **chosen
        })  # fmt: skip

    def events(self) -> Iterator[DriveEvent]:
        """Everything in the order of its stamp, read as it is needed; the start pose comes first.

        Raises:
            InputError: a file that cannot be read, with the line.
        """
        yield self.start
        streams = [
            ((event.stamp_ns, _SENSOR, event) for event in self._rows(ODOMETRY, _odometry_pose)),
            ((event.stamp_ns, _IMAGE, event) for event in self._frames()),
        ]
        if (self.folder / HEADINGS).exists():
            streams.insert(1, ((event.stamp_ns, _SENSOR, event) for event in self._rows(HEADINGS, _heading)))
        for _, _, event in heapq.merge(*streams, key=lambda entry: entry[:2]):
            yield event

    def _rows(self, name: str, parse: Callable[[dict[str, str]], Any]) -> Iterator[Any]:
        path = self.folder / name
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for number, row in enumerate(csv.DictReader(file), start=2):
                    try:
                        yield parse(row)
                    except (KeyError, TypeError, ValueError) as error:
                        raise InputError(f"{path}, line {number} cannot be used ({error!r})") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})") from None

    def _frames(self) -> Iterator[CameraFrame]:
        folder = self.folder / IMAGES
        stamped = []
        for path in folder.glob("*"):
            if path.suffix.lower() in _PICTURES:
                if not path.stem.isdigit():
                    raise InputError(
                        f"{path} is not named by its stamp in nanoseconds, such as 1700000000000000000.jpg"
                    )
                stamped.append((int(path.stem), path))
        if not stamped:
            raise InputError(f"{folder} holds no pictures (STAMP_NS.jpg or .png)")
        for stamp_ns, path in sorted(stamped):
            try:
                yield CameraFrame(stamp_ns, path.read_bytes())
            except OSError as error:
                raise InputError(f"{path} cannot be read ({error.strerror})") from None


def write_recorded_drive(
    folder: Path,
    events: Iterable[DriveEvent],
    *,
    tiles: str,
    datum: tuple[float, float],
    lever_arm_m: tuple[float, float] = (0.0, 0.0),
    camera_yaw_rad: float = 0.0,
) -> int:
    """Write a drive as a folder that `RecordedDrive` reads. Satellite fixes have no place in it and are left out.

    Args:
        folder: exists; files of that name in it are replaced.
        events: in the order of their arrival; the first start pose counts.
        tiles: name of a file in the folder, or an address.
        datum: (latitude, longitude) of the map frame's origin, degrees.
        lever_arm_m: (forward, left) of the camera from base_link.
        camera_yaw_rad: camera's direction from the vehicle's forward.

    Returns:
        How many images were written.

    Raises:
        InputError: the events hold no start pose.
        OSError: the folder cannot be written.
    """
    start: StartPose | None = None
    images = 0
    (folder / IMAGES).mkdir(exist_ok=True)
    with (
        (folder / ODOMETRY).open("w", newline="", encoding="utf-8") as odometry_file,
        (folder / HEADINGS).open("w", newline="", encoding="utf-8") as headings_file,
    ):
        odometry, headings = csv.writer(odometry_file), csv.writer(headings_file)
        odometry.writerow(["stamp_ns", "x_m", "y_m", "yaw_rad", "speed_mps"])
        headings.writerow(["stamp_ns", "yaw_rad", "std_rad"])
        for event in events:
            if isinstance(event, CameraFrame):
                suffix = ".png" if event.encoded.startswith(_PNG_SIGNATURE) else ".jpg"
                (folder / IMAGES / f"{event.stamp_ns}{suffix}").write_bytes(event.encoded)
                images += 1
            elif isinstance(event, OdometryPose):
                speed = "" if event.speed_mps is None else event.speed_mps
                odometry.writerow([event.stamp_ns, event.x_m, event.y_m, event.yaw_rad, speed])
            elif isinstance(event, Heading):
                headings.writerow(event)
            elif isinstance(event, StartPose) and start is None:
                start = event
    if start is None:
        raise InputError("the drive has no start pose: record initialpose with it")
    description = {
        "tiles": tiles,
        "datum": {"latitude_deg": datum[0], "longitude_deg": datum[1]},
        "start": _start_values(start),
        "camera": {"forward_m": lever_arm_m[0], "left_m": lever_arm_m[1], "yaw_deg": math.degrees(camera_yaw_rad)},
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return images


def _start_values(start: StartPose) -> dict[str, float]:
    """A start pose as `drive.json` has it."""
    variances = np.diag(start.covariance)
    return {
        "stamp_ns": start.stamp_ns,
        "east_m": start.east_m,
        "north_m": start.north_m,
        "yaw_deg": math.degrees(start.yaw_rad),
        "position_std_m": math.sqrt(float(max(variances[:2]))),
        "yaw_std_deg": math.degrees(math.sqrt(float(variances[2]))),
    }


def _description(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give the folder of a recorded drive") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold an object")
    return content


def _tiles(folder: Path, tiles: str) -> str:
    """A file's name is looked for in the folder; anything else is an address of its own."""
    return str(folder / tiles) if (folder / tiles).exists() else tiles


def _mounting(camera: dict[str, Any]) -> Mounting:
    forward_m, left_m = (float(camera.get(name, 0.0)) for name in ("forward_m", "left_m"))
    yaw_rad, roll_rad, pitch_rad = (
        math.radians(float(camera.get(name, 0.0))) for name in ("yaw_deg", "roll_deg", "pitch_deg")
    )
    height_m = float(camera["height_m"]) if "height_m" in camera else None
    return Mounting(forward_m, left_m, yaw_rad, Attitude(roll_rad, pitch_rad), height_m)


def _start(start: dict[str, Any]) -> StartPose:
    variances = [float(start["position_std_m"]) ** 2] * 2 + [math.radians(float(start["yaw_std_deg"])) ** 2]
    return StartPose(
        int(start["stamp_ns"]),
        float(start["east_m"]),
        float(start["north_m"]),
        math.radians(float(start["yaw_deg"])),
        np.diag(variances),
    )


def _odometry_pose(row: dict[str, str]) -> OdometryPose:
    speed = row.get("speed_mps")
    return OdometryPose(
        int(row["stamp_ns"]),
        float(row["x_m"]),
        float(row["y_m"]),
        float(row["yaw_rad"]),
        float(speed) if speed else None,
    )


def _heading(row: dict[str, str]) -> Heading:
    return Heading(int(row["stamp_ns"]), float(row["yaw_rad"]), float(row["std_rad"]))
