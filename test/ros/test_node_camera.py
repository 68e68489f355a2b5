"""What the node does with the camera's calibration and mounting: poses through other lenses, and clear refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, expect_pose, expect_rejection
from fakes.ros_graph import Graph
from geometry_msgs.msg import TransformStamped
from rclpy.context import Context
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Imu

from geoflow_ros.geo.attitude import rotation_of_rpy
from geoflow_ros.geo.quaternion import quaternion_of_yaw
from geoflow_ros.ros.camera_inputs import info_topic

WIDTH, HEIGHT = 640, 360


def calibration(fov_deg: float, width: int = WIDTH, height: int = HEIGHT, **fields: Any) -> CameraInfo:
    focal = width / 2 / math.tan(math.radians(fov_deg / 2))
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.header.frame_id = "camera_optical"
    info.k = [focal, 0.0, (width - 1) / 2, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 1.0]
    for name, value in fields.items():
        setattr(info, name, value)
    return info


class Vehicle:
    """A graph of its own with a 16:9 camera, on its way."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._info: Any = None
        graph.drive(0.2)
        graph.start_at(0.0, 0.0, math.pi / 2)
        graph.drive(0.2)

    def announce(self) -> None:
        self._info = self.graph.node.create_publisher(CameraInfo, "camera_info", 5)
        self.graph.wait(self._info.get_subscription_count, "camera_info to be listened to")

    def say(self, info: CameraInfo, expected: str) -> None:
        if self._info is None:
            self.announce()
        self._info.publish(info)
        facts = self.graph.localizer._vehicle.camera
        self.graph.wait(lambda: expected in facts.facts["camera_calibration"], "the calibration to arrive")

    def show(self) -> None:
        self.graph.drive(0.2)
        self.graph.show(self.graph.image(rgb=self.graph.picture(HEIGHT, WIDTH)))

    def expect_pose(self) -> None:
        self.show()
        self.graph.localized()


def test_a_camera_of_another_shape_is_refused_until_it_is_calibrated(own: MakeGraph) -> None:
    vehicle = Vehicle(own())
    expect_rejection(vehicle.graph, "bad_images", "give the camera's calibration", vehicle.show)
    vehicle.say(calibration(100.0), "plumb_bob, 640 x 360")
    vehicle.expect_pose()
    values = vehicle.graph.wait(
        lambda: "camera_ground_share" in vehicle.graph.last_values() and vehicle.graph.last_values(), "diagnostics"
    )
    assert float(values["camera_ground_share"]) == 1.0


def test_a_camera_whose_calibration_is_announced_is_not_taken_for_the_models(own: MakeGraph) -> None:
    vehicle = Vehicle(own())
    vehicle.announce()
    expect_rejection(vehicle.graph, "bad_calibrations", "waiting for the first message on /camera_info", vehicle.show)
    vehicle.say(calibration(80.0), "plumb_bob")
    vehicle.expect_pose()


@pytest.mark.parametrize(
    ("info", "said", "reason"),
    [
        (calibration(30.0), "plumb_bob", "of the ground that the model"),
        (calibration(90.0, 640, 480), "640 x 480", "640 x 360, but its calibration is for 640 x 480"),
        (calibration(90.0, distortion_model="omnidirectional", d=[0.1]), "omnidirectional", "is not one of plumb_bob"),
    ],
)
def test_a_calibration_that_does_not_do_is_refused_with_a_reason(
    own: MakeGraph, info: CameraInfo, said: str, reason: str
) -> None:
    vehicle = Vehicle(own())
    vehicle.say(info, said)
    expect_rejection(vehicle.graph, "bad_calibrations", reason, vehicle.show)
    vehicle.say(calibration(95.0), "plumb_bob, 640 x 360")
    vehicle.expect_pose()


def test_a_camera_that_is_not_calibrated_counts_as_the_models_if_it_has_its_shape(own: MakeGraph) -> None:
    vehicle = Vehicle(own())
    vehicle.say(CameraInfo(width=256, height=64), "none: the lens is taken for the model's")
    vehicle.graph.wait(lambda: vehicle.graph.localizer._camera._info is not None, "camera_info to arrive")
    expect_pose(vehicle.graph)


CALIBRATION_FILE = """\
image_width: 640
image_height: 360
distortion_model: plumb_bob
camera_matrix: {rows: 3, cols: 3, data: [320.0, 0.0, 319.5, 0.0, 320.0, 179.5, 0.0, 0.0, 1.0]}
distortion_coefficients: {rows: 1, cols: 5, data: [0.0, 0.0, 0.0, 0.0, 0.0]}
"""


def test_a_calibration_file_takes_the_topics_place(own: MakeGraph, tmp_path: Path) -> None:
    file = tmp_path / "front.yaml"
    file.write_text(CALIBRATION_FILE, encoding="utf-8")
    Vehicle(own({"camera.info_file": str(file)})).expect_pose()


def test_a_calibration_file_that_is_none_is_said_when_the_node_is_configured(own: MakeGraph, tmp_path: Path) -> None:
    graph = own({"camera.info_file": str(tmp_path / "none.yaml")}, start=False)
    graph.localizer.start()
    assert not graph.loaded
    assert "none.yaml cannot be read" in graph.problem


def transform(parent: str, child: str, xyz: tuple[float, float, float], q: tuple[float, ...]) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    at, turn = message.transform.translation, message.transform.rotation
    at.x, at.y, at.z = xyz
    turn.x, turn.y, turn.z, turn.w = (float(value) for value in q)
    return message


OPTICAL = (-0.5, 0.5, -0.5, 0.5)  # rpy -90, 0, -90 degrees
PITCHED = (0.0, math.sin(0.05), 0.0, math.cos(0.05))  # 0.1 rad


def test_the_mounting_is_that_of_the_images_frame(own: MakeGraph) -> None:
    vehicle = Vehicle(own({"camera.extrinsics": "tf"}))
    vehicle.say(calibration(100.0), "plumb_bob")
    expect_rejection(vehicle.graph, "bad_calibrations", "does not connect the camera's frame 'camera'", vehicle.show)
    vehicle.graph.say_mounting(
        transform("base_footprint", "base_link", (0.0, 0.0, 0.3), (0, 0, 0, 1)),
        transform("base_link", "mast", (1.5, 0.0, 1.0), PITCHED),
        transform("mast", "camera", (0.0, 0.2, 0.0), OPTICAL),
    )
    mounting = vehicle.graph.mounting
    assert (mounting.forward_m, mounting.left_m, mounting.height_m) == pytest.approx((1.5, 0.2, 1.3))
    lean = (mounting.yaw_rad, mounting.lean.roll_rad, mounting.lean.pitch_rad)
    assert lean == pytest.approx((0.0, 0.0, 0.1), abs=1e-9)
    vehicle.expect_pose()
    # A mounting that no camera has is said, not followed.
    vehicle.graph.say_mounting(transform("mast", "camera", (0.0, 0.2, 0.0), (0, 0, 0, 1)))
    expect_rejection(vehicle.graph, "bad_calibrations", "body axes", vehicle.show)


def test_stated_parameters_come_before_tf_unless_it_is_asked_for(own: MakeGraph) -> None:
    tree = transform("base_link", "camera", (1.5, 0.0, 1.4), OPTICAL)
    stated = Vehicle(own({"camera.lever_arm.x_m": 0.7, "camera.height_m": 1.2}))
    stated.graph.say_mounting(tree)
    expect_pose(stated.graph)
    assert (stated.graph.mounting.forward_m, stated.graph.mounting.height_m) == (0.7, 1.2)


def test_pictures_are_made_level_by_the_imu_where_that_is_asked_for(own: MakeGraph) -> None:
    vehicle = Vehicle(own({"camera.level_by": "imu", "heading.use_imu": False}))
    vehicle.say(calibration(100.0), "plumb_bob")
    expect_rejection(vehicle.graph, "no_attitude", "no orientation on imu", vehicle.show)
    vehicle.graph.drive(0.2)
    imu = Imu()
    imu.header.stamp = vehicle.graph.stamp()
    q = imu.orientation
    q.x, q.y, q.z, q.w = (float(value) for value in PITCHED)
    vehicle.graph.publishers["imu"].publish(imu)
    attitudes = vehicle.graph.localizer._vehicle.camera._attitudes
    vehicle.graph.wait(lambda: attitudes.at(vehicle.graph.t_ns), "the attitude to arrive")
    assert attitudes.at(vehicle.graph.t_ns).pitch_rad == pytest.approx(0.1)
    vehicle.graph.show(vehicle.graph.image(rgb=vehicle.graph.picture(HEIGHT, WIDTH)))
    vehicle.graph.localized()


@pytest.mark.parametrize(
    ("remapped", "compressed", "topic"),
    [
        ([], False, "/camera_info"),
        (["image:=/front/image_raw"], False, "/front/camera_info"),
        (["image/compressed:=/front/image_raw/compressed"], True, "/front/camera_info"),
        (["image:=/front/image_raw", "camera_info:=/calibration"], False, "/calibration"),
        (["__ns:=/car", "image:=front/image"], False, "/car/front/camera_info"),
        (["__ns:=/car"], False, "/car/camera_info"),
    ],
)
def test_the_calibration_is_looked_for_beside_the_image(remapped: list[str], compressed: bool, topic: str) -> None:
    context = Context()
    context.init()
    arguments = [part for rule in remapped for part in ("-r", rule)]
    node = LifecycleNode("named", context=context, cli_args=["--ros-args", *arguments])
    try:
        assert info_topic(node, compressed) == topic
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_the_usual_optical_quaternion_is_that_of_its_angles() -> None:
    from geoflow_ros.geo.attitude import rotation_of_quaternion

    half_turn = rotation_of_rpy(-math.pi / 2, 0.0, -math.pi / 2)
    assert rotation_of_quaternion(*OPTICAL) == pytest.approx(half_turn, abs=1e-12)
    assert rotation_of_quaternion(*quaternion_of_yaw(0.3)) == pytest.approx(rotation_of_rpy(0.0, 0.0, 0.3))
