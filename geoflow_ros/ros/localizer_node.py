"""The node `geoflow_localizer`: camera frames, odometry and satellite tiles in, poses of base_link in the map out.

One frame's way: `_on_image` leaves it in the mailbox → the worker takes the newest → `_localize` (decode, prior at the
image's stamp, patch, network) → `_judge` (tracker's gate) → `_publish`. Whatever stops it on the way is counted, and
said in the diagnostics.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image, Imu, NavSatFix, NavSatStatus
from std_srvs.srv import SetBool, Trigger

from geoflow_ros.backends import open_backend
from geoflow_ros.bundle import Bundle, IrsSettings
from geoflow_ros.errors import GeoFlowError, GeometryError, ImageError, InputError, OdometryError, TileError
from geoflow_ros.geo import Datum
from geoflow_ros.inference import Fix, GeoFlowLocalizer, Prior
from geoflow_ros.localization import PatchManager, RejectReason
from geoflow_ros.memory import give_back_freed_memory
from geoflow_ros.resources import model_path
from geoflow_ros.ros import parameters
from geoflow_ros.ros.diagnostics import Health, Limits
from geoflow_ros.ros.images import compressed_from_rgb, rgb_from_compressed, rgb_from_image
from geoflow_ros.ros.log import forward_logs
from geoflow_ros.ros.mailbox import Mailbox
from geoflow_ros.ros.messages import (
    floored_covariance,
    heading_from_imu,
    hypotheses_message,
    navsat_message,
    odometry_from_message,
    odometry_message,
    pose_with_covariance,
    start_from_initialpose,
    time_from_ns,
    transform_message,
)
from geoflow_ros.ros.transforms import NoSender, TransformSender, transform_sender
from geoflow_ros.stamps import stamp_ns
from geoflow_ros.tiles import SatelliteMap, SatellitePatch, TileSource, open_tile_source
from geoflow_ros.tracking import FixMeasurement, OdometryBuffer, StartPose, TrackedPose, Tracker, Verdict
from geoflow_ros.visualization import draw_fix

_NEWEST_ONLY = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
_SENSOR = QoSProfile(depth=100, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
_RELIABLE = QoSProfile(
    depth=10,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
_PICTURE = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
_DIAGNOSTICS_PERIOD_S = 1.0
_TF_PERIOD_S = 0.05
_AUTOSTART_PERIOD_S = 2.0
# The track is carried along at this distance behind the newest odometry when no image carries it, so that it never has
# to reach back further than the odometry is kept.
_TRACK_LAG_NS = 5_000_000_000
# A satellite fix and an absolute heading further apart than this are not one pose: a car turns by 30° in a second.
_MAX_FIX_TO_HEADING_S = 1.0


class _SilentError(Exception):
    """Ends the work on one frame, for a reason that the diagnostics know."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class _Model:
    """What exists between configure and cleanup."""

    localizer: GeoFlowLocalizer
    source: TileSource
    satellite_map: SatelliteMap
    patches: PatchManager
    description: str


@dataclass(frozen=True)
class _Localized:
    """One frame, localized, not yet judged."""

    fix: Fix
    patch: SatellitePatch
    stages_ms: dict[str, float]


class LocalizerNode(LifecycleNode):
    """Localizes a vehicle on a satellite map. Parameters: config/geoflow.yaml.

    In: `image` or `image/compressed`, `odom`, `imu` (absolute yaw), `initialpose`, `fix` (start position).
    Out: `~/pose` is what one image said, a posterior under a uniform prior over the search area; `~/fix` the same on
    Earth; `~/hypotheses`; `~/track` (nav_msgs/Odometry, an addition to the usual set) is base_link in the map as the
    tracker has it after all images so far, at the last one's stamp; `~/debug_image/compressed`; `/diagnostics`; TF.
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
        self._odometry = OdometryBuffer(max_extrapolation_s=self._settings.number("prior.max_extrapolation_s"))
        self._tracker = Tracker(self._odometry, self._settings.tracker())
        self._transforms: TransformSender = transform_sender(self)
        self._model: _Model | None = None
        self._datum: Datum | None = None
        self._problem = ""
        self._enabled = True
        self._active = False
        self._frames: Mailbox[Image | CompressedImage] | None = None
        self._worker: threading.Thread | None = None
        self._last_image_ns: int | None = None
        self._last_gnss: NavSatFix | None = None
        self._inputs: list[Subscription] = []
        self._image_input: Subscription | None = None

        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", _RELIABLE)
        self._pose_output = self.create_lifecycle_publisher(PoseWithCovarianceStamped, "~/pose", _RELIABLE)
        self._fix_output = self.create_lifecycle_publisher(NavSatFix, "~/fix", _RELIABLE)
        self._track_output = self.create_lifecycle_publisher(Odometry, "~/track", _RELIABLE)
        self._hypotheses_output = self.create_lifecycle_publisher(PoseArray, "~/hypotheses", _RELIABLE)
        self._debug_output = self.create_lifecycle_publisher(CompressedImage, "~/debug_image/compressed", _PICTURE)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/relocalize", self._on_relocalize)
        self.create_timer(_DIAGNOSTICS_PERIOD_S, self._report)
        if self._settings.flag("frames.broadcast_tf") and not isinstance(self._transforms, NoSender):
            self.create_timer(_TF_PERIOD_S, self._send_transform)
        self._finalized = False
        self._autostart: Timer | None = None
        if self._settings.flag("autostart"):
            self._autostart = self.create_timer(_AUTOSTART_PERIOD_S, self.start)

    # ---- lifecycle ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Configure and activate, as a lifecycle manager would; tried again until it succeeds (tiles may come late).

        Does nothing after a shutdown, from which no way leads back.
        """
        if self._finalized:
            return
        if self._autostart is not None:
            self._autostart.cancel()
        if self._model is None and self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            if self._autostart is not None:
                self._autostart.reset()
        elif not self._active:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, open the tiles, listen to everything but the camera."""
        try:
            self._model = self._load_model()
        except Exception as error:  # rclpy would swallow it; a driver's failure must be said, whatever its type
            problem = str(error) if isinstance(error, GeoFlowError) else f"{type(error).__name__}: {error}"
            if problem != self._problem:
                self.get_logger().error(f"cannot be configured: {problem}")
            self._problem = problem
            return TransitionCallbackReturn.FAILURE
        self._problem = ""
        give_back_freed_memory()
        self._inputs = [
            self.create_subscription(Odometry, "odom", self._on_odometry, _SENSOR),
            self.create_subscription(PoseWithCovarianceStamped, "initialpose", self._on_initialpose, _RELIABLE),
        ]
        if self._settings.flag("heading.use_imu"):
            self._inputs.append(self.create_subscription(Imu, "imu", self._on_imu, _SENSOR))
        if self._settings.flag("prior.use_fix"):
            self._inputs.append(self.create_subscription(NavSatFix, "fix", self._on_gnss, _SENSOR))
        self.get_logger().info(f"configured: {self._model.description}; TF by {self._transforms.name}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the camera and start to work."""
        frames: Mailbox[Image | CompressedImage] = Mailbox()
        self._frames = frames
        self._active = True
        self._worker = threading.Thread(target=self._work, args=(frames,), name="localize", daemon=True)
        self._worker.start()
        if self._settings.text("image_transport") == "raw":
            self._image_input = self.create_subscription(Image, "image", self._on_image, _NEWEST_ONLY)
        else:
            self._image_input = self.create_subscription(
                CompressedImage, "image/compressed", self._on_image, _NEWEST_ONLY
            )
        self.get_logger().info("active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the camera go; the odometry is still followed."""
        self._stop_work()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget model, tiles and track."""
        self._release()
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
        model = self._model
        if model is not None:
            # First, because it ends the waits for tiles: worker and patch keeper would sit out a server's silence.
            model.satellite_map.close()
            model.source.close()
        self._stop_work()
        if model is not None:
            model.patches.close()
            self._model = None
        self._odometry.clear()
        self._tracker.reset()
        self._last_image_ns = None
        self._last_gnss = None

    def _load_model(self) -> _Model:
        settings = self._settings
        if not settings.text("tiles.source"):
            raise InputError("parameter tiles.source is empty: give FILE.mbtiles or http(s)://HOST/{z}/{x}/{y}.png")
        with ExitStack() as undo:
            # Tiles before the model: where they come late, each further attempt costs next to nothing.
            source = undo.enter_context(closing(open_tile_source(settings.text("tiles.source"))))
            datum = _datum(settings, source)
            zoom = settings.count("tiles.zoom")
            satellite_map = SatelliteMap(source, datum, None if zoom < 0 else zoom, settings.count("tiles.cache"))
            bundle = Bundle.load(model_path(settings.text("model.path")))
            localizer = GeoFlowLocalizer(
                bundle, open_backend(bundle, settings.backend()), seed=settings.count("irs.seed")
            )
            localizer.settings = _irs_settings(settings, localizer)
            _warm_up(localizer)
            undo.pop_all()
        patches = PatchManager(
            satellite_map,
            localizer.manifest,
            localizer.prepare,
            settings.number("tiles.recentre_distance_m"),
            settings.radians("tiles.recentre_angle_deg"),
        )
        description = (
            f"model {localizer.manifest.name} on {localizer.backend.name}, tiles {source.name}, "
            f"datum {datum.lat_deg:.7f}, {datum.lon_deg:.7f}"
        )
        self._datum = datum
        return _Model(localizer, source, satellite_map, patches, description)

    # ---- inputs (executor's thread: never waits) ---------------------------------------------------------------------

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._health.arrived(time.monotonic_ns(), "image")
        if self._enabled and self._frames is not None and self._frames.put(message):
            self._health.dropped()

    def _on_odometry(self, message: Odometry) -> None:
        self._health.arrived(time.monotonic_ns(), "odometry")
        generation = self._odometry.generation
        try:
            self._odometry.add(odometry_from_message(message))
        except OdometryError as error:
            self._silent(RejectReason.ODOMETRY, str(error))
        if self._odometry.generation != generation:
            # Of another clock, or from before an odometry that restarted: neither orders images nor starts a track.
            self._last_image_ns = None
            self._last_gnss = None

    def _on_imu(self, message: Imu) -> None:
        try:
            heading = heading_from_imu(message, self._settings.radians("heading.noise_deg"))
            if heading is None:
                return
            stamp, yaw, std = heading
            self._tracker.add_heading(stamp, yaw + self._settings.radians("heading.offset_deg"), std)
        except OdometryError as error:
            self._silent(RejectReason.HEADING, str(error))
            return
        self._health.arrived(time.monotonic_ns(), "heading")
        self._start_from_gnss()

    def _on_initialpose(self, message: PoseWithCovarianceStamped) -> None:
        settings = self._settings
        try:
            start = start_from_initialpose(
                message,
                settings.text("frames.map"),
                settings.number("prior.min_position_std_m"),
                settings.radians("prior.min_yaw_std_deg"),
            )
            self._start(start)
        except OdometryError as error:
            self._silent(RejectReason.START, str(error))

    def _start(self, start: StartPose) -> None:
        newest = self._odometry.newest
        if start.stamp_ns == 0 and newest is not None:
            # `ros2 topic pub` and the like leave the stamp empty: the vehicle is there now.
            start = StartPose(newest.stamp_ns, start.east_m, start.north_m, start.yaw_rad, start.covariance)
        self._tracker.start(start)
        self.get_logger().info(
            f"track starts at east {start.east_m:.1f} m, north {start.north_m:.1f} m, "
            f"yaw {math.degrees(start.yaw_rad):.0f}°"
        )

    def _on_gnss(self, message: NavSatFix) -> None:
        usable = message.status.status >= NavSatStatus.STATUS_FIX
        if usable and math.isfinite(message.latitude) and math.isfinite(message.longitude):
            self._last_gnss = message
            self._start_from_gnss()

    def _start_from_gnss(self) -> None:
        """Start where a satellite fix and an absolute heading put the vehicle, unless there is a track already."""
        gnss, heading = self._last_gnss, self._tracker.newest_heading
        if gnss is None or heading is None or self._datum is None or self._tracker.started:
            return
        self._last_gnss = None
        apart_s = abs(stamp_ns(gnss.header.stamp) - heading[0]) / 1e9
        if apart_s > _MAX_FIX_TO_HEADING_S:
            self._silent(
                RejectReason.START,
                f"fix and imu are {apart_s:.1f} s apart (limit {_MAX_FIX_TO_HEADING_S:g} s): one of them has stopped, "
                "or their clocks differ",
            )
            return
        settings = self._settings
        try:
            position = np.array(self._datum.to_enu(gnss.latitude, gnss.longitude))
            covariance = np.zeros((3, 3))
            if gnss.position_covariance_type != NavSatFix.COVARIANCE_TYPE_UNKNOWN:
                covariance[:2, :2] = np.asarray(gnss.position_covariance).reshape(3, 3)[:2, :2]
            covariance[2, 2] = heading[2] ** 2 + settings.radians("heading.bias_std_deg") ** 2
            if not np.isfinite(covariance).all():
                raise OdometryError("fix has a covariance that is not finite")
            covariance = floored_covariance(
                covariance, settings.number("prior.min_position_std_m"), settings.radians("prior.min_yaw_std_deg")
            )
            self._start(StartPose(stamp_ns(gnss.header.stamp), position[0], position[1], heading[1], covariance))
        except (OdometryError, GeometryError) as error:
            self._silent(RejectReason.START, str(error))

    def _on_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        settings, answer = parameters.changed(self._settings, changes)
        if answer.successful:
            if self._model is not None:
                try:
                    self._model.localizer.settings = _irs_settings(settings, self._model.localizer)
                except InputError as error:
                    return SetParametersResult(successful=False, reason=str(error))
            self._settings = settings
            self._tracker.settings = settings.tracker()
            if self._model is not None:
                self._model.patches.range_m = settings.number("tiles.recentre_distance_m")
                self._model.patches.range_rad = settings.radians("tiles.recentre_angle_deg")
        return answer

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = bool(request.data)
        response.success = True
        response.message = "localizing" if self._enabled else "images are ignored until enabled again"
        return response

    def _on_relocalize(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        settings = self._settings
        try:
            self._tracker.inflate_covariance(
                settings.number("relocalize.position_std_m"), settings.radians("relocalize.yaw_std_deg")
            )
        except OdometryError as error:
            response.success, response.message = False, str(error)
            return response
        response.success = True
        std_m = settings.number("relocalize.position_std_m")
        response.message = f"searching again around the tracked pose, which now counts as known to {std_m:g} m at best"
        return response

    # ---- one frame (worker's thread) ---------------------------------------------------------------------------------

    def _work(self, frames: Mailbox[Image | CompressedImage]) -> None:
        while (message := frames.take()) is not None:
            if not self._enabled:
                continue
            try:
                localized = self._localize(message)
                tracked = self._judge(localized.fix)
                self._publish(localized, tracked)
            except _SilentError as silence:
                self._silent(silence.reason, str(silence))
            except Exception as error:  # the node outlives whatever one frame does to it
                self._silent(RejectReason.BACKEND, f"{type(error).__name__}: {error}")

    def _localize(self, message: Image | CompressedImage) -> _Localized:
        """Where the network sees the camera on the map."""
        model = self._model
        if model is None:
            raise _SilentError(RejectReason.BACKEND, "no model is loaded")
        begin = time.perf_counter()
        stamp = stamp_ns(message.header.stamp)
        self._check_order(stamp)
        with _blamed_on(RejectReason.IMAGE, ImageError):
            rgb = rgb_from_compressed(message) if isinstance(message, CompressedImage) else rgb_from_image(message)
        decoded = time.perf_counter()
        prior = self._prior_at(stamp)
        self._last_image_ns = stamp
        predicted = time.perf_counter()
        self._check_inside_map(model, prior)
        with _blamed_on(RejectReason.MAP, GeometryError), _blamed_on(RejectReason.TILES, TileError):
            patch = model.patches.patch_for(prior)
        cut = time.perf_counter()
        with _blamed_on(RejectReason.BACKEND, Exception), _blamed_on(RejectReason.IMAGE, ImageError):
            fix = model.localizer.localize(rgb, patch, stamp)
        stages = {
            "decode": 1e3 * (decoded - begin),
            "prior": 1e3 * (predicted - decoded),
            "patch": 1e3 * (cut - predicted),
            "satellite": fix.timings.satellite_ms,
            "ground": fix.timings.ground_ms,
            "refine": fix.timings.refine_ms,
            "covariance": fix.timings.covariance_ms,
        }
        return _Localized(fix, patch, stages)

    def _check_order(self, stamp: int) -> None:
        if stamp == 0:
            raise _SilentError(RejectReason.ORDER, "the image has no stamp: the camera driver must set it")
        if self._last_image_ns is not None and stamp <= self._last_image_ns:
            behind_s = (self._last_image_ns - stamp) / 1e9
            raise _SilentError(
                RejectReason.ORDER, f"the image's stamp is {behind_s:.3f} s behind the last one: not newer, dropped"
            )

    def _prior_at(self, stamp: int) -> Prior:
        """The camera's pose in the map at the image's stamp, as odometry and earlier fixes tell it."""
        settings = self._settings
        # Odometry newer than the image is on its way in most cases; extrapolating is the second best.
        self._odometry.wait_for(stamp, settings.number("prior.wait_for_odometry_s"))
        with _blamed_on(RejectReason.PRIOR, OdometryError):
            tracked = self._tracker.advance(stamp)
        if tracked.position_std_m > settings.number("prior.max_std_m"):
            raise _SilentError(
                RejectReason.UNCERTAIN,
                f"the position is known to {tracked.position_std_m:.1f} m only (prior.max_std_m "
                f"{settings.number('prior.max_std_m'):g}): give an initialpose",
            )
        if tracked.yaw_std_rad > settings.radians("prior.max_yaw_std_deg"):
            raise _SilentError(
                RejectReason.UNCERTAIN,
                f"the heading is known to {math.degrees(tracked.yaw_std_rad):.1f}° only (prior.max_yaw_std_deg "
                f"{settings.number('prior.max_yaw_std_deg'):g}): give a better initialpose, or an imu with "
                "absolute yaw",
            )
        lever = _rotated(self._lever_arm(), tracked.yaw_rad)
        return Prior(
            tracked.east_m + float(lever[0]),
            tracked.north_m + float(lever[1]),
            tracked.covariance[:2, :2],
            tracked.yaw_rad + settings.radians("camera.yaw_deg"),
            stamp,
        )

    def _check_inside_map(self, model: _Model, prior: Prior) -> None:
        with _blamed_on(RejectReason.MAP, GeometryError):
            lat, lon = model.satellite_map.datum.to_latlon(prior.east_m, prior.north_m)
        if not model.source.bounds.contains(lat, lon):
            raise _SilentError(
                RejectReason.MAP,
                f"the prior ({lat:.6f}, {lon:.6f}) is outside the map '{model.source.name}': check datum and start",
            )

    def _judge(self, fix: Fix) -> TrackedPose:
        """The track after a trustworthy fix; with any other the frame ends here, and only the track is published."""
        measurement = FixMeasurement(
            fix.stamp_ns,
            fix.position,
            fix.covariance,
            np.array([fix.frame.centre_east_m, fix.frame.centre_north_m]),
            fix.search_radius_m,
            self._lever_arm(),
        )
        with _blamed_on(RejectReason.PRIOR, OdometryError):
            if not fix.assessment.trustworthy:
                self._publish_track(self._tracker.predict(fix.stamp_ns))
                raise _SilentError(RejectReason.UNTRUSTED, fix.assessment.reason)
            decision = self._tracker.update(measurement)
            if decision.verdict is Verdict.STALE:
                raise _SilentError(
                    RejectReason.STALE, "the fix came too late: the track had moved on; the model is too slow"
                )
            tracked = self._tracker.predict(fix.stamp_ns)
        self._publish_track(tracked)
        if decision.verdict is Verdict.UNINFORMATIVE:
            raise _SilentError(RejectReason.UNINFORMATIVE, "the image says nothing about the position")
        if decision.verdict is Verdict.OUTLIER:
            raise _SilentError(
                RejectReason.OUTLIER,
                f"the fix contradicts the track (squared distance {decision.squared_distance:.1f}, "
                f"limit {decision.limit:.1f}, {decision.rejected_in_a_row} in a row)",
            )
        if decision.verdict is Verdict.RELOCALIZED:
            self.get_logger().warning(
                "the track was moved: several fixes in a row contradicted it and agreed with each other"
            )
        return tracked

    def _publish_track(self, tracked: TrackedPose) -> None:
        settings = self._settings
        self._track_output.publish(
            odometry_message(tracked, settings.text("frames.map"), settings.text("frames.base_link"))
        )

    def _publish(self, localized: _Localized, tracked: TrackedPose) -> None:
        """The fix as base_link's pose, position on Earth and hypotheses, at the image's stamp."""
        fix, settings = localized.fix, self._settings
        stamp = time_from_ns(fix.stamp_ns)
        map_frame, base_frame = settings.text("frames.map"), settings.text("frames.base_link")
        lever = _rotated(self._lever_arm(), tracked.yaw_rad)
        position = fix.position - lever
        covariance = _base_covariance(fix.covariance, lever, float(tracked.covariance[2, 2]))
        self._pose_output.publish(pose_with_covariance(stamp, map_frame, position, tracked.yaw_rad, covariance))
        if self._datum is not None:
            lat, lon = self._datum.to_latlon(float(position[0]), float(position[1]))
            self._fix_output.publish(navsat_message(stamp, base_frame, lat, lon, covariance[:2, :2]))
        self._hypotheses_output.publish(hypotheses_message(stamp, map_frame, fix.hypotheses - lever, tracked.yaw_rad))
        latency_ms = (self.get_clock().now().nanoseconds - fix.stamp_ns) * 1e-6
        self._health.published(time.monotonic_ns(), latency_ms, localized.stages_ms)
        if self._debug_output.get_subscription_count() > 0:
            picture = draw_fix(localized.patch, fix)
            quality = settings.count("debug_image.jpeg_quality")
            self._debug_output.publish(compressed_from_rgb(picture, stamp, map_frame, quality))

    def _lever_arm(self) -> tuple[float, float]:
        return self._settings.number("camera.lever_arm.x_m"), self._settings.number("camera.lever_arm.y_m")

    # ---- what is said about it ---------------------------------------------------------------------------------------

    def _silent(self, reason: RejectReason, detail: str) -> None:
        self._health.rejected(time.monotonic_ns(), reason, detail)
        self.get_logger().warning(f"{reason.value}: {detail}", throttle_duration_sec=5.0)

    def _send_transform(self) -> None:
        newest = self._odometry.newest
        if newest is None or not self._active:
            return
        try:
            transform = self._tracker.map_to_odom(newest.stamp_ns)
        except OdometryError:
            return  # no track: the diagnostics say so
        self._transforms.send(
            transform_message(transform, self._settings.text("frames.map"), self._settings.text("frames.odom"))
        )

    def _carry_track(self, newest_ns: int) -> None:
        stands_ns = self._tracker.stamp_ns
        if stands_ns is not None and newest_ns - stands_ns > 2 * _TRACK_LAG_NS:
            self._tracker.advance(newest_ns - _TRACK_LAG_NS)

    def _state_label(self) -> str:
        if self._model is None:
            return "unconfigured"
        if not self._active:
            return "inactive"
        return "active" if self._enabled else "disabled"

    def _report(self) -> None:
        settings, newest = self._settings, self._odometry.newest
        position_std_m = None
        if newest is not None:
            try:
                position_std_m = self._tracker.predict(newest.stamp_ns).position_std_m
                self._carry_track(newest.stamp_ns)
            except OdometryError:
                pass  # no track yet: position_std_m says so
        counts = self._tracker.counts
        model = self._model
        status = self._health.status(
            time.monotonic_ns(),
            name=f"{self.get_fully_qualified_name().lstrip('/')}: localization",
            hardware_id=model.description if model is not None else "",
            state=self._state_label(),
            state_problem=self._problem,
            position_std_m=position_std_m,
            limits=Limits(
                settings.number("diagnostics.latency_warn_ms"),
                settings.number("diagnostics.latency_error_ms"),
                settings.number("diagnostics.silence_warn_s"),
                settings.number("diagnostics.silence_error_s"),
                settings.number("diagnostics.position_std_warn_m"),
                settings.number("diagnostics.position_std_error_m"),
            ),
            extra={
                "fixes_fused": str(counts.fused),
                "relocalizations": str(counts.relocalizations),
                "headings_fused": str(counts.headings_fused),
                "headings_rejected": str(counts.headings_rejected),
                "track_starts": str(counts.starts),
                "odometry_age_s": "never"
                if newest is None
                else f"{self.get_clock().now().nanoseconds * 1e-9 - newest.stamp_ns * 1e-9:.2f}",
                **_backend_facts(model),
                "cached_tiles": str(model.satellite_map.cached_tiles) if model is not None else "0",
                "tf_sender": self._transforms.name,
            },
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


@contextmanager
def _blamed_on(reason: RejectReason, error_type: type[Exception]) -> Iterator[None]:
    """Turns an error of one kind into the end of this frame, for that reason."""
    try:
        yield
    except _SilentError:
        raise
    except error_type as error:
        detail = str(error) if isinstance(error, GeoFlowError) else f"{type(error).__name__}: {error}"
        raise _SilentError(reason, detail) from error


def _rotated(forward_left_m: tuple[float, float], yaw_rad: float) -> np.ndarray:
    """(2,) east and north of a vector in the vehicle's axes."""
    cosine, sine = math.cos(yaw_rad), math.sin(yaw_rad)
    forward, left = forward_left_m
    return np.array([cosine * forward - sine * left, sine * forward + cosine * left])


def _base_covariance(camera_covariance: np.ndarray, lever_m: np.ndarray, yaw_variance: float) -> np.ndarray:
    """(3, 3) of base_link's (east, north, yaw): the camera's, and what an uncertain yaw does to the lever arm."""
    turn = np.array([lever_m[1], -lever_m[0]])  # d(camera - lever) / d(yaw)
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = camera_covariance + yaw_variance * np.outer(turn, turn)
    covariance[:2, 2] = covariance[2, :2] = yaw_variance * turn
    covariance[2, 2] = yaw_variance
    return covariance


def _irs_settings(settings: parameters.Settings, localizer: GeoFlowLocalizer) -> IrsSettings:
    """From parameters, of which 0 is the bundle's default.

    Raises:
        InputError: more hypotheses than the back end takes.
    """
    default, most = localizer.manifest.irs, localizer.backend.max_hypotheses
    hypotheses = settings.count("irs.hypotheses") or default.hypotheses
    if most is not None and hypotheses > most:
        raise InputError(
            f"irs.hypotheses must be at most {most} with {localizer.backend.name}, got {hypotheses}: take fewer, or "
            "another model.backend"
        )
    return IrsSettings(
        hypotheses,
        settings.count("irs.iterations") or default.iterations,
        settings.number("irs.step") or default.step,
    )


def _datum(settings: parameters.Settings, source: TileSource) -> Datum:
    lat, lon = settings.number("datum.latitude_deg"), settings.number("datum.longitude_deg")
    if math.isnan(lat) != math.isnan(lon):
        raise InputError("give both datum.latitude_deg and datum.longitude_deg, or neither")
    if math.isnan(lat):
        if source.bounds.contains(0.0, 179.9) and source.bounds.contains(0.0, -179.9):
            raise InputError(
                f"the tiles '{source.name}' cover the whole world: set datum.latitude_deg and datum.longitude_deg"
            )
        lat, lon = source.bounds.centre
    return Datum(lat, lon)


def _backend_facts(model: _Model | None) -> dict[str, str]:
    """What runs the model and how its patches came about, for the diagnostics."""
    if model is None:
        return {}
    backend, patches = model.localizer.backend, model.patches.counts
    return {
        "backend": backend.name,
        "precision": backend.precision,
        "patches_prepared": str(patches.prepared),
        "patches_awaited": str(patches.awaited),
        "patch_frames_late_most": str(patches.most_frames_late),
        "patch_preparations_failed": str(patches.failed),
    }


def _warm_up(localizer: GeoFlowLocalizer) -> None:
    """Two answers to nothing: the first real frame must not pay for what the back end does once.

    The second because a back end on a GPU may make its CUDA graph of a frame that has run before.
    """
    manifest = localizer.manifest
    frame = manifest.patch_frame(0.0, 0.0, 0.0)
    patch = SatellitePatch(np.zeros((frame.size_px, frame.size_px, 3), np.uint8), frame)
    height = max(8, manifest.ground.height_px)
    image = np.zeros((height, round(height * manifest.camera.aspect_ratio), 3), np.uint8)
    for _ in range(2):
        localizer.localize(image, patch)
