"""Whether a frame may be looked for on the map, and whether the gate took what was found: else its rejection."""

from __future__ import annotations

import math

from geoflow_ros.errors import GeometryError
from geoflow_ros.localization.input_stamps import StampVerdict
from geoflow_ros.localization.patch_manager import Prior
from geoflow_ros.localization.rejection import FrameRejected, RejectReason, frame_rejected_for
from geoflow_ros.localization.values import VehicleSettings
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tiles import SatelliteMap
from geoflow_ros.tracking import FixDecision, TrackedPose, Verdict

HEADING_SIGMAS = 3.0
"""How far around a heading it is searched for, in its standard deviations."""


def check_stamp(verdict: StampVerdict, stamp_ns: int, last_ns: int | None) -> None:
    """Passes images that are news.

    Args:
        verdict: of the image's stamp.
        stamp_ns: the stamp.
        last_ns: that of the last image that was looked for; None where there was none.

    Raises:
        FrameRejected: it has no stamp, came before, or came too late.
    """
    if verdict is StampVerdict.ZERO:
        raise FrameRejected(RejectReason.ORDER, "the image has no stamp: the camera driver must set it")
    if verdict is StampVerdict.DUPLICATE:
        raise FrameRejected(RejectReason.DUPLICATE, "the image came twice: it counts once")
    if last_ns is not None and stamp_ns <= last_ns:
        behind_s = (last_ns - stamp_ns) / NANOSECONDS_PER_SECOND
        raise FrameRejected(
            RejectReason.ORDER, f"the image's stamp is {behind_s:.3f} s behind the last one: not newer, dropped"
        )


def check_prior(tracked: TrackedPose, settings: VehicleSettings, searched_rad: float) -> None:
    """Passes poses that are known well enough to search around.

    Args:
        tracked: base_link at the image's stamp.
        settings: with the limits.
        searched_rad: how far headings are searched.

    Raises:
        FrameRejected: position or heading are too uncertain.
    """
    if tracked.position_std_m > settings.max_position_std_m:
        raise FrameRejected(
            RejectReason.UNCERTAIN,
            f"the position is known to {tracked.position_std_m:.1f} m only (prior.max_std_m "
            f"{settings.max_position_std_m:g}): give an initialpose",
        )
    # A method that searches headings needs none that is known better than it searches.
    most_rad = max(settings.max_yaw_std_rad, searched_rad / HEADING_SIGMAS)
    if searched_rad < math.pi and tracked.yaw_std_rad > most_rad:
        raise FrameRejected(
            RejectReason.UNCERTAIN,
            f"the heading is known to {math.degrees(tracked.yaw_std_rad):.1f}° only (limit "
            f"{math.degrees(most_rad):g}°, see prior.max_yaw_std_deg): give a better initialpose, or an imu with "
            "absolute yaw",
        )


def check_on_map(prior: Prior, satellite_map: SatelliteMap) -> None:
    """Passes priors that are on the map.

    Raises:
        FrameRejected: the prior is outside the map's bounds, or the map frame's.
    """
    source = satellite_map.source
    with frame_rejected_for(RejectReason.MAP, GeometryError):
        lat, lon = satellite_map.datum.to_latlon(prior.east_m, prior.north_m)
    if not source.bounds.contains(lat, lon):
        raise FrameRejected(
            RejectReason.MAP,
            f"the prior ({lat:.6f}, {lon:.6f}) is outside the map '{source.name}': check datum and start",
        )


def check_decision(decision: FixDecision, track: TrackedPose) -> None:
    """Passes fixes that were fused.

    Args:
        decision: of the gate.
        track: base_link after it.

    Raises:
        FrameRejected: the fix was not fused; it says why.
    """
    if decision.verdict is Verdict.UNINFORMATIVE:
        raise FrameRejected(RejectReason.UNINFORMATIVE, "the image says nothing about the position", track)
    if decision.verdict is Verdict.OUTLIER:
        raise FrameRejected(
            RejectReason.OUTLIER,
            f"the fix contradicts the track (squared distance {decision.squared_distance:.1f}, "
            f"limit {decision.limit:.1f}, {decision.rejected_in_a_row} in a row)",
            track,
        )
    if decision.verdict is Verdict.UNPROVEN:
        raise FrameRejected(
            RejectReason.UNPROVEN,
            "a fix of a lost track waits for others that agree with it (gate.relocalize_after, "
            f"gate.relocalize_distance_m): {decision.rejected_in_a_row} so far",
            track,
        )
