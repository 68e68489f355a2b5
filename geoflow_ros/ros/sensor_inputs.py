"""What the node is told beside images: odometry, imu, satellite fixes and start poses, handed on to the localizer.

Called in the executor's thread; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu, NavSatFix

from geoflow_ros.errors import OdometryError
from geoflow_ros.localization import InputRejected, RejectReason, VehicleLocalizer
from geoflow_ros.localization.input_stamps import FIX, IMU, StampVerdict
from geoflow_ros.localization.messages import (
    attitude_from_imu,
    gnss_from_message,
    heading_from_imu,
    odometry_from_message,
    start_from_initialpose,
)
from geoflow_ros.localization.rejection import input_rejected_for
from geoflow_ros.ros.clocks import Clocks
from geoflow_ros.ros.diagnostics import Health
from geoflow_ros.ros.parameters import Settings
from geoflow_ros.ros.qos import LATCHED, RELIABLE, SENSOR
from geoflow_ros.ros.static_transforms import StaticTransforms
from geoflow_ros.stamps import stamp_ns

_VOLATILE, _LATCHED = "volatile", "latched"


class SensorInputs:
    """Takes the messages for a vehicle localizer, and says which are not used.

    Args:
        node: that subscribes.
        settings: its parameters.
        frames: where sensors are mounted.
        health: counts what arrives.
        rejected: told of what is not used.
    """

    def __init__(
        self,
        node: LifecycleNode,
        settings: Settings,
        frames: StaticTransforms,
        health: Health,
        rejected: Callable[[InputRejected], None],
    ) -> None:
        self._node, self._settings, self._frames = node, settings, frames
        self._health, self._rejected = health, rejected
        self._vehicle: VehicleLocalizer | None = None
        self._last_start: tuple[PoseWithCovarianceStamped, str] | None = None

    def configure(self, vehicle: VehicleLocalizer) -> list[Subscription]:
        """Listens to everything but the camera for a vehicle localizer."""
        self._vehicle, self._last_start = vehicle, None
        node, settings = self._node, self._settings
        subscriptions = [node.create_subscription(Odometry, "odom", self._on_odometry, SENSOR), *self._start_poses()]
        if settings.flag("heading.use_imu") or settings.levels_by_imu:
            subscriptions.append(node.create_subscription(Imu, "imu", self._on_imu, SENSOR))
        if settings.flag("prior.use_fix"):
            subscriptions.append(node.create_subscription(NavSatFix, "fix", self._on_gnss, SENSOR))
        return subscriptions

    def release(self) -> None:
        """Forgets the vehicle localizer."""
        self._vehicle = None

    def take(self, settings: Settings) -> None:
        """Takes other parameters."""
        self._settings = settings

    def _start_poses(self) -> list[Subscription]:
        """RViz's volatile start poses, and latched ones, also of before the node: no one subscription gets both."""
        node = self._node
        return [
            node.create_subscription(
                PoseWithCovarianceStamped,
                "initialpose",
                lambda message: self._on_initialpose(message, _VOLATILE),
                RELIABLE,
                event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_unreliable_start_poses),
            ),
            node.create_subscription(
                PoseWithCovarianceStamped,
                "initialpose",
                lambda message: self._on_initialpose(message, _LATCHED),
                LATCHED,
                # Volatile publishers do not fit this one, and need not: the other has them.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            ),
        ]

    def _on_odometry(self, message: Odometry) -> None:
        self._health.arrived(Clocks.steady_ns(), "odometry")
        if self._vehicle is None:
            return
        try:
            with input_rejected_for(RejectReason.ODOMETRY, OdometryError):
                pose = odometry_from_message(message)
            self._vehicle.add_odometry(pose)
        except InputRejected as rejected:
            self._rejected(rejected)

    def _on_imu(self, message: Imu) -> None:
        vehicle = self._vehicle
        if vehicle is None:
            return
        try:
            if not self._is_usable(vehicle, IMU, RejectReason.HEADING, stamp_ns(message.header.stamp)):
                return
            if self._settings.levels_by_imu:
                self._take_attitude(message, vehicle)
            if self._settings.flag("heading.use_imu"):
                self._take_heading(message, vehicle)
        except InputRejected as rejected:
            if rejected.reason is RejectReason.HEADING:
                vehicle.starts.refuse_heading(f"imu: {rejected.detail}")
            self._rejected(rejected)

    def _take_heading(self, message: Imu, vehicle: VehicleLocalizer) -> None:
        settings = self._settings
        with input_rejected_for(RejectReason.HEADING, OdometryError):
            heading = heading_from_imu(message, settings.radians("heading.noise_deg"))
        if heading is None:
            vehicle.starts.refuse_heading("imu says that it has no orientation (orientation_covariance[0] is -1)")
            return
        vehicle.starts.refuse_heading("")
        yaw_rad = heading.yaw_rad + settings.radians("heading.offset_deg")
        vehicle.add_heading(heading.stamp_ns, yaw_rad, heading.std_rad)
        self._health.arrived(Clocks.steady_ns(), "heading")
        vehicle.start_from_gnss()

    def _take_attitude(self, message: Imu, vehicle: VehicleLocalizer) -> None:
        at = self._frames.lookup(message.header.frame_id, self._settings.text("frames.base_link"))
        with input_rejected_for(RejectReason.ATTITUDE, OdometryError):
            told = attitude_from_imu(message, None if at is None else at.rotation)
        if told is not None:
            vehicle.camera.add_attitude(*told)

    def _on_initialpose(self, message: PoseWithCovarianceStamped, durability: str) -> None:
        last, self._last_start = self._last_start, (message, durability)
        if last is not None and last[1] != durability and last[0] == message:
            self._last_start = last
            return  # the same message by the other subscription
        if self._vehicle is None:
            return
        settings = self._settings
        try:
            with input_rejected_for(RejectReason.START, OdometryError):
                start = start_from_initialpose(
                    message,
                    settings.text("frames.map"),
                    settings.number("prior.min_position_std_m"),
                    settings.radians("prior.min_yaw_std_deg"),
                )
            self._vehicle.start(start)
        except InputRejected as rejected:
            self._rejected(rejected)

    def _on_unreliable_start_poses(self, event: Any) -> None:
        if event.total_count_change > 0:
            self._rejected(
                InputRejected(
                    RejectReason.START,
                    "initialpose is published best effort, and may get lost: its sender must publish it reliable",
                )
            )

    def _on_gnss(self, message: NavSatFix) -> None:
        vehicle = self._vehicle
        if vehicle is None:
            return
        try:
            if not self._is_usable(vehicle, FIX, RejectReason.GNSS, stamp_ns(message.header.stamp)):
                return
            try:
                gnss = gnss_from_message(message)
            except OdometryError as error:
                vehicle.starts.refuse_gnss(str(error))
                return
            vehicle.add_gnss(gnss)
            vehicle.start_from_gnss()
        except InputRejected as rejected:
            self._rejected(rejected)

    @staticmethod
    def _is_usable(vehicle: VehicleLocalizer, name: str, reason: RejectReason, at_ns: int) -> bool:
        """Whether a message is news by its stamp; duplicate and late ones are counted, and harmless.

        Raises:
            InputRejected: it has no stamp.
        """
        verdict = vehicle.stamps.look(name, at_ns)
        if verdict is StampVerdict.ZERO:
            raise InputRejected(reason, f"{name} without a stamp: its driver must set header.stamp")
        return verdict in (StampVerdict.NEWER, StampVerdict.JUMPED_BACK)
