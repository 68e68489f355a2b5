"""The node `geoflow_localizer`: messages in, `VehicleLocalizer` called, messages out.

One frame's way: `_on_image` leaves it in the mailbox → the worker takes the newest → `VehicleLocalizer.localize` →
`_publish`. Whatever is rejected on the way is counted, and said in the diagnostics.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from geoflow_ros.errors import ImageError, InputError
from geoflow_ros.localization import (
    FrameRejected,
    InputRejected,
    RejectReason,
    VehicleFix,
    VehicleLocalizer,
    open_vehicle_localizer,
)
from geoflow_ros.localization.rejection import detail_of, frame_rejected_for
from geoflow_ros.memory import give_back_freed_memory
from geoflow_ros.ros import parameters
from geoflow_ros.ros.camera_inputs import CameraInputs
from geoflow_ros.ros.clocks import Clocks
from geoflow_ros.ros.diagnostics import OK, REJECTION_LEVELS, Health, track_status_message
from geoflow_ros.ros.images import ImageDecoder
from geoflow_ros.ros.log import forward_logs
from geoflow_ros.ros.mailbox import Mailbox
from geoflow_ros.ros.map_topic import MapTopic
from geoflow_ros.ros.messages import transform_message
from geoflow_ros.ros.outputs import Outputs
from geoflow_ros.ros.qos import LATCHED, NEWEST_ONLY, RELIABLE
from geoflow_ros.ros.sensor_inputs import SensorInputs
from geoflow_ros.ros.static_transforms import StaticTransforms
from geoflow_ros.ros.transforms import NoSender, TransformSender, transform_sender
from geoflow_ros.stamps import stamp_ns
from geoflow_ros.stopwatch import Stopwatch
from geoflow_ros.tracking import TrackState, TrackStatus

_DIAGNOSTICS_PERIOD_S = 1.0
_TF_PERIOD_S = 0.05
_AUTOSTART_PERIOD_S = 2.0
_WARNING_PERIOD_S = 5.0


class LocalizerNode(LifecycleNode):
    """Localizes a vehicle on a satellite map. Parameters: config/geoflow_full.yaml.

    In: `image` or `image/compressed`, `odom`, `imu` (absolute yaw), `initialpose`, `fix` (start position), tiles.
    Out: `~/pose` is what one image said, a posterior under a uniform prior over the search area, once in
    `output.spacing_m` of driving; `~/fix` the same on Earth; `~/hypotheses`; `~/track` (nav_msgs/Odometry, an addition
    to the usual set) is base_link in the map as the tracker has it after all images so far, at the last one's stamp;
    `~/status` what that is worth; `~/debug_image/compressed`; `/diagnostics`; TF.
    Services: `~/enable`; `~/relocalize` keeps the pose and forgets how certain it was.

    Raises:
        InputError: a parameter that cannot be used.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("geoflow_localizer", **node_arguments)
        self._settings = parameters.declare(self)
        self._log_handler = forward_logs(self.get_logger())
        self.add_on_set_parameters_callback(self._on_parameters)
        self._health = Health()
        self._clocks = Clocks(self)
        self._decoder = ImageDecoder()
        self._transforms: TransformSender = transform_sender(self, is_wanted=self._settings.flag("frames.broadcast_tf"))
        self._vehicle: VehicleLocalizer | None = None  # between configure and cleanup
        self._problem = ""
        self._enabled = True
        self._active = False
        self._finalized = False
        self._frames: Mailbox[Image | CompressedImage] | None = None
        self._worker: threading.Thread | None = None
        self._inputs: list[Subscription] = []
        self._image_input: Subscription | None = None
        self._frames_of_sensors = StaticTransforms(lambda: self._camera.mounted())
        self._camera = CameraInputs(self, self._settings, self._frames_of_sensors)
        self._static_transforms = self._frames_of_sensors.listen(self)
        self._sensors = SensorInputs(self, self._settings, self._frames_of_sensors, self._health, self._rejected)
        self._map_topic = MapTopic(self, self._settings)

        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
        self._status = self.create_publisher(DiagnosticStatus, "~/status", LATCHED)
        self._said_state: tuple[TrackState, str] | None = None  # and which input is at fault
        self._outputs = Outputs(self, self._settings.text("frames.map"), self._settings.text("frames.base_link"))
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/relocalize", self._on_relocalize)
        self._clocks.timer(_DIAGNOSTICS_PERIOD_S, self._report)
        if not isinstance(self._transforms, NoSender):
            self.create_timer(_TF_PERIOD_S, self._send_transform)
        self._autostart: Timer | None = None
        if self._settings.flag("autostart"):
            self._autostart = self._clocks.timer(_AUTOSTART_PERIOD_S, self.start)

    @property
    def problem(self) -> str:
        """Why the node could not be configured; empty where it could, or nobody tried."""
        return self._problem

    @property
    def is_finalized(self) -> bool:
        """Whether the node was shut down, from which no way leads back."""
        return self._finalized

    # ---- lifecycle ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Configure and activate, as a lifecycle manager would; tried again until it succeeds (tiles may come late).

        Does nothing after a shutdown, from which no way leads back.
        """
        if self._finalized:
            return
        if self._autostart is not None:
            self._autostart.cancel()
        if self._vehicle is None and self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            if self._autostart is not None:
                self._autostart.reset()
        elif not self._active:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, open the tiles, listen to everything but the camera."""
        try:
            vehicle = open_vehicle_localizer(self._map_topic.options())
        except Exception as error:  # rclpy would swallow it; a driver's failure must be said, whatever its type
            problem = detail_of(error)
            if problem != self._problem:
                self.get_logger().error(f"cannot be configured: {problem}")
            self._problem = problem
            return TransitionCallbackReturn.FAILURE
        self._vehicle, self._problem = vehicle, ""
        give_back_freed_memory()
        self._inputs = [
            *self._camera.configure(vehicle),
            *self._sensors.configure(vehicle),
            *self._map_topic.subscriptions(),
        ]
        self.get_logger().info(f"configured: {vehicle.description}; TF by {self._transforms.name}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the camera and start to work."""
        if self._vehicle is None:
            return TransitionCallbackReturn.FAILURE
        frames: Mailbox[Image | CompressedImage] = Mailbox()
        self._frames = frames
        self._active = True
        self._worker = threading.Thread(target=self._work, args=(frames, self._vehicle), name="localize", daemon=True)
        self._worker.start()
        if self._settings.text("image_transport") == "raw":
            self._image_input = self.create_subscription(Image, "image", self._on_image, NEWEST_ONLY)
        else:
            self._image_input = self.create_subscription(
                CompressedImage, "image/compressed", self._on_image, NEWEST_ONLY
            )
        self.get_logger().info("active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the camera go; the odometry is still followed."""
        self._stop_work()
        if self._vehicle is not None:
            self._vehicle.keep_last_pose(now=True)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget model, tiles and track."""
        self._release()
        give_back_freed_memory()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End, from whatever state."""
        self._finalized = True
        if self._autostart is not None:
            self._autostart.cancel()
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a failed transition: back to unconfigured."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker, then the rest."""
        self._release()
        logging.getLogger("geoflow_ros").removeHandler(self._log_handler)
        # What is not rclpy's own is on the network for as long as somebody holds it.
        self._transforms, self._static_transforms = NoSender("the node has ended"), None
        super().destroy_node()

    def _take_no_more_frames(self) -> None:
        self._active = False
        if self._image_input is not None:
            self.destroy_subscription(self._image_input)
            self._image_input = None
        if self._frames is not None:
            self._frames.close()

    def _stop_work(self) -> None:
        """Waits for the frame at work: where it waits for tiles, about one request's time-out."""
        self._take_no_more_frames()
        if self._worker is not None:
            self._worker.join()
            self._worker = None

    def _release(self) -> None:
        """Stop the work and forget what it needed; waits for no tile."""
        self._take_no_more_frames()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        self._camera.release()
        self._sensors.release()
        self._map_topic.release()
        vehicle, self._vehicle = self._vehicle, None
        if vehicle is not None:
            vehicle.interrupt()  # first: the frame at work would wait for a server that does not answer
        self._stop_work()
        if vehicle is not None:
            vehicle.close()

    # ---- inputs (executor's thread: never waits) ---------------------------------------------------------------------

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._health.arrived(Clocks.steady_ns(), "image")
        if self._enabled and self._frames is not None and self._frames.put(message):
            self._health.dropped()

    def _on_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        settings, answer = parameters.changed(self._settings, changes)
        if answer.successful:
            if self._vehicle is not None:
                try:
                    self._vehicle.localizer.configure(settings.search())
                except InputError as error:
                    return SetParametersResult(successful=False, reason=str(error))
            self._settings = settings
            self._camera.take(settings)
            self._sensors.take(settings)
        return answer

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = bool(request.data)
        response.success = True
        response.message = "localizing" if self._enabled else "images are ignored until enabled again"
        return response

    def _on_relocalize(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._vehicle is None:
            response.success, response.message = False, f"not configured yet: {self._problem or 'configure first'}"
            return response
        try:
            self._vehicle.relocalize()
        except InputRejected as rejected:
            response.success, response.message = False, rejected.detail
            return response
        response.success = True
        std_m = self._settings.number("relocalize.position_std_m")
        response.message = f"searching again around the tracked pose, which now counts as known to {std_m:g} m at best"
        radius_m = self._settings.number("relocalize.radius_m")
        if radius_m > 0.0:
            response.message = (
                f"the next image is looked for within ±{radius_m:g} m of the tracked pose; no pose is published until "
                "fixes prove what is found, see ~/status"
            )
        return response

    # ---- one frame (worker's thread) ---------------------------------------------------------------------------------

    def _work(self, frames: Mailbox[Image | CompressedImage], vehicle: VehicleLocalizer) -> None:
        while (message := frames.take()) is not None:
            if not self._enabled:
                continue
            try:
                self._publish(self._localized(message, vehicle))
            except FrameRejected as rejected:
                if rejected.track is not None:
                    self._outputs.publish_track(rejected.track)
                self._rejected(rejected)
            except Exception as error:  # the node outlives whatever one frame does to it
                self._rejected(FrameRejected(RejectReason.BACKEND, f"{type(error).__name__}: {error}"))
            vehicle.keep_last_pose()
            self._say_status(vehicle.status, only_changes=True)

    def _localized(self, message: Image | CompressedImage, vehicle: VehicleLocalizer) -> VehicleFix:
        stopwatch, stamp = Stopwatch(), stamp_ns(message.header.stamp)
        try:
            self._camera.check(message.header.frame_id)
            with frame_rejected_for(RejectReason.IMAGE, ImageError), stopwatch.stage("decode"):
                rgb = self._decoder.rgb(message)
        except FrameRejected as rejected:
            vehicle.refuse(stamp, rejected)
            raise
        return vehicle.localize(rgb, stamp, stopwatch)

    def _publish(self, answer: VehicleFix) -> None:
        self._outputs.publish_track(answer.track)
        if answer.relocalized:
            self.get_logger().warning(
                "the track was moved: several fixes in a row agreed with each other, and not with it, or it was lost"
            )
        self._outputs.publish_hypotheses(answer)
        if answer.is_news:
            self._outputs.publish_fix(answer)
            self._health.published()
        now_ns = self._clocks.ros_ns()
        latency_ms = None if now_ns is None else (now_ns - answer.stamp_ns) * 1e-6
        self._health.localized(Clocks.steady_ns(), latency_ms, answer.stages_ms)
        self._outputs.publish_debug_image(answer, self._settings.count("debug_image.jpeg_quality"))

    # ---- what is said about it ---------------------------------------------------------------------------------------

    def _rejected(self, rejected: InputRejected) -> None:
        self._health.rejected(Clocks.steady_ns(), rejected.reason, rejected.detail)
        if REJECTION_LEVELS[rejected.reason] != OK:
            self.get_logger().warning(
                f"{rejected.reason.value}: {rejected.detail}", throttle_duration_sec=_WARNING_PERIOD_S
            )

    def _track_status(self) -> TrackStatus:
        """What the pose is worth, and if there can be none, why."""
        if self._vehicle is not None and self._active and self._enabled:
            status, problem = self._vehicle.status, self._clocks.problem
            if problem and status.state is TrackState.WAITING:
                return replace(status, reason=f"{problem}; {status.reason}", fault="clock")
            return status
        return TrackStatus(TrackState.WAITING, f"not localizing: {self._problem or self._state_label()}", "node")

    def _say_status(self, status: TrackStatus, *, only_changes: bool) -> None:
        said, self._said_state = self._said_state, (status.state, status.fault)
        if only_changes and said == self._said_state:
            return
        if said is not None and said[0] is not status.state:
            self.get_logger().info(f"{status.state.value}{f': {status.reason}' if status.reason else ''}")
        name = self.get_fully_qualified_name().lstrip("/")
        vehicle = self._vehicle
        self._status.publish(
            track_status_message(f"{name}: pose", "" if vehicle is None else vehicle.description, status)
        )

    def _send_transform(self) -> None:
        transform = self._vehicle.map_to_odom() if self._vehicle is not None and self._active else None
        if transform is not None:
            frames = self._settings.text("frames.map"), self._settings.text("frames.odom")
            self._transforms.send(transform_message(transform, *frames))

    def _state_label(self) -> str:
        if self._vehicle is None:
            return "unconfigured"
        if not self._active:
            return "inactive"
        return "active" if self._enabled else "disabled"

    def _report(self) -> None:
        vehicle = self._vehicle
        track = None if vehicle is None else vehicle.newest_track()
        odometry_ns = None if vehicle is None else vehicle.newest_odometry_ns
        now_ns = self._clocks.ros_ns()
        track_status = self._track_status()
        self._say_status(track_status, only_changes=False)
        status = self._health.status(
            Clocks.steady_ns(),
            name=f"{self.get_fully_qualified_name().lstrip('/')}: localization",
            hardware_id="" if vehicle is None else vehicle.description,
            state=self._state_label(),
            state_problem=self._problem,
            clock_problem=self._clocks.problem,
            track=track_status if vehicle is not None else None,
            position_std_m=None if track is None else track.position_std_m,
            limits=self._settings.limits(),
            extra={
                **({} if vehicle is None else vehicle.facts()),
                **self._map_topic.facts,
                "odometry_age_s": _age_in_words(odometry_ns, now_ns),
                "tf_sender": self._transforms.name,
            },
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def _age_in_words(at_ns: int | None, now_ns: int | None) -> str:
    if at_ns is None:
        return "never"
    return "no /clock" if now_ns is None else f"{(now_ns - at_ns) * 1e-9:.2f}"
