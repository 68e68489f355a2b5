"""What a model bundle says about itself: `manifest.json` as typed values.

Everything that the rest of the library must know about a model is here and nowhere else: sizes, scale, alignment,
defaults, calibration, where it was trained and what it reached, and the files' checksums. The types state the range of
each value; `manifest_reader` holds a file against them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import msgspec

from geoflow_ros.bundle.birds_eye import BirdsEyeGeometry, BirdsEyeModel
from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.constraints import Count, NonEmptyText, PositiveNumber
from geoflow_ros.bundle.evidence import Evidence
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.methods import BIRDS_EYE, FLOW_REFINEMENT, GEOFLOW, GRAPHS_OF, HEAD
from geoflow_ros.bundle.precision import PrecisionCheck
from geoflow_ros.bundle.tensors import GraphSpec
from geoflow_ros.errors import BundleError
from geoflow_ros.geo.birds_eye import CAMERA_HEIGHT_M, HORIZON, VirtualCamera
from geoflow_ros.geo.patch import PatchFrame

FORMAT_VERSION = 1
FILE_NAME = "manifest.json"
CHECKPOINT_FOLDER = "checkpoint"

FORWARD_X = "forward-x"
NORTH_UP = "north-up"
ALIGNMENTS = (FORWARD_X, NORTH_UP)
CAMERA_MODELS = ("perspective", "panorama")
ANGMF = "angmf"
DIRECTION_FAMILIES = (ANGMF,)


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

    @property
    def description(self) -> str:
        """The camera in a few words, such as "perspective, 90° wide, 4:1"."""
        wide = [] if self.horizontal_fov_deg is None else [f"{self.horizontal_fov_deg:.0f}° wide"]
        return ", ".join([self.model, *wide, f"{self.aspect_ratio:g}:1"])


OWN_ENTRIES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    GEOFLOW: ("direction_family", "irs", "calibration"),
    BIRDS_EYE: ("method", "birds_eye"),
})  # fmt: skip
"""Entries that manifests of one method have and those of the others have not."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A bundle's description.

    Attributes:
        name: of the model.
        method: "geoflow" or "birds_eye".
        satellite, ground, camera: the inputs.
        search_radius_m: half the side of the search square; GeoFlow's hypotheses are in units of it.
        alignment: "forward-x" (vehicle's forward is image +x) or "north-up" (east is image +x).
        direction_family: of GeoFlow: distribution of the direction's error, "angmf".
        irs: of GeoFlow: default hypotheses, iterations and step.
        calibration: of GeoFlow's covariance.
        birds_eye: of the bird's-eye method: what else its network was made for, with its calibration.
        evidence: how probable a fix's nearness to the truth is; None where that was not fitted.
        training: on what and how it was trained, free form.
        figures: what it reached, free form, with the keys of the evaluation.
        tensors: graph name to its inputs and outputs.
        files: file name to sha256.
        precision_checks: reduced precisions that were compared with float32; entries of an optional list.
        checkpoint: file name to sha256 of the weights in `CHECKPOINT_FOLDER`, the torch back end's; optional.
        format_version: of the file.
    """

    name: NonEmptyText
    method: NonEmptyText = GEOFLOW
    satellite: SatelliteInput
    ground: GroundInput
    camera: CameraModel
    search_radius_m: PositiveNumber
    alignment: NonEmptyText
    direction_family: NonEmptyText = ANGMF
    irs: IrsSettings = IrsSettings()
    calibration: Calibration = Calibration(1.0, 1.0, 1.0, 1.0, 0, "not fitted")
    birds_eye: BirdsEyeModel | None = None
    evidence: Evidence | None = None
    training: Mapping[str, Any]
    figures: Mapping[str, Any]
    tensors: Mapping[str, GraphSpec]
    files: Mapping[str, NonEmptyText]
    precision_checks: tuple[PrecisionCheck, ...] = ()
    checkpoint: Mapping[str, NonEmptyText] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the graphs that the bundle has."""
        has_flow = self.birds_eye is not None and bool(self.birds_eye.flow_start)
        return (*GRAPHS_OF[self.method], FLOW_REFINEMENT) if has_flow else GRAPHS_OF[self.method]

    @property
    def geometry(self) -> BirdsEyeGeometry:
        """What the bird's-eye network looks at.

        Raises:
            BundleError: the bundle is of another method.
            InputError: values that do not go together.
        """
        if self.birds_eye is None:
            raise BundleError(f"the bundle '{self.name}' is of the method {self.method}, not {BIRDS_EYE}")
        return self.birds_eye.geometry(
            satellite_size_px=self.satellite.size_px,
            ground_resolution_m=self.satellite.ground_resolution_m,
            ground_height_px=self.ground.height_px,
            ground_width_px=self.ground.width_px,
            search_radius_m=self.search_radius_m,
            alignment=self.alignment,
            camera_model=self.camera.model,
        )

    @property
    def virtual_camera(self) -> VirtualCamera | None:
        """The level camera whose images the model takes, before they are resized to its input; None of panoramas.

        None also where the manifest does not say the lens.
        """
        if self.camera.model != CAMERA_MODELS[0]:
            return None
        if self.birds_eye is not None:
            camera = self.geometry.camera
            return camera if isinstance(camera, VirtualCamera) else None
        if self.camera.horizontal_fov_deg is None or self.camera.horizontal_fov_deg >= 180.0:
            return None
        width_px = self.ground.width_px
        height_px = max(1, round(width_px / self.camera.aspect_ratio))
        focal_px = width_px / 2.0 / math.tan(math.radians(self.camera.horizontal_fov_deg) / 2.0)
        # GeoFlow's manifests do not say how the camera stood: as those of the worlds that it is trained in here.
        return VirtualCamera(width_px, height_px, focal_px, HORIZON * height_px - 0.5, CAMERA_HEIGHT_M)

    @property
    def feature_size(self) -> int:
        """The width d of GeoFlow's f_vis."""
        return int(self.tensors[HEAD].inputs[0].shape[1])

    @property
    def has_orientation(self) -> bool:
        """Whether GeoFlow's head also estimates the heading's error."""
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
        others = {"evidence"} if self.evidence is None else set()
        others |= {name for method, names in OWN_ENTRIES.items() if method != self.method for name in names}
        entries = {name: value for name, value in entries.items() if name not in others}
        content = {"format_version": entries.pop("format_version"), **entries}
        return json.dumps(content, indent=2, allow_nan=False) + "\n"
