"""Engines on disk: where they lie, what they were made from, and whether they may be used.

::

    engines/<flavour>-<compute capability>-<precision>/<graph>.engine   what TensorRT made
                                                       <graph>.json     its record (`EngineRecord`)
    engines/onnx-fp16/                                                  the same bundle in float16 (`float16_folder`)
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from geoflow_ros.backends.tensorrt.api import TensorRt, installed_flavours
from geoflow_ros.backends.tensorrt.builder import PROFILES, build_engine
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.precision import FLOAT32
from geoflow_ros.errors import BundleError, InputError
from geoflow_ros.files import locked, write_atomically
from geoflow_ros.resources import cache_dir

FOLDER = "engines"
TURING = "sm75"
FLOAT16_OF = "float16_of"
"""In a float16 bundle's `training`: the checksums of the float32 files that it was made from."""

Loaded = TypeVar("Loaded")

_log = logging.getLogger("geoflow_ros")


@dataclass(frozen=True)
class Target:
    """Where an engine is to run.

    Attributes:
        flavour, version: of the TensorRT that builds and runs it.
        compute_capability: as in "sm86".
        gpu: the GPU's name; None where an engine is built without one (tensorrt_rtx).
    """

    flavour: str
    version: str
    compute_capability: str
    gpu: str | None

    @classmethod
    def of(cls, api: TensorRt, compute_capability: str, gpu: str | None) -> Target:
        """Returns what `api` builds for."""
        return cls(api.flavour, api.version, compute_capability, gpu)

    def folder_name(self, precision: str) -> str:
        """The name of its engines' folder, inside `engines/`."""
        return f"{self.flavour}-{self.compute_capability}-{precision}"


@dataclass(frozen=True)
class EngineRecord:
    """The JSON file beside an engine.

    Attributes:
        graph: its name in `manifest.GRAPHS`.
        onnx_sha256: of the file that it was built from.
        target: what it runs on.
        precision: of the encoders, "fp32" or "fp16"; the head is float32 in both.
        profiles: smallest, usual and largest size of each dynamic axis.
        workspace_bytes: limit that it was built with.
        built_at: UTC, ISO 8601.
        build_seconds: how long that took.
        engine_sha256: of the engine's own bytes.
    """

    graph: str
    onnx_sha256: str
    target: Target
    precision: str
    profiles: Mapping[str, tuple[int, int, int]]
    workspace_bytes: int
    built_at: str
    build_seconds: float
    engine_sha256: str

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self) | {"profiles": dict(self.profiles)}, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> EngineRecord:
        """Reads the file beside an engine.

        Raises:
            BundleError: it is missing or not such a file.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            content["target"] = Target(**content["target"])
            content["profiles"] = {axis: tuple(sizes) for axis, sizes in content["profiles"].items()}
            return cls(**content)
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error.strerror})") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BundleError(f"{path} is not the record of an engine ({error})") from error


@dataclass(frozen=True)
class EngineRequest:
    """One engine as it is wanted.

    Attributes:
        bundle: of float32 or, for "fp16", of float16 graphs (see `bundle_in`).
        graph: its name in `manifest.GRAPHS`.
        target: what it is to run on.
        precision: "fp32" or "fp16".
        workspace_bytes: limit for building.
    """

    bundle: Bundle
    graph: str
    target: Target
    precision: str
    workspace_bytes: int

    @property
    def onnx_sha256(self) -> str:
        """The checksum of the graph's file, as the manifest says and `Bundle.load` checked."""
        return self.bundle.manifest.files[f"{self.graph}.onnx"]

    def mismatch(self, record: EngineRecord) -> str:
        """Says why an engine with this record cannot be used; empty where it can."""
        wanted, found = self.target, record.target
        if record.graph != self.graph:
            return f"it is the {record.graph}"
        if record.onnx_sha256 != self.onnx_sha256:
            return "it was built from other weights"
        if record.precision != self.precision:
            return f"it is {record.precision}, not {self.precision}"
        if (found.flavour, found.version) != (wanted.flavour, wanted.version):
            return f"it was built by {found.flavour} {found.version}, here is {wanted.flavour} {wanted.version}"
        if found.compute_capability != wanted.compute_capability:
            return f"it is for {found.compute_capability}, this GPU is {wanted.compute_capability}"
        if found.gpu is not None and wanted.gpu is not None and found.gpu != wanted.gpu:
            return f"it was timed on '{found.gpu}', this GPU is '{wanted.gpu}'"
        if record.profiles != PROFILES:
            return "it was built for other numbers of cameras or hypotheses"
        return ""


def float16_folder(compute_capability: str) -> str:
    """The float16 graphs' folder, inside `engines/`: Turing's compute more in float16 (see export/float16.py)."""
    return f"onnx-fp16-{TURING}" if compute_capability == TURING else "onnx-fp16"


def bundle_in(bundle: Bundle, precision: str, compute_capability: str, roots: Sequence[Path]) -> Bundle:
    """The bundle whose graphs have this precision: itself, or the float16 one in the first of `roots` that has it.

    Raises:
        BundleError: there is none, or it was made from other weights.
    """
    if precision == FLOAT32:
        return bundle
    for root in roots:
        folder = root / float16_folder(compute_capability)
        if folder.is_dir():
            half = Bundle.load(folder)
            if half.manifest.training.get(FLOAT16_OF) == dict(bundle.manifest.files):
                return half
    raise BundleError(
        f"{bundle.path} has no float16 graphs of these weights: run `geoflow export --bundle {bundle.path} --tensorrt "
        f"--precision {precision} --compute-capability {compute_capability}`, or choose {FLOAT32}"
    )


def engine_roots(bundle: Bundle, engines: Path | None) -> tuple[Path, ...]:
    """Where engines are looked for, in this order; new ones are written to the last.

    Args:
        bundle: of float32.
        engines: the user's choice; None for the bundle's own, which the back end only reads, and the user's cache.
    """
    if engines is not None:
        return (engines,)
    files = json.dumps(dict(bundle.manifest.files), sort_keys=True)
    return bundle.path / FOLDER, cache_dir() / FOLDER / sha256(files.encode()).hexdigest()[:16]


def preferred_flavours(bundle: Bundle, engines: Path | None) -> tuple[str, ...]:
    """The TensorRTs of this Python, those of which there are engines first; arguments as of `engine_roots`."""
    roots = engine_roots(bundle, engines)
    return tuple(sorted(installed_flavours(), key=lambda name: not any(any(r.glob(f"{name}-sm*")) for r in roots)))


def read_engine(folder: Path, request: EngineRequest) -> bytes:
    """Reads the bytes of an engine that fits.

    Raises:
        BundleError: there is none, it is cut short or changed, or it was made for something else.
    """
    path = folder / f"{request.graph}.engine"
    try:
        with locked(folder, shared=True):
            record = EngineRecord.read(path.with_suffix(".json"))
            plan = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror})") from error
    reason = request.mismatch(record)
    if not reason and sha256(plan).hexdigest() != record.engine_sha256:
        reason = "it is cut short or changed" if plan else "it is empty"
    if reason:
        raise BundleError(f"{path} cannot be used: {reason}")
    return plan


def write_engine(folder: Path, plan: bytes, record: EngineRecord) -> Path:
    """Writes both files, so that a reader finds a pair that belongs together.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.graph}.engine"
    with locked(folder):
        write_atomically(path, plan)
        write_atomically(path.with_suffix(".json"), record.to_json().encode())
    return path


def build(api: TensorRt, request: EngineRequest) -> tuple[bytes, EngineRecord]:
    """Builds a new engine and its record.

    Raises:
        InputError, BundleError: see `build_engine`.
    """
    begin = time.monotonic()
    plan = build_engine(
        api,
        request.bundle.graph_path(request.graph),
        request.bundle.manifest.tensors[request.graph],
        compute_capability=request.target.compute_capability,
        gpu=request.target.gpu,
        workspace_bytes=request.workspace_bytes,
    )
    record = EngineRecord(
        graph=request.graph,
        onnx_sha256=request.onnx_sha256,
        # with tensorrt_rtx the GPU at hand has no part in what is built
        target=replace(request.target, gpu=None) if api.builds_without_gpu else request.target,
        precision=request.precision,
        profiles=dict(PROFILES),
        workspace_bytes=request.workspace_bytes,
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=round(time.monotonic() - begin, 2),
        engine_sha256=sha256(plan).hexdigest(),
    )
    return plan, record


def load_or_build(
    api: TensorRt,
    request: EngineRequest,
    roots: Sequence[Path],
    load: Callable[[bytes], Loaded],
    *,
    force: bool = False,
    may_build: bool = True,
) -> Loaded:
    """Loads the engine from the first of `roots` that has one that fits, else a new one.

    A new engine is kept in the last of `roots`; where that cannot be written it is used all the same, with a warning:
    the next start builds it again.

    Args:
        api: what builds.
        request: what is wanted.
        roots: see `engine_roots`.
        load: makes of the bytes what the caller needs; a BundleError from it means that the engine does not fit.
        force: build even where there is one.
        may_build: False where a missing engine is an error.

    Raises:
        BundleError: no engine fits and none may or can be built; the reasons are in the message.
        InputError: this TensorRT cannot build here.
    """
    name = request.target.folder_name(request.precision)
    reasons = []
    for root in () if force else roots:
        try:
            return load(read_engine(root / name, request))
        except BundleError as error:
            reasons.append(str(error))
    why = reasons[0] if reasons else "as asked for"
    if not may_build:
        raise BundleError(f"{'; '.join(reasons) or 'no engine'}: export it again with `geoflow export --tensorrt`")
    _log.info("building the engine of the %s with %s (%s)", request.graph, api.name, why)
    try:
        plan, record = build(api, request)
    except InputError as error:
        raise InputError(f"{why}, and {error}") from error
    try:
        write_engine(roots[-1] / name, plan, record)
    except OSError as error:
        _log.warning(
            "the new engine cannot be kept in %s (%s): it is built again at the next start", roots[-1], error.strerror
        )
    return load(plan)
