"""Losses mean what they say, and a training can be stopped, resumed and trusted."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geoflow_ros.errors import CheckpointError, InputError
from geoflow_ros.model import Displacement, GeoFlow, GeoFlowConfig, load_checkpoint, read_metadata
from geoflow_ros.training.ema import MovingAverage
from geoflow_ros.training.evaluate import evaluate_pairs
from geoflow_ros.training.hypotheses import HypothesisSampling
from geoflow_ros.training.losses import (
    LossWeights,
    angle_between,
    angmf_nll,
    attention_cross_entropy,
    direction_nll,
    label_cross_entropy,
    log_distance_nll,
    orientation_loss,
)
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.prefetch import BatchStream
from geoflow_ros.training.schedule import Schedule
from geoflow_ros.training.trainer import Trainer, TrainerConfig, TrainingError, TrainingResult

TINY = GeoFlowConfig(satellite_size_px=64, ground_height_px=32, ground_width_px=128)
CLASSES = 3
CPU = torch.device("cpu")


@dataclass
class ColourPairs:
    """Pairs that can be learnt: the patch's colour tells the position. ``asked`` are the batches made."""

    broken: frozenset[int] = frozenset()  # batches whose truth is not a number
    asked: list[int] = field(default_factory=list)

    def batch(self, index: int) -> PairBatch:
        self.asked.append(index)
        rng = np.random.default_rng([11, index])
        frames, patches, pairs = 3, 6, 12
        position = rng.uniform(-1, 1, (patches, 2)).astype(np.float32)
        colour = np.concatenate([127.5 + 120 * position, np.full((patches, 1), 128)], axis=1)
        satellite = colour[:, None, None] + rng.normal(0, 4, (patches, 64, 64, 3))
        ground = rng.integers(0, 256, (frames, 32, 128, 3), dtype=np.uint8)
        ground_index, satellite_index = np.arange(pairs) % frames, np.arange(pairs) % patches
        attention = rng.random((pairs, 4, 4)).astype(np.float32)
        attention /= attention.sum(-1, keepdims=True)
        attention[:, 0] = 0.0  # the first token sees the sky
        offset = torch.from_numpy(position[satellite_index])
        return PairBatch(
            satellite=torch.from_numpy(satellite.clip(0, 255).astype(np.uint8)),
            ground=torch.from_numpy(ground),
            satellite_index=torch.from_numpy(satellite_index),
            ground_index=torch.from_numpy(ground_index),
            offset=offset * math.nan if index in self.broken else offset,
            heading_error_rad=torch.from_numpy(rng.normal(0, 0.05, pairs).astype(np.float32)),
            attention=torch.from_numpy(attention),
            satellite_labels=torch.from_numpy(rng.integers(0, CLASSES, (patches, 4, 4), dtype=np.uint8)),
            ground_labels=torch.from_numpy(rng.integers(0, CLASSES, (frames, 2, 8), dtype=np.uint8)),
        )

    def close(self) -> None:
        pass


def tiny_config(out: Path, steps: int = 6, **settings: object) -> TrainerConfig:
    defaults = TrainerConfig(
        out=out,
        schedule=Schedule(peak=1e-3, steps=steps, warmup_steps=2),
        hypotheses=HypothesisSampling(count=16),
        satellite_classes=CLASSES,
        ground_classes=CLASSES,
        label_cells=2,
        log_every=1,
        is_progress_shown=False,
    )
    return replace(defaults, **settings)  # type: ignore[arg-type]


def tiny_model(config: GeoFlowConfig = TINY) -> GeoFlow:
    torch.manual_seed(2)
    return GeoFlow(config)


def stop_after_validation(_: GeoFlow) -> dict[str, float]:
    signal.raise_signal(signal.SIGTERM)
    return {"mean_error_m": 5.0}


def entries(out: Path, group: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]


# --- losses


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


# --- hypotheses, schedule, average


def test_hypotheses_are_anywhere_and_some_are_near_the_truth() -> None:
    offset = torch.tensor([[0.5, -0.5]]).expand(200, 2)
    sampling = HypothesisSampling(count=64, extent=1.2, near_share=0.25, near_min=0.01, near_max=0.1)
    q = sampling.draw(offset, torch.Generator().manual_seed(0))
    assert q.shape == (200, 64, 2)
    assert 1.15 < q[:, :48].abs().max().item() <= 1.2
    distance = (q[:, 48:] - offset[:, None]).norm(dim=-1)
    assert distance.min().item() >= 0.0099
    assert distance.max().item() <= 0.1001
    assert distance.median().item() == pytest.approx(math.sqrt(0.01 * 0.1), rel=0.1)  # log-uniform


def test_schedule_by_steps_warms_up_and_falls_whatever_the_time() -> None:
    schedule = Schedule(peak=1.0, steps=1000, warmup_steps=10, final_share=0.01)
    rates = [schedule.learning_rate(step, elapsed_s=1e9) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 11, rel=0.01)
    assert max(rates) > 0.99
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)
    assert all(later <= earlier for earlier, later in zip(rates[10:], rates[11:], strict=False))
    assert not schedule.is_over(999, 1e9)
    assert schedule.is_over(1000, 0.0)


def test_schedule_by_time_follows_the_clock_whatever_the_steps() -> None:
    schedule = Schedule(peak=1.0, max_minutes=10.0, warmup_steps=0)
    assert schedule.learning_rate(5, 300.0) == schedule.learning_rate(50_000, 300.0)
    assert schedule.learning_rate(5, 300.0) == pytest.approx(0.505)
    assert not schedule.is_over(10**9, 599.0)
    assert schedule.is_over(1, 600.0)


@pytest.mark.parametrize(
    "settings", [{}, {"steps": 0}, {"max_minutes": -1.0}, {"steps": 5, "peak": 0.0}, {"steps": 5, "final_share": 2.0}]
)
def test_a_schedule_without_sense_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Schedule(**{"peak": 1e-3, **settings})  # type: ignore[arg-type]


def test_the_average_follows_weights_and_statistics() -> None:
    model = tiny_model()
    average = MovingAverage(model, decay=0.9)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(1.0)
    before = average.model.sat_extractor.bn1.running_mean.clone()
    average.update(step=10**6)
    torch.testing.assert_close(average.model.sat_extractor.bn1.running_mean, before + 0.1)
    assert not average.model.training


# --- batches made ahead


@pytest.mark.parametrize("processes", [0, 2])
def test_batches_come_in_order_from_a_thread_and_from_processes(processes: int) -> None:
    stream = BatchStream(ColourPairs(), start=7, device=CPU, processes=processes)
    try:
        for index in (7, 8, 9, 10, 11):
            batch, expected = next(stream), ColourPairs().batch(index)
            assert torch.equal(batch.ground, expected.ground)
            assert torch.equal(batch.offset, expected.offset)
    finally:
        stream.close()


class _FailingSource(ColourPairs):
    def batch(self, index: int) -> PairBatch:
        if index == 2:
            raise OSError("the disk is gone")
        return super().batch(index)


def test_an_error_of_the_source_ends_the_training_with_that_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        Trainer(tiny_config(tmp_path), tiny_model(), _FailingSource()).run()


# --- the trainer


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    out = tmp_path_factory.mktemp("uninterrupted")
    result = Trainer(tiny_config(out), tiny_model(), ColourPairs(), lambda _: {"mean_error_m": 7.0}).run()
    return out, result


class _FewPairs(ColourPairs):
    """Two batches in turn, which a network can learn in seconds."""

    def batch(self, index: int) -> PairBatch:
        return super().batch(index % 2)


def test_a_learnable_problem_is_learnt(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path,
        schedule=Schedule(peak=1e-3, steps=50, warmup_steps=5),
        hypotheses=HypothesisSampling(count=64),
        loss_weights=LossWeights(attention=0.0, satellite_labels=0.0, ground_labels=0.0),  # these targets are noise
        log_every=10,
    )
    assert Trainer(config, tiny_model(), _FewPairs()).run().is_finished
    log = entries(tmp_path, "training")
    assert log[-1]["loss"] < log[0]["loss"] - 0.6
    assert log[-1]["train_error_m"] < 10.0  # the patch's centre would be 15 m off


def test_a_finished_run_leaves_its_checkpoints_and_logs(uninterrupted: tuple[Path, TrainingResult]) -> None:
    out, result = uninterrupted
    assert result.is_finished
    assert (result.step, result.pairs, result.best_error_m) == (6, 72, 7.0)
    assert result.best_checkpoint is not None
    best = load_checkpoint(result.best_checkpoint)
    assert best.config == TINY
    assert read_metadata(result.best_checkpoint)["validation"] == {"mean_error_m": 7.0}
    assert [entry["step"] for entry in entries(out, "training")] == [1, 2, 3, 4, 5, 6]
    assert [entry["step"] for entry in entries(out, "validation")] == [6]
    assert any((out / "tensorboard").iterdir())
    assert not [path for path in out.iterdir() if path.suffix == ".tmp"]


def test_interrupted_and_resumed_equals_uninterrupted(
    uninterrupted: tuple[Path, TrainingResult], tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, validate_every=3)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stopped = Trainer(config, tiny_model(), ColourPairs(), stop_after_validation).run()
    assert not stopped.is_finished
    assert stopped.step == 3
    assert {number: signal.getsignal(number) for number in before} == before

    source = ColourPairs()
    torch.manual_seed(99)  # another process starts with other draws
    resumed = Trainer(config, GeoFlow(TINY), source, lambda _: {"mean_error_m": 7.0})
    resumed.resume()
    result = resumed.run()
    assert result.is_finished
    assert (result.step, result.pairs) == (6, 72)
    assert source.asked[:3] == [3, 4, 5]
    assert result.best_error_m == 5.0  # of the validation before the interruption

    out = uninterrupted[0]
    expected = load_file(out / "trainer_state.safetensors")
    actual = load_file(tmp_path / "trainer_state.safetensors")
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        assert torch.equal(tensor, expected[name]), name
    for key in ("step", "learning_rate", "loss", "gradient_norm", "pairs"):
        assert [e[key] for e in entries(tmp_path, "training")] == [e[key] for e in entries(out, "training")]


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    settings = {"schedule": Schedule(peak=1e-3, steps=2, warmup_steps=0), "ema_decay": 0.0, "validate_every": 1}
    once = Trainer(tiny_config(tmp_path / "once", **settings), tiny_model(), ColourPairs(), stop_after_validation)
    once.run()
    source = ColourPairs(broken=frozenset({1}))
    twice = Trainer(tiny_config(tmp_path / "twice", **{**settings, "validate_every": 9}), tiny_model(), source)
    result = twice.run()
    assert result.step == 2
    assert [entry["skipped_steps"] for entry in entries(tmp_path / "twice", "training")] == [0, 1]
    for name, tensor in once.model.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, twice.model.state_dict()[name]), name
    load_checkpoint(result.last_checkpoint)


def test_a_training_that_is_never_finite_is_given_up(tmp_path: Path) -> None:
    source = ColourPairs(broken=frozenset(range(100)))
    with pytest.raises(TrainingError, match="last 2 steps .* not finite"):
        Trainer(tiny_config(tmp_path, max_skipped=2), tiny_model(), source).run()


def test_a_time_budget_ends_the_training_and_is_kept(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, schedule=Schedule(peak=1e-3, max_minutes=0.02))
    result = Trainer(config, tiny_model(), ColourPairs()).run()
    assert result.is_finished
    assert result.step >= 1
    again = Trainer(config, tiny_model(), ColourPairs())
    again.resume()
    assert again.counters.elapsed_s >= 1.2
    assert again.run().step == result.step


def test_a_session_ends_by_its_own_limit_and_can_be_resumed(tmp_path: Path) -> None:
    result = Trainer(tiny_config(tmp_path, session_minutes=1e-4), tiny_model(), ColourPairs()).run()
    assert not result.is_finished
    assert 0 < result.step + 1 <= 6
    assert (tmp_path / "trainer_state.safetensors").exists()


def test_entries_of_a_lost_session_are_dropped_on_resuming(
    uninterrupted: tuple[Path, TrainingResult], tmp_path: Path
) -> None:
    (tmp_path / "trainer_state.safetensors").write_bytes((uninterrupted[0] / "trainer_state.safetensors").read_bytes())
    kept, lost = {"step": 6, "group": "training"}, {"step": 9, "group": "training"}
    (tmp_path / "metrics.jsonl").write_text(f"{json.dumps(kept)}\n{json.dumps(lost)}\n" + '{"step": 10, "gro')
    resumed = Trainer(tiny_config(tmp_path), tiny_model(), ColourPairs())
    resumed.resume()
    resumed.run()
    assert [entry["step"] for entry in entries(tmp_path, "training")] == [6]


def test_resuming_with_other_settings_is_refused_by_name(uninterrupted: tuple[Path, TrainingResult]) -> None:
    config = replace(tiny_config(uninterrupted[0]), seed=3, weight_decay=0.5)
    with pytest.raises(CheckpointError, match=r"seed was 0 and is 3, weight_decay was 0\.03 and is 0\.5"):
        Trainer(config, tiny_model(), ColourPairs()).resume()


def test_a_finished_training_goes_on_with_a_longer_schedule(
    uninterrupted: tuple[Path, TrainingResult], tmp_path: Path
) -> None:
    state = (uninterrupted[0] / "trainer_state.safetensors").read_bytes()
    (tmp_path / "trainer_state.safetensors").write_bytes(state)
    longer = tiny_config(tmp_path, steps=9)
    with pytest.raises(CheckpointError, match="schedule was"):
        Trainer(longer, tiny_model(), ColourPairs()).resume()
    with pytest.raises(CheckpointError, match="seed was 0 and is 3"):
        Trainer(replace(longer, seed=3), tiny_model(), ColourPairs()).resume(other_schedule=True)
    source = ColourPairs()
    trainer = Trainer(longer, tiny_model(), source)
    trainer.resume(other_schedule=True)
    assert trainer.run().step == 9
    assert source.asked[0] == 6
    assert [entry["step"] for entry in entries(tmp_path, "training")][-1] == 9


def test_resuming_another_network_is_refused(uninterrupted: tuple[Path, TrainingResult]) -> None:
    other = GeoFlow(replace(TINY, predict_orientation=True))
    with pytest.raises(CheckpointError, match="another network.*decoder_orientation"):
        Trainer(tiny_config(uninterrupted[0]), other, ColourPairs()).resume()


def test_resuming_nothing_or_garbage_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(tmp_path), tiny_model(), ColourPairs())
    with pytest.raises(CheckpointError, match="no training to resume"):
        trainer.resume()
    (tmp_path / "trainer_state.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="not a readable training state"):
        trainer.resume()


def test_a_run_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        Trainer(tiny_config(tmp_path / "file"), tiny_model(), ColourPairs()).run()


def test_targets_of_another_grid_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="label_cells"):
        Trainer(tiny_config(tmp_path, label_cells=4), tiny_model(), ColourPairs()).run()


def test_the_orientation_head_is_trained_too(tmp_path: Path) -> None:
    model = tiny_model(replace(TINY, predict_orientation=True))
    Trainer(tiny_config(tmp_path, steps=1, schedule=Schedule(peak=1e-3, steps=1)), model, ColourPairs()).run()
    assert 0.0 <= entries(tmp_path, "training")[0]["orientation"] <= 2.0


def test_without_refinements_the_answer_is_the_hypotheses_mean() -> None:
    model, batch = tiny_model().eval(), ColourPairs().batch(0)
    errors = evaluate_pairs(model, [batch, batch], hypotheses=4, iterations=0, radius_m=20.0, seed=3)
    q = 2 * torch.rand((12, 4, 2), generator=torch.Generator().manual_seed(3)) - 1
    assert errors.shape == (24, 2)
    torch.testing.assert_close(errors[:12], (q.mean(1) - batch.offset) * 20.0)
    assert torch.equal(errors, evaluate_pairs(model, [batch, batch], hypotheses=4, iterations=0, seed=3))
