"""What a vehicle localizer is told, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.camera import LEVEL, Attitude, Mounting
from geoflow_ros.inference import Fix
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.tracking import TrackedPose, TrackerSettings, TrackStatus


@dataclass(frozen=True)
class StartPlace:
    """A place that a person names, where every drive begins.

    Attributes:
        latitude_deg, longitude_deg: of base_link, WGS84.
        yaw_rad: of base_link, counter-clockwise from east; None where it is not known.
        position_std_m: how well the position is known.
        yaw_std_rad: how well the yaw is known.
    """

    latitude_deg: float
    longitude_deg: float
    yaw_rad: float | None
    position_std_m: float = 5.0
    yaw_std_rad: float = math.radians(10.0)


@dataclass(frozen=True)
class ResumeSettings:
    """How a drive goes on from the last pose of the one before.

    Attributes:
        file: that keeps the last pose.
        max_age_s: an older pose is not resumed, by the odometry's clock.
        max_distance_m: nor is one from which the odometry has gone further.
    """

    file: Path
    max_age_s: float = 600.0
    max_distance_m: float = 50.0


@dataclass(frozen=True)
class VehicleSettings:
    """What may differ from vehicle to vehicle; units in the names. The node's parameters have the same defaults.

    Attributes:
        lever_arm_m: (forward, left) of the camera from base_link.
        camera_yaw_rad: camera's direction from the vehicle's forward, counter-clockwise.
        camera_lean: roll and pitch of the camera's body axes against the vehicle's.
        camera_height_m: of the camera above the ground; None takes it for the model's.
        levels_by_attitude: whether the vehicle's own roll and pitch are taken out of its pictures (`add_attitude`);
            otherwise it stands on the ground as it does on a level one.
        max_position_std_m: a frame whose prior is less certain than this is rejected.
        max_yaw_std_rad: the same for the prior's heading.
        min_start_position_std_m: a start pose counts as no more certain than this.
        min_start_yaw_std_rad: the same for its yaw.
        gnss_std_m: standard deviation of a satellite fix that does not say its own.
        start_place: where the track begins without an initialpose; None where no such place is named.
        resume: goes before the place; None where no pose is kept.
        relocalize_position_std_m: after `relocalize` the position counts as known to this at best.
        relocalize_yaw_std_rad: the same for the yaw.
        relocalize_radius_m: `relocalize` looks at a square of this half side too; 0: around the track alone.
        widen_after: a track that is lost is looked for in that square after so many images without a fix; 0: never.
        wait_for_odometry_s: how long a frame waits for odometry newer than itself.
        max_extrapolation_s: how far odometry is extrapolated where none came.
        patch_range_m: a patch is kept while the prior is within this distance of its centre.
        patch_range_rad: a patch is kept while the prior's heading is within this angle of it.
        output_spacing_m: a fix is news so far away from the last that was, by the odometry; 0: every fix is.
        tracker: noise and gate.
    """

    lever_arm_m: tuple[float, float] = (0.0, 0.0)
    camera_yaw_rad: float = 0.0
    camera_lean: Attitude = LEVEL
    camera_height_m: float | None = None
    levels_by_attitude: bool = False
    max_position_std_m: float = 15.0
    max_yaw_std_rad: float = math.radians(20.0)
    min_start_position_std_m: float = 3.0
    min_start_yaw_std_rad: float = math.radians(2.0)
    gnss_std_m: float = 10.0
    start_place: StartPlace | None = None
    resume: ResumeSettings | None = None
    relocalize_position_std_m: float = 8.0
    relocalize_yaw_std_rad: float = math.radians(3.0)
    relocalize_radius_m: float = 0.0
    widen_after: int = 0
    wait_for_odometry_s: float = 0.05
    max_extrapolation_s: float = 0.2
    patch_range_m: float = 5.0
    patch_range_rad: float = math.radians(2.0)
    output_spacing_m: float = 10.0
    tracker: TrackerSettings = field(default_factory=TrackerSettings)

    @property
    def mounting(self) -> Mounting:
        """How the camera is mounted."""
        return Mounting(*self.lever_arm_m, self.camera_yaw_rad, self.camera_lean, self.camera_height_m)

    def mounted(self, mounting: Mounting) -> VehicleSettings:
        """Returns the settings with the camera mounted otherwise."""
        return replace(
            self,
            lever_arm_m=(mounting.forward_m, mounting.left_m),
            camera_yaw_rad=mounting.yaw_rad,
            camera_lean=mounting.lean,
            camera_height_m=mounting.height_m,
        )


@dataclass(frozen=True, eq=False)
class GnssPosition:
    """A satellite-navigation fix of base_link, from which a track may start.

    Attributes:
        stamp_ns: when it was taken.
        latitude_deg, longitude_deg: WGS84.
        covariance_m2: (2, 2) of (east, north); None where the receiver states none.
    """

    stamp_ns: int
    latitude_deg: float
    longitude_deg: float
    covariance_m2: Float64Array | None = None


@dataclass(frozen=True, eq=False)
class VehicleFix:
    """One camera frame's pose of base_link in the map, accepted by the gate.

    Attributes:
        stamp_ns: of the image.
        position_m: (2,) base_link (east, north), metres.
        yaw_rad: of base_link in the map: the method's where it measures one, else the track's.
        covariance: (3, 3) of (east, north, yaw) under a uniform prior over the search area, times `status.inflation`;
            m², m·rad, rad².
        latitude_deg, longitude_deg: of base_link, WGS84.
        hypotheses_m: (N, 2) where the search ended, as positions of base_link, metres.
        track: base_link after all images so far.
        status: what the track is worth with this fix.
        relocalized: the track was moved, because several fixes in a row contradicted it consistently, or agreed with
            each other after it was lost.
        is_news: whether to hand it to a filter that takes every pose as news: one in `output_spacing_m` of driving.
        fix: of the camera, as the method gave it.
        patch: on which it was found.
        stages_ms: what each stage took, milliseconds.
    """

    stamp_ns: int
    position_m: Float64Array
    yaw_rad: float
    covariance: Float64Array
    latitude_deg: float
    longitude_deg: float
    hypotheses_m: Float64Array
    track: TrackedPose
    status: TrackStatus
    relocalized: bool
    is_news: bool
    fix: Fix
    patch: SatellitePatch
    stages_ms: Mapping[str, float]
