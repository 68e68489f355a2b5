"""Dense flow: correlations of all pairs in reach, the matcher's geometry, and the pose that a flow makes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training is an extra")

from fakes.ground_cells import TINY_BIRDS_EYE, scene, tiny_matcher  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from geoflow_ros.errors import InputError  # noqa: E402
from geoflow_ros.model.dense_flow import (  # noqa: E402
    PAPER_DECODER,
    CorrelationVolume,
    DenseFlow,
    DenseFlowConfig,
    flow_from_zero,
    local_correlation,
)
from geoflow_ros.model.rigid_fit import moved, seen_from  # noqa: E402

TINY_FLOW = DenseFlowConfig(fine_reach=4, coarse_reach=3, hidden=6, motion=8, iterations=3)
START = torch.tensor([[3.0, -4.0, 0.2]])


def tiny_flow(config: DenseFlowConfig = TINY_FLOW) -> DenseFlow:
    torch.manual_seed(4)
    return DenseFlow(TINY_BIRDS_EYE, config)


def test_the_local_volume_is_the_product_of_all_pairs_in_reach() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn((2, 4, 5, 6), generator=generator)
    area = torch.randn((2, 4, 5 + 6, 6 + 6), generator=generator)
    volume = local_correlation(area, cells, 3)
    all_pairs = torch.einsum("bcfr,bcij->bfrij", cells, area) / math.sqrt(4)
    for f in range(5):
        for r in range(6):
            torch.testing.assert_close(volume[:, f, r], all_pairs[:, f, r, f : f + 7, r : r + 7])


def test_a_look_up_finds_what_lies_at_the_flow() -> None:
    # products that are the displacement itself tell where they were looked up
    config = replace(TINY_FLOW, radius=1, levels=2)
    volume = CorrelationVolume(TINY_BIRDS_EYE.grid.coarsened(2), config, 5, 1)
    steps = torch.arange(-5, 6.0)
    maps = [(10.0 * steps[:, None] + steps[None, :])[None, None].expand(6, -1, -1, -1)]
    maps.append(F.avg_pool2d(maps[0], 2))
    flow = torch.zeros((1, 2, 2, 3))
    flow[:, 0], flow[:, 1] = 1.25, -2.5
    looked = volume.look_up(maps, flow)[0, :, 1, 2].reshape(2, 3, 3)
    for level in (0, 1):
        size = 2**level
        wanted = [[10.0 * (1.25 + size * i) + (-2.5 + size * j) for j in (-1, 0, 1)] for i in (-1, 0, 1)]
        # a pooled map has no products beyond its outermost centres
        torch.testing.assert_close(looked[level][:, 1:], torch.tensor(wanted)[:, 1:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", ["fine", "coarse"])
def test_the_true_start_has_its_highest_products_at_no_flow(level: str) -> None:
    model = tiny_flow().eval()
    patch, seen = scene(model.matcher, (6.0, -9.0), 12.0)
    volume = getattr(model.decoder, level)
    ground = getattr(seen, level)
    satellite = getattr(patch, level)
    truth = torch.tensor([[6.0, -9.0, math.radians(12.0)]])
    middle = volume.reach

    def at_rest(start: torch.Tensor) -> float:
        products = volume(satellite, ground, start)[0].mean(dim=0)[0]
        return float(products[middle, middle])

    products = volume(satellite, ground, truth)[0].mean(dim=0)[0]
    assert int(products.argmax()) == middle * products.shape[1] + middle
    assert at_rest(truth) > 1.2 * abs(at_rest(truth * torch.tensor([[1.0, 1.0, -1.0]])))
    ahead = truth + torch.tensor([[0.0, 2.0 * volume.cell_m, 0.0]])  # the match is 2 cells to the left of this start
    turned = volume(satellite, ground, ahead)[0].mean(dim=0)[0]
    f, r = divmod(int(turned.argmax()), turned.shape[1])
    wanted = seen_from(ahead, truth)[0, :2] / volume.cell_m
    assert (f - middle, r - middle) == pytest.approx(wanted.tolist(), abs=0.7)


def test_an_untrained_decoder_leaves_the_start_where_it_is() -> None:
    model = tiny_flow().eval()
    patch, seen = scene(model.matcher, (5.0, -3.0), 4.0)
    answer = model(patch, seen, START)
    assert answer.flow.shape == (3, 1, 2, 6, 8)
    assert answer.confidence.shape == (3, 1, 1, 6, 8)
    torch.testing.assert_close(answer.pose, START, atol=1e-5, rtol=0)
    visible = seen.coarse_confidence > 0.0
    assert (answer.confidence[-1][~visible] == 0.0).all()
    assert (answer.confidence[-1][visible] == 0.5).all()


def test_the_pose_and_its_covariance_are_those_of_the_flow_on_the_patch() -> None:
    model = tiny_flow().eval()
    _, seen = scene(model.matcher, (5.0, -3.0), 4.0)
    start = torch.tensor([[3.0, -4.0, math.pi / 2]])
    truth = torch.tensor([[4.0, -3.5, math.pi / 2 + 0.1]])
    points = model.decoder.points_m
    flow = moved(points, seen_from(start, truth)) - points
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(flow.shape, generator=generator) * 0.01
    shape = (1, 2, *seen.coarse_confidence.shape[2:])
    field = (flow + noise).transpose(1, 2).reshape(shape)
    answer = model.decoder._answer(field[None], torch.ones((1, 1, 1, *shape[2:])), start)
    torch.testing.assert_close(answer.pose, truth, atol=0.01, rtol=0)
    # the cells lie ahead of the start, which looks along the patch's right: along it, turn and right are tied
    said = answer.covariance[0]
    assert said[0, 2].abs() > 3.0 * said[1, 2].abs()
    assert torch.linalg.eigvalsh(said.double()).min() > 0.0
    assert said[0, 0] > said[1, 1]


def test_nothing_to_see_says_that_it_knows_nothing() -> None:
    model = tiny_flow().eval()
    patch, seen = scene(model.matcher, (5.0, -3.0), 4.0)
    blind = seen._replace(coarse_confidence=torch.zeros_like(seen.coarse_confidence))
    answer = model(patch, blind, START)
    torch.testing.assert_close(answer.pose, START, atol=1e-5, rtol=0)
    assert torch.isinf(answer.covariance[0].diagonal()).all()
    assert not torch.isnan(answer.covariance).any()


def test_the_volume_from_zero_reaches_every_pose_of_the_search() -> None:
    config = flow_from_zero(TINY_BIRDS_EYE, PAPER_DECODER)
    assert (config.start, config.fine_reach, config.levels, config.radius, config.hidden) == ("zero", 0, 4, 4, 128)
    assert flow_from_zero(TINY_BIRDS_EYE).iterations == 12
    grid = TINY_BIRDS_EYE.grid.coarsened(2)
    reach = config.coarse_reach * grid.cell_m
    points = torch.from_numpy(grid.centres_m()).float().reshape(1, -1, 2)
    points = points[:, points[0].norm(dim=1) <= TINY_BIRDS_EYE.range_m]
    for turn in (-10.0, 10.0):
        corner = torch.tensor([[20.0, -20.0, math.radians(turn)]])
        assert (moved(points, corner) - points).abs().max() <= reach


def test_starts_are_the_modes_of_the_matcher_or_zero() -> None:
    model = tiny_flow().eval()
    patch, seen = scene(model.matcher, (5.0, -3.0), 4.0)
    mode = model.matcher.posteriors(patch, seen, model.config.search)[0].estimate().pose
    assert model.starts(patch, seen)[0].tolist() == pytest.approx(mode.tolist(), abs=1e-5)
    zero = tiny_flow(replace(TINY_FLOW, start="zero")).eval()
    assert zero.starts(patch, seen).tolist() == [[0.0, 0.0, 0.0]]


def test_encoders_that_are_not_trained_stay_as_they_are() -> None:
    model = tiny_flow().train()
    assert model.decoder.training
    assert not any(module.training for module in model.matcher.modules())
    assert not any(parameter.requires_grad for parameter in model.matcher.parameters())
    whole = tiny_flow(replace(TINY_FLOW, trains_encoders=True)).train()
    assert all(module.training for module in whole.matcher.modules())
    assert all(parameter.requires_grad for parameter in whole.parameters())
    assert tiny_matcher().config == model.config


@pytest.mark.parametrize(
    "wrong", [{"start": "somewhere"}, {"radius": 0}, {"fine_reach": 0, "coarse_reach": 0}, {"levels": 5}]
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="must"):
        replace(TINY_FLOW, **wrong)  # type: ignore[arg-type]
