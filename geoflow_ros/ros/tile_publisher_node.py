"""The node `tile_publisher`: follows the vehicle roughly, reads the tiles around it, and publishes each once."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, NavSatFix, NavSatStatus

from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import GeoFlowError, InputError, OdometryError, TileCorruptError, TileSourceUnavailableError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.localization.messages import odometry_from_message, start_from_initialpose
from geoflow_ros.localization.place import RoughPlace
from geoflow_ros.resources import model_path
from geoflow_ros.ros import parameters
from geoflow_ros.ros.log import forward_logs
from geoflow_ros.ros.map_topic import TOPIC
from geoflow_ros.ros.parameter_table import PUBLISHER_SPECS
from geoflow_ros.ros.qos import RELIABLE, SENSOR, TILES
from geoflow_ros.tiles import TilesAround, open_tile_source
from geoflow_ros.tiles.around import tile_to_send, zoom_of_patches
from geoflow_ros.tiles.cache import TileKey
from geoflow_ros.tiles.raster import TileFormat, tile_format

_LOOK_S = 0.2  # after so long without a tile to send, it looks where the vehicle is
_AFTER_FAILURE_S = 2.0  # what failed is tried again after so long
_WARNING_PERIOD_S = 5.0
_JPEG = "jpeg"  # what sensor_msgs/CompressedImage calls it


class TilePublisherNode(Node):
    """Publishes tiles around the vehicle. Parameters: config/tile_publisher.yaml.

    Messages come in the executor's thread; tiles are read and sent in one of the node's own.

    Raises:
        InputError: a parameter that cannot be used.
        TileSourceUnavailableError: the source cannot be opened.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("tile_publisher", **node_arguments)
        settings = parameters.declare(self, PUBLISHER_SPECS)
        self._log_handler = forward_logs(self.get_logger())
        if not settings.text("tiles.source"):
            raise InputError("parameter tiles.source is empty: give FILE.mbtiles or http(s)://HOST/{z}/{x}/{y}.png")
        self._settings = settings
        self._patch: PatchFrame = Bundle.load(model_path(settings.text("model.path"))).manifest.patch_frame(0, 0, 0)
        self._source = open_tile_source(settings.text("tiles.source"), cache=settings.tile_cache())
        self._place, self._lock = RoughPlace(_datum(settings)), threading.Lock()
        self._around: TilesAround | None = None
        self._later_s: dict[TileKey, float] = {}  # when (steady clock) a tile that failed is tried again
        self._output = self.create_publisher(CompressedImage, TOPIC, TILES)
        for topic in ("fix", "geoflow_localizer/fix"):
            self.create_subscription(NavSatFix, topic, self._on_fix, SENSOR)
        self.create_subscription(Odometry, "odom", self._on_odometry, SENSOR)
        self.create_subscription(PoseWithCovarianceStamped, "initialpose", self._on_initialpose, RELIABLE)
        self._ended = threading.Event()
        self._worker = threading.Thread(target=self._work, name="tiles", daemon=True)
        self._worker.start()
        self.get_logger().info(f"publishes tiles of {self._source.name} on {TOPIC}, once it knows where the vehicle is")

    def destroy_node(self) -> None:
        """End the thread, then the rest; waits for the tile that is being read."""
        self._ended.set()
        self._worker.join()
        self._source.close()
        logging.getLogger("geoflow_ros").removeHandler(self._log_handler)
        super().destroy_node()

    # ---- inputs (executor's thread) ----------------------------------------------------------------------------------

    def _on_fix(self, message: NavSatFix) -> None:
        is_fix = message.status.status >= NavSatStatus.STATUS_FIX
        if is_fix and abs(message.latitude) <= 90.0 and abs(message.longitude) <= 180.0:  # NaN is neither
            with self._lock:
                self._place.add_fix(message.latitude, message.longitude)

    def _on_odometry(self, message: Odometry) -> None:
        try:
            pose = odometry_from_message(message)
        except OdometryError as error:
            self._warn(str(error))
            return
        if math.isfinite(pose.x_m) and math.isfinite(pose.y_m):
            with self._lock:
                self._place.add_odometry(pose)

    def _on_initialpose(self, message: PoseWithCovarianceStamped) -> None:
        try:
            start = start_from_initialpose(message, self._settings.text("frames.map"), 0.0, 0.0)
        except OdometryError as error:
            self._warn(str(error))
            return
        with self._lock:
            is_taken = self._place.add_start(start)
        if not is_taken:
            self._warn("initialpose needs datum.latitude_deg and datum.longitude_deg; a fix does not")

    # ---- tiles (own thread) ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        pause_s = 0.0
        while not self._ended.wait(pause_s):
            try:
                sent = self._send_next()
                pause_s = 1.0 / self._settings.number("tiles.rate_hz") if sent else _LOOK_S
            except GeoFlowError as error:
                self._warn(str(error))
                pause_s = _AFTER_FAILURE_S
            except Exception as error:  # the node outlives whatever one tile does to it
                self._warn(f"{type(error).__name__}: {error}")
                pause_s = _AFTER_FAILURE_S

    def _send_next(self) -> bool:
        """Sends the next tile, if there is one to send."""
        with self._lock:
            place = self._place.latlon()
        if place is None:
            return False
        zoom = self._settings.count("tiles.zoom")
        if self._around is None:
            found = zoom_of_patches(self._source, self._patch, *place, None if zoom < 0 else zoom)
            self._around = TilesAround(found, self._settings.number("tiles.radius_m"))
            self.get_logger().info(f"zoom {found} within {self._around.radius_m:g} m of {place[0]:.5f}, {place[1]:.5f}")
        for key in self._around.due(*place):
            if time.monotonic() < self._later_s.get(key, 0.0):
                continue
            try:
                self._send(key, tile_to_send(self._source, key))
            except (TileCorruptError, TileSourceUnavailableError) as error:  # others may be to be had
                self._later_s[key] = time.monotonic() + _AFTER_FAILURE_S
                self._warn(str(error))
                continue
            self._later_s.pop(key, None)
            self._around.sent(key)
            return True
        return False

    def _send(self, key: TileKey, data: bytes) -> None:
        message = CompressedImage(data=data)
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = "/".join(map(str, key))
        if data:
            kind = tile_format(data, f"tile {message.header.frame_id}")
            message.format = _JPEG if kind is TileFormat.JPEG else kind.value
        self._output.publish(message)

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=_WARNING_PERIOD_S)


def _datum(settings: parameters.Settings) -> Datum | None:
    """The datum that the parameters give.

    Raises:
        InputError: one half of it.
    """
    lat, lon = settings.number("datum.latitude_deg"), settings.number("datum.longitude_deg")
    if math.isnan(lat) != math.isnan(lon):
        raise InputError("give both datum.latitude_deg and datum.longitude_deg, or neither")
    return None if math.isnan(lat) else Datum(lat, lon)
