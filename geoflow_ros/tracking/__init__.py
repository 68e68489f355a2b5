"""Where the vehicle is between fixes: odometry at a stamp, and the map→odom estimate that fixes correct.

Knows neither ROS nor the network: numbers in, numbers out.
"""

from geoflow_ros.tracking.likelihood import AxisMeasurement, likelihood_axes
from geoflow_ros.tracking.odometry import OdometryBuffer, OdometryPose
from geoflow_ros.tracking.tracker import (
    FixDecision,
    FixMeasurement,
    PlanarTransform,
    StartPose,
    TrackedPose,
    Tracker,
    TrackerSettings,
    Verdict,
)

__all__ = [
    "AxisMeasurement",
    "FixDecision",
    "FixMeasurement",
    "OdometryBuffer",
    "OdometryPose",
    "Tracker",
    "PlanarTransform",
    "StartPose",
    "TrackedPose",
    "TrackerSettings",
    "Verdict",
    "likelihood_axes",
]
