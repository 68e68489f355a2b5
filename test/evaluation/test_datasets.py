"""Data sets in their layout on disk, rendered by the worlds and read back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from geoflow_ros.bundle import Bundle, Manifest
from geoflow_ros.cli.__main__ import main
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.datasets.kitti import CAMERA_M, METRES_PER_PX, KittiReader
from geoflow_ros.evaluation.datasets.labelled import PairSkippedError
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.images import write_image
from geoflow_ros.resources import model_path
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.places import Poses, city_window
from geoflow_ros.world.priors import patches_around
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.windows import Windows

DRIVE = "2011_09_26/2011_09_26_drive_0002_sync"
SHIFTS = ((0.5, -0.25, 0.8), (-0.6, 0.9, -1.0))
FOCAL, MIDDLE, HORIZON = 721.5377, 609.5593, 172.854
CALIBRATION = f"""calib_time: 09-Jan-2012 13:57:47
S_rect_02: 1.242000e+03 3.750000e+02
R_rect_02: 1 0 0 0 1 0 0 0 1
P_rect_02: {FOCAL} 0 {MIDDLE} 44.857 0 {FOCAL} {HORIZON} 0.2163 0 0 1 0.0027
"""
ONLY = np.zeros(1, np.int64)


def manifest() -> Manifest:
    return Bundle.load(model_path("birds_eye")).manifest


@pytest.fixture(scope="module")
def city() -> tuple[Windows, Poses]:
    window = city_window(7, 7)
    places = window.places(np.random.default_rng(3), 40)
    middle = np.stack([places.east_m, places.north_m], axis=1).mean(axis=0)
    far = np.hypot(places.east_m - middle[0], places.north_m - middle[1])
    return Windows.stack([window.raster]), places.take(np.argsort(far)[: len(SHIFTS)])


@pytest.fixture(scope="module")
def kitti(city: tuple[Windows, Poses], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cameras stand at the city's places; the GPS receiver is behind them and to their left."""
    windows, places = city
    root = tmp_path_factory.mktemp("kitti")
    raw = root / "raw_data" / DRIVE
    (raw / "oxts" / "data").mkdir(parents=True)
    (raw.parent / "calib_cam_to_cam.txt").write_text(CALIBRATION)
    camera = Camera.pinhole(1242, 375, FOCAL, FOCAL, MIDDLE, HORIZON, 1.65)
    for k, lines in enumerate(SHIFTS):
        here = places.take(np.array([k]))
        gps_m = -CAMERA_M @ forward_right_axes(float(here.yaw_rad[0]))
        gps = Poses(here.east_m + gps_m[0], here.north_m + gps_m[1], np.zeros(1))
        view = render_views(windows, camera, ONLY, *here.float32()).rgb[0]
        write_image(raw / "image_02" / "data" / f"{k:010d}.png", np.asarray(view, np.uint8))
        above = render_patches(windows, 1280, METRES_PER_PX, ONLY, *gps.float32())[0][0]
        write_image(root / "satmap" / DRIVE / f"{k:010d}.png", np.asarray(above, np.uint8))
        numbers = [49.0, 8.4, 110.0, 0.0, 0.0, float(here.yaw_rad[0]), *[0.0] * 24]
        (raw / "oxts" / "data" / f"{k:010d}.txt").write_text(" ".join(map(str, numbers)) + "\n")
        with (root / "test1_files.txt").open("a") as file:
            file.write(f"{DRIVE}/{k:010d}.png {' '.join(map(str, lines))}\n")
    (root / "train_files.txt").write_text(f"{DRIVE}/0000000000.png\n")
    return root


@pytest.mark.parametrize("index", range(len(SHIFTS)))
def test_labels_are_those_of_the_papers_loaders(kitti: Path, index: int) -> None:
    pair = KittiReader(kitti, "test1").pair(index, manifest())
    x, y, theta = SHIFTS[index]
    cosine, sine = math.cos(math.radians(10.0 * theta)), math.sin(math.radians(10.0 * theta))
    # Moved by the shifts (y upwards), then turned counter-clockwise about the middle; rows point down.
    np.testing.assert_allclose(pair.offset_m, [20 * (x * cosine - y * sine), 20 * (-x * sine - y * cosine)], atol=1e-9)
    assert math.degrees(pair.heading_error_rad) == pytest.approx(-10.0 * theta, abs=1e-9)


@pytest.mark.parametrize("index", range(len(SHIFTS)))
def test_a_patch_shows_what_the_world_has_there(kitti: Path, city: tuple[Windows, Poses], index: int) -> None:
    windows, places = city
    pair = KittiReader(kitti, "test1").pair(index, manifest())
    here = places.take(np.array([index]))
    pose = patches_around(here, pair.offset_m[None], np.array([pair.heading_error_rad]))
    frame = pair.patch.frame
    rendered = render_patches(windows, frame.size_px, frame.ground_resolution_m, ONLY, *pose.float32())[0][0]
    whole = [
        cv2.cvtColor(np.asarray(p, np.uint8), cv2.COLOR_RGB2GRAY).astype(float) for p in (rendered, pair.patch.pixels)
    ]
    for part in (slice(None), slice(0, 128), slice(128, 256)):  # also of either half: nor is it turned
        (across, down), _ = cv2.phaseCorrelate(whole[0][:, part].copy(), whole[1][:, part].copy())
        assert math.hypot(across, down) < 0.1


def test_a_mark_far_from_the_middle_is_where_the_label_says(kitti: Path, tmp_path: Path) -> None:
    root = tmp_path / "marked"
    root.mkdir()
    for name in ("raw_data", "test1_files.txt"):
        (root / name).symlink_to(kitti / name)
    yaw_rad = float((kitti / "raw_data" / DRIVE / "oxts/data/0000000000.txt").read_text().split()[5])
    # 30 m ahead of the camera, and at the camera.
    truth = [(CAMERA_M + (ahead_m, 0.0)) @ forward_right_axes(yaw_rad) / METRES_PER_PX for ahead_m in (0.0, 30.0)]
    rows, columns = np.mgrid[:1280, :1280] - 639.5
    marks = [np.exp(-((columns - east) ** 2 + (rows + north) ** 2) / (2 * 8.0**2)) for east, north in truth]
    picture = np.round(255 * np.maximum(*marks)).astype(np.uint8)
    write_image(root / "satmap" / DRIVE / "0000000000.png", np.repeat(picture[..., None], 3, axis=2))
    pair = KittiReader(root, "test1").pair(0, manifest())
    seen = pair.patch.pixels[..., 0].astype(float)
    heading = -pair.heading_error_rad  # counter-clockwise from the patch's forward; right is clockwise
    found = []
    for ahead_m in (0.0, 30.0):
        local_m = pair.offset_m + ahead_m * np.array([math.cos(heading), -math.sin(heading)])
        x, y = local_m / pair.patch.frame.ground_resolution_m + 127.5
        y_px, x_px = np.mgrid[:256, :256]
        near = seen * (np.hypot(x_px - x, y_px - y) < 20.0)
        found.append(np.array([(near * x_px).sum(), (near * y_px).sum()]) / near.sum())
        np.testing.assert_allclose(found[-1], [x, y], atol=0.1)
    along = found[1] - found[0]
    assert math.degrees(math.atan2(-along[1], along[0])) == pytest.approx(math.degrees(heading), abs=0.01)


def test_priors_of_the_training_split_are_a_function_of_the_seed(kitti: Path) -> None:
    one, again, other = (KittiReader(kitti, "train", seed).pair(0, manifest()) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.patch.pixels, again.patch.pixels)
    assert np.abs(one.offset_m - other.offset_m).max() > 0.1


def test_the_command_prints_the_papers_table_and_counts_what_it_skips(
    kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for name in ("raw_data", "satmap"):
        (root / name).symlink_to(kitti / name)
    frame = f"{DRIVE}/0000000000.png"
    bad = f"{DRIVE}/0000000009.png 0 0 0\n{frame} 9 0 0\n{frame} 0 nothing\n"
    (root / "test2_files.txt").write_text((kitti / "test1_files.txt").read_text() + bad)
    options = ["--split", "test2", "--quiet", "--json", str(tmp_path / "out.json"), "--threads", "1"]
    assert main(["evaluate", "dataset", "kitti", str(root), *options]) == 0
    assert "lat @1m %" in capsys.readouterr().out
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["pairs"] == len(SHIFTS)
    assert report["skipped"] == {
        "missing or damaged oxts": 1,
        "label outside the patch": 1,
        "unreadable line of the split": 1,
    }


def test_nothing_left_is_bad_input(kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test1_files.txt").write_text(f"{DRIVE}/0000000000.png 0 0 0\n")
    assert main(["evaluate", "dataset", "kitti", str(tmp_path), "--quiet"]) == 2
    assert "none of 1 pairs can be used" in capsys.readouterr().err
    (tmp_path / "test1_files.txt").write_text("\n")
    assert main(["evaluate", "dataset", "kitti", str(tmp_path), "--quiet"]) == 2
    assert "is empty" in capsys.readouterr().err
    with pytest.raises(InputError, match="no split 'test3'"):
        KittiReader(kitti, "test3")


def test_a_truncated_oxts_is_skipped(kitti: Path, tmp_path: Path) -> None:
    (tmp_path / "test1_files.txt").write_text(f"{DRIVE}/0000000000.png 0 0 0\n")
    oxts = tmp_path / "raw_data" / DRIVE / "oxts" / "data"
    oxts.mkdir(parents=True)
    (oxts / "0000000000.txt").write_text("49.0 8.4 110.0")
    with pytest.raises(PairSkippedError, match="3 numbers, not 30"):
        KittiReader(tmp_path, "test1").pair(0, manifest())
