"""One batch to one number for dense flow: where the flow starts, where it ought to end, and the paper's losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geoflow_ros.bundle.birds_eye import ZERO
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.model import normalize_images
from geoflow_ros.model.birds_eye_encoders import GroundCells, Projection, SatelliteCells, projection
from geoflow_ros.model.dense_flow import CONFIDENCE, MATCHING_LOSS, POSITION_LOSS, DenseFlow, FlowAnswer
from geoflow_ros.model.rigid_fit import moved, seen_from
from geoflow_ros.training.flow_losses import (
    PIXEL_M,
    FlowLossWeights,
    confidence_loss,
    flow_matching_loss,
    pose_loss,
)
from geoflow_ros.training.objective import StepFigures
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.pose_objective import mirrored

_FROM_MODE = FlowLossWeights(alpha=20.0, beta=(5.0, 5.0))
"""From a mode the flow is a part of a cell: the paper's 100 made the confidence nine tenths of the sum, and the pose a
hundredth."""

_WITHOUT: Mapping[str, Mapping[str, Any]] = {
    MATCHING_LOSS: {"matching": 0.0},
    POSITION_LOSS: {"beta": (0.0, 0.0)},
    CONFIDENCE: {"alpha": 0.0},
}


@dataclass(frozen=True)
class FlowSampling:
    """Which starts and cameras a training step gives the flow, and when its losses change.

    The posterior's mode is mostly a part of a cell off, and sometimes a few; drawing it so costs nothing and shows the
    flow more than the modes of one matcher.

    Attributes:
        sigma_m: of forward and right of most starts.
        sigma_turn_deg: of their turn.
        wide_share: of the starts that are uniform in a wider range.
        wide_m: largest error of these.
        wide_turn_deg: likewise.
        pitch_deg: largest difference of the assumed camera's pitch from the true one.
        height: likewise of its height, relative.
        roll_deg: likewise of its roll.
        change_pairs: after how many pairs kappa and beta take their late values.
    """

    sigma_m: float = 0.5
    sigma_turn_deg: float = 1.5
    wide_share: float = 0.25
    wide_m: float = 3.0
    wide_turn_deg: float = 5.0
    pitch_deg: float = 0.4
    height: float = 0.03
    roll_deg: float = 0.3
    change_pairs: int = 15_000

    def __post_init__(self) -> None:
        sizes = (self.sigma_m, self.sigma_turn_deg, self.wide_m, self.wide_turn_deg)
        if (
            min(*sizes, self.pitch_deg, self.height, self.roll_deg, self.change_pairs) < 0
            or not 0.0 <= self.wide_share <= 1.0
        ):
            raise InputError("errors of the starts must not be negative, and wide_share lies in [0, 1]")


class FlowObjective:
    """What a training step of dense flow minimises.

    Args:
        model: the network, in training mode while this is used.
        weights: of the losses; where None, from zero the paper's, but for what the network does without, and from a
            mode those that leave the pose its say.
        sampling: of the starts.
    """

    def __init__(
        self, model: DenseFlow, weights: FlowLossWeights | None = None, sampling: FlowSampling | None = None
    ) -> None:
        self._model = model
        usual = FlowLossWeights() if model.flow_config.start == ZERO else _FROM_MODE
        self._weights = weights or replace(usual, **_WITHOUT.get(model.flow_config.without, {}))
        self._sampling = sampling or FlowSampling()
        self._pairs: int | None = None

    def __call__(self, batch: PairBatch, generator: torch.Generator) -> StepFigures:
        """Computes all losses of a batch; `generator` draws starts and mirrorings and is on the batch's device."""
        model = self._model
        if torch.rand((), generator=generator, device=batch.offset.device) < 0.5:
            batch = mirrored(batch)
        truth = true_poses(batch, model.config.search_radius_m)
        start = self._starts(truth, generator)
        with torch.set_grad_enabled(model.flow_config.trains_encoders):
            cameras = self._cameras(batch, generator)
            cells, seen = model.encode(normalize_images(batch.satellite), normalize_images(batch.ground), cameras)
            patches, frames = cells.taken(batch.satellite_index), seen.taken(batch.ground_index)
        return self._figures(patches, frames, start, truth)

    def _figures(self, patches: SatelliteCells, frames: GroundCells, start: Tensor, truth: Tensor) -> StepFigures:
        model, weights = self._model, self._weights
        is_late = int(self._counted(len(truth)) >= self._sampling.change_pairs)
        answer: FlowAnswer = model(patches, frames, start)
        flow, seen = true_flow(model, frames, start, truth)
        found, wanted = answer.flow / PIXEL_M, flow / PIXEL_M
        confidence = confidence_loss(answer.confidence, found, wanted, seen, weights.kappa[is_late], weights.gamma)
        losses = {
            "flow": flow_matching_loss(found, wanted, seen, weights.gamma),
            "confidence": confidence,
            "pose": pose_loss(answer.pose, truth),
        }
        total = (
            weights.matching * losses["flow"]
            + weights.alpha * losses["confidence"]
            + weights.beta[is_late] * losses["pose"]
        )
        parts = {name: loss.detach() for name, loss in losses.items()}
        with torch.no_grad():
            error = answer.pose - truth
            parts["train_error_m"] = error[:, :2].norm(dim=1).mean()
            parts["train_longitudinal_m"], parts["train_lateral_m"] = error[:, :2].abs().mean(dim=0)
            parts["train_turn_deg"] = torch.rad2deg(error[:, 2].abs().mean())
        return StepFigures(loss=total, parts={"loss": total.detach(), **parts})

    def _counted(self, pairs: int) -> int:
        """Returns how many pairs came before these; the network keeps the count, which is read from it once."""
        before = int(self._model.trained_pairs) if self._pairs is None else self._pairs
        self._pairs = before + pairs
        self._model.trained_pairs += pairs
        return before

    def _cameras(self, batch: PairBatch, generator: torch.Generator) -> Projection | None:
        """Draws how each frame's camera is assumed to stand: nearly as it does; None for the nominal one."""
        s, config = self._sampling, self._model.config
        camera = config.camera
        if batch.camera is None or not isinstance(camera, VirtualCamera):
            return None
        share = 2.0 * torch.rand((3, len(batch.camera)), generator=generator, device=batch.camera.device) - 1.0
        row = batch.camera[:, 0] + camera.focal_px * torch.tan(share[0] * math.radians(s.pitch_deg))
        height = batch.camera[:, 1] * (1.0 + share[1] * s.height)
        roll = batch.camera[:, 2] + share[2] * math.radians(s.roll_deg)
        stands = torch.stack((row, height, roll), dim=1).tolist()
        assumed = [replace(camera, horizon_row_px=horizon, height_m=m, roll_rad=turn) for horizon, m, turn in stands]
        return projection(config, *assumed).to(batch.ground.device)

    def _starts(self, truth: Tensor, generator: torch.Generator) -> Tensor:
        """Returns (B, 3) starts: zero, or the truth with an error as modes have it."""
        if self._model.flow_config.start == ZERO:
            return torch.zeros_like(truth)
        s, device = self._sampling, truth.device
        sizes = [(s.sigma_m, s.sigma_turn_deg), (s.wide_m, s.wide_turn_deg)]
        near, wide = (truth.new_tensor((metres, metres, math.radians(degrees))) for metres, degrees in sizes)
        normal = torch.randn(truth.shape, generator=generator, device=device) * near
        uniform = (2.0 * torch.rand(truth.shape, generator=generator, device=device) - 1.0) * wide
        is_wide = torch.rand((len(truth), 1), generator=generator, device=device) < s.wide_share
        return truth + torch.where(is_wide, uniform, normal)


def true_poses(batch: PairBatch, search_radius_m: float) -> Tensor:
    """Returns the (B, 3) poses of a batch's cameras on their patches: forward and right in metres, turn in radians."""
    return torch.cat((batch.offset * search_radius_m, batch.heading_error_rad[:, None]), dim=1)


def true_flow(model: DenseFlow, ground: GroundCells, start: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the flow that the true pose makes, and where it counts.

    Args:
        model: the network.
        ground: B images.
        start: (B, 3) what the flow starts from.
        truth: (B, 3).

    Returns:
        (B, 2, F, R) metres from the coarse cells to their matches as the start sees them; (B, 1, F, R) 1 for cells that
        are seen and whose match lies on the patch, else 0.
    """
    points = model.decoder.points_m.expand(len(truth), -1, -1)
    shape = len(truth), -1, *ground.coarse_confidence.shape[2:]
    flow = moved(points, seen_from(start, truth)) - points
    half_m = (model.config.satellite_cells / 2 - 1) * model.config.cell_m  # a fine cell from the patch's edge
    is_on_patch = moved(points, truth).abs().amax(dim=2, keepdim=True) <= half_m
    seen = (ground.coarse_confidence > 0.0) & is_on_patch.transpose(1, 2).reshape(shape)
    return flow.transpose(1, 2).reshape(shape), seen.to(flow.dtype)
