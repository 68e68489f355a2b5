"""The windows of synthetic cities that training draws from: baked ahead in worker processes, replaced one by one.

On a GPU the whole pool lies in its memory and one call renders a batch.
"""

from __future__ import annotations

import multiprocessing
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.training.worker_process import begin_worker
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.orthophoto_windows import OTHER_YEAR_SHARE, Orthophotos
from geoflow_ros.world.parts import PART_COLUMNS, lamps_of
from geoflow_ros.world.places import Poses, Window, city_window, town_window
from geoflow_ros.world.raster import CityRaster
from geoflow_ros.world.render import patch_heights, render_patches, render_views
from geoflow_ros.world.splits import Split
from geoflow_ros.world.windows import FAR_AWAY_M, Windows

PLACES_PER_WINDOW = 256
_PARTS_PER_SLOT = 6144  # upright parts that a slot on the device holds; a window has about half as many

Baked = tuple[CityRaster, Poses]


@dataclass(frozen=True)
class PoolConfig:
    """Which windows there are.

    Attributes:
        seed: of the data; another seed sees other worlds.
        town_share: part of the windows that are of the fixed town; the others are cities of their own.
        size: windows alive at a time.
        workers: processes that bake windows ahead; 0 bakes in the caller.
        in_one: whether all windows lie in one set of tensors on the device, so that one call renders a batch.
        conditions: how hard; they change the windows' appearances.
        orthophotos: what a share of the windows is made of; None: all are of procedural cities.
    """

    seed: int
    town_share: float
    size: int
    workers: int
    in_one: bool
    conditions: Conditions = EASY
    orthophotos: Orthophotos | None = None


@dataclass(frozen=True)
class SlotPoses:
    """Poses in slots of the pool, ordered by slot; `slot` is (n,)."""

    slot: Int64Array
    poses: Poses

    def to(self, device: torch.device) -> tuple[torch.Tensor, ...]:
        """Returns slot, east, north and yaw as tensors, as the renderer takes them."""
        floats = (torch.from_numpy(values).to(device) for values in self.poses.float32())
        return torch.from_numpy(self.slot).to(device), *floats

    def by_slot(self) -> list[tuple[int, tuple[Any, ...]]]:
        """Returns the slots in order, each with what the renderer takes for a batch of its own."""
        groups = []
        for slot in np.unique(self.slot):
            of = self.slot == slot
            only = np.zeros(int(of.sum()), np.int64)
            groups.append((int(slot), (only, *self.poses.take(of).float32())))
        return groups


def _bake(config: PoolConfig, k: int) -> Baked:
    """Bakes the `k`-th training window and chooses its places (runs in worker processes)."""
    cv2.setNumThreads(1)
    seed = Split.TRAINING.seed(config.seed, k)
    rng = np.random.default_rng([seed, 61])
    window = _window(config, seed, rng)
    return window.raster, window.places(rng, PLACES_PER_WINDOW)


def _window(config: PoolConfig, seed: int, rng: np.random.Generator) -> Window:
    photos, conditions = config.orthophotos, config.conditions
    if photos is not None and np.random.default_rng([seed, 65]).random() < photos.share:
        return photos.window(Split.TRAINING, seed, conditions, OTHER_YEAR_SHARE)
    if rng.random() < config.town_share:
        return town_window(rng, seed, conditions=conditions)
    return city_window(seed, seed, conditions=conditions)


class WindowPool:
    """Some windows at a time, in slots: window `k` is in slot `k` modulo the pool's size.

    Args:
        config: which windows.
        device: where pictures are wanted.
    """

    def __init__(self, config: PoolConfig, device: torch.device) -> None:
        self._config, self._device = config, device
        self._futures: OrderedDict[int, Future[Baked]] = OrderedDict()
        self._executor: ProcessPoolExecutor | None = None
        self._numbers: dict[int, int] = {}  # slot -> number of its window
        self._places: dict[int, Poses] = {}
        self._lamps: dict[int, Float64Array] = {}
        self._single: dict[int, Windows] = {}  # slot -> its window alone, where not all lie in one
        self._all: Windows | None = None
        self._is_closed = False

    @property
    def device(self) -> torch.device:
        """Where pictures are wanted."""
        return self._device

    def close(self) -> None:
        """Stops the workers, which end with the window in progress; no window comes after."""
        self._is_closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
            self._futures.clear()

    def hold(self, first: int) -> None:
        """Has the windows `first` to `first + size - 1` in their slots."""
        for stale in [k for k in self._futures if k < first]:
            self._futures.pop(stale).cancel()
        for k in range(first, first + self._config.size):
            slot = k % self._config.size
            if self._numbers.get(slot) == k:
                continue
            raster, places = self._baked(k)
            window = Windows.stack([raster])
            if self._config.in_one:
                self._store(slot, window)
            else:
                self._single[slot] = window
            self._numbers[slot], self._places[slot] = k, places
            self._lamps[slot] = lamps_of(raster.parts.table)

    def place(self, slot: int, number: int) -> tuple[float, float, float]:
        """Returns one of the `PLACES_PER_WINDOW` places of a slot's window: east, north, yaw."""
        places = self._places[slot]
        return places.east_m[number], places.north_m[number], places.yaw_rad[number]

    def lamps(self, slot: int) -> Float64Array:
        """Returns the street lamps of a slot's window, (n, 3): east, north, height."""
        return self._lamps[slot]

    def views(self, camera: Camera, at: SlotPoses) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Renders camera images: rgb, depth and label as in `geoflow_ros.world.render.View`."""

        def render(windows: Windows, *pose: Any) -> tuple[Any, ...]:
            view = render_views(windows, camera, *pose)
            return view.rgb, view.depth_m, view.label

        rgb, depth, label = self._rendered(render, at)
        return rgb, depth, label

    def patches(self, size_px: int, ground_resolution_m: float, at: SlotPoses) -> tuple[torch.Tensor, torch.Tensor]:
        """Renders satellite patches: rgb and label."""

        def render(windows: Windows, *pose: Any) -> tuple[Any, ...]:
            return render_patches(windows, size_px, ground_resolution_m, *pose)

        rgb, label = self._rendered(render, at)
        return rgb, label

    def heights(self, size_px: int, ground_resolution_m: float, at: SlotPoses) -> torch.Tensor:
        """Returns how high what stands on satellite patches is, metres."""

        def render(windows: Windows, *pose: Any) -> tuple[Any, ...]:
            return (patch_heights(windows, size_px, ground_resolution_m, *pose),)

        (height,) = self._rendered(render, at)
        return height

    def _rendered(self, render: Callable[..., tuple[Any, ...]], at: SlotPoses) -> list[torch.Tensor]:
        if self._all is not None:
            return list(render(self._all, *at.to(self._device)))
        parts = [render(self._single[slot], *pose) for slot, pose in at.by_slot()]
        return [torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True)]

    def _baked(self, k: int) -> Baked:
        config = self._config
        if self._is_closed:
            raise CancelledError(f"window {k} is not made: the pool is closed")
        if config.workers == 0:
            return _bake(config, k)
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                config.workers,
                multiprocessing.get_context("spawn"),  # a fork would copy the locks of this process's threads
                initializer=begin_worker,
            )
        for ahead in range(k, k + 2 * config.workers + 1):
            if ahead not in self._futures:
                self._futures[ahead] = self._executor.submit(_bake, config, ahead)
        return self._futures.pop(k).result()

    def _store(self, slot: int, window: Windows) -> None:
        """Copies one window into its slot of the tensors on the device."""
        parts = np.full((1, _PARTS_PER_SLOT, PART_COLUMNS), FAR_AWAY_M, np.float32)
        count = min(window.parts.shape[1], _PARTS_PER_SLOT)
        parts[:, :count] = window.parts[:, :count]
        arrays = {name: a for name, a in vars(replace(window, parts=parts)).items() if name != "side"}
        if self._all is None:
            self._all = Windows(side=window.side, **{name: self._empty(a) for name, a in arrays.items()})
        for name, array in arrays.items():
            n = array.shape[0]
            tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
            getattr(self._all, name)[slot * n : (slot + 1) * n] = tensor

    def _empty(self, array: Any) -> torch.Tensor:
        """Returns room for as many of an array as the pool has slots."""
        shape = (array.shape[0] * self._config.size, *array.shape[1:])
        return torch.zeros(shape, dtype=torch.from_numpy(array[:1]).dtype, device=self._device)
