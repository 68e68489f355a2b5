"""The cost of a new satellite patch on a drive: how late it is, and how long the frames beside its making take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, sleep

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.geo import Datum, GeoBounds
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference import GeoFlowLocalizer
from geoflow_ros.localization.patch_manager import PatchManager, Prior
from geoflow_ros.tiles import SatelliteMap, SatellitePatch
from geoflow_ros.tiles.source import WEB_MERCATOR_WORLD

SPEED_M_S = 15.0  # 54 km/h
RATE_HZ = 29.49  # the paper's
RANGE_M, RANGE_RAD = 5.0, math.radians(2.0)  # the node's defaults
_DATUM = Datum(49.0, 8.4)
_TILE_PX, _ZOOM = 256, 19

_Span = tuple[float, float]
"""Begin and end by the wall clock, seconds."""


@dataclass(frozen=True)
class PatchChange:
    """A straight drive in which every few frames need a new patch.

    Attributes:
        frames: of the drive.
        prepared: patches that were made in the background, then used.
        awaited: patches that a frame waited for; the first of a drive is one.
        most_frames_late: most frames in a row on a patch outside its range.
        alone_ms, beside_ms: median of a frame, patch chosen included, without and with a patch in the making.
        longest_ms: of all frames but the first.
    """

    frames: int
    prepared: int
    awaited: int
    most_frames_late: int
    alone_ms: float
    beside_ms: float | None
    longest_ms: float


class PictureTiles:
    """A tile source that shows the same picture everywhere: what matters is the work, not the place.

    No two tiles are the same to the bit, which would make them placeholders: each has its place in a comment.
    """

    name = "one picture"
    tile_size = _TILE_PX
    min_zoom = max_zoom = _ZOOM

    def __init__(self, picture: UInt8Array) -> None:
        tile = cv2.resize(picture, (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_AREA)
        self._tile = cv2.imencode(".jpg", tile)[1].tobytes()

    @property
    def bounds(self) -> GeoBounds:
        """The whole world."""
        return WEB_MERCATOR_WORLD

    def read(self, zoom: int, x: int, y: int) -> bytes:
        """See `TileSource.read`."""
        comment = f"{zoom}/{x}/{y}".encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        return self._tile[:2] + segment + self._tile[2:]

    def close(self) -> None:
        """Nothing is open."""


class _TimedMap(SatelliteMap):
    """A map that notes when it began to cut its latest patch."""

    begun_s = 0.0

    def patch(self, frame: PatchFrame) -> SatellitePatch:
        """See `SatelliteMap.patch`."""
        self.begun_s = perf_counter()
        return super().patch(frame)


def measure_patch_change(
    localizer: GeoFlowLocalizer,
    pictures: Pictures,
    frames: int,
    paced: bool = True,
    tick: Callable[[], object] = lambda: None,
) -> PatchChange:
    """Drives straight on, 15 m/s at the paper's frame rate: a new patch is needed every ten frames.

    Args:
        localizer: with the back end to measure.
        pictures: that every frame sees.
        frames: of the drive.
        paced: frames come at their rate, as from a camera; else each follows the last at once.
        tick: called after every frame.
    """
    making: list[_Span] = []

    def prepare(patch: SatellitePatch) -> None:
        localizer.prepare(patch)
        making.append((satellite_map.begun_s, perf_counter()))

    satellite_map = _TimedMap(PictureTiles(pictures.satellite), _DATUM)
    with satellite_map:
        manager = PatchManager(satellite_map, localizer.manifest, prepare, RANGE_M, RANGE_RAD)
        try:
            spans = _drive(localizer, manager, pictures, frames, paced, tick)
        finally:
            manager.close()
    alone_ms, beside_ms = _split(spans[1:], making)  # the first frame pays for the first patch
    counts = manager.counts
    return PatchChange(
        frames=frames,
        prepared=counts.prepared,
        awaited=counts.awaited,
        most_frames_late=counts.most_frames_late,
        alone_ms=float(np.median(alone_ms or beside_ms)),
        beside_ms=float(np.median(beside_ms)) if beside_ms else None,
        longest_ms=max(alone_ms + beside_ms),
    )


def _drive(
    localizer: GeoFlowLocalizer,
    manager: PatchManager,
    pictures: Pictures,
    frames: int,
    paced: bool,
    tick: Callable[[], object],
) -> list[_Span]:
    """Localizes one frame after the other; returns when each began and ended."""
    spans: list[_Span] = []
    first = perf_counter()
    for index in range(frames):
        due = first + index / RATE_HZ
        if paced and due > perf_counter():
            sleep(due - perf_counter())
        begin = perf_counter()
        image = pictures.decode()
        prior = Prior(index * SPEED_M_S / RATE_HZ, 0.0, 0.0)
        localizer.localize(image, manager.patch_for(prior), stamp_ns=index)
        spans.append((begin, perf_counter()))
        tick()
    return spans


def _split(spans: list[_Span], making: list[_Span]) -> tuple[list[float], list[float]]:
    """The milliseconds of the frames without and with a patch in the making."""
    alone_ms: list[float] = []
    beside_ms: list[float] = []
    for begin, end in spans:
        overlaps = any(made_begin < end and begin < made_end for made_begin, made_end in making)
        (beside_ms if overlaps else alone_ms).append(1e3 * (end - begin))
    return alone_ms, beside_ms
