"""The launch files fit the nodes that they start, and what they start sends every transform once."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
from fakes.ros_domain import domain_id

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted(path.name for path in (ROOT / "launch").glob("*.launch.py"))
NO_LAUNCH = "launch comes with a ROS distribution, not from a package index"
# Who is started by launch, under the name of its package: what does not come with this one is stood in for.
EXECUTABLES = {
    "geoflow_ros": "localizer",
    "robot_localization": "ekf_node",
    "rviz2": "rviz2",
    "foxglove_bridge": "foxglove_bridge",
}


@dataclass(frozen=True)
class Started:
    """A process that a launch file started.

    Attributes:
        executable: its name.
        arguments: its command line.
        parameters: of all its files, the later ones over the earlier ones; those of the node alone.
        remappings: from -> to; with `__node` and `__ns`.
    """

    executable: str
    arguments: list[str]
    parameters: dict[str, Any]
    remappings: dict[str, str]


class Bench:
    """Runs launch files with real launch, and programs that note how they were started."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = folder / "log"
        self.log.mkdir()
        index = folder / "prefix" / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True)
        for package, executable in EXECUTABLES.items():
            (index / package).touch()
            self._write(folder / "prefix" / "lib" / package / executable)
        self._write(folder / "bin" / "ros2")
        monkeypatch.setenv("AMENT_PREFIX_PATH", str(folder / "prefix"), prepend=os.pathsep)
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
        monkeypatch.setenv("ROS_LOG_DIR", str(folder / "ros_log"))
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id()))

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{self.log}/{path.name}.$$"\n')
        path.chmod(0o755)

    def run(self, name: str, **arguments: str) -> list[Started]:
        """Launches a file and returns what it started, sorted by executable and name of the node."""
        from launch.actions import SetLaunchConfiguration

        from launch import LaunchService

        module = load(name)
        if hasattr(module, "READY_S"):
            module.READY_S = 0.2  # nobody will get ready here
        service = LaunchService(noninteractive=True)
        description = module.generate_launch_description()
        for argument, value in arguments.items():
            description.entities.insert(0, SetLaunchConfiguration(argument, value))
        service.include_launch_description(description)
        assert service.run() == 0
        started = [self._started(path) for path in self.log.iterdir()]
        return sorted(started, key=lambda s: (s.executable, s.remappings.get("__node", "")))

    @staticmethod
    def _started(path: Path) -> Started:
        arguments = path.read_text().splitlines()
        parameters: dict[str, Any] = {}
        following = list(zip(arguments, arguments[1:], strict=False))
        remappings = dict(after.split(":=", 1) for flag, after in following if flag == "-r")
        for flag, file in following:
            if flag == "--params-file":
                for node, content in yaml.safe_load(Path(file).read_text()).items():
                    if node.endswith(("*", f"/{remappings['__node']}")):
                        parameters |= flat(content["ros__parameters"])
        return Started(path.name.split(".")[0], arguments, parameters, remappings)


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in nested.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("launch_file", ROOT / "launch" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    pytest.importorskip("launch_ros", reason=NO_LAUNCH)
    return Bench(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_a_launch_file_describes_its_arguments(name: str) -> None:
    pytest.importorskip("launch_ros", reason=NO_LAUNCH)
    described = load(name).generate_launch_description().get_launch_arguments()
    assert described
    assert all(argument.description for argument in described)


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_a_launch_file_compiles(name: str) -> None:
    path = ROOT / "launch" / name
    compile(path.read_text(), str(path), "exec")


def test_the_vehicles_launch_file_starts_with_the_settings_of_a_vehicle(bench: Bench) -> None:
    (node,) = bench.run("geoflow.launch.py", tiles="town.mbtiles", image="/front/image_raw", latitude="49.0")
    assert node.remappings["__node"] == "geoflow_localizer"
    assert node.remappings["image"] == "/front/image_raw"
    assert node.remappings["image/compressed"] == "/front/image_raw/compressed"
    assert (node.parameters["tiles.source"], node.parameters["datum.latitude_deg"]) == ("town.mbtiles", 49.0)
    assert node.parameters["frames.broadcast_tf"] is True  # config/geoflow.yaml's


def test_with_robot_localization_every_transform_has_one_sender(bench: Bench) -> None:
    local, fused, node = bench.run("geoflow_ekf.launch.py", odom="/wheels", broadcast_tf="true")
    assert node.parameters["frames.broadcast_tf"] is False
    assert [f.remappings["__node"] for f in (local, fused)] == ["ekf_local", "ekf_map"]
    assert [f.parameters["world_frame"] for f in (local, fused)] == ["odom", "map"]
    assert all(f.parameters["publish_tf"] is True for f in (local, fused))
    assert all(s.remappings["odom"] == "/wheels" for s in (local, fused, node))
    assert fused.remappings["odometry/filtered"] == "odometry/global"
    assert fused.parameters["pose0"] == "geoflow_localizer/pose"


def test_the_odometrys_own_transform_is_left_to_its_driver(bench: Bench) -> None:
    fused, node = bench.run("geoflow_ekf.launch.py", local_ekf="false", namespace="car", use_sim_time="true")
    assert (fused.remappings["__node"], fused.remappings["__ns"]) == ("ekf_map", "/car")
    assert fused.parameters["use_sim_time"] is node.parameters["use_sim_time"] is True


def test_a_replay_plays_the_sensors_and_not_what_a_localizer_said_then(bench: Bench) -> None:
    node, player = bench.run("replay.launch.py", bag="drive", viewer="none", image="/front", bag_tf="false")
    assert node.parameters["use_sim_time"] is True
    assert player.arguments[:4] == ["bag", "play", "drive", "--clock"]
    topics = player.arguments[player.arguments.index("--topics") + 1 :]
    assert {"/front", "/front/compressed", "/odom", "/initialpose", "/tf_static"} <= {*topics}
    assert not [topic for topic in topics if topic == "/tf" or "geoflow_localizer" in topic]


@pytest.mark.parametrize("viewer", ["rviz", "foxglove"])
def test_a_replay_is_looked_at(bench: Bench, viewer: str) -> None:
    executables = {started.executable: started for started in bench.run("replay.launch.py", bag="drive", viewer=viewer)}
    assert executables.keys() == {"localizer", "ros2", {"rviz": "rviz2", "foxglove": "foxglove_bridge"}[viewer]}
    assert "/tf" in executables["ros2"].arguments
    if viewer == "rviz":
        assert Path(executables["rviz2"].arguments[1]).name == "geoflow.rviz"
