"""A bundle on TensorRT or TensorRT-RTX: what a frame needs stays on the GPU, and a frame is one CUDA graph."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.protocol import FrameOutput, HeadOutput, require_counts
from geoflow_ros.backends.tensorrt.api import Engine, TensorRt, is_capturable
from geoflow_ros.backends.tensorrt.builder import MAX_CAMERAS, MAX_HYPOTHESES, WORKSPACE_BYTES
from geoflow_ros.backends.tensorrt.cuda import Cuda, DeviceBuffer, Event, Graph, PinnedArray, Stream
from geoflow_ros.backends.tensorrt.engine import (
    EngineRequest,
    Target,
    bundle_in,
    engine_roots,
    load_or_build,
    preferred_flavours,
)
from geoflow_ros.backends.tensorrt.frame import (
    ENCODED,
    PATH,
    PROBED,
    REFINED,
    STARTED,
    TOKENS,
    Download,
    Enqueue,
    FrameLayout,
    Mark,
    Program,
    Sizes,
    Upload,
    sized,
)
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.bundle.methods import GRAPHS, SATELLITE_ENCODER
from geoflow_ros.bundle.precision import FLOAT16, FLOAT32
from geoflow_ros.errors import BackendError, BundleError, InputError
from geoflow_ros.files import keep
from geoflow_ros.resources import cache_dir

_PLANS_KEPT = 3  # memory and graphs of so many (B, N, K, R); they change seldom

_log = logging.getLogger("geoflow_ros")


def has_float16(bundle: Bundle, engines: Path | None, device: str) -> bool:
    """Returns whether there are float16 graphs of this bundle for a device.

    Raises:
        InputError: no such device; see `Cuda`.
    """
    try:
        bundle_in(bundle, FLOAT16, Cuda(device).compute_capability, _graph_roots(bundle, engines))
    except BundleError:
        return False
    return True


def _graph_roots(bundle: Bundle, engines: Path | None) -> tuple[Path, ...]:
    """The folders that float16 graphs may be in: the user's folder, and those of engines by default."""
    return (*engine_roots(bundle, engines), *engine_roots(bundle, None))


@dataclass(frozen=True)
class DeviceTokens:
    """Satellite tokens (B, T, d) on the device; freed when forgotten."""

    cameras: int
    buffer: DeviceBuffer


class TensorRtBackend:
    """Runs a bundle's engines; builds those that are missing or do not fit, which takes minutes with tensorrt.

    N is 1 to 1024 and B 1 to 4, what the engines are built for; N and R may change between frames. The first frame
    with new numbers is enqueued step by step, later ones launch a CUDA graph of it; where no graph can be captured
    they are enqueued as the first was. `satellite_tokens` works in a stream of its own that gives way to the frame.

    Args:
        bundle: verified bundle.
        engines: folder of the engines, Isaac ROS's `engine_file_path`; None for the bundle's `engines/`, else the
            user's cache.
        precision: "fp32", or "fp16" where `geoflow export --tensorrt --precision fp16` made float16 graphs.
        device: "cuda:0", "cuda:1", …
        force_engine_update: build the engines anew.
        max_workspace_size: limit in bytes for building, see `WORKSPACE_BYTES`.
        verbose: log what TensorRT says.
        may_build: False where a missing engine is an error.
        flavour: "tensorrt" or "tensorrt_rtx"; None for the one of which there are engines, else the one installed.

    Raises:
        InputError: no TensorRT, no cuda-python, no driver or no such device here, or no builder for an engine.
        BundleError: an engine that does not fit and cannot be built.
        BackendError: the engines do not fit the device's memory.
    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Path | None = None,
        precision: str = FLOAT32,
        device: str = "cuda:0",
        force_engine_update: bool = False,
        max_workspace_size: int = WORKSPACE_BYTES,
        verbose: bool = False,
        may_build: bool = True,
        flavour: str | None = None,
    ) -> None:
        if precision not in (FLOAT32, FLOAT16):
            raise InputError(f"TensorRT runs {FLOAT32} and {FLOAT16}, not {precision}")
        flavours = (flavour,) if flavour is not None else preferred_flavours(bundle, engines)
        if not flavours:
            raise InputError("neither tensorrt nor tensorrt_rtx is installed: install one, or choose another back end")
        self._cuda = Cuda(device)
        self._cuda.use()
        roots = engine_roots(bundle, engines)
        capability = self._cuda.compute_capability
        graphs = bundle_in(bundle, precision, capability, _graph_roots(bundle, engines))
        api = TensorRt(flavours[0], verbose)
        target = Target.of(api, capability, self._cuda.name)
        self._engines: dict[str, Engine] = {}
        self._kernel_files: dict[str, Path] = {}
        for graph in GRAPHS:
            request = EngineRequest(graphs, graph, target, precision, max_workspace_size)
            file = cache_dir() / "tensorrt" / f"{target.folder_name(api.version)}-{request.onnx_sha256[:16]}.kernels"
            kernels = file.read_bytes() if file.is_file() else b""
            self._engines[graph] = load_or_build(
                api,
                request,
                roots,
                partial(api.deserialize, kernels=kernels),
                force=force_engine_update,
                may_build=may_build,
            )
            self._kernel_files[graph] = file
        self._name = f"{api.name} {self._cuda.name} {precision}"
        self._precision = precision
        self._manifest = bundle.manifest
        self._frame_stream = Stream(self._cuda, urgent=True)
        self._satellite_stream = Stream(self._cuda, urgent=False)
        self._frame_lock, self._satellite_lock = threading.Lock(), threading.Lock()
        self._plans: OrderedDict[Sizes, _Plan] = OrderedDict()
        self._satellite: tuple[int, _SatelliteContext] | None = None
        self._captures = True

    @property
    def name(self) -> str:
        """Engine, version, GPU and precision."""
        return self._name

    @property
    def precision(self) -> str:
        """The precision of the encoders."""
        return self._precision

    @property
    def max_hypotheses(self) -> int | None:
        """The largest N that the engines are built for."""
        return MAX_HYPOTHESES

    @property
    def uses_graph(self) -> bool:
        """Whether the latest frame was launched as a CUDA graph."""
        return bool(self._plans) and next(reversed(self._plans.values())).graph is not None

    def satellite_tokens(self, satellite: UInt8Array) -> DeviceTokens:
        """Tokens of satellite patches (B, P, P, 3), on the device; any number of them may be alive."""
        cameras = _cameras(satellite)
        with self._satellite_lock:
            self._cuda.use()
            if self._satellite is None or self._satellite[0] != cameras:
                self._satellite = None  # its memory goes before the new one's is taken
                engine = self._engines[SATELLITE_ENCODER]
                self._satellite = (cameras, _SatelliteContext(self._cuda, engine, self._manifest, cameras))
                tokens = self._satellite[1].run(satellite, self._satellite_stream)
                self._keep_kernels(SATELLITE_ENCODER)
                return tokens
            return self._satellite[1].run(satellite, self._satellite_stream)

    def frame(
        self,
        ground: UInt8Array,
        tokens: DeviceTokens,
        hypotheses: Float32Array,
        probes: Float32Array,
        step: float,
        iterations: int,
    ) -> FrameOutput:
        """See `Backend.frame`."""
        require_counts(hypotheses, iterations, MAX_HYPOTHESES)
        require_counts(probes, iterations, MAX_HYPOTHESES)
        sizes = Sizes(_cameras(ground), hypotheses.shape[1], len(probes), iterations)
        with self._frame_lock:
            plan = self._prepare(sizes, {"ground": ground, "odd": hypotheses, "probes": probes, "step": step}, tokens)
            if plan.graph is None and plan.frames > 0 and self._captures:
                plan.graph = self._captured(plan)
            if plan.graph is not None:
                self._run(lambda stream: stream.launch(plan.graph))
            else:
                self._run(lambda stream: plan.enqueue(plan.layout.frame(), stream))
            plan.frames += 1
            if plan.frames == 1:
                self._keep_kernels(*GRAPHS[1:])
            started, encoded, refined, probed = (plan.events[mark] for mark in (STARTED, ENCODED, REFINED, PROBED))
            return FrameOutput(
                path=np.concatenate((hypotheses[None], plan.host[PATH].array)),
                probed=plan.probed(),
                ground_ms=encoded.milliseconds_since(started),
                refine_ms=refined.milliseconds_since(encoded),
                probe_ms=probed.milliseconds_since(refined),
            )

    def f_vis(self, ground: UInt8Array, tokens: DeviceTokens) -> Float32Array:
        """Joint feature (B, d) of camera images (B, H, W, 3) and the tokens of their patches, on the host."""
        with self._frame_lock:
            plan = self._prepare(Sizes(_cameras(ground), 1, 1, 1), {"ground": ground}, tokens)
            self._run(lambda stream: plan.enqueue(plan.layout.encode(), stream))
            return plan.host["f_vis"].array.copy()

    def head(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        """Displacements from hypotheses (B, N, 2), in units of the search radius, for features (B, d)."""
        require_counts(hypotheses, 1, MAX_HYPOTHESES)
        with self._frame_lock:
            sizes = Sizes(_cameras(f_vis), 1, hypotheses.shape[1], 1)
            plan = self._prepare(sizes, {"f_vis": f_vis, "probes": hypotheses, "step": step})
            self._run(lambda stream: plan.enqueue(plan.layout.ask(), stream))
            return plan.probed()

    def _prepare(self, sizes: Sizes, inputs: dict[str, Any], tokens: DeviceTokens | None = None) -> _Plan:
        """The plan for these sizes with its inputs in place."""
        if tokens is not None and tokens.cameras != sizes.cameras:
            raise InputError(f"{sizes.cameras} camera images, but tokens of {tokens.cameras} satellite patches")
        self._cuda.use()
        plan = self._plans.pop(sizes, None)
        if plan is None:
            while len(self._plans) >= _PLANS_KEPT:
                self._plans.popitem(last=False)
            try:
                plan = _Plan(self._cuda, self._engines, FrameLayout(self._manifest.tensors, sizes))
            except BackendError:
                self._plans.clear()  # out of memory, perhaps: the next frame finds more of it
                raise
        self._plans[sizes] = plan
        for name, value in inputs.items():
            plan.host[name].array[...] = value
        if tokens is not None:
            self._frame_stream.copy(plan.device[TOKENS].address, tokens.buffer.address, tokens.buffer.size)
        return plan

    def _run(self, enqueue: Any) -> None:
        try:
            enqueue(self._frame_stream)
            self._frame_stream.synchronize()
        except BackendError:
            self._plans.clear()
            raise

    def _captured(self, plan: _Plan) -> Graph | None:
        """Captures the frame as a CUDA graph; None, and never tried again, where that cannot be done."""
        try:
            program, stream = plan.layout.frame(), int(self._frame_stream)
            # of those alone that a frame runs: with R = 1 there is one that never ran
            used = {step.context for step in program if isinstance(step, Enqueue)}
            if not all(is_capturable(plan.contexts[name].context, stream) for name in used):
                raise BackendError("TensorRT says that an engine's work cannot be captured")
            with self._frame_stream.capture() as captured:
                plan.enqueue(program, self._frame_stream)
            return captured[0]
        except BackendError as error:
            self._captures = False
            _log.warning("frames are not run as CUDA graphs (%s): the processor has more to do for each", error)
            return None

    def _keep_kernels(self, *graphs: str) -> None:
        for graph in graphs:
            kernels = self._engines[graph].kernels()
            if kernels:
                keep(self._kernel_files[graph], kernels)


class _Context:
    """An execution context with its shapes, its addresses and its own scratch memory."""

    def __init__(self, cuda: Cuda, engine: Engine, shapes: dict[str, tuple[int, ...]]) -> None:
        self.context = engine.create_context()
        self._log = engine.api.log
        for name, shape in shapes.items():
            self._check(self.context.set_input_shape(name, shape), f"takes no {name} of shape {shape}")
        # for these shapes; without them the engine's figure is for the largest, which is several times as much
        size = self.context.update_device_memory_size_for_shapes() or engine.engine.device_memory_size_v2
        self._scratch = DeviceBuffer(cuda, size)
        self.context.set_device_memory(self._scratch.address, size)

    def place(self, addresses: dict[str, int]) -> None:
        """Sets where its tensors lie."""
        for name, address in addresses.items():
            self._check(self.context.set_tensor_address(name, address), f"takes no memory for {name}")

    def enqueue(self, stream: Stream) -> None:
        """Runs it after what the stream has to do already."""
        self._check(self.context.execute_async_v3(int(stream)), "did not run")

    def _check(self, good: bool, complaint: str) -> None:
        if not good:
            raise BackendError(f"TensorRT's engine {complaint} ({self._log.reason() or 'without a reason'})")


class _Plan:
    """Everything that frames of one size need on the device and on the host."""

    def __init__(self, cuda: Cuda, engines: dict[str, Engine], layout: FrameLayout) -> None:
        self.layout = layout
        self.graph: Graph | None = None
        self.frames = 0
        sizes = layout.sizes
        self.device = {
            name: DeviceBuffer(cuda, int(np.prod(shape)) * np.dtype(dtype).itemsize)
            for name, (dtype, shape) in layout.buffers.items()
        }
        on_host = ("ground", "odd", "probes", "step", "f_vis", *layout.probed.values())
        self.host = {name: PinnedArray(cuda, layout.buffers[name][1], layout.buffers[name][0]) for name in on_host}
        self.host[PATH] = PinnedArray(cuda, (sizes.iterations, sizes.cameras, sizes.hypotheses, 2), np.float32)
        self.events = {mark: Event(cuda) for mark in (STARTED, ENCODED, REFINED, PROBED)}
        self.contexts: dict[str, _Context] = {}
        for name, binding in layout.bindings.items():
            engine = engines[binding.graph]
            inputs = layout.tensors[binding.graph].inputs
            shapes = {tensor.name: sized(tensor, sizes.cameras, binding.count) for tensor in inputs}
            self.contexts[name] = _Context(cuda, engine, shapes)
            self.contexts[name].place({tensor: self.device[at].address for tensor, at in binding.buffers.items()})

    def enqueue(self, program: Program, stream: Stream) -> None:
        """Hands the steps to the device, without waiting."""
        for step in program:
            if isinstance(step, Enqueue):
                self.contexts[step.context].enqueue(stream)
            elif isinstance(step, Mark):
                stream.record(self.events[step.event])
            elif isinstance(step, Upload):
                host = self.host[step.buffer]
                stream.copy(self.device[step.buffer].address, host.address, host.size)
            elif isinstance(step, Download):
                host = self.host[step.into or step.buffer]
                size = host.size if step.into is None else host.array[step.row].nbytes
                stream.copy(host.address + step.row * size, self.device[step.buffer].address, size)

    def probed(self) -> HeadOutput:
        """The head's answers, copied: the next frame overwrites these."""
        arrays = {tensor: self.host[buffer].array.copy() for tensor, buffer in self.layout.probed.items()}
        orientation = arrays.pop("orientation", None)
        return HeadOutput(**arrays, orientation=orientation)


class _SatelliteContext:
    """Encodes patches for a number of cameras; the tokens get memory of their own each time."""

    def __init__(self, cuda: Cuda, engine: Engine, manifest: Manifest, cameras: int) -> None:
        spec = manifest.tensors[SATELLITE_ENCODER]
        image, tokens = sized(spec.inputs[0], cameras), sized(spec.outputs[0], cameras)
        self._cuda, self._cameras = cuda, cameras
        self._host = PinnedArray(cuda, image, np.uint8)
        self._image = DeviceBuffer(cuda, self._host.size)
        self._token_bytes = int(np.prod(tokens)) * np.dtype(np.float32).itemsize
        self._context = _Context(cuda, engine, {spec.inputs[0].name: image})
        self._context.place({spec.inputs[0].name: self._image.address})
        self._output = spec.outputs[0].name

    def run(self, satellite: UInt8Array, stream: Stream) -> DeviceTokens:
        """Waits for the tokens, so that a frame in another stream may use them at once."""
        tokens = DeviceTokens(self._cameras, DeviceBuffer(self._cuda, self._token_bytes))
        self._host.array[...] = satellite
        stream.copy(self._image.address, self._host.address, self._host.size)
        self._context.place({self._output: tokens.buffer.address})
        self._context.enqueue(stream)
        stream.synchronize()
        return tokens


def _cameras(batch: NDArray[Any]) -> int:
    """The number of cameras B of a batch.

    Raises:
        InputError: the engines are not made for it.
    """
    if not 1 <= len(batch) <= MAX_CAMERAS:
        raise InputError(f"the engines take 1 to {MAX_CAMERAS} cameras, got {len(batch)}")
    return len(batch)
