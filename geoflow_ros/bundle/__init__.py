"""What a model is on disk: the manifest, verified loading, calibration and precision records."""

from geoflow_ros.bundle.birds_eye import BirdsEyeGeometry, BirdsEyeModel
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.evidence import Evidence
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.manifest import CameraModel, Manifest
from geoflow_ros.bundle.pose_calibration import PoseCalibration, PoseCalibrations
from geoflow_ros.bundle.precision import PrecisionCheck

__all__ = [
    "BirdsEyeGeometry",
    "BirdsEyeModel",
    "Bundle",
    "Calibration",
    "CameraModel",
    "Evidence",
    "IrsSettings",
    "Manifest",
    "PoseCalibration",
    "PoseCalibrations",
    "PrecisionCheck",
]
