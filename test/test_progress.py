"""How far a long command is: lines where there is no terminal, a bar on one, nothing where it is not wanted."""

import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from geoflow_ros.progress import LINE_INTERVAL_S, PlainLines, progress_bar, with_progress


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_line_tells_the_count_the_time_and_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = PlainLines(2000, "rendering", "pairs", clock=clock)
    clock.now_s = 34.0
    lines.update(120)
    assert capsys.readouterr().err == "rendering 120/2000 pairs, 34 s, about 9 min left\n"


def test_lines_are_not_closer_than_the_interval(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = PlainLines(1000, "rendering", "pairs", clock=clock)
    for _ in range(100):
        clock.now_s += LINE_INTERVAL_S / 4.0
        lines.update()
    assert len(capsys.readouterr().err.splitlines()) == 25


def test_a_short_work_writes_no_line_and_a_long_one_ends_with_its_count(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with PlainLines(3, "rendering", "pairs", clock=clock) as lines:
        lines.update(3)
    assert capsys.readouterr().err == ""

    with PlainLines(3, "rendering", "pairs", clock=clock) as lines:
        clock.now_s += 2.0 * LINE_INTERVAL_S
        lines.update(2)
        clock.now_s += 1.0
        lines.update()
    assert capsys.readouterr().err.splitlines()[-1] == "rendering 3/3 pairs, 21 s"


def test_what_was_done_before_does_not_count_for_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = PlainLines(100, "training", "steps", initial=50, clock=clock)
    clock.now_s = 20.0
    lines.advance_to(60)
    assert capsys.readouterr().err == "training 60/100 steps, 20 s, about 80 s left\n"


def test_a_count_that_falls_back_stays_where_it_was_and_figures_are_added(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = PlainLines(None, "driving", "s", clock=clock)
    lines.advance_to(5)
    lines.advance_to(3)
    assert lines.done == 5
    lines.show_figures({"loss": "1.25"})
    clock.now_s = LINE_INTERVAL_S
    lines.update(0)
    assert capsys.readouterr().err == "driving 5 s, 10 s, loss 1.25\n"


def test_nothing_is_written_where_progress_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress([1, 2, 3], "counting", "numbers", is_shown=False)) == [1, 2, 3]
    with progress_bar(2, "counting", "numbers", is_shown=False) as bar:
        bar.advance_to(2, total=4)
        bar.write("step 2: mean_error_m 1.5")
        assert (bar.done, bar.total) == (2, 4)
    captured = capsys.readouterr()
    assert captured.out == "step 2: mean_error_m 1.5\n"  # a result
    assert captured.err == ""


def read_to_the_end(terminal: int) -> str:
    """What a terminal shows whose writer has closed it; a single read gives a part."""
    shown = b""
    with contextlib.suppress(OSError):  # the end, as Linux tells it
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown.decode()


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows, columns
    with open(terminal, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress_bar(4, "rendering", "pairs") as bar:
            bar.show_figures({"loss": "1.25"})
            bar.advance_to(8, total=8)
    shown = read_to_the_end(reading)
    assert "rendering" in shown
    assert "8/8" in shown
    assert "100%" in shown
