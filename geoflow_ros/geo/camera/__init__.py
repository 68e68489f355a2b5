"""A real camera: its lens, how it is mounted, and its images as a model's level virtual camera would take them."""

from geoflow_ros.geo.camera.calibration_file import read_calibration
from geoflow_ros.geo.camera.intrinsics import EQUIDISTANT, PLUMB_BOB, RATIONAL_POLYNOMIAL, Intrinsics
from geoflow_ros.geo.camera.mounting import LEVEL, Attitude, Mounting
from geoflow_ros.geo.camera.warp import CameraWarp

__all__ = [
    "EQUIDISTANT",
    "LEVEL",
    "PLUMB_BOB",
    "RATIONAL_POLYNOMIAL",
    "Attitude",
    "CameraWarp",
    "Intrinsics",
    "Mounting",
    "read_calibration",
]
