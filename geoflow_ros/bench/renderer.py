"""Speed of the synthetic world: camera frames and satellite patches a second on this machine."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from geoflow_ros.errors import InputError
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.pairs import city_window, sample_places
from geoflow_ros.world.render import Windows, render_patches, render_views
from geoflow_ros.world.splits import Split

_SIZES = (("full", (256, 1024), 512), ("half", (128, 512), 256))
_PATCH_M = 100.3
RENDERED_FRAMES = 40  # by default


def bench_renderer(frames: int, threads: int) -> dict[str, Any]:
    """Render one frame and one patch at a time in ``threads`` threads, at full and half size.

    Args:
        frames: of each sort.
        threads: that render at a time.

    Returns:
        By size: ``frames_per_second`` and ``patches_per_second``; and ``bake_s``, the time of a 384 m window.

    Raises:
        InputError: if nothing would be measured.
    """
    if frames < 1 or threads < 1:
        raise InputError(f"a benchmark needs at least one frame and one thread, got {frames} and {threads}")
    seed = Split.VALIDATION.seed(0, 0)
    start = time.perf_counter()
    window = city_window(seed, seed)
    bake_s = time.perf_counter() - start
    windows = Windows.stack([window.raster])
    places = sample_places(window, np.random.default_rng(0), frames)
    zero = np.zeros(1, np.int64)
    poses = [
        tuple(np.array([v], np.float32) for v in pose)
        for pose in zip(places.east_m, places.north_m, places.yaw_rad, strict=True)
    ]
    result: dict[str, Any] = {"threads": threads, "frames": frames, "bake_s": round(bake_s, 3)}
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the threads here are the parallelism
    try:
        with ThreadPoolExecutor(threads) as pool:
            for name, (height, width), patch in _SIZES:
                camera = Camera.perspective(width, height)

                def view(pose: tuple[Any, ...], camera: Camera = camera) -> None:
                    render_views(windows, camera, zero, *pose)

                def satellite(pose: tuple[Any, ...], size: int = patch) -> None:
                    render_patches(windows, size, _PATCH_M / size, zero, *pose)

                rates = {}
                for key, work in (("frames_per_second", view), ("patches_per_second", satellite)):
                    list(pool.map(work, poses[:2]))  # warm
                    start = time.perf_counter()
                    list(pool.map(work, poses))
                    rates[key] = round(frames / (time.perf_counter() - start), 1)
                result[name] = {"ground": [height, width], "satellite": patch, **rates}
    finally:
        cv2.setNumThreads(before)
    return result
