"""What a track is worth, from distances and inflations alone."""

from __future__ import annotations

from geoflow_ros.tracking import TrackerSettings, TrackState
from geoflow_ros.tracking.trust import DISBELIEVED_INFLATION, DOUBTED_INFLATION, TrackTrust

SETTINGS = TrackerSettings(degraded_after_m=8.0, lost_after_m=16.0)


def drive(trust: TrackTrust, from_m: float, to_m: float, step_m: float = 2.0) -> None:
    """Images every so many metres, none of which gives a fix."""
    for step in range(1, round((to_m - from_m) / step_m) + 1):
        trust.drove(from_m + step * step_m, SETTINGS)


def state(trust: TrackTrust, driven_m: float, inflation: float = 1.0) -> TrackState:
    return trust.status(driven_m, inflation, SETTINGS).state


def test_without_fixes_a_track_is_degraded_and_then_lost() -> None:
    trust = TrackTrust()
    drive(trust, 0.0, 6.0)
    assert state(trust, 6.0) is TrackState.TRACKING
    drive(trust, 6.0, 8.0)
    assert state(trust, 8.0) is TrackState.DEGRADED
    drive(trust, 8.0, 16.0)
    assert trust.is_lost
    status = trust.status(16.0, 1.0, SETTINGS)
    assert (status.state, status.unsupported_m) == (TrackState.LOST, 16.0)
    assert "gate.lost_after_m" in status.reason


def test_a_vehicle_at_rest_stays_in_its_state() -> None:
    trust = TrackTrust()
    for _ in range(1000):
        trust.drove(0.0, SETTINGS)
    assert state(trust, 0.0) is TrackState.TRACKING


def test_a_fast_vehicle_with_a_slow_model_is_tracked_by_every_fix() -> None:
    trust = TrackTrust()
    for image in range(1, 20):
        trust.drove(20.0 * image, SETTINGS)
        assert not trust.is_lost
        assert state(trust, 20.0 * image) is TrackState.TRACKING
        trust.fused(1.0)
    drive(trust, 380.0, 440.0, step_m=20.0)
    assert trust.is_lost


def test_where_no_image_comes_the_odometry_alone_is_believed_three_times_as_far() -> None:
    trust = TrackTrust()
    assert state(trust, 23.0) is TrackState.TRACKING
    assert state(trust, 25.0) is TrackState.DEGRADED
    assert state(trust, 49.0) is TrackState.LOST


def test_a_lucky_fix_now_and_then_does_not_keep_a_track() -> None:
    trust = TrackTrust()
    for begin_m in (0.0, 14.0, 28.0, 42.0):
        drive(trust, begin_m, begin_m + 14.0)
        if not trust.is_lost:
            trust.fused(1.0)
    assert trust.is_lost


def test_a_lost_track_stays_lost_until_it_is_restarted() -> None:
    trust = TrackTrust()
    trust.disbelieve("fixes do not follow the motion")
    trust.disbelieve("another reason")
    assert trust.status(0.0, 1.0, SETTINGS).reason == "fixes do not follow the motion"
    trust.fused(1.0)
    assert trust.is_lost
    trust.restart(5.0)
    assert state(trust, 5.0) is TrackState.TRACKING


def test_doubted_fixes_degrade_a_track() -> None:
    assert state(TrackTrust(), 0.0, DOUBTED_INFLATION - 0.01) is TrackState.TRACKING
    assert state(TrackTrust(), 0.0, DOUBTED_INFLATION) is TrackState.DEGRADED
    assert DOUBTED_INFLATION < DISBELIEVED_INFLATION
