"""A real ROS graph for tests: a small model, a small map, the node, and a vehicle that says what the test wants."""

from __future__ import annotations

import itertools
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoflow_ros.geo import Datum, GeoBounds, tile_at

# Before rclpy starts a context: no other machine sees these tests, and they see none.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.pop("ROS_LOCALHOST_ONLY", None)

DATUM = Datum(49.01, 8.40)
ZOOM = 17
SATELLITE_PX, GROUND_SHAPE = 128, (64, 256)
NS = 1_000_000_000


_graphs = itertools.count()


def domain_id() -> int:
    """A domain of each graph's own, within the range that needs no change of the system's ports."""
    return 1 + (os.getpid() * 7 + next(_graphs)) % 100


GREY = 128
"""Red of a picture that the test's model takes for "at the centre of the patch"; brighter is further ahead."""


def write_bundle(folder: Path) -> Path:
    """A bundle whose answers a test can choose by the colour of the picture.

    Three small ONNX graphs with the interface of any other model: the mean of red says how far ahead of the patch's
    centre the camera is (128: 0, 255: one and a half search radii), the mean of blue how uncertain that is (0: hardly,
    255: nothing is known).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from geoflow_ros.bundle.bundle import Bundle, sha256_of
    from geoflow_ros.bundle.calibration import Calibration
    from geoflow_ros.bundle.irs_settings import IrsSettings
    from geoflow_ros.bundle.manifest import (
        GRAPHS,
        CameraModel,
        GroundInput,
        Manifest,
        SatelliteInput,
        expected_tensors,
    )

    size, (height, width), features = SATELLITE_PX, GROUND_SHAPE, 128
    tensors = expected_tensors(size, height, width, features, False)
    types = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}

    def constant(name: str, value: Any, dtype: Any = np.float32) -> Any:
        return numpy_helper.from_array(np.asarray(value, dtype), name)

    node = helper.make_node
    tokens = (size // 32) ** 2
    nodes = {
        "satellite_encoder": [
            node("Cast", ["satellite"], ["real"], to=TensorProto.FLOAT),
            node("ReduceMean", ["real"], ["mean"], axes=[2, 3], keepdims=1),  # (B, P, 1, 1)
            node("ReduceMean", ["mean"], ["one"], axes=[1], keepdims=0),  # (B, 1, 1)
            node("Mul", ["one", "blank"], ["satellite_tokens"]),
        ],
        "ground_encoder": [
            node("Cast", ["ground"], ["real"], to=TensorProto.FLOAT),
            node("ReduceMean", ["real"], ["colour"], axes=[1, 2], keepdims=0),  # (B, 3): red, green, blue
            node("MatMul", ["colour", "mixing"], ["mixed"]),  # (B, d)
            node("Add", ["mixed", "offset"], ["seen"]),
            node("ReduceMean", ["satellite_tokens"], ["ignored"], axes=[1], keepdims=0),  # (B, d), zeros
            node("Add", ["seen", "ignored"], ["f_vis"]),
        ],
        "head": [
            node("MatMul", ["f_vis", "to_target"], ["target"]),  # (B, 2)
            node("Unsqueeze", ["target", "axis_1"], ["target_1"]),
            node("Sub", ["target_1", "hypotheses"], ["left"]),  # (B, N, 2)
            node("Mul", ["left", "left"], ["squares"]),
            node("ReduceSum", ["squares", "last_axis"], ["square"], keepdims=1),  # (B, N, 1)
            node("Add", ["square", "tiny"], ["square_1"]),
            node("Sqrt", ["square_1"], ["r"]),
            node("Div", ["left", "r"], ["direction"]),
            node("Log", ["r"], ["log_r"]),
            node("Squeeze", ["log_r", "last_axis"], ["mu_log_r"]),
            node("Mul", ["left", "step"], ["moved"]),
            node("Add", ["hypotheses", "moved"], ["refined"]),
            node("MatMul", ["f_vis", "to_doubt"], ["doubt"]),  # (B, 1)
            node("Mul", ["mu_log_r", "none"], ["zeros"]),  # (B, N)
            node("Add", ["zeros", "doubt"], ["doubts"]),
            node("Add", ["doubts", "least_variance"], ["var_log_r"]),
            node("Mul", ["doubts", "much"], ["doubts_1"]),
            node("Add", ["doubts_1", "one_"], ["blur"]),
            node("Div", ["most_kappa", "blur"], ["kappa"]),
        ],
    }
    mixing, offset = np.zeros((3, features)), np.zeros(features)
    mixing[0, 0], offset[0] = 1.5 / 127.0, -1.5 * GREY / 127.0
    mixing[2, 1] = 3.0 / 255.0
    to_target, to_doubt = np.zeros((features, 2)), np.zeros((features, 1))
    to_target[0, 0] = to_doubt[1, 0] = 1.0
    constants = {
        "satellite_encoder": [constant("blank", np.zeros((1, tokens, features)))],
        "ground_encoder": [constant("mixing", mixing), constant("offset", offset)],
        "head": [
            constant("to_target", to_target), constant("to_doubt", to_doubt), constant("axis_1", [1], np.int64),
            constant("last_axis", [2], np.int64), constant("tiny", 1e-10), constant("none", 0.0),
            constant("least_variance", 0.01), constant("much", 20.0), constant("one_", 1.0),
            constant("most_kappa", 20.0),
        ],
    }  # fmt: skip
    folder = folder / "colours"
    folder.mkdir()
    for name in GRAPHS:
        described = [
            [helper.make_tensor_value_info(t.name, types[t.dtype], list(t.shape)) for t in side]
            for side in (tensors[name].inputs, tensors[name].outputs)
        ]
        graph = helper.make_graph(nodes[name], name, *described, constants[name])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / f"{name}.onnx")
    manifest = Manifest(
        name="colours",
        satellite=SatelliteInput(size, 0.1958 * 512 / size),
        ground=GroundInput(height, width),
        camera=CameraModel("perspective", 90.0, width / height),
        search_radius_m=20.0,
        alignment="forward-x",
        direction_family="angmf",
        irs=IrsSettings(),
        calibration=Calibration(1.0, 1.0, 0.1, 0.1, 0, "none"),
        training={},
        figures={},
        tensors=tensors,
        files={f"{name}.onnx": sha256_of(folder / f"{name}.onnx") for name in GRAPHS},
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    return Bundle.load(folder).path


def write_map(path: Path, datum: Datum = DATUM, half_side_m: float = 300.0, zoom: int = ZOOM) -> Path:
    """Tiles of noise around a datum."""
    from geoflow_ros.tiles import MBTilesWriter

    south, west = datum.to_latlon(-half_side_m, -half_side_m)
    north, east = datum.to_latlon(half_side_m, half_side_m)
    first, last = tile_at(north, west, zoom), tile_at(south, east, zoom)
    generator = np.random.default_rng(0)
    with MBTilesWriter(path, "noise", "png", GeoBounds(west, south, east, north)) as writer:
        for x in range(first[0], last[0] + 1):
            for y in range(first[1], last[1] + 1):
                pixels = cv2.resize(generator.integers(0, 255, (32, 32, 3), np.uint8), (256, 256))
                writer.add(zoom, x, y, cv2.imencode(".png", pixels)[1].tobytes())
    return path


def damage_map(path: Path, statement: str) -> None:
    """Do something to the tiles east of the datum's: SQL that begins a statement on the table `tiles`."""
    middle, _ = tile_at(DATUM.lat_deg, DATUM.lon_deg, ZOOM)
    with sqlite3.connect(path) as database:
        database.execute(f"{statement} WHERE tile_column > {middle}")


class Graph:
    """One node under test, a vehicle's topics, and what the node said.

    The vehicle's clock is the test's own: `drive` moves it on, and nothing waits for the wall's.
    """

    def __init__(self, bundle: Path, tiles: str, overrides: dict[str, Any] | None = None, start: bool = True) -> None:
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
            self.wait(self._connected, "the node to listen")

    def _wire(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import CompressedImage, Image, Imu, NavSatFix

        for topic, kind in (
            ("/geoflow_localizer/pose", PoseWithCovarianceStamped),
            ("/geoflow_localizer/fix", NavSatFix),
            ("/geoflow_localizer/track", Odometry),
            ("/geoflow_localizer/hypotheses", PoseArray),
            ("/diagnostics", DiagnosticArray),
        ):
            name = topic.rsplit("/", 1)[1]
            self.received[name] = []
            self.node.create_subscription(kind, topic, lambda message, name=name: self._receive(name, message), 50)
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

    def _connected(self) -> bool:
        image = self.publishers["image" if self.parameter("image_transport") == "raw" else "compressed"]
        listened = all(self.publishers[name].get_subscription_count() for name in ("odom", "initialpose"))
        heard = self.node.count_publishers("/geoflow_localizer/pose") and self.node.count_publishers("/diagnostics")
        return bool(listened and heard and image.get_subscription_count())

    def _spin(self) -> None:
        while not self._closed.is_set():
            self._executor.spin_once(timeout_sec=0.5)

    def parameter(self, name: str) -> Any:
        return self.localizer.get_parameter(name).value

    def close(self) -> None:
        # In this order: an executor that is shut down while another thread spins it may fail in that thread.
        self._closed.set()
        self._executor.wake()
        self._thread.join()
        self._executor.shutdown()
        self.localizer.destroy_node()
        self.node.destroy_node()
        self.context.try_shutdown()

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
        """Wait until a condition holds; its value."""
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
        """Straight on to the odometry's +x, which is the map's direction `yaw_rad`; waits until the node knows."""
        for _ in range(round(seconds * 50)):
            self.t_ns += NS // 50
            step = speed_mps / 50
            self.odometry_xy[0] += step
            self.east_m += step * math.cos(self.yaw_rad)
            self.north_m += step * math.sin(self.yaw_rad)
            self.publishers["odom"].publish(self.odometry())
        buffer = self.localizer._odometry
        self.wait(lambda: buffer.newest is not None and buffer.newest.stamp_ns >= self.t_ns, "odometry to arrive")

    def start_at(self, east_m: float, north_m: float, yaw_rad: float = 0.0, std_m: float = 3.0, **changes: Any) -> None:
        """Put the vehicle somewhere on the map and say so."""
        from geometry_msgs.msg import PoseWithCovarianceStamped

        from geoflow_ros.ros.messages import quaternion_of_yaw

        self.east_m, self.north_m, self.yaw_rad = east_m, north_m, yaw_rad
        message = PoseWithCovarianceStamped()
        message.header.stamp = changes.get("stamp", self.stamp())
        message.header.frame_id = changes.get("frame_id", "map")
        message.pose.pose.position.x, message.pose.pose.position.y = float(east_m), float(north_m)
        message.pose.pose.orientation = changes.get("orientation", quaternion_of_yaw(yaw_rad))
        message.pose.covariance[0] = message.pose.covariance[7] = std_m**2
        message.pose.covariance[35] = math.radians(2) ** 2
        before = self.localizer._tracker.counts.starts
        self.publishers["initialpose"].publish(message)
        if not changes:
            self.wait(lambda: self.localizer._tracker.counts.starts > before, "initialpose to arrive")

    def picture(
        self, height: int = GROUND_SHAPE[0], width: int = GROUND_SHAPE[1], red: int = GREY, blue: int = 0
    ) -> np.ndarray:
        return np.full((height, width, 3), (red, 60, blue), np.uint8)

    def image(self, **changes: Any) -> Any:
        """A good raw image at the vehicle's time, with fields changed."""
        from geoflow_ros.ros.images import image_from_rgb

        message = image_from_rgb(changes.pop("rgb", self.picture()), self.stamp(), "camera")
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    def show(self, message: Any = None) -> None:
        """Publish an image (a good one where None is given)."""
        message = message if message is not None else self.image()
        self.publishers["compressed" if hasattr(message, "format") else "image"].publish(message)

    def stamps(self, name: str = "pose") -> list[int]:
        from geoflow_ros.ros.messages import stamp_ns

        return [stamp_ns(message.header.stamp) for message in self.received[name]]

    def localized(self, name: str = "pose") -> Any:
        """The message about the image just shown."""
        self.wait(lambda: self.t_ns in self.stamps(name), f"{name} at {self.t_ns / NS:.2f} s")
        return self.received[name][self.stamps(name).index(self.t_ns)]

    def count(self, key: str) -> int:
        """How often something happened, by its key in the diagnostics."""
        return self.localizer._health.count(key)

    def diagnosed(self, text: str) -> Any:
        """The next status whose message holds a text."""

        def find() -> Any:
            recent = self.received["diagnostics"][-3:]
            return next((s for array in reversed(recent) for s in array.status if text in s.message), None)

        return self.wait(find, f"a diagnostic with '{text}'")
