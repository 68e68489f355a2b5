"""A real ROS graph for tests: the node, a vehicle that says what the test wants, and what the node answered."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fakes.bundle import GREY, GROUND_SHAPE, SATELLITE_PX, scenery, write_bundle
from fakes.map import DATUM, ZOOM, damage_map, write_map
from fakes.ros_domain import domain_id

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.geo import Datum
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND as NS
from geoflow_ros.stamps import stamp_ns
from geoflow_ros.tracking import OdometryBuffer, Tracker

__all__ = [
    "DATUM",
    "GREY",
    "GROUND_SHAPE",
    "NS",
    "SATELLITE_PX",
    "ZOOM",
    "Graph",
    "damage_map",
    "domain_id",
    "write_bundle",
    "write_map",
]

_NODE = "/geoflow_localizer"
_ODOMETRY_RATE_HZ = 50


class Graph:
    """One node under test, a vehicle's topics, and what the node answered.

    The vehicle's clock is the test's own: `drive` moves it on, and nothing waits for the wall's.

    Args:
        bundle: what the node takes as `model.path`.
        tiles: what it takes as `tiles.source`.
        overrides: further parameters.
        start: whether to configure and activate the node, and wait until it listens.

    Attributes:
        localizer: the node under test.
        node: the vehicle's.
        t_ns: the vehicle's clock.
        received: messages of the node, by the last part of the topic's name, oldest first.
    """

    def __init__(self, bundle: Path, tiles: str, overrides: dict[str, Any] | None = None, start: bool = True) -> None:
        self._pictures = 0
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from rclpy.parameter import Parameter

        from geoflow_ros.ros.localizer_node import LocalizerNode

        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id())
        values = {
            "model.path": str(bundle),
            "model.backend": "onnxruntime",
            "model.threads": 1,
            "tiles.source": tiles,
            "datum.latitude_deg": DATUM.lat_deg,
            "datum.longitude_deg": DATUM.lon_deg,
            "autostart": False,
            "output.spacing_m": 0.0,  # a pose for every fix
            **(overrides or {}),
        }
        self.localizer = LocalizerNode(
            context=self.context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.node = Node("test_vehicle", context=self.context)
        self.t_ns = time.time_ns()
        self.east_m, self.north_m, self.yaw_rad = 0.0, 0.0, 0.0
        self.odometry_xy = [0.0, 0.0]
        self.received: dict[str, list[Any]] = {}
        self._lock = threading.Condition()
        self._wire()
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.localizer)
        self._executor.add_node(self.node)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        if start:
            self.localizer.start()
            self.wait(self.connected, "the node to listen")

    def _wire(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
        from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
        from nav_msgs.msg import Odometry
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from sensor_msgs.msg import CompressedImage, Image, Imu, NavSatFix

        for topic, kind in (
            (f"{_NODE}/pose", PoseWithCovarianceStamped),
            (f"{_NODE}/fix", NavSatFix),
            (f"{_NODE}/track", Odometry),
            (f"{_NODE}/hypotheses", PoseArray),
            ("/diagnostics", DiagnosticArray),
        ):
            name = topic.rsplit("/", 1)[1]
            self.received[name] = []
            self.node.create_subscription(kind, topic, partial(self._receive, name), 50)
        self.received["status"] = []
        kept = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(DiagnosticStatus, f"{_NODE}/status", partial(self._receive, "status"), kept)
        self.publishers = {
            "image": self.node.create_publisher(Image, "image", 5),
            "compressed": self.node.create_publisher(CompressedImage, "image/compressed", 5),
            "odom": self.node.create_publisher(Odometry, "odom", 100),
            "imu": self.node.create_publisher(Imu, "imu", 100),
            "gnss": self.node.create_publisher(NavSatFix, "fix", 5),
            "initialpose": self.node.create_publisher(PoseWithCovarianceStamped, "initialpose", 5),
        }

    def _receive(self, name: str, message: Any) -> None:
        with self._lock:
            self.received[name].append(message)
            self._lock.notify_all()

    def connected(self) -> bool:
        """Whether the node listens to camera and odometry, and is listened to."""
        image = self.publishers["image" if self.parameter("image_transport") == "raw" else "compressed"]
        listened = all(self.publishers[name].get_subscription_count() for name in ("odom", "initialpose"))
        heard = self.node.count_publishers(f"{_NODE}/pose") and self.node.count_publishers("/diagnostics")
        return bool(listened and heard and image.get_subscription_count())

    def _spin(self) -> None:
        while not self._closed.is_set():
            self._executor.spin_once(timeout_sec=0.5)

    def close(self) -> None:
        """Ends node and vehicle."""
        # In this order: an executor that is shut down while another thread spins it may fail in that thread.
        self._closed.set()
        self._executor.wake()
        self._thread.join()
        self._executor.shutdown()
        self.localizer.destroy_node()
        self.node.destroy_node()
        self.context.try_shutdown()

    # ---- the node's inside: the only place where tests look behind its topics ----------------------------------------

    def parameter(self, name: str) -> Any:
        return self.localizer.get_parameter(name).value

    @property
    def tracker(self) -> Tracker:
        return self._vehicle._tracker

    @property
    def odometry_buffer(self) -> OdometryBuffer:
        return self._vehicle._odometry

    @property
    def _vehicle(self) -> Any:
        return self.localizer._vehicle

    @property
    def loaded(self) -> bool:
        """Whether a model is loaded."""
        return self._vehicle is not None

    @property
    def method(self) -> Any:
        """The localizer of the model that is loaded."""
        return self._vehicle.localizer

    @property
    def patch(self) -> Any:
        """The satellite patch that is kept."""
        return self._vehicle.cameras.first.patches._kept

    @property
    def datum(self) -> Datum:
        datum = self._vehicle.satellite_map.datum
        assert datum is not None, self.problem
        return datum

    @property
    def mounting(self) -> Any:
        """Where the node has the camera."""
        return self._vehicle.settings.mounting

    def say_mounting(self, *transforms: Any) -> None:
        """Hands the node static transforms, as if they came on `/tf_static`."""
        self.localizer._frames_of_sensors.take(list(transforms))

    @property
    def waiting_gnss_ns(self) -> int | None:
        """Stamp of the satellite fix that waits for a heading to start with."""
        gnss = self._vehicle.starts.waiting_gnss
        return None if gnss is None else int(gnss.stamp_ns)

    @property
    def problem(self) -> str:
        """Why the node could not be configured."""
        return str(self.localizer._problem)

    def count(self, key: str) -> int:
        """How often something happened, by its key in the diagnostics."""
        return int(self.localizer._health.count(key))

    def rejections(self) -> dict[str, int]:
        """How often each reason of rejection was counted."""
        from geoflow_ros.localization import RejectReason

        return {reason.value: self.count(reason.value) for reason in RejectReason}

    def count_rejections(self) -> int:
        """How often anything was rejected."""
        return sum(self.rejections().values())

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
        """Waits until a condition holds and returns its value."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while not (result := condition()):
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"waited {timeout_s:g} s in vain for {what}; diagnostics: {self.last_values()}"
                    )
                self._lock.wait(0.02)
        return result

    def last_values(self) -> dict[str, str]:
        """Key and value of the newest diagnostics."""
        if not self.received["diagnostics"]:
            return {}
        return {item.key: item.value for item in self.received["diagnostics"][-1].status[0].values}

    # ---- the vehicle -------------------------------------------------------------------------------------------------

    def stamp(self, t_ns: int | None = None) -> Any:
        from geoflow_ros.ros.messages import time_from_ns

        return time_from_ns(self.t_ns if t_ns is None else t_ns)

    def odometry(self, **changes: Any) -> Any:
        """The vehicle's odometry now; yaw and position as the odometry frame has them."""
        from nav_msgs.msg import Odometry

        message = Odometry()
        message.header.stamp = self.stamp()
        message.header.frame_id = "odom"
        message.pose.pose.position.x, message.pose.pose.position.y = self.odometry_xy
        message.pose.pose.orientation.w = 1.0
        message.twist.twist.linear.x = 1.0
        for name, value in changes.items():
            target = message.pose.pose.position if name in "xyz" else message.pose.pose.orientation
            setattr(target, name.removeprefix("q"), value)
        return message

    def drive(self, seconds: float = 0.5, speed_mps: float = 1.0) -> None:
        """Drives to the odometry's +x, which is the map's direction `yaw_rad`, and waits until the node knows."""
        for _ in range(round(seconds * _ODOMETRY_RATE_HZ)):
            self.t_ns += NS // _ODOMETRY_RATE_HZ
            step = speed_mps / _ODOMETRY_RATE_HZ
            self.odometry_xy[0] += step
            self.east_m += step * math.cos(self.yaw_rad)
            self.north_m += step * math.sin(self.yaw_rad)
            self.publishers["odom"].publish(self.odometry())
        buffer = self.odometry_buffer
        self.wait(lambda: buffer.newest is not None and buffer.newest.stamp_ns >= self.t_ns, "odometry to arrive")

    def start_at(self, east_m: float, north_m: float, yaw_rad: float = 0.0, std_m: float = 3.0, **changes: Any) -> None:
        """Puts the vehicle somewhere on the map and says so; with fields changed, only says so."""
        from geometry_msgs.msg import PoseWithCovarianceStamped

        from geoflow_ros.ros.messages import quaternion_message

        self.east_m, self.north_m, self.yaw_rad = east_m, north_m, yaw_rad
        message = PoseWithCovarianceStamped()
        message.header.stamp = changes.get("stamp", self.stamp())
        message.header.frame_id = changes.get("frame_id", "map")
        message.pose.pose.position.x, message.pose.pose.position.y = float(east_m), float(north_m)
        message.pose.pose.orientation = changes.get("orientation", quaternion_message(yaw_rad))
        message.pose.covariance[0] = message.pose.covariance[7] = std_m**2
        message.pose.covariance[35] = math.radians(2) ** 2
        before = self.tracker.counts.starts
        self.publishers["initialpose"].publish(message)
        if not changes:
            self.wait(lambda: self.tracker.counts.starts > before, "initialpose to arrive")

    def picture(
        self, height: int = GROUND_SHAPE[0], width: int = GROUND_SHAPE[1], red: int = GREY, blue: int = 0
    ) -> UInt8Array:
        """(height, width, 3) whose colour decides on the model's answer (see `fakes.bundle`); another one each time."""
        self._pictures += 1
        return scenery(height, width, red, blue, self._pictures)

    def image(self, **changes: Any) -> Any:
        """A good raw image at the vehicle's time, with fields changed."""
        from geoflow_ros.ros.images import image_from_rgb

        message = image_from_rgb(changes.pop("rgb", self.picture()), self.stamp(), "camera")
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    def show(self, message: Any = None) -> None:
        """Publishes an image (a good one where None is given)."""
        message = message if message is not None else self.image()
        self.publishers["compressed" if hasattr(message, "format") else "image"].publish(message)

    def stamps(self, name: str = "pose") -> list[int]:
        """The stamps (ns) of the messages received."""
        return [stamp_ns(message.header.stamp) for message in self.received[name]]

    def localized(self, name: str = "pose") -> Any:
        """The message about the image just shown."""
        self.wait(lambda: self.t_ns in self.stamps(name), f"{name} at {self.t_ns / NS:.2f} s")
        return self.received[name][self.stamps(name).index(self.t_ns)]

    def diagnosed(self, text: str, key: str = "") -> Any:
        """The next status whose message holds a text, and which has a value of a key where one is asked for."""

        def fits(status: Any) -> bool:
            return text in status.message and (not key or any(item.key == key for item in status.values))

        def find() -> Any:
            recent = self.received["diagnostics"][-3:]
            return next((s for array in reversed(recent) for s in array.status if fits(s)), None)

        return self.wait(find, f"a diagnostic with '{text}' {key}")

    def says_state(self, state: str) -> Any:
        """The next status of a state."""

        def find() -> Any:
            newest = self.received["status"][-1:]
            return next((status for status in newest if status.message.split(":")[0] == state), None)

        return self.wait(find, f"the state {state}")

    def localized_at(self, name: str, stamp: int) -> Any:
        """The message of a stamp (ns) on one of the node's topics."""
        return self.wait(
            lambda: next((message for message in self.received[name] if stamp_ns(message.header.stamp) == stamp), None),
            f"a message at {stamp} ns on {name}",
        )
