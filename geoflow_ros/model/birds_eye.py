"""The bird's-eye network: camera features laid on the ground, matched with the satellite's at every pose.

The encoders follow "Learning Dense Flow Field for Highly-accurate Cross-view Camera Localization" (NeurIPS 2023): the
camera's features are laid on the ground plane through its geometry, refined and compared with the satellite's. The
posterior over (forward, right, turn) is ours: confidence-weighted templates, turned to several headings, are correlated
with the satellite's features at every shift.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoflow_ros.bundle.birds_eye import COARSE
from geoflow_ros.geo.birds_eye import BirdsEyeGrid
from geoflow_ros.inference.birds_eye_projection import NARROW_TURN_RAD
from geoflow_ros.inference.pose_posterior import PoseEstimate, PosePosterior, PoseScores, choose_windows
from geoflow_ros.inference.pose_search import CameraHypotheses, PoseSearch
from geoflow_ros.model.birds_eye_config import BirdsEyeConfig
from geoflow_ros.model.birds_eye_encoders import (
    GroundCells,
    GroundEncoder,
    SatelliteCells,
    SatelliteEncoder,
    projection,
)
from geoflow_ros.model.birds_eye_matching import (
    correlate,
    correlate_by_fft,
    search_area,
    turned,
    turned_templates,
    window_areas,
)

_TYPICAL_CELLS = {"fine": 150.0, "coarse": 110.0}  # a template's trusted features: scores start at about their mean


class VolumeScores(NamedTuple):
    """Scores of whole volumes.

    Attributes:
        coarse: (B, K, n, n) of the coarse level, n = 2 coarse_reach + 1.
        fine: (B, T, N, N) of both levels together, N = 2 reach_cells + 1.
        between: (B, T, N, N) what the coarse level has in it, between its cells.
    """

    coarse: Tensor
    fine: Tensor
    between: Tensor


class BirdsEyeMatcher(nn.Module):
    """The network.

    Its parts are to be called one by one: `satellite` and `ground` encode, `coarse_scores` scores the whole search
    volume, `fine_scores` windows in it. `estimate` runs them all.

    Attributes:
        config: what it is.
        satellite: patches, normalised, to the features of their cells.
        ground: camera images, normalised, to the features of the cells before the vehicle.
        none: (2,) scores, per cell of the volume, of the camera being nowhere in it: coarse and fine level.
        outside: () what the fine level adds to the coarse score on average away from the truth; measured in training.
    """

    outside: Tensor

    def __init__(self, config: BirdsEyeConfig | None = None) -> None:
        super().__init__()
        self.config = config or BirdsEyeConfig()
        self.satellite = SatelliteEncoder(self.config)
        self.ground = GroundEncoder(self.config)
        self.log_scale = nn.Parameter(torch.tensor([-math.log(n / 2.0) for n in _TYPICAL_CELLS.values()]))
        self.none = nn.Parameter(torch.zeros(2))
        self.register_buffer("outside", torch.zeros(()))

    def coarse_scores(
        self, satellite: SatelliteCells, ground: GroundCells, turn_rad: Tensor, search: PoseSearch | None = None
    ) -> Tensor:
        """Scores every coarse cell of the search volume.

        Args:
            satellite: B patches.
            ground: B P images: P ways of laying each patch's image on the ground, one after another.
            turn_rad: (B P, K) headings.
            search: the volume; the configuration's where None.

        Returns:
            (B, P K, n, n) over turn (all of a patch's first way first), forward and right, n = 2 coarse_reach + 1.
        """
        search, grid = search or self.config.search, self.config.grid.coarsened(COARSE)
        canvas = _canvas(grid, search)
        templates = turned_templates(ground.coarse, turn_rad, grid, canvas)
        patches, shape = len(satellite.coarse), templates.tiles.shape[2:]
        templates = templates._replace(
            tiles=templates.tiles.reshape(patches, -1, *shape), gain=templates.gain.reshape(patches, -1)
        )
        area = search_area(satellite.coarse, canvas, search.coarse_reach)
        return correlate(area, templates) * self.log_scale[1].exp()

    def fine_scores(
        self,
        satellite: SatelliteCells,
        ground: GroundCells,
        camera: Tensor,
        centre_cells: Tensor,
        turn_rad: Tensor,
        search: PoseSearch | None = None,
    ) -> Tensor:
        """Scores windows by both levels.

        Args:
            satellite: B patches.
            ground: images.
            camera: (B, M) int64, the number in `ground` of what each window is of.
            centre_cells: (B, M, 2) float, fine cells (forward, right) from the patch's centre.
            turn_rad: (B, M, T) headings of each window.
            search: the windows' size; the configuration's where None.

        Returns:
            (B, M, T, m, m), m = 2 window_cells + 1.
        """
        search = search or self.config.search
        turns = turn_rad.flatten(0, 1)
        levels = []
        for patch, seen, step in ((satellite.fine, ground.fine, 1), (satellite.coarse, ground.coarse, COARSE)):
            grid = self.config.grid.coarsened(step)
            canvas = _canvas(grid, search)
            templates = turned_templates(seen.index_select(0, camera.flatten()), turns, grid, canvas)
            areas = window_areas(patch, canvas, centre_cells / step, search.window_cells // step)
            levels.append(correlate(areas.flatten(0, 1), templates))
        fine, coarse = levels[0] * self.log_scale[0].exp(), levels[1] * self.log_scale[1].exp()
        fused = fine + _enlarged(coarse, fine.shape[-1])
        return fused.reshape(*turn_rad.shape, *fused.shape[-2:])

    def volume_scores(
        self, satellite: SatelliteCells, ground: GroundCells, turn_rad: Tensor, coarse_turn_rad: Tensor
    ) -> VolumeScores:
        """Scores every cell of the volume on both levels: what training needs.

        Args:
            satellite: B patches.
            ground: B images.
            turn_rad: (B, T) headings of the fine level.
            coarse_turn_rad: (B, K) those of the coarse one.
        """
        grid, search = self.config.grid, self.config.search
        canvas = _canvas(grid, search)
        fine = correlate_by_fft(
            search_area(satellite.fine, canvas, search.reach_cells), turned(ground.fine, turn_rad, grid, canvas)
        )
        both_turns = torch.cat((turn_rad, coarse_turn_rad), dim=1)
        grid = grid.coarsened(COARSE)
        canvas = _canvas(grid, search)
        both = correlate_by_fft(
            search_area(satellite.coarse, canvas, search.coarse_reach), turned(ground.coarse, both_turns, grid, canvas)
        )
        both = both * self.log_scale[1].exp()
        turns = turn_rad.shape[1]
        between = _enlarged(both[:, :turns], fine.shape[-1])
        return VolumeScores(both[:, turns:], between + fine * self.log_scale[0].exp(), between)

    @torch.no_grad()
    def estimate(
        self,
        satellite: Tensor,
        ground: Tensor,
        search: PoseSearch | None = None,
        cameras: CameraHypotheses | None = None,
    ) -> list[PoseEstimate]:
        """Estimates the poses of B images on B patches, both normalised float NCHW.

        Args:
            satellite: (B, 3, P, P).
            ground: (B, 3, H, W).
            search: headings and windows; the configuration's where None.
            cameras: how the camera may stand; as the configuration says where None.

        Raises:
            InputError: scores that are not finite.
        """
        search, cameras = search or self.config.search, cameras or CameraHypotheses.as_assumed()
        seen = self.seen_by(ground, cameras)
        return [posterior.estimate() for posterior in self.posteriors(self.satellite(satellite), seen, search, cameras)]

    def seen_by(self, ground: Tensor, cameras: CameraHypotheses) -> GroundCells:
        """Encodes B images once and lays each on the ground in P ways: B P images, those of the first one first."""
        features, below = self.ground.image_features(ground)
        at = projection(self.config, *cameras.cameras(self.config.camera) * len(ground)).to(ground.device)
        if len(ground) > 1:
            features, below = (images.repeat_interleave(len(cameras), 0) for images in (features, below))
        return self.ground.lay_down(features, below, at)

    @torch.no_grad()
    def posteriors(
        self,
        satellite: SatelliteCells,
        ground: GroundCells,
        search: PoseSearch,
        cameras: CameraHypotheses | None = None,
    ) -> list[PosePosterior]:
        """Returns the posterior of each of B pairs of encoded images, `ground` having B P (see `seen_by`).

        Raises:
            InputError: scores that are not finite.
        """
        cameras = cameras or CameraHypotheses.as_assumed()
        device, count = satellite.fine.device, len(satellite.fine)
        turns = search.coarse_turns()
        turn_rad = torch.tensor(turns, dtype=torch.float32, device=device).expand(len(ground.fine), -1)
        scores = self.coarse_scores(satellite, ground, turn_rad, search).cpu().double().numpy()
        coarse = scores.reshape(count, len(cameras), len(turns), *scores.shape[2:])
        windows = [choose_windows(np.nan_to_num(c), turns, search, cameras.log_prior) for c in coarse]
        first = np.arange(count)[:, None] * len(cameras)
        camera = torch.tensor(first + np.stack([w.camera for w in windows]), device=device)
        centres = torch.tensor(np.stack([w.centre_cells for w in windows]), dtype=torch.float32, device=device)
        window_turns = torch.tensor(np.stack([w.turn_rad for w in windows]), dtype=torch.float32, device=device)
        fine = self.fine_scores(satellite, ground, camera, centres, window_turns, search)
        none, outside = float(self.none[1]), float(self.outside)
        return [
            PosePosterior.of(PoseScores(c, turns, cameras.log_prior, w, f, none, outside), search)
            for c, w, f in zip(coarse, windows, fine.cpu().double().numpy(), strict=True)
        ]


def _canvas(grid: BirdsEyeGrid, search: PoseSearch) -> BirdsEyeGrid:
    """Returns the grid that turned templates lie on: all around the camera where the headings are."""
    if search.max_turn_rad <= NARROW_TURN_RAD:
        return grid
    reach = grid.first_forward_cell + grid.forward_cells
    return replace(grid, first_forward_cell=-reach, forward_cells=2 * reach, right_cells=2 * reach)


def _enlarged(coarse: Tensor, size: int) -> Tensor:
    """Interpolates coarse scores (B, K, n, n) at the fine cells (B, K, size, size); every `COARSE`-th has its own."""
    return F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)
