"""How far a long command is: a bar on a terminal, a plain line now and then elsewhere, nothing where it is not wanted.

Progress goes to standard error; standard output is for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from typing_extensions import Self

# Between two lines where standard error is no terminal.
LINE_INTERVAL_S = 10.0

# How much of the time estimate the newest step makes (tqdm's word): training steps are of uneven length.
_SMOOTHING = 0.05

_Item = TypeVar("_Item")


class ProgressBar:
    """Counts, and shows nothing: what a command with ``--quiet`` gets, and the base of those that are seen.

    Attributes:
        total: how many units the work has; None where that is not known. May be set later.
        done: units that are done.
    """

    def __init__(self, total: int | None, initial: int = 0) -> None:
        self.total = total
        self.done = initial

    def update(self, count: int = 1) -> None:
        """Counts `count` further units."""
        self.done += count

    def advance_to(self, done: int, total: int | None = None) -> None:
        """Moves forward to `done` units, never back; `total` replaces the total where given."""
        if total is not None:
            self.total = total
        self.update(max(done - self.done, 0))

    def show_figures(self, figures: Mapping[str, str]) -> None:
        """Shows figures beside the count, such as a loss, from now on."""

    def write(self, line: str) -> None:
        """Writes a line of results to standard output, above the bar where there is one; also where that is hidden."""
        print(line, flush=True)

    def close(self) -> None:
        """Ends the display."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def progress_bar(
    total: int | None, what: str, unit: str, *, is_shown: bool = True, initial: int = 0, leave: bool = True
) -> ProgressBar:
    """Starts the display of a long work's progress.

    Args:
        total: how many units the work has; None where that is not known yet.
        what: the work, such as "rendering".
        unit: what is counted, in the plural, such as "pairs"; "s" for seconds.
        is_shown: False counts only, and writes nothing anywhere.
        initial: units that were done before.
        leave: whether a finished bar stays on the terminal.

    Returns:
        A bar of tqdm where standard error is a terminal, else lines at most every `LINE_INTERVAL_S`. To be used as a
        context manager, or closed.
    """
    if not is_shown:
        return ProgressBar(total, initial)
    if sys.stderr.isatty():
        return _TerminalBar(total, what, unit, initial, leave)
    return PlainLines(total, what, unit, initial)


def with_progress(items: Sequence[_Item], what: str, unit: str, *, is_shown: bool = True) -> Iterator[_Item]:
    """Yields the items and counts them; the arguments are those of `progress_bar`."""
    with progress_bar(len(items), what, unit, is_shown=is_shown) as bar:
        for item in items:
            yield item
            bar.update()


class PlainLines(ProgressBar):
    """Lines such as "rendering 120/2000 pairs, 34 s, about 8 min left" for logs and pipes.

    Short works write nothing: the first line comes after `LINE_INTERVAL_S`. A work that wrote lines ends with one.

    Args:
        total, what, unit, initial: see `progress_bar`.
        clock: seconds that only increase.
    """

    def __init__(
        self, total: int | None, what: str, unit: str, initial: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(total, initial)
        self._what, self._unit, self._initial, self._clock = what, unit, initial, clock
        self._started = self._written_at = clock()
        self._written_done: int | None = None
        self._figures = ""

    def update(self, count: int = 1) -> None:
        """Counts, and writes a line where the last one is old enough; with 0 only that."""
        super().update(count)
        now = self._clock()
        if now - self._written_at >= LINE_INTERVAL_S:
            self._write_line(now)

    def show_figures(self, figures: Mapping[str, str]) -> None:
        """Adds the figures to the coming lines."""
        self._figures = "".join(f", {name} {value}" for name, value in figures.items())

    def close(self) -> None:
        """Writes the last line, if there were lines and the count moved since."""
        if self._written_done is not None and self._written_done != self.done:
            self._write_line(self._clock())

    def _write_line(self, now: float) -> None:
        self._written_at, self._written_done = now, self.done
        elapsed_s = now - self._started
        count = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        line = f"{self._what} {count} {self._unit}, {_duration(elapsed_s)}"
        fresh = self.done - self._initial
        if self.total is not None and fresh > 0 and self.done < self.total:
            line += f", about {_duration(elapsed_s * (self.total - self.done) / fresh)} left"
        print(line + self._figures, file=sys.stderr, flush=True)


class _TerminalBar(ProgressBar):
    """A bar of tqdm."""

    def __init__(self, total: int | None, what: str, unit: str, initial: int, leave: bool) -> None:
        super().__init__(total, initial)
        unit = unit if unit == "s" else f" {unit}"
        self._bar: Any = tqdm(
            desc=what, total=total, unit=unit, initial=initial, leave=leave, smoothing=_SMOOTHING, dynamic_ncols=True
        )

    def update(self, count: int = 1) -> None:
        super().update(count)
        if self._bar.total != self.total:
            self._bar.total = self.total
            self._bar.refresh()
        self._bar.update(count)

    def show_figures(self, figures: Mapping[str, str]) -> None:
        self._bar.set_postfix(figures)

    def write(self, line: str) -> None:
        self._bar.write(line)

    def close(self) -> None:
        self._bar.close()


def _duration(seconds: float) -> str:
    """A time for people: "34 s", "8 min", "1 h 20 min"."""
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60.0)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
