"""The tracker: poses between fixes, the gate, relocalization and absolute headings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes.drives import NS, SEARCH_RADIUS_M
from fakes.tracks import fix_at, started_track

from geoflow_ros.errors import OdometryError
from geoflow_ros.tracking import OdometryBuffer, OdometryPose, StartPose, Tracker, Verdict


def test_between_fixes_the_pose_follows_odometry_turned_by_the_yaw_offset() -> None:
    _, tracker = started_track()
    pose = tracker.predict(10 * NS)
    assert (pose.east_m, pose.north_m) == pytest.approx((100.0, 140.0), abs=1e-9)
    assert pose.yaw_rad == pytest.approx(math.pi / 2)


def test_the_map_to_odom_transform_puts_the_vehicle_where_the_track_has_it() -> None:
    buffer, tracker = started_track()
    tracker.update(fix_at(8 * NS, 102.0, 121.0))
    transform, pose, odometry = tracker.map_to_odom(10 * NS), tracker.predict(10 * NS), buffer.pose_at(10 * NS)
    cosine, sine = math.cos(transform.yaw_rad), math.sin(transform.yaw_rad)
    assert transform.x_m + cosine * odometry.x_m - sine * odometry.y_m == pytest.approx(pose.east_m)
    assert transform.y_m + sine * odometry.x_m + cosine * odometry.y_m == pytest.approx(pose.north_m)


def test_the_camera_is_measured_and_base_link_is_tracked() -> None:
    _, tracker = started_track()
    for second in range(1, 19):  # the vehicle drives north; the camera is 2 m ahead and 1 m to the left of base_link
        tracker.update(fix_at(second * NS, 99.0, 50.0 + 9.0 * second + 2.0, 0.3, lever_arm_m=(2.0, 1.0)))
    pose = tracker.predict(18 * NS)
    assert (pose.east_m, pose.north_m) == pytest.approx((100.0, 212.0), abs=0.2)


def test_a_vehicle_at_rest_does_not_grow_certain_from_looking_at_one_scene() -> None:
    buffer = OdometryBuffer()
    for index in range(50 * 20):
        buffer.add(OdometryPose(index * NS // 50, 0.0, 0.0, 0.0, 0.0))
    tracker = Tracker(buffer)
    tracker.start(StartPose(0, 0.0, 0.0, 0.0, np.diag([100.0, 100.0, 0.001])))
    tracker.update(fix_at(NS, 0.0, 0.0, 2.0))
    after_one = tracker.predict(NS).position_std_m
    for index in range(10, 90):
        tracker.update(fix_at(index * NS // 5, 0.0, 0.0, 2.0))
    assert tracker.predict(18 * NS).position_std_m > 0.7 * after_one


def test_a_fix_older_than_the_track_is_stale_and_changes_nothing() -> None:
    _, tracker = started_track()
    before = tracker.advance(10 * NS)
    assert tracker.update(fix_at(9 * NS, 0.0, 0.0)).verdict is Verdict.STALE
    assert tracker.predict(10 * NS).east_m == before.east_m
    with pytest.raises(OdometryError, match="older than the track"):
        tracker.advance(9 * NS)


def test_an_inflated_covariance_keeps_the_pose_and_lets_the_next_fix_decide() -> None:
    _, tracker = started_track(std_m=0.5)
    assert tracker.update(fix_at(1 * NS, 110.0, 59.0)).verdict is Verdict.OUTLIER
    tracker.inflate_covariance(8.0, 0.05)
    assert tracker.update(fix_at(2 * NS, 110.0, 68.0)).verdict is Verdict.FUSED
    assert tracker.predict(2 * NS).east_m == pytest.approx(110.0, abs=0.5)


def test_inflating_again_and_again_does_no_more_than_once() -> None:
    _, tracker = started_track(std_m=0.5)
    tracker.advance(2 * NS)
    for _ in range(4):
        tracker.inflate_covariance(8.0, 0.2)
        pose = tracker.predict(2 * NS)
        assert np.linalg.eigvalsh(pose.covariance[:2, :2]) == pytest.approx([64.0, 64.0], rel=1e-9)
        assert pose.yaw_std_rad == pytest.approx(0.2)
    _, tracker = started_track(std_m=12.7)
    tracker.advance(0)
    tracker.inflate_covariance(8.0, 0.02)
    pose = tracker.predict(0)
    assert pose.position_std_m == pytest.approx(12.7)
    assert pose.yaw_std_rad == pytest.approx(0.1)


def test_a_relocalization_leaves_the_track_certain_enough_for_the_next_fix() -> None:
    _, tracker = started_track(std_m=0.5)
    known_east = np.diag([1.0, SEARCH_RADIUS_M**2 / 3])
    verdicts = [
        tracker.update(fix_at(second * NS, 118.0, 50.0 + 9.0 * second, covariance_m2=known_east)).verdict
        for second in range(1, 6)
    ]
    assert verdicts == [Verdict.OUTLIER] * 4 + [Verdict.RELOCALIZED]
    pose = tracker.predict(5 * NS)
    assert pose.east_m == pytest.approx(118.0, abs=1.0)
    assert 8.0 < pose.position_std_m < 13.0


def test_a_slow_vehicle_is_found_again_too() -> None:
    speed_mps, rate_hz = 0.3, 30
    buffer = OdometryBuffer()
    buffer.add(OdometryPose(0, 0.0, 0.0, 0.0, speed_mps))
    tracker = Tracker(buffer)
    tracker.start(StartPose(0, 100.0, 50.0, math.pi / 2, np.diag([0.25, 0.25, 0.0004])))
    for frame in range(1, 80 * rate_hz):
        stamp_ns, driven_m = frame * NS // rate_hz, frame * speed_mps / rate_hz
        buffer.add(OdometryPose(stamp_ns, driven_m, 0.0, 0.0, speed_mps))
        decision = tracker.update(fix_at(stamp_ns, 110.0, 50.0 + driven_m))
        assert decision.rejected_in_a_row == frame
        if decision.verdict is Verdict.RELOCALIZED:
            break
    assert decision.verdict is Verdict.RELOCALIZED
    assert driven_m == pytest.approx(20.0, abs=0.5)
    assert tracker.predict(stamp_ns).east_m == pytest.approx(110.0, abs=1.0)


def test_a_disturbed_heading_is_rejected_and_counted() -> None:
    _, tracker = started_track()
    tracker.add_heading(2 * NS, math.pi / 2, 0.02)
    tracker.advance(3 * NS)
    tracker.add_heading(4 * NS, -math.pi / 2, 0.02)
    pose = tracker.advance(5 * NS)
    assert (tracker.counts.headings_fused, tracker.counts.headings_rejected) == (1, 1)
    assert pose.yaw_rad == pytest.approx(math.pi / 2, abs=0.05)
    with pytest.raises(OdometryError):
        tracker.add_heading(6 * NS, math.nan, 0.02)
