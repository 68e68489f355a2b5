"""What the node did, how fast, and why a frame gave no pose: counted here, published once a second on /diagnostics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from geoflow_ros.localization import RejectReason
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import TrackState, TrackStatus

# Rates and percentiles are those of this long a window.
WINDOW_S = 10.0
# A rejection counts as present for this long.
_PRESENT_S = 3.0

OK: bytes = DiagnosticStatus.OK
WARN: bytes = DiagnosticStatus.WARN
ERROR: bytes = DiagnosticStatus.ERROR

REJECTION_LEVELS: Mapping[RejectReason, bytes] = {
    RejectReason.IMAGE: ERROR,
    RejectReason.CALIBRATION: ERROR,
    RejectReason.ATTITUDE: ERROR,
    RejectReason.ORDER: WARN,
    RejectReason.DUPLICATE: OK,
    RejectReason.ODOMETRY: ERROR,
    RejectReason.HEADING: WARN,
    RejectReason.START: WARN,
    RejectReason.GNSS: WARN,
    RejectReason.PRIOR: WARN,
    RejectReason.UNCERTAIN: WARN,
    RejectReason.MAP: ERROR,
    RejectReason.TILES: ERROR,
    RejectReason.BACKEND: ERROR,
    RejectReason.UNTRUSTED: WARN,
    RejectReason.UNINFORMATIVE: WARN,
    RejectReason.OUTLIER: WARN,
    RejectReason.UNPROVEN: WARN,
    RejectReason.STALE: WARN,
}
"""How bad each reason is, as a level of DiagnosticStatus."""

STATE_LEVELS: Mapping[TrackState, bytes] = {
    TrackState.WAITING: WARN,
    TrackState.TRACKING: OK,
    TrackState.DEGRADED: WARN,
    TrackState.LOST: ERROR,
}
"""How bad each state is, as a level of DiagnosticStatus."""


@dataclass(frozen=True)
class Limits:
    """Where a figure begins to be worth a warning and an error.

    Attributes:
        latency_warn_ms, latency_error_ms: 95th percentile of the time from an image's stamp to its fix.
        fix_age_warn_s, fix_age_error_s: time since the last fix.
        position_std_warn_m, position_std_error_m: standard deviation of the tracked position.
    """

    latency_warn_ms: float
    latency_error_ms: float
    fix_age_warn_s: float
    fix_age_error_s: float
    position_std_warn_m: float
    position_std_error_m: float


@dataclass(frozen=True)
class _Rejection:
    """When (steady clock, ns) something was rejected, and why."""

    at_ns: int
    reason: RejectReason
    detail: str

    def age_s(self, now_ns: int) -> float:
        return (now_ns - self.at_ns) / NANOSECONDS_PER_SECOND


@dataclass(frozen=True)
class _Figures:
    """What was counted and measured up to one moment.

    Attributes:
        counts: how often something happened, by its key.
        rates_hz: messages a second in the window, by what arrived.
        percentiles_ms: 50th and 95th percentile in the window, by stage.
        last_rejection: the newest; None where there was none.
        fix_age_s: time since the last fix; None before the first.
    """

    counts: Mapping[str, int]
    rates_hz: Mapping[str, float]
    percentiles_ms: Mapping[str, tuple[float, float]]
    last_rejection: _Rejection | None
    fix_age_s: float | None


class Health:
    """Collects what happens; thread-safe. Times are those of the caller's steady clock, nanoseconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last_rejection: _Rejection | None = None
        self._last_fix_ns: int | None = None
        self._arrivals: dict[str, deque[int]] = {}
        self._durations_ms: dict[str, deque[tuple[int, float]]] = {}

    def rejected(self, now_ns: int, reason: RejectReason, detail: str) -> None:
        """Notes that a frame or another input was rejected, with one line that a person can act on."""
        with self._lock:
            self._counts[reason.value] += 1
            self._last_rejection = _Rejection(now_ns, reason, detail)

    def arrived(self, now_ns: int, what: str) -> None:
        """Notes that a message of some kind came; its rate is reported as `<what>_hz`."""
        with self._lock:
            self._counts[what] += 1
            self._note_arrival(what, now_ns)

    def dropped(self) -> None:
        """Notes that a frame was overtaken by a newer one before it was looked at."""
        with self._lock:
            self._counts["dropped_frames"] += 1

    def published(self) -> None:
        """Notes that a pose went out."""
        with self._lock:
            self._counts["poses"] += 1

    def localized(self, now_ns: int, latency_ms: float | None, stages_ms: Mapping[str, float]) -> None:
        """Notes that a frame gave a fix, how long after its image's stamp if that is known, and each stage's time."""
        with self._lock:
            self._counts["fixes"] += 1
            self._last_fix_ns = now_ns
            self._note_arrival("fix", now_ns)
            latency = {} if latency_ms is None else {"latency": latency_ms}
            for stage, duration_ms in {**latency, **stages_ms}.items():
                durations = self._durations_ms.setdefault(stage, deque())
                durations.append((now_ns, duration_ms))
                while durations[0][0] < _window_begin(now_ns):
                    durations.popleft()

    def count(self, key: str) -> int:
        """Returns how often something was counted."""
        with self._lock:
            return self._counts[key]

    def status(
        self,
        now_ns: int,
        *,
        name: str,
        hardware_id: str,
        state: str,
        state_problem: str,
        clock_problem: str,
        track: TrackStatus | None,
        position_std_m: float | None,
        limits: Limits,
        extra: Mapping[str, str],
    ) -> DiagnosticStatus:
        """Returns the node's status: the worst finding decides its level and begins its message.

        Args:
            now_ns: steady clock.
            name: of the status.
            hardware_id: of the status.
            state: lifecycle state, or "disabled".
            state_problem: why the node could not be configured; empty where it could.
            clock_problem: what is wrong with ROS's time; empty where nothing is.
            track: what the pose is worth; None where the node is not configured.
            position_std_m: of the track, metres; None without a track.
            limits: for warnings and errors.
            extra: further values, handed on as they are.
        """
        figures = self._figures(now_ns)
        findings = _state_findings(state, state_problem) + _rejection_findings(figures.last_rejection, now_ns)
        if clock_problem:
            findings.append((WARN, clock_problem))
        if state == "active":
            findings += _track_findings(track) + _limit_findings(figures, position_std_m, limits)
        findings.sort(key=lambda finding: finding[0], reverse=True)
        values = {
            "state": state,
            "clock": clock_problem or "ok",
            **_track_values(track),
            **_figure_values(figures, position_std_m, now_ns),
            **_count_values(figures.counts),
            **_limit_values(limits),
            **extra,
        }
        return DiagnosticStatus(
            level=findings[0][0] if findings else OK,
            name=name,
            message="; ".join(text for _, text in findings) or "localizing",
            hardware_id=hardware_id,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _note_arrival(self, what: str, now_ns: int) -> None:
        arrivals = self._arrivals.setdefault(what, deque())
        arrivals.append(now_ns)
        while arrivals[0] < _window_begin(now_ns):
            arrivals.popleft()

    def _figures(self, now_ns: int) -> _Figures:
        with self._lock:
            return _Figures(
                counts=dict(self._counts),
                rates_hz={what: _rate_hz(arrivals, now_ns) for what, arrivals in self._arrivals.items()},
                percentiles_ms={stage: _percentiles(times, now_ns) for stage, times in self._durations_ms.items()},
                last_rejection=self._last_rejection,
                fix_age_s=None if self._last_fix_ns is None else (now_ns - self._last_fix_ns) / NANOSECONDS_PER_SECOND,
            )


def _state_findings(state: str, problem: str) -> list[tuple[bytes, str]]:
    if problem:
        return [(ERROR, problem)]
    return [] if state == "active" else [(WARN, f"not localizing: {state}")]


def _track_findings(track: TrackStatus | None) -> list[tuple[bytes, str]]:
    if track is None or track.state is TrackState.TRACKING:
        return []
    return [(STATE_LEVELS[track.state], f"{track.state.value}: {track.reason}")]


def track_status_message(name: str, hardware_id: str, track: TrackStatus) -> DiagnosticStatus:
    """Returns what the pose is worth as `~/status` says it: the state and its reason, and the figures behind it."""
    values = _track_values(track)
    return DiagnosticStatus(
        level=STATE_LEVELS[track.state],
        name=name,
        message=": ".join(filter(None, [track.state.value, track.reason])),
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _track_values(track: TrackStatus | None) -> dict[str, str]:
    if track is None:
        return {}
    return {
        "track_state": track.state.value,
        "track_fault": track.fault or "none",
        "unsupported_m": f"{track.unsupported_m:.1f}",
        "fix_inflation": f"{track.inflation:.2f}",
    }


def _rejection_findings(last: _Rejection | None, now_ns: int) -> list[tuple[bytes, str]]:
    if last is None or last.age_s(now_ns) >= _PRESENT_S or REJECTION_LEVELS[last.reason] == OK:
        return []
    return [(REJECTION_LEVELS[last.reason], last.detail)]


def _limit_findings(figures: _Figures, position_std_m: float | None, limits: Limits) -> list[tuple[bytes, str]]:
    """The figures of an active node that are over their limits."""
    findings = []
    if figures.fix_age_s is None:
        findings.append((WARN, "no fix yet"))
    else:
        level = _level(figures.fix_age_s, limits.fix_age_warn_s, limits.fix_age_error_s)
        findings.append((level, f"no fix for {figures.fix_age_s:.1f} s"))
    if "latency" in figures.percentiles_ms:
        latency_ms = figures.percentiles_ms["latency"][1]
        level = _level(latency_ms, limits.latency_warn_ms, limits.latency_error_ms)
        findings.append((level, f"latency p95 {latency_ms:.0f} ms"))
    if position_std_m is not None:
        level = _level(position_std_m, limits.position_std_warn_m, limits.position_std_error_m)
        findings.append((level, f"position known to {position_std_m:.1f} m only"))
    return [finding for finding in findings if finding[0] != OK]


def _figure_values(figures: _Figures, position_std_m: float | None, now_ns: int) -> dict[str, str]:
    last = figures.last_rejection
    values = {
        "last_silence": "none"
        if last is None
        else f"{last.reason.value}, {last.age_s(now_ns):.1f} s ago: {last.detail}",
        "fix_age_s": "never" if figures.fix_age_s is None else f"{figures.fix_age_s:.2f}",
        "position_std_m": "no track" if position_std_m is None else f"{position_std_m:.2f}",
    }
    for what, rate_hz in figures.rates_hz.items():
        values[f"{what}_hz"] = f"{rate_hz:.2f}"
    for stage, (p50, p95) in figures.percentiles_ms.items():
        values[f"{stage}_ms_p50"], values[f"{stage}_ms_p95"] = f"{p50:.1f}", f"{p95:.1f}"
    return values


def _count_values(counts: Mapping[str, int]) -> dict[str, str]:
    keys = ("dropped_frames", "fixes", "poses", *(reason.value for reason in RejectReason))
    return {key: str(counts.get(key, 0)) for key in keys}


def _limit_values(limits: Limits) -> dict[str, str]:
    values = {}
    for key, warn, error in (
        ("latency_ms_p95", limits.latency_warn_ms, limits.latency_error_ms),
        ("fix_age_s", limits.fix_age_warn_s, limits.fix_age_error_s),
        ("position_std_m", limits.position_std_warn_m, limits.position_std_error_m),
    ):
        values[f"{key}.warn"], values[f"{key}.error"] = f"{warn:g}", f"{error:g}"
    return values


def _window_begin(now_ns: int) -> int:
    return now_ns - round(WINDOW_S * NANOSECONDS_PER_SECOND)


def _rate_hz(arrivals_ns: deque[int], now_ns: int) -> float:
    recent = [at_ns for at_ns in arrivals_ns if at_ns >= _window_begin(now_ns)]
    if len(recent) < 2 or now_ns <= recent[0]:
        return 0.0
    return len(recent) * NANOSECONDS_PER_SECOND / (now_ns - recent[0])


def _percentiles(durations_ms: deque[tuple[int, float]], now_ns: int) -> tuple[float, float]:
    recent = [duration_ms for at_ns, duration_ms in durations_ms if at_ns >= _window_begin(now_ns)]
    if not recent:
        return 0.0, 0.0
    p50, p95 = np.percentile(recent, [50, 95])
    return float(p50), float(p95)


def _level(value: float, warn: float, error: float) -> bytes:
    if value >= error:
        return ERROR
    return WARN if value >= warn else OK
