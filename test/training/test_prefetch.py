"""Batches made ahead are the source's own, in order, and their workers end with the training, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fakes.colour_pairs import ColourPairs, tiny_config, tiny_model

from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.prefetch import BatchStream
from geoflow_ros.training.trainer import Trainer

CPU = torch.device("cpu")
_PROMPTLY_S = 240.0  # on a machine that is busy with other things; a process that is left behind stays for good

# A training that would take hours, with a process that makes its batches.
_TRAINING = """
import sys
from pathlib import Path
from fakes.colour_pairs import ColourPairs, tiny_config, tiny_model
from geoflow_ros.training.trainer import Trainer

if __name__ == "__main__":
    config = tiny_config(Path(sys.argv[1]), steps=10**6, prefetch_processes=1, threads=1)
    trainer = Trainer(config, tiny_model(), ColourPairs())
    if sys.argv[2:] == ["--resume"]:
        trainer.resume()
        print(trainer.counters.step)
    else:
        sys.exit(1 if trainer.run().is_finished else 0)
"""


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


class _SlowSource(ColourPairs):
    """Its first batch is not there before the source is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = threading.Event()

    def batch(self, index: int) -> PairBatch:
        self.closed.wait()
        raise OSError("closed")

    def close(self) -> None:
        self.closed.set()


def test_who_gives_up_waits_neither_for_a_batch_nor_for_its_end() -> None:
    source = _SlowSource()
    stream = BatchStream(source, start=0, device=CPU)
    asked = iter([False, False, True])
    assert stream.next_unless(lambda: next(asked)) is None
    stream.close()
    assert source.closed.is_set()


class _FailingSource(ColourPairs):
    def batch(self, index: int) -> PairBatch:
        if index == 2:
            raise OSError("the disk is gone")
        return super().batch(index)


def test_an_error_of_the_source_ends_the_training_with_that_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        Trainer(tiny_config(tmp_path), tiny_model(), _FailingSource()).run()


class _Training:
    """A training in a process and session of its own."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "run"
        self._script = folder / "training.py"
        self._script.write_text(_TRAINING)
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(root), str(root / "test"), os.environ.get("PYTHONPATH", "")])
        self._environment = {**os.environ, "PYTHONPATH": path}
        self.process = subprocess.Popen(
            [sys.executable, str(self._script), str(self.out)], env=self._environment, start_new_session=True
        )

    def wait_for_a_step(self) -> None:
        log = self.out / "metrics.jsonl"
        _until(lambda: log.exists() and log.stat().st_size > 0)

    def others(self) -> set[int]:
        """The processes of the training's session but itself: its workers, and what serves them."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has just ended
                continue
            if int(session) == self.process.pid and state != "Z" and int(stat.parent.name) != self.process.pid:
                found.add(int(stat.parent.name))
        return found

    def step_after_resuming(self) -> int:
        command = [sys.executable, str(self._script), str(self.out), "--resume"]
        return int(subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True).stdout)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[_Training]:
    started = _Training(tmp_path)
    started.wait_for_a_step()
    assert started.others()
    yield started
    for process in {started.process.pid, *started.others()} if started.process.poll() is None else started.others():
        os.kill(process, signal.SIGKILL)
    started.process.wait()


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PROMPTLY_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stopped_training_leaves_a_whole_state_and_no_process(training: _Training, number: int) -> None:
    os.killpg(training.process.pid, number)  # as Ctrl-C and a service's stop do: the workers get it too
    assert training.process.wait(_PROMPTLY_S) == 0
    _until(lambda: not training.others())
    steps = [json.loads(line)["step"] for line in (training.out / "metrics.jsonl").read_text().splitlines()]
    assert training.step_after_resuming() == steps[-1]
    assert not [path for path in training.out.iterdir() if path.suffix == ".tmp"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
def test_workers_end_when_their_training_was_killed(training: _Training) -> None:
    training.process.kill()
    training.process.wait()
    _until(lambda: not training.others())
