"""A bird's-eye bundle whose camera stands at a pose that the test knows, whatever the pictures show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fakes.birds_eye_bundle import write_placeholder_bundle
from fakes.ground_cells import scene, tiny_matcher
from numpy.typing import NDArray

from geoflow_ros.bundle import Bundle, Manifest, PoseCalibration, PoseCalibrations
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.inference.pose_search import CameraHypotheses
from geoflow_ros.model import BirdsEyeConfig, BirdsEyeMatcher
from geoflow_ros.model.birds_eye_encoders import GroundCells, SatelliteCells

Arrays = dict[str, NDArray[Any]]

_PITCH_WIDTH_RAD = math.radians(0.4)  # a camera that is assumed so far from how it stands sees the place hardly


def scene_matcher() -> BirdsEyeMatcher:
    """A network whose scores of scenes are neither flat nor sharper than cells."""
    model = tiny_matcher(BirdsEyeConfig(width=4))
    with torch.no_grad():
        model.log_scale -= 2.0
    return model.eval()


def scene_bundle(folder: Path, model: BirdsEyeMatcher, calibration: PoseCalibration | None = None) -> Bundle:
    """The bundle of that network, without graphs."""
    config = model.config
    bundle = Bundle.load(write_placeholder_bundle(folder, config))
    assert bundle.manifest.birds_eye is not None
    section = replace(
        bundle.manifest.birds_eye,
        fine_channels=config.fine_channels,
        coarse_channels=config.coarse_channels,
        none=model.none[1].item(),
        outside=model.outside.item(),
        calibration=PoseCalibrations(*[calibration or PoseCalibration.unfitted()] * 2),
    )
    manifest: Manifest = replace(bundle.manifest, birds_eye=section)
    return Bundle(bundle.path, manifest)


class SceneRunner:
    """Runs the matchers of a network on features of a place, seen from one pose by a camera with one pitch.

    Attributes:
        offset_m, turn_deg: the camera on the patch; may be changed between frames.
        pitch_rad, height_scale: how it stands; only a hypothesis of it that is near sees the place.
        clarity: 1, or less for features that are less like the patch's.
        calls: names of the graphs that ran.
        projected: how many cameras the image was laid on the ground through, call by call.
    """

    name, precision = "scene", "fp32"

    def __init__(self, model: BirdsEyeMatcher, offset_m: tuple[float, float], turn_deg: float) -> None:
        self.model, self.offset_m, self.turn_deg = model, offset_m, turn_deg
        self.pitch_rad, self.height_scale, self.clarity = 0.0, 1.0, 1.0
        self.calls: list[str] = []
        self.projected: list[int] = []
        self.broken = ""

    def run(self, graph: str, feed: Mapping[str, NDArray[Any]]) -> Arrays:
        """Runs one graph; all outputs of the graph `broken` are NaN."""
        self.calls.append(graph)
        with torch.no_grad():
            result = getattr(self, f"_{graph.removesuffix('_wide')}")(feed, graph.endswith("_wide"))
        return {name: np.full_like(array, np.nan) if graph == self.broken else array for name, array in result.items()}

    def _satellite_encoder(self, feed: Mapping[str, NDArray[Any]], wide: bool) -> Arrays:
        satellite, _ = scene(self.model, self.offset_m, self.turn_deg)
        return {"satellite_fine": satellite.fine.numpy(), "satellite_coarse": satellite.coarse.numpy()}

    def _ground_encoder(self, feed: Mapping[str, NDArray[Any]], wide: bool) -> Arrays:
        return {"ground_features": np.zeros(1, np.float32), "ground_image": np.zeros(1, np.float32)}

    def _ground_projection(self, feed: Mapping[str, NDArray[Any]], wide: bool) -> Arrays:
        _, seen = scene(self.model, self.offset_m, self.turn_deg)
        _, other = scene(self.model, self.offset_m, self.turn_deg, seed=77)
        config, sizes = self.model.config, []
        self.projected.append(len(feed["cells"]))
        truth = CameraHypotheses(np.array([self.pitch_rad]), np.array([self.height_scale]), np.zeros(1))
        (camera,) = truth.cameras(config.camera)
        assert isinstance(camera, VirtualCamera)
        sampling = config.grid.sampling(camera)
        for cells in feed["cells"]:
            both = (cells[..., 1] < 1.5) & sampling.is_visible
            rows = (config.ground_height_px - config.sky_rows_px) / 2.0 * (cells[..., 1] + 1.0) + config.sky_rows_px
            wanted = config.ground_height_px / 2.0 * (sampling.coordinates[..., 1] + 1.0)
            off_rad = np.median(np.abs(rows - wanted)[both]) / camera.focal_px
            sizes.append(self.clarity * math.exp(-0.5 * (off_rad / _PITCH_WIDTH_RAD) ** 2))
        share = torch.tensor(sizes, dtype=torch.float32)[:, None, None, None]
        return {
            "ground_fine": (share * seen.fine + (1.0 - share) * other.fine).numpy(),
            "ground_coarse": (share * seen.coarse + (1.0 - share) * other.coarse).numpy(),
            "fine_confidence": seen.fine_confidence.repeat(len(sizes), 1, 1, 1).numpy(),
        }

    def _coarse_matcher(self, feed: Mapping[str, NDArray[Any]], wide: bool) -> Arrays:
        cells = _tensors(feed)
        satellite, ground = _cells(cells)
        count, turns = len(ground.coarse), len(cells["turn"])
        turn = cells["turn"].expand(count, -1)
        scores = self.model.coarse_scores(satellite, ground, turn, self._search(wide))
        return {"coarse_scores": scores.reshape(count, turns, *scores.shape[2:]).numpy()}

    def _fine_matcher(self, feed: Mapping[str, NDArray[Any]], wide: bool) -> Arrays:
        cells = _tensors(feed)
        satellite, ground = _cells(cells)
        windows = cells["camera"][None], cells["centre_cells"][None], cells["turn"][None]
        return {"fine_scores": self.model.fine_scores(satellite, ground, *windows, self._search(wide))[0].numpy()}

    def _search(self, wide: bool) -> Any:
        search = self.model.config.search
        return replace(search, max_turn_rad=math.pi) if wide else search


def _tensors(feed: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feed.items()}


def _cells(cells: dict[str, torch.Tensor]) -> tuple[SatelliteCells, GroundCells]:
    nothing = torch.zeros(0)
    satellite = SatelliteCells(cells.get("satellite_fine", nothing), cells["satellite_coarse"])
    ground = GroundCells(cells.get("ground_fine", nothing), cells["ground_coarse"], nothing, nothing, nothing)
    return satellite, ground
