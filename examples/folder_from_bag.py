"""Writes the drive in a ROS 2 bag as a folder that `localize_drive.py` reads; no ROS is needed.

    python examples/folder_from_bag.py out/demo/bag out/demo/map.mbtiles --datum 49.0 8.4 --out drive

The bag needs a compressed camera topic, odometry and /initialpose; an imu (absolute yaw) is taken where it is there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from geoflow_ros.errors import GeoFlowError
from geoflow_ros.evaluation.replay.sensors import bag_events
from geoflow_ros.geo import Datum
from geoflow_ros.localization.recorded_drive import write_recorded_drive


def main(bag: Path, tiles: Path, datum: tuple[float, float], lever_arm_m: tuple[float, float], out: Path) -> None:
    """Writes one folder."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tiles, out / tiles.name)
    frames = write_recorded_drive(
        out, bag_events(bag, Datum(*datum)), tiles=tiles.name, datum=datum, lever_arm_m=lever_arm_m
    )
    print(f"{frames} images: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the drive in a ROS 2 bag as a folder.")
    parser.add_argument("bag", type=Path)
    parser.add_argument("tiles", type=Path, help="MBTiles file of the map")
    parser.add_argument(
        "--datum", type=float, nargs=2, required=True, metavar=("LAT", "LON"), help="map origin, degrees"
    )
    parser.add_argument(
        "--lever-arm",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("FORWARD", "LEFT"),
        help="of the camera, metres",
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        main(arguments.bag, arguments.tiles, tuple(arguments.datum), tuple(arguments.lever_arm), arguments.out)
    except (GeoFlowError, OSError) as error:
        sys.exit(f"folder_from_bag: {error}")
