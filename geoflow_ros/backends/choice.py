"""Which engine runs a bundle: what was asked for, or the quickest that this machine has and the bundle allows."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geoflow_ros.backends.cpu import WorkOfOthers
from geoflow_ros.backends.opening import open_named, open_tensorrt, openvino_precision
from geoflow_ros.backends.options import AUTO, ONNXRUNTIME, OPENVINO, PRECISIONS_OF, TENSORRT, BackendOptions
from geoflow_ros.backends.protocol import Backend
from geoflow_ros.backends.timing import camera_image_ms
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.methods import GEOFLOW, GROUND_ENCODER
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT32
from geoflow_ros.errors import GeoFlowError, InputError
from geoflow_ros.files import keep
from geoflow_ros.resources import cache_dir

_log = logging.getLogger("geoflow_ros")

# A timing counts where other processes took no more than this share of the machine meanwhile, and in any case after so
# many of them.
_BUSY = 0.25
_MOST_TIMINGS = 3


def open_backend(bundle: Bundle, options: BackendOptions | None = None, checked: bool = True) -> Backend:
    """Opens what runs a bundle.

    "auto" takes TensorRT where it and a GPU are there and the engines exist or can be built; else OpenVINO where it is
    installed and quicker than onnxruntime, which is measured and remembered in the user's cache, and measured again
    where the machine had other work to do the first times; else onnxruntime. Each engine that is passed over is said in
    the log, with the reason.

    Args:
        bundle: verified bundle.
        options: how to run it; the defaults where None.
        checked: refuse a reduced precision of which the manifest holds no check that passed; False to make that check.

    Raises:
        InputError: what was asked for cannot be had here: a library, a device or a check is missing.
        BundleError: a bundle of another method than GeoFlow, a graph or an engine that does not fit the bundle.
    """
    bundle.require_method(GEOFLOW)
    options = options if options is not None else BackendOptions()
    if checked:
        _require_check(bundle, options)
    if options.backend != AUTO:
        return open_named(options.backend, bundle, options)
    if options.providers:  # they are onnxruntime's
        return open_named(ONNXRUNTIME, bundle, options)
    for backend, package, opener in _accelerators(bundle, options):
        if options.precision not in (AUTO, *PRECISIONS_OF[backend]) or find_spec(package) is None:
            continue
        try:
            return opener(bundle, options)
        except Exception as error:  # an engine that is broken on this machine must not take the others with it
            reason = str(error) if isinstance(error, GeoFlowError) else f"{type(error).__name__}: {error}"
            _log.info("%s is not used: %s", package, reason)
    return open_named(ONNXRUNTIME, bundle, options)


_Opener = Callable[[Bundle, BackendOptions], Backend]


def _accelerators(bundle: Bundle, options: BackendOptions) -> list[tuple[str, str, _Opener]]:
    """What "auto" tries before onnxruntime, in this order: back end, the package that it needs, how it is opened."""
    from geoflow_ros.backends.tensorrt.engine import preferred_flavours

    flavours = preferred_flavours(bundle, options.engine_file_path)
    tensorrt: list[tuple[str, str, _Opener]] = [
        (TENSORRT, flavour, partial(open_tensorrt, flavour=flavour)) for flavour in flavours
    ]
    return [*tensorrt, (OPENVINO, OPENVINO, _open_quicker_on_cpu)]


def _open_quicker_on_cpu(bundle: Bundle, options: BackendOptions) -> Backend:
    """Opens whichever of OpenVINO and onnxruntime takes less time for a camera image.

    Raises:
        GeoFlowError: see `OpenVinoBackend`.
    """
    note = cache_dir() / "cpu-backend" / f"{_backend_timing_key(bundle, options)}.json"
    remembered = _remembered(note)
    if remembered is not None:
        return open_named(remembered, bundle, options)
    if options.precision == BFLOAT16:  # only one of them has bfloat16
        return open_named(OPENVINO, bundle, options)
    others = WorkOfOthers()
    times_ms = {
        name: camera_image_ms(bundle, replace(options, backend=name, precision=precision))
        for name, precision in ((ONNXRUNTIME, FLOAT32), (OPENVINO, openvino_precision(bundle, options)))
    }
    busy = others.share()
    quicker = min(times_ms, key=lambda name: times_ms[name])
    _log.info(
        "%s is used on this machine: a camera image took %.1f ms with OpenVINO and %.1f ms with onnxruntime",
        quicker,
        times_ms[OPENVINO],
        times_ms[ONNXRUNTIME],
    )
    said = {"quicker": quicker, "ground_ms": times_ms, "work_of_others": busy, "timings": _timings(note) + 1}
    keep(note, json.dumps(said).encode())
    return open_named(quicker, bundle, options)


def _backend_timing_key(bundle: Bundle, options: BackendOptions) -> str:
    """A digest of everything that decides which back end is quicker."""
    import onnxruntime

    versions = [onnxruntime.__version__, version("openvino")]
    machine = [platform.node(), platform.machine(), os.cpu_count(), options.threads]
    checked = bundle.manifest.allows(BFLOAT16)
    facts = [*versions, *machine, options.precision, checked, bundle.manifest.files[f"{GROUND_ENCODER}.onnx"]]
    return sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _remembered(note: Path) -> str | None:
    """The back end that was quicker when both were timed; None where that is not known, or has to be seen again.

    A machine that is busy at each of several starts is a busy machine: what was quicker on it then is the answer.
    """
    said = _note(note)
    quicker, busy = said.get("quicker"), said.get("work_of_others")
    if isinstance(busy, float) and busy > _BUSY and _timings(note) < _MOST_TIMINGS:
        return None
    return str(quicker) if quicker in (OPENVINO, ONNXRUNTIME) else None


def _timings(note: Path) -> int:
    """How often both were timed."""
    number = _note(note).get("timings", 0)
    return number if isinstance(number, int) else 0


def _note(note: Path) -> dict[str, Any]:
    try:
        said = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


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
