"""Errors of dense flow in torch: of the pose that it starts from and of the one that it ends with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from geoflow_ros.model import normalize_images
from geoflow_ros.model.dense_flow import DenseFlow
from geoflow_ros.training.evaluate_poses import as_stood
from geoflow_ros.training.flow_objective import true_poses
from geoflow_ros.training.pairs import PairBatch


@dataclass(frozen=True)
class FlowErrors:
    """Pose minus truth of n pairs, float32 on the CPU: forward and right in metres, turn in radians.

    Attributes:
        before: (n, 3) of the starts: the posterior's modes, or zero.
        after: (n, 3) of what the flow gives.
        covariance: (n, 3, 3) that it states.
    """

    before: Tensor
    after: Tensor
    covariance: Tensor


@torch.no_grad()
def evaluate_flow(model: DenseFlow, batches: Iterable[PairBatch]) -> FlowErrors:
    """Answers every pair from the start that the network takes, where the data knows it with the camera as it stood.

    Args:
        model: in evaluation mode, on the device of the batches.
        batches: the pairs.
    """
    if model.training:
        raise ValueError("the network is in training mode; call model.eval() first")
    before, after, covariance = [torch.zeros((0, 3))], [torch.zeros((0, 3))], [torch.zeros((0, 3, 3))]
    for batch in batches:
        stood = as_stood(model.matcher, batch)
        cells, seen = model.encode(normalize_images(batch.satellite), normalize_images(batch.ground), stood)
        satellite, ground = cells.taken(batch.satellite_index), seen.taken(batch.ground_index)
        truth = true_poses(batch, model.config.search_radius_m)
        start = model.starts(satellite, ground)
        answer = model(satellite, ground, start)
        before.append(_difference(start, truth))
        after.append(_difference(answer.pose, truth))
        covariance.append(answer.covariance.cpu())
    return FlowErrors(torch.cat(before), torch.cat(after), torch.cat(covariance))


def _difference(pose: Tensor, truth: Tensor) -> Tensor:
    error = (pose - truth).cpu()
    turn = torch.remainder(error[:, 2:] + math.pi, 2.0 * math.pi) - math.pi
    return torch.cat((error[:, :2], turn), dim=1)
