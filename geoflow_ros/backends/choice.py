"""Which engine runs a bundle: what was asked for, or the quickest that this machine has and the bundle allows."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.protocol import Backend
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.manifest import GROUND_ENCODER
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT16, FLOAT32
from geoflow_ros.errors import GeoFlowError, InputError
from geoflow_ros.files import keep
from geoflow_ros.resources import cache_dir

AUTO = "auto"
TENSORRT, OPENVINO, ONNXRUNTIME, TORCH = "tensorrt", "openvino", "onnxruntime", "torch"
BACKENDS = (AUTO, TENSORRT, OPENVINO, ONNXRUNTIME, TORCH)
PRECISIONS = (AUTO, FLOAT32, BFLOAT16, FLOAT16)
_PRECISIONS_OF = {
    TENSORRT: (FLOAT32, FLOAT16),
    OPENVINO: (FLOAT32, BFLOAT16),
    ONNXRUNTIME: (FLOAT32,),
    TORCH: (FLOAT32, BFLOAT16, FLOAT16),
}

_log = logging.getLogger("geoflow_ros")


@dataclass(frozen=True)
class BackendOptions:
    """How a bundle is run.

    Attributes:
        backend: one of `BACKENDS`.
        precision: of the encoders, one of `PRECISIONS`; "auto" takes a reduced one where the back end gains by it and
            the bundle's manifest holds a check that it passed.
        threads: of the CPU back ends; None leaves the choice to them.
        providers: onnxruntime's execution providers by preference; the CPU where empty.
        device: of torch and TensorRT, such as "cuda:0".
        engine_file_path: folder of TensorRT's engines; None is the bundle's own, else the user's cache.
        force_engine_update: build the engines anew.
        max_workspace_size: bytes that TensorRT may use while it builds.
        verbose: TensorRT says what it does.
    """

    backend: str = AUTO
    precision: str = AUTO
    threads: int | None = None
    providers: tuple[str, ...] = ()
    device: str = "cuda:0"
    engine_file_path: Path | None = None
    force_engine_update: bool = False
    max_workspace_size: int = 268_435_456
    verbose: bool = False

    def __post_init__(self) -> None:
        _require_one_of("backend", self.backend, BACKENDS)
        precisions = PRECISIONS if self.backend == AUTO else (AUTO, *_PRECISIONS_OF[self.backend])
        _require_one_of("precision", self.precision, precisions)
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads must be at least 1, got {self.threads}")
        if self.max_workspace_size < 1:
            raise InputError(f"max_workspace_size must be at least 1 byte, got {self.max_workspace_size}")


def open_backend(bundle: Bundle, options: BackendOptions | None = None, checked: bool = True) -> Backend:
    """What runs a bundle.

    "auto" takes TensorRT where it and a GPU are there and the engines exist or can be built; else OpenVINO where it is
    installed and quicker than onnxruntime, which is measured once and remembered in the user's cache; else onnxruntime.
    Each engine that is passed over is said in the log, with the reason.

    Args:
        bundle: verified bundle.
        options: how to run it; the defaults where None.
        checked: refuse a reduced precision of which the manifest holds no check that passed; False to make that check.

    Raises:
        InputError: what was asked for cannot be had here: a library, a device or a check is missing.
        BundleError: a graph or an engine that does not fit the bundle.
    """
    options = options if options is not None else BackendOptions()
    if checked:
        _require_check(bundle, options)
    if options.backend != AUTO:
        return _OPENERS[options.backend](bundle, options)
    if options.providers:  # they are onnxruntime's
        return _onnxruntime(bundle, options)
    from geoflow_ros.backends.tensorrt.engine import preferred_flavours

    candidates: list[tuple[str, str, Callable[[Bundle, BackendOptions], Backend]]] = [
        (TENSORRT, flavour, partial(_tensorrt, flavour=flavour))
        for flavour in preferred_flavours(bundle, options.engine_file_path)
    ]
    for backend, package, opener in (*candidates, (OPENVINO, OPENVINO, _openvino_where_quicker)):
        if options.precision not in (AUTO, *_PRECISIONS_OF[backend]) or find_spec(package) is None:
            continue
        try:
            return opener(bundle, options)
        except Exception as error:  # an engine that is broken on this machine must not take the others with it
            reason = str(error) if isinstance(error, GeoFlowError) else f"{type(error).__name__}: {error}"
            _log.info("%s is not used: %s", package, reason)
    return _onnxruntime(bundle, options)


def _require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} is '{value}'; it must be one of {', '.join(known)}")


def _tensorrt(bundle: Bundle, options: BackendOptions, flavour: str | None = None) -> Backend:
    from geoflow_ros.backends.tensorrt.backend import TensorRtBackend, has_float16

    # the check may be another back end's: float16 engines also need float16 graphs
    fastest = FLOAT16 if has_float16(bundle, options.engine_file_path, options.device) else FLOAT32
    return TensorRtBackend(
        bundle,
        engines=options.engine_file_path,
        precision=_precision(bundle, options, fastest),
        device=options.device,
        force_engine_update=options.force_engine_update,
        max_workspace_size=options.max_workspace_size,
        verbose=options.verbose,
        flavour=flavour,
    )


def _openvino(bundle: Bundle, options: BackendOptions) -> Backend:
    from geoflow_ros.backends.openvino_backend import OpenVinoBackend

    precision = _openvino_precision(bundle, options)
    return OpenVinoBackend(bundle, precision=precision, threads=options.threads, cache_dir=cache_dir() / "openvino")


def _openvino_precision(bundle: Bundle, options: BackendOptions) -> str:
    from geoflow_ros.backends.openvino_backend import has_bfloat16

    return _precision(bundle, options, BFLOAT16 if has_bfloat16() else FLOAT32)


def _openvino_where_quicker(bundle: Bundle, options: BackendOptions) -> Backend:
    """Whichever of both takes less time for a camera image.

    Raises:
        GeoFlowError: see `OpenVinoBackend`.
    """
    note = cache_dir() / "cpu-backend" / f"{_race_key(bundle, options)}.json"
    winner = _remembered(note)
    if winner == ONNXRUNTIME:
        return _onnxruntime(bundle, options)
    if winner == OPENVINO or options.precision == BFLOAT16:  # only one of them has bfloat16
        return _openvino(bundle, options)
    from geoflow_ros.backends.timing import camera_image_ms

    times_ms = {
        name: camera_image_ms(bundle, replace(options, backend=name, precision=precision))
        for name, precision in ((ONNXRUNTIME, FLOAT32), (OPENVINO, _openvino_precision(bundle, options)))
    }
    winner = min(times_ms, key=lambda name: times_ms[name])
    _log.info(
        "%s is used on this machine: a camera image took %.1f ms with OpenVINO and %.1f ms with onnxruntime",
        winner,
        times_ms[OPENVINO],
        times_ms[ONNXRUNTIME],
    )
    keep(note, json.dumps({"winner": winner, "ground_ms": times_ms}).encode())
    return _OPENERS[winner](bundle, options)


def _race_key(bundle: Bundle, options: BackendOptions) -> str:
    """Of everything that the race's end may depend on."""
    import onnxruntime

    versions = [onnxruntime.__version__, version("openvino")]
    machine = [platform.node(), platform.machine(), os.cpu_count(), options.threads]
    checked = bundle.manifest.allows(BFLOAT16)
    facts = [*versions, *machine, options.precision, checked, bundle.manifest.files[f"{GROUND_ENCODER}.onnx"]]
    return sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _remembered(note: Path) -> str | None:
    try:
        winner = json.loads(note.read_bytes())["winner"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(winner) if winner in (OPENVINO, ONNXRUNTIME) else None


def _onnxruntime(bundle: Bundle, options: BackendOptions) -> Backend:
    if options.precision not in (AUTO, FLOAT32):
        raise InputError(f"onnxruntime runs this bundle in fp32; {options.precision} needs another back end")
    return OnnxRuntimeBackend(bundle, options.providers or None, options.threads)


def _torch(bundle: Bundle, options: BackendOptions) -> Backend:
    from geoflow_ros.backends.torch_backend import TorchBackend

    precision = _precision(bundle, options, FLOAT32)
    return TorchBackend(bundle, device=options.device, precision=precision, threads=options.threads)


def _precision(bundle: Bundle, options: BackendOptions, fastest: str) -> str:
    """What was asked for; with "auto" the fastest that the back end has, if its check passed."""
    if options.precision != AUTO:
        return options.precision
    return fastest if fastest == FLOAT32 or bundle.manifest.allows(fastest) else FLOAT32


def _require_check(bundle: Bundle, options: BackendOptions) -> None:
    precision = options.precision
    if precision in (AUTO, FLOAT32) or bundle.manifest.allows(precision):
        return
    backend = options.backend if options.backend != AUTO else OPENVINO if precision == BFLOAT16 else TENSORRT
    if backend == TENSORRT:
        remedy = f"geoflow export --bundle {bundle.path} --tensorrt --precision {precision}"
    else:
        how = f"--backend {backend} --precision {precision}"
        remedy = f"geoflow evaluate precision --model {bundle.path} {how} --record"
    raise InputError(
        f"the bundle '{bundle.manifest.name}' has no check that {precision} is accurate enough: run `{remedy}`, or "
        "choose fp32"
    )


_OPENERS: dict[str, Callable[[Bundle, BackendOptions], Backend]] = {
    TENSORRT: _tensorrt,
    OPENVINO: _openvino,
    ONNXRUNTIME: _onnxruntime,
    TORCH: _torch,
}
