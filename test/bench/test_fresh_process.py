"""Starts and soaks in processes of their own, which end with the process that started them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from geoflow_ros.bench.candidates import Candidate
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bench.start import FreshProcesses, soak_of
from geoflow_ros.bundle import Bundle, IrsSettings
from geoflow_ros.errors import GeoFlowError

PATIENCE_S = 120.0  # on a machine that is busy with other things


def test_the_growth_of_memory_is_the_slope_after_it_has_settled() -> None:
    samples = [(frame, 150.0 if frame < 100 else 200.0 + frame / 500.0) for frame in range(10, 1001, 10)]
    soak = soak_of(120.0, samples)
    assert soak.slope_mib_per_1000 == pytest.approx(2.0)
    assert (soak.frames, soak.start_mib, soak.middle_mib, soak.end_mib) == (1000, 120.0, 201.0, 202.0)


def test_a_fresh_process_tells_its_start_and_its_memory(
    bundle: Bundle, pictures: list[Pictures], tmp_path: Path
) -> None:
    processes = FreshProcesses(bundle, pictures[0], IrsSettings(10, 5), 1, tmp_path)
    onnxruntime = Candidate.of_label("onnxruntime fp32")
    start = processes.start(onnxruntime)
    inside = start.import_s + start.load_s + start.first_answer_s
    assert 0.0 < inside < start.wall_s
    assert start.rss_mib is not None
    assert start.peak_rss_mib is not None
    assert 30.0 < start.rss_mib <= start.peak_rss_mib
    ticks: list[int] = []
    soak = processes.soak(onnxruntime, 30, ticks.append)
    assert sum(ticks) == soak.frames == 30
    assert min(soak.start_mib, soak.middle_mib, soak.end_mib) > 30.0


def test_a_fresh_process_that_fails_tells_why(bundle: Bundle, pictures: list[Pictures], tmp_path: Path) -> None:
    processes = FreshProcesses(bundle, pictures[0], IrsSettings(10, 5), 1, tmp_path)
    (tmp_path / "pictures.npz").unlink()
    with pytest.raises(GeoFlowError, match="onnxruntime fp32 failed: .*pictures.npz"):
        processes.start(Candidate.of_label("onnxruntime fp32"))


SOAKING = """
import sys
from pathlib import Path
from geoflow_ros.bench.candidates import Candidate
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bench.start import FreshProcesses
from geoflow_ros.bench.temporary import temporary_folder
from geoflow_ros.bundle import Bundle, IrsSettings

with temporary_folder() as folder:
    pictures = Pictures.load(Path(sys.argv[2]))
    processes = FreshProcesses(Bundle.load(sys.argv[1]), pictures, IrsSettings(10, 5), 1, folder)
    soak = processes.soak(Candidate.of_label("onnxruntime fp32"), 1_000_000, lambda frames: None)
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_neither_processes_nor_files_outlive_a_bench_however_it_ends(
    number: signal.Signals, bundle: Bundle, pictures: list[Pictures], tmp_path: Path
) -> None:
    file, temporary = tmp_path / "pictures.npz", tmp_path / "temporary"
    pictures[0].save(file)
    temporary.mkdir()
    bench = subprocess.Popen(
        [sys.executable, "-c", SOAKING, str(bundle.path), str(file)],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: len(processes_of(temporary)) == 2)  # what soaks, and what watches over the folder
        assert len(list(temporary.glob("geoflow-*"))) == 1
        bench.send_signal(number)
        bench.wait(timeout=PATIENCE_S)
        wait_until(lambda: not processes_of(temporary))
        wait_until(lambda: not list(temporary.glob("geoflow-*")))  # onnxruntime leaves a file of its own
    finally:
        bench.kill()
        bench.wait()


def processes_of(folder: Path) -> list[int]:
    """The processes with this folder, or one in it, on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
