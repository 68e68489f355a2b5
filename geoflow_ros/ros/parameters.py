"""The localizer's parameters on a node: declared from the table, checked against it, read through `Settings`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from geoflow_ros.backends import BackendOptions
from geoflow_ros.errors import InputError
from geoflow_ros.geo import yaw_from_heading_deg
from geoflow_ros.geo.camera import Attitude, read_calibration
from geoflow_ros.inference import CameraUncertainty, SearchSettings
from geoflow_ros.localization import VehicleOptions, VehicleSettings
from geoflow_ros.localization.values import ResumeSettings, StartPlace
from geoflow_ros.ros.diagnostics import Limits
from geoflow_ros.ros.parameter_table import SPECS, ParameterSpec
from geoflow_ros.tiles import CacheSettings
from geoflow_ros.tracking import TrackerSettings

# After a relocalization of its own accord, the track's standard deviation is at most this share of prior.max_std_m:
# right at the limit, some metres of odometry would take it over, and every frame would be rejected.
_RELOCALIZED_STD_SHARE = 0.8

# How alike an unknown name and a parameter's are (difflib's ratio) where one is a slip of the other.
_NEARLY = 0.85

_LEVELLED_STD_RAD = math.radians(0.2)
"""What an imu that pictures are made level by leaves of pitch and roll: its own error, and that of its stamps."""


@dataclass(frozen=True)
class Settings:
    """The parameters' values, by name; read once and never changed in place."""

    values: Mapping[str, Any]

    def flag(self, name: str) -> bool:
        """Returns a switch."""
        return bool(self.values[name])

    def number(self, name: str) -> float:
        """Returns a number in the unit that its name says."""
        return float(self.values[name])

    def radians(self, name: str) -> float:
        """Returns a number in degrees (or degrees per something) as radians."""
        return math.radians(float(self.values[name]))

    def count(self, name: str) -> int:
        """Returns an integer."""
        return int(self.values[name])

    def text(self, name: str) -> str:
        """Returns a text."""
        return str(self.values[name])

    def texts(self, name: str) -> list[str]:
        """Returns a list of texts."""
        return [str(value) for value in self.values[name]]

    def backend(self) -> BackendOptions:
        """Returns what runs the model, and how."""
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

    def search(self) -> SearchSettings:
        """Returns how thoroughly a patch is searched; 0 is the bundle's default."""
        file = self.text("camera.calibration_file")
        return SearchSettings(
            hypotheses=self.count("irs.hypotheses") or None,
            iterations=self.count("irs.iterations") or None,
            step=self.number("irs.step") or None,
            max_heading_error_rad=self.radians("search.max_heading_error_deg") or None,
            camera=CameraUncertainty(
                self.radians("camera.pitch_std_deg"),
                self.radians("camera.roll_std_deg"),
                self.number("camera.height_std"),
                min(self.radians("camera.suspension_std_deg"), _LEVELLED_STD_RAD if self.levels_by_imu else math.inf),
            ),
            camera_file=Path(file).expanduser() if file else None,
        )

    @property
    def levels_by_imu(self) -> bool:
        """Whether pictures are made level by the imu's roll and pitch."""
        return self.text("camera.level_by") == "imu"

    def vehicle(self) -> VehicleSettings:
        """Returns what is particular to the vehicle."""
        return VehicleSettings(
            lever_arm_m=(self.number("camera.lever_arm.x_m"), self.number("camera.lever_arm.y_m")),
            camera_yaw_rad=self.radians("camera.yaw_deg"),
            camera_lean=Attitude(self.radians("camera.roll_deg"), self.radians("camera.pitch_deg")),
            camera_height_m=self.number("camera.height_m") or None,
            levels_by_attitude=self.levels_by_imu,
            max_position_std_m=self.number("prior.max_std_m"),
            max_yaw_std_rad=self.radians("prior.max_yaw_std_deg"),
            min_start_position_std_m=self.number("prior.min_position_std_m"),
            min_start_yaw_std_rad=self.radians("prior.min_yaw_std_deg"),
            gnss_std_m=self.number("prior.fix_std_m"),
            start_place=self.start_place(),
            resume=self.resume(),
            relocalize_position_std_m=self.number("relocalize.position_std_m"),
            relocalize_yaw_std_rad=self.radians("relocalize.yaw_std_deg"),
            relocalize_radius_m=self.number("relocalize.radius_m"),
            widen_after=self.count("relocalize.widen_after"),
            wait_for_odometry_s=self.number("prior.wait_for_odometry_s"),
            max_extrapolation_s=self.number("prior.max_extrapolation_s"),
            patch_range_m=self.number("tiles.recentre_distance_m"),
            patch_range_rad=self.radians("tiles.recentre_angle_deg"),
            output_spacing_m=self.number("output.spacing_m"),
            tracker=self.tracker(),
        )

    def start_place(self) -> StartPlace | None:
        """Returns the place where every drive begins; None where none is named.

        Raises:
            InputError: a part of it is missing, or it is none.
        """
        lat, lon = self.number("start.latitude_deg"), self.number("start.longitude_deg")
        heading_deg = self.number("start.heading_deg")
        if math.isnan(lat) and math.isnan(lon) and math.isnan(heading_deg):
            return None
        if math.isnan(lat) or math.isnan(lon):
            raise InputError("give both start.latitude_deg and start.longitude_deg, or no start.*_deg")
        if not (abs(lat) <= 90.0 and abs(lon) <= 180.0) or math.isinf(heading_deg):
            raise InputError(
                f"start.latitude_deg {lat:g}, start.longitude_deg {lon:g}, start.heading_deg "
                f"{heading_deg:g} are no place and heading in degrees"
            )
        return StartPlace(
            lat,
            lon,
            None if math.isnan(heading_deg) else float(yaw_from_heading_deg(heading_deg)),
            self.number("start.position_std_m"),
            self.radians("start.heading_std_deg"),
        )

    def resume(self) -> ResumeSettings | None:
        """Returns how a drive goes on from the one before; None where no pose is kept."""
        file = self.text("start.resume_file")
        if not file:
            return None
        return ResumeSettings(
            Path(file).expanduser(),
            self.number("start.resume_max_age_s"),
            self.number("start.resume_max_distance_m"),
        )

    def vehicle_options(self) -> VehicleOptions:
        """Returns what the vehicle localizer is made of.

        Raises:
            InputError: no tile source, or a calibration file that cannot be used.
        """
        if not self.text("tiles.source"):
            raise InputError("parameter tiles.source is empty: give FILE.mbtiles or http(s)://HOST/{z}/{x}/{y}.png")
        zoom, file = self.count("tiles.zoom"), self.text("camera.info_file")
        return VehicleOptions(
            tiles=self.text("tiles.source"),
            datum=(self.number("datum.latitude_deg"), self.number("datum.longitude_deg")),
            model=self.text("model.path"),
            backend=self.backend(),
            search=self.search(),
            seed=self.count("irs.seed"),
            zoom=None if zoom < 0 else zoom,
            cached_tiles=self.count("tiles.cache"),
            cache=self.tile_cache(),
            vehicle=self.vehicle(),
            intrinsics=read_calibration(file, rectified=self.flag("camera.rectified")) if file else None,
        )

    def tile_cache(self) -> CacheSettings | None:
        """Returns where tiles of servers are kept on disk; None where they are not.

        Raises:
            InputError: offline, and nothing is kept.
        """
        folder, offline = self.text("tiles.cache_folder"), self.flag("tiles.offline")
        if not folder:
            if offline and self.text("tiles.source").lower().startswith("http"):
                raise InputError(
                    "tiles.offline needs tiles.cache_folder, where tiles were kept, or a file as tiles.source"
                )
            return None
        return CacheSettings(Path(folder), self.count("tiles.cache_mb") * 2**20, offline)

    def tracker(self) -> TrackerSettings:
        """Returns noise and gate of the tracker."""
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
            relocalize_max_std_m=_RELOCALIZED_STD_SHARE * self.number("prior.max_std_m"),
            degraded_after_m=self.number("gate.degraded_after_m"),
            lost_after_m=self.number("gate.lost_after_m"),
        )

    def limits(self) -> Limits:
        """Returns where the diagnostics begin to warn."""
        return Limits(
            latency_warn_ms=self.number("diagnostics.latency_warn_ms"),
            latency_error_ms=self.number("diagnostics.latency_error_ms"),
            fix_age_warn_s=self.number("diagnostics.silence_warn_s"),
            fix_age_error_s=self.number("diagnostics.silence_error_s"),
            position_std_warn_m=self.number("diagnostics.position_std_warn_m"),
            position_std_error_m=self.number("diagnostics.position_std_error_m"),
        )


def descriptor_of(spec: ParameterSpec) -> ParameterDescriptor:
    """Returns ROS's form of a parameter's description and limits."""
    descriptor = ParameterDescriptor(description=spec.description, read_only=not spec.dynamic)
    if spec.choices:
        descriptor.additional_constraints = "one of " + ", ".join(spec.choices)
    if spec.limits is not None and isinstance(spec.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=spec.limits[0], to_value=spec.limits[1], step=0.0)
        ]
    elif spec.limits is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(spec.limits[0]), to_value=int(spec.limits[1]), step=1)]
    return descriptor


def declare(node: Node, specs: Mapping[str, ParameterSpec] = SPECS) -> Settings:
    """Declares all parameters on a node and reads what its command line and files gave.

    A whole number will do for a number; a name that no parameter has is said.

    Raises:
        InputError: a misspelt name, or a value of the wrong type or outside its range, with name, value and range.
    """
    values = {}
    given = _overrides(node)
    _check_names(given, specs, node)
    for name, spec in specs.items():
        try:
            whole = given[name].value if name in given and isinstance(spec.default, float) else None
            if isinstance(whole, int) and not isinstance(whole, bool):
                parameter = node.declare_parameter(name, float(whole), descriptor_of(spec), ignore_override=True)
            else:
                parameter = node.declare_parameter(name, spec.default, descriptor_of(spec))
        except Exception as error:  # rclpy has no common base for wrong type, out of range and the like
            raise InputError(f"parameter {name}: {error}; {spec.description}") from error
        problem = spec.problem(name, parameter.value)
        if problem:
            raise InputError(f"{problem}; {spec.description}")
        values[name] = parameter.value
    return Settings(values)


def _overrides(node: Node) -> Mapping[str, Parameter]:
    """What command line, files and constructor give, declared or not: rclpy tells it in no public way."""
    given: Mapping[str, Parameter] = getattr(node, "_parameter_overrides", {})
    return given


def _check_names(given: Iterable[str], specs: Mapping[str, ParameterSpec], node: Node) -> None:
    """Refuses names that are nearly one of a parameter, and warns of those that no parameter has.

    A file for several nodes (`/**`) may hold others' parameters; what looks like ours is a slip.

    Raises:
        InputError: a misspelt name.
    """
    for name in sorted(given):
        if name in specs or name == "use_sim_time" or name.startswith("qos_overrides."):
            continue
        near = difflib.get_close_matches(name, specs, n=1, cutoff=_NEARLY)
        if near:
            raise InputError(f"unknown parameter {name}: did you mean {near[0]}?")
        node.get_logger().warning(f"unknown parameter {name}: it is not used; --help lists all")


def changed(settings: Settings, parameters: Sequence[Parameter]) -> tuple[Settings, SetParametersResult]:
    """Returns the settings after a request to change parameters at run time, and ROS's answer to it.

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
