"""A lost vehicle is looked for on many patches: one place with enough evidence counts, and has to be proven."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes.map import DATUM
from fakes.vehicle import StraightDrive

from geoflow_ros.errors import TileMissingError
from geoflow_ros.inference import Fix
from geoflow_ros.localization import FrameRejected, InlineExecutor, RejectReason, VehicleLocalizer, VehicleSettings
from geoflow_ros.localization.wide_search import most_evident
from geoflow_ros.tiles import SatelliteMap, open_tile_source
from geoflow_ros.tracking import StartPose, TrackState

MakeVehicle = Callable[..., VehicleLocalizer]
STD_M = 0.5


class KnowsItsPlace:
    """Finds the camera on patches that show it, and trusts nothing that it finds on others.

    Attributes:
        mapped_to_east_m: where its map ends.
        lookalike_m: forward and left of the camera to another place that looks the same to it; None for none.
        patches: how many it was asked about.
    """

    def __init__(self, inner: Any) -> None:
        self._inner, self.patches = inner, 0
        self.drive: StraightDrive | None = None
        self.mapped_to_east_m = math.inf
        self.lookalike_m: tuple[float, float] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def localize(self, ground: Any, patch: Any, stamp_ns: int = 0, *rest: Any) -> Fix:
        self.patches += 1
        drive, frame = self.drive, patch.frame
        if frame.centre_east_m > self.mapped_to_east_m:
            raise TileMissingError("too little ground")
        assert drive is not None
        fix = self._inner.localize(ground, patch, stamp_ns)
        places = [np.array([drive.east_m, drive.north_m])]
        if self.lookalike_m is not None:
            forward, left = self.lookalike_m
            places.append(places[0] + [-left, forward])  # the drive goes north
        for place in places:
            if max(abs(place - [frame.centre_east_m, frame.centre_north_m])) <= fix.search_radius_m:
                return replace(
                    fix,
                    east_m=float(place[0]),
                    north_m=float(place[1]),
                    covariance=np.eye(2) * STD_M**2,
                    assessment=replace(fix.assessment, trustworthy=True, probability=0.8, quality=0.8),
                )
        return replace(fix, assessment=replace(fix.assessment, trustworthy=False, reason="another place"))


@pytest.fixture
def make_lost(make_vehicle: MakeVehicle, tiles: Any) -> Any:
    """Makes a drive whose track is 70 m behind and 40 m beside the vehicle, and followed for some metres."""

    def make(**settings: Any) -> StraightDrive:
        method = KnowsItsPlace(make_vehicle().localizer)
        vehicle = VehicleLocalizer(
            method,  # type: ignore[arg-type]
            SatelliteMap(open_tile_source(tiles), DATUM),
            VehicleSettings(wait_for_odometry_s=0.0, output_spacing_m=0.0, **settings),
            InlineExecutor(),
        )
        method.drive = drive = StraightDrive(vehicle)
        drive.drive(0.1)
        covariance = np.diag([9.0, 9.0, math.radians(2.0) ** 2])
        vehicle.start(StartPose(drive.t_ns, drive.east_m + 40.0, drive.north_m - 70.0, drive.yaw_rad, covariance))
        return drive

    return make


def look_in_vain(drive: StraightDrive) -> FrameRejected:
    drive.drive(0.4, 5.0)
    with pytest.raises(FrameRejected) as caught:
        drive.look()
    return caught.value


def test_a_vehicle_that_is_looked_for_widely_is_found_and_believed_once_fixes_prove_it(make_lost: Any) -> None:
    drive = make_lost(relocalize_radius_m=100.0)
    vehicle = drive.localizer
    assert look_in_vain(drive).reason is RejectReason.UNTRUSTED
    vehicle.relocalize()
    assert vehicle.status.state is TrackState.LOST
    before = vehicle.localizer.patches
    found = look_in_vain(drive)
    assert found.reason is RejectReason.UNPROVEN
    assert "a search of ±100 m (49 patches" in found.detail
    assert vehicle.localizer.patches - before == 49
    assert vehicle.status.state is TrackState.LOST
    rejected = [look_in_vain(drive) for _ in range(4)]
    assert {rejection.reason for rejection in rejected} == {RejectReason.UNPROVEN}
    for _ in range(4):
        drive.drive(0.4, 5.0)
        try:
            fix = drive.look()
        except FrameRejected:
            continue
        break
    assert fix.position_m == pytest.approx([drive.east_m, drive.north_m], abs=1.0)
    assert vehicle.status.state is TrackState.TRACKING


def test_the_edge_of_the_map_does_not_end_a_search(make_lost: Any) -> None:
    drive = make_lost(relocalize_radius_m=100.0)
    look_in_vain(drive)
    drive.localizer.localizer.mapped_to_east_m = 50.0
    drive.localizer.relocalize()
    found = look_in_vain(drive)
    assert found.reason is RejectReason.UNPROVEN
    assert "(28 patches" in found.detail


def test_where_two_places_look_alike_none_is_taken(make_lost: Any) -> None:
    drive = make_lost(relocalize_radius_m=100.0)
    drive.localizer.localizer.lookalike_m = (-60.0, 0.0)
    look_in_vain(drive)
    drive.localizer.relocalize()
    rejected = look_in_vain(drive)
    assert rejected.reason is RejectReason.UNTRUSTED
    assert "2 places look alike" in rejected.detail
    track = drive.localizer.newest_track()
    assert track is not None
    assert track.east_m == pytest.approx(drive.east_m + 40.0, abs=1.0)


def test_a_lost_track_is_looked_for_by_itself_after_so_many_images_without_a_fix(make_lost: Any) -> None:
    drive = make_lost(relocalize_radius_m=100.0, widen_after=3)
    reasons = [look_in_vain(drive).reason for _ in range(14)]
    assert RejectReason.UNPROVEN in reasons
    first = reasons.index(RejectReason.UNPROVEN)
    assert set(reasons[:first]) == {RejectReason.UNTRUSTED}
    assert first >= 8 + 2  # 16 m until it is lost, an image every 2 m; the third image after that at the earliest


def test_a_search_without_a_radius_is_none(make_lost: Any) -> None:
    drive = make_lost(widen_after=1)
    look_in_vain(drive)
    drive.localizer.relocalize()
    before = drive.localizer.localizer.patches
    for _ in range(12):
        look_in_vain(drive)
    assert drive.localizer.localizer.patches - before == 12


def fix_at(fix: Fix, east_m: float, probability: float | None, trustworthy: bool = True) -> Fix:
    assessment = replace(fix.assessment, trustworthy=trustworthy, probability=probability, quality=probability or 0.0)
    return replace(fix, east_m=east_m, north_m=0.0, assessment=assessment)


@pytest.mark.parametrize(
    ("places", "best"),
    [
        ([(0.0, 0.9), (50.0, 0.5)], 0),  # odds of 9 against 1
        ([(0.0, 0.9), (50.0, 0.8), (100.0, 0.85)], None),  # 9 against 4 and 5.7
        ([(0.0, 0.6), (3.0, 0.9), (6.0, 0.7)], 1),  # one place
        ([(0.0, None)], 0),
        ([(0.0, None), (50.0, None)], None),
        ([], None),
    ],
)
def test_a_place_outweighs_all_others_together_or_does_not_count(
    make_vehicle: MakeVehicle, places: list[tuple[float, float | None]], best: int | None
) -> None:
    drive = StraightDrive(make_vehicle())
    drive.drive(0.1)
    drive.start()
    drive.drive(0.1)
    some = drive.look().fix
    fixes = [fix_at(some, *place) for place in places]
    found, reason = most_evident([*fixes, fix_at(some, 200.0, 0.99, trustworthy=False)])
    assert (None if found is None else fixes.index(found)) == best
    assert bool(reason) == (best is None)
