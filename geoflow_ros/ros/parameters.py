"""Every parameter of the localizer: name, default, unit, range, and whether it may change while the node runs.

One table. The node declares from it, checks against it and reads its `Settings` through it; `config/geoflow.yaml`
lists the same names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from geoflow_ros.backends import BACKENDS, PRECISIONS, BackendOptions
from geoflow_ros.errors import InputError
from geoflow_ros.tracking import TrackerSettings

# What the track's own relocalization opens it up to, as a share of prior.max_std_m: a track right at the limit would be
# over it after some metres of odometry, and no frame would be looked at again.
_OPEN_SHARE = 0.8

Value = bool | int | float | str | Sequence[str]


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter.

    Attributes:
        default: also fixes the type.
        description: one line with the unit.
        limits: smallest and largest value, both allowed; None for texts, switches, and numbers that may be NaN.
        choices: allowed texts; empty where any text will do.
        dynamic: whether it may change while the node runs.
    """

    default: Value
    description: str
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """ROS's form of it."""
        descriptor = ParameterDescriptor(description=self.description, read_only=not self.dynamic)
        if self.choices:
            descriptor.additional_constraints = "one of " + ", ".join(self.choices)
        if self.limits is not None and isinstance(self.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=self.limits[0], to_value=self.limits[1], step=0.0)
            ]
        elif self.limits is not None:
            descriptor.integer_range = [
                IntegerRange(from_value=int(self.limits[0]), to_value=int(self.limits[1]), step=1)
            ]
        return descriptor

    def problem(self, name: str, value: Any) -> str:
        """Why a value of the right type cannot be used; empty where it can."""
        if self.choices and value not in self.choices:
            return f"{name} must be one of {', '.join(self.choices)}, not '{value}'"
        if self.limits is not None and not self.limits[0] <= value <= self.limits[1]:
            return f"{name} must be within {self.limits[0]:g} and {self.limits[1]:g}, not {value}"
        return ""


SPECS: Mapping[str, ParameterSpec] = {
    "autostart": ParameterSpec(True, "configure and activate without waiting for a lifecycle manager"),
    "image_transport": ParameterSpec(
        "raw", "which camera topic is subscribed: image or image/compressed", choices=("raw", "compressed")
    ),
    "model.path": ParameterSpec("synthetic", "model bundle: a folder, or the name of one that came with the package"),
    "model.backend": ParameterSpec(
        "auto", "what runs the model; auto: the quickest that is installed and fits", choices=BACKENDS
    ),
    "model.precision": ParameterSpec(
        "auto",
        "of the encoders; auto: reduced where the back end gains by it and the bundle's check passed",
        choices=PRECISIONS,
    ),
    "model.threads": ParameterSpec(0, "threads of the encoders on the CPU; 0: the back end decides", (0, 256)),
    "model.providers": ParameterSpec(
        [""], "onnxruntime execution providers, by preference; empty: the CPU (with backend auto: any back end)"
    ),
    "model.device": ParameterSpec("cuda:0", "device of TensorRT and torch"),
    "model.engine_file_path": ParameterSpec(
        "", "folder of the TensorRT engines; empty: the bundle's own, else the user's cache"
    ),
    "model.force_engine_update": ParameterSpec(False, "build the TensorRT engines anew at the start"),
    "model.max_workspace_size": ParameterSpec(
        268_435_456, "memory that TensorRT may use while it builds, bytes", (1, 2**40)
    ),
    "model.verbose": ParameterSpec(False, "TensorRT says in detail what it does"),
    "tiles.source": ParameterSpec(
        "", "satellite tiles: FILE.mbtiles, http(s)://HOST/{z}/{x}/{y}.png or file:///DIR/{z}/{x}/{y}.png"
    ),
    "tiles.zoom": ParameterSpec(-1, "zoom level; -1: the one whose pixels suit the model", (-1, 30)),
    "tiles.cache": ParameterSpec(256, "decoded tiles kept in memory (256 x 256 tiles: 0.2 MB each)", (4, 65536)),
    "tiles.recentre_distance_m": ParameterSpec(
        5.0,
        "the patch and its features are kept while the prior moves less than this, metres",
        (0.0, 100.0),
        dynamic=True,
    ),
    "tiles.recentre_angle_deg": ParameterSpec(
        2.0, "the patch is kept while the prior's heading turns less than this, degrees", (0.0, 45.0), dynamic=True
    ),
    "datum.latitude_deg": ParameterSpec(
        math.nan, "latitude of the map frame's origin, degrees; NaN: the centre of the tiles' bounds"
    ),
    "datum.longitude_deg": ParameterSpec(
        math.nan, "longitude of the map frame's origin, degrees; NaN: as for the latitude"
    ),
    "irs.hypotheses": ParameterSpec(0, "hypotheses N; 0: the model's default", (0, 100_000), dynamic=True),
    "irs.iterations": ParameterSpec(0, "refinements R; 0: the model's default", (0, 1000), dynamic=True),
    "irs.step": ParameterSpec(
        0.0,
        "step of a refinement, as a fraction of the predicted displacement; 0: the model's default",
        (0.0, 1.0),
        dynamic=True,
    ),
    "irs.seed": ParameterSpec(0, "seed of the hypotheses", (0, 2**31 - 1)),
    "prior.min_position_std_m": ParameterSpec(
        3.0, "a start pose counts as no more certain than this, metres", (0.01, 1000.0)
    ),
    "prior.min_yaw_std_deg": ParameterSpec(
        2.0, "a start pose's yaw counts as no more certain than this, degrees", (0.01, 180.0)
    ),
    "prior.max_std_m": ParameterSpec(
        15.0, "no answer is tried while the prior is less certain than this, metres", (0.1, 1000.0), dynamic=True
    ),
    "prior.max_yaw_std_deg": ParameterSpec(
        20.0,  # the 15 degrees of RViz's "2D Pose Estimate" pass; the shipped weights saw heading errors up to 10
        "no answer is tried while the prior's heading is less certain than this, degrees",
        (0.1, 180.0),
        dynamic=True,
    ),
    "prior.use_fix": ParameterSpec(True, "start from NavSatFix and an absolute heading where no initialpose came"),
    "prior.wait_for_odometry_s": ParameterSpec(
        0.05, "how long a frame waits for odometry newer than itself, seconds", (0.0, 1.0), dynamic=True
    ),
    "prior.max_extrapolation_s": ParameterSpec(
        0.2, "how far odometry is extrapolated where none came, seconds", (0.0, 1.0)
    ),
    "relocalize.position_std_m": ParameterSpec(
        8.0, "~/relocalize: standard deviation of the position, metres", (0.1, 100.0)
    ),
    "relocalize.yaw_std_deg": ParameterSpec(3.0, "~/relocalize: standard deviation of the yaw, degrees", (0.1, 45.0)),
    "odometry.position_noise_m_per_sqrt_m": ParameterSpec(
        0.05, "random walk of the odometry's position, m per sqrt(m)", (1e-4, 10.0)
    ),
    "odometry.yaw_noise_deg_per_sqrt_s": ParameterSpec(
        0.1, "random walk of the odometry's yaw, deg per sqrt(s)", (1e-5, 10.0)
    ),
    "odometry.yaw_drift_std_deg_per_s": ParameterSpec(
        0.12, "spread of the odometry's constant yaw drift, deg/s", (0.0, 10.0)
    ),
    "odometry.scale_std": ParameterSpec(0.03, "spread of the odometry's scale error, metres per metre", (0.0, 0.5)),
    "heading.use_imu": ParameterSpec(True, "fuse the absolute yaw on the topic imu (ENU, REP-145)"),
    "heading.offset_deg": ParameterSpec(
        0.0, "added to the imu's yaw (magnetic declination, mounting), degrees", (-360.0, 360.0)
    ),
    "heading.noise_deg": ParameterSpec(
        1.0, "noise of the imu's yaw where the message gives no variance, degrees", (0.01, 90.0)
    ),
    "heading.bias_std_deg": ParameterSpec(2.0, "spread of the constant error of the imu's yaw, degrees", (0.0, 90.0)),
    "heading.bias_walk_deg_per_sqrt_s": ParameterSpec(
        0.17, "how fast the error of the imu's yaw changes, deg per sqrt(s)", (0.0, 10.0)
    ),
    "covariance.correlation_length_m": ParameterSpec(
        8.0, "errors of fixes closer together than this share their cause, metres", (0.01, 1000.0), dynamic=True
    ),
    "covariance.correlation_time_s": ParameterSpec(
        30.0,
        "errors of fixes closer in time than this share their cause (for a vehicle at rest), seconds",
        (0.01, 3600.0),
        dynamic=True,
    ),
    "gate.probability": ParameterSpec(
        0.997, "share of the good fixes that pass the gate, as a fraction", (0.5, 0.999999), dynamic=True
    ),
    "gate.relocalize_after": ParameterSpec(
        5, "so many rejected fixes in a row that agree with each other move the track", (2, 200), dynamic=True
    ),
    "gate.relocalize_distance_m": ParameterSpec(
        10.0,
        "rejected fixes move the track only if they span at least this distance, metres",
        (0.0, 1000.0),
        dynamic=True,
    ),
    "frames.map": ParameterSpec("map", "name of the map frame"),
    "frames.odom": ParameterSpec("odom", "name of the odometry's frame"),
    "frames.base_link": ParameterSpec("base_link", "name of the vehicle's frame"),
    "frames.broadcast_tf": ParameterSpec(True, "send the transform from the map to the odometry's frame"),
    "camera.lever_arm.x_m": ParameterSpec(0.0, "camera forward of base_link, metres", (-50.0, 50.0)),
    "camera.lever_arm.y_m": ParameterSpec(0.0, "camera left of base_link, metres", (-50.0, 50.0)),
    "camera.yaw_deg": ParameterSpec(
        0.0, "camera's direction from the vehicle's forward, counter-clockwise, degrees", (-180.0, 180.0)
    ),
    "debug_image.jpeg_quality": ParameterSpec(
        85, "quality of ~/debug_image/compressed, 1 to 100", (1, 100), dynamic=True
    ),
    "diagnostics.latency_warn_ms": ParameterSpec(
        200.0, "95th percentile of the latency that is a warning, milliseconds", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.latency_error_ms": ParameterSpec(
        1000.0, "95th percentile of the latency that is an error, milliseconds", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.silence_warn_s": ParameterSpec(
        1.0, "time without a pose that is a warning, seconds", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.silence_error_s": ParameterSpec(
        5.0, "time without a pose that is an error, seconds", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.position_std_warn_m": ParameterSpec(
        3.0, "standard deviation of the track that is a warning, metres", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.position_std_error_m": ParameterSpec(
        10.0, "standard deviation of the track that is an error, metres", (0.0, 1e6), dynamic=True
    ),
}


@dataclass(frozen=True)
class Settings:
    """The parameters' values, by name; read once and never changed in place."""

    values: Mapping[str, Any]

    def flag(self, name: str) -> bool:
        """A switch."""
        return bool(self.values[name])

    def number(self, name: str) -> float:
        """A number in the unit that its name says."""
        return float(self.values[name])

    def radians(self, name: str) -> float:
        """A number in degrees (or degrees per something) as radians."""
        return math.radians(float(self.values[name]))

    def count(self, name: str) -> int:
        """A whole number."""
        return int(self.values[name])

    def text(self, name: str) -> str:
        """A text."""
        return str(self.values[name])

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        return [str(value) for value in self.values[name]]

    def backend(self) -> BackendOptions:
        """What runs the model."""
        folder = self.text("model.engine_file_path")
        return BackendOptions(
            backend=self.text("model.backend"),
            precision=self.text("model.precision"),
            threads=self.count("model.threads") or None,
            providers=tuple(name for name in self.texts("model.providers") if name),
            device=self.text("model.device"),
            engine_file_path=Path(folder).expanduser() if folder else None,
            force_engine_update=self.flag("model.force_engine_update"),
            max_workspace_size=self.count("model.max_workspace_size"),
            verbose=self.flag("model.verbose"),
        )

    def tracker(self) -> TrackerSettings:
        """Noise and gate of the tracker."""
        return TrackerSettings(
            position_noise_m_per_sqrt_m=self.number("odometry.position_noise_m_per_sqrt_m"),
            yaw_noise_rad_per_sqrt_s=self.radians("odometry.yaw_noise_deg_per_sqrt_s"),
            yaw_drift_std_radps=self.radians("odometry.yaw_drift_std_deg_per_s"),
            scale_std=self.number("odometry.scale_std"),
            heading_bias_std_rad=self.radians("heading.bias_std_deg"),
            heading_bias_walk_rad_per_sqrt_s=self.radians("heading.bias_walk_deg_per_sqrt_s"),
            fix_correlation_length_m=self.number("covariance.correlation_length_m"),
            fix_correlation_time_s=self.number("covariance.correlation_time_s"),
            gate_probability=self.number("gate.probability"),
            relocalize_after=self.count("gate.relocalize_after"),
            relocalize_distance_m=self.number("gate.relocalize_distance_m"),
            relocalize_max_std_m=_OPEN_SHARE * self.number("prior.max_std_m"),
        )


def declare(node: Node) -> Settings:
    """Declare all parameters on a node and read what its command line and files gave.

    Raises:
        InputError: a value of the wrong type or outside its range, with its name, value and range.
    """
    values = {}
    for name, spec in SPECS.items():
        try:
            parameter = node.declare_parameter(name, spec.default, spec.descriptor())
        except Exception as error:  # rclpy has no common base for wrong type, out of range and the like
            raise InputError(f"parameter {name}: {error}; {spec.description}") from error
        problem = spec.problem(name, parameter.value)
        if problem:
            raise InputError(f"{problem}; {spec.description}")
        values[name] = parameter.value
    return Settings(values)


def changed(settings: Settings, parameters: Sequence[Parameter]) -> tuple[Settings, SetParametersResult]:
    """The settings after a request to change parameters at run time, and ROS's answer to it.

    A refusal changes nothing and says why. Parameters of other owners (use_sim_time, QoS overrides) pass.
    """
    values = dict(settings.values)
    for parameter in parameters:
        spec = SPECS.get(parameter.name)
        if spec is None:
            continue
        problem = spec.problem(parameter.name, parameter.value)
        if problem:
            return settings, SetParametersResult(successful=False, reason=problem)
        values[parameter.name] = parameter.value
    return Settings(values), SetParametersResult(successful=True)
