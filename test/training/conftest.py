"""A training that several tests look at, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training is an extra")

from fakes.colour_pairs import ColourPairs, tiny_config, tiny_model  # noqa: E402

from geoflow_ros.training.trainer import Trainer, TrainingResult  # noqa: E402


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: two that wait for each other at every tiny layer take minutes where other processes want the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def uninterrupted(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    out = tmp_path_factory.mktemp("uninterrupted")
    result = Trainer(tiny_config(out), tiny_model(), ColourPairs(), lambda *_: {"mean_error_m": 7.0}).run()
    return out, result
