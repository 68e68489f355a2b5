"""Closing in on how the camera stood in one frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.inference.camera_calibration import EXTRINSICS, CameraBelief, CameraCalibration, CameraUncertainty
from geoflow_ros.inference.camera_refinement import NARROW, WIDE, newton_step, summit
from geoflow_ros.inference.pose_search import CameraHypotheses

CAMERA = VirtualCamera(512, 128, 256.0, 50.7, 1.65)
SEES = np.array([math.radians(0.4), math.radians(0.4), 0.03])  # how sharply a window tells the camera


@pytest.fixture(scope="module")
def belief() -> CameraBelief:
    return CameraCalibration(CAMERA, EXTRINSICS).belief


def window(cameras: CameraHypotheses, stood: Float64Array) -> Float64Array:
    """Scores (R, T, m, m) of a window whose best pose fits the better the nearer the camera is to how it stood."""
    score = -0.5 * (((cameras.points - stood) / SEES) ** 2).sum(axis=1)
    hill = -np.abs(np.arange(-2, 3)).astype(float)
    return np.asarray(score[:, None, None, None] + np.stack([hill[:, None] + hill] * 2))


def test_a_step_goes_to_the_summit_of_a_parabola_and_not_far_beyond_the_ends() -> None:
    assert newton_step(np.array([0.0, -1.0, -1.0])) == pytest.approx([0.0])
    assert newton_step(np.array([-0.09, -1.69, -0.49])) == pytest.approx([0.3])  # -(x - 0.3)^2
    assert newton_step(np.array([-4.0, -9.0, -1.0])) == pytest.approx([1.5])  # -(x - 2)^2
    # no summit: towards the higher end
    assert newton_step(np.array([0.0, 1.0, 2.0, 0.5, -0.5])) == pytest.approx([1.0, -1.0])
    assert newton_step(np.array([0.0, 0.0, 0.0])) == pytest.approx([0.0])


@pytest.mark.parametrize("stood_deg", [(0.5, -0.3, 0.01), (-0.7, 0.6, -0.04)])
def test_the_camera_that_explains_a_window_is_found_from_one_that_does_not(
    belief: CameraBelief, stood_deg: tuple[float, float, float]
) -> None:
    stood = np.array([math.radians(stood_deg[0]), math.radians(stood_deg[1]), stood_deg[2]])
    cross = belief.around(np.zeros(3), WIDE)
    found = summit(belief, cross, window(cross, stood))
    # the belief pulls it towards its mean, as a prior should
    pulled = stood / (1.0 + SEES**2 / belief.variance)
    assert found == pytest.approx(pulled, rel=0.02)


def test_a_cross_lies_about_its_point_and_weighs_as_the_belief_does_there(belief: CameraBelief) -> None:
    point = np.array([math.radians(0.8), math.radians(-0.5), 0.02])
    cross = belief.around(point, NARROW)
    assert len(cross) == 7
    assert cross.points[0] == pytest.approx(point)
    assert np.abs(cross.points - point).max(axis=0) == pytest.approx(NARROW * belief.step)
    about_mean = belief.around(belief.mean, NARROW)
    assert about_mean.log_prior[0] == pytest.approx(belief.hypotheses.log_prior[0])
    assert cross.log_prior[0] - about_mean.log_prior[0] == pytest.approx(
        -0.5 * ((point - belief.mean) ** 2 / belief.variance).sum()
    )


def test_an_axis_that_is_known_is_left_alone() -> None:
    uncertainty = CameraUncertainty(math.radians(1.0), 0.0, 0.0, 0.0)
    belief = CameraCalibration(CAMERA, uncertainty).belief
    stood = np.array([math.radians(0.6), math.radians(0.6), 0.05])
    cross = belief.around(np.zeros(3), WIDE)
    assert len(cross) == 3
    assert np.isfinite(cross.log_prior).all()
    found = summit(belief, cross, window(cross, stood))
    assert found[0] > math.radians(0.3)
    assert found[1:].tolist() == [0.0, 0.0]
