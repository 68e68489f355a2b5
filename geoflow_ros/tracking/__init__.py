"""Where the vehicle is between fixes: odometry at a stamp, and the map→odom estimate that fixes correct.

Knows neither ROS nor how a fix was found: numbers in, numbers out.
"""

from geoflow_ros.tracking.headings import Heading
from geoflow_ros.tracking.likelihood import AxisMeasurement, likelihood_axes
from geoflow_ros.tracking.odometry import OdometryBuffer, OdometryPose
from geoflow_ros.tracking.tracker import Tracker
from geoflow_ros.tracking.trust import TrackState, TrackStatus
from geoflow_ros.tracking.values import (
    FixDecision,
    FixMeasurement,
    PlanarTransform,
    StartPose,
    TrackedPose,
    TrackerCounts,
    TrackerSettings,
    Verdict,
)

__all__ = [
    "AxisMeasurement",
    "FixDecision",
    "FixMeasurement",
    "Heading",
    "OdometryBuffer",
    "OdometryPose",
    "PlanarTransform",
    "StartPose",
    "TrackState",
    "TrackStatus",
    "TrackedPose",
    "Tracker",
    "TrackerCounts",
    "TrackerSettings",
    "Verdict",
    "likelihood_axes",
]
