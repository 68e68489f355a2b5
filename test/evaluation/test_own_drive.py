"""A drive of one's own: images, a CSV and tiles, rendered by the world and read back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from geoflow_ros.bundle import Bundle
from geoflow_ros.cli.__main__ import main
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.datasets.own_drive import OwnDriveReader
from geoflow_ros.geo.angles import heading_from_yaw
from geoflow_ros.images import write_image
from geoflow_ros.resources import model_path
from geoflow_ros.tiles import open_tile_source
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.pairs import Area
from geoflow_ros.world.render import render_patches
from geoflow_ros.world.windows import Windows
from geoflow_ros.world.world import World, write_mbtiles

HEADER = "stamp,file,lat,lon,heading,roll,pitch\n"
EAST_M, NORTH_M, YAW_RAD = 3.0, -2.0, 0.4


@pytest.fixture(scope="module")
def world() -> World:
    return World.of(Area.CROSS, 5)


@pytest.fixture(scope="module")
def drive(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drive")
    write_mbtiles(world, folder / "map.mbtiles", (-85.0, -85.0, 85.0, 85.0), zooms=[18], tile_format="png")
    view = world.view(Camera.perspective(512, 128), EAST_M, NORTH_M, YAW_RAD)
    write_image(folder / "a.png", np.asarray(view.rgb[0], np.uint8))
    lat, lon = world.datum.to_latlon(EAST_M, NORTH_M)
    place = f"{lat:.9f},{lon:.9f},{heading_from_yaw(YAW_RAD):.6f}"
    lines = [f"1.0,a.png,{place},,\n", f"2.0,b.png,{place},0,0\n", f"3.0,a.png,{place},x,0\n", "4.0,a.png,0,0,0,,\n"]
    (folder / "drive.csv").write_text(HEADER + "".join(lines))
    return folder


def test_a_patch_shows_what_the_world_has_there(world: World, drive: Path) -> None:
    manifest = Bundle.load(model_path("birds_eye")).manifest
    source = open_tile_source(str(drive / "map.mbtiles"))
    pair = OwnDriveReader(drive / "drive.csv", source, 4, 5.0).pair(0, manifest)
    source.close()
    frame = pair.patch.frame  # in a map whose origin is the first image's place
    assert frame.yaw_rad - pair.heading_error_rad == pytest.approx(YAW_RAD, abs=math.radians(0.01))
    np.testing.assert_allclose(frame.local_to_enu(pair.offset_m), 0.0, atol=0.01)
    windows = Windows.stack([world.window(EAST_M, NORTH_M)])
    pose = (EAST_M + frame.centre_east_m, NORTH_M + frame.centre_north_m, frame.yaw_rad)
    where = [np.array([value], np.float32) for value in pose]
    only = np.zeros(1, np.int64)
    rendered = render_patches(windows, frame.size_px, frame.ground_resolution_m, only, *where)[0][0]
    pictures = [np.asarray(picture, np.uint8) for picture in (rendered, pair.patch.pixels)]
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float) for picture in pictures]
    for part in (slice(None), slice(0, 128), slice(128, 256)):
        (across, down), _ = cv2.phaseCorrelate(grey[0][:, part].copy(), grey[1][:, part].copy())
        assert math.hypot(across, down) < 0.1


def test_the_command_counts_what_it_skips(drive: Path, tmp_path: Path) -> None:
    options = [
        "--prior-radius-m",
        "5",
        "--tiles",
        str(drive / "map.mbtiles"),
        "--quiet",
        "--json",
        str(tmp_path / "out.json"),
        "--threads",
        "1",
    ]
    assert main(["evaluate", "dataset", "drive", str(drive), *options]) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["pairs"] == 1
    assert report["skipped"] == {"missing or damaged picture": 1, "unreadable line of the CSV": 2}


def test_a_csv_without_a_column_and_a_drive_without_a_map_are_bad_input(
    drive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "dataset", "drive", str(drive), "--quiet"]) == 2
    assert "give --tiles" in capsys.readouterr().err
    (tmp_path / "drive.csv").write_text("stamp,file,lat,lon\n1,a.png,0,0\n")
    source = open_tile_source(str(drive / "map.mbtiles"))
    with pytest.raises(InputError, match="no column heading"):
        OwnDriveReader(tmp_path / "drive.csv", source)
    source.close()
