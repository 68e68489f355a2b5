"""What the node is told of its camera: its lens by `camera_info` or a file, its mounting by `/tf_static` or parameters.

Messages come in the executor's thread; pictures are warped in the worker's.
"""

from __future__ import annotations

import math

from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from geoflow_ros.errors import InputError
from geoflow_ros.geo.camera import Mounting
from geoflow_ros.localization import RejectReason, VehicleLocalizer
from geoflow_ros.localization.messages import intrinsics_from_camera_info
from geoflow_ros.localization.rejection import FrameRejected
from geoflow_ros.ros.parameters import Settings
from geoflow_ros.ros.qos import SENSOR
from geoflow_ros.ros.static_transforms import StaticTransforms

TF, PARAMETERS = "tf", "parameters"
_GROUND_FRAME = "base_footprint"  # REP-120: on the ground below base_link
_INFO = "camera_info"
_PARAMETERS_OF_MOUNTING = (
    *("camera.lever_arm.x_m", "camera.lever_arm.y_m", "camera.yaw_deg", "camera.pitch_deg", "camera.roll_deg"),
)


class CameraInputs:
    """Keeps a vehicle localizer's lens and mounting as they are said.

    Args:
        node: that subscribes.
        settings: its parameters.
        frames: where sensors are mounted.
    """

    def __init__(self, node: LifecycleNode, settings: Settings, frames: StaticTransforms) -> None:
        self._node, self._settings, self._frames = node, settings, frames
        self._vehicle: VehicleLocalizer | None = None
        self._info: CameraInfo | None = None
        self._frame_id, self._problem = "", ""
        self._topic = info_topic(node, settings.text("image_transport") == "compressed")
        self._warned = False
        self._said: Mounting | None = None  # by TF

    def configure(self, vehicle: VehicleLocalizer) -> list[Subscription]:
        """Listens to `camera_info` for a vehicle localizer, unless it has a calibration file's lens already."""
        self._vehicle, self._info, self._frame_id = vehicle, None, ""
        self.mounted()
        if vehicle.camera.is_calibrated:
            return []
        return [self._node.create_subscription(CameraInfo, self._topic, self._on_info, SENSOR)]

    def release(self) -> None:
        """Forgets the vehicle localizer."""
        self._vehicle = None

    def take(self, settings: Settings) -> None:
        """Takes other parameters."""
        self._settings = settings
        self.mounted()

    def mounted(self) -> None:
        """Puts the camera where parameters or TF say that it is, if that is known by now."""
        vehicle = self._vehicle
        if vehicle is None:
            return
        settings = self._settings.vehicle()
        try:
            mounting = self._mounting_by_tf()
            vehicle.settings = settings if mounting is None else settings.mounted(mounting)
            self._problem = ""
            if mounting is not None and mounting != self._said:
                self._say(mounting)
        except InputError as error:
            self._problem = str(error)

    def _say(self, mounting: Mounting) -> None:
        self._said, lean = mounting, mounting.lean
        self._node.get_logger().info(
            f"camera '{self._frame_id}' by /tf_static: {mounting.forward_m:.2f} m forward, "
            f"{mounting.left_m:.2f} m left, {mounting.height_m:.2f} m above the ground "
            f"(camera.height_m says otherwise), "
            f"roll {math.degrees(lean.roll_rad):.1f}°, pitch {math.degrees(lean.pitch_rad):.1f}°, "
            f"yaw {math.degrees(mounting.yaw_rad):.1f}°"
        )

    def check(self, frame_id: str) -> None:
        """Looks at one picture's frame, before it is localized; for the worker's thread.

        Args:
            frame_id: of the picture.

        Raises:
            FrameRejected: what is said of the camera has not come yet, or cannot be.
        """
        vehicle = self._vehicle
        if vehicle is None:
            return
        frame_id = frame_id or (self._info.header.frame_id if self._info is not None else "")
        if frame_id != self._frame_id:
            self._frame_id = frame_id
            self.mounted()
        if self._problem:
            raise FrameRejected(RejectReason.CALIBRATION, self._problem)
        if self._info is None and not vehicle.camera.is_calibrated and self._node.count_publishers(self._topic):
            raise FrameRejected(RejectReason.CALIBRATION, f"waiting for the first message on {self._topic}")
        if vehicle.camera.is_assumed and not self._warned:
            self._warned = True
            self._node.get_logger().warning(
                f"no camera calibration on {self._topic} and no camera.info_file: the lens is taken for the model's "
                f"({vehicle.localizer.manifest.camera.description}); another one costs 10 m"
            )

    def _on_info(self, message: CameraInfo) -> None:
        if self._vehicle is None or (self._info is not None and _same(message, self._info)):
            return
        self._info = message
        try:
            intrinsics = intrinsics_from_camera_info(message, self._settings.flag("camera.rectified"))
        except InputError as error:
            self._vehicle.camera.calibrate(None, f"{self._topic}: {error}")
            return
        if intrinsics is not None and self._vehicle.localizer.manifest.virtual_camera is None:
            intrinsics = None  # a panorama, or a model that does not say its lens
        self._vehicle.camera.calibrate(intrinsics)

    def _mounting_by_tf(self) -> Mounting | None:
        """The mounting by TF; None where parameters count.

        Raises:
            InputError: TF is asked for and does not say it, or says one that no camera has.
        """
        chosen, settings = self._settings.text("camera.extrinsics"), self._settings
        is_stated = any(settings.number(name) for name in _PARAMETERS_OF_MOUNTING)
        if chosen == PARAMETERS or (chosen != TF and is_stated):
            return None
        base_link = settings.text("frames.base_link")
        at = self._frames.lookup(self._frame_id, base_link) if self._frame_id else None
        if at is None:
            if chosen == TF:
                raise InputError(
                    f"camera.extrinsics is tf, and /tf_static does not connect the camera's frame '{self._frame_id}' "
                    f"with '{base_link}': publish it, or state the mounting by parameters"
                )
            return None
        above_ground = self._frames.lookup(self._frame_id, _GROUND_FRAME) or at
        height_m = settings.number("camera.height_m") or float(above_ground.translation_m[2])
        try:
            return Mounting.of_optical_frame(at.rotation, at.translation_m, height_m)
        except InputError as error:
            raise InputError(f"'{self._frame_id}' in '{base_link}' on /tf_static: {error}") from None


def info_topic(node: LifecycleNode, compressed: bool) -> str:
    """Returns the topic of the calibration: what `camera_info` is remapped to, else the one beside the image's."""
    own = node.resolve_topic_name(_INFO)
    namespace = node.get_namespace().rstrip("/")
    if own != f"{namespace}/{_INFO}":
        return own
    image = node.resolve_topic_name("image/compressed" if compressed else "image")
    if compressed:
        image = image.removesuffix("/compressed")
    return f"{image.rpartition('/')[0]}/{_INFO}"


def _same(one: CameraInfo, other: CameraInfo) -> bool:
    fields = ("height", "width", "distortion_model", "binning_x", "binning_y", "roi")
    arrays = ("d", "k", "r", "p")
    return all(getattr(one, name) == getattr(other, name) for name in fields) and all(
        list(getattr(one, name)) == list(getattr(other, name)) for name in arrays
    )
