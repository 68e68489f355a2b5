"""The weighted fit of a motion in the plane: its signs, its covariance, its gradients, and what it cannot know."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training is an extra")

from fakes.ground_cells import TINY_BIRDS_EYE  # noqa: E402

from geoflow_ros.geo import BirdsEyeGrid  # noqa: E402
from geoflow_ros.model.birds_eye_matching import turned  # noqa: E402
from geoflow_ros.model.rigid_fit import composed, covariance, moved, rigid_fit, seen_from  # noqa: E402


def points(count: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Points in the area before a vehicle, (B, N, 2)."""
    noise = torch.rand((batch, count, 2), generator=torch.Generator().manual_seed(seed))
    return noise * torch.tensor([40.0, 50.0]) + torch.tensor([4.0, -25.0])


def test_the_motion_that_was_made_is_found_at_every_turn() -> None:
    turn = torch.linspace(-math.pi + 0.01, math.pi - 0.01, 25)
    pose = torch.stack((torch.linspace(-20, 20, 25), torch.linspace(13, -7, 25), turn), dim=1)
    at = points(30, 25)
    weights = torch.rand((25, 30), generator=torch.Generator().manual_seed(1))
    fit = rigid_fit(at, moved(at, pose), weights)
    torch.testing.assert_close(fit.pose, pose, atol=1e-4, rtol=0)
    assert fit.variance.max() < 1e-8


def test_a_turn_by_hand_and_no_reflection() -> None:
    # a quarter turn takes forward to right and right to backward: (1, 0) to (0, 1), (0, 1) to (-1, 0); then 5 ahead
    corner = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]])
    found = torch.tensor([[[5.0, 1.0], [4.0, 0.0], [3.0, 2.0]]])
    fit = rigid_fit(corner, found, torch.ones((1, 3)))
    assert fit.pose[0].tolist() == pytest.approx([5.0, 0.0, math.pi / 2], abs=1e-6)
    # a mirrored figure has a rotation as its best motion, and residuals; a turn of 0 where both turns are as good
    mirrored = corner * torch.tensor([1.0, -1.0])
    fit = rigid_fit(corner, mirrored, torch.ones((1, 3)))
    found = moved(corner, fit.pose)
    worse = [moved(corner, fit.pose + torch.tensor([[0.0, 0.0, d]])) for d in (-0.05, 0.05)]
    centre = mirrored.mean(dim=1, keepdim=True)

    def cost(x: torch.Tensor) -> float:
        return (x - x.mean(dim=1, keepdim=True) + centre - mirrored).square().sum().item()

    assert cost(found) < min(cost(x) for x in worse)
    assert fit.variance.item() > 0.1


def test_the_turn_has_the_sign_of_the_matchers_templates() -> None:
    grid = BirdsEyeGrid(1.0, 0, 24, 24)
    cells = torch.zeros((1, 2, 24, 24))
    cells[0, 0, 14, 12] = cells[0, 1, 8, 17] = 1.0
    centres = torch.from_numpy(grid.centres_m()).float().reshape(1, -1, 2)
    template = turned(cells, torch.tensor([[0.3]]), grid, grid)[0, 0].reshape(2, -1, 1)
    before = torch.stack([centres[0, 14 * 24 + 12], centres[0, 8 * 24 + 17]])[None]
    after = ((template * centres).sum(dim=1) / template.sum(dim=1))[None]
    fit = rigid_fit(before, after, torch.ones((1, 2)))
    assert fit.pose[0, 2].item() == pytest.approx(0.3, abs=0.03)
    assert fit.pose[0, :2].norm().item() < 0.5


def test_points_without_weight_do_not_count() -> None:
    at, pose = points(40), torch.tensor([[3.0, -2.0, 0.2]])
    found = moved(at, pose)
    found[:, 20:] += 30.0
    weights = torch.cat((torch.ones((1, 20)), torch.zeros((1, 20))), dim=1)
    fit = rigid_fit(at, found, weights)
    torch.testing.assert_close(fit.pose, pose, atol=1e-4, rtol=0)
    alone = rigid_fit(at[:, :20], found[:, :20], 7.0 * weights[:, :20])
    torch.testing.assert_close(alone.information, fit.information, rtol=1e-4, atol=0)


@pytest.mark.parametrize("is_equal", [True, False])
def test_the_covariance_is_that_of_repeated_noise(is_equal: bool) -> None:
    trials, count, sigma = 4000, 60, 0.5
    at = points(count).expand(trials, -1, -1)
    pose = torch.tensor([[4.0, -6.0, 0.7]]).expand(trials, -1)
    generator = torch.Generator().manual_seed(2)
    found = moved(at, pose) + sigma * torch.randn((trials, count, 2), generator=generator)
    weights = torch.ones(count) if is_equal else torch.rand(count, generator=generator)
    fit = rigid_fit(at, found, weights.expand(trials, -1))
    error = fit.pose - pose
    measured = error.T @ error / trials
    said = covariance(fit)
    # a mean of 4000 squares is right to 2 %; unequal weights, which the far points happen to hold, to some more
    tolerance = 0.08 if is_equal else 0.2
    scale = measured.diagonal().sqrt()
    difference = (said.mean(dim=0) - measured) / (scale[:, None] * scale[None])
    assert difference.abs().max() < tolerance
    assert fit.variance.mean().item() == pytest.approx(sigma**2, rel=0.02)
    solved = torch.linalg.solve(said.double(), error.double()[..., None])[..., 0]
    anees = (error * solved).sum(dim=1).mean() / 3.0
    # variances are estimated from 117 residuals: e^T S^-1 e / 3 is an F(3, 117) with mean 117 / 115
    assert anees.item() == pytest.approx(1.02, rel=tolerance)
    inverse = torch.linalg.inv(fit.information[0].double()).float() * fit.variance[0]
    torch.testing.assert_close(said[0], inverse, rtol=1e-3, atol=1e-7)


def test_what_the_points_do_not_show_is_none_and_never_nan() -> None:
    at = points(5).clone().requires_grad_()
    found = points(5, seed=3).clone().requires_grad_()
    none, one = torch.zeros((1, 5)), torch.tensor([[0.0, 0.0, 0.8, 0.0, 0.0]])
    for weights in (none, one):
        weights = weights.clone().requires_grad_()
        fit = rigid_fit(at, found, weights)
        wanted = torch.zeros((1, 3))
        if weights.sum() > 0:
            wanted[:, :2] = (found - at)[:, 2]  # one point shows where, not which way
        torch.testing.assert_close(fit.pose.detach(), wanted)
        said = covariance(fit)
        assert torch.isinf(said[0].diagonal()).all()
        assert said[0, 0, 1] == said[0, 0, 2] == said[0, 1, 2] == 0.0
        fit.pose.square().sum().backward()
        for tensor in (at, found, weights):
            assert torch.isfinite(tensor.grad).all()
    together = at.detach()[:, :1].expand(-1, 5, -1)
    assert rigid_fit(together, found.detach(), torch.ones((1, 5))).pose[0, 2].item() == 0.0


def test_gradients_are_those_of_differences() -> None:
    generator = torch.Generator().manual_seed(5)
    at = torch.randn((2, 6, 2), dtype=torch.float64, generator=generator)
    found = torch.randn((2, 6, 2), dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.rand((2, 6), dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, w: rigid_fit(at, m, w).pose, (found, weights))
    assert torch.autograd.gradcheck(lambda m, w: covariance(rigid_fit(at, m, w)), (found, weights))


def test_poses_are_composed_as_motions_of_points() -> None:
    first, then = torch.tensor([[2.0, 1.0, 0.4]]), torch.tensor([[-1.0, 3.0, -0.9]])
    at = points(4)
    torch.testing.assert_close(moved(at, composed(first, then)), moved(moved(at, then), first), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen_from(first, composed(first, then)), then, atol=1e-5, rtol=0)


def test_the_grid_of_a_network_determines_a_pose() -> None:
    grid = TINY_BIRDS_EYE.grid.coarsened(2)
    centres = torch.from_numpy(grid.centres_m()).float().reshape(1, -1, 2)
    fit = rigid_fit(centres, centres + 0.01 * torch.randn_like(centres), torch.ones(centres.shape[:2]))
    assert covariance(fit)[0].diagonal().max() < 0.01**2
