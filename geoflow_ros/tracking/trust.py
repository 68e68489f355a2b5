"""How far a track can be trusted: its state, from the distance driven without fixes and from what fixes contradict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from geoflow_ros.tracking.values import TrackerSettings

# One fused fix stands for the drive up to it, as far as the errors of fixes are alike: it takes back so much of the
# distance without fixes (the way since the last image, if that is more), and less where fixes are doubted. One lucky
# fix in a hundred metres is no evidence.
_FIX_STANDS_FOR_M = 10.0
# A distance without fixes counts where so many images on it gave none, or at so many times the distance: a fast vehicle
# whose model is slow has its images further apart.
_IMAGES = 3

DOUBTED_INFLATION = 2.0
"""Fixes whose covariances have to be this many times as large are doubted: the odometry has the greater part."""
DISBELIEVED_INFLATION = 4.0
"""Fixes whose covariances have to be this many times as large say nothing."""


class TrackState(Enum):
    """What a pose is worth; the value is its name in topics and reports."""

    WAITING = "WAITING"
    TRACKING = "TRACKING"
    DEGRADED = "DEGRADED"
    LOST = "LOST"


@dataclass(frozen=True)
class TrackStatus:
    """A track's state, as a plain value.

    Attributes:
        state: waiting (no track, or an input is missing), tracking, degraded (the odometry carries the track) or lost
            (nobody vouches for the pose).
        reason: one line; empty while tracking.
        fault: which input is at fault: "camera", "map", "odometry", "start", "model", or "camera or map"; empty while
            tracking.
        unsupported_m: distance driven that no fix speaks for, metres.
        inflation: by how much the covariances of fixes are taken larger than they say, 1 at least.
    """

    state: TrackState
    reason: str = ""
    fault: str = ""
    unsupported_m: float = 0.0
    inflation: float = 1.0


class TrackTrust:
    """Judges one track; distances are those driven since it began. Not thread-safe."""

    def __init__(self) -> None:
        self.restart(0.0)

    def restart(self, driven_m: float) -> None:
        """Trust the track as a new one: it has just begun, or was found again."""
        self._driven_m = driven_m
        self._step_m = 0.0  # from the last image but one to the last
        self._unsupported_m = 0.0
        self._images = 0  # since there was a fix for the last metre
        self._why_lost = ""

    @property
    def is_lost(self) -> bool:
        """Whether the track is lost, until it is restarted."""
        return bool(self._why_lost)

    def drove(self, driven_m: float, settings: TrackerSettings) -> None:
        """Count the way to the next image; the track is lost where that is too far without fixes."""
        if driven_m <= self._driven_m:
            return
        self._unsupported_m = self._unsupported_at(driven_m)
        self._step_m, self._driven_m = driven_m - self._driven_m, driven_m
        self._images += 1
        if self._is_beyond(settings.lost_after_m, driven_m):
            self.disbelieve(_unsupported_too_far(settings))

    def fused(self, inflation: float) -> None:
        """Count a fix that was fused, of the last image."""
        stands_for_m = max(_FIX_STANDS_FOR_M, self._step_m) / inflation
        self._unsupported_m = max(self._unsupported_m - stands_for_m, 0.0)
        if self._unsupported_m == 0.0:
            self._images = 0

    def disbelieve(self, reason: str) -> None:
        """Count that fixes are not to be believed any more: the track is lost for a reason."""
        if not self._why_lost:
            self._why_lost = reason

    def status(self, driven_m: float, inflation: float, settings: TrackerSettings) -> TrackStatus:
        """The state after so much driving."""
        unsupported_m = self._unsupported_at(driven_m)
        state, reason = TrackState.TRACKING, ""
        if self._why_lost or self._is_beyond(settings.lost_after_m, driven_m):
            state, reason = TrackState.LOST, self._why_lost or _unsupported_too_far(settings)
        elif self._is_beyond(settings.degraded_after_m, driven_m):
            state, reason = TrackState.DEGRADED, f"no fix for {unsupported_m:.0f} m of driving: odometry carries on"
        elif inflation >= DOUBTED_INFLATION:
            state = TrackState.DEGRADED
            reason = f"fixes are less certain than they say: their covariance counts {inflation:.1f} times"
        return TrackStatus(state, reason, "", unsupported_m, inflation)

    def _is_beyond(self, limit_m: float, driven_m: float) -> bool:
        """Whether there was no fix for a distance, after so much driving."""
        unsupported_m = self._unsupported_at(driven_m)
        return unsupported_m >= limit_m and (self._images >= _IMAGES or unsupported_m >= _IMAGES * limit_m)

    def _unsupported_at(self, driven_m: float) -> float:
        return self._unsupported_m + max(driven_m - self._driven_m, 0.0)


def _unsupported_too_far(settings: TrackerSettings) -> str:
    return f"no fix for {settings.lost_after_m:g} m of driving (gate.lost_after_m)"
