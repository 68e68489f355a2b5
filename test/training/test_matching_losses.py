"""The losses of pose matching, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from geoflow_ros.training.matching_losses import matching_loss, none_loss, shared_among, true_cells, with_none


def test_a_position_is_shared_by_its_two_neighbours() -> None:
    shares = shared_among(torch.tensor([1.25, 2.0, -0.4, 9.0]), 4)
    wanted = [[0, 0.75, 0.25, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    torch.testing.assert_close(shares, torch.tensor(wanted))


def test_the_truth_lies_at_its_turn_forward_and_right() -> None:
    truth = true_cells(torch.tensor([0.5]), torch.tensor([[1.0, -1.75]]), turns=2, cells=5)
    assert truth.sum().item() == pytest.approx(1.0)
    # forward 1 is cell 3; right -1.75 is a quarter in cell 1 and three quarters in cell 0; both turns half
    assert truth[0, :, 3, 0].tolist() == pytest.approx([0.375, 0.375])
    assert truth[0, :, 3, 1].tolist() == pytest.approx([0.125, 0.125])


def test_none_weighs_as_much_as_all_cells_with_its_score() -> None:
    scores = torch.zeros((1, 1, 2, 2))
    probability = with_none(scores, torch.tensor(0.0)).exp()
    assert probability[0].tolist() == pytest.approx([0.125] * 4 + [0.5])
    probability = with_none(scores, torch.tensor(math.log(3.0))).exp()
    assert probability[0].tolist() == pytest.approx([1 / 16] * 4 + [12 / 16])


def test_the_losses_are_cross_entropies_by_hand() -> None:
    scores = torch.tensor([[[[math.log(6.0), 0.0], [0.0, 0.0]]]])
    none = torch.tensor(math.log(0.25))  # times 4 cells: weight 1 of 10
    truth = torch.tensor([[[[0.75, 0.25], [0.0, 0.0]]]])
    wanted = -(0.75 * math.log(0.6) + 0.25 * math.log(0.1))
    assert matching_loss(scores, none, truth).item() == pytest.approx(wanted, abs=1e-6)
    both = torch.cat((scores, torch.zeros((1, 1, 2, 2))))  # of the second, none has weight 1 of 5
    assert none_loss(both, none, torch.tensor([1.0, 1.0])).item() == pytest.approx(
        (math.log(10.0) + math.log(5.0)) / 2, abs=1e-6
    )
    assert none_loss(both, none, torch.tensor([0.0, 1.0])).item() == pytest.approx(math.log(5.0), abs=1e-6)
    assert none_loss(both, none, torch.zeros(2)).item() == 0.0
