"""Position errors of a network in torch: for validation while training, and for comparing checkpoints."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from geoflow_ros.model import GeoFlow
from geoflow_ros.training.encoding import encode_images
from geoflow_ros.training.pairs import PairBatch


@torch.no_grad()
def evaluate_pairs(
    model: GeoFlow,
    batches: Iterable[PairBatch],
    hypotheses: int = 10,
    iterations: int = 5,
    step: float = 0.5,
    radius_m: float = 20.0,
    seed: int = 0,
    encoder_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Refines by sampling on every pair; the answer is the hypotheses' mean.

    Args:
        model: in evaluation mode, on the device of the batches.
        batches: the pairs.
        hypotheses: N, drawn uniformly in [-1, 1]^2.
        iterations: R refinements.
        step: share of the predicted displacement that one refinement goes.
        radius_m: the search radius.
        seed: of the hypotheses.
        encoder_dtype: bfloat16 runs the encoders under autocast.

    Returns:
        (n, 2) float32 on the CPU: answer minus truth, (forward, right) in metres.
    """
    if model.training:
        raise ValueError("the network is in training mode; call model.eval() first")
    errors: list[Tensor] = []
    generator = torch.Generator().manual_seed(seed)
    for batch in batches:
        features = encode_images(model, batch, encoder_dtype)
        pairs = model.attend_pairs(features.satellite, features.ground, batch.satellite_index, batch.ground_index)
        q = 2.0 * torch.rand((len(batch.offset), hypotheses, 2), generator=generator) - 1.0
        q = q.to(pairs.f_vis.device)
        for _ in range(iterations):
            q = model.refine(pairs.f_vis, q, step)
        errors.append(((q.mean(dim=1) - batch.offset) * radius_m).cpu())
    return torch.cat(errors) if errors else torch.zeros((0, 2))
