"""Errors of the bird's-eye network in torch: for validation while training, and for comparing checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.inference.pose_search import PoseSearch
from geoflow_ros.model import BirdsEyeMatcher, normalize_images
from geoflow_ros.model.birds_eye_encoders import Projection, projection
from geoflow_ros.training.pairs import PairBatch


@torch.no_grad()
def evaluate_poses(
    model: BirdsEyeMatcher, batches: Iterable[PairBatch], search: PoseSearch | None = None
) -> tuple[Tensor, Tensor]:
    """Answers every pair with the posterior's largest mode, where the data knows it with the camera as it stood.

    Args:
        model: in evaluation mode, on the device of the batches.
        batches: the pairs.
        search: the volume; the network's own where None.

    Returns:
        (n, 2) float32 on the CPU, answer minus truth, (forward, right) in metres; and (n,) the turn's, radians.
    """
    if model.training:
        raise ValueError("the network is in training mode; call model.eval() first")
    search = search or model.config.search
    errors = [torch.zeros((0, 3))]
    for batch in batches:
        satellite = model.satellite(normalize_images(batch.satellite)).taken(batch.satellite_index)
        ground = model.ground(normalize_images(batch.ground), as_stood(model, batch)).taken(batch.ground_index)
        answers = [posterior.estimate().pose for posterior in model.posteriors(satellite, ground, search)]
        offset_m = batch.offset.cpu() * model.config.search_radius_m
        truth = torch.cat((offset_m, batch.heading_error_rad.cpu()[:, None]), dim=1)
        errors.append(torch.tensor(np.stack(answers), dtype=torch.float32) - truth)
    found = torch.cat(errors)
    return found[:, :2], torch.remainder(found[:, 2] + math.pi, 2.0 * math.pi) - math.pi


def as_stood(model: BirdsEyeMatcher, batch: PairBatch) -> Projection | None:
    """Returns the projection of each frame's camera as it stood; None for the assumed one."""
    camera = model.config.camera
    if batch.camera is None or not isinstance(camera, VirtualCamera):
        return None
    stood = [replace(camera, horizon_row_px=r, height_m=m, roll_rad=roll) for r, m, roll in batch.camera.tolist()]
    return projection(model.config, *stood).to(batch.ground.device)
