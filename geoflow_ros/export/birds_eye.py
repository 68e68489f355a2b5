"""What a bundle of a bird's-eye network says of it, and whether it answers as the network does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.backends.onnxruntime_runner import OnnxRuntimeRunner
from geoflow_ros.backends.protocol import GraphRunner
from geoflow_ros.backends.torch_runner import TorchRunner
from geoflow_ros.bundle.birds_eye import PANORAMA, BirdsEyeModel
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.manifest import CameraModel, GroundInput, Manifest, SatelliteInput
from geoflow_ros.bundle.methods import (
    BIRDS_EYE,
    COARSE_MATCHER,
    FINE_MATCHER,
    GROUND_ENCODER,
    GROUND_PROJECTION,
    SATELLITE_ENCODER,
)
from geoflow_ros.bundle.pose_calibration import PoseCalibration
from geoflow_ros.errors import BundleError
from geoflow_ros.export.parity import POSITION_TOLERANCE_M, parity_images, require_close
from geoflow_ros.inference.birds_eye_projection import project_ground
from geoflow_ros.inference.pose_posterior import PoseEstimate, PosePosterior, PoseScores, choose_windows, wrap
from geoflow_ros.inference.pose_search import CameraHypotheses, PoseSearch, search_of
from geoflow_ros.model import BirdsEyeMatcher
from geoflow_ros.model.birds_eye_graphs import feature_channels, tensors_of

YAW_TOLERANCE_RAD = math.radians(0.05)
"""Largest difference of an answer's yaw; that of its position is `POSITION_TOLERANCE_M`."""

_PITCH_RAD = (-0.01, 0.01)
_PITCH_PRIOR = (0.0, 0.01)  # mean and sigma
_AS_ASSUMED = (1.0, 0.1)  # mean and sigma of the height's scale
_FRAMES = 2
_SEED = 0

Outputs = dict[str, NDArray[Any]]


def birds_eye_manifest(described: Mapping[str, Any], calibration: PoseCalibration, model: BirdsEyeMatcher) -> Manifest:
    """The manifest without the files' checksums, which are known after writing.

    Args:
        described: entries that no network knows: name, training and figures.
        calibration: of the covariance.
        model: the network whose numbers the graphs hold.
    """
    config = model.config
    wide_deg = math.degrees(2.0 * math.atan(config.ground_width_px / 2.0 / config.focal_px))
    return Manifest(
        **described,
        method=BIRDS_EYE,
        satellite=SatelliteInput(config.satellite_size_px, config.ground_resolution_m),
        ground=GroundInput(config.ground_height_px, config.ground_width_px),
        camera=CameraModel(
            config.camera_model,
            360.0 if config.camera_model == PANORAMA else wide_deg,
            config.ground_width_px / config.ground_height_px,
        ),
        search_radius_m=config.search_radius_m,
        alignment=config.alignment,
        birds_eye=BirdsEyeModel.of(
            config,
            fine_channels=config.fine_channels,
            coarse_channels=config.coarse_channels,
            feature_channels=feature_channels(config),
            none=float(model.none.detach()[1]),
            outside=float(model.outside),
            calibration=calibration,
        ),
        tensors=tensors_of(model),
        files={},
    )


def check_birds_eye_parity(model: BirdsEyeMatcher, bundle: Bundle) -> None:
    """Compares every output of the bundle with the network's, and the answers of both, with all headings and without.

    Raises:
        BundleError: a difference above what `geoflow_ros.export.parity` and this module allow.
    """
    manifest = bundle.manifest
    satellites, grounds = parity_images(
        manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px, _FRAMES, _SEED
    )
    wanted, found = TorchRunner(model), OnnxRuntimeRunner(bundle)
    for suffix, search in (("", search_of(manifest.geometry)), ("_wide", search_of(manifest.geometry, math.pi))):
        coarsely = replace(search, coarse_turn_step_rad=max(search.coarse_turn_step_rad, search.max_turn_rad / 4.0))
        for satellite, ground in zip(satellites, grounds, strict=True):
            outputs, estimate = _through(wanted, manifest, satellite, ground, coarsely, suffix)
            others, other = _through(found, manifest, satellite, ground, coarsely, suffix)
            for name, values in outputs.items():
                require_close(name, values, others[name])
            _require_same_answer(estimate, other)


def _through(
    runner: GraphRunner, manifest: Manifest, satellite: UInt8Array, ground: UInt8Array, search: PoseSearch, suffix: str
) -> tuple[Outputs, PoseEstimate]:
    """One frame through all graphs: every output, and the answer."""
    model, geometry = manifest.birds_eye, manifest.geometry
    assert model is not None
    cameras = CameraHypotheses.as_assumed()
    if geometry.camera_model != PANORAMA:
        cameras = CameraHypotheses.grid(np.array(_PITCH_RAD), np.ones(1), _PITCH_PRIOR, _AS_ASSUMED)
    at = project_ground(geometry, cameras.cameras(geometry.camera))
    patch = runner.run(SATELLITE_ENCODER, {"satellite": satellite[None]})
    image = runner.run(GROUND_ENCODER, {"ground": ground[None]})
    projected = {"cells": at.cells, "colours": at.colours, "is_visible": at.is_visible}
    shown = {name: image[name] for name in ("ground_features", "ground_image")}
    seen = runner.run(GROUND_PROJECTION, {**shown, **projected})
    turns = search.coarse_turns()
    coarse = runner.run(
        COARSE_MATCHER + suffix,
        {
            "satellite_coarse": patch["satellite_coarse"],
            "ground_coarse": seen["ground_coarse"],
            "turn": turns.astype(np.float32),
        },
    )
    windows = choose_windows(coarse["coarse_scores"], turns, search, cameras.log_prior)
    fine = runner.run(
        FINE_MATCHER + suffix,
        {
            **patch,
            "ground_fine": seen["ground_fine"],
            "ground_coarse": seen["ground_coarse"],
            "camera": windows.camera,
            "centre_cells": windows.centre_cells.astype(np.float32),
            "turn": windows.turn_rad.astype(np.float32),
        },
    )
    scores = PoseScores(
        coarse["coarse_scores"].astype(float),
        turns,
        cameras.log_prior,
        windows,
        fine["fine_scores"].astype(float),
        model.none,
        model.outside,
    )
    return {**patch, **image, **seen, **coarse, **fine}, PosePosterior.of(scores, search).estimate()


def _require_same_answer(wanted: PoseEstimate, found: PoseEstimate) -> None:
    """The most probable pose is a mode of both."""
    difference = np.stack([mode.pose for mode in found.modes]) - wanted.pose
    distance_m = np.linalg.norm(difference[:, :2], axis=1)
    yaw_rad = np.abs(wrap(difference[:, 2]))
    if not ((distance_m <= POSITION_TOLERANCE_M) & (yaw_rad <= YAW_TOLERANCE_RAD)).any():
        nearest = int(distance_m.argmin())
        raise BundleError(
            f"the exported graphs answer {1e3 * distance_m[nearest]:.1f} mm and {math.degrees(yaw_rad[nearest]):.3f}° "
            f"beside the checkpoint (limits {1e3 * POSITION_TOLERANCE_M:.0f} mm, "
            f"{math.degrees(YAW_TOLERANCE_RAD):.2f}°): nothing was written"
        )
