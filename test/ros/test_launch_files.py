"""The launch files fit the nodes that they start."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["geoflow.launch.py", "demo.launch.py"])
def test_a_launch_file_describes_its_arguments(name: str) -> None:
    pytest.importorskip("launch_ros", reason="launch comes with a ROS distribution, not from a package index")
    from launch.actions import DeclareLaunchArgument

    spec = importlib.util.spec_from_file_location("launch_file", ROOT / "launch" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    described = [e for e in module.generate_launch_description().entities if isinstance(e, DeclareLaunchArgument)]
    assert described
    assert all(argument.description for argument in described)


@pytest.mark.parametrize("name", ["geoflow.launch.py", "demo.launch.py"])
def test_a_launch_file_compiles(name: str) -> None:
    path = ROOT / "launch" / name
    compile(path.read_text(), str(path), "exec")


def test_the_vehicles_launch_file_starts_with_the_settings_of_a_vehicle() -> None:
    assert '"geoflow.yaml"' in (ROOT / "launch" / "geoflow.launch.py").read_text()
