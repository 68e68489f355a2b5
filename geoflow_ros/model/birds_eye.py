"""The bird's-eye network: camera features laid on the ground, matched with the satellite's at every pose.

The encoders follow "Learning Dense Flow Field for Highly-accurate Cross-view Camera Localization" (NeurIPS 2023): the
camera's features are laid on the ground plane through its geometry, refined and compared with the satellite's. The
posterior over (forward, right, turn) is ours: confidence-weighted templates, turned to several headings, are correlated
with the satellite's features at every shift.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoflow_ros.geo.birds_eye import BirdsEyeGrid
from geoflow_ros.inference.pose_posterior import (
    COARSE,
    PoseEstimate,
    PosePosterior,
    PoseScores,
    PoseSearch,
    choose_windows,
)
from geoflow_ros.model.birds_eye_config import NARROW_TURN_RAD, BirdsEyeConfig
from geoflow_ros.model.birds_eye_encoders import (
    GroundCells,
    GroundEncoder,
    Projection,
    SatelliteCells,
    SatelliteEncoder,
)
from geoflow_ros.model.birds_eye_matching import correlate, correlate_by_fft, search_area, turned, window_areas

METHOD = "birds_eye"
_TYPICAL_CELLS = {"fine": 150.0, "coarse": 110.0}  # a template's trusted features: scores start at about their mean


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
            ground: B images.
            turn_rad: (B, K) headings.
            search: the volume; the configuration's where None.

        Returns:
            (B, K, n, n) over turn, forward and right, n = 2 coarse_reach + 1.
        """
        search = search or self.config.search
        grid = self.config.grid.coarsened(COARSE)
        canvas = _canvas(grid, search)
        templates = turned(ground.coarse, turn_rad, grid, canvas)
        area = search_area(satellite.coarse, canvas, search.coarse_reach)
        return correlate(area, templates) * self.log_scale[1].exp()

    def fine_scores(
        self,
        satellite: SatelliteCells,
        ground: GroundCells,
        centre_cells: Tensor,
        turn_rad: Tensor,
        search: PoseSearch | None = None,
    ) -> Tensor:
        """Scores windows by both levels.

        Args:
            satellite: B patches.
            ground: B images.
            centre_cells: (B, M, 2) float, fine cells (forward, right) from the patch's centre.
            turn_rad: (B, M, T) headings of each window.
            search: the windows' size; the configuration's where None.

        Returns:
            (B, M, T, m, m), m = 2 window_cells + 1.
        """
        search = search or self.config.search
        batch, windows, turns = turn_rad.shape
        turn_rad = turn_rad.reshape(batch, windows * turns)
        levels = []
        for patch, seen, step in ((satellite.fine, ground.fine, 1), (satellite.coarse, ground.coarse, COARSE)):
            grid = self.config.grid.coarsened(step)
            canvas = _canvas(grid, search)
            templates = turned(seen, turn_rad, grid, canvas)
            templates = templates.reshape(batch * windows, turns, *templates.shape[2:])
            areas = window_areas(patch, canvas, centre_cells / step, search.window_cells // step)
            levels.append(correlate(areas.flatten(0, 1), templates))
        fine, coarse = levels[0] * self.log_scale[0].exp(), levels[1] * self.log_scale[1].exp()
        fused = fine + _enlarged(coarse, fine.shape[-1])
        return fused.reshape(batch, windows, turns, *fused.shape[-2:])

    def volume_scores(self, satellite: SatelliteCells, ground: GroundCells, turn_rad: Tensor) -> tuple[Tensor, Tensor]:
        """Scores every fine cell of the volume by both levels: what training needs.

        Args:
            satellite: B patches.
            ground: B images.
            turn_rad: (B, K) headings.

        Returns:
            (B, K, N, N) scores of both levels, N = 2 reach_cells + 1, and those of the coarse one between its cells.
        """
        grid, search = self.config.grid, self.config.search
        canvas = _canvas(grid, search)
        templates = turned(ground.fine, turn_rad, grid, canvas)
        fine = correlate_by_fft(search_area(satellite.fine, canvas, search.reach_cells), templates)
        coarse = _enlarged(self.coarse_scores(satellite, ground, turn_rad), fine.shape[-1])
        return coarse + fine * self.log_scale[0].exp(), coarse

    @torch.no_grad()
    def estimate(
        self,
        satellite: Tensor,
        ground: Tensor,
        search: PoseSearch | None = None,
        at: Projection | None = None,
    ) -> list[PoseEstimate]:
        """Estimates the poses of B images on B patches, both normalised float NCHW.

        Args:
            satellite: (B, 3, P, P).
            ground: (B, 3, H, W).
            search: headings and windows; the configuration's where None.
            at: another camera than the configuration's.

        Raises:
            InputError: scores that are not finite.
        """
        search = search or self.config.search
        cells, seen = self.satellite(satellite), self.ground(ground, at)
        return [posterior.estimate() for posterior in self.posteriors(cells, seen, search)]

    @torch.no_grad()
    def posteriors(self, satellite: SatelliteCells, ground: GroundCells, search: PoseSearch) -> list[PosePosterior]:
        """Returns the posterior of each pair of encoded images.

        Raises:
            InputError: scores that are not finite.
        """
        device, count = satellite.fine.device, len(satellite.fine)
        turns = search.coarse_turns()
        turn_rad = torch.tensor(turns, dtype=torch.float32, device=device).expand(count, -1)
        coarse = self.coarse_scores(satellite, ground, turn_rad, search).cpu().double().numpy()
        windows = [choose_windows(np.nan_to_num(scores), turns, search) for scores in coarse]
        centres = torch.tensor(np.stack([w.centre_cells for w in windows]), dtype=torch.float32, device=device)
        window_turns = torch.tensor(np.stack([w.turn_rad for w in windows]), dtype=torch.float32, device=device)
        fine = self.fine_scores(satellite, ground, centres, window_turns, search)
        none, outside = float(self.none[1]), float(self.outside)
        return [
            PosePosterior.of(PoseScores(c, turns, w, f, none, outside), search)
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
