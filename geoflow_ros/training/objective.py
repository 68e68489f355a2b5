"""One batch to one number: all losses of a training step, and the figures that go with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geoflow_ros.errors import InputError
from geoflow_ros.model import GeoFlow, PairEncoding
from geoflow_ros.training.auxiliary import DenseHeads
from geoflow_ros.training.encoding import Encoder, ImageFeatures, encode_images
from geoflow_ros.training.hypotheses import HypothesisSampling
from geoflow_ros.training.losses import (
    LossWeights,
    attention_cross_entropy,
    direction_nll,
    label_cross_entropy,
    log_distance_nll,
    orientation_loss,
)
from geoflow_ros.training.pairs import PairBatch

_ANSWER_HYPOTHESES, _ANSWER_REFINEMENTS, _ANSWER_STEP = 10, 5, 0.5  # the release's way to an answer


@dataclass(frozen=True)
class StepFigures:
    """The sum to minimise and its parts, all scalars on the training device; `parts` are detached."""

    loss: Tensor
    parts: dict[str, Tensor]


class Objective:
    """What a training step minimises.

    Args:
        model: the network, in training mode while this is used.
        heads: the dense class heads.
        hypotheses: how guesses are drawn.
        weights: of the added losses.
        encoder_dtype: bfloat16 runs the encoders under autocast.
        is_compiled: compile the encoders with `torch.compile`.
    """

    def __init__(
        self,
        model: GeoFlow,
        heads: DenseHeads,
        hypotheses: HypothesisSampling,
        weights: LossWeights,
        encoder_dtype: torch.dtype,
        is_compiled: bool,
    ) -> None:
        self._model, self._heads = model, heads
        self._hypotheses, self._weights = hypotheses, weights
        self._dtype = encoder_dtype
        self._satellite_encoder: Encoder = torch.compile(model.sat_extractor) if is_compiled else model.sat_extractor
        self._ground_encoder: Encoder = torch.compile(model.grd_extractor) if is_compiled else model.grd_extractor

    def __call__(self, batch: PairBatch, generator: torch.Generator) -> StepFigures:
        """Computes all losses of a batch; `generator` draws the hypotheses and is on the batch's device."""
        features = encode_images(self._model, batch, self._dtype, self._satellite_encoder, self._ground_encoder)
        pairs = self._model.attend_pairs(features.satellite, features.ground, batch.satellite_index, batch.ground_index)
        q = self._hypotheses.draw(batch.offset, generator)
        displacement = self._model.displace(pairs.f_vis, q)
        losses = {
            "log_distance_nll": log_distance_nll(displacement, q, batch.offset),
            "direction_nll": direction_nll(displacement, q, batch.offset),
        }
        total = losses["log_distance_nll"] + losses["direction_nll"]
        for name, weight, loss in self._added(batch, features, pairs):
            losses[name] = loss
            total = total + weight * loss
        if displacement.orientation is not None:
            losses["orientation"] = orientation_loss(displacement, batch.heading_error_rad)
            total = total + self._weights.orientation * losses["orientation"]
        parts = {name: loss.detach() for name, loss in losses.items()}
        parts.update(self._position_figures(pairs.f_vis.detach(), batch.offset, generator))
        return StepFigures(loss=total, parts={"loss": total.detach(), **parts})

    def _added(self, batch: PairBatch, features: ImageFeatures, pairs: PairEncoding) -> list[tuple[str, float, Tensor]]:
        """Returns (name, weight, loss) of what this batch's data allows besides the displacement."""
        added = []
        if batch.attention is not None and self._weights.attention > 0.0:
            if batch.attention.shape != pairs.attention.shape:
                raise InputError(
                    f"the batch's attention target is {tuple(batch.attention.shape)}, the network's attention "
                    f"{tuple(pairs.attention.shape)}; make the targets for the images' token grids"
                )
            loss = attention_cross_entropy(pairs.attention, batch.attention)
            added.append(("attention", self._weights.attention, loss))
        dense = (
            ("satellite", self._weights.satellite_labels, features.satellite, batch.satellite_labels),
            ("ground", self._weights.ground_labels, features.ground, batch.ground_labels),
        )
        for name, weight, image_features, labels in dense:
            logits = self._heads.logits(name, image_features) if labels is not None and weight > 0.0 else None
            if logits is None or labels is None:
                continue
            if logits.shape[2:] != labels.shape[1:]:
                raise InputError(
                    f"{name} labels are {tuple(labels.shape[1:])}, the head's cells {tuple(logits.shape[2:])}; "
                    "set label_cells to the labels per side of a token"
                )
            added.append((f"{name}_labels", weight, label_cross_entropy(logits, labels)))
        return added

    @torch.no_grad()
    def _position_figures(self, f_vis: Tensor, offset: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Returns the errors of the answers on the training pairs themselves, metres: a thousandth of a step's work."""
        q = 2.0 * torch.rand((len(offset), _ANSWER_HYPOTHESES, 2), generator=generator, device=offset.device) - 1.0
        for _ in range(_ANSWER_REFINEMENTS):
            q = self._model.refine(f_vis, q, _ANSWER_STEP)
        error = (q.mean(dim=1) - offset) * self._model.config.search_radius_m
        return {
            "train_error_m": error.norm(dim=-1).mean(),
            "train_longitudinal_m": error[:, 0].abs().mean(),
            "train_lateral_m": error[:, 1].abs().mean(),
        }
