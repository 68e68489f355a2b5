"""Calibrations end where nothing was seen: scales below 1 fade, and more never becomes less."""

from __future__ import annotations

import numpy as np
import pytest

from geoflow_ros.bundle import Calibration
from geoflow_ros.bundle.calibrated_range import scales_within


def test_a_scale_holds_in_its_range_and_is_gone_at_twice_the_largest() -> None:
    stds = np.array([1.0, 5.0, 10.0, 40.0])
    covariance = stds[:, None, None] ** 2 * np.eye(2)
    scales = scales_within(covariance, (0.1, 0.1), (5.0, None))
    np.testing.assert_allclose(scales, [[0.1, 0.1], [0.1, 0.1], [1.0, 0.1], [1.0, 0.1]])
    assert scales_within(covariance, (2.0, 0.5), (5.0, 5.0))[-1].tolist() == [2.0, 1.0]


@pytest.mark.parametrize("scale", [0.05, 0.116, 0.7, 1.0, 3.0])
def test_what_is_less_sure_stays_less_sure(scale: float) -> None:
    stated = np.geomspace(0.1, 100.0, 400)
    factors = scales_within(stated[:, None, None] ** 2 * np.eye(1), (scale,), (4.0,))[:, 0]
    assert (np.diff(stated * factors) > 0.0).all()


def test_a_head_that_is_less_sure_than_ever_is_believed() -> None:
    """The case it is for: 12.9 m sideways on pictures of another kind had become 1.5 m."""
    calibration = Calibration(0.68, 0.116, 0.01, 0.97, 640, "a test", 15.0, 6.0)
    known, unknown = (np.sqrt(np.diag(calibration.apply(np.diag([9.0**2, std**2])))) for std in (3.0, 12.9))
    assert known[1] == pytest.approx(np.hypot(0.116 * 3.0, 0.97))
    assert unknown[1] > 12.9
