"""What a bundle of a bird's-eye network says of it, and whether it answers as the network does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.backends.onnxruntime_runner import OnnxRuntimeRunner
from geoflow_ros.backends.protocol import GraphRunner
from geoflow_ros.backends.torch_runner import TorchRunner
from geoflow_ros.bundle.birds_eye import PANORAMA, BirdsEyeModel
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.manifest import CameraModel, GroundInput, Manifest, SatelliteInput
from geoflow_ros.bundle.methods import BIRDS_EYE
from geoflow_ros.bundle.pose_calibration import PoseCalibrations
from geoflow_ros.errors import BundleError
from geoflow_ros.export.parity import POSITION_TOLERANCE_M, parity_images, require_close
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer
from geoflow_ros.inference.camera_calibration import CameraUncertainty
from geoflow_ros.inference.fix import Fix
from geoflow_ros.inference.pose_posterior import wrap
from geoflow_ros.inference.protocol import SearchSettings
from geoflow_ros.model import BirdsEyeMatcher, DenseFlow
from geoflow_ros.model.birds_eye_graphs import feature_channels, matcher_of, tensors_of
from geoflow_ros.tiles import SatellitePatch

YAW_TOLERANCE_RAD = math.radians(0.05)
"""Largest difference of an answer's yaw; that of its position is `POSITION_TOLERANCE_M`."""

_CAMERA = CameraUncertainty(pitch_std_rad=0.01)  # so that there are several hypotheses of it
_FRAMES = 2
_SEED = 0

Outputs = dict[str, NDArray[Any]]


def birds_eye_manifest(
    described: Mapping[str, Any], calibration: PoseCalibrations, model: BirdsEyeMatcher | DenseFlow
) -> Manifest:
    """The manifest without the files' checksums, which are known after writing.

    Args:
        described: entries that no network knows: name, training and figures.
        calibration: of the covariance.
        model: the network whose numbers the graphs hold.
    """
    config, matcher = model.config, matcher_of(model)
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
            none=float(matcher.none.detach()[1]),
            outside=float(matcher.outside),
            calibration=calibration,
            flow_start=model.flow_config.start if isinstance(model, DenseFlow) else "",
        ),
        tensors=tensors_of(model),
        files={},
    )


def check_birds_eye_parity(model: BirdsEyeMatcher | DenseFlow, bundle: Bundle) -> None:
    """Compares every output of the bundle with the network's, and the answers of both, with all headings and without.

    Raises:
        BundleError: a difference above what `geoflow_ros.export.parity` and this module allow.
    """
    manifest = bundle.manifest
    satellites, grounds = parity_images(
        manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px, _FRAMES, _SEED
    )
    frame = manifest.patch_frame(0.0, 0.0, 0.0)
    runners = _Recording(TorchRunner(model)), _Recording(OnnxRuntimeRunner(bundle))
    wanted, found = (BirdsEyeLocalizer(bundle, runner, SearchSettings(camera=_CAMERA)) for runner in runners)
    for satellite, ground in zip(satellites, grounds, strict=True):
        patch = SatellitePatch(satellite, frame)
        for heading_error_rad in (None, math.pi):
            fix, other = (one.localize(ground, patch, heading_error_rad=heading_error_rad) for one in (wanted, found))
            for name, values in runners[0].outputs.items():
                require_close(name, values, runners[1].outputs[name])
            _require_same_answer(fix, other)


class _Recording:
    """A runner that keeps the last outputs of every graph."""

    def __init__(self, runner: GraphRunner) -> None:
        self._runner = runner
        self.name, self.precision = runner.name, runner.precision
        self.outputs: Outputs = {}

    def run(self, graph: str, feed: Mapping[str, NDArray[Any]]) -> Outputs:
        """See `GraphRunner.run`."""
        outputs = self._runner.run(graph, feed)
        self.outputs |= {f"{graph}'s {name}": values for name, values in outputs.items()}
        return outputs


def _require_same_answer(wanted: Fix, found: Fix) -> None:
    """The most probable pose is a mode of both."""
    assert wanted.yaw_rad is not None  # which this method measures
    assert found.yaw_rad is not None
    yaws_rad = found.hypothesis_yaws_rad if isinstance(found, BirdsEyeFix) else np.array([found.yaw_rad])
    distance_m = np.linalg.norm(found.hypotheses - wanted.position, axis=1)
    yaw_rad = np.abs(wrap(yaws_rad - wanted.yaw_rad))
    if not ((distance_m <= POSITION_TOLERANCE_M) & (yaw_rad <= YAW_TOLERANCE_RAD)).any():
        nearest = int(distance_m.argmin())
        raise BundleError(
            f"the exported graphs answer {1e3 * distance_m[nearest]:.1f} mm and {math.degrees(yaw_rad[nearest]):.3f}° "
            f"beside the checkpoint (limits {1e3 * POSITION_TOLERANCE_M:.0f} mm, "
            f"{math.degrees(YAW_TOLERANCE_RAD):.2f}°): nothing was written"
        )
