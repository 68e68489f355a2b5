"""Wet roads and nights: what they do to light, and that they leave the place alone."""

from __future__ import annotations

import numpy as np
import pytest

from geoflow_ros.arrays import Float32Array
from geoflow_ros.world import Camera
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.optics import CameraImage
from geoflow_ros.world.weather import UprightPicture, lamp_light, lamps_near, low_beam, night, wet

CAMERA = Camera.perspective(512, 128)
HORIZON = 0.4 * 128 - 0.5


def road_under_a_sky(east: float = 0.0, north: float = 0.0, yaw: float = 0.0) -> UprightPicture:
    """A grey road, a blue sky, and far away a red tower right ahead that is 20 pixels high."""
    is_ground = CAMERA.slope < 0
    depth = np.where(is_ground, CAMERA.height_m / np.maximum(-CAMERA.slope, 1e-4), np.inf).astype(np.float32)
    label = np.where(is_ground, Label.ROAD, Label.SKY).astype(np.uint8)
    rgb = np.where(is_ground[..., None], 100, np.array([120, 160, 206])).astype(np.uint8)
    tower = (slice(int(HORIZON) - 20, int(HORIZON) + 1), slice(240, 272))
    rgb[tower], label[tower], depth[tower] = (250, 20, 20), Label.BUILDING, 300.0
    return UprightPicture(CAMERA, rgb, depth, label, east, north, yaw)


def image_of(picture: UprightPicture) -> CameraImage:
    azimuth = np.repeat(CAMERA.azimuth_rad[None], 128, axis=0)
    return CameraImage(picture.rgb, picture.depth_m, picture.label, azimuth, CAMERA.slope, CAMERA.height_m)


def column(*values: float) -> Float32Array:
    return np.array(values, np.float32)


def test_a_wet_road_mirrors_a_tower_as_far_below_the_horizon_as_it_stands_above() -> None:
    image = wet(road_under_a_sky(), 1.0).astype(int)
    redness = image[..., 0] - image[..., 2]
    mirrored, beyond, beside = int(HORIZON) + 12, int(HORIZON) + 40, 100
    assert redness[mirrored, 256] > 25
    assert abs(redness[beyond, 256]) < 8  # it ends where the tower does
    assert redness[mirrored, beside] < 0  # the sky beside it


def test_a_wet_road_is_darker_near_and_brighter_far_away() -> None:
    """Fresnel: steep rays see dark asphalt, grazing ones the sky."""
    image = wet(road_under_a_sky(), 1.0).astype(float).mean(axis=-1)
    assert image[-1, 256] < 95
    assert image[int(HORIZON) + 3, 100] > 110


def test_water_lies_where_it_lies_whoever_looks() -> None:
    """Two cameras on one spot, one of them turned: the same point of the road is as wet in both."""
    turned_rad = 0.3
    first, second = (wet(road_under_a_sky(yaw=yaw), 1.0).astype(float).mean(axis=-1) for yaw in (0.0, turned_rad))
    one, other = [], []
    for forward in np.arange(6.0, 12.0, 0.2):
        bearing = -np.arctan2(1.0, forward) + turned_rad  # 1 m to the left of the first camera's axis
        distance = np.hypot(forward, 1.0)
        for image, azimuth, values in ((first, bearing - turned_rad, one), (second, bearing, other)):
            column, row = CAMERA.project(distance * np.cos(azimuth), distance * np.sin(azimuth), 0.0)
            values.append(image[round(row), round(column)])
    assert np.corrcoef(one, other)[0, 1] > 0.9


def test_a_dry_road_stays_as_it_is() -> None:
    picture = road_under_a_sky()
    assert np.array_equal(wet(picture, 0.0), picture.rgb)


def test_a_lamp_lights_the_ground_by_the_inverse_square_and_its_cosine() -> None:
    lamps = np.array([[10.0, 0.0, 6.5]])
    below, beside = lamp_light(column(10.0, 16.5), column(0.0, 0.0), column(0.0, 0.0), lamps)
    assert below / beside == pytest.approx(2**1.5, rel=1e-3)  # at 45 degrees: cos^3
    assert lamp_light(column(10.0), column(0.0), column(7.0), lamps) == 0.0  # nothing above the head


def test_the_low_beam_ends_at_its_cut_off_and_at_its_sides() -> None:
    at_15_m = {up: float(low_beam(column(15.0), column(0.0), column(up))[0]) for up in (0.0, 0.4, 0.9)}
    assert at_15_m[0.0] > 5 * at_15_m[0.9]
    assert low_beam(column(15.0), column(0.8), column(0.0)) < 0.1 * at_15_m[0.0]
    assert low_beam(column(60.0), column(0.0), column(0.0)) < 0.4 * at_15_m[0.0]


@pytest.mark.parametrize("yaw", [0.0, 1.0, -2.5])
def test_lamps_are_found_in_the_cameras_frame(yaw: float) -> None:
    forward, right = 12.0, 4.0
    east, north = 5.0 + forward * np.cos(yaw) + right * np.sin(yaw), 7.0 + forward * np.sin(yaw) - right * np.cos(yaw)
    lamps = np.array([[east, north, 6.0], [5.0 - 40 * np.cos(yaw), 7.0 - 40 * np.sin(yaw), 6.0]])
    near = lamps_near(lamps, road_under_a_sky(5.0, 7.0, yaw))
    assert near == pytest.approx(np.array([[forward, right, 6.0]]))  # the one far behind is none of them


def test_a_night_is_dark_but_for_lamps_and_beam() -> None:
    day = image_of(road_under_a_sky())
    dark = night(day, np.zeros((0, 3)), np.zeros(day.size, np.bool_)).rgb.astype(float).mean(axis=-1)
    lit = night(day, np.array([[20.0, 8.0, 6.5]]), np.zeros(day.size, np.bool_)).rgb.astype(float).mean(axis=-1)
    assert dark[:30, :200].max() < 30  # the sky
    below_beam, aside = round(CAMERA.project(12.0, 0.0, 0.0)[1]), round(CAMERA.project(12.0, -9.0, 0.0)[0])
    assert dark[below_beam, 256] > 3 * dark[below_beam, aside]
    under_lamp = tuple(round(v) for v in CAMERA.project(20.0, 8.0, 0.0)[::-1])
    assert lit[under_lamp] > dark[under_lamp] + 30


def test_what_shines_stays_bright_and_dazzles_around_it() -> None:
    day = image_of(road_under_a_sky())
    shining = np.zeros(day.size, np.bool_)
    shining[80:84, 100:108] = True
    image = night(day, np.zeros((0, 3)), shining).rgb.astype(float).mean(axis=-1)
    assert image[82, 104] > 100
    assert image[77, 104] > image[60, 104] + 1
