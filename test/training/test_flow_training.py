"""Training dense flow: what a step asks of it, that it learns, and what is kept, resumed and refused."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes.colour_pairs import tiny_config
from fakes.ground_cells import TINY_BIRDS_EYE, scene, tiny_matcher
from fakes.noise_pairs import NoisePairs

from geoflow_ros.bundle.image_sizes import IMAGE_SIZES
from geoflow_ros.errors import CheckpointError, InputError
from geoflow_ros.model import (
    BirdsEyeMatcher,
    DenseFlow,
    DenseFlowConfig,
    load_birds_eye,
    load_dense_flow,
    method_of,
    save_checkpoint,
)
from geoflow_ros.model.dense_flow import flow_from_zero
from geoflow_ros.training.evaluate_flow import evaluate_flow
from geoflow_ros.training.evaluate_poses import as_stood
from geoflow_ros.training.flow_losses import FlowLossWeights
from geoflow_ros.training.flow_objective import FlowObjective, FlowSampling, true_flow, true_poses
from geoflow_ros.training.methods import METHODS, FirstWeights
from geoflow_ros.training.run import _figures
from geoflow_ros.training.trainer import Trainer

TINY_FLOW = DenseFlowConfig(fine_reach=4, coarse_reach=3, hidden=6, motion=8, iterations=2)


def tiny_flow(config: DenseFlowConfig = TINY_FLOW, seed: int = 4) -> DenseFlow:
    torch.manual_seed(seed)
    return DenseFlow(TINY_BIRDS_EYE, config)


def test_the_true_flow_makes_the_true_pose() -> None:
    model = tiny_flow().eval()
    patch, seen = scene(model.matcher, (5.0, -3.0), 4.0)
    truth = torch.tensor([[5.0, -3.0, math.radians(4.0)]])
    for start in (torch.zeros((1, 3)), torch.tensor([[6.0, -3.5, -0.05]])):
        flow, counts = true_flow(model, seen, start, truth)
        answer = model.decoder._answer(flow[None], counts[None], start)
        torch.testing.assert_close(answer.pose, truth, atol=1e-3, rtol=0)
        assert counts.sum() > 10
    # from the camera that stands at the patch's edge, what is ahead lies beyond it
    _, counts = true_flow(model, seen, truth, torch.tensor([[49.0, 0.0, 0.0]]))
    assert counts.sum() == 0
    assert patch.coarse.shape[-1] == 16


def test_the_starts_of_a_step_are_modes_with_errors_or_zero() -> None:
    truth = torch.tensor([[5.0, -3.0, 0.1]]).expand(4000, -1)
    draw = FlowObjective(tiny_flow())._starts(truth, torch.Generator().manual_seed(0)) - truth
    assert draw.abs().max(dim=0).values.tolist() == pytest.approx([3.0, 3.0, math.radians(5.5)], rel=0.1)
    assert draw[:, :2].norm(dim=1).median().item() < 1.0
    narrow = FlowObjective(tiny_flow(), sampling=FlowSampling(wide_share=0.0))
    draw = narrow._starts(truth, torch.Generator().manual_seed(0)) - truth
    assert draw.std(dim=0).tolist() == pytest.approx([0.5, 0.5, math.radians(1.5)], rel=0.05)
    zero = FlowObjective(tiny_flow(replace(TINY_FLOW, start="zero")))
    assert not zero._starts(truth, torch.Generator()).any()
    with pytest.raises(InputError, match="wide_share"):
        FlowSampling(wide_share=1.5)


def test_a_step_assumes_nearly_the_camera_that_there_was() -> None:
    objective = FlowObjective(tiny_flow(), sampling=FlowSampling(pitch_deg=0.0, height=0.0, roll_deg=0.0))
    camera = torch.tensor([[13.0, 1.7, 0.01], [11.5, 1.5, -0.02]])
    batch = replace(NoisePairs(1).batch(0), camera=camera)
    assumed = objective._cameras(batch, torch.Generator().manual_seed(0))
    assert assumed is not None
    stood = as_stood(objective._model.matcher, batch)
    assert stood is not None
    torch.testing.assert_close(assumed.cells, stood.cells)
    jittered = FlowObjective(tiny_flow())._cameras(batch, torch.Generator().manual_seed(0))
    assert jittered is not None
    assert not torch.equal(jittered.cells, stood.cells)
    assert objective._cameras(NoisePairs(1).batch(0), torch.Generator()) is None


def test_the_loss_is_the_papers_sum_and_changes_once() -> None:
    model = tiny_flow(flow_from_zero(TINY_BIRDS_EYE, replace(TINY_FLOW, radius=2))).train()
    objective = FlowObjective(model, sampling=FlowSampling(change_pairs=4))
    batch = NoisePairs(1).batch(0)
    weights = FlowLossWeights()
    for beta, pairs in zip((*weights.beta, weights.beta[1]), (4, 8, 12), strict=True):
        figures = objective(batch, torch.Generator().manual_seed(0))
        parts = {name: value.item() for name, value in figures.parts.items()}
        wanted = parts["flow"] + 100.0 * parts["confidence"] + beta * parts["pose"]
        assert figures.loss.item() == pytest.approx(wanted, rel=1e-5)
        assert model.trained_pairs.item() == pairs
    other = FlowObjective(model, FlowLossWeights(matching=0.0, alpha=0.0, beta=(0.0, 0.0)))
    assert other(batch, torch.Generator().manual_seed(0)).loss.item() == 0.0


def test_from_a_mode_the_pose_has_its_say() -> None:
    figures = FlowObjective(tiny_flow().train())(NoisePairs(1).batch(0), torch.Generator().manual_seed(0))
    parts = {name: value.item() for name, value in figures.parts.items()}
    wanted = parts["flow"] + 20.0 * parts["confidence"] + 5.0 * parts["pose"]
    assert figures.loss.item() == pytest.approx(wanted, rel=1e-5)


def test_a_decoder_learns_to_refine_on_features_that_do_not_change() -> None:
    model = tiny_flow(replace(TINY_FLOW, hidden=16, motion=16), seed=0).train()
    objective = FlowObjective(model, sampling=FlowSampling(wide_share=0.0, sigma_m=1.5, sigma_turn_deg=4.0))
    optimizer = torch.optim.AdamW(model.decoder.parameters(), lr=5e-3)
    patch, seen = scene(model.matcher, (5.0, -3.0), 4.0)
    index = torch.zeros(8, dtype=torch.int64)
    patches, frames = patch.taken(index), seen.taken(index)
    truth = torch.tensor([[5.0, -3.0, math.radians(4.0)]]).expand(8, -1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):
        start = objective._starts(truth, generator)
        objective._figures(patches, frames, start, truth).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.decoder.parameters(), 3.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    start = objective._starts(truth, generator)
    with torch.no_grad():
        answer = model(patches, frames, start)
    before, after = ((pose - truth).square().mean(dim=0) for pose in (start, answer.pose))
    assert after[:2].sum().sqrt() < 0.7 * before[:2].sum().sqrt()
    assert after[2].sqrt() < 0.7 * before[2].sqrt()


def test_what_is_frozen_stays_and_the_rest_is_resumed_to_the_bit(tmp_path: Path) -> None:
    def trainer(folder: str) -> Trainer[DenseFlow]:
        model = tiny_flow()
        settings = {"satellite_classes": 0, "ground_classes": 0, "beta2": 0.98, "validate_every": 1}

        def validation(_: DenseFlow, __: Callable[[], bool]) -> dict[str, float]:
            if folder == "parts":
                signal.raise_signal(signal.SIGTERM)
            return {"mean_error_m": 5.0}

        config = tiny_config(tmp_path / folder, steps=2, **settings)
        return Trainer(config, model, NoisePairs(1), validation, FlowObjective(model))

    whole = trainer("whole")
    whole.run()
    matcher = tiny_flow().matcher.state_dict()
    for name, tensor in whole.model.matcher.state_dict().items():
        assert torch.equal(tensor, matcher[name]), name
    assert whole.model.decoder.head[-1].weight.abs().max() > 0.0
    assert trainer("parts").run().step == 1
    second = trainer("parts")
    second.resume()
    assert second.run().step == 2
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    kept = load_dense_flow(tmp_path / "parts" / "last.safetensors")
    assert (kept.config, kept.flow_config) == (TINY_BIRDS_EYE, TINY_FLOW)
    assert kept.trained_pairs.item() == 8


def test_errors_are_told_before_and_after(tmp_path: Path) -> None:
    model, batch = tiny_flow().eval(), NoisePairs(1).batch(0)
    errors = evaluate_flow(model, [batch, batch])
    assert errors.before.shape == errors.after.shape == (8, 3)
    # an untrained decoder leaves every mode where it is
    torch.testing.assert_close(errors.after, errors.before, atol=1e-4, rtol=0)
    zero = tiny_flow(replace(TINY_FLOW, start="zero")).eval()
    truth = true_poses(batch, 20.0)
    torch.testing.assert_close(evaluate_flow(zero, [batch]).before, -truth, atol=1e-5, rtol=0)
    figures = _figures(METHODS["dense_flow"].errors(model, [batch], torch.float32))
    assert figures["before_mean_error_m"] == pytest.approx(figures["mean_error_m"], abs=1e-4)
    assert figures["before_yaw_median_error_deg"] == pytest.approx(figures["yaw_median_error_deg"], abs=1e-2)
    nominal = torch.tensor([[TINY_BIRDS_EYE.horizon_row_px, TINY_BIRDS_EYE.camera_height_m, 0.0]]).expand(2, -1)
    same = evaluate_flow(model, [replace(batch, camera=nominal)])
    torch.testing.assert_close(same.after, errors.after[:4], atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="training mode"):
        evaluate_flow(model.train(), [batch])


def test_a_matchers_checkpoint_gets_a_decoder_and_keeps_loading(tmp_path: Path) -> None:
    size = replace(IMAGE_SIZES["half"], satellite_px=64)
    matcher = save_checkpoint(tiny_matcher(), tmp_path / "matcher.safetensors")
    method = METHODS["dense_flow"]
    model = method.network(size, FirstWeights(matcher))
    for name, tensor in load_birds_eye(matcher).state_dict().items():
        assert torch.equal(model.matcher.state_dict()[name], tensor), name
    model.trained_pairs += 5
    path = save_checkpoint(model, tmp_path / "flow.safetensors")
    assert method_of(path) == "dense_flow"
    again = method.network(size, FirstWeights(path))
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    with pytest.raises(InputError, match="another decoder than dense_flow_paper"):
        METHODS["dense_flow_paper"].network(size, FirstWeights(path))
    assert METHODS["dense_flow_paper"].network(size, FirstWeights(matcher)).flow_config.trains_encoders
    with pytest.raises(CheckpointError, match="here one of birds_eye is needed"):
        load_birds_eye(path)
    with pytest.raises(CheckpointError, match="here one of dense_flow is needed"):
        load_dense_flow(matcher)


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    method = METHODS["dense_flow"]
    half = IMAGE_SIZES["half"]
    with pytest.raises(InputError, match="give a checkpoint of the method birds_eye"):
        method.network(half, FirstWeights())
    matcher = save_checkpoint(tiny_matcher(), tmp_path / "matcher.safetensors")
    with pytest.raises(InputError, match="is for patches of 64 px"):
        method.network(half, FirstWeights(matcher))
    with pytest.raises(InputError, match="of the method geoflow"):
        method.network(half, FirstWeights(matcher, predict_orientation=True))
    untrained = METHODS["dense_flow_paper"].network(half, FirstWeights())
    assert untrained.flow_config.start == "zero"
    assert isinstance(untrained.matcher, BirdsEyeMatcher)
