"""The losses of pose matching: cross-entropy of the true cell among all cells of a volume and "none of these".

Volumes are (B, K, N, N) scores over turn, forward and right, float32. The truth lies between cells; it is shared
linearly among its neighbours on every axis, so that a network that is right about it knows it finer than the cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def shared_among(position: Tensor, count: int) -> Tensor:
    """Returns the shares (B, count) of the cells 0 to count - 1 in positions (B,) in cells: the two neighbours'.

    What lies beyond the first or last cell is counted to that one.
    """
    cells = torch.arange(count, device=position.device)
    return F.relu(1.0 - (position.clamp(0, count - 1)[:, None] - cells).abs())


def true_cells(turn: Tensor, offset_cells: Tensor, turns: int, cells: int) -> Tensor:
    """Returns the truth's shares, (B, turns, cells, cells), which sum to 1.

    Args:
        turn: (B,) position of the true turn among the volume's.
        offset_cells: (B, 2) true (forward, right) from the volume's middle, in cells.
        turns: K.
        cells: N, odd.
    """
    middle = cells // 2
    along_turn = shared_among(turn, turns)
    forward, right = (shared_among(offset_cells[:, axis] + middle, cells) for axis in (0, 1))
    return along_turn[:, :, None, None] * forward[:, None, :, None] * right[:, None, None, :]


def with_none(scores: Tensor, none: Tensor, elsewhere: Tensor | None = None) -> Tensor:
    """Returns log-probabilities (B, K N N + 1) of every cell and, last, of none of them.

    Args:
        scores: (B, K, N, N).
        none: () score of none, per cell: its weight is that of all cells if each had this score.
        elsewhere: (B,) log-sum of the scores of what else there is, such as poses of a wrongly assumed camera.
    """
    flat = scores.flatten(1)
    nowhere = (none + math.log(flat.shape[1])).expand(len(flat), 1)
    logits = torch.cat((flat, nowhere), dim=1)
    total = logits.logsumexp(dim=1)
    return logits - (total if elsewhere is None else torch.logaddexp(total, elsewhere))[:, None]


def matching_loss(scores: Tensor, none: Tensor, truth: Tensor, elsewhere: Tensor | None = None) -> Tensor:
    """Returns the mean cross-entropy of the true cells.

    Args:
        scores: (B, K, N, N).
        none: () as in `with_none`.
        truth: (B, K, N, N) shares that sum to 1.
        elsewhere: (B,) as in `with_none`.
    """
    log_probability = with_none(scores, none, elsewhere)[:, :-1]
    loss: Tensor = -(truth.flatten(1) * log_probability).sum(dim=1).mean()
    return loss


def none_loss(scores: Tensor, none: Tensor, is_used: Tensor) -> Tensor:
    """Returns the mean cross-entropy of "none of these" over pairs of different places.

    Args:
        scores: (B, K, N, N).
        none: () as in `with_none`.
        is_used: (B,) 1 or 0: others do not count.
    """
    loss = -with_none(scores, none)[:, -1]
    mean: Tensor = (loss * is_used).sum() / is_used.sum().clamp_min(1.0)
    return mean
