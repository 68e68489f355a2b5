"""Synthetic pairs, rendered on all processors, in their order."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from functools import partial

import cv2

from geoflow_ros.progress import ProgressBar, progress_bar
from geoflow_ros.workers import WorkerPool, is_given_up, worker_pool
from geoflow_ros.world.pairs import Pair, PairSampler

# Pairs that one process renders in a row: the sampler bakes a window of a city once for as many. Speed only.
BLOCK = 32

# How often the progress is looked at while all processes render, seconds.
_PROGRESS_S = 1.0


def render_pairs(
    sampler: PairSampler, which: int | Sequence[int], what: str = "rendering", progress: bool = False
) -> Iterator[Pair]:
    """Renders pairs of a sampler.

    Rendering takes turns with whatever the caller does between two pairs, so that what is timed there has the machine
    for itself. Close the iterator, or let an exception pass through it, to end the processes before its end.

    Args:
        sampler: of the pairs.
        which: how many, from its first, or their numbers.
        what: the progress bar's label.
        progress: show progress on standard error.
    """
    numbers = range(which) if isinstance(which, int) else which
    count = len(numbers)
    blocks = [numbers[first : first + BLOCK] for first in range(0, count, BLOCK)]
    workers = min(os.cpu_count() or 1, len(blocks))
    with progress_bar(count, what, "pairs", is_shown=progress) as bar:
        if workers <= 1:
            for block in blocks:
                yield from _counted(_render(sampler, block), bar)
            return
        with worker_pool(workers, partial(cv2.setNumThreads, 1)) as pool:  # one process is one processor
            for first in range(0, len(blocks), workers):
                yield from _counted(_render_turn(pool, sampler, blocks[first : first + workers], bar), bar)


def _render_turn(pool: WorkerPool, sampler: PairSampler, blocks: list[Sequence[int]], bar: ProgressBar) -> list[Pair]:
    """The pairs of one block for each process."""
    rendering = [pool.submit(_render, sampler, block) for block in blocks]
    while wait(rendering, timeout=_PROGRESS_S).not_done:
        bar.update(0)
    return [pair for block in rendering for pair in block.result()]


def _render(sampler: PairSampler, indices: Sequence[int]) -> list[Pair]:
    return [sampler.pair(index) for index in indices if not is_given_up()]


def _counted(pairs: list[Pair], bar: ProgressBar) -> Iterator[Pair]:
    for pair in pairs:
        yield pair
        bar.update()
