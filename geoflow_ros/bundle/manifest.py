"""What a model bundle says about itself: `manifest.json` as typed values.

Everything that the rest of the library must know about a model is here and nowhere else: sizes, scale, alignment,
defaults, calibration, where it was trained and what it reached, and the files' checksums. The types state the range of
each value; `manifest_reader` holds a file against them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.constraints import Count, NonEmptyText, PositiveNumber
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.precision import PrecisionCheck
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

    size_px: Count
    ground_resolution_m: PositiveNumber


@dataclass(frozen=True)
class GroundInput:
    """The camera image that the model sees: height H and width W after resizing."""

    height_px: Count
    width_px: Count


@dataclass(frozen=True)
class CameraModel:
    """The camera that the model was trained with.

    Attributes:
        model: "perspective" or "panorama" (equirectangular).
        horizontal_fov_deg: horizontal field of view, or None where it varied or is not known.
        aspect_ratio: width / height of the camera's images before they are resized to the ground input; it is not
            that of the ground input where the training data were squeezed into it.
    """

    model: NonEmptyText
    horizontal_fov_deg: PositiveNumber | None
    aspect_ratio: PositiveNumber


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph; a shape's strings are dynamic axes."""

    name: NonEmptyText
    dtype: NonEmptyText
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

    name: NonEmptyText
    satellite: SatelliteInput
    ground: GroundInput
    camera: CameraModel
    search_radius_m: PositiveNumber
    alignment: NonEmptyText
    direction_family: NonEmptyText
    irs: IrsSettings
    calibration: Calibration
    training: Mapping[str, Any]
    figures: Mapping[str, Any]
    tensors: Mapping[str, GraphSpec]
    files: Mapping[str, NonEmptyText]
    precision_checks: tuple[PrecisionCheck, ...] = ()
    checkpoint: Mapping[str, NonEmptyText] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def feature_size(self) -> int:
        """The width d of f_vis."""
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
            east_m: the prior position of the camera, map ENU.
            north_m: the other coordinate of it.
            vehicle_yaw_rad: heading of the camera's forward, counter-clockwise from east.
        """
        yaw_rad = vehicle_yaw_rad if self.alignment == FORWARD_X else 0.0
        return PatchFrame(east_m, north_m, yaw_rad, self.satellite.size_px, self.satellite.ground_resolution_m)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        entries = msgspec.to_builtins(self, enc_hook=dict)  # the hook makes dicts of read-only mappings
        content = {"format_version": entries.pop("format_version"), **entries}
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
