"""The configuration file and the launch files fit the nodes that they start."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]


def flattened(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def test_the_configuration_file_holds_every_parameter_with_its_default_and_a_comment() -> None:
    from geoflow_ros.ros.parameters import SPECS

    path = ROOT / "config" / "geoflow.yaml"
    written = flattened(yaml.safe_load(path.read_text())["/**"]["ros__parameters"])
    assert written.keys() == SPECS.keys()
    for name, value in written.items():
        default = SPECS[name].default
        assert type(value) is type(default), name
        assert value == default or (math.isnan(value) and math.isnan(default)), name
    lines = path.read_text().splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        if not line.rstrip().endswith(":") and not line.strip().startswith("#"):
            assert before.strip().startswith("#"), f"no comment above '{line.strip()}'"


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
