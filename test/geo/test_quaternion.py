"""Yaw from quaternions."""

from __future__ import annotations

import math

import pytest

from geoflow_ros.errors import OdometryError
from geoflow_ros.geo.quaternion import quaternion_of_yaw, yaw_of_quaternion


@pytest.mark.parametrize("yaw", [-3.1, -1.0, 0.0, 0.5, 3.1])
def test_yaw_comes_back_out_of_its_quaternion(yaw: float) -> None:
    assert yaw_of_quaternion(*quaternion_of_yaw(yaw)) == pytest.approx(yaw, abs=1e-12)


@pytest.mark.parametrize(
    "quaternion", [(0, 0, 0, 0), (math.nan, 0, 0, 1), (0, 0, 0, math.inf), (0, 0, 0, 2.0), (0.1, 0, 0, 0.1)]
)
def test_what_is_not_a_rotation_is_refused(quaternion: tuple[float, float, float, float]) -> None:
    with pytest.raises(OdometryError):
        yaw_of_quaternion(*quaternion)
