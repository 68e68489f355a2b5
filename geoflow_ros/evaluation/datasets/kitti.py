"""KITTI in the cross-view layout: raw drives, one satellite picture a frame, and three split files.

::

    raw_data/2011_09_26/calib_cam_to_cam.txt
    raw_data/2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000000.png
    raw_data/2011_09_26/2011_09_26_drive_0002_sync/oxts/data/0000000000.txt
    satmap/2011_09_26/2011_09_26_drive_0002_sync/0000000000.png
    train_files.txt  test1_files.txt  test2_files.txt        (here or in dataLoader/)

A line of a test file is `drive/frame.png gt_shift_x gt_shift_y theta`, each -1 to 1: of 20 m forward, 20 m to the left
and 10 degrees clockwise. The satellite picture is north-up around the GPS receiver; it is turned to the heading, moved
so that the camera is in the middle, then moved by the shifts and turned by theta. In the patch the camera may so be
up to 23.2 m from the middle, and not 20. train_files.txt holds no shifts: they are drawn by the seed.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import ImageError, InputError
from geoflow_ros.evaluation.datasets.labelled import LabelledPair, PairSkippedError, north_up_patch
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.geo.camera import Intrinsics, Mounting
from geoflow_ros.images import read_image
from geoflow_ros.world.priors import HeadingError

SPLITS = {"train": "train_files.txt", "test1": "test1_files.txt", "test2": "test2_files.txt"}
"""Test 1 is of the area of the training, test 2 of others."""

METRES_PER_PX = 156543.03392 * math.cos(math.radians(49.015)) / 2**18 / 2
"""Of the satellite pictures (zoom 18, scale 2), with the one latitude that the stored shifts were made with."""

CAMERA_M = np.array([1.08, 0.26])
"""The left colour camera's (forward, right) of the GPS receiver."""

_SHIFT_M, _TURN_DEG, _CAMERA_HEIGHT_M = 20.0, 10.0, 1.65
_OXTS_NUMBERS, _YAW = 30, 5


class KittiReader:
    """Reads one split.

    Args:
        root: the folder.
        split: one of `SPLITS`.
        seed: of the shifts of `train`.

    Raises:
        InputError: no such split or file, or an empty one.
    """

    prior_radius_m = _SHIFT_M
    heading = HeadingError(uniform_deg=_TURN_DEG)

    def __init__(self, root: Path, split: str, seed: int = 0) -> None:
        if split not in SPLITS:
            raise InputError(f"KITTI has no split '{split}': choose one of {', '.join(SPLITS)}")
        found = [path for path in (root / SPLITS[split], root / "dataLoader" / SPLITS[split]) if path.is_file()]
        if not found:
            raise InputError(f"{root} holds no {SPLITS[split]}, nor does its folder dataLoader: see docs/datasets.md")
        text = found[0].read_text(encoding="utf-8", errors="replace")
        self._lines = [line.split() for line in text.splitlines() if line.strip()]
        if not self._lines:
            raise InputError(f"{found[0]} is empty: the split '{split}' has no pairs")
        self._root, self._split, self._seed = root, split, seed
        drives = dict.fromkeys(line[0].rpartition("/")[0] for line in self._lines)
        self._drives = {drive: number for number, drive in enumerate(drives)}
        self._lenses: dict[str, Intrinsics] = {}

    @property
    def title(self) -> str:
        """Which pairs."""
        return f"KITTI {self._split}, ±{_SHIFT_M:g} m, ±{_TURN_DEG:g}°"

    def __len__(self) -> int:
        """Lines of the split file."""
        return len(self._lines)

    def pair(self, index: int, manifest: Manifest) -> LabelledPair:
        """Reads the pair of a line; see `PairReader`."""
        name = self._lines[index][0]
        drive, _, frame = name.rpartition("/")
        if drive.count("/") != 1:
            raise PairSkippedError("unreadable line of the split", " ".join(self._lines[index]))
        shift_x, shift_y, theta = self._shifts(index)
        raw = self._root / "raw_data" / drive
        yaw_rad = _yaw_rad(raw / "oxts" / "data" / Path(frame).with_suffix(".txt").name)
        # Of the patch's middle from the GPS receiver, along the vehicle's axes.
        middle_m = CAMERA_M + _SHIFT_M * np.array([-shift_x, shift_y])
        east_m, north_m = middle_m @ forward_right_axes(yaw_rad)
        error_rad = -theta * math.radians(_TURN_DEG)
        patch_frame = manifest.patch_frame(float(east_m), float(north_m), yaw_rad + error_rad)
        offset_m = patch_frame.enu_to_local(CAMERA_M @ forward_right_axes(yaw_rad))
        if np.abs(offset_m).max() > patch_frame.extent_m / 2.0:
            raise PairSkippedError("label outside the patch", " ".join(self._lines[index]))
        try:
            ground = read_image(raw / "image_02" / "data" / frame)
            satellite = read_image(self._root / "satmap" / name)
        except ImageError as error:
            raise PairSkippedError("missing or damaged picture", str(error)) from None
        patch = north_up_patch(satellite, METRES_PER_PX, patch_frame, name)
        lens = self._lens(drive.partition("/")[0])
        mounting = Mounting(height_m=_CAMERA_HEIGHT_M)
        return LabelledPair(name, ground, patch, offset_m, error_rad, self._drives[drive], lens, mounting)

    def _shifts(self, index: int) -> tuple[float, float, float]:
        """Of x, y and theta, -1 to 1."""
        if self._split == "train":
            x, y, theta = np.random.default_rng([self._seed, index]).uniform(-1.0, 1.0, 3)
            return float(x), float(y), float(theta)
        line = self._lines[index]
        try:
            _, x, y, theta = line[0], *map(float, line[1:])
        except ValueError:
            raise PairSkippedError("unreadable line of the split", " ".join(line)) from None
        if not all(map(math.isfinite, (x, y, theta))):
            raise PairSkippedError("unreadable line of the split", " ".join(line))
        return x, y, theta

    def _lens(self, day: str) -> Intrinsics:
        if day not in self._lenses:
            self._lenses[day] = _rectified_lens(self._root / "raw_data" / day / "calib_cam_to_cam.txt")
        return self._lenses[day]


def _yaw_rad(path: Path) -> float:
    """The vehicle's yaw, counter-clockwise from east."""
    try:
        numbers = [float(number) for number in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise PairSkippedError("missing or damaged oxts", f"{path} ({error})") from None
    if len(numbers) < _OXTS_NUMBERS or not math.isfinite(numbers[_YAW]):
        raise PairSkippedError("missing or damaged oxts", f"{path} has {len(numbers)} numbers, not {_OXTS_NUMBERS}")
    return numbers[_YAW]


def _rectified_lens(path: Path) -> Intrinsics:
    """Of the rectified left colour images of a day."""
    try:
        entries = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
        size = [round(float(number)) for number in entries["S_rect_02"].split()]
        projection = [float(number) for number in entries["P_rect_02"].split()]
        # Its rectification is that from another camera's axes: the images' own are P's.
        return Intrinsics.of_rectified((size[0], size[1]), projection, [])
    except (OSError, KeyError, ValueError, IndexError, InputError) as error:
        raise PairSkippedError("missing or damaged calibration", f"{path} ({error})") from None
