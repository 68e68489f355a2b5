"""Closing in on how the camera stood in one frame: hypotheses about the best one, where the poses fit best.

The hypotheses that every place is compared through are few and far apart. Half a degree of roll or pitch that is left
blurs the match; what the best window says through a cross of cameras about the best hypothesis gives a Newton step on
each axis, and a narrower cross there. Where a drive has narrowed what is possible, the belief's own cross is as near.
"""

from __future__ import annotations

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.inference.camera_calibration import CameraBelief
from geoflow_ros.inference.pose_search import CameraHypotheses

WIDE, NARROW = 1.0, 0.375
"""Reach of the crosses, as shares of the step between the belief's own hypotheses.

With the same step most of the wide cross is among these: the image need not be laid on the ground again for it.
"""

_LONGEST = 1.5  # a step, in reaches of the cross: a parabola says little beyond
_LEAST_CURVATURE = 1e-3  # nats; flatter ones have no summit


def summit(belief: CameraBelief, cross: CameraHypotheses, scores: Float64Array) -> Float64Array:
    """Returns the camera (3,) that explains a window best: pitch, roll and log height.

    Args:
        belief: of the moment.
        cross: of it, `WIDE` about some camera.
        scores: (R, T, m, m) of the window through the cross's R cameras.
    """
    step = np.zeros(3)
    step[belief.step > 0.0] = newton_step(_log_evidence(scores) + cross.log_prior)
    return np.asarray(cross.points[0] + WIDE * belief.step * step)


def newton_step(log_evidence: Float64Array) -> Float64Array:
    """Returns the steps (A,) to the summits of parabolas through the middle and both ends of A axes.

    Args:
        log_evidence: (1 + 2 A,) in the middle, then before and behind it on each axis.

    Returns:
        In units of the ends' distance from the middle, 1.5 at most; towards the higher end where there is no summit.
    """
    before, behind = log_evidence[1::2], log_evidence[2::2]
    curvature = 2.0 * log_evidence[0] - before - behind
    rise = (behind - before) / 2.0
    has_summit = curvature > _LEAST_CURVATURE
    step = np.divide(rise, curvature, out=np.sign(rise), where=has_summit)
    return np.asarray(np.clip(step, -_LONGEST, _LONGEST))


def _log_evidence(scores: Float64Array) -> Float64Array:
    """The logarithm of each camera's sum over the window, (R,)."""
    highest = scores.max(axis=(1, 2, 3))
    return np.asarray(highest + np.log(np.exp(scores - highest[:, None, None, None]).sum(axis=(1, 2, 3))))
