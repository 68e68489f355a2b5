"""How a camera stands, learnt from its image: alone, on encoders that stay as they are, or beside the matching."""

from __future__ import annotations

import torch
from torch import Tensor

from geoflow_ros.model import BirdsEyeConfig, BirdsEyeMatcher, normalize_images
from geoflow_ros.model.camera_head import CameraStance
from geoflow_ros.training.objective import StepFigures
from geoflow_ros.training.pairs import PairBatch


class StanceObjective:
    """What a training step of the camera head alone minimises.

    Args:
        model: the network; all but the head stays as it is.
    """

    def __init__(self, model: BirdsEyeMatcher) -> None:
        self._model = model
        model.requires_grad_(False)
        model.ground.stance.requires_grad_(True)

    def __call__(self, batch: PairBatch, generator: torch.Generator) -> StepFigures:
        """Computes the loss of a batch and its mirror image."""
        ground, config = self._model.ground, self._model.config
        ground.trunk.eval()  # statistics of the images stay as they are too
        truth = assumed_where_unknown(batch, config)
        images = normalize_images(batch.ground)
        images, truth = torch.cat((images, images.flip(3))), torch.cat((truth, _mirrored(truth)))
        with torch.no_grad():
            features, _ = ground.image_features(images)
        stance, wanted = ground.stance(features), stance_of(truth, config)
        loss = stance_loss(stance, wanted)
        pitch, roll, height = (stance.mean - wanted).detach().square().mean(dim=0).sqrt()
        figures = {"train_pitch_rms_deg": torch.rad2deg(pitch), "train_roll_rms_deg": torch.rad2deg(roll)}
        return StepFigures(loss, {"loss": loss.detach(), **figures, "train_height_rms": height})


def assumed_where_unknown(batch: PairBatch, config: BirdsEyeConfig) -> Tensor:
    """Returns (G, 3) rows of the horizon, heights and rolls: the assumed ones where the data does not know."""
    if batch.camera is not None:
        return batch.camera
    assumed = torch.tensor([config.horizon_row_px, config.camera_height_m, 0.0], device=batch.offset.device)
    return assumed.expand(len(batch.ground), -1)


def _mirrored(truth: Tensor) -> Tensor:
    return truth * truth.new_tensor((1.0, 1.0, -1.0))


def stance_of(truth: Tensor, config: BirdsEyeConfig) -> Tensor:
    """Returns (G, 3) pitches and rolls in radians and log heights, less the assumed ones, of `PairBatch.camera`."""
    pitch = torch.atan((truth[:, 0] - config.horizon_row_px) / config.focal_px)
    return torch.stack((pitch, truth[:, 2], torch.log(truth[:, 1] / config.camera_height_m)), dim=1)


def stance_loss(stance: CameraStance, truth: Tensor) -> Tensor:
    """Returns the mean negative log-likelihood of (G, 3) truths, up to a constant."""
    z = (truth - stance.mean) / stance.sigma
    loss: Tensor = (0.5 * z.square() + stance.sigma.log()).sum(dim=1).mean()
    return loss
