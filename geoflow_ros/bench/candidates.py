"""Every back end in every precision that it has: what a benchmark compares."""

from __future__ import annotations

from dataclasses import dataclass

from geoflow_ros.backends import Backend, BackendOptions, open_backend
from geoflow_ros.backends.choice import ONNXRUNTIME, OPENVINO, TENSORRT, TORCH
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.precision import BFLOAT16, FLOAT16, FLOAT32
from geoflow_ros.errors import InputError

_CPU, _GPU = "cpu", "cuda:0"


@dataclass(frozen=True)
class Candidate:
    """A back end in one precision on one device."""

    backend: str
    precision: str
    device: str

    @property
    def label(self) -> str:
        """For tables and files, such as "openvino bf16"."""
        where = " GPU" if self.backend == TORCH and not self.on_cpu else ""
        return f"{self.backend}{where} {self.precision}"

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the processor."""
        return self.device == _CPU

    @classmethod
    def of_label(cls, label: str) -> Candidate:
        """The candidate of that label.

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


def open_candidate(bundle: Bundle, candidate: Candidate, threads: int | None = None) -> Backend:
    """The back end itself, whether or not the bundle's precision was checked: measuring is how it gets a check.

    Raises:
        InputError: it cannot be had here: a library, a device or a file is missing.
        BundleError: it does not fit the bundle.
        ModuleNotFoundError: torch is not installed.
    """
    options = BackendOptions(candidate.backend, candidate.precision, threads=threads, device=candidate.device)
    return open_backend(bundle, options, checked=False)
