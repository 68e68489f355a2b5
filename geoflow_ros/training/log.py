"""What a training tells while it runs: its progress, `metrics.jsonl` and a TensorBoard log of the same figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from geoflow_ros.errors import InputError
from geoflow_ros.progress import progress_bar
from geoflow_ros.training.schedule import Schedule

_SHOWN = {"loss": "loss", "train_error_m": "err", "train_lateral_m": "lat", "train_longitudinal_m": "lon"}


class TrainingLog:
    """The log in a run's folder.

    Args:
        folder: of the run.
        step: steps already taken; entries beyond it, of a session that was lost, are dropped.
        elapsed_s: time already spent.
        schedule: tells how long the training is.
        is_progress_shown: whether progress is shown: a bar on a terminal, elsewhere a line now and then.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, step: int, elapsed_s: float, schedule: Schedule, is_progress_shown: bool) -> None:
        path = folder / "metrics.jsonl"
        self._open = ExitStack()
        self._counts_steps = schedule.steps is not None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_entries_after(path, step)
            self._file = self._open.enter_context(path.open("a", encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}; choose another folder") from error
        self._writer = self._open.enter_context(SummaryWriter(str(folder / "tensorboard"), purge_step=step))
        total = schedule.steps if schedule.steps is not None else round(60.0 * (schedule.max_minutes or 0.0))
        initial = step if self._counts_steps else round(elapsed_s)
        unit = "steps" if self._counts_steps else "s"
        bar = progress_bar(total, "training", unit, is_shown=is_progress_shown, initial=initial)
        self._bar = self._open.enter_context(bar)

    def advance(self, step: int, elapsed_s: float) -> None:
        """Shows how far the training is."""
        self._bar.advance_to(step if self._counts_steps else round(elapsed_s))

    def write(self, step: int, elapsed_s: float, group: str, figures: Mapping[str, Any]) -> None:
        """Writes one entry; `group` is "training" or "validation"."""
        entry = {"step": step, "elapsed_s": round(elapsed_s, 3), "group": group, **figures}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        for name, value in figures.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(f"{group}/{name}", value, step)
        if group == "training":
            shown = {short: f"{figures[name]:.2f}" for name, short in _SHOWN.items() if name in figures}
            self._bar.show_figures(shown)
        else:
            listed = ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if isinstance(value, float))
            self._bar.write(f"step {step}: {listed}")

    def close(self) -> None:
        """Flushes and ends all three."""
        self._open.close()


def _drop_entries_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line cut off by a crash
        if isinstance(entry, dict) and entry.get("step", 0) <= step:
            kept.append(line + "\n")
    path.write_text("".join(kept), encoding="utf-8")
