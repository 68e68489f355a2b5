"""A piece of the town as tiles, and what a vehicle there sees."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes.town import TownView

from geoflow_ros.world import Area, Camera, World, write_mbtiles


@pytest.fixture(scope="package")
def town() -> World:
    return World.of(Area.SAME, 5)


@pytest.fixture(scope="package")
def town_map(town: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of the town around the middle of a road, as MBTiles."""
    road = max(town.layout.roads, key=lambda road: road.length_m)
    east, north = road.points[len(road.points) // 2]
    path = tmp_path_factory.mktemp("map") / "town.mbtiles"
    write_mbtiles(town, path, (east - 110, north - 110, east + 110, north + 110))
    return path


@pytest.fixture(scope="package")
def town_view(town: World, tmp_path_factory: pytest.TempPathFactory) -> TownView:
    """What a vehicle on the road of `town_map` sees."""
    road = max(town.layout.roads, key=lambda road: road.length_m)
    (east, north), yaw = road.at(road.length_m / 2, road.lane_offset_m())
    view = town.view(Camera.perspective(1024, 256), float(east), float(north), float(yaw))
    path = tmp_path_factory.mktemp("camera") / "view.png"
    assert cv2.imwrite(str(path), view.rgb[0][..., ::-1])
    lat, lon = town.datum.to_latlon(float(east), float(north))
    return TownView(path, float(lat), float(lon), float(90.0 - np.degrees(yaw)))
