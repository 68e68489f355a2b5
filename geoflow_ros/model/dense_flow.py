"""Dense flow: from where a pose lays every cell of the ground to where the satellite shows it, and the pose of that.

The flow decoder of "Learning Dense Flow Field for Highly-accurate Cross-view Camera Localization" (NeurIPS 2023), which
is RAFT's: correlations of all pairs, a pyramid of them, look-ups around the present flow, a convolutional GRU. A
weighted fit of the flow gives position, turn and their covariance.

The patch is looked at from the start pose: flow is what is left to move. From zero, as in the paper, that is the whole
offset. From the mode of the matching posterior it is little, and finer cells can be afforded. Pairs that are farther
apart than the volume reaches are not computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoflow_ros.bundle.birds_eye import COARSE, MODE, ZERO
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import BirdsEyeGrid
from geoflow_ros.inference.pose_search import PoseSearch
from geoflow_ros.model.birds_eye import BirdsEyeMatcher
from geoflow_ros.model.birds_eye_config import BirdsEyeConfig
from geoflow_ros.model.birds_eye_encoders import GroundCells, Projection, SatelliteCells
from geoflow_ros.model.rigid_fit import composed, covariance, moved, rigid_fit, rotated

PROJECTION, REFINE_BLOCK, CONFIDENCE = "projection", "refine_block", "confidence"
MATCHING_LOSS, POSITION_LOSS = "matching_loss", "position_loss"
ABLATIONS = (PROJECTION, REFINE_BLOCK, MATCHING_LOSS, POSITION_LOSS, CONFIDENCE)
"""What the paper's table of ablations does without."""


@dataclass(frozen=True)
class DenseFlowConfig:
    """A flow decoder; the defaults are the small one that starts from the posterior's mode.

    Attributes:
        start: "mode" of the matching posterior, or "zero": the patch's centre and no turn, as in the paper.
        trains_encoders: whether the encoders are trained with the flow; else they stay as the matcher's training left
            them, and its posterior too.
        fine_reach: fine cells from the start that the fine volume reaches to every side; 0 leaves it out.
        coarse_reach: likewise for the coarse volume.
        levels: maps of each volume's pyramid, each half as fine as the one before.
        radius: cells of a map that a look-up reaches to every side.
        hidden: channels of the GRU's state and of its context.
        motion: channels of the look-ups' encoding.
        iterations: of the GRU.
        without: one of `ABLATIONS`, to measure what it gives; or "".
    """

    start: str = MODE
    trains_encoders: bool = False
    fine_reach: int = 6
    coarse_reach: int = 5
    levels: int = 2
    radius: int = 3
    hidden: int = 48
    motion: int = 64
    iterations: int = 6
    without: str = ""

    def __post_init__(self) -> None:
        if self.without and self.without not in ABLATIONS:
            raise InputError(f"without is {self.without!r}; it must be one of {', '.join(ABLATIONS)}")
        if self.start not in (MODE, ZERO):
            raise InputError(f"start is {self.start!r}; it must be {MODE!r} or {ZERO!r}")
        if min(self.levels, self.radius, self.hidden, self.motion, self.iterations) < 1:
            raise InputError("levels, radius, hidden, motion and iterations must be at least 1")
        reaches = [reach for reach in (self.fine_reach, self.coarse_reach) if reach]
        if not reaches or 2 * min(reaches) + 1 < 2 ** (self.levels - 1):
            raise InputError("a volume must reach far enough for its pyramid's levels, and one must be there")


def flow_from_zero(config: BirdsEyeConfig, sizes: DenseFlowConfig | None = None) -> DenseFlowConfig:
    """Returns the decoder of the paper for a matcher's search volume: from zero flow, trained with the encoders.

    Its coarse volume reaches as far as the offset and the turn can move a cell.

    Args:
        config: of the matcher.
        sizes: radius, channels and iterations, such as `PAPER_DECODER`; the small decoder's with the paper's 12
            iterations where None.
    """
    turned_m = 2.0 * config.range_m * math.sin(math.radians(config.max_turn_deg) / 2.0)
    reach = math.ceil((config.search_radius_m + turned_m) / (COARSE * config.cell_m))
    return replace(
        sizes or DenseFlowConfig(iterations=12),
        start=ZERO,
        trains_encoders=True,
        fine_reach=0,
        coarse_reach=reach,
        levels=4,
    )


PAPER_DECODER = DenseFlowConfig(radius=4, hidden=128, motion=128, iterations=12)
"""Sizes of the paper's decoder."""


class FlowAnswer(NamedTuple):
    """A flow from a start pose, and what follows from it.

    Attributes:
        flow: (T, B, 2, F, R) after every iteration: (forward, right) metres from a coarse cell to its match, both as
            the start pose sees them.
        confidence: (T, B, 1, F, R) in [0, 1]; 0 where the camera sees nothing.
        pose: (B, 3) forward and right on the patch in metres, turn in radians.
        covariance: (B, 3, 3) of the pose, from the last flow's residuals; infinite where the flow determines none.
    """

    flow: Tensor
    confidence: Tensor
    pose: Tensor
    covariance: Tensor


class DenseFlow(nn.Module):
    """A matcher with a flow decoder behind it.

    Attributes:
        matcher: encodes the images, and gives the start.
        decoder: refines it.
        flow_config: what the decoder is.
        trained_pairs: () int64, pairs that the decoder was trained with; its losses change on the way.
    """

    trained_pairs: Tensor

    def __init__(self, config: BirdsEyeConfig | None = None, flow_config: DenseFlowConfig | None = None) -> None:
        super().__init__()
        self.matcher = BirdsEyeMatcher(config)
        self.flow_config = flow_config or DenseFlowConfig()
        self.decoder = FlowDecoder(self.matcher.config, self.flow_config)
        if self.flow_config.without == REFINE_BLOCK:
            wide = self.matcher.ground.refine.wide[0]
            assert isinstance(wide, nn.Conv2d)
            self.matcher.ground.add_module("refine", nn.Conv2d(wide.in_channels, wide.out_channels, 1))
        self.matcher.requires_grad_(self.flow_config.trains_encoders)
        self.register_buffer("trained_pairs", torch.zeros((), dtype=torch.int64))

    @property
    def config(self) -> BirdsEyeConfig:
        """The matcher's configuration."""
        return self.matcher.config

    def train(self, mode: bool = True) -> DenseFlow:
        """Sets the mode; encoders that are not trained keep their statistics."""
        super().train(mode)
        self.matcher.train(mode and self.flow_config.trains_encoders)
        return self

    def encode(
        self, satellite: Tensor, ground: Tensor, at: Projection | None = None
    ) -> tuple[SatelliteCells, GroundCells]:
        """Encodes patches (S, 3, P, P) and images (G, 3, H, W), normalised, seen by cameras as `GroundEncoder` says."""
        if self.flow_config.without == PROJECTION:
            at = _spread(self.config.grid).to(ground.device)
        return self.matcher.satellite(satellite), self.matcher.ground(ground, at)

    def forward(self, satellite: SatelliteCells, ground: GroundCells, start: Tensor) -> FlowAnswer:
        """Refines start poses (B, 3) of B encoded pairs: forward, right (metres) and turn (radians) on the patch."""
        answer: FlowAnswer = self.decoder(satellite, ground, start)
        return answer

    @torch.no_grad()
    def starts(self, satellite: SatelliteCells, ground: GroundCells, search: PoseSearch | None = None) -> Tensor:
        """Returns the (B, 3) poses that the flow starts from: the posterior's modes, or zero.

        Raises:
            InputError: scores that are not finite.
        """
        if self.flow_config.start == ZERO:
            return satellite.coarse.new_zeros((len(satellite.coarse), 3))
        posteriors = self.matcher.posteriors(satellite, ground, search or self.config.search)
        modes = [posterior.estimate().pose.tolist() for posterior in posteriors]
        return torch.tensor(modes, dtype=torch.float32, device=satellite.coarse.device)


class FlowDecoder(nn.Module):
    """Correlation volumes, look-ups and the GRU, on the coarse cells of the bird's-eye grid."""

    points_m: Tensor

    def __init__(self, config: BirdsEyeConfig, flow_config: DenseFlowConfig) -> None:
        super().__init__()
        c = self.flow_config = flow_config
        grid = config.grid.coarsened(COARSE)
        self.cell_m = grid.cell_m
        self.fine = CorrelationVolume(config.grid, c, c.fine_reach, COARSE) if c.fine_reach else None
        self.coarse = CorrelationVolume(grid, c, c.coarse_reach, 1) if c.coarse_reach else None
        looked = sum(volume.channels for volume in (self.fine, self.coarse) if volume is not None)
        self.context = nn.Conv2d(4 * config.width, 2 * c.hidden, 3, padding=1)
        # products are as large as the encoders make them; the norm takes them to one size
        self.encode_look = nn.Sequential(nn.BatchNorm2d(looked), nn.Conv2d(looked, c.motion, 1), nn.ReLU(inplace=True))
        self.encode_motion = nn.Sequential(nn.Conv2d(c.motion + 2, c.motion, 3, padding=1), nn.ReLU(inplace=True))
        self.gru = ConvGru(c.hidden, c.motion + c.hidden)
        self.head = nn.Sequential(
            nn.Conv2d(c.hidden, c.motion, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(c.motion, 3, 1)
        )
        for part in self.head[-1].parameters():
            nn.init.zeros_(part)  # the first flow is the start, trusted by half
        points = torch.tensor(grid.centres_m(), dtype=torch.float32)
        self.register_buffer("points_m", points.reshape(1, -1, 2), persistent=False)

    def forward(self, satellite: SatelliteCells, ground: GroundCells, start: Tensor) -> FlowAnswer:
        """Does what `DenseFlow.forward` does."""
        seen = (ground.coarse_confidence > 0.0).to(start.dtype)
        batch, _, rows, columns = seen.shape
        pyramids = self._pyramids(satellite, ground, start)
        hidden, context = self.context(ground.context).chunk(2, dim=1)
        hidden, context = torch.tanh(hidden), F.relu(context)
        flow = start.new_zeros((batch, 2, rows, columns))  # coarse cells
        flows, confidences = [], []
        for _ in range(self.flow_config.iterations):
            flow = flow.detach()
            looked = torch.cat([volume.look_up(maps, flow) for volume, maps in pyramids], dim=1)
            motion = self.encode_motion(torch.cat((self.encode_look(looked), flow), dim=1))
            hidden = self.gru(hidden, torch.cat((motion, context), dim=1))
            step, trust = self.head(hidden).split((2, 1), dim=1)
            flow = flow + step
            flows.append(flow * self.cell_m)
            confidences.append(seen if self.flow_config.without == CONFIDENCE else torch.sigmoid(trust) * seen)
        return self._answer(torch.stack(flows), torch.stack(confidences), start)

    def _pyramids(
        self, satellite: SatelliteCells, ground: GroundCells, start: Tensor
    ) -> list[tuple[CorrelationVolume, list[Tensor]]]:
        """Returns the volumes of both levels that there are, each with its pyramid."""
        pyramids = []
        if self.fine is not None:
            pyramids.append((self.fine, self.fine(satellite.fine, ground.fine, start)))
        if self.coarse is not None:
            pyramids.append((self.coarse, self.coarse(satellite.coarse, ground.coarse, start)))
        return pyramids

    def _answer(self, flow: Tensor, confidence: Tensor, start: Tensor) -> FlowAnswer:
        """Fits the last flow and puts its motion behind the start's."""
        points = self.points_m.expand(flow.shape[1], -1, -1)
        fit = rigid_fit(points, points + flow[-1].flatten(2).transpose(1, 2), confidence[-1].flatten(1))
        # the fit's axes are the start's, which the covariance's forward and right are turned from
        axes = rotated(torch.eye(2, device=start.device).expand(len(start), -1, -1), start[:, 2])  # rows
        turn = F.pad(axes.transpose(1, 2), (0, 1, 0, 1)) + torch.diag(start.new_tensor((0.0, 0.0, 1.0)))
        said = covariance(fit)
        is_known = torch.isfinite(said[:, 0, 0])[:, None, None]
        known = torch.where(is_known, said, torch.zeros_like(said))
        said = torch.where(is_known, turn @ known @ turn.transpose(1, 2), said)
        return FlowAnswer(flow, confidence, composed(start, fit.pose), said)


class CorrelationVolume(nn.Module):
    """Products of the ground's features with the satellite's, of every cell and every displacement that is in reach.

    Args:
        grid: of the ground's features.
        flow_config: levels and radius.
        reach: cells to every side.
        joined: so many cells along each side share a displacement: their products are averaged.
    """

    canvas: Tensor
    window: Tensor

    def __init__(self, grid: BirdsEyeGrid, flow_config: DenseFlowConfig, reach: int, joined: int) -> None:
        super().__init__()
        self.reach, self.joined, self.levels = reach, joined, flow_config.levels
        self.cell_m = grid.cell_m
        self.channels = flow_config.levels * (2 * flow_config.radius + 1) ** 2
        canvas = replace(
            grid,
            first_forward_cell=grid.first_forward_cell - reach,
            forward_cells=grid.forward_cells + 2 * reach,
            right_cells=grid.right_cells + 2 * reach,
        )
        self.canvas_shape = canvas.forward_cells, canvas.right_cells
        points = torch.tensor(canvas.centres_m(), dtype=torch.float32)
        self.register_buffer("canvas", points.reshape(1, -1, 2), persistent=False)
        steps = torch.arange(-flow_config.radius, flow_config.radius + 1.0)
        window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
        self.register_buffer("window", window, persistent=False)

    def forward(self, satellite: Tensor, ground: Tensor, start: Tensor) -> list[Tensor]:
        """Computes the pyramid.

        Args:
            satellite: (B, C, S, S), axes forward and right.
            ground: (B, C, F, R).
            start: (B, 3) pose that the patch is looked at from.

        Returns:
            (B F' R', 1, n, n) over forward and right displacement, n = 2 reach + 1, and its poolings by 2 x 2; F' and
            R' are of the joined cells.
        """
        where = moved(self.canvas.expand(len(start), -1, -1), start) * (2.0 / (self.cell_m * satellite.shape[-1]))
        where = where.flip(2).reshape(len(start), *self.canvas_shape, 2)
        area = F.grid_sample(satellite, where, mode="bilinear", padding_mode="zeros", align_corners=False)
        volume = local_correlation(area, ground, self.reach)
        batch, rows, columns, size, _ = volume.shape
        if self.joined > 1:
            shape = batch, rows // self.joined, self.joined, columns // self.joined, self.joined, size * size
            volume = volume.reshape(shape).mean(dim=(2, 4))
        maps = [volume.reshape(-1, 1, size, size)]
        while len(maps) < self.levels:
            maps.append(F.avg_pool2d(maps[-1], 2))
        return maps

    def look_up(self, maps: list[Tensor], flow: Tensor) -> Tensor:
        """Returns (B, channels, F', R') products around flows (B, 2, F', R') in joined cells."""
        batch, _, rows, columns = flow.shape
        at = flow.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2) * self.joined + (self.reach + 0.5)  # from the map's edge
        looked = []
        for level, products in enumerate(maps):
            where = (at * 0.5**level + self.window) * (2.0 / products.shape[-1]) - 1.0
            sampled = F.grid_sample(products, where.flip(3), mode="bilinear", padding_mode="zeros", align_corners=False)
            looked.append(sampled.reshape(batch, rows, columns, -1))
        return torch.cat(looked, dim=3).permute(0, 3, 1, 2)


class ConvGru(nn.Module):
    """A gated recurrent unit of 3x3 convolutions."""

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(hidden + inputs, 2 * hidden, 3, padding=1)
        self.candidate = nn.Conv2d(hidden + inputs, hidden, 3, padding=1)

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        """Returns the next state from (B, hidden, F, R) and (B, inputs, F, R)."""
        update, reset = torch.sigmoid(self.gates(torch.cat((hidden, x), dim=1))).chunk(2, dim=1)
        candidate = torch.tanh(self.candidate(torch.cat((reset * hidden, x), dim=1)))
        return hidden + update * (candidate - hidden)


def _spread(grid: BirdsEyeGrid) -> Projection:
    """Returns the whole image spread over the cells, its lowest row nearest: what there is without a projection."""
    rows, columns = grid.forward_cells, grid.right_cells
    cells, colours = (
        F.affine_grid(
            torch.tensor([[[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]]), [1, 1, n * rows, n * columns], align_corners=False
        )
        for n in (1, 2)
    )
    return Projection(cells, colours, torch.ones((1, 1, rows, columns)))


def local_correlation(area: Tensor, cells: Tensor, reach: int) -> Tensor:
    """Multiplies every cell's features with those around its place, over the root of their number.

    Args:
        area: (B, C, F + 2 reach, R + 2 reach).
        cells: (B, C, F, R).
        reach: cells.

    Returns:
        (B, F, R, n, n) over forward and right displacement, n = 2 reach + 1.
    """
    batch, channels, rows, columns = cells.shape
    size, width = 2 * reach + 1, area.shape[-1]
    lines = torch.arange(size, device=area.device)[:, None] + torch.arange(rows, device=area.device)
    shifted = area.index_select(2, lines.flatten()).reshape(batch, channels, size, rows, width)
    shifted = shifted.permute(0, 2, 3, 1, 4)  # (B, n, F, C, width)
    own = cells.permute(0, 2, 3, 1)[:, None] * (1.0 / math.sqrt(channels))
    products = torch.matmul(own, shifted)  # (B, n, F, R, width): a cell with its whole line
    # of the r-th row of products, those from r on are wanted: in rows longer by one they lie under one another
    skewed = F.pad(products.flatten(3), (0, columns)).reshape(batch, size, rows, columns, width + 1)
    return skewed[..., :size].permute(0, 2, 3, 1, 4)
