"""What the pose of a vehicle is worth, and which input is at fault: the track's status and what became of frames."""

from __future__ import annotations

from dataclasses import replace

from geoflow_ros.errors import OdometryError
from geoflow_ros.localization.rejection import FAULTS, FrameRejected, RejectReason
from geoflow_ros.localization.track_starts import TrackStarts
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import Tracker, TrackerCounts, TrackState, TrackStatus

# An input is missing where its newest stamp is this far behind the other's.
_SILENCE_S = 1.0


def vehicle_status(
    tracker: Tracker,
    starts: TrackStarts,
    odometry_ns: int | None,
    image_ns: int | None,
    rejected: FrameRejected | None,
) -> TrackStatus:
    """Judges a track at the newest odometry.

    Args:
        tracker: whose track.
        starts: where it may begin.
        odometry_ns: stamp of the newest odometry; None before the first.
        image_ns: stamp of the newest image; None before the first.
        rejected: why the newest image gave no fix; None where it gave one.
    """
    if odometry_ns is None:
        return _waiting("no odometry yet: check that it is published and that its topic name is right", "odometry")
    if not tracker.started:
        return _waiting(*starts.why_none())
    try:
        track = tracker.status(max(odometry_ns, tracker.stamp_ns or 0))
    except OdometryError as error:  # a start pose that waits for odometry of its stamp
        return _waiting(str(error), "odometry")
    if image_ns is None:
        return _waiting("no image yet: check that it is published and that its topic name is right", "camera")
    camera_behind_s = (odometry_ns - image_ns) / NANOSECONDS_PER_SECOND
    if -camera_behind_s > _SILENCE_S:
        return _waiting(f"no odometry for {-camera_behind_s:.1f} s: it stopped, or the clocks differ", "odometry")
    if rejected is not None and rejected.reason is RejectReason.UNCERTAIN:
        return replace(track, state=TrackState.LOST, reason=rejected.detail, fault=FAULTS[rejected.reason])
    if track.state is TrackState.TRACKING:
        return track
    if camera_behind_s > _SILENCE_S:
        return replace(track, reason=f"{track.reason}; no image for {camera_behind_s:.1f} s", fault="camera")
    if rejected is not None:
        return replace(track, reason=f"{track.reason}; {rejected.detail}", fault=FAULTS[rejected.reason])
    return replace(track, fault=FAULTS[RejectReason.OUTLIER])


def track_facts(counts: TrackerCounts) -> dict[str, str]:
    """What became of a track's inputs, as keys and values for diagnostics."""
    return {
        "fixes_fused": str(counts.fused),
        "relocalizations": str(counts.relocalizations),
        "headings_fused": str(counts.headings_fused),
        "headings_rejected": str(counts.headings_rejected),
        "track_starts": str(counts.starts),
    }


def _waiting(reason: str, fault: str) -> TrackStatus:
    return TrackStatus(TrackState.WAITING, reason, fault)
