"""The method: from one camera image and one satellite patch to a position with its covariance. No ROS, no torch."""

from geoflow_ros.inference.assessment import BatchEstimate, QualityLimits, assess
from geoflow_ros.inference.covariance import fit_calibration
from geoflow_ros.inference.fix import Assessment, Fix, FixTimings, Prior
from geoflow_ros.inference.localizer import GeoFlowLocalizer

__all__ = [
    "Fix",
    "Assessment",
    "FixTimings",
    "BatchEstimate",
    "GeoFlowLocalizer",
    "Prior",
    "QualityLimits",
    "fit_calibration",
    "assess",
]
