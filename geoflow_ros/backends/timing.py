"""Measures how long a back end takes for a camera image, in a process of its own.

What a native library leaves in memory, some 80 MB with either of those for the CPU, goes with that process; so does a
crash.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from geoflow_ros.backends.opening import open_named
from geoflow_ros.backends.options import BackendOptions
from geoflow_ros.backends.protocol import Backend
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.errors import BackendError

_FRAMES = 8  # the first is not counted
_TIMEOUT_S = 60.0  # for the process of its own, from start to end


def camera_image_ms(bundle: Bundle, options: BackendOptions) -> float:
    """Measures the median time to encode a camera image.

    Args:
        bundle: verified bundle.
        options: of which backend, precision and threads count.

    Returns:
        Milliseconds.

    Raises:
        BackendError: the back end cannot be had in a process of its own, or took longer than a minute to start.
    """
    asked = [str(bundle.path.resolve()), options.backend, options.precision, str(options.threads or 0)]
    # the child finds this very package, however this process came to it
    folders = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, *asked],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env=environment,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise BackendError(f"{options.backend} ended with {done.returncode}: {said[-1] if said else 'no word'}")
        return float(done.stdout.split()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise BackendError(f"{options.backend} could not be timed: {error}") from error


def _median_ms(bundle: Bundle, backend: Backend) -> float:
    """The median time for a camera image, milliseconds."""
    manifest = bundle.manifest
    generator = np.random.default_rng(0)
    side, height, width = manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px
    tokens = backend.satellite_tokens(generator.integers(0, 256, (1, side, side, 3), np.uint8))
    ground = generator.integers(0, 256, (1, height, width, 3), np.uint8)
    times_ms = []
    for _ in range(_FRAMES):
        begin = perf_counter()
        backend.f_vis(ground, tokens)
        times_ms.append(1e3 * (perf_counter() - begin))
    return median(times_ms[1:])


def main() -> None:
    """Prints the time: what the process of its own runs."""
    path, backend, precision, threads = sys.argv[1:]
    bundle = Bundle.load(Path(path))
    options = BackendOptions(backend, precision, threads=int(threads) or None)
    print(_median_ms(bundle, open_named(backend, bundle, options)))


if __name__ == "__main__":
    main()
