"""The table of parameters, and the files in config/ that are written from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from geoflow_ros.ros.parameter_files import full_yaml, publisher_yaml, vehicle_yaml, write_files
from geoflow_ros.ros.parameter_table import (
    PUBLISHER_SPECS,
    SECTIONS,
    SPECS,
    VEHICLE_PARAMETERS,
    ParameterSpec,
    section_of,
)

CONFIG = Path(__file__).resolve().parents[2] / "config"


def flattened(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("geoflow.yaml", VEHICLE_PARAMETERS), ("geoflow_full.yaml", SPECS), ("tile_publisher.yaml", PUBLISHER_SPECS)],
)
def test_a_configuration_file_holds_its_parameters_with_default_and_comment(name: str, parameters: Any) -> None:
    yaml = pytest.importorskip("yaml")
    text = (CONFIG / name).read_text()
    written = flattened(yaml.safe_load(text)["/**"]["ros__parameters"])
    assert written.keys() == {*parameters}
    for parameter, value in written.items():
        default = (SPECS.get(parameter) or PUBLISHER_SPECS[parameter]).default
        assert type(value) is type(default), parameter
        assert value == default or (math.isnan(value) and math.isnan(default)), parameter  # type: ignore[arg-type]
    lines = text.splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        if not line.rstrip().endswith(":") and not line.strip().startswith("#"):
            assert before.strip().startswith("#"), f"no comment above '{line.strip()}'"
        assert len(line) <= 120


def test_the_configuration_files_are_those_that_the_table_gives(tmp_path: Path) -> None:
    for path in write_files(tmp_path):
        assert path.read_text() == (CONFIG / path.name).read_text(), "python -m geoflow_ros.ros.parameter_files config"


def test_a_vehicle_sets_fifteen_parameters_at_most() -> None:
    assert 10 <= len(VEHICLE_PARAMETERS) <= 15
    assert {*VEHICLE_PARAMETERS} < {*SPECS}


@pytest.mark.parametrize("text", [vehicle_yaml(), full_yaml(), publisher_yaml()])
def test_limits_are_written_with_all_their_digits(text: str) -> None:
    assert "e+" not in text
    assert "e-0" not in text


def test_large_and_small_limits_are_readable() -> None:
    assert SPECS["model.max_workspace_size"].constraint == "1 to 1099511627776"
    assert SPECS["irs.seed"].constraint == "0 to 2147483647"
    assert SPECS["odometry.yaw_noise_deg_per_sqrt_s"].constraint == "0.00001 to 10"


def test_every_section_says_what_it_is_about() -> None:
    assert {section_of(name) for name in SPECS} == SECTIONS.keys()


@pytest.mark.parametrize(
    ("spec", "value", "problem"),
    [
        (ParameterSpec(1.0, "", (0.0, 2.0)), 2.0, ""),
        (ParameterSpec(1.0, "", (0.0, 2.0)), 2.5, "x must be within 0 to 2, not 2.5"),
        (ParameterSpec(1.0, "", (0.0, 1e6)), math.nan, "x must be within 0 to 1000000, not nan"),
        (ParameterSpec(math.nan, ""), math.nan, ""),
        (ParameterSpec("a", "", choices=("a", "b")), "c", "x must be one of a, b, not 'c'"),
        (ParameterSpec("a", "", choices=("a", "b")), "b", ""),
    ],
)
def test_a_value_outside_its_limits_or_choices_is_refused_with_them(
    spec: ParameterSpec, value: Any, problem: str
) -> None:
    assert spec.problem("x", value) == problem


def test_a_vehicle_localizer_without_settings_is_that_of_a_node_without_parameters() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
    from geoflow_ros.localization import VehicleSettings
    from geoflow_ros.ros.parameters import Settings

    assert Settings({name: spec.default for name, spec in SPECS.items()}).vehicle() == VehicleSettings()
