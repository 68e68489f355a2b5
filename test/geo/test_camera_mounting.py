"""Attitudes and mountings: REP-103's signs, and the optical frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoflow_ros.errors import InputError, OdometryError
from geoflow_ros.geo.attitude import rotation_of_quaternion, rotation_of_rpy, rpy_of_rotation
from geoflow_ros.geo.camera import LEVEL, Attitude, Mounting
from geoflow_ros.geo.camera.mounting import OPTICAL_OF_BODY

FORWARD, LEFT, UP = np.eye(3)


def test_a_positive_pitch_lowers_the_nose_a_positive_roll_the_right_side_a_positive_yaw_turns_left() -> None:
    assert (rotation_of_rpy(0, 0.1, 0) @ FORWARD)[2] < 0
    assert (rotation_of_rpy(0.1, 0, 0) @ -LEFT)[2] < 0
    assert (rotation_of_rpy(0, 0, 0.1) @ FORWARD)[1] > 0


@pytest.mark.parametrize("rpy", [(0.1, -0.2, 3.0), (-1.0, 1.2, -0.4), (0.0, 0.0, 0.0)])
def test_angles_come_back_out_of_their_rotation(rpy: tuple[float, float, float]) -> None:
    assert rpy_of_rotation(rotation_of_rpy(*rpy)) == pytest.approx(rpy, abs=1e-12)


def test_a_quaternion_is_the_rotation_about_its_axis_at_any_length_near_one() -> None:
    half = 0.3 / 2
    for scale in (1.0, 1.0001):
        q = (0.0, scale * math.sin(half), 0.0, scale * math.cos(half))
        np.testing.assert_allclose(rotation_of_quaternion(*q), rotation_of_rpy(0.0, 0.3, 0.0), atol=1e-12)
    with pytest.raises(OdometryError, match="zero quaternion"):
        rotation_of_quaternion(0.0, 0.0, 0.0, 0.0)


def test_the_usual_optical_frame_is_a_level_camera_that_looks_forward() -> None:
    # The rpy of every URDF's camera_optical_joint.
    rotation = rotation_of_rpy(-math.pi / 2, 0.0, -math.pi / 2)
    mounting = Mounting.of_optical_frame(rotation, np.array([1.5, 0.2, 1.4]))
    assert (mounting.forward_m, mounting.left_m, mounting.height_m) == (1.5, 0.2, 1.4)
    angles = (mounting.yaw_rad, mounting.lean.roll_rad, mounting.lean.pitch_rad)
    assert angles == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    np.testing.assert_allclose(mounting.optical_of_level(LEVEL), OPTICAL_OF_BODY, atol=1e-12)


@pytest.mark.parametrize("yaw", [0.0, 0.6, -2.0])
def test_a_leaning_mounting_comes_back_out_of_its_optical_frame(yaw: float) -> None:
    body = rotation_of_rpy(-0.05, 0.12, yaw)
    mounting = Mounting.of_optical_frame(body @ OPTICAL_OF_BODY.T, np.zeros(3), height_m=2.0)
    assert mounting.height_m == 2.0
    assert (mounting.lean.roll_rad, mounting.lean.pitch_rad, mounting.yaw_rad) == pytest.approx((-0.05, 0.12, yaw))
    # Level axes are turned by the yaw: what is straight ahead of the camera, 0.12 rad lower, is on its optical axis.
    ray = rotation_of_rpy(0.0, 0.12, 0.0) @ FORWARD
    np.testing.assert_allclose(mounting.optical_of_level(LEVEL) @ ray, (0.0, 0.0, 1.0), atol=1e-12)


def test_the_vehicles_leaning_adds_to_the_cameras() -> None:
    ahead = Mounting(lean=Attitude(0.0, 0.1)).optical_of_level(Attitude(0.0, 0.05))
    np.testing.assert_allclose(ahead, Mounting(lean=Attitude(0.0, 0.15)).optical_of_level(LEVEL), atol=1e-12)
    # Where the nose is low, so is the right side of a camera that looks to the left.
    left = Mounting(yaw_rad=math.pi / 2).optical_of_level(Attitude(0.0, 0.05))
    np.testing.assert_allclose(left, Mounting(lean=Attitude(0.05, 0.0)).optical_of_level(LEVEL), atol=1e-12)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"height_m": 0.0}, "above the ground"),
        ({"height_m": math.nan}, "finite"),
        ({"lean": Attitude(math.pi / 2, 0.0)}, "body axes"),
    ],
)
def test_what_no_camera_is_mounted_as_is_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Mounting(**values)  # type: ignore[arg-type]
