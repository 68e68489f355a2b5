"""Where a track begins, and what a start pose waits for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes.drives import NS
from fakes.tracks import filled_buffer

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import OdometryError
from geoflow_ros.tracking import OdometryBuffer, OdometryPose, StartPose, Tracker


def test_a_track_needs_a_start_and_loses_it_with_its_odometry() -> None:
    buffer = filled_buffer()
    tracker = Tracker(buffer)
    with pytest.raises(OdometryError, match="no start pose"):
        tracker.advance(NS)
    tracker.start(StartPose(0, 0.0, 0.0, 0.0, np.eye(3)))
    tracker.advance(NS)
    assert tracker.started
    buffer.clear()
    assert not tracker.started
    with pytest.raises(OdometryError, match="no start pose"):
        tracker.predict(NS)


def test_a_start_pose_before_the_first_odometry_waits_for_it() -> None:
    buffer = OdometryBuffer()
    tracker = Tracker(buffer)
    tracker.start(StartPose(90 * NS, 5.0, 6.0, 0.0, np.eye(3)))
    for index in range(51):
        buffer.add(OdometryPose(100 * NS + index * NS // 50, index * 0.1, 0.0, 0.0))
    assert tracker.advance(101 * NS).east_m == pytest.approx(10.0)


def test_a_start_pose_older_than_the_odometry_that_is_kept_is_dropped() -> None:
    buffer = filled_buffer(seconds=60.0)
    assert buffer.trimmed
    tracker = Tracker(buffer)
    tracker.start(StartPose(10 * NS, 5.0, 6.0, 0.0, np.eye(3)))
    buffer.add(OdometryPose(60 * NS + NS // 50, 540.18, 0.0, 0.0, 9.0))
    for _ in range(2):
        with pytest.raises(OdometryError, match="older than the odometry that is kept"):
            tracker.advance(60 * NS)
    assert not tracker.started
    tracker.start(StartPose(59 * NS, 5.0, 6.0, 0.0, np.eye(3)))
    assert tracker.advance(60 * NS).east_m == pytest.approx(14.0)


@pytest.mark.parametrize("seconds", [20.0, 60.0])
def test_a_start_pose_that_comes_before_the_odometry_of_a_looped_bag_starts_the_next_pass(seconds: float) -> None:
    buffer = filled_buffer(seconds=seconds)
    tracker = Tracker(buffer)
    tracker.start(StartPose(round(seconds - 1) * NS, 0.0, 0.0, 0.0, np.eye(3)))
    end = tracker.advance(round(seconds) * NS)
    tracker.start(StartPose(-NS // 10, 5.0, 6.0, 0.0, np.eye(3)))
    with pytest.raises(OdometryError, match="waiting for odometry"):
        tracker.predict(end.stamp_ns)  # TF and diagnostics ask at any time
    with pytest.raises(OdometryError, match="jumped back"):
        buffer.add(OdometryPose(0, 0.0, 0.0, 0.0, 9.0))
    for index in range(1, 51):
        buffer.add(OdometryPose(index * NS // 50, index * 9.0 / 50, 0.0, 0.0, 9.0))
    assert tracker.advance(NS).east_m == pytest.approx(14.0)


def test_a_start_pose_on_a_clock_ahead_of_the_odometry_is_dropped_and_named() -> None:
    buffer = filled_buffer()
    tracker = Tracker(buffer)
    tracker.start(StartPose(100 * NS, 5.0, 6.0, 0.0, np.eye(3)))
    assert tracker.started  # the odometry may only have paused
    buffer.add(OdometryPose(5 * NS + NS // 50, 45.18, 0.0, 0.0, 9.0))
    assert not tracker.started
    with pytest.raises(OdometryError, match=r"95\.0 s ahead of the odometry: the clocks differ, check use_sim_time"):
        tracker.advance(5 * NS)
    tracker.reset()
    with pytest.raises(OdometryError, match="no start pose yet"):
        tracker.advance(5 * NS)


@pytest.mark.parametrize("covariance", [np.diag([1.0, 1.0, 0.0]), np.diag([1.0, -1.0, 1.0]), np.full((3, 3), math.nan)])
def test_a_start_pose_without_a_proper_covariance_is_refused(covariance: Float64Array) -> None:
    with pytest.raises(OdometryError):
        Tracker(OdometryBuffer()).start(StartPose(0, 0.0, 0.0, 0.0, covariance))
