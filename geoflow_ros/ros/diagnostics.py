"""What the node did, how fast, and why it was silent: counted here, published once a second on /diagnostics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from geoflow_ros.stamps import NANOSECONDS_PER_SECOND

# Rates and percentiles are those of this long a window.
WINDOW_S = 10.0
# A reason for silence counts as present for this long.
_FRESH_S = 3.0

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


class Silence(Enum):
    """Why a frame, or another input, led to no pose: (key in the diagnostics, level)."""

    IMAGE = ("bad_images", ERROR)
    ORDER = ("images_out_of_order", WARN)
    ODOMETRY = ("bad_odometry", ERROR)
    HEADING = ("bad_headings", WARN)
    START = ("bad_start_poses", WARN)
    PRIOR = ("no_prior", WARN)
    UNCERTAIN = ("prior_too_uncertain", WARN)
    MAP = ("outside_map", ERROR)
    TILES = ("tile_errors", ERROR)
    BACKEND = ("backend_errors", ERROR)
    DOUBT = ("untrusted_fixes", WARN)
    UNINFORMATIVE = ("uninformative_fixes", WARN)
    OUTLIER = ("gate_rejections", WARN)
    STALE = ("stale_fixes", WARN)

    def __init__(self, key: str, level: bytes) -> None:
        self.key = key
        self.level = level


@dataclass(frozen=True)
class Limits:
    """Where a figure begins to be worth a warning and an error."""

    latency_warn_ms: float
    latency_error_ms: float
    silence_warn_s: float
    silence_error_s: float
    position_std_warn_m: float
    position_std_error_m: float


class Health:
    """Collects what happens; thread-safe. Times are those of the caller's steady clock, nanoseconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last_silence: tuple[int, Silence, str] | None = None
        self._last_pose_ns: int | None = None
        self._times: dict[str, deque[int]] = {}
        self._values: dict[str, deque[tuple[int, float]]] = {}

    def silent(self, now_ns: int, reason: Silence, detail: str) -> None:
        """Something was refused, for a reason that a person can act on."""
        with self._lock:
            self._counts[reason.key] += 1
            self._last_silence = (now_ns, reason, detail)

    def arrived(self, now_ns: int, what: str) -> None:
        """A message of some kind came; its rate is reported as `<what>_hz`."""
        with self._lock:
            self._counts[what] += 1
            self._remember(self._times.setdefault(what, deque()), now_ns, now_ns)

    def dropped(self) -> None:
        """A frame was overtaken by a newer one before it was looked at."""
        with self._lock:
            self._counts["dropped_frames"] += 1

    def published(self, now_ns: int, latency_ms: float, stages_ms: Mapping[str, float]) -> None:
        """A pose went out, so long after its image's stamp, with so much time in each stage."""
        with self._lock:
            self._counts["poses"] += 1
            self._last_pose_ns = now_ns
            self._remember(self._times.setdefault("pose", deque()), now_ns, now_ns)
            for name, value in {"latency": latency_ms, **stages_ms}.items():
                self._remember(self._values.setdefault(name, deque()), now_ns, (now_ns, value))

    def count(self, key: str) -> int:
        """How often something was counted."""
        with self._lock:
            return self._counts[key]

    @staticmethod
    def _remember(window: deque, now_ns: int, entry: int | tuple[int, float]) -> None:  # type: ignore[type-arg]
        window.append(entry)
        oldest_ns = now_ns - round(WINDOW_S * NANOSECONDS_PER_SECOND)
        while window and (window[0] if isinstance(window[0], int) else window[0][0]) < oldest_ns:
            window.popleft()

    def status(
        self,
        now_ns: int,
        *,
        name: str,
        hardware_id: str,
        state: str,
        state_problem: str,
        position_std_m: float | None,
        limits: Limits,
        extra: Mapping[str, str],
    ) -> DiagnosticStatus:
        """The node's status: the worst of what is wrong decides on level and message.

        Args:
            now_ns: steady clock.
            name, hardware_id: of the status.
            state: lifecycle state, or "disabled".
            state_problem: why the node could not be configured; empty where it could.
            position_std_m: of the track, metres; None without a track.
            limits: for warnings and errors.
            extra: further values, handed on as they are.
        """
        with self._lock:
            rates = {what: self._rate(times, now_ns) for what, times in self._times.items()}
            percentiles = {what: self._percentiles(values, now_ns) for what, values in self._values.items()}
            counts = dict(self._counts)
            last_silence, last_pose_ns = self._last_silence, self._last_pose_ns

        findings: list[tuple[bytes, str]] = []
        if state_problem:
            findings.append((ERROR, state_problem))
        elif state != "active":
            findings.append((WARN, f"not localizing: {state}"))
        if last_silence is not None and (now_ns - last_silence[0]) / NANOSECONDS_PER_SECOND < _FRESH_S:
            findings.append((last_silence[1].level, last_silence[2]))
        if state == "active":
            findings += self._active_findings(now_ns, percentiles, last_pose_ns, position_std_m, limits)
        findings.sort(key=lambda finding: finding[0], reverse=True)
        level = findings[0][0] if findings else OK
        message = "; ".join(text for _, text in findings) or "localizing"

        values: dict[str, str] = {"state": state}
        values["last_silence"] = (
            "none"
            if last_silence is None
            else f"{last_silence[1].key}, {(now_ns - last_silence[0]) / NANOSECONDS_PER_SECOND:.1f} s ago: {last_silence[2]}"
        )
        values["pose_age_s"] = (
            "never" if last_pose_ns is None else f"{(now_ns - last_pose_ns) / NANOSECONDS_PER_SECOND:.2f}"
        )
        values["position_std_m"] = "no track" if position_std_m is None else f"{position_std_m:.2f}"
        for what, rate in rates.items():
            values[f"{what}_hz"] = f"{rate:.2f}"
        for what, (p50, p95) in percentiles.items():
            values[f"{what}_ms_p50"], values[f"{what}_ms_p95"] = f"{p50:.1f}", f"{p95:.1f}"
        values["dropped_frames"] = str(counts.get("dropped_frames", 0))
        values["poses"] = str(counts.get("poses", 0))
        for reason in Silence:
            values[reason.key] = str(counts.get(reason.key, 0))
        for key, warn, error in (
            ("latency_ms_p95", limits.latency_warn_ms, limits.latency_error_ms),
            ("pose_age_s", limits.silence_warn_s, limits.silence_error_s),
            ("position_std_m", limits.position_std_warn_m, limits.position_std_error_m),
        ):
            values[f"{key}.warn"], values[f"{key}.error"] = f"{warn:g}", f"{error:g}"
        values.update(extra)
        return DiagnosticStatus(
            level=level,
            name=name,
            message=message,
            hardware_id=hardware_id,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    @staticmethod
    def _active_findings(
        now_ns: int,
        percentiles: Mapping[str, tuple[float, float]],
        last_pose_ns: int | None,
        position_std_m: float | None,
        limits: Limits,
    ) -> list[tuple[bytes, str]]:
        findings = []
        if last_pose_ns is None:
            findings.append((WARN, "no pose yet"))
        else:
            age_s = (now_ns - last_pose_ns) / NANOSECONDS_PER_SECOND
            level = _level(age_s, limits.silence_warn_s, limits.silence_error_s)
            findings.append((level, f"no pose for {age_s:.1f} s"))
        if "latency" in percentiles:
            latency = percentiles["latency"][1]
            findings.append(
                (_level(latency, limits.latency_warn_ms, limits.latency_error_ms), f"latency p95 {latency:.0f} ms")
            )
        if position_std_m is not None:
            level = _level(position_std_m, limits.position_std_warn_m, limits.position_std_error_m)
            findings.append((level, f"position known to {position_std_m:.1f} m only"))
        return [finding for finding in findings if finding[0] != OK]

    @staticmethod
    def _rate(times: deque[int], now_ns: int) -> float:
        recent = [t for t in times if t >= now_ns - round(WINDOW_S * NANOSECONDS_PER_SECOND)]
        if len(recent) < 2 or now_ns <= recent[0]:
            return 0.0
        return len(recent) * NANOSECONDS_PER_SECOND / (now_ns - recent[0])

    @staticmethod
    def _percentiles(values: deque[tuple[int, float]], now_ns: int) -> tuple[float, float]:
        recent = [value for t, value in values if t >= now_ns - round(WINDOW_S * NANOSECONDS_PER_SECOND)]
        if not recent:
            return 0.0, 0.0
        p50, p95 = np.percentile(recent, [50, 95])
        return float(p50), float(p95)


def _level(value: float, warn: float, error: float) -> bytes:
    if value >= error:
        return ERROR
    return WARN if value >= warn else OK
