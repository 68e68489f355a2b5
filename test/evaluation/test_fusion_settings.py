"""config/ekf.yaml says what robot_localization understands, and what the measured drives need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from evaluation.fusion.filter_core import CONFIG, FilterSettings

KNOWN = yaml.safe_load(
    (Path(__file__).parent / "fusion" / "robot_localization_parameters.yaml").read_text(encoding="utf-8")
)
NODES = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
SENSOR = re.compile(r"(odom|pose|twist|imu)\d+(_\w+)?$")


def is_known(name: str) -> bool:
    sensor = SENSOR.match(name)
    return name in KNOWN["node"] if sensor is None else (sensor[2] is None or sensor[2] in KNOWN[sensor[1]])


def test_a_misspelt_parameter_is_not_known() -> None:
    assert is_known("pose0")
    assert is_known("odom3_twist_rejection_threshold")
    assert not any(
        map(is_known, ("pose0_configuration", "process_noise", "imu0_pose_use_child_frame", "smooth_lagged"))
    )


@pytest.mark.parametrize("node", NODES)
def test_every_parameter_is_one_of_robot_localizations(node: str) -> None:
    assert all(map(is_known, NODES[node]["ros__parameters"]))


@pytest.mark.parametrize("node", NODES)
def test_every_list_has_a_value_for_each_member_of_the_state(node: str) -> None:
    lists = {name: value for name, value in NODES[node]["ros__parameters"].items() if isinstance(value, list)}
    assert lists
    assert {len(value) for value in lists.values()} == {len(KNOWN["state"])}
    types = {name: {type(item) for item in value} for name, value in lists.items()}
    # ROS reads a list of one type only, and 1e6 without a point is a string to it.
    assert all(found == {bool if name.endswith("_config") else float} for name, found in types.items())


def fused(parameters: dict[str, Any], sensor: str) -> set[str]:
    return {name for name, is_fused in zip(KNOWN["state"], parameters[f"{sensor}_config"], strict=True) if is_fused}


def test_the_map_filter_takes_poses_with_yaw_and_the_odometrys_velocities() -> None:
    settings = FilterSettings.of_file("ekf_map").parameters
    assert fused(settings, "pose0") == {"x", "y", "yaw"}
    assert fused(settings, "odom0") == {"vx", "vy", "vyaw"}
    assert settings["two_d_mode"] is settings["smooth_lagged_data"] is settings["publish_tf"] is True
    assert settings["history_length"] == 2.0
    initial = dict(zip(KNOWN["state"], settings["initial_estimate_covariance"], strict=True))
    assert initial == {**dict.fromkeys(KNOWN["state"], 1e-9), "x": 1e6, "y": 1e6, "yaw": 10.0}
    noise = dict(zip(KNOWN["state"], settings["process_noise_covariance"], strict=True))
    assert (noise["x"], noise["y"], noise["yaw"]) == (0.5, 0.5, 1e-3)


def test_the_local_filter_knows_nothing_of_the_map() -> None:
    settings = FilterSettings.of_file("ekf_local").parameters
    assert settings["world_frame"] == settings["odom_frame"] == "odom"
    assert not [name for name in settings if name.startswith("pose")]
    assert fused(settings, "odom0") == {"vx", "vy", "vyaw"}


@pytest.mark.parametrize("namespace", ["", "/car"])
@pytest.mark.parametrize("name", ["ekf_map", "ekf_local"])
def test_ros_gives_a_node_its_part_of_the_file(name: str, namespace: str) -> None:
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
    from fakes.ros_domain import domain_id

    context = rclpy.Context()
    rclpy.init(args=["--ros-args", "--params-file", str(CONFIG)], context=context, domain_id=domain_id())
    try:
        node = rclpy.create_node(
            name, namespace=namespace, context=context, automatically_declare_parameters_from_overrides=True
        )
        given = {key: node.get_parameter(key).value for key in NODES[f"/**/{name}"]["ros__parameters"]}
        node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)
    assert given == NODES[f"/**/{name}"]["ros__parameters"]
