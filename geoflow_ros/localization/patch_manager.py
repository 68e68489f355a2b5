"""Which satellite patch a frame is shown: one that is there already, while the next is made in the background.

A patch serves every prior near its centre and heading. When the vehicle is about to leave that range, the next patch is
cut, and encoded, around where it will be one frame later; frames go on with the old one until it is ready. A frame
waits for a patch only where none would do: at the start, after a jump, or if the vehicle outran the preparation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import GeoFlowError, GeometryError
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.tiles import SatelliteMap, SatellitePatch

_FETCHED_AHEAD = 6.0  # ranges beyond the next patch, in which tiles are fetched before they are needed
_FARTHEST = 2.0  # ranges, up to which a frame goes on with the old patch while the next is made


T = TypeVar("T")


@dataclass(frozen=True)
class Prior:
    """Where the camera is thought to be when the image is taken.

    Attributes:
        east_m, north_m: position of the camera in the map (ENU).
        yaw_rad: direction of the camera's forward in the map, counter-clockwise from east.
    """

    east_m: float
    north_m: float
    yaw_rad: float


@dataclass
class PatchCounts:
    """How often patches were prepared, awaited, late and impossible.

    Attributes:
        prepared: made in the background and then used.
        awaited: cut while a frame waited for it.
        most_frames_late: most frames in a row that were shown a patch outside its range.
        failed: preparations that failed; the frame that needs the patch says why.
    """

    prepared: int = 0
    awaited: int = 0
    most_frames_late: int = 0
    failed: int = 0


class InlineExecutor(Executor):
    """Does the work at once, in the thread that asks: what is shown then depends on no machine's speed."""

    def submit(self, work: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """A future that is done."""
        done: Future[T] = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class PatchManager:
    """Cuts patches for a model. `patch_for` is for one thread; `close` ends the background work.

    Args:
        satellite_map: where patches are cut from.
        manifest: of the model: size, scale and alignment of its patches.
        prepare: encodes a patch ahead of its first frame, in the background.
        range_m: how far the prior may be from the centre of a patch.
        range_rad: how far its heading may be from that of a patch.
        executor: where the next patch is made; a thread of its own where None. Closed with the manager.
    """

    def __init__(
        self,
        satellite_map: SatelliteMap,
        manifest: Manifest,
        prepare: Callable[[SatellitePatch], None],
        range_m: float,
        range_rad: float,
        executor: Executor | None = None,
    ) -> None:
        self.range_m, self.range_rad = range_m, range_rad
        self.counts = PatchCounts()
        self._map, self._manifest, self._prepare = satellite_map, manifest, prepare
        self._kept: SatellitePatch | None = None
        self._last: PatchFrame | None = None  # around the prior of the last frame
        self._late = 0
        self._next: Future[SatellitePatch] | None = None
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="patch")

    @property
    def ground_share(self) -> float:
        """The share of the patch in use that shows ground; nan before the first."""
        kept = self._kept
        return math.nan if kept is None else kept.ground_share

    @property
    def facts(self) -> dict[str, str]:
        """What became of patches, as keys and values for diagnostics."""
        return {
            "patches_prepared": str(self.counts.prepared),
            "patches_awaited": str(self.counts.awaited),
            "patch_frames_late_most": str(self.counts.most_frames_late),
            "patch_preparations_failed": str(self.counts.failed),
            "patch_ground_share": f"{self.ground_share:.2f}",
        }

    def close(self) -> None:
        """Waits for a patch that is being made; none is begun afterwards.

        Close the map first: then the patch does not wait for tiles any more.
        """
        self._executor.shutdown(wait=True, cancel_futures=True)

    def patch_for(self, prior: Prior) -> SatellitePatch:
        """The patch to localize on.

        Raises:
            TileError, GeometryError: no kept patch will do, and none can be cut (see `SatelliteMap.patch`).
        """
        wanted = self._manifest.patch_frame(prior.east_m, prior.north_m, prior.yaw_rad)
        step, self._last = _step(self._last, wanted), wanted
        self._take_next(wanted)
        offset_ratio = self._offset_ratio(self._kept, wanted)
        if self._kept is None or offset_ratio > _FARTHEST:
            self._kept = self._map.patch(wanted)
            self.counts.awaited += 1
            offset_ratio = 0.0
        elif self._next is None:
            soon = _moved(wanted, step)
            if self._offset_ratio(self._kept, soon) > 1.0:
                self._next = self._executor.submit(self._make, soon, step)
        self._late = self._late + 1 if offset_ratio > 1.0 else 0
        self.counts.most_frames_late = max(self.counts.most_frames_late, self._late)
        return self._kept

    def _make(self, frame: PatchFrame, step: tuple[float, float, float]) -> SatellitePatch:
        patch = self._map.patch(frame)
        self._prepare(patch)
        self._fetch_ahead(frame, step)
        return patch

    def _fetch_ahead(self, frame: PatchFrame, step: tuple[float, float, float]) -> None:
        """Begins to fetch what the next patches will be cut from, should the vehicle go on as it does."""
        distance_m = math.hypot(step[0], step[1])
        if distance_m == 0.0:
            return
        ahead_m = _FETCHED_AHEAD * max(self.range_m, distance_m) / distance_m
        try:
            self._map.prefetch(_moved(frame, (step[0] * ahead_m, step[1] * ahead_m, 0.0)))
        except GeometryError:
            return  # the end of the map frame: the frame that gets there says so

    def _take_next(self, wanted: PatchFrame) -> None:
        """Change over to the prepared patch, if it is ready and the better one."""
        if self._next is None or not self._next.done():
            return
        made, self._next = self._next, None
        error = made.exception()
        if error is not None:
            if not isinstance(error, GeoFlowError):
                raise error
            self.counts.failed += 1
        elif self._kept is None or self._offset_ratio(made.result(), wanted) < self._offset_ratio(self._kept, wanted):
            self._kept = made.result()
            self.counts.prepared += 1

    def _offset_ratio(self, patch: SatellitePatch | None, wanted: PatchFrame) -> float:
        """How far a patch is from the wanted one, in ranges: 1 is the edge."""
        if patch is None:
            return math.inf
        frame = patch.frame
        distance_m = math.hypot(
            wanted.centre_east_m - frame.centre_east_m, wanted.centre_north_m - frame.centre_north_m
        )
        turn_rad = abs(math.remainder(wanted.yaw_rad - frame.yaw_rad, math.tau))
        return max(_share(distance_m, self.range_m), _share(turn_rad, self.range_rad))


def _share(value: float, limit: float) -> float:
    if limit > 0.0:
        return value / limit
    return math.inf if value > 0.0 else 0.0


def _step(last: PatchFrame | None, now: PatchFrame) -> tuple[float, float, float]:
    """Motion in east, north (m) and yaw (rad) from the last frame to this."""
    if last is None:
        return 0.0, 0.0, 0.0
    turn_rad = math.remainder(now.yaw_rad - last.yaw_rad, math.tau)
    return now.centre_east_m - last.centre_east_m, now.centre_north_m - last.centre_north_m, turn_rad


def _moved(frame: PatchFrame, step: tuple[float, float, float]) -> PatchFrame:
    """The frame one step later."""
    return replace(
        frame,
        centre_east_m=frame.centre_east_m + step[0],
        centre_north_m=frame.centre_north_m + step[1],
        yaw_rad=frame.yaw_rad + step[2],
    )
