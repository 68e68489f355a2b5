"""Pictures of drives, fixes and training runs: drawn from given numbers, or refused with one line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from fakes.bags import SECOND_NS, START_NS

from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation import synthetic
from geoflow_ros.inference import GeoFlowFix, GeoFlowLocalizer
from geoflow_ros.resources import model_path
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.tracking.trajectory import DriveRecord, Trajectory
from geoflow_ros.visualization.drive import MapPicture, error_picture, trajectory_picture
from geoflow_ros.visualization.fix import FixScene, fix_picture
from geoflow_ros.visualization.learning_curves import learning_curves, read_metrics, validation_keys
from geoflow_ros.visualization.plots import FIX, FLOW, ODOMETRY, TRACK, TRUTH
from geoflow_ros.world import Area, Pair


def turning_drive() -> DriveRecord:
    """A quarter circle with a radius of 50 m; fixes that are less certain forward than sideways."""
    angle = np.linspace(0.0, math.pi / 2, 200)
    stamps = START_NS + np.arange(200) * SECOND_NS // 20
    positions = 50.0 * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=-1)
    c, s = np.cos(angle), np.sin(angle)
    axes = np.stack([np.stack([c, s], -1), np.stack([s, -c], -1)], axis=2)
    covariances = axes @ np.diag([4.0, 0.25]) @ axes.transpose(0, 2, 1)
    truth = Trajectory(stamps, stamps, positions, angle, np.zeros((200, 2, 2)))
    drifting = Trajectory(stamps, stamps, positions * 1.1, angle * 1.02, covariances)
    fixes = Trajectory(stamps[::4], stamps[::4], positions[::4] + 0.4, angle[::4], covariances[::4])
    return DriveRecord(truth, drifting, fixes, fixes, stamps[::4], np.stack([stamps, stamps], axis=1))


def picture_of(path: Path) -> npt.NDArray[np.uint8]:
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, np.uint8)


def pixels_like(bgr: npt.NDArray[np.uint8], colour: str) -> int:
    """How many pixels of a picture have a colour such as "#ffffff", nearly."""
    wanted = np.array([int(colour[k : k + 2], 16) for k in (5, 3, 1)])
    return int((np.abs(bgr.astype(np.int64) - wanted).max(axis=2) < 12).sum())


def test_the_pictures_of_a_drive_are_drawn(tmp_path: Path) -> None:
    record = turning_drive()
    background = MapPicture(np.full((90, 90, 3), 90, np.uint8), (-20.0, -20.0, 70.0, 70.0))
    trajectory_picture(record, background, tmp_path / "new" / "trajectory.png", "a quarter circle")
    error_picture(record, tmp_path / "error.png")
    picture = picture_of(tmp_path / "new" / "trajectory.png")
    assert picture.shape[1] > 800
    for colour in (TRUTH, ODOMETRY, FIX, TRACK):
        assert pixels_like(picture, colour) > 500
    assert picture_of(tmp_path / "error.png").shape[0] > 600


def test_a_picture_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        error_picture(turning_drive(), tmp_path / "file" / "error.png")


def test_learning_curves_are_read_from_the_training_log(tmp_path: Path) -> None:
    lines = []
    for k in range(5):
        training = {"step": 10 * k, "group": "training", "loss": 3.0 - 0.1 * k, "train_error_m": 9.0, "pairs": 320 * k}
        lines += [training, {"step": 10 * k, "group": "validation", "mean_error_m": 15.0 - k}]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '\n{"step": 100, "lo')  # killed while it wrote
    entries = read_metrics(tmp_path)
    assert len(entries) == 10
    assert validation_keys(entries) == ["mean_error_m"]
    learning_curves({"run": tmp_path}, tmp_path / "curves.png")
    assert picture_of(tmp_path / "curves.png").shape[1] > 800


def test_a_damaged_training_log_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(InputError, match="line 2"):
        read_metrics(tmp_path)
    with pytest.raises(InputError, match="no learning curve"):
        read_metrics(tmp_path / "none")


@pytest.fixture(scope="module")
def localized() -> tuple[GeoFlowFix, SatellitePatch, Pair]:
    """A fix of the shipped model on a synthetic pair."""
    bundle = Bundle.load(model_path("synthetic"))
    pair = synthetic.sampler_for(bundle.manifest, synthetic.Protocol(Area.CROSS, 1, 14)).pair(0)
    patch = synthetic.as_patch(pair, bundle.manifest)
    return GeoFlowLocalizer(bundle, hypotheses=20).localize(pair.ground, patch), patch, pair


def test_the_picture_of_one_frame_is_drawn(localized: tuple[GeoFlowFix, SatellitePatch, Pair], tmp_path: Path) -> None:
    fix, patch, pair = localized
    view = np.asarray(cv2.resize(pair.ground, None, fx=4.0, fy=4.0), np.uint8)
    scene = FixScene(pair.ground, view, patch, patch, patch.frame.local_to_enu(pair.offset_m))
    fix_picture(fix, scene, tmp_path / "frame.png")
    picture = picture_of(tmp_path / "frame.png")
    assert picture.shape[0] > 1000
    assert pixels_like(picture, FLOW) > 500
    assert pixels_like(picture, TRACK) > 50


def test_a_frame_without_truth_is_drawn_without_it(
    localized: tuple[GeoFlowFix, SatellitePatch, Pair], tmp_path: Path
) -> None:
    fix, patch, pair = localized
    fix_picture(fix, FixScene(pair.ground, pair.ground, patch, patch), tmp_path / "frame.png")
    assert picture_of(tmp_path / "frame.png").shape[0] > 1000
