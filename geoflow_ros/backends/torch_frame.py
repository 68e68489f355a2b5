"""The parts of a camera frame in torch, on fixed memory: CUDA graphs where there is a GPU, step by step elsewhere."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.protocol import Tokens
from geoflow_ros.backends.torch_network import MOVED, InferenceNetwork

_SHAPES_KEPT = 8  # memory and graphs of so many (B, N, R); they change seldom
_WARM_UPS = 2  # before a capture: libraries choose their kernels and take their memory

_log = logging.getLogger("geoflow_ros")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Encoding:
    """The ground encoder for B images."""

    def __init__(self, network: InferenceNetwork, graphs: CudaGraphs, ground: UInt8Array, tokens: Tokens) -> None:
        self._ground = _Input(ground.shape, torch.uint8, network.device)
        self._tokens = torch.zeros(tokens.shape, device=network.device)
        self._f_vis = torch.zeros((len(ground), network.feature_size), device=network.device)

        def encode() -> None:
            self._f_vis.copy_(network.f_vis(self._ground.on_device, self._tokens))

        self._run = graphs.captured(encode)

    def __call__(self, ground: UInt8Array, tokens: Tokens) -> Tensor:
        """Returns the joint feature (B, d), in memory that the next call overwrites."""
        self._ground.set(ground)
        self._tokens.copy_(torch.as_tensor(tokens))
        self._run()
        return self._f_vis


class Refining:
    """R refinements of B x N hypotheses."""

    def __init__(
        self, network: InferenceNetwork, graphs: CudaGraphs, hypotheses: Float32Array, iterations: int
    ) -> None:
        self._start = _Input(hypotheses.shape, torch.float32, network.device)
        self._f_vis = torch.zeros((len(hypotheses), network.feature_size), device=network.device)
        self._step = torch.zeros((), device=network.device)
        self._path = torch.zeros((iterations + 1, *hypotheses.shape), device=network.device)

        def refine() -> None:
            self._path[0].copy_(self._start.on_device)
            for iteration in range(iterations):
                answer = network.head(self._f_vis, self._path[iteration], self._step)
                self._path[iteration + 1].copy_(answer[..., MOVED])

        self._run = graphs.captured(refine)

    def __call__(self, f_vis: Tensor, hypotheses: Float32Array, step: float) -> Tensor:
        """Returns the path (R + 1, B, N, 2), in memory that the next call overwrites."""
        self._start.set(hypotheses)
        self._f_vis.copy_(f_vis)
        self._step.fill_(step)
        self._run()
        return self._path


class Probing:
    """The head at K probes for B features."""

    def __init__(self, network: InferenceNetwork, graphs: CudaGraphs, batch: int, probes: Float32Array) -> None:
        self._probes = _Input(probes.shape, torch.float32, network.device)
        self._f_vis = torch.zeros((batch, network.feature_size), device=network.device)
        self._step = torch.zeros((), device=network.device)

        def ask() -> Tensor:
            return network.head(self._f_vis, self._probes.on_device.expand(batch, -1, -1), self._step)

        self._answers = torch.zeros_like(ask())
        self._run = graphs.captured(lambda: self._answers.copy_(ask()))

    def __call__(self, f_vis: Tensor, probes: Float32Array, step: float) -> Tensor:
        """Returns the answers (B, K, 7 or 9), in memory that the next call overwrites."""
        self._probes.set(probes)
        self._f_vis.copy_(f_vis)
        self._step.fill_(step)
        self._run()
        return self._answers


class _Input:
    """Fixed memory on the device, filled from the host through pinned memory."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self._on_host = torch.zeros(shape, dtype=dtype, pin_memory=device.type == "cuda")
        self.on_device = self._on_host.to(device)  # on the CPU: the same memory

    def set(self, values: UInt8Array | Float32Array) -> None:
        """Writes the frame's values; the frame before is done."""
        self._on_host.numpy()[...] = values
        if self.on_device is not self._on_host:
            self.on_device.copy_(self._on_host, non_blocking=True)


class CudaGraphs:
    """CUDA graphs of one device; elsewhere, and where capturing fails, work is done step by step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_cuda = device.type == "cuda"
        self._lock = threading.Lock()  # nothing else takes memory while a graph is captured
        if self._is_cuda:
            self._side = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()  # one: graphs never run at the same time

    def captured(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """Returns what does `work` again, on the same memory."""
        if not self._is_cuda:
            return work
        graph = torch.cuda.CUDAGraph()
        try:
            with self._lock:
                self._side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(self._side):
                    for _ in range(_WARM_UPS):
                        work()
                torch.cuda.current_stream().wait_stream(self._side)
                with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                    work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _log.warning("torch captured no CUDA graph and goes on without: %s", first_line(error))
            return work
        return graph.replay

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Runs another thread's work on a stream of its own; it is done when the block is left."""
        if not self._is_cuda:
            yield
            return
        with self._lock:
            with torch.cuda.stream(self._side):
                yield
            self._side.synchronize()


class DeviceClock:
    """Takes the milliseconds between ticks, as the device sees them."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._ticks: list[Any] = []
        self.tick()

    def tick(self) -> None:
        """Ends an interval and begins the next."""
        if self._is_cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._ticks.append(event)
        else:
            self._ticks.append(perf_counter())

    def milliseconds(self) -> list[float]:
        """Returns the length of each interval; all work must be done."""
        pairs = zip(self._ticks[:-1], self._ticks[1:], strict=True)
        return [float(a.elapsed_time(b)) if self._is_cuda else 1e3 * (b - a) for a, b in pairs]


class RecentlyUsed(Generic[_Key, _Value]):
    """The values used last, made when they are first asked for."""

    def __init__(self) -> None:
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        """Returns the key's value, made by `make` where there is none yet; the one used longest ago may go for it."""
        if key not in self._values:
            self._values[key] = make()
            if len(self._values) > _SHAPES_KEPT:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]


def first_line(error: Exception) -> str:
    """The first line of torch's messages, which go on with places in its source."""
    return str(error).strip().split("\n", 1)[0]
