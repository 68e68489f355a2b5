"""A bird's-eye bundle whose manifest is right and whose graphs are placeholders: for what only reads the manifest."""

from __future__ import annotations

from pathlib import Path

from geoflow_ros.bundle import (
    BirdsEyeGeometry,
    BirdsEyeModel,
    CameraModel,
    Manifest,
    PoseCalibration,
    PoseCalibrations,
)
from geoflow_ros.bundle.bundle import sha256_of
from geoflow_ros.bundle.manifest import GroundInput, SatelliteInput
from geoflow_ros.bundle.methods import BIRDS_EYE, BIRDS_EYE_GRAPHS, birds_eye_tensors

CALIBRATION = PoseCalibration(0.5, 1.1, 0.9, 1.2, 0.1, 0.2, 0.003, 2000, "worlds kept out of training")


def write_placeholder_bundle(folder: Path, geometry: BirdsEyeGeometry) -> Path:
    """Writes the bundle of a small network of this geometry into the folder and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for graph in BIRDS_EYE_GRAPHS:
        (folder / f"{graph}.onnx").write_text(graph)
    manifest = Manifest(
        name="placeholder",
        method=BIRDS_EYE,
        satellite=SatelliteInput(geometry.satellite_size_px, geometry.ground_resolution_m),
        ground=GroundInput(geometry.ground_height_px, geometry.ground_width_px),
        camera=CameraModel(geometry.camera_model, 90.0, geometry.ground_width_px / geometry.ground_height_px),
        search_radius_m=geometry.search_radius_m,
        alignment=geometry.alignment,
        birds_eye=BirdsEyeModel.of(
            geometry,
            fine_channels=3,
            coarse_channels=5,
            feature_channels=8,
            none=-1.5,
            outside=0.25,
            calibration=PoseCalibrations(CALIBRATION, CALIBRATION),
        ),
        training={"pairs": 7},
        figures={"mean_m": 0.5},
        tensors=birds_eye_tensors(geometry, 3, 5, 8),
        files={f"{graph}.onnx": sha256_of(folder / f"{graph}.onnx") for graph in BIRDS_EYE_GRAPHS},
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder
