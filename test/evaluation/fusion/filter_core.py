"""robot_localization's own filter, compiled from its sources, without ROS: what it answers to a recorded drive.

It needs a checkout of robot_localization (`GEOFLOW_ROBOT_LOCALIZATION=DIR`), a C++20 compiler and Eigen
(`EIGEN3_INCLUDE_DIR`, or `/usr/include/eigen3`). The sources are compiled as they are; `filter_core/` holds what is
around them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from evaluation.fusion.recorded import FusionDrive

from geoflow_ros.arrays import Float64Array, Int64Array

CONFIG = Path(__file__).resolve().parents[3] / "config" / "ekf.yaml"
SOURCE_VARIABLE, EIGEN_VARIABLE = "GEOFLOW_ROBOT_LOCALIZATION", "EIGEN3_INCLUDE_DIR"
_HERE = Path(__file__).resolve().parent / "filter_core"
_CORE = ("ekf.cpp", "filter_base.cpp", "filter_utilities.cpp")
_YAW, _VX, _VY, _VYAW = 5, 6, 7, 11
_POSE, _TWIST = (0, 1, _YAW), (_VX, _VY, _VYAW)
_POSE_OUT = 15  # of an answer: the covariance comes behind the state


class NoFilterCoreError(Exception):
    """It cannot be compiled here; the message says what is missing."""


@dataclass(frozen=True)
class FilterSettings:
    """The parameters of one `ekf_filter_node`, as a YAML file has them; what is not in it has the node's defaults."""

    parameters: dict[str, Any]

    @classmethod
    def of_file(cls, node: str, path: Path = CONFIG) -> FilterSettings:
        """Reads those of a node."""
        return cls(yaml.safe_load(path.read_text(encoding="utf-8"))[f"/**/{node}"]["ros__parameters"])

    def changed(self, **parameters: Any) -> FilterSettings:
        """Returns the settings with some parameters otherwise; None leaves one to the node's defaults."""
        merged = {**self.parameters, **parameters}
        return FilterSettings({name: value for name, value in merged.items() if value is not None})

    def lines(self) -> list[str]:
        """Returns what the driver reads."""
        found = [f"flat {int(bool(self.parameters.get('two_d_mode')))}"]
        if self.parameters.get("smooth_lagged_data"):
            found.append(f"smooth {self.parameters['history_length']}")
        for word, name in (("noise", "process_noise_covariance"), ("initial", "initial_estimate_covariance")):
            if name in self.parameters:
                found.append(f"{word} {' '.join(map(str, self.parameters[name]))}")
        return found

    def fused(self, sensor: str, members: tuple[int, ...]) -> list[int]:
        """Returns which of some members of the state a sensor gives."""
        config = self.parameters[f"{sensor}_config"]
        return [member for member in members if config[member]]


@dataclass(frozen=True, eq=False)
class FilterAnswers:
    """What the filter says as time goes on.

    Attributes:
        stamps_ns: (n,) of its states.
        positions_m: (n, 2) east, north.
        yaw_rad: (n,).
        covariances: (n, 2, 2) of the positions, m².
        innovations: (k, 2) stamp in seconds and squared distance of each pose from what was expected, over x and y.
    """

    stamps_ns: Int64Array
    positions_m: Float64Array
    yaw_rad: Float64Array
    covariances: Float64Array
    innovations: Float64Array

    def states(self) -> dict[str, Any]:
        """Returns the states as arrays by name."""
        names = ("stamps_ns", "positions_m", "yaw_rad", "covariances")
        return {name: getattr(self, name) for name in names}


def compiled(folder: Path) -> Path:
    """Compiles the filter into a folder and returns the program.

    Raises:
        NoFilterCoreError: something for it is missing.
    """
    source, compiler = os.environ.get(SOURCE_VARIABLE), shutil.which("g++")
    eigen = Path(os.environ.get(EIGEN_VARIABLE, "/usr/include/eigen3"))
    if not source or not (Path(source) / "src" / _CORE[0]).exists():
        raise NoFilterCoreError(f"needs a checkout of robot_localization: set {SOURCE_VARIABLE} to it")
    if compiler is None:
        raise NoFilterCoreError("needs g++")
    if not (eigen / "Eigen" / "Dense").exists():
        raise NoFilterCoreError(f"needs Eigen 3: install it, or set {EIGEN_VARIABLE} to its headers")
    program = folder / "filter_core"
    folders = [_HERE / "include", Path(source) / "include", eigen]
    command = [compiler, "-std=c++20", "-O1", "-w", *(f"-I{path}" for path in folders), str(_HERE / "driver.cpp")]
    command += [*(str(Path(source) / "src" / name) for name in _CORE), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def answers_of(program: Path, settings: FilterSettings, drive: FusionDrive) -> FilterAnswers:
    """Feeds the filter with a drive's odometry and poses as they arrived, and asks it at its frequency."""
    timed = [*_measurements(settings, drive), *_questions(settings, drive)]
    text = "\n".join([*settings.lines(), *(line for _, _, line in sorted(timed))]) + "\n"
    said = subprocess.run([str(program)], input=text, capture_output=True, text=True, check=True).stdout
    states, innovations = [], []
    for line in said.splitlines():
        word, *values = line.split()
        if word == "state":
            states.append(values)
        else:
            innovations.append((float(values[0]) * 1e-9, float(values[2])))
    numbers = np.array([row[1:] for row in states], np.float64)
    xx, xy, yy = numbers[:, _POSE_OUT : _POSE_OUT + 3].T
    return FilterAnswers(
        np.array([int(row[0]) for row in states], np.int64),
        numbers[:, :2],
        numbers[:, _YAW],
        np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2),
        np.array(innovations, np.float64).reshape(-1, 2),
    )


def _measurements(settings: FilterSettings, drive: FusionDrive) -> list[tuple[int, int, str]]:
    """Returns (arrival, order at the same time, line) of every measurement."""
    found = []
    for kind, sensor, members, series in (
        ("odom", "odom0", _TWIST, drive.odometry),
        ("pose", "pose0", _POSE, drive.poses),
    ):
        kept = [members.index(member) for member in settings.fused(sensor, members)]
        head = f"{kind} {len(kept)} {' '.join(str(members[k]) for k in kept)}"
        for stamp, arrival, values, covariance in zip(
            series.stamps_ns, series.received_ns, series.values, series.covariances, strict=True
        ):
            numbers = [*values[kept], *covariance[np.ix_(kept, kept)].ravel()]
            found.append((int(arrival), 0, f"measure {stamp} {head} {' '.join(f'{n:.12g}' for n in numbers)}"))
    return found


def _questions(settings: FilterSettings, drive: FusionDrive) -> list[tuple[int, int, str]]:
    first_ns, last_ns = int(drive.odometry.received_ns[0]), int(drive.odometry.received_ns[-1])
    step_ns = round(1e9 / settings.parameters["frequency"])
    return [(now_ns, 1, f"ask {now_ns}") for now_ns in range(first_ns, last_ns, step_ns)]
