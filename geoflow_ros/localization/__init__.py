"""The vehicle's pipeline from a camera image to a pose in the map, without ROS."""

from geoflow_ros.localization.patch_manager import PatchManager
from geoflow_ros.localization.rejection import FrameRejected, RejectReason

__all__ = ["FrameRejected", "PatchManager", "RejectReason"]
