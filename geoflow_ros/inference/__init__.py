"""From a model bundle, a camera image and a satellite patch to a position with its covariance. No ROS, no torch."""

from geoflow_ros.inference.backend import Backend, FrameOutput, HeadOutput
from geoflow_ros.inference.backends import BACKENDS, PRECISIONS, BackendOptions, open_backend
from geoflow_ros.inference.bundle import Bundle
from geoflow_ros.inference.covariance import Belief, Calibration, fit_calibration
from geoflow_ros.inference.ellipse import Ellipse, confidence_ellipse
from geoflow_ros.inference.fix import Fix, FixQuality, FixTimings, Prior
from geoflow_ros.inference.irs import IrsSettings
from geoflow_ros.inference.judgement import Judgement, QualityLimits, judge
from geoflow_ros.inference.localizer import Localizer
from geoflow_ros.inference.manifest import CameraModel, Manifest
from geoflow_ros.inference.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.inference.overlay import draw_fix
from geoflow_ros.inference.precision import PrecisionCheck

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "BackendOptions",
    "Belief",
    "Bundle",
    "Calibration",
    "CameraModel",
    "Ellipse",
    "Fix",
    "FixQuality",
    "FixTimings",
    "FrameOutput",
    "HeadOutput",
    "IrsSettings",
    "Judgement",
    "Localizer",
    "Manifest",
    "OnnxRuntimeBackend",
    "PrecisionCheck",
    "Prior",
    "QualityLimits",
    "confidence_ellipse",
    "draw_fix",
    "fit_calibration",
    "judge",
    "open_backend",
]
