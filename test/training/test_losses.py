"""Losses mean what they say, and have gradients wherever they are asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from geoflow_ros.model import Displacement
from geoflow_ros.training.losses import (
    angle_between,
    angmf_nll,
    attention_cross_entropy,
    direction_nll,
    label_cross_entropy,
    log_distance_nll,
    orientation_loss,
)


def displacement(mu: float, variance: float, angle: float, kappa: float, heading: float = 0.0) -> Displacement:
    return Displacement(
        mu_log_r=torch.full((1, 1), mu),
        var_log_r=torch.full((1, 1), variance),
        direction=torch.tensor([[[math.cos(angle), math.sin(angle)]]]),
        kappa=torch.full((1, 1), kappa),
        orientation=torch.tensor([[[math.cos(heading), math.sin(heading)]]]),
    )


def test_log_distance_nll_is_the_gaussians_without_its_constant() -> None:
    answer = displacement(mu=-0.4, variance=0.3, angle=0.0, kappa=1.0)
    q, offset = torch.tensor([[[0.1, 0.2]]]), torch.tensor([[0.5, -0.1]])
    log_r = torch.tensor(math.log(0.5))
    gaussian = torch.distributions.Normal(-0.4, math.sqrt(0.3))
    expected = -gaussian.log_prob(log_r) - 0.5 * math.log(2 * math.pi)
    assert log_distance_nll(answer, q, offset).item() == pytest.approx(expected.item(), abs=1e-5)


def test_direction_nll_is_least_towards_the_truth() -> None:
    q, offset = torch.tensor([[[0.2, 0.0]]]), torch.tensor([[0.2, 0.7]])  # the truth is to the right
    losses = [direction_nll(displacement(0.0, 1.0, angle, 4.0), q, offset).item() for angle in (1.2, math.pi / 2, 1.9)]
    assert losses[1] == min(losses)
    assert losses[1] == pytest.approx(-math.log(17.0), abs=1e-4)


def test_angmf_density_is_normalised_over_the_sphere() -> None:
    theta = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    for kappa in (0.1, 1.0, 7.0, 60.0):
        density = torch.exp(-angmf_nll(theta, torch.tensor(kappa, dtype=torch.float64)))  # still to be divided by 2 pi
        assert torch.trapezoid(density * torch.sin(theta), theta).item() == pytest.approx(1.0, abs=1e-4)


def test_angmf_rate_of_least_loss_is_two_over_the_mean_angle() -> None:
    kappa = torch.linspace(1, 200, 20000, dtype=torch.float64)
    for mean_angle in (0.02, 0.1, 0.3):
        best = kappa[angmf_nll(torch.tensor(mean_angle, dtype=torch.float64), kappa).argmin()].item()
        assert best == pytest.approx(2.0 / mean_angle, rel=0.05)


def test_angmf_gradients_agree_with_differences() -> None:
    theta = torch.tensor([0.0, 0.3, 2.0, 3.1], dtype=torch.float64, requires_grad=True)
    kappa = torch.tensor([0.5, 3.0, 40.0, 1e-3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(angmf_nll, (theta, kappa))


def test_angle_gradients_agree_with_differences_and_stay_finite_where_parallel() -> None:
    torch.manual_seed(0)
    first = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    second = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(angle_between, (first, second))
    same = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    angle_between(same, torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.6, 0.8]])).sum().backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_hypotheses_on_the_truth_give_finite_losses_and_gradients() -> None:
    raw = torch.tensor([[[0.0, 0.0]]], requires_grad=True)
    direction = torch.nn.functional.normalize(raw, dim=-1)
    answer = replace(displacement(-3.0, 1.0, 0.0, 2.0), direction=direction)
    offset = torch.tensor([[0.3, 0.3]])
    loss = log_distance_nll(answer, offset[:, None], offset) + direction_nll(answer, offset[:, None], offset)
    loss.backward()
    assert math.isfinite(loss.item())
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


def test_attention_of_tokens_that_see_nothing_is_ignored() -> None:
    attention = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]])
    target = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    assert attention_cross_entropy(attention, target).item() == pytest.approx(math.log(2.0), abs=1e-5)
    assert attention_cross_entropy(attention, torch.zeros_like(target)).item() == 0.0


def test_ignored_labels_do_not_count() -> None:
    logits = torch.zeros(1, 4, 1, 2)
    logits[0, 1, 0, 1] = 50.0
    labels = torch.tensor([[[2, 255]]], dtype=torch.uint8)
    assert label_cross_entropy(logits, labels).item() == pytest.approx(math.log(4.0), abs=1e-5)


def test_orientation_loss_is_one_minus_the_cosine() -> None:
    loss = orientation_loss(displacement(0.0, 1.0, 0.0, 1.0, heading=0.3), torch.tensor([0.1]))
    assert loss.item() == pytest.approx(1 - math.cos(0.2), abs=1e-6)
