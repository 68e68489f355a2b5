"""Which back ends and precisions there are, and how a bundle is run with one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from geoflow_ros.backends.tensorrt.builder import WORKSPACE_BYTES
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT16, FLOAT32
from geoflow_ros.errors import InputError

AUTO = "auto"
TENSORRT, OPENVINO, ONNXRUNTIME, TORCH = "tensorrt", "openvino", "onnxruntime", "torch"
BACKENDS = (AUTO, TENSORRT, OPENVINO, ONNXRUNTIME, TORCH)
PRECISIONS = (AUTO, FLOAT32, BFLOAT16, FLOAT16)
PRECISIONS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType({
    TENSORRT: (FLOAT32, FLOAT16),
    OPENVINO: (FLOAT32, BFLOAT16),
    ONNXRUNTIME: (FLOAT32,),
    TORCH: (FLOAT32, BFLOAT16, FLOAT16),
})  # fmt: skip
"""What each back end can run the encoders in."""


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
    max_workspace_size: int = WORKSPACE_BYTES
    verbose: bool = False

    def __post_init__(self) -> None:
        _require_one_of("backend", self.backend, BACKENDS)
        precisions = PRECISIONS if self.backend == AUTO else (AUTO, *PRECISIONS_OF[self.backend])
        _require_one_of("precision", self.precision, precisions)
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads must be at least 1, got {self.threads}")
        if self.max_workspace_size < 1:
            raise InputError(f"max_workspace_size must be at least 1 byte, got {self.max_workspace_size}")


def _require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} is '{value}'; it must be one of {', '.join(known)}")
