"""Drives stay inside their world, whatever their seed and length."""

from __future__ import annotations

import numpy as np
import pytest

from geoflow_ros.errors import WorldError
from geoflow_ros.world import Area, Camera, Drive, World
from geoflow_ros.world.layout import CityLayout

CAMERA = Camera.perspective(64, 16)


def cameras(drive: Drive) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    states = drive.states
    forward = np.stack([np.cos(states.yaw_rad), np.sin(states.yaw_rad)], axis=-1)
    return np.stack([states.east_m, states.north_m], axis=-1) + drive.lever_arm_m * forward


@pytest.mark.parametrize(("area", "seed"), [(Area.SAME, 4), (Area.CROSS, 11), (Area.CROSS, 19)])
def test_the_camera_stays_inside_for_as_long_as_the_drive_lasts(area: Area, seed: int) -> None:
    world = World.of(area, seed)
    for seconds in (60.0, 120.0, 600.0):
        drive = Drive(world, seed, seconds, CAMERA)
        assert np.abs(cameras(drive)).max() <= world.layout.half_m
        steps = np.diff(np.stack([drive.states.east_m, drive.states.north_m]), axis=1)
        assert np.linalg.norm(steps, axis=0).max() < 10.6 / 50.0  # no jump: the way is one line
        assert drive.states.t_s[-1] == pytest.approx(seconds)


def test_a_world_without_a_way_that_stays_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.of(Area.CROSS, 11)
    monkeypatch.setattr("geoflow_ros.world.drive._inner_roads", lambda layout: [])
    with pytest.raises(WorldError, match="no roads"):
        Drive(world, 11, 120.0, CAMERA)


def test_a_drive_that_stays_inside_by_itself_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(layout: CityLayout) -> list[int]:
        raise AssertionError("another way was looked for")

    monkeypatch.setattr("geoflow_ros.world.drive._inner_roads", refused)
    Drive(World.of(Area.CROSS, 1), 1, 60.0, CAMERA)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(WorldError, match="finite"):
        Drive(World.of(Area.SAME, 1), 1, seconds, CAMERA)
