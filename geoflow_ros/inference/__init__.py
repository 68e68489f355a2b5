"""The method: from one camera image and one satellite patch to a position with its covariance. No ROS, no torch."""

from geoflow_ros.inference.assessment import AssessedEstimate, Assessment, QualityLimits, assess
from geoflow_ros.inference.covariance import fit_calibration
from geoflow_ros.inference.fix import Fix, FixTimings
from geoflow_ros.inference.localizer import GeoFlowLocalizer
from geoflow_ros.inference.opening import open_localizer
from geoflow_ros.inference.protocol import PatchLocalizer, SearchSettings

__all__ = [
    "AssessedEstimate",
    "Assessment",
    "Fix",
    "FixTimings",
    "GeoFlowLocalizer",
    "PatchLocalizer",
    "QualityLimits",
    "SearchSettings",
    "assess",
    "fit_calibration",
    "open_localizer",
]
