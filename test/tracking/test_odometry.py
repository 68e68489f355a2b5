"""Odometry at a stamp: interpolated, extrapolated for a short time, and cleared where it began again."""

from __future__ import annotations

import math

import pytest
from fakes.drives import NS
from fakes.tracks import filled_buffer

from geoflow_ros.errors import OdometryError
from geoflow_ros.tracking import OdometryBuffer, OdometryPose


def test_the_pose_between_two_samples_is_interpolated_also_across_the_turn_of_yaw() -> None:
    buffer = filled_buffer(seconds=10.0, yaw_rate=0.7)
    t = 6.013
    pose = buffer.pose_at(round(t * NS))
    assert pose.x_m == pytest.approx(9 / 0.7 * math.sin(0.7 * t), abs=2e-3)
    assert pose.y_m == pytest.approx(9 / 0.7 * (1 - math.cos(0.7 * t)), abs=2e-3)
    assert pose.yaw_rad == pytest.approx(0.7 * t, abs=1e-9)
    assert pose.speed_mps == pytest.approx(9.0)


def test_the_pose_just_outside_is_extrapolated_and_further_outside_refused() -> None:
    buffer = filled_buffer()
    assert buffer.pose_at(5 * NS + NS // 10).x_m == pytest.approx(45.9)
    assert buffer.pose_at(-NS // 10).x_m == pytest.approx(-0.9)
    with pytest.raises(OdometryError, match="newer than the newest"):
        buffer.pose_at(6 * NS)
    with pytest.raises(OdometryError, match="older than the oldest"):
        buffer.pose_at(-NS)
    with pytest.raises(OdometryError, match="no odometry yet"):
        OdometryBuffer().pose_at(0)


def test_a_gap_is_not_interpolated() -> None:
    buffer = filled_buffer()
    buffer.add(OdometryPose(7 * NS, 63.0, 0.0, 0.0))
    with pytest.raises(OdometryError, match="gap of 2.00 s"):
        buffer.pose_at(6 * NS)


@pytest.mark.parametrize(
    "pose",
    [
        OdometryPose(6 * NS, math.nan, 0.0, 0.0),
        OdometryPose(6 * NS, 54.0, math.inf, 0.0),
        OdometryPose(6 * NS, 54.0, 0.0, math.nan),
        OdometryPose(6 * NS, 54.0, 0.0, 0.0, math.nan),
    ],
    ids=["x", "y", "yaw", "speed"],
)
def test_odometry_that_is_not_finite_is_refused_and_the_buffer_stays(pose: OdometryPose) -> None:
    buffer = filled_buffer()
    with pytest.raises(OdometryError, match="not finite"):
        buffer.add(pose)
    assert buffer.pose_at(5 * NS).x_m == pytest.approx(45.0)


def test_a_late_sample_is_dropped_and_a_clock_that_jumps_back_clears_the_buffer() -> None:
    buffer = filled_buffer()
    with pytest.raises(OdometryError, match="out of order"):
        buffer.add(OdometryPose(5 * NS - NS // 10, 44.0, 0.0, 0.0))
    assert buffer.generation == 0
    with pytest.raises(OdometryError, match=r"jumped back by 4\.000 s"):
        buffer.add(OdometryPose(1 * NS, 9.0, 0.0, 0.0))
    assert buffer.generation == 1
    assert buffer.newest is not None
    assert buffer.newest == buffer.oldest
    assert buffer.newest.stamp_ns == 1 * NS


def test_odometry_that_was_reset_elsewhere_clears_the_buffer() -> None:
    buffer = filled_buffer()
    with pytest.raises(OdometryError, match="it was reset"):
        buffer.add(OdometryPose(5 * NS + NS // 50, 0.0, 0.0, 0.0))
    assert buffer.generation == 1


def test_odometry_whose_clock_jumps_ahead_clears_the_buffer() -> None:
    buffer = filled_buffer()
    with pytest.raises(OdometryError, match=r"jumped ahead, by 3600\.0 s"):
        buffer.add(OdometryPose(3605 * NS, 45.0, 0.0, 0.0, 9.0))
    assert buffer.generation == 1
    assert buffer.newest is not None
    assert buffer.newest == buffer.oldest


@pytest.mark.parametrize("pause_s", [1, 3, 10])
def test_odometry_that_begins_again_at_its_origin_after_a_pause_clears_the_buffer(pause_s: int) -> None:
    buffer = filled_buffer(seconds=20.0)
    with pytest.raises(OdometryError, match="it was reset"):
        buffer.add(OdometryPose((20 + pause_s) * NS, 0.0, 0.0, 0.0, 0.0))
    assert buffer.generation == 1


@pytest.mark.parametrize("speed_mps", [None, 0.0, 14.0])
@pytest.mark.parametrize("driven_m", [4.0, 10.0, 14.0, 18.0])
def test_a_short_dropout_at_city_speed_keeps_the_buffer_also_without_a_twist(
    speed_mps: float | None, driven_m: float
) -> None:
    buffer = OdometryBuffer()
    for index in range(51):
        buffer.add(OdometryPose(index * NS // 50, index * 14.0 / 50, 0.0, 0.0, speed_mps))
    buffer.add(OdometryPose(2 * NS, 14.0 + driven_m, 0.0, 0.0, speed_mps))
    assert buffer.generation == 0


def test_a_vehicle_that_sets_off_in_a_dropout_keeps_the_buffer() -> None:
    buffer = filled_buffer(speed_mps=0.0)
    buffer.add(OdometryPose(8 * NS, 13.5, 0.0, 0.0, 9.0))  # 3 m/s² for 3 s
    assert buffer.generation == 0


def test_the_buffer_keeps_a_bounded_length() -> None:
    buffer = OdometryBuffer(length_s=10.0)
    for index in range(50 * 60):
        buffer.add(OdometryPose(index * NS // 50, index * 0.1, 0.0, 0.0))
    assert buffer.oldest is not None
    assert buffer.newest is not None
    assert 10.0 <= (buffer.newest.stamp_ns - buffer.oldest.stamp_ns) / NS < 16.0
