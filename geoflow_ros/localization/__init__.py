"""The vehicle's pipeline from a camera image to a pose in the map, without ROS.

with open_vehicle_localizer(VehicleOptions(tiles="town.mbtiles")) as vehicle:
vehicle.start(start)
vehicle.add_odometry(pose)
fix = vehicle.localize(rgb, stamp_ns)
"""

from geoflow_ros.localization.opening import VehicleOptions, open_vehicle_localizer
from geoflow_ros.localization.patch_manager import InlineExecutor, PatchManager, Prior
from geoflow_ros.localization.recorded_drive import RecordedDrive
from geoflow_ros.localization.rejection import FrameRejected, InputRejected, RejectReason
from geoflow_ros.localization.replay import CameraFrame, DriveEvent, replay
from geoflow_ros.localization.values import GnssPosition, VehicleFix, VehicleSettings
from geoflow_ros.localization.vehicle_cameras import OtherCamera
from geoflow_ros.localization.vehicle_localizer import VehicleLocalizer

__all__ = [
    "CameraFrame",
    "DriveEvent",
    "FrameRejected",
    "GnssPosition",
    "InlineExecutor",
    "InputRejected",
    "OtherCamera",
    "PatchManager",
    "Prior",
    "RecordedDrive",
    "RejectReason",
    "VehicleFix",
    "VehicleLocalizer",
    "VehicleOptions",
    "VehicleSettings",
    "open_vehicle_localizer",
    "replay",
]
