"""The machine that a benchmark ran on: what it is, and the most that it does."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from geoflow_ros import __version__
from geoflow_ros.backends.cpu import CPU_INFO, cpu_flags, has_bfloat16

_PACKAGES = (
    "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt",
    "tensorrt-rtx-cu12", "tensorrt_rtx", "cuda-python", "onnx",
)  # fmt: skip
_VECTOR_UNITS = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2", "asimd", "bf16")
_REPEATS = 10


@dataclass(frozen=True)
class Peaks:
    """The most that this machine was seen to do, with all the threads that this process may use.

    Attributes:
        fp32_gflops: of a large matrix product (BLAS), 10^9 floating-point operations a second.
        bf16_gflops: the same in bfloat16 by torch; None without torch, or where the CPU has no bfloat16 instructions.
        copy_gb_s: of copying memory far larger than the caches, bytes read and written, 10^9 a second.
    """

    fp32_gflops: float
    bf16_gflops: float | None
    copy_gb_s: float

    def or_better(self, other: Peaks) -> Peaks:
        """Returns the higher of two measurements: something else may have run beside one of them."""
        bf16 = [value for value in (self.bf16_gflops, other.bf16_gflops) if value is not None]
        return Peaks(
            max(self.fp32_gflops, other.fp32_gflops),
            max(bf16) if bf16 else None,
            max(self.copy_gb_s, other.copy_gb_s),
        )


def describe_machine() -> dict[str, Any]:
    """Returns processor, memory, accelerator and versions."""
    installed = {name: found for name in _PACKAGES if (found := _version(name))}
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "vector_units": [unit for unit in _VECTOR_UNITS if unit in cpu_flags()],
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "gpu": _gpu_name(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": {"geoflow_ros": __version__, "python": platform.python_version(), **installed},
    }


def cores() -> int:
    """Counts the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_peaks(largest: int = 2048, megabytes: int = 256) -> Peaks:
    """Measures for a few seconds.

    Args:
        largest: rows and columns of the matrices; smaller ones are tried too, which suit some libraries better.
        megabytes: that are copied.
    """
    sizes = [size for size in (512, 1024, 2048) if size <= largest]
    return Peaks(max(map(_fp32_gflops, sizes)), _bf16_gflops(sizes), _copy_gb_s(megabytes))


def _fp32_gflops(size: int) -> float:
    a = np.random.default_rng(0).random((size, size), dtype=np.float32)
    out = np.empty_like(a)
    return 2.0 * size**3 / _best_s(lambda: np.matmul(a, a, out=out)) / 1e9


def _bf16_gflops(sizes: Sequence[int]) -> float | None:
    if find_spec("torch") is None or not has_bfloat16():
        return None
    import torch

    def gflops(size: int) -> float:
        a = torch.rand(size, size, dtype=torch.bfloat16)
        return 2.0 * size**3 / _best_s(lambda: torch.matmul(a, a)) / 1e9

    return max(map(gflops, sizes))


def _copy_gb_s(megabytes: int) -> float:
    """Copies with one thread a core, each in a part of its own: a single one seldom fills the memory bus."""
    threads = cores()
    source = np.ones((threads, megabytes * 250_000 // threads), np.float32)
    target = np.zeros_like(source)
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(lambda thread: np.copyto(target[thread], source[thread]), range(threads)))

        return 2.0 * source.nbytes / _best_s(copy) / 1e9


def _best_s(work: Callable[[], object]) -> float:
    """Returns the seconds of the quickest of a few runs: the peak, not the usual."""
    work()
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def device_memory_mib() -> float | None:
    """Returns the MiB in use on the first GPU, by all processes; None without nvidia-smi."""
    answer = _nvidia_smi("memory.used")
    return float(answer) if answer else None


def _gpu_name() -> str | None:
    return _nvidia_smi("name,driver_version")


def _nvidia_smi(query: str) -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    line = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return line[1] if line else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
