"""The method: from one camera image and one satellite patch to a position with its covariance. No ROS, no torch."""

from geoflow_ros.inference.assessment import Judgement, QualityLimits, judge
from geoflow_ros.inference.covariance import fit_calibration
from geoflow_ros.inference.fix import Fix, FixQuality, FixTimings, Prior
from geoflow_ros.inference.localizer import Localizer

__all__ = [
    "Fix",
    "FixQuality",
    "FixTimings",
    "Judgement",
    "Localizer",
    "Prior",
    "QualityLimits",
    "fit_calibration",
    "judge",
]
