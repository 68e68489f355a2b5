"""A training can be stopped, resumed and trusted."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes.colour_pairs import TINY, ColourPairs, entries, tiny_config, tiny_model
from safetensors.torch import load_file

from geoflow_ros.errors import CheckpointError, InputError
from geoflow_ros.model import GeoFlow, load_checkpoint, read_metadata
from geoflow_ros.training.evaluate import evaluate_pairs
from geoflow_ros.training.hypotheses import HypothesisSampling
from geoflow_ros.training.losses import LossWeights
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.schedule import Schedule
from geoflow_ros.training.trainer import Trainer, TrainingError, TrainingResult


def stop_after_validation(_: GeoFlow, __: Callable[[], bool]) -> dict[str, float]:
    signal.raise_signal(signal.SIGTERM)
    return {"mean_error_m": 5.0}


def stop_in_validation(_: GeoFlow, is_stopping: Callable[[], bool]) -> dict[str, float] | None:
    signal.raise_signal(signal.SIGTERM)
    return None if is_stopping() else {"mean_error_m": 5.0}


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
    resumed = Trainer(config, GeoFlow(TINY), source, lambda *_: {"mean_error_m": 7.0})
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


def test_a_validation_that_is_interrupted_is_made_up_for_on_resuming(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=2)
    stopped = Trainer(config, tiny_model(), ColourPairs(), stop_in_validation).run()
    assert (stopped.step, stopped.is_finished, stopped.best_error_m) == (2, False, None)
    resumed = Trainer(config, tiny_model(), ColourPairs(), lambda *_: {"mean_error_m": 7.0})
    resumed.resume()
    result = resumed.run()
    assert (result.step, result.is_finished, result.best_error_m) == (2, True, 7.0)
