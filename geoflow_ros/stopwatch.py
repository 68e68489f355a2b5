"""Times of the stages of a frame, kept out of the way of the code that they are times of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Collects how long named stages took.

    Args:
        clock: seconds of a steady clock.

    Attributes:
        stages_ms: stage to milliseconds, in the order in which the stages ended.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._begin = clock()
        self.stages_ms: dict[str, float] = {}

    @property
    def total_ms(self) -> float:
        """Milliseconds since the stopwatch was made."""
        return 1e3 * (self._clock() - self._begin)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block under a name; a stage that fails has no time."""
        begin = self._clock()
        yield
        self.stages_ms[name] = 1e3 * (self._clock() - begin)
