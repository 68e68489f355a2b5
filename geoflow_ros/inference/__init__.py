"""The method: from one camera image and one satellite patch to a position with its covariance. No ROS, no torch."""

from geoflow_ros.inference.assessment import AssessedEstimate, GeoFlowAssessment, QualityLimits, assess
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer
from geoflow_ros.inference.camera_calibration import EXTRINSICS, CameraUncertainty
from geoflow_ros.inference.covariance import fit_calibration
from geoflow_ros.inference.fix import Assessment, Fix, FixTimings, GeoFlowFix
from geoflow_ros.inference.localizer import GeoFlowLocalizer
from geoflow_ros.inference.opening import open_localizer
from geoflow_ros.inference.protocol import PatchLocalizer, SearchSettings

__all__ = [
    "EXTRINSICS",
    "AssessedEstimate",
    "Assessment",
    "BirdsEyeFix",
    "BirdsEyeLocalizer",
    "CameraUncertainty",
    "Fix",
    "FixTimings",
    "GeoFlowAssessment",
    "GeoFlowFix",
    "GeoFlowLocalizer",
    "PatchLocalizer",
    "QualityLimits",
    "SearchSettings",
    "assess",
    "fit_calibration",
    "open_localizer",
]
