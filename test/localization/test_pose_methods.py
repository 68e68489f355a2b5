"""A method that measures poses and searches headings: the track's yaw, the compass, and a start without a heading."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes.map import DATUM
from fakes.vehicle import StraightDrive

from geoflow_ros.inference import Fix
from geoflow_ros.localization import FrameRejected, GnssPosition, RejectReason, VehicleLocalizer

MakeVehicle = Callable[..., VehicleLocalizer]
LEVER_ARM_M = (2.0, 0.5)
STD_M, STD_DEG = 0.3, 1.0


class PoseMethod:
    """Knows where the camera of a drive is, as far as the heading that it is given allows."""

    def __init__(self, inner: Any, drive: StraightDrive, max_heading_error_deg: float) -> None:
        self._inner, self._drive = inner, drive
        self.max_heading_error_rad = math.radians(max_heading_error_deg)
        self.searched_deg: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def localize(
        self, ground: Any, patch: Any, stamp_ns: int = 0, heading_error_rad: float | None = None, *rest: Any
    ) -> Fix:
        assert heading_error_rad is not None
        self.searched_deg.append(math.degrees(heading_error_rad))
        drive = self._drive
        assert abs(math.remainder(drive.yaw_rad - patch.frame.yaw_rad, math.tau)) <= heading_error_rad + 1e-9
        cosine, sine = math.cos(drive.yaw_rad), math.sin(drive.yaw_rad)
        forward, left = LEVER_ARM_M
        covariance = np.diag([STD_M**2, STD_M**2, math.radians(STD_DEG) ** 2])
        return replace(
            self._inner.localize(ground, patch, stamp_ns),
            east_m=drive.east_m + forward * cosine - left * sine,
            north_m=drive.north_m + forward * sine + left * cosine,
            covariance=covariance[:2, :2],
            yaw_rad=drive.yaw_rad,
            pose_covariance=covariance,
        )


def driving(vehicle: VehicleLocalizer, yaw_rad: float, max_heading_error_deg: float = 180.0) -> StraightDrive:
    drive = StraightDrive(vehicle, yaw_rad)
    vehicle.localizer = PoseMethod(vehicle.localizer, drive, max_heading_error_deg)
    drive.drive(0.1)
    return drive


def searched_deg(drive: StraightDrive) -> list[float]:
    method = drive.localizer.localizer
    assert isinstance(method, PoseMethod)
    return method.searched_deg


def test_a_heading_that_is_hardly_known_is_searched_wide_and_then_narrow(make_vehicle: MakeVehicle) -> None:
    vehicle = make_vehicle()
    drive = driving(vehicle, 1.2)
    drive.yaw_rad = 1.2 + math.radians(120.0)  # the start pose says so
    drive.start(yaw_std_deg=104.0)
    drive.yaw_rad = 1.2
    first = drive.look()
    assert first.yaw_rad == pytest.approx(1.2)
    assert first.track.yaw_rad == pytest.approx(1.2, abs=math.radians(1.0))
    # the lever arm was turned with the heading: base_link is where it is
    assert (first.track.east_m, first.track.north_m) == pytest.approx((drive.east_m, drive.north_m), abs=0.3)
    transform = vehicle.map_to_odom()
    assert transform is not None
    assert transform.yaw_rad == pytest.approx(1.2, abs=math.radians(1.0))
    for _ in range(5):
        drive.drive(0.4)
        last = drive.look()
    assert (last.track.east_m, last.track.north_m) == pytest.approx((drive.east_m, drive.north_m), abs=0.3)
    searched = searched_deg(drive)
    assert searched[0] == 180.0
    assert searched[-1] < 10.0


def test_a_method_that_searches_a_part_of_the_headings_needs_one_within_it(make_vehicle: MakeVehicle) -> None:
    drive = driving(make_vehicle(), 1.2, max_heading_error_deg=75.0)
    drive.start(yaw_std_deg=50.0)
    with pytest.raises(FrameRejected, match="limit 25°") as caught:
        drive.look()
    assert caught.value.reason is RejectReason.UNCERTAIN
    drive.start(yaw_std_deg=24.0)  # above prior.max_yaw_std_deg, and within what is searched
    drive.drive(0.2)
    assert drive.look().yaw_rad == pytest.approx(1.2)


def test_a_compass_that_is_five_degrees_off_is_found_out(make_vehicle: MakeVehicle) -> None:
    drive = driving(make_vehicle(), 1.2)
    bias = math.radians(5.0)
    drive.yaw_rad += bias
    drive.start(yaw_std_deg=5.0)
    drive.yaw_rad -= bias
    fixes = []
    for _ in range(20):
        drive.localizer.add_heading(drive.t_ns, drive.yaw_rad + bias, math.radians(1.0))
        drive.drive(0.4)
        fixes.append(drive.look())
    assert fixes[-1].track.yaw_rad == pytest.approx(1.2, abs=math.radians(0.5))
    track = fixes[-1].track
    assert (track.east_m, track.north_m) == pytest.approx((drive.east_m, drive.north_m), abs=0.2)


@pytest.mark.parametrize("searched_to_deg", [180.0, 45.0])
def test_satellite_fixes_alone_start_a_method_that_searches_all_headings(
    make_vehicle: MakeVehicle, searched_to_deg: float
) -> None:
    vehicle = make_vehicle()
    drive = driving(vehicle, -2.0, searched_to_deg)
    starts = []
    for _ in range(4):
        drive.drive(0.4, speed_mps=1.0)
        latitude_deg, longitude_deg = DATUM.to_latlon(drive.east_m + 2.0, drive.north_m - 1.0)
        vehicle.add_gnss(GnssPosition(drive.t_ns, float(latitude_deg), float(longitude_deg)))
        starts.append(vehicle.start_from_gnss())
    assert starts[:3] == [None] * 3  # an absolute heading may still come
    if searched_to_deg < 180.0:
        assert starts[3] is None
        return
    assert starts[3] is not None
    drive.drive(0.1, speed_mps=1.0)
    track = drive.look().track
    assert track.yaw_rad == pytest.approx(-2.0, abs=math.radians(1.0))
    assert (track.east_m, track.north_m) == pytest.approx((drive.east_m, drive.north_m), abs=0.3)
