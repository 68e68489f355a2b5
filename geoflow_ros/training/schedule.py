"""The learning rate over a training: linear warm-up, then half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geoflow_ros.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of where the training is, so that resuming needs no state of its own.

    With `steps` the position is the step's number and the schedule is the same whatever the machine. Without, it is
    the time spent of `max_minutes`; the time is kept in the checkpoint and a resumed training goes on from there.
    `max_minutes` ends the training in either case.
    """

    peak: float
    steps: int | None = None
    max_minutes: float | None = None
    warmup_steps: int = 100
    final_share: float = 0.01  # of the peak, at the end

    def __post_init__(self) -> None:
        if self.steps is None and self.max_minutes is None:
            raise InputError("a training needs an end: give steps, max_minutes or both")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps is {self.steps}; it must be at least 1")
        if self.max_minutes is not None and not self.max_minutes > 0.0:
            raise InputError(f"max_minutes is {self.max_minutes}; it must be positive")
        if not self.peak > 0.0 or self.warmup_steps < 0 or not 0.0 <= self.final_share <= 1.0:
            raise InputError("the peak learning rate must be positive, warmup_steps >= 0 and final_share in [0, 1]")

    def progress(self, step: int, elapsed_s: float) -> float:
        """Returns how much of the training is done, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.max_minutes is not None  # one of both is given
        return min(1.0, elapsed_s / (60.0 * self.max_minutes))

    def learning_rate(self, step: int, elapsed_s: float) -> float:
        """Returns the rate for the step with this number, the first being 0."""
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.progress(step, elapsed_s)))
        warmup = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return self.peak * warmup * (self.final_share + (1.0 - self.final_share) * cosine)

    def is_over(self, step: int, elapsed_s: float) -> bool:
        """Tells whether the step with this number is no longer to be taken."""
        if self.steps is not None and step >= self.steps:
            return True
        return self.max_minutes is not None and elapsed_s >= 60.0 * self.max_minutes
