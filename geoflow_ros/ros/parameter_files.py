"""The files in `config/`, written from the table of parameters.

python -m geoflow_ros.ros.parameter_files config/
"""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from geoflow_ros.ros.parameter_table import (
    PUBLISHER_SPECS,
    SECTIONS,
    SPECS,
    VEHICLE_PARAMETERS,
    ParameterSpec,
    section_of,
)

_COLUMNS = 110
_INDENT = "  "

_CONVENTIONS = """\
# Values are the defaults. In brackets: the values that are allowed; what is dynamic may change while the node runs.
# Length is in metres, time in seconds, angles in degrees; the map frame is ENU about the datum.
"""
_VEHICLE_HEADER = f"""\
# The localizer's settings that differ from vehicle to vehicle; geoflow_full.yaml has all of them.
{_CONVENTIONS}"""
_FULL_HEADER = f"""\
# All parameters of the localizer; geoflow.yaml has those that differ from vehicle to vehicle.
{_CONVENTIONS}"""
_PUBLISHER_HEADER = f"""\
# All parameters of tile_publisher; most are the localizer's.
{_CONVENTIONS}"""


def vehicle_yaml() -> str:
    """Returns the text of `config/geoflow.yaml`: what a vehicle sets."""
    return _VEHICLE_HEADER + _yaml({name: SPECS[name] for name in SPECS if name in VEHICLE_PARAMETERS})


def full_yaml() -> str:
    """Returns the text of `config/geoflow_full.yaml`: every parameter."""
    return _FULL_HEADER + _yaml(SPECS)


def publisher_yaml() -> str:
    """Returns the text of `config/tile_publisher.yaml`: every parameter of that executable."""
    return _PUBLISHER_HEADER + _yaml(PUBLISHER_SPECS)


def write_files(folder: Path) -> tuple[Path, ...]:
    """Writes the files and returns their paths.

    Args:
        folder: an existing one, such as `config/` of a source checkout.
    """
    written = []
    for name, text in (
        ("geoflow.yaml", vehicle_yaml()),
        ("geoflow_full.yaml", full_yaml()),
        ("tile_publisher.yaml", publisher_yaml()),
    ):
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    return tuple(written)


def value_text(spec: ParameterSpec) -> str:
    """Returns a parameter's default as YAML and ROS's command line have it."""
    default = spec.default
    if isinstance(default, float):
        return ".nan" if math.isnan(default) else repr(default)
    return json.dumps(default)


def _yaml(specs: Mapping[str, ParameterSpec]) -> str:
    lines = ["/**:", f"{_INDENT}ros__parameters:"]
    parents: list[str] = []
    for name, spec in specs.items():
        *folders, leaf = name.split(".")
        for depth, folder in enumerate(folders):
            if parents[: depth + 1] != folders[: depth + 1]:
                parents = folders[: depth + 1]
                margin = _INDENT * (2 + depth)
                if depth == 0:
                    lines.append(f"{margin}# {SECTIONS[section_of(name)]}")
                lines.append(f"{margin}{folder}:")
        parents = folders
        margin = _INDENT * (2 + len(folders))
        comment = textwrap.wrap(spec.remark, _COLUMNS - len(margin) - 2)
        lines += [f"{margin}# {line}" for line in comment]
        lines.append(f"{margin}{leaf}: {value_text(spec)}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the files into the folder that the command line names."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print("usage: python -m geoflow_ros.ros.parameter_files FOLDER", file=sys.stderr)
        return 2
    for path in write_files(Path(sys.argv[1])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
