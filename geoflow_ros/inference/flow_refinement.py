"""Dense flow behind the bird's-eye encoders: one pose, fitted to where the flow takes every cell of the ground.

From the posterior's mode it makes an answer finer; from the patch's centre, as in the paper, it is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.backends.protocol import GraphRunner
from geoflow_ros.bundle.methods import FLOW_REFINEMENT
from geoflow_ros.bundle.pose_calibration import PoseCalibration
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference.birds_eye_assessment import YAW_AXES
from geoflow_ros.inference.birds_eye_projection import GroundProjection
from geoflow_ros.inference.covariance import bounded_by_uniform
from geoflow_ros.inference.fix import Assessment, Fix, FixTimings
from geoflow_ros.inference.pose_search import PoseSearch

_UNDETERMINED = "the flow determines no pose on the patch"


@dataclass(frozen=True, eq=False)
class FlowPose:
    """A pose that a flow makes.

    Attributes:
        pose: (3,) forward and right in metres, turn in radians.
        covariance: (3, 3) of (forward, right, yaw), from the weighted fit's normal equations and residuals.
    """

    pose: Float64Array
    covariance: Float64Array


def flow_pose(
    runner: GraphRunner,
    satellite: Mapping[str, Float32Array],
    features: Mapping[str, Float32Array],
    at: GroundProjection,
    start: Float64Array,
    reach_m: float,
) -> FlowPose | None:
    """Follows the flow from a pose (3,) through one camera.

    Args:
        runner: of a bundle with dense flow.
        satellite: features of the patch.
        features: of the image.
        at: one camera.
        start: forward, right, turn.
        reach_m: to the end of what is searched.

    Returns:
        None where the flow determines no pose, or one outside of what is searched.
    """
    projection: dict[str, NDArray[Any]] = {"cells": at.cells, "colours": at.colours, "is_visible": at.is_visible}
    feed = {**satellite, **features, **projection, "start": start[None].astype(np.float32)}
    answer = runner.run(FLOW_REFINEMENT, feed)
    pose, covariance = (answer[name][0].astype(np.float64) for name in ("pose", "covariance"))
    if not (np.isfinite(pose).all() and np.isfinite(covariance).all()) or np.abs(pose[:2]).max() > reach_m:
        return None
    return FlowPose(pose, YAW_AXES @ covariance @ YAW_AXES)


def flow_fix(
    flow: FlowPose | None,
    frame: PatchFrame,
    search: PoseSearch,
    calibration: PoseCalibration,
    stamp_ns: int,
    timings: FixTimings,
) -> Fix:
    """Returns a flow's pose as a fix of its own, or what is known without one: the search volume."""
    half_widths = np.array([search.reach_m, search.reach_m, search.max_turn_rad])
    pose = np.zeros(3) if flow is None else flow.pose
    raw = np.diag(half_widths**2 / 3.0) if flow is None else flow.covariance
    calibrated = raw if flow is None else bounded_by_uniform(calibration.apply(raw), YAW_AXES @ pose, half_widths)
    axes = np.eye(3)
    axes[:2, :2] = frame.axes
    covariance = axes @ calibrated @ axes.T
    position = frame.local_to_enu(pose[:2])
    return Fix(
        stamp_ns=stamp_ns,
        east_m=float(position[0]),
        north_m=float(position[1]),
        covariance=covariance[:2, :2],
        hypotheses=position[None],
        assessment=Assessment(
            trustworthy=flow is not None,
            reason=_UNDETERMINED if flow is None else "",
            quality=-float(np.sqrt(np.trace(raw[:2, :2]))),
            centre_distance_m=float(np.hypot(*pose[:2])),
        ),
        timings=timings,
        frame=frame,
        search_radius_m=search.reach_m,
        raw_covariance=raw,
        yaw_rad=float(frame.yaw_rad - pose[2]),
        pose_covariance=covariance,
    )
