"""A fix of the bird's-eye method: from a posterior over poses on the patch to a pose in the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.bundle.evidence import Evidence
from geoflow_ros.bundle.pose_calibration import PoseCalibration
from geoflow_ros.geo.birds_eye import BirdsEyeGrid, GroundCamera
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference.birds_eye_assessment import YAW_AXES, PoseLimits, assess_pose, pose_covariances
from geoflow_ros.inference.covariance import bounded_by_uniform
from geoflow_ros.inference.fix import Assessment, Fix, FixTimings
from geoflow_ros.inference.flow_refinement import FlowPose
from geoflow_ros.inference.pose_posterior import PosePosterior
from geoflow_ros.inference.pose_search import PoseSearch
from geoflow_ros.stopwatch import Stopwatch
from geoflow_ros.tiles import SatellitePatch


@dataclass(frozen=True, eq=False)
class GroundView:
    """What was matched with the patch, for people to look at.

    Attributes:
        image: (H, W, 3) RGB uint8, the camera's image at the model's size.
        camera: that took it, as it most probably stood.
        grid: of the cells on the ground.
        confidence: (F, R) in [0, 1], how much the network trusts each cell.
    """

    image: UInt8Array
    camera: GroundCamera
    grid: BirdsEyeGrid
    confidence: Float32Array


@dataclass(frozen=True, eq=False, kw_only=True)
class BirdsEyeFix(Fix):
    """A pose with the places that compete with it; `hypotheses` are these, the answer first.

    Attributes:
        masses: (N,) probabilities of the hypotheses, given that the camera is in the search volume.
        hypothesis_yaws_rad: (N,) in the map.
        posterior: over all poses on the patch.
        view: what was matched.
        flow: what dense flow made of the mode, which is then the answer.
    """

    masses: Float64Array
    hypothesis_yaws_rad: Float64Array
    posterior: PosePosterior
    view: GroundView
    flow: FlowPose | None = None


def enu_covariance(covariance: Float64Array, frame: PatchFrame) -> Float64Array:
    """Turns a (3, 3) covariance of (forward, right, yaw) to one of (east, north, yaw)."""
    axes = np.eye(3)
    axes[:2, :2] = frame.axes
    turned = axes @ covariance @ axes.T
    return np.asarray((turned + turned.T) / 2.0)


def pose_fix(
    posterior: PosePosterior,
    view: GroundView,
    patch: SatellitePatch,
    calibration: PoseCalibration,
    limits: PoseLimits,
    evidence: Evidence | None = None,
    *,
    stamp_ns: int,
    watch: Stopwatch,
    flow: FlowPose | None = None,
) -> BirdsEyeFix:
    """Returns the largest mode of a posterior as a pose in the map, the others beside it.

    A turn is the yaw of the patch less that of the camera: the camera's yaw is that of the patch less the turn.

    Args:
        posterior: of the frame.
        view: what was matched.
        patch: on which it was matched.
        calibration: of the covariance.
        limits: of trust.
        evidence: likewise, of the bundle.
        stamp_ns: of the image.
        watch: started with the frame; has the stages "resize", "satellite", "ground" and "match".
        flow: takes the place of the mode that it started from.
    """
    frame, estimate = patch.frame, posterior.estimate()
    poses = np.array([mode.pose for mode in estimate.modes])
    if flow is not None:
        poses[0] = flow.pose
    fitted = None if flow is None else flow.covariance
    raw, calibrated = pose_covariances(posterior, poses[0], calibration, fitted)
    pose_covariance = enu_covariance(calibrated, frame)
    positions = frame.local_to_enu(poses[:, :2])
    yaws = frame.yaw_rad - poses[:, 2]
    return BirdsEyeFix(
        stamp_ns=stamp_ns,
        east_m=float(positions[0, 0]),
        north_m=float(positions[0, 1]),
        covariance=pose_covariance[:2, :2],
        hypotheses=positions,
        assessment=assess_pose(estimate, posterior.search, limits, evidence, float(posterior.scores.fine.max())),
        timings=_timings(watch),
        frame=frame,
        search_radius_m=posterior.search.reach_m,
        raw_covariance=raw,
        yaw_rad=float(yaws[0]),
        pose_covariance=pose_covariance,
        masses=np.array([mode.mass for mode in estimate.modes]),
        hypothesis_yaws_rad=yaws,
        posterior=posterior,
        view=view,
        flow=flow,
    )


def flow_fix(
    flow: FlowPose | None,
    frame: PatchFrame,
    search: PoseSearch,
    calibration: PoseCalibration,
    *,
    stamp_ns: int,
    watch: Stopwatch,
) -> Fix:
    """Returns a flow's pose as a fix of its own, or what is known without one: the search volume.

    The arguments are those of `pose_fix`, but for the flow and the volume.
    """
    half_widths = search.half_widths
    pose = np.zeros(3) if flow is None else flow.pose
    raw = np.diag(half_widths**2 / 3.0) if flow is None else flow.covariance
    calibrated = raw if flow is None else bounded_by_uniform(calibration.apply(raw), YAW_AXES @ pose, half_widths)
    pose_covariance = enu_covariance(calibrated, frame)
    position = frame.local_to_enu(pose[:2])
    return Fix(
        stamp_ns=stamp_ns,
        east_m=float(position[0]),
        north_m=float(position[1]),
        covariance=pose_covariance[:2, :2],
        hypotheses=position[None],
        assessment=Assessment(
            trustworthy=flow is not None,
            reason="the flow determines no pose on the patch" if flow is None else "",
            quality=-float(np.sqrt(np.trace(raw[:2, :2]))),
            centre_distance_m=float(np.hypot(*pose[:2])),
        ),
        timings=_timings(watch),
        frame=frame,
        search_radius_m=search.reach_m,
        raw_covariance=raw,
        yaw_rad=float(frame.yaw_rad - pose[2]),
        pose_covariance=pose_covariance,
    )


def _timings(watch: Stopwatch) -> FixTimings:
    """The stages; covariance is all that is left: the posterior, its moments and the assessment."""
    total_ms, stages = watch.total_ms, watch.stages_ms
    parts = stages["resize"], stages["satellite"], stages["ground"], stages["match"]
    return FixTimings(*parts, covariance_ms=total_ms - sum(parts), total_ms=total_ms)
