"""One batch to one number for the bird's-eye network: matching on both levels, with patches of other places."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from geoflow_ros.bundle.birds_eye import COARSE
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.model import BirdsEyeMatcher, normalize_images
from geoflow_ros.model.birds_eye_encoders import GroundCells, SatelliteCells, projection
from geoflow_ros.training.matching_losses import matching_loss, none_loss, true_cells
from geoflow_ros.training.objective import StepFigures
from geoflow_ros.training.pairs import PairBatch

_OUTSIDE_MOMENTUM = 0.02  # of the running mean of what the fine level adds away from the truth
_NEAR_TRUTH_CELLS = 6  # fine cells around the truth that do not count as away from it


@dataclass(frozen=True)
class PoseSampling:
    """Which headings a training step asks the network about, and how often it is shown another place.

    Attributes:
        coarse_turns: headings of the coarse level per pair: the two around the truth, the others anywhere.
        fine_turns: neighbouring headings of the fine level, the truth between two of them.
        largest_turn_deg: of the other headings.
        negatives: pairs of different places, per pair of the same one.
        near_pitch_deg: largest difference of the assumed camera's pitch from the true one: half the step at which
            hypotheses of it are compared.
        near_height: likewise of its height, relative.
        near_roll_deg: likewise of its roll.
        far_share: part of the frames for which a wrong hypothesis competes with the near one.
        far_pitch_deg: smallest and largest difference of its pitch.
        far_height: largest relative difference of its height.
        far_roll_deg: largest difference of its roll.
    """

    coarse_turns: int = 5
    fine_turns: int = 4
    largest_turn_deg: float = 12.0
    negatives: float = 0.25
    near_pitch_deg: float = 0.4
    near_height: float = 0.03
    near_roll_deg: float = 0.3
    far_share: float = 0.5
    far_pitch_deg: tuple[float, float] = (0.8, 2.5)
    far_height: float = 0.1
    far_roll_deg: float = 2.0

    def __post_init__(self) -> None:
        if min(self.coarse_turns, self.fine_turns) < 2 or self.negatives < 0.0 or not self.largest_turn_deg > 0.0:
            raise InputError("pose sampling needs two headings at least, a positive turn, and no negative share")


class WrongScores(NamedTuple):
    """Log-sums (B,) of the scores of both levels for a wrong way in which the camera stood; -inf without one."""

    coarse: Tensor
    fine: Tensor


class PoseObjective:
    """What a training step of the bird's-eye network minimises.

    Args:
        model: the network, in training mode while this is used.
        sampling: of headings and other places.
    """

    def __init__(self, model: BirdsEyeMatcher, sampling: PoseSampling | None = None) -> None:
        self._model, self._sampling = model, sampling or PoseSampling()

    def __call__(self, batch: PairBatch, generator: torch.Generator) -> StepFigures:
        """Computes all losses of a batch; `generator` draws headings and mirrorings and is on the batch's device."""
        model, config = self._model, self._model.config
        if torch.rand((), generator=generator, device=batch.offset.device) < 0.5:
            batch = mirrored(batch)
        satellite = model.satellite(normalize_images(batch.satellite))
        frames = len(batch.ground)
        doubted = torch.randperm(frames, generator=generator, device=batch.offset.device)
        doubted = doubted[: math.ceil(frames * self._sampling.far_share)]
        ground = self._laid_down(batch, doubted, generator)
        patches, near = satellite.taken(batch.satellite_index), ground.taken(batch.ground_index)
        offset_cells = batch.offset * (config.search_radius_m / config.cell_m)
        coarse_turn, coarse_at = self._coarse_turns(batch.heading_error_rad, generator)
        fine_turn, fine_at = self._fine_turns(batch.heading_error_rad, generator)
        right = model.volume_scores(patches, near, fine_turn, coarse_turn)
        wrong = self._wrong_scores(batch, patches, ground, doubted, self._around_truth(fine_turn, coarse_turn))
        losses = {
            "coarse": _loss(right.coarse, wrong.coarse, model.none[0], coarse_at, offset_cells / COARSE),
            "fine": _loss(right.fine, wrong.fine, model.none[1], fine_at, offset_cells),
        }
        losses |= self._negatives(batch, satellite, ground, coarse_turn, fine_turn, generator)
        total = torch.stack(list(losses.values())).sum()
        with torch.no_grad():
            _measure_outside(model, right.fine, right.between, offset_cells)
            error = _peaks(right.fine) * config.cell_m - batch.offset * config.search_radius_m
        parts = {name: loss.detach() for name, loss in losses.items()}
        parts["train_error_m"] = error.norm(dim=1).mean()
        parts["train_longitudinal_m"], parts["train_lateral_m"] = error.abs().mean(dim=0)
        return StepFigures(loss=total, parts={"loss": total.detach(), **parts})

    def _laid_down(self, batch: PairBatch, doubted: Tensor, generator: torch.Generator) -> GroundCells:
        """Encodes the frames and lays each down near the way its camera stood, then the doubted ones in a wrong way."""
        model, camera = self._model, self._model.config.camera
        features, below = model.ground.image_features(normalize_images(batch.ground))
        image = torch.cat((torch.arange(len(batch.ground), device=doubted.device), doubted))
        features, below = features[image], below[image]
        if not isinstance(camera, VirtualCamera):
            return model.ground.lay_down(features, below)
        truth = batch.camera
        if truth is None:
            assumed = torch.tensor([camera.horizon_row_px, camera.height_m, camera.roll_rad], device=image.device)
            truth = assumed.expand(len(batch.ground), -1)
        stands = self._hypotheses(truth[image], len(batch.ground), generator).tolist()
        cameras = (replace(camera, horizon_row_px=row, height_m=m, roll_rad=roll) for row, m, roll in stands)
        return model.ground.lay_down(features, below, projection(model.config, *cameras).to(image.device))

    def _hypotheses(self, truth: Tensor, near: int, generator: torch.Generator) -> Tensor:
        """Draws (n, 3) horizon rows, heights, rolls: the first `near` close to the truth (n, 3), the others far."""
        sampling, camera = self._sampling, self._model.config.camera
        assert isinstance(camera, VirtualCamera)
        draws = torch.rand((4, len(truth)), generator=generator, device=truth.device)
        share, side, up, tilt = draws[0], draws[1], 2.0 * draws[2] - 1.0, 2.0 * draws[3] - 1.0
        low, high = sampling.far_pitch_deg
        is_near = torch.arange(len(truth), device=truth.device) < near
        size_deg = torch.where(is_near, sampling.near_pitch_deg * share, low + (high - low) * share)
        pitch = torch.deg2rad(torch.where(side < 0.5, -size_deg, size_deg))
        row = truth[:, 0] + camera.focal_px * torch.tan(pitch)
        height = truth[:, 1] * (1.0 + up * torch.where(is_near, sampling.near_height, sampling.far_height))
        roll_deg = tilt * torch.where(is_near, sampling.near_roll_deg, sampling.far_roll_deg)
        return torch.stack((row, height, truth[:, 2] + torch.deg2rad(roll_deg)), dim=1)

    def _wrong_scores(
        self,
        batch: PairBatch,
        patches: SatelliteCells,
        ground: GroundCells,
        doubted: Tensor,
        turns: tuple[Tensor, Tensor],
    ) -> WrongScores:
        """Scores the pairs of doubted frames with the wrong way in which their cameras were laid down."""
        pairs, rows = torch.nonzero(batch.ground_index[:, None] == doubted, as_tuple=True)
        nothing = torch.full((len(batch.offset),), -math.inf, device=batch.offset.device)
        if len(pairs) == 0:
            return WrongScores(nothing, nothing)
        cells = ground.taken(len(batch.ground) + rows)
        wrong = self._model.volume_scores(patches.taken(pairs), cells, *(turn[pairs] for turn in turns))
        sums = (scores.flatten(1).logsumexp(dim=1) for scores in (wrong.coarse, wrong.fine))
        return WrongScores(*(nothing.index_put((pairs,), total) for total in sums))

    @staticmethod
    def _around_truth(fine_turn: Tensor, coarse_turn: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the two fine and the two coarse headings between which the truth lies."""
        middle = fine_turn.shape[1] // 2
        return fine_turn[:, middle - 1 : middle + 1], coarse_turn[:, :2]

    def _coarse_turns(self, truth: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws (B, K) headings, the first two around the truth (B,), and its position (B,) among them."""
        step = math.radians(self._model.config.coarse_turn_deg)
        largest = math.radians(self._sampling.largest_turn_deg)
        share = torch.rand(truth.shape, generator=generator, device=truth.device)
        first = truth - share * step
        reach = math.ceil(2.0 * largest / step)
        others = torch.tensor([n for n in range(-reach, reach + 1) if n not in (0, 1)], device=truth.device)
        turn = first[:, None] + others * step
        draw = torch.rand(turn.shape, generator=generator, device=truth.device)
        draw = torch.where(turn.abs() <= largest, draw, draw - 1.0)  # those within the range first
        pick = draw.topk(self._sampling.coarse_turns - 2, dim=1).indices
        around = torch.stack((first, first + step), dim=1)
        return torch.cat((around, turn.gather(1, pick)), dim=1), share

    def _fine_turns(self, truth: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws (B, T) neighbouring headings and the truth's position (B,) among them, anywhere but at the ends."""
        step, count = math.radians(self._model.config.fine_turn_deg), self._sampling.fine_turns
        position = torch.rand(truth.shape, generator=generator, device=truth.device) + (count // 2 - 1)
        steps = torch.arange(count, device=truth.device)
        return truth[:, None] + (steps - position[:, None]) * step, position

    def _negatives(
        self,
        batch: PairBatch,
        satellite: SatelliteCells,
        ground: GroundCells,
        coarse_turn: Tensor,
        fine_turn: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Returns the losses of frames with patches that do not hold them, at the headings of some pairs."""
        pairs, device = len(batch.offset), batch.offset.device
        frames, patches = len(batch.ground), len(batch.satellite)
        is_other = torch.ones((frames, patches), dtype=torch.bool, device=device)
        is_other[batch.ground_index, batch.satellite_index] = False
        draw = torch.rand((frames, patches), generator=generator, device=device) * is_other
        count = min(round(pairs * self._sampling.negatives), pairs, frames * patches)
        if count == 0:
            return {}
        chosen = draw.flatten().topk(count).indices
        is_used = is_other.flatten()[chosen].to(torch.float32)
        of_patch, of_frame = satellite.taken(chosen % patches), ground.taken(chosen // patches)
        model = self._model
        scores = model.volume_scores(of_patch, of_frame, fine_turn[:count], coarse_turn[:count])
        share = is_used.sum() / pairs
        return {
            "coarse_none": share * none_loss(scores.coarse, model.none[0], is_used),
            "fine_none": share * none_loss(scores.fine, model.none[1], is_used),
        }


def mirrored(batch: PairBatch) -> PairBatch:
    """Returns the batch of a mirrored world: left is right, in both images and in the truth."""
    return replace(
        batch,
        satellite=batch.satellite.flip(1),
        ground=batch.ground.flip(2),
        offset=batch.offset * torch.tensor((1.0, -1.0), device=batch.offset.device),
        heading_error_rad=-batch.heading_error_rad,
        attention=None,
        satellite_labels=None,
        ground_labels=None,
        camera=None
        if batch.camera is None
        else batch.camera * torch.tensor((1.0, 1.0, -1.0), device=batch.offset.device),
    )


def _loss(scores: Tensor, wrong: Tensor, none: Tensor, turn_at: Tensor, offset_cells: Tensor) -> Tensor:
    """Returns the cross-entropy of the truth among all poses, and among those of a wrong camera (B,) in one sum."""
    truth = true_cells(turn_at, offset_cells, scores.shape[1], scores.shape[-1])
    return matching_loss(scores, none, truth, wrong)


def _peaks(scores: Tensor) -> Tensor:
    """Returns the (forward, right) of every volume's highest cell, (B, 2) in cells from its middle."""
    size = scores.shape[-1]
    peak = scores.amax(dim=1).flatten(1).argmax(dim=1)
    return torch.stack((peak // size, peak % size), dim=1).to(scores.dtype) - size // 2


def _measure_outside(model: BirdsEyeMatcher, fused: Tensor, coarse: Tensor, offset_cells: Tensor) -> None:
    """Follows the mean of what the fine level adds, in log space, to the coarse scores away from the truth."""
    middle = fused.shape[-1] // 2
    cell = torch.arange(-middle, middle + 1, device=fused.device)
    near_f, near_r = ((cell - offset_cells[:, axis, None]).abs() <= _NEAR_TRUTH_CELLS for axis in (0, 1))
    is_near = (near_f[:, :, None] & near_r[:, None, :])[:, None]
    away = [scores.masked_fill(is_near, -math.inf).flatten(1).logsumexp(dim=1) for scores in (fused, coarse)]
    added = (away[0] - away[1]).mean()
    model.outside.lerp_(torch.where(torch.isfinite(added), added, model.outside), _OUTSIDE_MOMENTUM)
