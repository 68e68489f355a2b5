"""The one place that knows how TensorRT and TensorRT-RTX, and their versions, differ.

Both have the same Python interface under two names. What is used of it everywhere else is in all of them: the names
were looked up in the bindings of tensorrt 10.3.0 (JetPack 6), 10.7.0, 10.16.1 and 11.4.0 and of tensorrt_rtx 1.7.1.
The differences, each marked below:

1. Strong typing. Asked for with a flag in 10.x; always on, and the flag ignored, since 11.0 ("Migrating from TensorRT
   10.x to 11.x"). Precision is in the ONNX file: the flags FP16, BF16, INT8 were removed in 11.0 and are refused by
   tensorrt_rtx (NVIDIA/TensorRT-RTX issue 2). EXPLICIT_BATCH is ignored since 10.0 and gone in 11.
2. TF32 is on by default in every version. float32 here means float32: ten bits of mantissa are not centimetres.
3. Target. tensorrt times kernels on the GPU at hand, so an engine is for that GPU. tensorrt_rtx compiles in two steps
   and needs no GPU for the first: `IBuilderConfig.set_compute_capability` ("CPU-Only AOT and TensorRT-RTX Engines").
4. Timing cache. With tensorrt_rtx it does nothing but ask for a GPU while building, and is to be removed ("Timing Cache
   Migration", deprecated in 1.2). Its runtime cache keeps the kernels of the second step instead ("Working with
   Runtime Cache").
5. Stream capture. tensorrt_rtx needs engines that allocate nothing while they run: REQUIRE_USER_ALLOCATION, and
   `IExecutionContext.is_stream_capturable` says whether that holds (both since 1.2). Kernels for a shape are compiled
   in the background by default, which a capture would miss; EAGER compiles them before the first run ends.
6. Why an engine was refused. tensorrt says so in its log; tensorrt_rtx has `Runtime.get_engine_validity` (since 1.1).
"""

from __future__ import annotations

import importlib
import logging
from collections import deque
from importlib.util import find_spec
from typing import Any

from geoflow_ros.errors import BackendError, BundleError, InputError

TENSORRT, TENSORRT_RTX = "tensorrt", "tensorrt_rtx"
FLAVOURS = (TENSORRT, TENSORRT_RTX)

_log = logging.getLogger("geoflow_ros")


def installed_flavours() -> tuple[str, ...]:
    """Which of `FLAVOURS` this Python has, tensorrt first: it knows every GPU and times kernels on it."""
    return tuple(flavour for flavour in FLAVOURS if find_spec(flavour) is not None)


class TensorRt:
    """TensorRT under one of its names.

    Args:
        flavour: one of `FLAVOURS`.
        verbose: log what it says beyond warnings.

    Raises:
        InputError: it is not installed, or its libraries do not load.
    """

    def __init__(self, flavour: str, verbose: bool = False) -> None:
        try:
            self.module: Any = importlib.import_module(flavour)
        except ImportError as error:
            package = "tensorrt-rtx-cu12" if flavour == TENSORRT_RTX else "tensorrt"
            raise InputError(f"{flavour} cannot be used ({error}): install {package}") from error
        self.flavour = flavour
        self.version = str(self.module.__version__)
        self.log = _logger(self.module, verbose)
        self._runtime: Any = None

    @property
    def name(self) -> str:
        """Name and version, for people."""
        return f"{self.flavour} {self.version}"

    @property
    def builds_without_gpu(self) -> bool:
        """Whether engines can be built for other GPUs than the one at hand (3)."""
        return self.flavour == TENSORRT_RTX

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """The targets that engines can be built for, as in "sm86"; empty where that is the GPU at hand (3)."""
        if not self.builds_without_gpu:
            return ()
        members = self.module.ComputeCapability.__members__
        return tuple(name.lower() for name in members if name.startswith("SM"))

    def builder(self) -> Any:
        """An `IBuilder`.

        Raises:
            InputError: this TensorRT has none (the lean runtime), or it found no GPU to build on.
        """
        if not hasattr(self.module, "Builder"):
            raise InputError(f"{self.name} came without its builder: install the full package to build engines")
        try:
            return self.module.Builder(self.log)
        except (TypeError, RuntimeError) as error:  # what the bindings make of a null pointer
            raise InputError(f"{self.name} cannot build engines here ({self.log.reason() or error})") from error

    def network(self, builder: Any) -> Any:
        """An empty, strongly typed `INetworkDefinition` (1)."""
        flag = getattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flag is None else 1 << int(flag))

    def configure(self, config: Any, compute_capability: str) -> None:
        """Sets what does not depend on the network: numerics (2), target (3), capture (5).

        Raises:
            InputError: no engine can be built for this compute capability.
        """
        config.clear_flag(self.module.BuilderFlag.TF32)
        if hasattr(self.module.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
            config.set_flag(self.module.BuilderFlag.REQUIRE_USER_ALLOCATION)
        if not self.builds_without_gpu:
            return
        if compute_capability not in self.compute_capabilities:
            raise InputError(
                f"{self.name} builds for {', '.join(self.compute_capabilities)}, not for {compute_capability}: "
                "choose one of these, or install tensorrt on the machine with that GPU"
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(self.module.ComputeCapability, compute_capability.upper()), 0)

    @property
    def has_timing_cache(self) -> bool:
        """Whether timings of kernels are worth keeping (4)."""
        return self.flavour == TENSORRT

    def deserialize(self, plan: bytes, kernels: bytes = b"") -> Engine:
        """An engine on the current device.

        Args:
            plan: what the builder made.
            kernels: what `Engine.kernels` gave on this machine before; empty, or of other versions, is no error.

        Raises:
            InputError: this TensorRT does not run here: its CUDA is newer than the driver, say.
            BundleError: it is cut short, or for another GPU or version.
            BackendError: the device has no memory for it.
        """
        if self._runtime is None:
            try:
                self._runtime = self.module.Runtime(self.log)
            except (TypeError, RuntimeError) as error:  # what the bindings make of a null pointer
                raise InputError(f"{self.name} cannot run engines here ({self.log.reason() or error})") from error
        self.log.reason()  # forget what was said before
        engine = self._runtime.deserialize_cuda_engine(plan) if plan else None
        if engine is None:
            reason = self._invalidity(plan)
            if "outofmemory" in reason.lower().replace(" ", ""):
                raise BackendError(f"the GPU is out of memory for the engine ({reason})")
            raise BundleError(f"{self.name} refuses the engine ({reason or 'it is empty'})")
        return Engine(self, engine, kernels)

    def _invalidity(self, plan: bytes) -> str:
        """Says why TensorRT refused an engine (6)."""
        reason: str = self.log.reason()
        if hasattr(self._runtime, "get_engine_validity") and plan:
            _, found = self._runtime.get_engine_validity(plan)
            members = self.module.EngineInvalidityDiagnostics.__members__
            names = [name.lower().replace("_", " ") for name, bit in members.items() if int(found) & int(bit)]
            reason = ", ".join([*names, reason] if reason else names)
        return reason


class Engine:
    """A deserialised engine; makes execution contexts whose memory the caller provides."""

    def __init__(self, api: TensorRt, engine: Any, kernels: bytes) -> None:
        self.api, self.engine = api, engine
        self._config: Any = None
        self._kernels: Any = None
        strategy = api.module.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context_argument = strategy
        if api.flavour == TENSORRT_RTX:
            self._config = self._context_argument = engine.create_runtime_config()
            self._config.set_execution_context_allocation_strategy(strategy)
            specialization = api.module.DynamicShapesKernelSpecializationStrategy
            self._config.dynamic_shapes_kernel_specialization_strategy = specialization.EAGER
            self._kernels = self._config.create_runtime_cache()
            if kernels:
                self._kernels.deserialize(kernels)
            self._config.set_runtime_cache(self._kernels)

    def create_context(self) -> Any:
        """An `IExecutionContext` that still needs shapes, memory and addresses.

        Raises:
            BackendError: there is no memory for it.
        """
        context = self.engine.create_execution_context(self._context_argument)
        if context is None:
            raise BackendError(f"{self.api.name} gave no execution context ({self.api.log.reason()})")
        return context

    def kernels(self) -> bytes:
        """The kernels compiled for this GPU so far, to be kept for the next start (4); empty with tensorrt."""
        return b"" if self._kernels is None else bytes(self._kernels.serialize())


def is_capturable(context: Any, stream: int) -> bool:
    """Whether a CUDA graph can be made of the context's work (5); tensorrt finds out by trying."""
    return not hasattr(context, "is_stream_capturable") or bool(context.is_stream_capturable(stream))


def _logger(module: Any, verbose: bool) -> Any:
    """An `ILogger` that keeps errors, for the exceptions made of them, and passes the rest on to logging."""

    class Logger(module.ILogger):  # the base class is known at run time alone
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=4)  # appended to from TensorRT's threads as well

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.INTERNAL_ERROR, module.ILogger.ERROR):
                self._errors.append(" ".join(message.split()))
                _log.debug("%s: %s", module.__name__, message)
            elif severity == module.ILogger.WARNING or verbose:
                _log.log(logging.INFO if verbose else logging.DEBUG, "%s: %s", module.__name__, message)

        def reason(self) -> str:
            """The first of the latest errors, which names the cause; forgets all."""
            errors = list(self._errors)
            self._errors.clear()
            return errors[0] if errors else ""

    return Logger()
