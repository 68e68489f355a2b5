"""A bundle's network in torch itself: for a machine that trains, with a GPU but without TensorRT.

The encoders run in the chosen precision; projections, attention and head stay in float32, where a reduced precision
would cost metres and gain nothing. On a GPU tokens stay where they were made, and a frame is three CUDA graphs (ground
encoder, refinements, probes) that work on fixed memory: all refinements are one launch, whatever N and R are.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.protocol import FrameOutput, HeadOutput, Tokens, require_counts
from geoflow_ros.bundle.bundle import Bundle, sha256_of
from geoflow_ros.bundle.manifest import CHECKPOINT_FOLDER, Manifest
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT16, FLOAT32
from geoflow_ros.errors import BackendError, BundleError, InputError
from geoflow_ros.model import GeoFlow, load_checkpoint
from geoflow_ros.model.geoflow import IMAGE_MEAN, IMAGE_STD

_DTYPES = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16, FLOAT16: torch.float16}
_SHAPES_KEPT = 8  # memory and graphs of so many (B, N, R); they change seldom
_WARM_UPS = 2  # before a capture: libraries choose their kernels and take their memory

_log = logging.getLogger("geoflow_ros")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


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
        on = _device(device)
        if precision == FLOAT16 and on.type == "cpu":
            raise InputError("torch's float16 is many times slower than float32 on a CPU: choose fp32 or bf16")
        if precision == FLOAT32 and on.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
        if threads is not None:
            torch.set_num_threads(threads)
        model = copy.deepcopy(weights) if isinstance(weights, GeoFlow) else network_of(weights)
        with _on(on):
            self._network = _Network(model, on, _DTYPES[precision])
            self._graphs = _Graphs(on)
        self._device, self._precision = on, precision
        self._encodings: _Recent[int, _Encoding] = _Recent()
        self._refinings: _Recent[tuple[int, int, int], _Refining] = _Recent()
        self._probings: _Recent[tuple[int, int], _Probing] = _Recent()
        where = torch.cuda.get_device_name(on) if on.type == "cuda" else "CPU"
        self._name = f"torch {torch.__version__} {where} {precision}"

    @property
    def name(self) -> str:
        """Engine, version, device and precision."""
        return self._name

    @property
    def precision(self) -> str:
        """Of the encoders."""
        return self._precision

    @property
    def max_hypotheses(self) -> int | None:
        """N is not limited."""
        return None

    def satellite_tokens(self, satellite: UInt8Array) -> Tensor:
        """Tokens (B, T, d), on the device, of satellite patches (B, P, P, 3)."""
        with _on(self._device), self._graphs.beside():
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
        with _on(self._device):
            encoding = self._encodings.get(batch, lambda: _Encoding(self._network, self._graphs, ground, tokens))
            refining = self._refinings.get(
                (batch, count, iterations), lambda: _Refining(self._network, self._graphs, hypotheses, iterations)
            )
            probing = self._probings.get(
                (batch, len(probes)), lambda: _Probing(self._network, self._graphs, batch, probes)
            )
            clock = _Clock(self._device)
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
        with _on(self._device):
            return _array(self._network.f_vis(self._to_device(ground), torch.as_tensor(tokens, device=self._device)))

    def head(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        """Displacements from hypotheses (B, N, 2), in units of the search radius, for features (B, d)."""
        with _on(self._device):
            return _head_output(self._network.head(self._to_device(f_vis), self._to_device(hypotheses), step))

    def _to_device(self, array: UInt8Array | Float32Array) -> Tensor:
        return torch.tensor(array, device=self._device)


class _Network(nn.Module):
    """GeoFlow with encoders of one precision, made ready for inference on a device."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: GeoFlow, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        model.eval()
        for name in ("sat_extractor", "grd_extractor"):
            setattr(model, name, _Encoder(getattr(model, name), dtype))
        self.model = model
        self.feature_size = model.config.model_dim
        self.device = device
        # Constants on the device: a CUDA graph cannot fetch those of `model.normalize_images`.
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN))
        self.register_buffer("std", torch.tensor(IMAGE_STD))
        self.to(device)

    def satellite_tokens(self, satellite: Tensor) -> Tensor:
        """(B, T, d) of patches (B, P, P, 3) uint8."""
        return self.model.satellite_tokens(self._normalized(satellite))

    def f_vis(self, ground: Tensor, tokens: Tensor) -> Tensor:
        """(B, d) of camera images (B, H, W, 3) uint8 and tokens (B, T, d)."""
        return self.model.f_vis(self._normalized(ground), tokens)

    def head(self, f_vis: Tensor, hypotheses: Tensor, step: Tensor | float) -> Tensor:
        """The displacements of hypotheses (B, N, 2) and where they are moved, side by side: (B, N, 7), or (B, N, 9)
        with an orientation, in the order of `_head_output`. One tensor is one copy from the device.
        """
        displacement = self.model.displace(f_vis, hypotheses)
        moved = hypotheses + step * displacement.mu_log_r.exp()[..., None] * displacement.direction
        scalars = torch.stack((displacement.mu_log_r, displacement.var_log_r, displacement.kappa), dim=-1)
        parts = [scalars, displacement.direction, moved]
        return torch.cat(parts if displacement.orientation is None else [*parts, displacement.orientation], dim=-1)

    def _normalized(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32, channels last in memory, of (B, H, W, 3) uint8."""
        return ((images.to(torch.float32) / 255.0 - self.mean) / self.std).permute(0, 3, 1, 2)


_MOVED = slice(5, 7)  # of the head's outputs


class _Encoder(nn.Module):
    """An encoder with batch norms folded into its convolutions, in a precision of its own."""

    def __init__(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        _fold_batch_norms(encoder)
        self.encoder = encoder.to(dtype)
        for parameter in self.encoder.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.encoder(image.to(self.dtype))
        return features.to(torch.float32)


class _Encoding:
    """The ground encoder for B images."""

    def __init__(self, network: _Network, graphs: _Graphs, ground: UInt8Array, tokens: Tokens) -> None:
        self._ground = _Input(ground.shape, torch.uint8, network.device)
        self._tokens = torch.zeros(tokens.shape, device=network.device)
        self._f_vis = torch.zeros((len(ground), network.feature_size), device=network.device)

        def encode() -> None:
            self._f_vis.copy_(network.f_vis(self._ground.on_device, self._tokens))

        self._run = graphs.captured(encode)

    def __call__(self, ground: UInt8Array, tokens: Tokens) -> Tensor:
        self._ground.set(ground)
        self._tokens.copy_(torch.as_tensor(tokens))
        self._run()
        return self._f_vis


class _Refining:
    """R refinements of B x N hypotheses."""

    def __init__(self, network: _Network, graphs: _Graphs, hypotheses: Float32Array, iterations: int) -> None:
        self._start = _Input(hypotheses.shape, torch.float32, network.device)
        self._f_vis = torch.zeros((len(hypotheses), network.feature_size), device=network.device)
        self._step = torch.zeros((), device=network.device)
        self._path = torch.zeros((iterations + 1, *hypotheses.shape), device=network.device)

        def refine() -> None:
            self._path[0].copy_(self._start.on_device)
            for iteration in range(iterations):
                answer = network.head(self._f_vis, self._path[iteration], self._step)
                self._path[iteration + 1].copy_(answer[..., _MOVED])

        self._run = graphs.captured(refine)

    def __call__(self, f_vis: Tensor, hypotheses: Float32Array, step: float) -> Tensor:
        self._start.set(hypotheses)
        self._f_vis.copy_(f_vis)
        self._step.fill_(step)
        self._run()
        return self._path


class _Probing:
    """The head at K probes for B features."""

    def __init__(self, network: _Network, graphs: _Graphs, batch: int, probes: Float32Array) -> None:
        self._probes = _Input(probes.shape, torch.float32, network.device)
        self._f_vis = torch.zeros((batch, network.feature_size), device=network.device)
        self._step = torch.zeros((), device=network.device)

        def ask() -> Tensor:
            return network.head(self._f_vis, self._probes.on_device.expand(batch, -1, -1), self._step)

        self._answers = torch.zeros_like(ask())
        self._run = graphs.captured(lambda: self._answers.copy_(ask()))

    def __call__(self, f_vis: Tensor, probes: Float32Array, step: float) -> Tensor:
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
        """Of the frame; the one before is done."""
        self._on_host.numpy()[...] = values
        if self.on_device is not self._on_host:
            self.on_device.copy_(self._on_host, non_blocking=True)


class _Graphs:
    """CUDA graphs of one device; elsewhere, and where capturing fails, work is done step by step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_cuda = device.type == "cuda"
        self._lock = threading.Lock()  # nothing else takes memory while a graph is captured
        if self._is_cuda:
            self._side = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()  # one: graphs never run at the same time

    def captured(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """What does `work` again, on the same memory."""
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
            _log.warning("torch captured no CUDA graph and goes on without: %s", _first_line(error))
            return work
        return graph.replay

    @contextmanager
    def beside(self) -> Iterator[None]:
        """For work of another thread: on a stream of its own, and done when the block is left."""
        if not self._is_cuda:
            yield
            return
        with self._lock:
            with torch.cuda.stream(self._side):
                yield
            self._side.synchronize()


class _Clock:
    """Milliseconds between ticks, as the device sees them."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._ticks: list[Any] = []
        self.tick()

    def tick(self) -> None:
        if self._is_cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._ticks.append(event)
        else:
            self._ticks.append(perf_counter())

    def milliseconds(self) -> list[float]:
        """Of each interval; all work must be done."""
        pairs = zip(self._ticks[:-1], self._ticks[1:], strict=True)
        return [float(a.elapsed_time(b)) if self._is_cuda else 1e3 * (b - a) for a, b in pairs]


class _Recent(Generic[_Key, _Value]):
    """The values used last, made when they are first asked for."""

    def __init__(self) -> None:
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key, make: Callable[[], _Value]) -> _Value:
        if key not in self._values:
            self._values[key] = make()
            if len(self._values) > _SHAPES_KEPT:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]


def _head_output(answers: Tensor) -> HeadOutput:
    """Of `_Network.head`'s (B, N, 7) or (B, N, 9)."""
    values = _array(answers)

    def column(index: int | slice) -> Float32Array:
        return np.ascontiguousarray(values[..., index])

    orientation = column(slice(7, 9)) if values.shape[-1] > 7 else None
    return HeadOutput(column(0), column(1), column(slice(3, 5)), column(2), column(_MOVED), orientation)


def _array(tensor: Tensor) -> Float32Array:
    """A copy on the host; everything that was begun before it on the device is done."""
    return np.array(tensor.cpu().numpy(), dtype=np.float32)


def _fold_batch_norms(module: nn.Module) -> None:
    """Puts every batch norm into the convolution that stands before it, which is the one that it normalizes."""
    before = ""
    for name, child in list(module.named_children()):
        _fold_batch_norms(child)
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, before, fuse_conv_bn_eval(getattr(module, before), child))
            setattr(module, name, nn.Identity())
        before = name


def _device(text: str) -> torch.device:
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


def network_of(bundle: Bundle) -> GeoFlow:
    """The network of the bundle's checkpoint, whose bytes and sizes are those that the manifest names.

    Raises:
        InputError: the bundle came without it.
        BundleError: it has other bytes or sizes.
        CheckpointError: it cannot be read.
    """
    folder, manifest = bundle.path / CHECKPOINT_FOLDER, bundle.manifest
    if not folder.is_dir():
        raise InputError(
            f"{bundle.path} came without the folder {CHECKPOINT_FOLDER}/ that torch runs from: export it with "
            "`geoflow export --with-checkpoint`, or choose another back end"
        )
    for name in sorted({*manifest.checkpoint, *(path.name for path in folder.iterdir())}):
        path = folder / name
        if not path.is_file() or sha256_of(path) != manifest.checkpoint.get(name):
            raise BundleError(f"{path} is not the file of the bundle's manifest: copy or export the bundle again")
    model = load_checkpoint(folder)
    differences = [name for name, (wanted, found) in _sizes(manifest, model).items() if wanted != found]
    if differences:
        raise BundleError(f"{folder} has another {', '.join(differences)} than the bundle: export the bundle again")
    return model


def _sizes(manifest: Manifest, model: GeoFlow) -> dict[str, tuple[Any, Any]]:
    """What manifest and checkpoint must agree about."""
    config = model.config
    return {
        "satellite size": (manifest.satellite.size_px, config.satellite_size_px),
        "ground resolution": (manifest.satellite.ground_resolution_m, config.ground_resolution_m),
        "ground height": (manifest.ground.height_px, config.ground_height_px),
        "ground width": (manifest.ground.width_px, config.ground_width_px),
        "search radius": (manifest.search_radius_m, config.search_radius_m),
        "alignment": (manifest.alignment, config.alignment),
        "feature size": (manifest.feature_size, config.model_dim),
        "head": (manifest.has_orientation, config.predict_orientation),
    }


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """Work without gradients on a device, whose failures are told in one line."""
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
        raise BackendError(f"torch failed on {device}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
