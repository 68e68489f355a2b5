"""Draws the same places under easy, road and hard conditions: `python examples/draw_conditions.py conditions.jpg`.

Each cell is a camera image, and below it the satellite patch (100 m) with its middle at twice the scale.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.images import encode_jpeg
from geoflow_ros.world import Area, HeadingError, Pair, PairSampler
from geoflow_ros.world.conditions import NAMES, conditions_named

SATELLITE_PX, GROUND_SIZE, RESOLUTION_M, RADIUS_M = 256, (128, 512), 0.3916, 20.0
CELL_PX, GAP_PX, TITLE_PX = 460, 8, 28
JPEG_QUALITY = 78
PAIRS = (7, 33, 66, 75)  # of seed 1


def cell(pair: Pair) -> UInt8Array:
    """Returns a pair's pictures, one below the other."""
    view = cv2.resize(pair.ground, (CELL_PX, CELL_PX // 4), interpolation=cv2.INTER_AREA)
    half, quarter = CELL_PX // 2, SATELLITE_PX // 4
    middle = pair.satellite[quarter:-quarter, quarter:-quarter]
    patches = [
        cv2.resize(picture, (half, half), interpolation=cv2.INTER_LINEAR) for picture in (pair.satellite, middle)
    ]
    return np.asarray(np.concatenate([view, np.concatenate(patches, axis=1)]), np.uint8)


def column(name: str) -> UInt8Array:
    """Returns the places under the conditions of a name, below its title."""
    sampler = PairSampler(
        Area.CROSS,
        1,
        SATELLITE_PX,
        GROUND_SIZE,
        RESOLUTION_M,
        RADIUS_M,
        HeadingError(),
        conditions=conditions_named(name),
    )
    title = np.full((TITLE_PX, CELL_PX, 3), 255, np.uint8)
    cv2.putText(title, name, (4, TITLE_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 1, cv2.LINE_AA)
    gap = np.full((GAP_PX, CELL_PX, 3), 255, np.uint8)
    parts = [title]
    for number in PAIRS:
        parts += [cell(sampler.pair(number)), gap]
    return np.concatenate(parts[:-1])


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="the JPEG to write")
    path = parser.parse_args().picture
    columns = [column(name) for name in NAMES]
    gap = np.full((len(columns[0]), GAP_PX, 3), 255, np.uint8)
    whole = np.concatenate([columns[0], gap, columns[1], gap, columns[2]], axis=1)
    path.write_bytes(encode_jpeg(whole, JPEG_QUALITY))


if __name__ == "__main__":
    main()
