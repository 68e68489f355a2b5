"""Hypotheses lie where training needs them, the learning rate follows its schedule, the average its network."""

from __future__ import annotations

import math

import pytest
import torch
from fakes.colour_pairs import tiny_model

from geoflow_ros.errors import InputError
from geoflow_ros.training.ema import MovingAverage
from geoflow_ros.training.hypotheses import HypothesisSampling
from geoflow_ros.training.schedule import Schedule


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
