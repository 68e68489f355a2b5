"""Every back end in every precision that it has: what a benchmark compares."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from geoflow_ros.backends import Backend, BackendOptions, open_backend
from geoflow_ros.backends.cpu import has_bfloat16
from geoflow_ros.backends.options import ONNXRUNTIME, OPENVINO, TENSORRT, TORCH
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.manifest import CHECKPOINT_FOLDER
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT16, FLOAT32
from geoflow_ros.errors import BackendError, BundleError, InputError

_CPU, _GPU = "cpu", "cuda:0"

UNAVAILABLE = (InputError, BundleError, BackendError, ModuleNotFoundError)
"""The errors of a back end that cannot run here: it is left out, and the others are measured."""


@dataclass(frozen=True)
class Candidate:
    """A back end in one precision on one device."""

    backend: str
    precision: str
    device: str

    @property
    def label(self) -> str:
        """The name in tables and files, such as "openvino bf16"."""
        where = " GPU" if self.backend == TORCH and not self.on_cpu else ""
        return f"{self.backend}{where} {self.precision}"

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the processor."""
        return self.device == _CPU

    @classmethod
    def of_label(cls, label: str) -> Candidate:
        """Finds the candidate of that label.

        Raises:
            InputError: there is none.
        """
        for candidate in CANDIDATES:
            if candidate.label == label:
                return candidate
        known = ", ".join(f"'{candidate.label}'" for candidate in CANDIDATES)
        raise InputError(f"'{label}' is no back end of the bench: choose from {known}")


CANDIDATES = (
    Candidate(ONNXRUNTIME, FLOAT32, _CPU),
    Candidate(OPENVINO, FLOAT32, _CPU),
    Candidate(OPENVINO, BFLOAT16, _CPU),
    Candidate(TORCH, FLOAT32, _CPU),
    Candidate(TORCH, BFLOAT16, _CPU),
    Candidate(TORCH, FLOAT32, _GPU),
    Candidate(TORCH, FLOAT16, _GPU),
    Candidate(TENSORRT, FLOAT32, _GPU),
    Candidate(TENSORRT, FLOAT16, _GPU),
)


def require_available(bundle: Bundle, candidate: Candidate) -> None:
    """Refuses a back end that cannot run here, within seconds: nothing is loaded, compiled or built.

    Args:
        bundle: that it would run, in its own image size.
        candidate: the back end in question.

    Raises:
        InputError: a library, a device, instructions of the CPU or the bundle's checkpoint are missing.
        ModuleNotFoundError: torch is not installed.
    """
    if candidate.precision == BFLOAT16 and candidate.on_cpu and not has_bfloat16():
        raise InputError("this CPU has no bfloat16 instructions (AVX-512 BF16, AMX): measure fp32 instead")
    if candidate.backend == OPENVINO:
        from geoflow_ros.backends.openvino_engine import openvino_core

        openvino_core()
    elif candidate.backend == TORCH:
        _require_torch(bundle, candidate)
    elif candidate.backend == TENSORRT:
        _require_tensorrt(candidate)


def _require_torch(bundle: Bundle, candidate: Candidate) -> None:
    if find_spec("torch") is None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    if not (bundle.path / CHECKPOINT_FOLDER).is_dir():
        raise InputError(
            f"{bundle.path} came without the folder {CHECKPOINT_FOLDER}/ that torch runs from: export it with "
            "`geoflow export --with-checkpoint`"
        )
    if candidate.on_cpu:
        return
    import torch

    if not torch.cuda.is_available():
        raise InputError(f"torch {torch.__version__} finds no CUDA GPU: install the driver and a CUDA build of torch")


def _require_tensorrt(candidate: Candidate) -> None:
    from geoflow_ros.backends.tensorrt.api import installed_flavours
    from geoflow_ros.backends.tensorrt.cuda import Cuda

    if not installed_flavours():
        raise InputError("neither tensorrt nor tensorrt_rtx is installed: see docs/backends.md")
    Cuda(candidate.device)


def reason_of(error: Exception) -> str:
    """Says in one line why a back end cannot run: the text of one of `UNAVAILABLE`."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    return " ".join(str(error).split())


def open_candidate(bundle: Bundle, candidate: Candidate, threads: int | None = None) -> Backend:
    """Opens the back end, whether or not the bundle's precision was checked: measuring is how it gets a check.

    Raises:
        InputError: it cannot be had here: a library, a device or a file is missing.
        BundleError: it does not fit the bundle.
        ModuleNotFoundError: torch is not installed.
    """
    options = BackendOptions(candidate.backend, candidate.precision, threads=threads, device=candidate.device)
    return open_backend(bundle, options, checked=False)
