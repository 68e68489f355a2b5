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
from geoflow_ros.inference.birds_eye_assessment import YAW_AXES
from geoflow_ros.inference.birds_eye_projection import GroundProjection


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
