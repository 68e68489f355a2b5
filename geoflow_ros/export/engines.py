"""`geoflow export --tensorrt`: engines of a bundle's graphs, for one or several kinds of GPU.

SiLU is in the graphs as Sigmoid and Mul, which torch writes up to opset 23 and which TensorRT's parser fuses into the
convolution before. ONNX's own operator Swish (opset 24) is known to that parser since 11.0 only. Public reports of
TensorRT 10.3 on Jetson Orin failing at this very activation ("Could not find any implementation" for a Sigmoid:
NVIDIA-ISAAC-ROS/isaac_ros_common issue 223, with 10.7 it built; ultralytics/ultralytics issue 21281) show a device
that had less memory free than the kernels asked for, so build while nothing else runs; the second found that leaving
out the tactic source JIT_CONVOLUTIONS helps.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from geoflow_ros.backends.protocol import Backend
from geoflow_ros.backends.tensorrt.api import TENSORRT, TENSORRT_RTX, TensorRt, installed_flavours
from geoflow_ros.backends.tensorrt.builder import WORKSPACE_BYTES
from geoflow_ros.backends.tensorrt.cuda import Cuda
from geoflow_ros.backends.tensorrt.engine import (
    FOLDER,
    TURING,
    EngineRequest,
    Target,
    build,
    bundle_in,
    float16_folder,
    write_engine,
)
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.methods import GEOFLOW
from geoflow_ros.bundle.precision import FEWEST_PAIRS, FLOAT16, FLOAT32, PrecisionCheck
from geoflow_ros.errors import BundleError, InputError
from geoflow_ros.export.float16 import Float16OnCpu, write_float16_bundle
from geoflow_ros.files import replace_folder
from geoflow_ros.progress import with_progress

PRECISIONS = (FLOAT32, FLOAT16)
DEFAULT_WORKSPACE_MIB = WORKSPACE_BYTES >> 20


def export_engines(
    bundle_dir: Path,
    *,
    precision: str = FLOAT32,
    compute_capabilities: Sequence[str] = (),
    workspace_mib: int = DEFAULT_WORKSPACE_MIB,
    out: Path | None = None,
    check: Callable[[Backend], PrecisionCheck] | None = None,
    verbose: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Builds the engines of a bundle and writes each with its record (see `backends/tensorrt/engine.py`).

    Args:
        bundle_dir: an exported bundle.
        precision: of the encoders, "fp32" or "fp16".
        compute_capabilities: of the GPUs, such as ["sm86", "sm120"]; those of the GPU at hand where empty. tensorrt_rtx
            builds for any that it knows, without a GPU; tensorrt for the GPU at hand alone.
        workspace_mib: limit for building, see `WORKSPACE_BYTES`.
        out: folder for the engines; the bundle's own `engines/` where None, in which the back end finds them.
        check: compares a back end that has float16's roundings with float32 (`evaluation.precision.compare`). Asked
            once for a bundle: its answer is kept beside the float16 graphs and in the bundle's manifest.
        verbose: log what TensorRT says.
        progress: show a bar.

    Returns:
        The engines' files.

    Raises:
        InputError: neither TensorRT is installed, it does not build for what was asked, or a folder cannot be written.
        BundleError: not a bundle, float16 for a method that has no check of it, a graph that cannot be built, or
            float16 costs too much accuracy: the message has the figures.
    """
    bundle = Bundle.load(bundle_dir)
    if precision == FLOAT16:
        bundle.require_method(GEOFLOW)  # nothing else has a check of float16's accuracy
    root = bundle.path / FOLDER if out is None else out
    if workspace_mib < 1:
        raise InputError(f"the workspace must be at least 1 MiB, got {workspace_mib}")
    targets = _targets([_normalized(capability) for capability in compute_capabilities], verbose)
    try:
        work = []
        for api, target in targets:
            half = precision == FLOAT16
            graphs = _float16_bundle(bundle, target.compute_capability, root, check) if half else bundle
            work += [
                (api, EngineRequest(graphs, graph, target, precision, workspace_mib << 20))
                for graph in graphs.manifest.graphs
            ]
        paths = []
        for api, request in with_progress(work, "building", "engines", is_shown=progress):
            plan, record = build(api, request)
            paths.append(write_engine(root / request.target.folder_name(precision), plan, record))
    except OSError as error:
        raise InputError(f"{root} cannot be written ({error.strerror or error}): name another folder") from error
    return paths


def _normalized(compute_capability: str) -> str:
    """Writes "8.6", "86", "sm_86" and "SM86" as "sm86"."""
    match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", compute_capability.strip().lower())
    if match is None:
        raise InputError(f"'{compute_capability}' is not a compute capability: give it as in sm86, or 8.6")
    return f"sm{match[1]}{match[2]}"


def _targets(wanted: list[str], verbose: bool) -> list[tuple[TensorRt, Target]]:
    """What builds for each compute capability: tensorrt where it is that of the GPU at hand, else tensorrt_rtx."""
    flavours = installed_flavours()
    if not flavours:
        raise InputError("neither tensorrt nor tensorrt_rtx is installed: install geoflow_ros[rtx], or tensorrt")
    try:
        gpu = Cuda()
        here, name = gpu.compute_capability, gpu.name
    except InputError as error:
        if not wanted:
            raise InputError(f"{error}; or name the vehicle's GPU, such as --compute-capability sm86") from error
        here, name = "", ""
    targets = []
    apis: dict[str, TensorRt] = {}
    for capability in dict.fromkeys(wanted or [here]):
        flavour = TENSORRT if TENSORRT in flavours and capability == here else flavours[-1]
        if flavour != TENSORRT_RTX and capability != here:
            raise InputError(
                f"tensorrt builds for the GPU at hand ({here or 'none'}), not for {capability}: build on the machine "
                "that has one, or install tensorrt_rtx"
            )
        api = apis.setdefault(flavour, apis.get(flavour) or TensorRt(flavour, verbose))
        if api.builds_without_gpu and capability not in api.compute_capabilities:
            raise InputError(f"{api.name} builds for {', '.join(api.compute_capabilities)}, not for {capability}")
        targets.append((api, Target.of(api, capability, name if flavour == TENSORRT else None)))
    return targets


def _float16_bundle(
    bundle: Bundle, compute_capability: str, root: Path, check: Callable[[Backend], PrecisionCheck] | None
) -> Bundle:
    """The float16 graphs in `root`, made and checked unless they are there and were."""
    name = float16_folder(compute_capability)
    try:
        half = bundle_in(bundle, FLOAT16, compute_capability, [root])
    except BundleError:
        half = None  # none yet, or of other weights
    passed = () if half is None else [check for check in half.manifest.precision_checks if check.passes]
    if half is not None and passed:
        if not bundle.manifest.allows(FLOAT16):  # it was put back or replaced since
            _note(bundle, passed[0])
        return half
    if check is None:
        raise InputError("float16 engines need a check of their accuracy, and none was given")
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        half = write_float16_bundle(bundle, folder, products=compute_capability == TURING)
        found = check(Float16OnCpu(half))
        if not found.passes:
            raise BundleError(
                f"float16 is not accurate enough for {bundle.path} on {FEWEST_PAIRS} pairs or more: export it in "
                f"{FLOAT32} ({found.describe()})"
            )
        half.rewrite_manifest(half.manifest.with_check(found))
        replace_folder(folder, root / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _note(bundle, found)
    return Bundle.load(root / name)


def _note(bundle: Bundle, found: PrecisionCheck) -> None:
    """Writes the check into the bundle's manifest as it is now: others may have written to it while the check ran."""
    now = Bundle.load(bundle.path)
    now.rewrite_manifest(now.manifest.with_check(found))
