"""A thin, typed layer over cuda-python's runtime interface (`cuda.bindings`, tried with 12.8.0 and 13.4.4).

Every call's error code becomes an exception. Memory is freed when its owner is forgotten. The current device is a
thread's own business in CUDA: call :meth:`Cuda.use` first in each thread.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoflow_ros.errors import BackendError, InputError

ALIGNMENT = 256
"""Bytes; what TensorRT asks of every address (`IExecutionContext.set_tensor_address`), and what cudaMalloc gives."""


class Cuda:
    """One CUDA device.

    Args:
        device: "cuda" or "cuda:INDEX".

    Attributes:
        name: of the GPU.
        compute_capability: as in "sm86".

    Raises:
        InputError: no such device, no driver, or cuda-python is not installed.
    """

    def __init__(self, device: str = "cuda:0") -> None:
        kind, _, index = device.partition(":")
        if kind != "cuda" or not (index or "0").isdecimal():
            raise InputError(f"the device is '{device}'; it must be cuda:0, cuda:1, …")
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise InputError(f"cuda-python is not installed ({error}): install cuda-python>=12.8") from error
        self._runtime = runtime
        self._index = int(index or "0")
        try:
            _, driver_version = runtime.cudaDriverGetVersion()
        except RuntimeError:  # of 12.x, which loads the driver's library itself
            driver_version = 0
        if not driver_version:
            raise InputError("this machine has no CUDA driver: install NVIDIA's, or choose another back end")
        code, count = runtime.cudaGetDeviceCount()
        if code != runtime.cudaError_t.cudaSuccess:
            raise InputError(f"no CUDA device can be used ({self._describe(code)}): update NVIDIA's driver")
        if self._index >= count:
            raise InputError(f"there is no {device} (this machine has {count}): choose cuda:0 to cuda:{count - 1}")
        properties = self.call("cudaGetDeviceProperties", self._index)
        name = properties.name
        self.name = (name.decode() if isinstance(name, bytes) else str(name)).rstrip("\0")
        self.compute_capability = f"sm{properties.major}{properties.minor}"

    def call(self, function: str, *arguments: Any) -> Any:
        """Calls a function of the runtime interface and gives its result, or its results as a tuple.

        Raises:
            BackendError: it failed.
        """
        code, *results = getattr(self._runtime, function)(*arguments)
        if code != self._runtime.cudaError_t.cudaSuccess:
            # an error stays with the thread until it is asked for, and the next call would get it too
            self._runtime.cudaGetLastError()
            raise BackendError(f"the GPU failed at {function}: {self._describe(code)}")
        return results[0] if len(results) == 1 else tuple(results)

    def use(self) -> None:
        """Makes this device the calling thread's."""
        self.call("cudaSetDevice", self._index)

    def _describe(self, code: Any) -> str:
        _, text = self._runtime.cudaGetErrorString(code)
        return (text.decode() if isinstance(text, bytes) else str(text)) + f" ({code.name})"


class DeviceBuffer:
    """Memory on the device, aligned to `ALIGNMENT`."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self.size = size
        self.address = int(cuda.call("cudaMalloc", max(size, 1)))
        weakref.finalize(self, cuda._runtime.cudaFree, self.address)


class PinnedArray:
    """An array in host memory that the device copies from and to without the processor.

    `array` is a view: copy what is to outlive this object, or the next transfer.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.address = int(cuda.call("cudaMallocHost", max(self.size, 1)))
        weakref.finalize(self, cuda._runtime.cudaFreeHost, self.address)
        memory = (ctypes.c_byte * self.size).from_address(self.address)
        self.array: NDArray[Any] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)


class Event:
    """A point in a stream's work whose time can be taken."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle = cuda.call("cudaEventCreate")
        weakref.finalize(self, cuda._runtime.cudaEventDestroy, self.handle)

    def milliseconds_since(self, earlier: Event) -> float:
        """Returns the time from another event to this one; both must have passed."""
        return float(self._cuda.call("cudaEventElapsedTime", earlier.handle, self.handle))


class Graph:
    """Captured work of a stream, launched as one."""

    def __init__(self, cuda: Cuda, graph: Any) -> None:
        try:
            self.handle = cuda.call("cudaGraphInstantiate", graph, 0)
        finally:
            cuda._runtime.cudaGraphDestroy(graph)
        weakref.finalize(self, cuda._runtime.cudaGraphExecDestroy, self.handle)


class Stream:
    """Runs work in order, beside that of other streams.

    Args:
        cuda: the device.
        urgent: let waiting work of this stream go before that of others.
    """

    def __init__(self, cuda: Cuda, *, urgent: bool) -> None:
        self._cuda = cuda
        lowest, highest = cuda.call("cudaDeviceGetStreamPriorityRange")
        flags = cuda._runtime.cudaStreamNonBlocking
        self.handle = cuda.call("cudaStreamCreateWithPriority", flags, highest if urgent else lowest)
        weakref.finalize(self, cuda._runtime.cudaStreamDestroy, self.handle)
        self._capturing = False

    def __int__(self) -> int:
        return int(self.handle)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copies between addresses, on the host (pinned) or the device; does not wait."""
        kind = self._cuda._runtime.cudaMemcpyKind.cudaMemcpyDefault
        self._cuda.call("cudaMemcpyAsync", target, source, size, kind, self.handle)

    def record(self, event: Event) -> None:
        """Lets the event pass when the work so far is done."""
        # within a capture a plain record is only a dependency; an external one becomes a node that takes the time
        runtime = self._cuda._runtime
        flags = runtime.cudaEventRecordExternal if self._capturing else runtime.cudaEventRecordDefault
        self._cuda.call("cudaEventRecordWithFlags", event.handle, self.handle, flags)

    def launch(self, graph: Graph) -> None:
        """Enqueues captured work."""
        self._cuda.call("cudaGraphLaunch", graph.handle, self.handle)

    def synchronize(self) -> None:
        """Waits for all work."""
        self._cuda.call("cudaStreamSynchronize", self.handle)

    @contextmanager
    def capture(self) -> Iterator[list[Graph]]:
        """Captures what is enqueued inside: not run, but the only item of the list after the block.

        Raises:
            BackendError: something inside cannot be captured; the stream can be used as before.
        """
        # relaxed: memory of another thread's forgotten buffers may be freed meanwhile
        mode = self._cuda._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
        captured: list[Graph] = []
        self._cuda.call("cudaStreamBeginCapture", self.handle, mode)
        self._capturing = True
        try:
            yield captured
        except BaseException:
            self._cuda._runtime.cudaStreamEndCapture(self.handle)
            self._cuda._runtime.cudaGetLastError()
            raise
        finally:
            self._capturing = False
        captured.append(Graph(self._cuda, self._cuda.call("cudaStreamEndCapture", self.handle)))
