"""Hypotheses are sampled over the search square and flow to where the head says the truth lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes.heads import ExactHead

from geoflow_ros.backends.host_frames import refine
from geoflow_ros.bundle import IrsSettings
from geoflow_ros.errors import InputError
from geoflow_ros.inference.irs import INITIAL_SPREAD, mean_estimate, sample_hypotheses, spread


def test_hypotheses_are_uniform_over_the_search_square() -> None:
    hypotheses = sample_hypotheses(4, 20_000, seed=1)
    assert hypotheses.shape == (4, 20_000, 2)
    assert hypotheses.dtype == np.float32
    assert np.abs(hypotheses).max() <= 1.0
    np.testing.assert_allclose(hypotheses.mean(axis=1), 0.0, atol=0.02)
    np.testing.assert_allclose(hypotheses.var(axis=1), 1.0 / 3.0, atol=0.01)
    assert spread(hypotheses)[0] == pytest.approx(INITIAL_SPREAD, abs=0.01)


def test_hypotheses_depend_on_seed_and_stamp_alone() -> None:
    np.testing.assert_array_equal(sample_hypotheses(1, 10, 3, 77), sample_hypotheses(1, 10, 3, 77))
    assert not np.array_equal(sample_hypotheses(1, 10, 3, 77), sample_hypotheses(1, 10, 4, 77))
    assert not np.array_equal(sample_hypotheses(1, 10, 3, 77), sample_hypotheses(1, 10, 3, 78))


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_exact_displacements_leave_the_fraction_that_step_and_iterations_say(step: float) -> None:
    settings = IrsSettings(hypotheses=7, iterations=4, step=step)
    truth = np.array([[0.3, -0.6], [-0.9, 0.1]], dtype=np.float32)
    start = sample_hypotheses(2, settings.hypotheses, seed=2)
    path = refine(ExactHead(), truth, start, settings.step, settings.iterations)
    assert path.shape == (5, 2, 7, 2)
    np.testing.assert_array_equal(path[0], start)
    expected = truth[:, None] + settings.remaining_fraction * (start - truth[:, None])
    np.testing.assert_allclose(path[-1], expected, atol=1e-6)


def test_the_answer_is_the_mean_and_the_spread_its_root_mean_square_distance() -> None:
    hypotheses = np.array([[[0.0, 0.0], [0.6, 0.8]]], dtype=np.float32)
    np.testing.assert_allclose(mean_estimate(hypotheses), [[0.3, 0.4]], atol=1e-7)
    np.testing.assert_allclose(spread(hypotheses), [0.5], atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"hypotheses": 0}, "hypotheses"),
        ({"iterations": 0}, "iterations"),
        ({"step": 0.0}, "step"),
        ({"step": 1.5}, "step"),
        ({"step": float("nan")}, "step"),
    ],
)
def test_refinement_that_could_not_run_is_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        IrsSettings(**settings)
