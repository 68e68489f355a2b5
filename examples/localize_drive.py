"""Localizes a recorded drive without ROS, and plots the track.

    python examples/localize_drive.py FOLDER --out track.png

FOLDER holds images, odometry, a start pose and the map, as `geoflow_ros.localization.recorded_drive` describes;
`examples/folder_from_bag.py` makes such a folder of a bag.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from geoflow_ros.errors import GeoFlowError
from geoflow_ros.localization import RecordedDrive, VehicleFix, open_vehicle_localizer, replay
from geoflow_ros.visualization.track import track_picture


def main(folder: Path, model: str, out: Path) -> None:
    """Localizes the drive in a folder and draws it."""
    drive = RecordedDrive(folder)
    with open_vehicle_localizer(drive.options(model=model)) as vehicle:
        answers = list(replay(vehicle, drive.events()))
        fixes = [answer for answer in answers if isinstance(answer, VehicleFix)]
        track_picture(fixes, vehicle.satellite_map, out)
    print(f"{len(fixes)} fixes, {len(answers) - len(fixes)} rejections: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Localize a recorded drive without ROS, and plot the track.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="birds_eye", help="bundle folder or name of a shipped one")
    parser.add_argument("--out", type=Path, default=Path("track.png"))
    arguments = parser.parse_args()
    try:
        main(arguments.folder, arguments.model, arguments.out)
    except GeoFlowError as error:
        sys.exit(f"localize_drive: {error}")
