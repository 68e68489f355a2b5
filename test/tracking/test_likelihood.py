"""The search prior is taken out of a fix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes.drives import SEARCH_RADIUS_M

from geoflow_ros.tracking import likelihood_axes


def test_an_axis_on_which_the_network_knows_nothing_is_no_measurement() -> None:
    search_variance = SEARCH_RADIUS_M**2 / 3
    centre = np.array([100.0, 50.0])
    assert likelihood_axes(centre, np.diag([search_variance, search_variance]), centre, SEARCH_RADIUS_M) == ()
    (axis,) = likelihood_axes(centre + [0.2, 3.0], np.diag([search_variance, 0.64]), centre, SEARCH_RADIUS_M)
    assert abs(axis.direction[1]) == pytest.approx(1.0)
    assert axis.position_m * axis.direction[1] == pytest.approx(53.0, abs=0.05)
    assert axis.variance_m2 == pytest.approx(0.64, rel=0.01)


def test_fusing_the_likelihood_with_the_search_prior_gives_the_posterior_back() -> None:
    angle = 0.6
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    covariance = rotation @ np.diag([49.0, 1.0]) @ rotation.T
    centre, mean = np.array([10.0, -20.0]), np.array([16.0, -13.0])
    information = np.eye(2) * 3 / SEARCH_RADIUS_M**2
    vector = information @ centre
    for axis in likelihood_axes(mean, covariance, centre, SEARCH_RADIUS_M):
        information += np.outer(axis.direction, axis.direction) / axis.variance_m2
        vector += axis.direction * axis.position_m / axis.variance_m2
    np.testing.assert_allclose(np.linalg.inv(information), covariance, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.solve(information, vector), mean, rtol=1e-9)
