"""Training pairs from ever new synthetic cities, and from the fixed town under ever new appearances.

Windows are baked ahead in worker processes and stay in a pool; each batch draws its places from the windows that are in
the pool at that step. Which windows those are, and which places, follows from the seed and the batch's number alone.
On a GPU the whole pool lies in its memory and one call renders a batch.
"""

from __future__ import annotations

import multiprocessing
from collections import OrderedDict
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.pairs import HeadingError, Places, city_window, patch_centre, sample_places, town_window
from geoflow_ros.world.raster import CityRaster
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.splits import Split
from geoflow_ros.world.windows import Windows

_PLACES = 256  # poses sampled in each window
_PARTS = 6144  # upright parts that a slot of the pool holds
_FRAME_SPACING_M = 9.0  # frames of one group lie within this distance along the lane
_LABEL_STRIDE = 8  # pixels of an image per auxiliary label
_TOKEN = 32  # pixels of an image per token
_PROBE = 4  # every so many pixels of a frame, one counts for the attention target


@dataclass(frozen=True)
class SyntheticConfig:
    """What synthetic batches look like.

    Attributes:
        seed: of the data; another seed sees other worlds.
        groups: places per batch; each gives ``frames`` camera images and ``patches`` satellite patches, all combined.
        town_share: part of the windows that are of the fixed town.
        pool: windows alive at a time.
        windows_per_batch: how fast windows are replaced.
        workers: processes that bake windows ahead; 0 bakes in the caller.
        wide_heading_share: part of the patches with a heading error uniform in ±10° (as in the release's data); the
            others have N(0, 2°).
    """

    seed: int = 0
    satellite_size: int = 256
    ground_size: tuple[int, int] = (128, 512)
    ground_resolution_m: float = 0.3916
    search_radius_m: float = 20.0
    groups: int = 8
    frames: int = 2
    patches: int = 2
    town_share: float = 0.5
    pool: int = 4
    windows_per_batch: float = 0.1
    workers: int = 1
    wide_heading_share: float = 0.25


def _make_window(config: SyntheticConfig, k: int) -> tuple[CityRaster, Places]:
    """Bake the ``k``-th training window and choose its places (runs in worker processes)."""
    cv2.setNumThreads(1)
    seed = Split.TRAINING.seed(config.seed, k)
    rng = np.random.default_rng([seed, 61])
    window = town_window(rng, seed) if rng.random() < config.town_share else city_window(seed, seed)
    return window.raster, sample_places(window, rng, _PLACES)


class SyntheticPairs:
    """A :class:`PairSource` that renders its pairs.

    Args:
        config: sizes and mixture.
        device: where batches are wanted; on "cuda" the pool lives there and rendering runs there.
    """

    def __init__(self, config: SyntheticConfig, device: str = "cpu") -> None:
        self.config, self.device = config, torch.device(device)
        self._futures: OrderedDict[int, Future[tuple[CityRaster, Places]]] = OrderedDict()
        self._slots: dict[int, tuple[int, Any, Places]] = {}  # slot → (window, its arrays on the CPU, its places)
        self._is_pooled = self.device.type == "cuda"  # one set of arrays there, and one call renders a batch
        self._pool: Windows | None = None
        self._executor: ProcessPoolExecutor | None = None

    def close(self) -> None:
        """Stop the workers."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process starts with an empty pool: what it gives is the same."""
        return {"config": self.config, "device": self.device}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["config"], str(state["device"]))  # type: ignore[misc]

    def _window(self, k: int) -> tuple[CityRaster, Places]:
        if self.config.workers == 0:
            return _make_window(self.config, k)
        if self._executor is None:
            self._executor = ProcessPoolExecutor(self.config.workers, multiprocessing.get_context("spawn"))
        for ahead in range(k, k + 2 * self.config.workers + 1):
            if ahead not in self._futures:
                self._futures[ahead] = self._executor.submit(_make_window, self.config, ahead)
        return self._futures.pop(k).result()

    def _ensure(self, first: int) -> None:
        """Have windows ``first`` .. ``first + pool - 1`` in their slots."""
        for stale in [k for k in self._futures if k < first]:
            self._futures.pop(stale).cancel()
        for k in range(first, first + self.config.pool):
            slot = k % self.config.pool
            if slot in self._slots and self._slots[slot][0] == k:
                continue
            raster, places = self._window(k)
            stacked = Windows.stack([raster])
            if self._is_pooled:
                self._store(slot, stacked)
                self._slots[slot] = (k, None, places)
            else:
                self._slots[slot] = (k, stacked, places)

    def _store(self, slot: int, window: Windows) -> None:
        """Copy one window into its slot of the pool on the device."""
        n = window.parts.shape[1]
        parts = np.full((1, _PARTS, 11), 1e6, np.float32)
        parts[:, : min(n, _PARTS)] = window.parts[:, :_PARTS]
        window = replace(window, parts=parts)
        arrays = {k: v for k, v in vars(window).items() if k != "side"}
        if self._pool is None:
            empty = {
                k: torch.zeros(
                    (v.shape[0] * self.config.pool, *v.shape[1:]),
                    dtype=torch.from_numpy(v[:1]).dtype,
                    device=self.device,
                )
                for k, v in arrays.items()
            }
            self._pool = Windows(side=window.side, **empty)
        for name, array in arrays.items():
            n = array.shape[0]
            getattr(self._pool, name)[slot * n : (slot + 1) * n] = torch.from_numpy(np.ascontiguousarray(array)).to(
                self.device
            )

    def batch(self, index: int) -> PairBatch:
        """Render the ``index``-th batch."""
        c = self.config
        rng = np.random.default_rng([Split.TRAINING.seed(c.seed, 0), 62, index])
        self._ensure(int(index * c.windows_per_batch))
        height = 1.65 + rng.normal(0, 0.03)
        camera = Camera.perspective(
            c.ground_size[1], c.ground_size[0], height_m=height, horizon=0.4 + rng.normal(0, 0.006)
        )
        slot = np.sort(rng.integers(0, c.pool, c.groups))
        pick = rng.integers(0, _PLACES, c.groups)
        base = np.array(
            [
                [p.east_m[i], p.north_m[i], p.yaw_rad[i]]
                for s, i in zip(slot, pick, strict=True)
                for p in [self._slots[s][2]]
            ]
        )

        # frames: along the lane from the group's place
        along = rng.uniform(-_FRAME_SPACING_M, _FRAME_SPACING_M, (c.groups, c.frames)) * (np.arange(c.frames) > 0)
        across = rng.normal(0, 0.3, (c.groups, c.frames)) * (np.arange(c.frames) > 0)
        turn = np.radians(rng.normal(0, 1.0, (c.groups, c.frames))) * (np.arange(c.frames) > 0)
        yaw = base[:, None, 2] + turn
        cos, sin = np.cos(base[:, None, 2]), np.sin(base[:, None, 2])
        east = base[:, None, 0] + along * cos + across * sin
        north = base[:, None, 1] + along * sin - across * cos
        # patches: around a wrong prior of one of the frames, with a wrong heading
        seen_by = rng.integers(0, c.frames, (c.groups, c.patches))
        wide = rng.random((c.groups, c.patches)) < c.wide_heading_share
        error = np.where(
            wide,
            HeadingError(uniform_deg=10.0).sample(rng, wide.size).reshape(wide.shape),
            HeadingError(sigma_deg=2.0).sample(rng, wide.size).reshape(wide.shape),
        )
        offset = rng.uniform(-c.search_radius_m, c.search_radius_m, (c.groups, c.patches, 2))
        group = np.arange(c.groups)[:, None]
        patch_yaw = yaw[group, seen_by] + error
        patch_east, patch_north = patch_centre(
            east[group, seen_by].ravel(), north[group, seen_by].ravel(), patch_yaw.ravel(), offset.reshape(-1, 2)
        )

        frames = _Poses(np.repeat(slot, c.frames), east.ravel(), north.ravel(), yaw.ravel())
        patches = _Poses(np.repeat(slot, c.patches), patch_east, patch_north, patch_yaw.ravel())
        ground, depth, ground_label = self._views(camera, frames)
        satellite, satellite_label = self._patches(patches)

        # every frame of a group with every patch of it that holds it
        g, f, p = np.meshgrid(np.arange(c.groups), np.arange(c.frames), np.arange(c.patches), indexing="ij")
        ground_index, satellite_index = (g * c.frames + f).ravel(), (g * c.patches + p).ravel()
        de = frames.east[ground_index] - patches.east[satellite_index]
        dn = frames.north[ground_index] - patches.north[satellite_index]
        cos, sin = np.cos(patches.yaw[satellite_index]), np.sin(patches.yaw[satellite_index])
        q = np.stack([de * cos + dn * sin, de * sin - dn * cos], axis=1) / c.search_radius_m
        heading = np.angle(np.exp(1j * (patches.yaw[satellite_index] - frames.yaw[ground_index])))
        good = np.flatnonzero((np.abs(q) <= 1).all(axis=1) & (np.abs(heading) < np.radians(12)))
        if len(good) == 0:  # a group's first patch always holds the frame it was made for
            good = np.arange(len(q))
        ground_index, satellite_index, q, heading = ground_index[good], satellite_index[good], q[good], heading[good]
        to = self.device
        offsets = torch.from_numpy(q.astype(np.float32)).to(to)
        headings = torch.from_numpy(heading.astype(np.float32)).to(to)
        gi, si = torch.from_numpy(ground_index).to(to), torch.from_numpy(satellite_index).to(to)
        target = _attention(
            camera, depth, gi, offsets * c.search_radius_m, headings, c.satellite_size, c.ground_resolution_m
        )
        generator = torch.Generator(device=to).manual_seed(int(rng.integers(2**62)))
        return PairBatch(
            satellite=_sensor(satellite, generator),
            ground=_sensor(ground, generator),
            satellite_index=si,
            ground_index=gi,
            offset=offsets,
            heading_error_rad=headings,
            attention=target,
            satellite_labels=satellite_label[
                :, _LABEL_STRIDE // 2 :: _LABEL_STRIDE, _LABEL_STRIDE // 2 :: _LABEL_STRIDE
            ].contiguous(),
            ground_labels=ground_label[
                :, _LABEL_STRIDE // 2 :: _LABEL_STRIDE, _LABEL_STRIDE // 2 :: _LABEL_STRIDE
            ].contiguous(),
        )

    def _views(self, camera: Camera, poses: _Poses) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self._pool is not None:
            view = render_views(self._pool, camera, *poses.to(self.device))
            return view.rgb, view.depth_m, view.label
        parts = [render_views(self._slots[s][1], camera, *one) for s, one in poses.by_slot()]
        rgb, depth, label = (np.concatenate([getattr(v, name) for v in parts]) for name in ("rgb", "depth_m", "label"))
        return torch.from_numpy(rgb), torch.from_numpy(depth), torch.from_numpy(label)

    def _patches(self, poses: _Poses) -> tuple[torch.Tensor, torch.Tensor]:
        size, resolution = self.config.satellite_size, self.config.ground_resolution_m
        if self._pool is not None:
            rgb, label = render_patches(self._pool, size, resolution, *poses.to(self.device))
            return rgb, label
        parts = [render_patches(self._slots[s][1], size, resolution, *one) for s, one in poses.by_slot()]
        return torch.from_numpy(np.concatenate([p[0] for p in parts])), torch.from_numpy(
            np.concatenate([p[1] for p in parts])
        )


@dataclass(frozen=True)
class _Poses:
    """Poses in slots of the pool, ordered by slot."""

    slot: Int64Array
    east: Float64Array
    north: Float64Array
    yaw: Float64Array

    def to(self, device: torch.device) -> tuple[torch.Tensor, ...]:
        floats = (torch.from_numpy(a.astype(np.float32)).to(device) for a in (self.east, self.north, self.yaw))
        return torch.from_numpy(self.slot).to(device), *floats

    def by_slot(self) -> list[tuple[int, tuple[Any, ...]]]:
        groups = []
        for s in np.unique(self.slot):
            of = self.slot == s
            zero = np.zeros(int(of.sum()), np.int64)
            groups.append((int(s), (zero, *(a[of].astype(np.float32) for a in (self.east, self.north, self.yaw)))))
        return groups


def _attention(
    camera: Camera,
    depth: torch.Tensor,
    ground_index: torch.Tensor,
    offset_m: torch.Tensor,
    heading_error: torch.Tensor,
    satellite_size: int,
    resolution_m: float,
) -> torch.Tensor:
    """(B, Tg, Ts) share of each ground token's pixels that see each satellite token's cell.

    The depth of every pixel is known, so the point it sees is known on the patch: bearing in the patch frame is the
    camera's azimuth plus the heading error (the patch is turned by that much to the left of the vehicle).
    """
    device = depth.device
    d = depth[:, _PROBE // 2 :: _PROBE, _PROBE // 2 :: _PROBE][ground_index]  # (B, h, w)
    b, h, w = d.shape
    azimuth = torch.from_numpy(camera.azimuth_rad[_PROBE // 2 :: _PROBE].copy()).to(device)
    bearing = azimuth[None, None] + heading_error[:, None, None]
    far = torch.where(torch.isfinite(d), d, torch.full_like(d, 1e6))
    forward = offset_m[:, 0, None, None] + far * torch.cos(bearing)
    right = offset_m[:, 1, None, None] + far * torch.sin(bearing)
    cells = satellite_size // _TOKEN
    cell_m = _TOKEN * resolution_m
    column = torch.floor(forward / cell_m + cells / 2)
    row = torch.floor(right / cell_m + cells / 2)
    inside = (column >= 0) & (column < cells) & (row >= 0) & (row < cells)
    cell = (row * cells + column).clamp(0, cells * cells - 1).long()
    per = _TOKEN // _PROBE
    tokens_w = w // per
    token = (torch.arange(h, device=device) // per)[:, None] * tokens_w + (torch.arange(w, device=device) // per)[None]
    tokens = (h // per) * tokens_w
    flat = (torch.arange(b, device=device)[:, None, None] * tokens + token[None]) * (cells * cells) + cell
    counts = torch.zeros(b * tokens * cells * cells, device=device)
    counts.index_add_(0, flat.reshape(-1), inside.reshape(-1).float())
    counts = counts.reshape(b, tokens, cells * cells)
    total = counts.sum(-1, keepdim=True)
    # a token that sees little of the patch (sky, far away) teaches nothing certain
    return torch.where(total >= 0.125 * per * per, counts / total.clamp(min=1), torch.zeros_like(counts))


def _sensor(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Exposure, colour cast and noise of each image's sensor, (n, h, w, 3) uint8 in and out."""
    n, device = len(images), images.device

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device)

    gain = torch.exp(0.15 * normal(n, 1, 1, 1) + 0.04 * normal(n, 1, 1, 3))
    shift = 8 * normal(n, 1, 1, 1)
    grain = 2.0 * torch.rand((n, 1, 1, 1), generator=generator, device=device) ** 2 * 3
    noise = normal(n, *images.shape[1:3], 1)
    return (images.float() * gain + shift + grain * noise).clamp(0, 255).to(torch.uint8)
