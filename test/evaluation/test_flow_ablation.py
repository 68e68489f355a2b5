"""The paper's ablations of dense flow: each leaves out what it says, and the table has one line for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.ground_cells import TINY_BIRDS_EYE, scene
from torch import nn

from geoflow_ros.errors import InputError
from geoflow_ros.evaluation import flow_ablation
from geoflow_ros.model import DenseFlow, DenseFlowConfig, load_dense_flow, save_checkpoint
from geoflow_ros.model.dense_flow import ABLATIONS, flow_from_zero
from geoflow_ros.training.flow_objective import FlowObjective
from geoflow_ros.training.methods import METHODS, ablated
from geoflow_ros.training.run import SyntheticTraining
from geoflow_ros.training.trainer import TrainingResult

TINY_FLOW = DenseFlowConfig(fine_reach=4, coarse_reach=3, hidden=6, motion=8, iterations=2)


FROM_ZERO = flow_from_zero(TINY_BIRDS_EYE, replace(TINY_FLOW, radius=2))


def without(name: str, config: DenseFlowConfig = TINY_FLOW) -> DenseFlow:
    torch.manual_seed(4)
    return DenseFlow(TINY_BIRDS_EYE, replace(config, without=name)).eval()


def test_without_projection_the_image_is_spread_over_the_cells() -> None:
    model, whole = without("projection"), without("")
    image = torch.zeros((1, 3, 32, 128))
    image[:, :, 24:, 96:] = 1.0  # the lowest rows, at the right
    patch = torch.zeros((1, 3, 64, 64))
    difference = [
        (m.encode(patch, image)[1].coarse - m.encode(patch, 0 * image)[1].coarse).abs() for m in (model, whole)
    ]
    spread = difference[0].sum(dim=1)[0]
    near_right = spread[: spread.shape[0] // 2, spread.shape[1] // 2 :].sum()
    assert near_right > 0.5 * spread.sum()
    assert (model.encode(patch, image)[1].coarse_confidence > 0.0).all()
    assert not (whole.encode(patch, image)[1].coarse_confidence > 0.0).all()


def test_without_refine_block_there_is_a_1x1_convolution(tmp_path: Path) -> None:
    model = without("refine_block")
    refine = model.matcher.ground.refine
    assert isinstance(refine, nn.Conv2d)
    assert refine.kernel_size == (1, 1)
    kept = load_dense_flow(save_checkpoint(model, tmp_path / "without.safetensors"))
    assert torch.equal(kept.matcher.ground.refine.weight, refine.weight)


def test_without_confidence_all_that_is_seen_weighs_the_same() -> None:
    model = without("confidence")
    patch, seen = scene(model.matcher, (5.0, -3.0), 4.0)
    nn.init.normal_(model.decoder.head[-1].weight)
    answer = model(patch, seen, torch.zeros((1, 3)))
    assert answer.confidence.unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("name", "weights"),
    [("", (1.0, 100.0, 1.0)), ("matching_loss", (0.0, 100.0, 1.0)), ("position_loss", (1.0, 100.0, 0.0)),
     ("confidence", (1.0, 0.0, 1.0))],
)  # fmt: skip
def test_a_loss_that_is_left_out_weighs_nothing(name: str, weights: tuple[float, float, float]) -> None:
    found = FlowObjective(without(name, FROM_ZERO))._weights
    assert (found.matching, found.alpha, found.beta[0]) == weights
    of_mode = FlowObjective(without(name))._weights
    assert [w == 0.0 for w in (of_mode.matching, of_mode.alpha, of_mode.beta[0])] == [w == 0.0 for w in weights]


def test_what_is_no_ablation_is_refused() -> None:
    with pytest.raises(InputError, match="without is 'wheels'"):
        replace(TINY_FLOW, without="wheels")


def test_the_table_has_a_line_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SyntheticTraining] = []

    def train(settings: SyntheticTraining) -> TrainingResult:
        asked.append(settings)
        keys = ("mean_error_m", "median_error_m", "yaw_mean_error_deg", "yaw_median_error_deg")
        figures: dict[str, Any] = {f"{a}_{k}": float(len(asked)) for a in ("same", "cross") for k in keys}
        path = save_checkpoint(without(""), settings.out / "best.safetensors", {"validation": figures})
        is_finished = "refine" not in settings.method or len(asked) > 6
        return TrainingResult(9, 9, 1.0, is_finished, 1.0, path, path)

    monkeypatch.setattr(flow_ablation, "train_synthetic", train)
    settings = SyntheticTraining(out=tmp_path, steps=9)
    assert list(flow_ablation.ablate_flow(settings)) == ["whole", "without projection"]  # then interrupted
    asked.extend(asked[:4])
    rows = flow_ablation.ablate_flow(settings)
    assert len(rows) == 1 + len(ABLATIONS)
    same, cross = flow_ablation.flow_ablation_tables(rows)
    assert "without position loss" in same
    assert "cross area" in cross
    assert {s.validate_every for s in asked} == {9}
    assert {s.method for s in asked} == {"dense_flow_paper", *map(ablated, ABLATIONS)}
    assert set(METHODS) >= {ablated(name) for name in ABLATIONS}
