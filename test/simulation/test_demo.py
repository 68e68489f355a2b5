"""The parts of the demo that need no processes: its map, and the recorded frame that it shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes.bags import SECOND_NS, START_NS, write_bag

from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag import Topics
from geoflow_ros.simulation.demo import image_at, write_drive_map
from geoflow_ros.tiles import open_tile_source
from geoflow_ros.world import Area, Drive, World


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive")


def test_a_recorded_image_is_found_by_its_stamp_and_is_rgb(bag: Path) -> None:
    image = image_at(bag, Topics().image, START_NS + 4 * SECOND_NS)
    assert image.shape == (16, 32, 3)
    assert abs(int(image.mean()) - 40) <= 1
    with pytest.raises(InputError, match="no image"):
        image_at(bag, Topics().image, START_NS + 1)


def test_the_map_of_a_drive_reaches_beyond_it_as_far_as_the_town_does(tmp_path: Path) -> None:
    world = World.of(Area.SAME, 1)
    drive = Drive(world, 1, 2.0)
    source = open_tile_source(write_drive_map(drive, tmp_path / "map.mbtiles"))
    bounds, half = source.bounds, world.layout.half_m
    source.close()
    for sign in (-1, 1):
        for east, north in zip(drive.states.east_m, drive.states.north_m, strict=True):
            corner = np.clip([east + sign * 119.0, north + sign * 119.0], -half, half)
            assert bounds.contains(*world.datum.to_latlon(*corner))
    assert not bounds.contains(*world.datum.to_latlon(-half, -half))  # not the whole town
