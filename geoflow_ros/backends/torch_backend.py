"""A bundle's network in torch itself: for a machine that trains, with a GPU but without TensorRT.

The encoders run in the chosen precision; projections, attention and head stay in float32, where a reduced precision
would cost metres and gain nothing. On a GPU tokens stay where they were made, and a frame is three CUDA graphs (ground
encoder, refinements, probes) that work on fixed memory: all refinements are one launch, whatever N and R are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.protocol import FrameOutput, HeadOutput, Tokens, require_counts
from geoflow_ros.backends.torch_frame import (
    CudaGraphs,
    DeviceClock,
    Encoding,
    Probing,
    RecentlyUsed,
    Refining,
    first_line,
)
from geoflow_ros.backends.torch_network import MOVED, InferenceNetwork, network_of
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT16, FLOAT32
from geoflow_ros.errors import BackendError, InputError
from geoflow_ros.model import GeoFlow

_DTYPES = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16, FLOAT16: torch.float16}


class TorchBackend:
    """Runs GeoFlow in torch, behind the protocol that bundles are run behind.

    `frame` is for one thread at a time; `satellite_tokens` may run beside it. In float32 on a GPU, torch's
    TensorFloat-32 convolutions are switched off for the whole process: their ten bits of mantissa are not float32.

    Args:
        weights: a bundle with its folder `checkpoint/`, or the network itself, which is copied.
        device: "cpu", "cuda", "cuda:1", …
        precision: of the encoders, "fp32", "bf16" or "fp16"; the last on a GPU alone.
        threads: of torch on the CPU, for the whole process; torch's own choice where None.

    Raises:
        InputError: the bundle came without checkpoint, no such device, or fp16 on a CPU.
        BundleError: the checkpoint has other bytes or sizes than the manifest says.
        CheckpointError: the checkpoint cannot be read.
        BackendError: it does not fit the device's memory.
    """

    def __init__(
        self, weights: Bundle | GeoFlow, device: str = "cpu", precision: str = FLOAT32, threads: int | None = None
    ) -> None:
        if precision not in _DTYPES:
            raise InputError(f"precision is '{precision}'; it must be one of {', '.join(_DTYPES)}")
        on = torch_device(device)
        if precision == FLOAT16 and on.type == "cpu":
            raise InputError("torch's float16 is many times slower than float32 on a CPU: choose fp32 or bf16")
        if precision == FLOAT32 and on.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
        if threads is not None:
            torch.set_num_threads(threads)
        model = copy.deepcopy(weights) if isinstance(weights, GeoFlow) else network_of(weights)
        with on_device(on):
            self._network = InferenceNetwork(model, on, _DTYPES[precision])
            self._graphs = CudaGraphs(on)
        self._device, self._precision = on, precision
        self._encodings: RecentlyUsed[int, Encoding] = RecentlyUsed()
        self._refinings: RecentlyUsed[tuple[int, int, int], Refining] = RecentlyUsed()
        self._probings: RecentlyUsed[tuple[int, int], Probing] = RecentlyUsed()
        where = torch.cuda.get_device_name(on) if on.type == "cuda" else "CPU"
        self._name = f"torch {torch.__version__} {where} {precision}"

    @property
    def name(self) -> str:
        """Engine, version, device and precision."""
        return self._name

    @property
    def precision(self) -> str:
        """The precision of the encoders."""
        return self._precision

    @property
    def max_hypotheses(self) -> int | None:
        """N is not limited."""
        return None

    def satellite_tokens(self, satellite: UInt8Array) -> Tensor:
        """Tokens (B, T, d), on the device, of satellite patches (B, P, P, 3)."""
        with on_device(self._device), self._graphs.beside():
            return self._network.satellite_tokens(self._to_device(satellite))

    def frame(
        self,
        ground: UInt8Array,
        tokens: Tokens,
        hypotheses: Float32Array,
        probes: Float32Array,
        step: float,
        iterations: int,
    ) -> FrameOutput:
        """See `Backend.frame`."""
        require_counts(hypotheses, iterations)
        batch, count = hypotheses.shape[:2]
        with on_device(self._device):
            encoding = self._encodings.get(batch, lambda: Encoding(self._network, self._graphs, ground, tokens))
            refining = self._refinings.get(
                (batch, count, iterations), lambda: Refining(self._network, self._graphs, hypotheses, iterations)
            )
            probing = self._probings.get(
                (batch, len(probes)), lambda: Probing(self._network, self._graphs, batch, probes)
            )
            clock = DeviceClock(self._device)
            f_vis = encoding(ground, tokens)
            clock.tick()
            path = refining(f_vis, hypotheses, step)
            clock.tick()
            probed = probing(f_vis, probes, step)
            clock.tick()
            # Copies: the next frame uses the same memory.
            output_path, output_probed = _array(path), _head_output(probed)
            ground_ms, refine_ms, probe_ms = clock.milliseconds()
        return FrameOutput(output_path, output_probed, ground_ms, refine_ms, probe_ms)

    def f_vis(self, ground: UInt8Array, tokens: Tokens) -> Float32Array:
        """Joint feature (B, d), on the host, of camera images (B, H, W, 3) and the tokens of their patches."""
        with on_device(self._device):
            return _array(self._network.f_vis(self._to_device(ground), torch.as_tensor(tokens, device=self._device)))

    def head(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        """Displacements from hypotheses (B, N, 2), in units of the search radius, for features (B, d)."""
        with on_device(self._device):
            return _head_output(self._network.head(self._to_device(f_vis), self._to_device(hypotheses), step))

    def _to_device(self, array: UInt8Array | Float32Array) -> Tensor:
        return torch.tensor(array, device=self._device)


def _head_output(answers: Tensor) -> HeadOutput:
    """Takes `InferenceNetwork.head`'s (B, N, 7) or (B, N, 9) apart."""
    values = _array(answers)

    def column(index: int | slice) -> Float32Array:
        return np.ascontiguousarray(values[..., index])

    orientation = column(slice(7, 9)) if values.shape[-1] > 7 else None
    return HeadOutput(column(0), column(1), column(slice(3, 5)), column(2), column(MOVED), orientation)


def _array(tensor: Tensor) -> Float32Array:
    """A copy on the host; everything that was begun before it on the device is done."""
    return np.array(tensor.cpu().numpy(), dtype=np.float32)


def torch_device(text: str) -> torch.device:
    """The device of this name.

    Raises:
        InputError: no such device.
    """
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise InputError(f"'{text}' is not a device of torch: choose cpu or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"torch's device '{text}' is not supported: choose cpu or cuda:0")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(
                f"torch {torch.__version__} finds no CUDA GPU for '{text}': install the driver and a CUDA build of "
                "torch, or choose the device cpu"
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise InputError(f"there is no '{text}' here: torch finds {torch.cuda.device_count()} CUDA GPUs")
    return device


@contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    """Lets work run without gradients on a device, its failures told in one line.

    Raises:
        BackendError: torch failed.
    """
    try:
        with torch.no_grad():
            if device.type == "cuda":
                with torch.cuda.device(device):
                    yield
            else:
                yield
    except torch.OutOfMemoryError as error:
        raise BackendError(f"{device} is out of memory for torch: free some, or use fewer hypotheses") from error
    except RuntimeError as error:
        raise BackendError(f"torch failed on {device}: {first_line(error)}") from error
