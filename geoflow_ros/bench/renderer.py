"""Speed of the synthetic world: camera frames and satellite patches a second on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array
from geoflow_ros.bundle.image_sizes import IMAGE_SIZES, PATCH_EXTENT_M, ImageSize
from geoflow_ros.errors import InputError
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.places import city_window, sample_places
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.splits import Split
from geoflow_ros.world.windows import Windows

_SIZES = ("full", "half")
_WARM_UP = 2  # poses that are rendered before the clock starts
RENDERED_FRAMES = 40  # by default

_Pose = tuple[Float32Array, ...]


def bench_renderer(frames: int, threads: int) -> dict[str, Any]:
    """Renders one frame and one patch at a time in each of several threads, at full and half size.

    Args:
        frames: of each sort.
        threads: that render at a time.

    Returns:
        By size: `frames_per_second` and `patches_per_second`; and `bake_s`, the time of a window of a city.

    Raises:
        InputError: nothing would be measured.
    """
    if frames < 1 or threads < 1:
        raise InputError(f"a benchmark needs at least one frame and one thread, got {frames} and {threads}")
    seed = Split.VALIDATION.seed(0, 0)
    start = time.perf_counter()
    window = city_window(seed, seed)
    bake_s = time.perf_counter() - start
    windows = Windows.stack([window.raster])
    places = sample_places(window, np.random.default_rng(0), frames)
    poses = [
        tuple(np.array([value], np.float32) for value in pose)
        for pose in zip(places.east_m, places.north_m, places.yaw_rad, strict=True)
    ]
    result: dict[str, Any] = {"threads": threads, "frames": frames, "bake_s": round(bake_s, 3)}
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the threads here are the parallelism
    try:
        with ThreadPoolExecutor(threads) as pool:
            for name in _SIZES:
                result[name] = _render_in_size(pool, windows, poses, IMAGE_SIZES[name])
    finally:
        cv2.setNumThreads(before)
    return result


def _render_in_size(pool: Executor, windows: Windows, poses: list[_Pose], size: ImageSize) -> dict[str, Any]:
    camera = Camera.perspective(size.ground_width_px, size.ground_height_px)
    first_window = np.zeros(1, np.int64)

    def view(pose: _Pose) -> None:
        render_views(windows, camera, first_window, *pose)

    def satellite(pose: _Pose) -> None:
        render_patches(windows, size.satellite_px, PATCH_EXTENT_M / size.satellite_px, first_window, *pose)

    return {
        "ground": [size.ground_height_px, size.ground_width_px],
        "satellite": size.satellite_px,
        "frames_per_second": _rate(pool, view, poses),
        "patches_per_second": _rate(pool, satellite, poses),
    }


def _rate(pool: Executor, work: Callable[[_Pose], None], poses: list[_Pose]) -> float:
    """Poses a second."""
    list(pool.map(work, poses[:_WARM_UP]))
    start = time.perf_counter()
    list(pool.map(work, poses))
    return round(len(poses) / (time.perf_counter() - start), 1)
