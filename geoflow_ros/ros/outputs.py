"""What the node publishes of a vehicle localizer's answers."""

from __future__ import annotations

from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, NavSatFix

from geoflow_ros.localization import VehicleFix
from geoflow_ros.ros.images import compressed_from_rgb
from geoflow_ros.ros.messages import (
    hypotheses_message,
    navsat_message,
    odometry_message,
    pose_with_covariance,
    time_from_ns,
)
from geoflow_ros.ros.qos import PICTURE, RELIABLE
from geoflow_ros.tracking import TrackedPose
from geoflow_ros.visualization import draw_fix


class Outputs:
    """The lifecycle publishers of a node: they publish only while it is active.

    Args:
        node: whose topics they are.
        map_frame: name of the map frame.
        base_frame: name of the vehicle's frame.
    """

    def __init__(self, node: LifecycleNode, map_frame: str, base_frame: str) -> None:
        self._map_frame, self._base_frame = map_frame, base_frame
        self._pose = node.create_lifecycle_publisher(PoseWithCovarianceStamped, "~/pose", RELIABLE)
        self._fix = node.create_lifecycle_publisher(NavSatFix, "~/fix", RELIABLE)
        self._track = node.create_lifecycle_publisher(Odometry, "~/track", RELIABLE)
        self._hypotheses = node.create_lifecycle_publisher(PoseArray, "~/hypotheses", RELIABLE)
        self._debug_image = node.create_lifecycle_publisher(CompressedImage, "~/debug_image/compressed", PICTURE)

    def publish_fix(self, answer: VehicleFix) -> None:
        """One frame's fix as base_link's pose and position on Earth, at the image's stamp."""
        stamp = time_from_ns(answer.stamp_ns)
        self._pose.publish(
            pose_with_covariance(stamp, self._map_frame, answer.position_m, answer.yaw_rad, answer.covariance)
        )
        self._fix.publish(
            navsat_message(
                stamp, self._base_frame, answer.latitude_deg, answer.longitude_deg, answer.covariance[:2, :2]
            )
        )

    def publish_hypotheses(self, answer: VehicleFix) -> None:
        """Where the search for one frame ended, at the image's stamp."""
        stamp = time_from_ns(answer.stamp_ns)
        self._hypotheses.publish(hypotheses_message(stamp, self._map_frame, answer.hypotheses_m, answer.yaw_rad))

    def publish_track(self, track: TrackedPose) -> None:
        """The tracked pose, at its stamp."""
        self._track.publish(odometry_message(track, self._map_frame, self._base_frame))

    def publish_debug_image(self, answer: VehicleFix, jpeg_quality: int) -> None:
        """Patch, hypotheses and ellipse as a picture; drawn only where somebody looks."""
        if self._debug_image.get_subscription_count() > 0:
            picture = draw_fix(answer.patch, answer.fix)
            stamp = time_from_ns(answer.stamp_ns)
            self._debug_image.publish(compressed_from_rgb(picture, stamp, self._map_frame, jpeg_quality))
