"""The losses of dense flow against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training is an extra")

from geoflow_ros.errors import InputError  # noqa: E402
from geoflow_ros.training.flow_losses import (  # noqa: E402
    PIXEL_M,
    FlowLossWeights,
    confidence_loss,
    flow_matching_loss,
    pose_loss,
)

# One pair, a row of three cells, the last of which is not seen; the truth is (1, 0) everywhere.
TRUTH = torch.tensor([[[[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]]])
SEEN = torch.tensor([[[[1.0, 1.0, 0.0]]]])
# The first iteration is off by (2, 0) and (0, 4), the second by (1, 0) and (-1, 1).
FLOW = torch.tensor([
    [[[[3.0, 1.0, 99.0]], [[0.0, 4.0, 99.0]]]],
    [[[[2.0, 0.0, 99.0]], [[0.0, 1.0, 99.0]]]],
])  # fmt: skip


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def test_the_flow_matching_loss_by_hand() -> None:
    # (2 + 0 + 0 + 4) / 4 = 1.5 and (1 + 0 + 1 + 1) / 4 = 0.75; 0.8 * 1.5 + 0.75 = 1.95
    assert flow_matching_loss(FLOW, TRUTH, SEEN, 0.8).item() == pytest.approx(1.95)
    assert flow_matching_loss(FLOW, TRUTH, torch.zeros_like(SEEN), 0.8).item() == 0.0


@pytest.mark.parametrize(("kappa", "slope"), [(200.0, 0.05), (20.0, 0.5)])
def test_the_confidence_loss_by_hand(kappa: float, slope: float) -> None:
    # Distances: 2 and 4, then 1 and 2. Of two numbers the standardised ones are -+1/sqrt(2) (n - 1 in the deviation).
    confidence = torch.tensor([[[[[0.9, 0.2, 0.5]]]], [[[[0.6, 0.7, 0.5]]]]])
    worse = sigmoid(slope / math.sqrt(2.0))  # of the farther cell; 1 - worse of the nearer one
    first = (0.9 * (1 - worse) + 0.1 * worse + 0.2 * worse + 0.8 * (1 - worse)) / 2
    second = (0.6 * (1 - worse) + 0.4 * worse + 0.7 * worse + 0.3 * (1 - worse)) / 2
    found = confidence_loss(confidence, FLOW, TRUTH, SEEN, kappa, 0.8).item()
    assert found == pytest.approx(0.8 * first + second, abs=1e-6)


def test_trust_in_the_nearer_cells_costs_less() -> None:
    right = torch.tensor([[[[[1.0, 0.0, 0.0]]]]]).expand(2, -1, -1, -1, -1)
    wrong = torch.tensor([[[[[0.0, 1.0, 0.0]]]]]).expand(2, -1, -1, -1, -1)
    losses = [confidence_loss(c, FLOW, TRUTH, SEEN, 20.0, 0.8).item() for c in (right, wrong)]
    assert losses[0] < 0.5 * 1.8 < losses[1]


def test_cells_that_are_alike_have_no_order() -> None:
    flow = TRUTH[None] + 3.0
    confidence = torch.tensor([[[[[0.9, 0.2, 0.5]]]]]).requires_grad_()
    flow = flow.clone().requires_grad_()
    loss = confidence_loss(confidence, flow, TRUTH, SEEN, 20.0, 0.8)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert flow.grad is not None
    assert torch.isfinite(flow.grad).all()


def test_the_pose_loss_by_hand() -> None:
    pose = torch.tensor([[1.0, -2.0, math.radians(3.0)], [0.0, 0.0, math.radians(-179.0)]])
    truth = torch.tensor([[0.5, 1.0, math.radians(1.0)], [0.0, 0.0, math.radians(179.0)]])
    # 0.5 m + 3 m + 2 degrees, and 2 degrees across the seam: (5.5 + 2) / 2
    assert pose_loss(pose, truth).item() == pytest.approx(3.75, abs=1e-4)


def test_the_papers_weights_and_unit() -> None:
    weights = FlowLossWeights()
    assert (weights.alpha, weights.kappa, weights.beta) == (100.0, (200.0, 20.0), (1.0, 10.0))
    assert pytest.approx(0.1958) == PIXEL_M
    for wrong in ({"gamma": 0.0}, {"alpha": -1.0}, {"kappa": (200.0, 0.0)}):
        with pytest.raises(InputError, match="weights of losses"):
            FlowLossWeights(**wrong)  # type: ignore[arg-type]
