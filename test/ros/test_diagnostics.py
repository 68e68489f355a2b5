"""What the diagnostics say, at which level, and under which keys."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from diagnostic_msgs.msg import DiagnosticStatus

from geoflow_ros.localization import RejectReason
from geoflow_ros.ros.diagnostics import ERROR, OK, REJECTION_LEVELS, WARN, WINDOW_S, Health, Limits
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND as NS
from geoflow_ros.tracking import TrackStatus

LIMITS = Limits(
    latency_warn_ms=200.0,
    latency_error_ms=1000.0,
    fix_age_warn_s=1.0,
    fix_age_error_s=5.0,
    position_std_warn_m=3.0,
    position_std_error_m=10.0,
)
NOW_NS = 100 * NS


def status(
    health: Health,
    now_ns: int = NOW_NS,
    state: str = "active",
    state_problem: str = "",
    position_std_m: float | None = 1.0,
    track: TrackStatus | None = None,
) -> DiagnosticStatus:
    return health.status(
        now_ns,
        name="localization",
        hardware_id="model",
        state=state,
        state_problem=state_problem,
        clock_problem="",
        track=track,
        position_std_m=position_std_m,
        limits=LIMITS,
        extra={"more": "said"},
    )


def values(message: DiagnosticStatus) -> dict[str, str]:
    return {item.key: item.value for item in message.values}


@pytest.fixture
def health() -> Health:
    """The status of a node that has just published a pose, 50 ms after its image."""
    health = Health()
    health.localized(NOW_NS - NS // 10, 50.0, {"ground": 20.0})
    return health


def test_a_node_that_works_is_ok(health: Health) -> None:
    message = status(health)
    assert (message.level, message.message) == (OK, "localizing")
    assert values(message)["state"] == "active"
    assert values(message)["last_silence"] == "none"
    assert values(message)["fix_age_s"] == "0.10"
    assert values(message)["ground_ms_p50"] == "20.0"
    assert values(message)["more"] == "said"


def test_every_reason_has_a_level_and_a_count(health: Health) -> None:
    assert REJECTION_LEVELS.keys() == {*RejectReason}
    health.rejected(NOW_NS, RejectReason.OUTLIER, "contradicts the track")
    said = values(status(health))
    for reason in RejectReason:
        assert said[reason.value] == ("1" if reason is RejectReason.OUTLIER else "0")


def test_what_came_twice_is_counted_and_no_problem(health: Health) -> None:
    health.rejected(NOW_NS, RejectReason.DUPLICATE, "the image came twice")
    message = status(health)
    assert (message.level, message.message) == (OK, "localizing")
    assert {item.key: item.value for item in message.values}["duplicate_images"] == "1"


@pytest.mark.parametrize("reason", [reason for reason, level in REJECTION_LEVELS.items() if level != OK])
def test_a_rejection_is_present_for_three_seconds_with_its_reasons_level(health: Health, reason: RejectReason) -> None:
    health.rejected(NOW_NS, reason, "what to do")
    message = status(health)
    assert (message.level, message.message) == (REJECTION_LEVELS[reason], "what to do")
    assert values(message)["last_silence"] == f"{reason.value}, 0.0 s ago: what to do"
    later_ns = NOW_NS + 3 * NS
    health.localized(later_ns, 50.0, {})
    assert status(health, later_ns).level == OK


def test_the_worst_finding_decides_the_level_and_begins_the_message(health: Health) -> None:
    health.rejected(NOW_NS, RejectReason.OUTLIER, "contradicts the track")
    message = status(health, position_std_m=12.0)
    assert message.level == ERROR
    assert message.message == "position known to 12.0 m only; contradicts the track"


@pytest.mark.parametrize(
    ("state", "problem", "level", "text"),
    [
        ("inactive", "", WARN, "not localizing: inactive"),
        ("disabled", "", WARN, "not localizing: disabled"),
        ("unconfigured", "no such map", ERROR, "no such map"),
    ],
)
def test_a_node_that_does_not_localize_says_why(
    health: Health, state: str, problem: str, level: bytes, text: str
) -> None:
    message = status(health, NOW_NS + 60 * NS, state, problem)
    assert (message.level, message.message) == (level, text)


@pytest.mark.parametrize(("age_s", "level"), [(0.5, OK), (1.0, WARN), (4.9, WARN), (5.0, ERROR)])
def test_a_pose_that_is_too_old_is_a_finding(age_s: float, level: bytes) -> None:
    health = Health()
    health.localized(NOW_NS, 50.0, {})
    assert status(health, NOW_NS + round(age_s * NS)).level == level


def test_before_the_first_pose_there_is_a_warning() -> None:
    message = status(Health(), position_std_m=None)
    assert (message.level, message.message) == (WARN, "no fix yet")
    assert values(message)["fix_age_s"] == "never"
    assert values(message)["position_std_m"] == "no track"


def test_latency_is_that_of_the_95th_percentile() -> None:
    health = Health()
    for number in range(100):
        health.localized(NOW_NS, 300.0 if number >= 90 else 50.0, {})
    message = status(health)
    assert (message.level, message.message) == (WARN, "latency p95 300 ms")
    assert values(message)["latency_ms_p50"] == "50.0"
    assert values(message)["latency_ms_p95.warn"] == "200"


def test_rates_and_percentiles_forget_what_is_older_than_the_window(health: Health) -> None:
    for number in range(11):
        health.arrived(NOW_NS + number * NS // 5, "image")
    now_ns = NOW_NS + 2 * NS
    assert values(status(health, now_ns))["image_hz"] == "5.50"
    later_ns = now_ns + round(WINDOW_S * NS) + 1
    said = values(status(health, later_ns))
    assert said["image_hz"] == "0.00"
    assert said["latency_ms_p95"] == "0.0"
    assert health.count("image") == 11


def test_a_frame_that_was_overtaken_is_counted(health: Health) -> None:
    health.dropped()
    assert values(status(health))["dropped_frames"] == "1"
