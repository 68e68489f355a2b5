"""Every parameter of the localizer: name, default, unit, range, and whether it may change while the node runs.

One table. The node declares its parameters from it (`ros.parameters`), the files in `config/` are written from it
(`ros.parameter_files`), and `localizer --help` prints it. Nothing here needs ROS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geoflow_ros.backends import BACKENDS, PRECISIONS
from geoflow_ros.resources import DEFAULT_MODEL

Value = bool | int | float | str | Sequence[str]

_MIB, _TIB = 2**20, 2**40


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

    @property
    def type_name(self) -> str:
        """The type as ROS calls it."""
        names: tuple[tuple[type, str], ...] = ((bool, "bool"), (int, "integer"), (float, "double"), (str, "string"))
        return next((name for kind, name in names if isinstance(self.default, kind)), "string array")

    @property
    def constraint(self) -> str:
        """What values are allowed, such as "0 to 1" or "raw or compressed"; empty where all of the type are."""
        if self.choices:
            return " or ".join([", ".join(self.choices[:-1]), self.choices[-1]])
        if self.limits is not None:
            return f"{number_text(self.limits[0])} to {number_text(self.limits[1])}"
        return ""

    @property
    def remark(self) -> str:
        """The description, and in brackets what is allowed and whether it may change while the node runs."""
        bracket = "; ".join(filter(None, [self.constraint, "dynamic" if self.dynamic else ""]))
        return f"{self.description} [{bracket}]" if bracket else self.description

    def problem(self, name: str, value: Any) -> str:
        """Returns why a value of the right type cannot be used; empty where it can."""
        if self.choices and value not in self.choices:
            return f"{name} must be one of {', '.join(self.choices)}, not '{value}'"
        if self.limits is not None and not self.limits[0] <= value <= self.limits[1]:
            return f"{name} must be within {self.constraint}, not {value}"
        return ""


def number_text(value: float) -> str:
    """Returns a number with all its digits and no exponent, such as "1000000" or "0.00001"."""
    return np.format_float_positional(value, trim="-")


SECTIONS: Mapping[str, str] = {
    "": "start and camera topic",
    "model": "the model bundle and what runs it",
    "tiles": "the satellite map",
    "datum": "the origin of the map frame",
    "irs": "iterative refinement sampling of GeoFlow models: accuracy against time",
    "search": "what bird's-eye models search",
    "start": "where the track begins without an initialpose",
    "prior": "where the search for the camera may begin",
    "relocalize": "what the service ~/relocalize does",
    "odometry": "errors of the odometry",
    "heading": "absolute yaw from the topic imu",
    "covariance": "how the errors of successive fixes are correlated",
    "gate": "which fixes are outliers, when the track follows them, and when it is lost",
    "output": "which poses are published",
    "frames": "names of the frames, and TF",
    "camera": "the camera's lens, where it is mounted, and how well that is known",
    "debug_image": "the picture for people",
    "diagnostics": "limits for warnings and errors on /diagnostics",
}
"""What the parameters of each section are about; a section is the part of their names before the first dot."""

SPECS: Mapping[str, ParameterSpec] = {
    "autostart": ParameterSpec(True, "configure and activate without waiting for a lifecycle manager"),
    "exit_on_error": ParameterSpec(
        True,
        "with autostart, the executable ends with exit code 2 where the node cannot be configured; false: it tries "
        "again every 2 s, for maps and servers that come later",
    ),
    "image_transport": ParameterSpec(
        "raw",
        "which camera topic is subscribed; raw: image, compressed: image/compressed",
        choices=("raw", "compressed"),
    ),
    "model.path": ParameterSpec(DEFAULT_MODEL, "model bundle: a folder, or the name of one that came with the package"),
    "model.backend": ParameterSpec(
        "auto", "what runs the model; auto: the fastest that is installed and can run it", choices=BACKENDS
    ),
    "model.precision": ParameterSpec(
        "auto",
        "precision of the encoders; auto: a reduced one where it is faster and the bundle's precision check passed",
        choices=PRECISIONS,
    ),
    "model.threads": ParameterSpec(0, "threads of the encoders on the CPU; 0: the back end decides", (0, 256)),
    "model.providers": ParameterSpec(
        [""], "onnxruntime execution providers, by preference; empty: the CPU (with backend auto: any back end)"
    ),
    "model.device": ParameterSpec("cuda:0", "device of TensorRT and torch"),
    "model.engine_file_path": ParameterSpec(
        "", "folder of the TensorRT engines; empty: that of the bundle, or the user's cache"
    ),
    "model.force_engine_update": ParameterSpec(False, "build the TensorRT engines again at the start"),
    "model.max_workspace_size": ParameterSpec(
        256 * _MIB, "memory that TensorRT may use to build an engine, bytes", (1, _TIB)
    ),
    "model.verbose": ParameterSpec(False, "log TensorRT's own messages in detail"),
    "tiles.source": ParameterSpec(
        "",
        "satellite tiles: FILE.mbtiles, FILE.tif, http(s)://HOST/{z}/{x}/{y}.png, file:///DIR/{z}/{x}/{y}.png or "
        "others (docs/maps.md); topic: those on satellite/tiles; a key is written as {env:NAME} or {file:PATH}",
    ),
    "tiles.zoom": ParameterSpec(-1, "zoom level; -1: the one whose ground resolution fits the model", (-1, 30)),
    "tiles.cache": ParameterSpec(256, "decoded tiles kept in memory (256 x 256 px tiles: 0.2 MB each)", (4, 65536)),
    "tiles.cache_folder": ParameterSpec("", "folder in which tiles of servers are kept on disk; empty: none are kept"),
    "tiles.cache_mb": ParameterSpec(2048, "what the tiles of one server may take of the disk, MB", (1, 1_000_000)),
    "tiles.topic_mb": ParameterSpec(64, "what tiles that came on satellite/tiles may take of memory, MB", (1, 65536)),
    "tiles.offline": ParameterSpec(False, "never touch the network: show what is in tiles.cache_folder"),
    "tiles.recentre_distance_m": ParameterSpec(
        5.0,
        "the satellite patch and its features are reused while the prior moves less than this, metres",
        (0.0, 100.0),
        dynamic=True,
    ),
    "tiles.recentre_angle_deg": ParameterSpec(
        2.0,
        "the satellite patch is reused while the prior's heading turns less than this, degrees",
        (0.0, 45.0),
        dynamic=True,
    ),
    "datum.latitude_deg": ParameterSpec(
        math.nan, "latitude of the map frame's origin, degrees; NaN: centre of the tiles' bounds"
    ),
    "datum.longitude_deg": ParameterSpec(
        math.nan, "longitude of the map frame's origin, degrees; NaN: centre of the tiles' bounds"
    ),
    "irs.hypotheses": ParameterSpec(0, "number of hypotheses N; 0: the model's default", (0, 100_000), dynamic=True),
    "irs.iterations": ParameterSpec(0, "number of refinements R; 0: the model's default", (0, 1000), dynamic=True),
    "irs.step": ParameterSpec(
        0.0,
        "step of a refinement, as a fraction of the predicted displacement; 0: the model's default",
        (0.0, 1.0),
        dynamic=True,
    ),
    "irs.seed": ParameterSpec(0, "seed of the hypotheses' random positions", (0, 2**31 - 1)),
    "search.max_heading_error_deg": ParameterSpec(
        0.0,
        "headings are searched up to this far from the prior's where it is that uncertain, degrees; wide searches take "
        "longer; 0: as far as the model can",
        (0.0, 180.0),
        dynamic=True,
    ),
    "start.latitude_deg": ParameterSpec(
        math.nan, "latitude of base_link where every drive begins, degrees; NaN: no such place"
    ),
    "start.longitude_deg": ParameterSpec(
        math.nan, "longitude of base_link where every drive begins, degrees; NaN: no such place"
    ),
    "start.heading_deg": ParameterSpec(
        math.nan,
        "where the vehicle looks there, degrees clockwise from north; NaN: not known, for models that search all "
        "headings",
    ),
    "start.position_std_m": ParameterSpec(
        5.0, "standard deviation of that position in each direction, metres", (0.1, 1000.0)
    ),
    "start.heading_std_deg": ParameterSpec(10.0, "standard deviation of that heading, degrees", (0.1, 180.0)),
    "start.resume_file": ParameterSpec(
        "",
        "file that keeps the last pose, from which the next drive goes on; empty: none. Odometry that stands at its "
        "origin has begun anew: the vehicle must not have been moved meanwhile",
    ),
    "start.resume_max_age_s": ParameterSpec(
        600.0, "an older last pose is not resumed, seconds of the odometry's clock", (0.0, 1e9)
    ),
    "start.resume_max_distance_m": ParameterSpec(
        50.0, "nor is one from which the odometry has gone further, metres", (0.0, 100_000.0)
    ),
    "prior.fix_std_m": ParameterSpec(
        10.0,
        "standard deviation of a satellite fix that does not say its own (covariance type UNKNOWN, zero or not "
        "finite), metres",
        (0.1, 1000.0),
    ),
    "prior.min_position_std_m": ParameterSpec(
        3.0, "lower limit of a start pose's position standard deviation, metres", (0.01, 1000.0)
    ),
    "prior.min_yaw_std_deg": ParameterSpec(
        2.0, "lower limit of a start pose's yaw standard deviation, degrees", (0.01, 180.0)
    ),
    "prior.max_std_m": ParameterSpec(
        15.0,
        "frames are rejected while the prior's position standard deviation is above this, metres",
        (0.1, 1000.0),
        dynamic=True,
    ),
    "prior.max_yaw_std_deg": ParameterSpec(
        20.0,  # the 15 degrees of RViz's "2D Pose Estimate" pass; the shipped weights saw heading errors up to 10
        "frames are rejected while the prior's yaw standard deviation is above this, degrees; a model that searches "
        "headings takes a third of what it searches, if that is more",
        (0.1, 180.0),
        dynamic=True,
    ),
    "prior.use_fix": ParameterSpec(
        True,
        "start from the topic fix (NavSatFix) and an absolute heading where no initialpose came; without a heading, if "
        "the model searches all of them",
    ),
    "prior.wait_for_odometry_s": ParameterSpec(
        0.05, "how long a frame waits for odometry newer than itself, seconds", (0.0, 1.0), dynamic=True
    ),
    "prior.max_extrapolation_s": ParameterSpec(
        0.2, "how far odometry is extrapolated where none came, seconds", (0.0, 1.0)
    ),
    "relocalize.position_std_m": ParameterSpec(
        8.0, "position standard deviation after ~/relocalize, metres", (0.1, 100.0)
    ),
    "relocalize.yaw_std_deg": ParameterSpec(3.0, "yaw standard deviation after ~/relocalize, degrees", (0.1, 180.0)),
    "relocalize.radius_m": ParameterSpec(
        0.0,
        "~/relocalize looks for the vehicle in a square of this half side around the track too, metres; the track is "
        "lost until fixes prove what is found; 0: around the track alone",
        (0.0, 500.0),
        dynamic=True,
    ),
    "relocalize.widen_after": ParameterSpec(
        0,
        "a lost track is looked for in that square by itself after so many images without a fix, and again after as "
        "many; 0: never",
        (0, 10_000),
        dynamic=True,
    ),
    "odometry.position_noise_m_per_sqrt_m": ParameterSpec(
        0.05, "random walk of the odometry's position, m per sqrt(m)", (1e-4, 10.0)
    ),
    "odometry.yaw_noise_deg_per_sqrt_s": ParameterSpec(
        0.1, "random walk of the odometry's yaw, deg per sqrt(s)", (1e-5, 10.0)
    ),
    "odometry.yaw_drift_std_deg_per_s": ParameterSpec(
        0.12, "standard deviation of the odometry's constant yaw drift, deg/s", (0.0, 10.0)
    ),
    "odometry.scale_std": ParameterSpec(
        0.03, "standard deviation of the odometry's scale error, metres per metre", (0.0, 0.5)
    ),
    "heading.use_imu": ParameterSpec(True, "fuse the absolute yaw on the topic imu (ENU, REP-145)"),
    "heading.offset_deg": ParameterSpec(
        0.0, "added to the imu's yaw (magnetic declination, mounting), degrees", (-360.0, 360.0)
    ),
    "heading.noise_deg": ParameterSpec(
        1.0,
        "standard deviation of the imu's yaw where the message gives no variance, degrees",
        (0.01, 90.0),
    ),
    "heading.bias_std_deg": ParameterSpec(
        2.0, "standard deviation of the constant error of the imu's yaw, degrees", (0.0, 90.0)
    ),
    "heading.bias_walk_deg_per_sqrt_s": ParameterSpec(
        0.17, "random walk of the error of the imu's yaw, deg per sqrt(s)", (0.0, 10.0)
    ),
    "covariance.correlation_length_m": ParameterSpec(
        8.0, "fixes closer together than this have correlated errors, metres", (0.01, 1000.0), dynamic=True
    ),
    "covariance.correlation_time_s": ParameterSpec(
        30.0,
        "fixes closer in time than this have correlated errors (vehicle at rest), seconds",
        (0.01, 3600.0),
        dynamic=True,
    ),
    "gate.probability": ParameterSpec(
        0.997, "share of the correct fixes that pass the gate, as a fraction", (0.5, 0.999999), dynamic=True
    ),
    "gate.relocalize_after": ParameterSpec(
        5, "number of consecutive rejected, mutually consistent fixes that move the track", (2, 200), dynamic=True
    ),
    "gate.relocalize_distance_m": ParameterSpec(
        20.0,
        "rejected fixes move the track only if they span at least this distance, metres; half of it is enough for "
        "fixes that find a lost track where it is",
        (0.0, 1000.0),
        dynamic=True,
    ),
    "gate.degraded_after_m": ParameterSpec(
        8.0, "DEGRADED after driving so far without a fix that is used, metres", (0.1, 100_000.0), dynamic=True
    ),
    "gate.lost_after_m": ParameterSpec(
        16.0,
        "LOST after driving so far without a fix that is used, metres: nothing is published from then on, until fixes "
        "agree with each other (gate.relocalize_*); how far the odometry alone is believed",
        (0.1, 100_000.0),
        dynamic=True,
    ),
    "output.spacing_m": ParameterSpec(
        10.0,
        "~/pose and ~/fix come so many metres away from the last ones, by the odometry, since the errors of nearer "
        "fixes are alike; 0: for every fix",
        (0.0, 1000.0),
        dynamic=True,
    ),
    "frames.map": ParameterSpec("map", "name of the map frame"),
    "frames.odom": ParameterSpec("odom", "name of the odometry's frame"),
    "frames.base_link": ParameterSpec("base_link", "name of the vehicle's frame"),
    "frames.broadcast_tf": ParameterSpec(
        True,
        "send the transform from the map to the odometry's frame; false where another node sends it, as "
        "robot_localization does",
    ),
    "camera.info_file": ParameterSpec(
        "",
        "calibration in ROS's YAML format (camera_calibration's), instead of the topic camera_info; empty: the topic",
    ),
    "camera.rectified": ParameterSpec(
        False, "whether the images are rectified already (image_rect): P and R of the calibration count, not K and D"
    ),
    "camera.extrinsics": ParameterSpec(
        "auto",
        "where the mounting comes from; tf: the image's frame on /tf_static; parameters: the following; auto: these if "
        "one of x, y, yaw, pitch, roll is set, else tf if it is there",
        choices=("auto", "tf", "parameters"),
    ),
    "camera.lever_arm.x_m": ParameterSpec(0.0, "camera forward of base_link, metres", (-50.0, 50.0)),
    "camera.lever_arm.y_m": ParameterSpec(0.0, "camera left of base_link, metres", (-50.0, 50.0)),
    "camera.yaw_deg": ParameterSpec(
        0.0, "camera's direction from the vehicle's forward, counter-clockwise, degrees", (-180.0, 180.0)
    ),
    "camera.pitch_deg": ParameterSpec(
        0.0, "camera's pitch against the vehicle, degrees; positive looks down (REP-103, as in a URDF)", (-60.0, 60.0)
    ),
    "camera.roll_deg": ParameterSpec(
        0.0, "camera's roll against the vehicle, degrees; positive lowers its right side (REP-103)", (-60.0, 60.0)
    ),
    "camera.height_m": ParameterSpec(
        0.0, "camera above the ground, metres; 0: by tf (base_footprint, else base_link), else the model's", (0.0, 20.0)
    ),
    "camera.level_by": ParameterSpec(
        "mounting",
        "what makes pictures level; mounting: the vehicle stands on any road as on a level one; imu: roll and pitch of "
        "the topic imu are taken out too, for vehicles that lean on level ground",
        choices=("mounting", "imu"),
    ),
    "camera.pitch_std_deg": ParameterSpec(
        1.0,
        "bird's-eye models: standard deviation of the mounting's pitch about the model's camera, degrees; 0: known",
        (0.0, 10.0),
    ),
    "camera.roll_std_deg": ParameterSpec(
        0.8, "standard deviation of the mounting's roll, degrees; 0: known", (0.0, 10.0)
    ),
    "camera.height_std": ParameterSpec(
        0.05, "standard deviation of the camera's height, as a fraction of the model's camera's; 0: known", (0.0, 0.3)
    ),
    "camera.suspension_std_deg": ParameterSpec(
        0.5, "standard deviation of the pitch and roll that the suspension adds, degrees; 0: none", (0.0, 10.0)
    ),
    "camera.calibration_file": ParameterSpec(
        "", "file that keeps what was learned of the camera's pitch, roll and height between drives; empty: none"
    ),
    "debug_image.jpeg_quality": ParameterSpec(85, "JPEG quality of ~/debug_image/compressed", (1, 100), dynamic=True),
    "diagnostics.latency_warn_ms": ParameterSpec(
        200.0, "95th percentile of the latency that is a warning, milliseconds", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.latency_error_ms": ParameterSpec(
        1000.0, "95th percentile of the latency that is an error, milliseconds", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.silence_warn_s": ParameterSpec(
        1.0, "time without a fix that is a warning, seconds", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.silence_error_s": ParameterSpec(
        5.0, "time without a fix that is an error, seconds", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.position_std_warn_m": ParameterSpec(
        3.0, "position standard deviation of the track that is a warning, metres", (0.0, 1e6), dynamic=True
    ),
    "diagnostics.position_std_error_m": ParameterSpec(
        10.0, "position standard deviation of the track that is an error, metres", (0.0, 1e6), dynamic=True
    ),
}

VEHICLE_PARAMETERS = (
    "image_transport",
    "model.path",
    "model.backend",
    "tiles.source",
    "datum.latitude_deg",
    "datum.longitude_deg",
    "prior.use_fix",
    "heading.use_imu",
    "heading.offset_deg",
    "frames.odom",
    "frames.base_link",
    "frames.broadcast_tf",
    "camera.lever_arm.x_m",
    "camera.lever_arm.y_m",
    "camera.yaw_deg",
)
"""What differs from vehicle to vehicle: the parameters in `config/geoflow.yaml`."""


PUBLISHER_SPECS: Mapping[str, ParameterSpec] = {
    "tiles.source": replace(
        SPECS["tiles.source"],
        description="satellite tiles to send: FILE.mbtiles, http(s)://HOST/{z}/{x}/{y}.png or others (docs/maps.md)",
    ),
    **{name: SPECS[name] for name in ("tiles.zoom", "tiles.cache_folder", "tiles.cache_mb", "tiles.offline")},
    "tiles.radius_m": ParameterSpec(150.0, "tiles this near to the vehicle are sent, metres", (10.0, 10_000.0)),
    "tiles.rate_hz": ParameterSpec(20.0, "tiles sent in a second at most", (0.1, 1000.0)),
    **{name: SPECS[name] for name in ("model.path", "datum.latitude_deg", "datum.longitude_deg", "frames.map")},
}
"""The parameters of the executable `tile_publisher`; most are the localizer's, with the same meaning."""


def section_of(name: str) -> str:
    """Returns the section that a parameter belongs to: the part of its name before the first dot."""
    return name.partition(".")[0] if "." in name else ""
