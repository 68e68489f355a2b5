"""The start of a fresh process: how soon it answers, what memory it takes, and whether that grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import geoflow_ros
from geoflow_ros.bench.candidates import Candidate
from geoflow_ros.bench.machine import device_memory_mib
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bundle import Bundle, IrsSettings
from geoflow_ros.errors import GeoFlowError

_MODULE = "geoflow_ros.bench.fresh_process"
_PACKAGE_ROOT = Path(geoflow_ros.__file__).resolve().parents[1]
_FRAMES_ON_A_PATCH = 20
_SOAK_REPORTS = 200
_SETTLING_SHARE = 0.1  # of a soak, in which allocators still reach their size


@dataclass(frozen=True)
class Start:
    """One start of a process.

    Attributes:
        wall_s: from the command to the answer, the interpreter's own start included.
        import_s, load_s, first_answer_s: parts of it, seen from inside.
        rss_mib, peak_rss_mib: resident memory after the first answer, and the highest until then.
        device_mib: memory taken on the GPU; None without one.
    """

    wall_s: float
    import_s: float
    load_s: float
    first_answer_s: float
    rss_mib: float | None
    peak_rss_mib: float | None
    device_mib: float | None


@dataclass(frozen=True)
class Soak:
    """Resident memory through many frames, with a new patch every now and then.

    Attributes:
        frames: how many.
        start_mib, middle_mib, end_mib: after the first answer, half of the frames, all of them.
        slope_mib_per_1000: growth by least squares, without the first tenth.
    """

    frames: int
    start_mib: float
    middle_mib: float
    end_mib: float
    slope_mib_per_1000: float


class FreshProcesses:
    """Starts processes that run one bundle on one pair of pictures.

    Args:
        bundle, pictures, settings: what they run.
        threads: of the CPU back ends.
        folder: for the pictures and an own cache of compiled graphs, so that the first start is one.
    """

    def __init__(
        self, bundle: Bundle, pictures: Pictures, settings: IrsSettings, threads: int | None, folder: Path
    ) -> None:
        self._pictures, self._cache = folder / "pictures.npz", folder / "cache"
        pictures.save(self._pictures)
        self._request = {
            "model": str(bundle.path.resolve()),
            "pictures": str(self._pictures),
            "hypotheses": settings.hypotheses,
            "iterations": settings.iterations,
            "threads": threads,
            "frames": 0,
            "report_every": 1,
            "frames_on_a_patch": _FRAMES_ON_A_PATCH,
        }

    def start(self, candidate: Candidate) -> Start:
        """Starts once.

        Raises:
            GeoFlowError: the process failed; with what it said last.
        """
        with self._started(candidate, 0, 1) as (start, reports):
            for _ in reports:
                pass
        return start

    def soak(self, candidate: Candidate, frames: int, tick: Callable[[int], object] = lambda frames: None) -> Soak:
        """Runs so many frames, as fast as they go.

        Args:
            candidate: that runs them.
            frames: how many.
            tick: called with the frames that were run since the last call.

        Raises:
            GeoFlowError: the process failed, or the system does not report its memory.
        """
        every = max(1, frames // _SOAK_REPORTS)
        samples = []
        with self._started(candidate, frames, every) as (start, reports):
            for report in reports:
                if "rss_mib" not in report:
                    raise GeoFlowError("this system does not report a process's memory: leave out the soak")
                samples.append((report["frame"], report["rss_mib"]))
                tick(every)
        if start.rss_mib is None or not samples:
            raise GeoFlowError("the soak ended before its first frame")
        return soak_of(start.rss_mib, samples)

    @contextmanager
    def _started(
        self, candidate: Candidate, frames: int, report_every: int
    ) -> Iterator[tuple[Start, Iterator[dict[str, Any]]]]:
        """Yields a process that has answered once; reading its reports makes it go on."""
        request = {**self._request, "candidate": candidate.label, "frames": frames, "report_every": report_every}
        paths = [str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]  # also from a source checkout
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "XDG_CACHE_HOME": str(self._cache)}
        device_before = device_memory_mib()
        with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
            begin = perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, json.dumps(request)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            stdin, stdout = process.stdin, process.stdout

            def reports() -> Iterator[dict[str, Any]]:
                stdin.write("\n")
                stdin.flush()
                for line in stdout:
                    yield json.loads(line)

            try:
                first = stdout.readline()
                wall_s = perf_counter() - begin
                if first:
                    yield _start_of(json.loads(first), wall_s, device_before), reports()
                if process.wait() != 0:
                    log.seek(0)
                    reason = (log.read().strip().splitlines() or ["it wrote no reason"])[-1]
                    raise GeoFlowError(f"a fresh process with {candidate.label} failed: {reason}")
            finally:
                process.kill()
                process.wait()
                stdin.close()
                stdout.close()


def _start_of(report: dict[str, Any], wall_s: float, device_before_mib: float | None) -> Start:
    device_mib = device_memory_mib()
    return Start(
        wall_s=wall_s,
        import_s=report["import_s"],
        load_s=report["load_s"],
        first_answer_s=report["first_answer_s"],
        rss_mib=report.get("rss_mib"),
        peak_rss_mib=report.get("peak_rss_mib"),
        device_mib=None if device_mib is None or device_before_mib is None else device_mib - device_before_mib,
    )


def soak_of(start_mib: float, samples: list[tuple[int, float]]) -> Soak:
    """Computes the figures of (frame, resident MiB) samples in the order of the frames."""
    frames, mib = np.array(samples, dtype=np.float64).T
    settled = frames >= _SETTLING_SHARE * frames[-1]
    slope = np.polyfit(frames[settled], mib[settled], 1)[0] if settled.sum() > 1 else 0.0
    middle = float(np.interp(frames[-1] / 2, frames, mib))
    return Soak(int(frames[-1]), start_mib, middle, float(mib[-1]), float(1000.0 * slope))
