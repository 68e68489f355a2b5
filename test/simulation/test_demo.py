"""The parts of the demo that need no processes: its map, and the recorded frame that it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.bags import SECOND_NS, START_NS, write_bag

from geoflow_ros.errors import InputError, WorldError
from geoflow_ros.evaluation.bag import Topics
from geoflow_ros.simulation.demo import DemoSettings, run_demo
from geoflow_ros.simulation.pictures import image_at
from geoflow_ros.tiles import open_tile_source
from geoflow_ros.world import Area, Drive, World
from geoflow_ros.world.drive_map import write_drive_map


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive")


def test_a_recorded_image_is_found_by_its_stamp_and_is_rgb(bag: Path) -> None:
    image = image_at(bag, Topics().image, START_NS + 4 * SECOND_NS)
    assert image.shape == (16, 32, 3)
    assert abs(int(image.mean()) - 40) <= 1
    with pytest.raises(InputError, match="no image"):
        image_at(bag, Topics().image, START_NS + 1)


def test_the_map_of_a_drive_reaches_beyond_it_on_every_side(tmp_path: Path) -> None:
    world = World.of(Area.CROSS, 1)
    drive = Drive(world, 1, 2.0)
    source = open_tile_source(write_drive_map(drive, tmp_path / "map.mbtiles"))
    bounds, half = source.bounds, world.layout.half_m
    source.close()
    for sign in (-1, 1):
        for east, north in zip(drive.states.east_m, drive.states.north_m, strict=True):
            assert bounds.contains(*world.datum.to_latlon(east + sign * 119.0, north + sign * 119.0))
    assert not bounds.contains(*world.datum.to_latlon(-half, -half))  # not the whole city


def test_a_demo_whose_drive_cannot_be_driven_leaves_an_earlier_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics.json").write_text("of an earlier demo")
    monkeypatch.setattr(World, "of", lambda *given: None)
    monkeypatch.setattr("geoflow_ros.simulation.demo.Drive", _no_drive)
    with pytest.raises(WorldError, match="leaves the world"):
        run_demo(DemoSettings(1.0, 1, Area.CROSS, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def _no_drive(*given: object) -> Drive:
    raise WorldError("the drive leaves the world")


def test_a_localizer_that_is_not_the_models_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of the method geoflow, not birds_eye"):
        run_demo(DemoSettings(1.0, 1, Area.CROSS, tmp_path / "out", model="synthetic", localizer="birds_eye"))
    assert not (tmp_path / "out").exists()
