"""Which patch a frame is shown: kept within its range, prepared in the background, awaited only where none will do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from geoflow_ros.errors import TileMissingError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.localization import PatchManager, Prior
from geoflow_ros.tiles import WEB_MERCATOR_WORLD, SatelliteMap, SatellitePatch

MakeManager = Callable[..., PatchManager]

RANGE_M, RANGE_RAD = 5.0, 0.1


class Map:
    """Cuts grey patches, unless the place is beyond its edge."""

    def __init__(self, east_limit_m: float = 1e9) -> None:
        self.east_limit_m = east_limit_m
        self.cut_in = []
        self.fetched_ahead_m = []

    def prefetch(self, frame: PatchFrame) -> None:
        self.fetched_ahead_m.append(frame.centre_east_m)

    def patch(self, frame: PatchFrame) -> SatellitePatch:
        self.cut_in.append(threading.current_thread().name)
        if frame.centre_east_m > self.east_limit_m:
            raise TileMissingError("no tile there")
        return SatellitePatch(np.zeros((frame.size_px, frame.size_px, 3), np.uint8), frame)


class Frames:
    """The frames of a model with small patches."""

    def patch_frame(self, east_m: float, north_m: float, yaw_rad: float) -> PatchFrame:
        return PatchFrame(east_m, north_m, yaw_rad, 8, 1.0)


@pytest.fixture
def made() -> Iterator[MakeManager]:
    managers = []

    def make(
        satellite_map: Any = None,
        prepare: Callable[[SatellitePatch], None] = lambda patch: None,
        range_m: float = RANGE_M,
    ) -> PatchManager:
        managers.append(PatchManager(satellite_map or Map(), Frames(), prepare, range_m, RANGE_RAD))
        return managers[-1]

    yield make
    for manager in managers:
        manager.close()


def prior(east_m: float, yaw_rad: float = 0.0) -> Prior:
    return Prior(east_m, 0.0, yaw_rad)


def settle(manager: PatchManager) -> None:
    """Let the background finish what it has begun."""
    if manager._next is not None:
        manager._next.exception(timeout=10.0)


def drive(manager: PatchManager, places: Any, yaws: Any = None) -> list[PatchFrame]:
    """(n,) east of the patches shown along the way, the background keeping up."""
    shown = []
    for index, east_m in enumerate(places):
        shown.append(manager.patch_for(prior(east_m, 0.0 if yaws is None else yaws[index])).frame)
        settle(manager)
    return shown


def test_the_first_frame_waits_for_its_patch_and_those_near_it_are_shown_the_same(made: MakeManager) -> None:
    manager = made()
    first = manager.patch_for(prior(100.0))
    assert first.frame.centre_east_m == 100.0
    assert manager.patch_for(prior(101.0)) is first
    assert manager.patch_for(prior(102.0, 0.05)) is first
    assert (manager.counts.awaited, manager.counts.prepared) == (1, 0)


def test_on_a_steady_drive_no_frame_waits_and_none_is_shown_a_patch_out_of_range(made: MakeManager) -> None:
    manager = made()
    places = np.arange(0.0, 200.0, 2.0)
    shown = drive(manager, places)
    assert manager.counts.awaited == 1
    assert manager.counts.most_frames_late == 0
    assert manager.counts.prepared >= 30
    assert max(abs(frame.centre_east_m - place) for frame, place in zip(shown, places, strict=True)) <= RANGE_M


def test_tiles_are_fetched_ahead_of_a_vehicle_that_moves(made: MakeManager) -> None:
    satellite_map = Map()
    manager = made(satellite_map)
    drive(manager, np.arange(0.0, 60.0, 2.0))
    patches = [frame.centre_east_m for frame in drive(manager, [60.0])]
    assert len(satellite_map.fetched_ahead_m) >= 8
    assert satellite_map.fetched_ahead_m[-1] > patches[-1] + 4 * RANGE_M
    standing = Map()
    drive(made(standing), np.zeros(20), np.arange(20) * 0.08)
    assert standing.fetched_ahead_m == []


def test_in_a_steady_turn_every_frame_is_shown_a_patch_of_its_own_heading(made: MakeManager) -> None:
    manager = made()
    yaws = np.arange(40) * 0.08
    shown = drive(manager, np.zeros(40), yaws)
    errors = [abs(frame.yaw_rad - yaw) for frame, yaw in zip(shown, yaws, strict=True)]
    assert max(errors[3:]) <= RANGE_RAD
    assert manager.counts.awaited == 1


def test_frames_go_on_with_the_old_patch_while_the_next_is_being_encoded(made: MakeManager) -> None:
    release, encoding = threading.Event(), threading.Event()

    def prepare(patch: SatellitePatch) -> None:
        encoding.set()
        assert release.wait(10.0)

    manager = made(prepare=prepare)
    first = manager.patch_for(prior(0.0))
    manager.patch_for(prior(3.0))  # the next frame, at 6 m, would be out of range
    assert encoding.wait(10.0)
    assert manager.patch_for(prior(6.0)) is first
    assert manager.patch_for(prior(9.0)) is first
    assert manager.counts.most_frames_late == 2
    release.set()
    settle(manager)
    assert manager.patch_for(prior(9.5)).frame.centre_east_m == pytest.approx(6.0)
    assert (manager.counts.awaited, manager.counts.prepared) == (1, 1)


def test_after_a_jump_the_frame_waits_and_what_was_prepared_for_the_old_place_is_dropped(made: MakeManager) -> None:
    satellite_map = Map()
    manager = made(satellite_map)
    drive(manager, [0.0, 3.0])
    assert manager.patch_for(prior(500.0)).frame.centre_east_m == 500.0
    assert manager.counts.awaited == 2
    assert satellite_map.cut_in[-1] == threading.current_thread().name
    assert manager.patch_for(prior(501.0)).frame.centre_east_m == 500.0


def test_a_preparation_that_fails_is_counted_and_the_frame_that_needs_the_patch_says_why(made: MakeManager) -> None:
    manager = made(Map(east_limit_m=5.0))
    first = drive(manager, [0.0, 4.0, 8.0])
    assert {frame.centre_east_m for frame in first} == {0.0}
    assert manager.counts.failed >= 1
    with pytest.raises(TileMissingError):
        drive(manager, [12.0, 16.0])
    assert manager.patch_for(prior(1.0)).frame.centre_east_m == 0.0  # the old one is not lost


def test_once_the_map_is_closed_closing_waits_for_no_tile(made: MakeManager) -> None:
    asked, answer = threading.Event(), threading.Event()

    class Silent:
        """A source that takes its time."""

        def __init__(self) -> None:
            self.name, self.tile_size, self.min_zoom, self.max_zoom = "silent", 256, 17, 17
            self.bounds = WEB_MERCATOR_WORLD

        def read(self, zoom: Any, x: Any, y: Any) -> None:
            asked.set()
            answer.wait(60.0)
            raise TileMissingError("at last")

    satellite_map = SatelliteMap(Silent(), Datum(49.0, 8.4))
    manager = made(satellite_map)
    manager._next = manager._executor.submit(manager._make, Frames().patch_frame(0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert asked.wait(10.0)
    satellite_map.close()
    closing = threading.Thread(target=manager.close)
    closing.start()
    closing.join(30.0)
    ended = not closing.is_alive()
    answer.set()
    assert ended


def test_with_a_range_of_nothing_every_moving_frame_has_its_own_patch(made: MakeManager) -> None:
    manager = made(range_m=0.0)
    assert [frame.centre_east_m for frame in drive(manager, [0.0, 0.5, 1.0])] == [0.0, 0.5, 1.0]
