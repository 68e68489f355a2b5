"""Where the vehicle is between fixes: odometry at a stamp, and the map→odom estimate that fixes correct.

Knows neither ROS nor the network: numbers in, numbers out.
"""

from geoflow_ros.tracking.attitude import yaw_of_quaternion
from geoflow_ros.tracking.likelihood import AxisMeasurement, likelihood_axes
from geoflow_ros.tracking.odometry import OdometryBuffer, OdometryPose
from geoflow_ros.tracking.offset_tracker import (
    FixDecision,
    FixMeasurement,
    OffsetTracker,
    PlanarTransform,
    StartPose,
    TrackedPose,
    TrackerSettings,
    Verdict,
)
from geoflow_ros.tracking.patch_keeper import PatchKeeper

__all__ = [
    "AxisMeasurement",
    "FixDecision",
    "FixMeasurement",
    "OdometryBuffer",
    "OdometryPose",
    "OffsetTracker",
    "PatchKeeper",
    "PlanarTransform",
    "StartPose",
    "TrackedPose",
    "TrackerSettings",
    "Verdict",
    "likelihood_axes",
    "yaw_of_quaternion",
]
