"""What a model bundle says about itself: `manifest.json` as typed values.

Everything that the rest of the library must know about a model is here and nowhere else: sizes, scale, alignment,
defaults, calibration, where it was trained and what it reached, and the files' checksums.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.precision import LARGEST_CHANGE, PrecisionCheck
from geoflow_ros.errors import BundleError, GeoFlowError
from geoflow_ros.geo.patch import PatchFrame

FORMAT_VERSION = 1
FILE_NAME = "manifest.json"
CHECKPOINT_FOLDER = "checkpoint"

SATELLITE_ENCODER = "satellite_encoder"
GROUND_ENCODER = "ground_encoder"
HEAD = "head"
GRAPHS = (SATELLITE_ENCODER, GROUND_ENCODER, HEAD)

FORWARD_X = "forward-x"
NORTH_UP = "north-up"
ALIGNMENTS = (FORWARD_X, NORTH_UP)
CAMERA_MODELS = ("perspective", "panorama")
DIRECTION_FAMILIES = ("angmf",)
ENCODER_STRIDE = 32

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class SatelliteInput:
    """The patch that the model sees.

    Attributes:
        size_px: side P of the square patch.
        ground_resolution_m: metres per pixel.
    """

    size_px: int
    ground_resolution_m: float


@dataclass(frozen=True)
class GroundInput:
    """The camera image that the model sees: height H and width W after resizing."""

    height_px: int
    width_px: int


@dataclass(frozen=True)
class CameraModel:
    """The camera that the model was trained with.

    Attributes:
        model: "perspective" or "panorama" (equirectangular).
        horizontal_fov_deg: horizontal field of view, or None where it varied or is not known.
        aspect_ratio: width / height of the camera's images before they are resized to the ground input; it is not
            that of the ground input where the training data were squeezed into it.
    """

    model: str
    horizontal_fov_deg: float | None
    aspect_ratio: float


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph; a shape's strings are dynamic axes."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True)
class GraphSpec:
    """Inputs and outputs of one ONNX file."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Manifest:
    """A bundle's description.

    Attributes:
        name: of the model.
        satellite, ground, camera: the inputs.
        search_radius_m: half the side of the search square; hypotheses are in units of it.
        alignment: "forward-x" (vehicle's forward is image +x) or "north-up" (east is image +x).
        direction_family: distribution of the direction's error, "angmf".
        irs: default hypotheses, iterations and step.
        calibration: of the covariance.
        training: on what and how it was trained, free form.
        figures: what it reached, free form, with the keys of the evaluation.
        tensors: graph name to its inputs and outputs.
        files: file name to the sha256 of its bytes.
        precision_checks: of reduced precisions; one that has no passing check is not used.
        checkpoint: file name in the folder `checkpoint/` to the sha256 of its bytes: the same weights for the torch
            back end. Empty where the bundle was exported without; the folder may be left away on a vehicle.
    """

    name: str
    satellite: SatelliteInput
    ground: GroundInput
    camera: CameraModel
    search_radius_m: float
    alignment: str
    direction_family: str
    irs: IrsSettings
    calibration: Calibration
    training: Mapping[str, Any]
    figures: Mapping[str, Any]
    tensors: Mapping[str, GraphSpec]
    files: Mapping[str, str]
    precision_checks: tuple[PrecisionCheck, ...] = ()
    checkpoint: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def feature_size(self) -> int:
        """d, the width of f_vis."""
        return int(self.tensors[HEAD].inputs[0].shape[1])

    @property
    def has_orientation(self) -> bool:
        """Whether the head also estimates the heading's error."""
        return any(tensor.name == "orientation" for tensor in self.tensors[HEAD].outputs)

    def allows(self, precision: str) -> bool:
        """Whether a check says that this reduced precision is good enough."""
        return any(check.precision == precision and check.passes for check in self.precision_checks)

    def with_check(self, check: PrecisionCheck) -> Manifest:
        """The manifest with a check in the place of an earlier one of the same precision."""
        others = tuple(kept for kept in self.precision_checks if kept.precision != check.precision)
        return replace(self, precision_checks=(*others, check))

    def patch_frame(self, east_m: float, north_m: float, vehicle_yaw_rad: float) -> PatchFrame:
        """The frame of the patch to cut for a vehicle whose camera is thought to be at (east_m, north_m) in the map.

        Args:
            east_m, north_m: the prior position of the camera, map ENU.
            vehicle_yaw_rad: heading of the camera's forward, counter-clockwise from east.
        """
        yaw_rad = vehicle_yaw_rad if self.alignment == FORWARD_X else 0.0
        return PatchFrame(east_m, north_m, yaw_rad, self.satellite.size_px, self.satellite.ground_resolution_m)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        content = {
            "format_version": self.format_version,
            "name": self.name,
            "satellite": asdict(self.satellite),
            "ground": asdict(self.ground),
            "camera": asdict(self.camera),
            "search_radius_m": self.search_radius_m,
            "alignment": self.alignment,
            "direction_family": self.direction_family,
            "irs": asdict(self.irs),
            "calibration": asdict(self.calibration),
            "training": dict(self.training),
            "figures": dict(self.figures),
            "tensors": {name: asdict(graph) for name, graph in self.tensors.items()},
            "files": dict(self.files),
            "precision_checks": [asdict(check) for check in self.precision_checks],
            "checkpoint": dict(self.checkpoint),
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"


def expected_tensors(
    size_px: int, height_px: int, width_px: int, feature_size: int, orientation: bool
) -> dict[str, GraphSpec]:
    """The interface that every bundle's graphs have, for given sizes. Names and order are fixed."""
    tokens = (size_px // ENCODER_STRIDE) ** 2
    satellite_tokens = TensorSpec("satellite_tokens", "float32", ("B", tokens, feature_size))
    f_vis = TensorSpec("f_vis", "float32", ("B", feature_size))
    displacement = [
        TensorSpec("mu_log_r", "float32", ("B", "N")),
        TensorSpec("var_log_r", "float32", ("B", "N")),
        TensorSpec("direction", "float32", ("B", "N", 2)),
        TensorSpec("kappa", "float32", ("B", "N")),
        TensorSpec("refined", "float32", ("B", "N", 2)),
    ]
    if orientation:
        displacement.append(TensorSpec("orientation", "float32", ("B", "N", 2)))
    return {
        SATELLITE_ENCODER: GraphSpec(
            (TensorSpec("satellite", "uint8", ("B", size_px, size_px, 3)),), (satellite_tokens,)
        ),
        GROUND_ENCODER: GraphSpec(
            (TensorSpec("ground", "uint8", ("B", height_px, width_px, 3)), satellite_tokens), (f_vis,)
        ),
        HEAD: GraphSpec(
            (f_vis, TensorSpec("hypotheses", "float32", ("B", "N", 2)), TensorSpec("step", "float32", ())),
            tuple(displacement),
        ),
    }


def read_manifest(path: Path) -> Manifest:
    """Reads and checks a `manifest.json`.

    Raises:
        BundleError: it cannot be read, is not JSON, is of another format version, lacks or misnames an entry, or an
            entry has a value that no model can have.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    except ValueError as error:
        raise BundleError(f"{path} is damaged, not JSON ({error}): copy or export the bundle again") from error
    return _parse(_Section(path, "", content))


class _Section:
    """A JSON object whose entries are taken one by one, with type; what is left over is an error."""

    def __init__(self, path: Path, prefix: str, content: Any) -> None:
        self._path, self._prefix = path, prefix
        if not isinstance(content, dict):
            raise self.error(f"{prefix.rstrip('.') or 'its content'} must be an object")
        self._content: dict[str, Any] = dict(content)

    def error(self, reason: str) -> BundleError:
        return BundleError(f"{self._path}: {reason}; copy or export the bundle again")

    def _take(self, key: str) -> Any:
        if key not in self._content:
            raise self.error(f"'{self._prefix}{key}' is missing")
        return self._content.pop(key)

    def text(self, key: str, choices: tuple[str, ...] | None = None) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value:
            raise self.error(f"'{self._prefix}{key}' must be a text")
        if choices is not None and value not in choices:
            raise self.error(f"'{self._prefix}{key}' is '{value}', known are {', '.join(choices)}")
        return value

    def number(self, key: str, at_least: float = 0.0) -> float:
        value = self._take(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value <= at_least:
            raise self.error(f"'{self._prefix}{key}' must be a number above {at_least:g}")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        if self._content.get(key, 0) is None:
            return self._take(key)
        return self.number(key)

    def integer(self, key: str, at_least: int = 1) -> int:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise self.error(f"'{self._prefix}{key}' must be a whole number of at least {at_least}")
        return value

    def section(self, key: str) -> _Section:
        return _Section(self._path, f"{self._prefix}{key}.", self._take(key))

    def sections(self, key: str) -> list[_Section]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self.error(f"'{self._prefix}{key}' must be a list")
        return [_Section(self._path, f"{self._prefix}{key}[{index}].", item) for index, item in enumerate(value)]

    def optional_section(self, key: str) -> _Section:
        self._content.setdefault(key, {})
        return self.section(key)

    def optional_sections(self, key: str) -> list[_Section]:
        self._content.setdefault(key, [])
        return self.sections(key)

    def shape(self, key: str) -> Shape:
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(axis, str) or type(axis) is int for axis in value):
            raise self.error(f"'{self._prefix}{key}' must be a list of sizes and axis names")
        return tuple(value)

    def texts(self) -> dict[str, str]:
        """All entries, which are texts."""
        return {key: self.text(key) for key in list(self._content)}

    def anything(self) -> Mapping[str, Any]:
        content, self._content = self._content, {}
        return MappingProxyType(content)

    def keys(self) -> list[str]:
        return list(self._content)

    def end(self) -> None:
        if self._content:
            raise self.error(f"'{self._prefix}{next(iter(self._content))}' is not an entry of format {FORMAT_VERSION}")


def _parse(root: _Section) -> Manifest:
    version = root.integer("format_version", at_least=0)
    if version != FORMAT_VERSION:
        raise root.error(f"its format version is {version}, this geoflow_ros reads {FORMAT_VERSION}")

    satellite_section = root.section("satellite")
    satellite = SatelliteInput(satellite_section.integer("size_px"), satellite_section.number("ground_resolution_m"))
    ground_section = root.section("ground")
    ground = GroundInput(ground_section.integer("height_px"), ground_section.integer("width_px"))
    for name, size in (
        ("satellite.size_px", satellite.size_px),
        ("ground.height_px", ground.height_px),
        ("ground.width_px", ground.width_px),
    ):
        if size % ENCODER_STRIDE:
            raise root.error(f"'{name}' is {size}, not a multiple of {ENCODER_STRIDE}")

    camera_section = root.section("camera")
    camera = CameraModel(
        camera_section.text("model", CAMERA_MODELS),
        camera_section.optional_number("horizontal_fov_deg"),
        camera_section.number("aspect_ratio"),
    )
    irs_section, calibration_section = root.section("irs"), root.section("calibration")
    try:
        irs = IrsSettings(
            irs_section.integer("hypotheses"), irs_section.integer("iterations"), irs_section.number("step")
        )
        calibration = Calibration(
            calibration_section.number("forward_scale"),
            calibration_section.number("right_scale"),
            calibration_section.number("forward_floor_m"),
            calibration_section.number("right_floor_m"),
            calibration_section.integer("pairs", at_least=0),
            calibration_section.text("data"),
        )
    except BundleError:
        raise
    except GeoFlowError as error:
        raise root.error(str(error)) from error

    tensors_section = root.section("tensors")
    tensors = {graph: _parse_graph(tensors_section.section(graph)) for graph in tensors_section.keys()}  # noqa: SIM118
    sections = [satellite_section, ground_section, camera_section, irs_section, calibration_section, tensors_section]
    manifest = Manifest(
        name=root.text("name"),
        satellite=satellite,
        ground=ground,
        camera=camera,
        search_radius_m=root.number("search_radius_m"),
        alignment=root.text("alignment", ALIGNMENTS),
        direction_family=root.text("direction_family", DIRECTION_FAMILIES),
        irs=irs,
        calibration=calibration,
        training=root.section("training").anything(),
        figures=root.section("figures").anything(),
        tensors=MappingProxyType(tensors),
        files=MappingProxyType(root.section("files").texts()),
        precision_checks=tuple(_parse_check(section) for section in root.optional_sections("precision_checks")),
        checkpoint=MappingProxyType(root.optional_section("checkpoint").texts()),
    )
    for section in (root, *sections):
        section.end()
    _check_tensors(manifest, root)
    if 2.0 * manifest.search_radius_m > satellite.size_px * satellite.ground_resolution_m:
        raise root.error(f"the search radius of {manifest.search_radius_m:g} m reaches outside the satellite patch")
    return manifest


def _parse_check(section: _Section) -> PrecisionCheck:
    check = PrecisionCheck(
        precision=section.text("precision", tuple(LARGEST_CHANGE)),
        backend=section.text("backend"),
        data=section.text("data"),
        pairs=section.integer("pairs"),
        mean_error_m=section.number("mean_error_m"),
        reference_mean_error_m=section.number("reference_mean_error_m"),
        largest_difference_m=section.number("largest_difference_m", at_least=-1.0),
        median_difference_m=section.number("median_difference_m", at_least=-1.0),
    )
    section.end()
    return check


def _parse_graph(section: _Section) -> GraphSpec:
    def tensors(key: str) -> tuple[TensorSpec, ...]:
        result = []
        for item in section.sections(key):
            result.append(TensorSpec(item.text("name"), item.text("dtype"), item.shape("shape")))
            item.end()
        return tuple(result)

    graph = GraphSpec(tensors("inputs"), tensors("outputs"))
    section.end()
    return graph


def _check_tensors(manifest: Manifest, root: _Section) -> None:
    """The declared tensors are those that follow from the declared sizes."""
    for graph in GRAPHS:
        if graph not in manifest.tensors:
            raise root.error(f"'tensors.{graph}' is missing")
    for graph in manifest.tensors:
        if graph not in GRAPHS:
            raise root.error(f"'tensors.{graph}' is not a graph of format {FORMAT_VERSION}")
    head_inputs = manifest.tensors[HEAD].inputs
    if not head_inputs or len(head_inputs[0].shape) != 2 or not isinstance(head_inputs[0].shape[1], int):
        raise root.error("'tensors.head.inputs' must begin with f_vis (B, d)")
    expected = expected_tensors(
        manifest.satellite.size_px,
        manifest.ground.height_px,
        manifest.ground.width_px,
        manifest.feature_size,
        manifest.has_orientation,
    )
    for graph in GRAPHS:
        difference = describe_difference(expected[graph], manifest.tensors[graph])
        if difference:
            raise root.error(f"'tensors.{graph}': {difference}")


def describe_difference(expected: GraphSpec, found: GraphSpec) -> str:
    """The first tensor that differs, in words; empty where none does."""
    for kind, wanted, got in (
        ("input", expected.inputs, found.inputs),
        ("output", expected.outputs, found.outputs),
    ):
        names_wanted, names_got = [tensor.name for tensor in wanted], [tensor.name for tensor in got]
        if names_wanted != names_got:
            return f"{kind}s are {', '.join(names_got) or 'none'}; must be {', '.join(names_wanted)}"
        for a, b in zip(wanted, got, strict=True):
            if (a.dtype, a.shape) != (b.dtype, b.shape):
                return f"{kind} {a.name} is {b.dtype} {_shape_text(b.shape)}; must be {a.dtype} {_shape_text(a.shape)}"
    return ""


def _shape_text(shape: Shape) -> str:
    return "(" + ", ".join(str(axis) for axis in shape) + ")"
