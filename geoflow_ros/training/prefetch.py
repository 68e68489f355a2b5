"""Batches made ahead of the training, so that rendering and the network work at the same time."""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from multiprocessing.util import Finalize
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geoflow_ros.training.pairs import PairBatch, PairSource
from geoflow_ros.training.worker_process import begin_worker

_POLL_S = 0.1
_LAST = -1000  # of the things to do at a worker's end; the queues have theirs between 10 and -5


class BatchStream:
    """The batches `start`, `start + 1`, ... of a source, in order and on a device, made ahead in the background.

    What a batch holds does not depend on where it is made.

    Args:
        source: of the batches, closed with the stream; it must be one that can be pickled if there are processes.
        start: number of the first batch.
        device: where the batches are wanted.
        processes: that copies of the source work in; with 0 it works in a thread of this process, which is right for a
            source that renders on the GPU.
        ahead: batches made ahead (by each process).
    """

    def __init__(
        self, source: PairSource, start: int, device: torch.device, processes: int = 0, ahead: int = 3
    ) -> None:
        self._source, self._device = source, device
        self._queue: queue.Queue[tuple[PairBatch, torch.cuda.Event | None] | BaseException] = queue.Queue(max(1, ahead))
        self._stop = threading.Event()
        self._side_stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        batches = _in_processes(source, start, processes, ahead) if processes else _in_thread(source, start)
        self._thread = threading.Thread(target=self._produce, args=(batches,), name="batches", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[PairBatch]:
        return self

    def __next__(self) -> PairBatch:
        """Returns the next batch.

        Raises:
            Exception: whatever the source raised.
        """
        batch = self.next_unless(lambda: False)
        assert batch is not None
        return batch

    def next_unless(self, is_given_up: Callable[[], bool]) -> PairBatch | None:
        """Returns the next batch; None if the caller gives up before it is there.

        The first batch may take as long as its worlds take to make: a stop must not wait for it.

        Args:
            is_given_up: asked now and then while there is nothing to return.

        Raises:
            Exception: whatever the source raised.
        """
        item = None
        while item is None:
            if is_given_up():
                return None
            with suppress(queue.Empty):
                item = self._queue.get(timeout=_POLL_S)
        if isinstance(item, BaseException):
            raise item
        batch, ready = item
        if ready is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(ready)
            for tensor in _tensors(batch).values():
                tensor.record_stream(stream)  # else its memory could be handed out while this stream still reads it
        return batch

    def close(self) -> None:
        """Stops the background work, closes the source and ends its processes; waits for what is being made."""
        self._stop.set()
        self._source.close()
        self._thread.join()

    def _produce(self, batches: Iterator[PairBatch]) -> None:
        try:
            while not self._stop.is_set():
                if self._side_stream is None:
                    self._put((_to_device(next(batches), self._device), None))
                    continue
                with torch.cuda.device(self._device), torch.cuda.stream(self._side_stream):
                    batch = _to_device(next(batches), self._device)
                    ready = torch.cuda.Event()
                    ready.record(self._side_stream)
                self._put((batch, ready))
        except Exception as error:  # handed to the training's thread, which raises it
            self._put(error)
        finally:
            del batches  # ends the workers, if any

    def _put(self, item: tuple[PairBatch, torch.cuda.Event | None] | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
                return
            except queue.Full:
                continue


class _SourceDataset(Dataset[PairBatch]):
    """A source as PyTorch's loader wants it."""

    def __init__(self, source: PairSource) -> None:
        self._source = source

    def __getitem__(self, index: int) -> PairBatch:
        return self._source.batch(index)


def _in_thread(source: PairSource, start: int) -> Iterator[PairBatch]:
    return (source.batch(index) for index in itertools.count(start))


def _in_processes(source: PairSource, start: int, processes: int, ahead: int) -> Iterator[PairBatch]:
    loader: DataLoader[PairBatch] = DataLoader(
        _SourceDataset(source),
        batch_size=None,
        sampler=itertools.count(start),
        num_workers=processes,
        prefetch_factor=max(1, ahead),
        collate_fn=_as_is,
        worker_init_fn=_begin_worker,
        multiprocessing_context="spawn",  # a fork would copy the locks of this process's threads
    )
    return iter(loader)


def _as_is(batch: Any) -> Any:
    """Batches are whole already: nothing is to be stacked."""
    return batch


def _begin_worker(_: int) -> None:
    begin_worker()
    # The queue's thread may be inside torch when the interpreter is taken down, which then ends that thread in the
    # middle of C++ and so aborts the process; the trainer would be told that a worker failed. All else is done by then.
    Finalize(None, os._exit, args=(0,), exitpriority=_LAST)


def _tensors(batch: PairBatch) -> dict[str, Tensor]:
    values: dict[str, Any] = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _to_device(batch: PairBatch, device: torch.device) -> PairBatch:
    moved = {}
    for name, tensor in _tensors(batch).items():
        if tensor.device.type == "cpu" and device.type == "cuda":
            tensor = tensor.pin_memory()  # a copy from pinned memory does not hold up the host
        moved[name] = tensor.to(device, non_blocking=True)
    return replace(batch, **moved)
