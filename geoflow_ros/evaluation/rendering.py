"""Synthetic pairs, rendered on all processors, in their order."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

import cv2

from geoflow_ros.progress import progress_bar
from geoflow_ros.world.pairs import Pair, PairSampler

# Pairs that one process renders in a row: the sampler bakes a window of a city once for as many. Speed only.
BLOCK = 32


def render_pairs(sampler: PairSampler, count: int, what: str = "rendering", progress: bool = False) -> Iterator[Pair]:
    """The sampler's first `count` pairs.

    Rendering takes turns with whatever the caller does between two pairs, so that what is timed there has the machine
    for itself.

    Args:
        sampler: of the pairs.
        count: how many.
        what: the progress bar's label.
        progress: show a progress bar on standard error.
    """
    blocks = [range(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]
    workers = min(os.cpu_count() or 1, len(blocks))
    with progress_bar(count, what, "pairs", is_shown=progress) as bar, ExitStack() as stack:
        render: Callable[..., Iterator[list[Pair]]] = map
        if workers > 1:
            # Not forked: the threads of onnxruntime or torch would not survive it.
            context = multiprocessing.get_context("spawn")
            render = stack.enter_context(ProcessPoolExecutor(workers, context, initializer=_start_worker)).map
        for first in range(0, len(blocks), workers):
            turn = blocks[first : first + workers]
            for pairs in list(render(_render, [sampler] * len(turn), turn)):
                for pair in pairs:
                    yield pair
                    bar.update()


def _render(sampler: PairSampler, indices: range) -> list[Pair]:
    return [sampler.pair(index) for index in indices]


def _start_worker() -> None:
    """Ctrl-C is the parent's; one process is one processor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
