"""Worker processes that never outlive the work: they end with an error, with a signal, and with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

_Result = TypeVar("_Result")

# How long work that is no longer wanted may take to stop, seconds. A process that was killed while it handed over a
# result leaves half of it in the pipe, and the executor would wait for the rest for ever.
_STOP_S = 10.0

# In a worker: a shared byte that is not 0 once its work is no longer wanted. Without a lock, which a killed process
# could keep.
_given_up: Any = None


class WorkerPool:
    """Spawned processes that work; made and ended by `worker_pool`."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def submit(self, work: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        """Has one of the processes call `work`, which should look at `is_given_up` now and then."""
        with _signals_later():
            # A process inherits what is blocked where it is started. Ctrl-C in a terminal reaches the whole process
            # group; the parent alone answers it, and then ends the others.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return self._executor.submit(work, *arguments)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def worker_pool(processes: int, prepare: Callable[[], object] | None = None) -> Iterator[WorkerPool]:
    """Starts a pool, and ends its processes when the block is left.

    Left in the ordinary way, all work that was submitted is done first. Left by an exception, work that waits is
    dropped, and work under way is told to stop. Processes whose parent dies, however it does, end at once.

    Args:
        processes: how many.
        prepare: called in each process before its first work; a function of a module.
    """
    context = multiprocessing.get_context("spawn")  # not forked: threads of onnxruntime or torch would not survive it
    given_up = context.RawValue("b", 0)
    executor = ProcessPoolExecutor(processes, context, initializer=_start_worker, initargs=(given_up, prepare))
    try:
        yield WorkerPool(executor)
    except BaseException:
        given_up.value = 1
        ending = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        ending.start()
        ending.join(_STOP_S)
        raise
    executor.shutdown()


def is_given_up() -> bool:
    """Whether the work of this worker process is no longer wanted; False in any other process."""
    return _given_up is not None and bool(_given_up.value)


def end_with_parent() -> None:
    """Makes this process, if multiprocessing started it, end as soon as its parent is no more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.join,), name="parent", daemon=True).start()


@contextmanager
def _signals_later() -> Iterator[None]:
    """Answers signals after the block: an exception while a process starts would leave it without its orders.

    Blocking them does not do: they would reach another thread, and Python answers in the main thread nevertheless.
    """
    received: list[int] = []
    earlier = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(signal.getsignal(number)):
                earlier[number] = signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        for first in received[:1]:
            signal.raise_signal(first)


def _start_worker(given_up: Any, prepare: Callable[[], object] | None) -> None:
    global _given_up
    _given_up = given_up
    end_with_parent()
    if prepare is not None:
        prepare()


def _end_after(wait: Callable[[], object]) -> None:
    wait()
    os._exit(1)  # nobody is left to be told, and the main thread may wait for its next work for ever
