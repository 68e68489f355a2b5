"""Several cameras follow one vehicle: each is looked for where it is and looks, and one that stops is named."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from fakes.bundle import GREY
from fakes.vehicle import StraightDrive, picture

from geoflow_ros.errors import InputError
from geoflow_ros.geo.camera import LEVEL, Attitude, Intrinsics, Mounting
from geoflow_ros.localization import (
    CameraFrame,
    FrameRejected,
    InputRejected,
    OtherCamera,
    RejectReason,
    VehicleFix,
    VehicleLocalizer,
    replay,
)
from geoflow_ros.tracking import TrackState

MakeVehicle = Callable[..., VehicleLocalizer]
REAR = OtherCamera("rear", Mounting(-3.0, 0.25, math.pi))
BLACK = np.zeros((64, 256, 3), np.uint8)


@pytest.fixture
def vehicle(make_vehicle: MakeVehicle) -> StraightDrive:
    """A vehicle with a second camera, which looks back; it heads north from the map's centre."""
    localizer = make_vehicle(patch_range_m=0.0)  # what the model answers is the patch's centre
    localizer.cameras.add(REAR)
    drive = StraightDrive(localizer)
    drive.drive(0.1)
    drive.start()
    drive.drive(0.1)
    return drive


def look(vehicle: StraightDrive, camera: str, red: int = GREY, behind_ns: int = 0) -> VehicleFix:
    stamp_ns = vehicle.t_ns - behind_ns
    return vehicle.localizer.localize(picture(red, number=stamp_ns + len(camera)), stamp_ns, camera=camera)


def refused(look_now: Callable[[], VehicleFix]) -> FrameRejected:
    with pytest.raises(FrameRejected) as caught:
        look_now()
    return caught.value


def test_each_camera_is_looked_for_where_it_is_and_looks(vehicle: StraightDrive) -> None:
    front, rear = look(vehicle, ""), look(vehicle, "rear")
    for fix in (front, rear):
        assert fix.position_m == pytest.approx([vehicle.east_m, vehicle.north_m], abs=0.5)
        assert fix.yaw_rad == pytest.approx(math.pi / 2, abs=0.05)
    turned = math.remainder(rear.patch.frame.yaw_rad - front.patch.frame.yaw_rad, math.tau)
    assert abs(turned) == pytest.approx(math.pi, abs=0.02)
    # heading north: the first camera 2 m north and 0.5 m west of base_link, the rear one 3 m south and 0.25 m west
    assert rear.fix.position - front.fix.position == pytest.approx([0.25, -5.0], abs=0.3)


def test_what_a_camera_that_looks_back_sees_ahead_of_it_lies_behind_the_vehicle(vehicle: StraightDrive) -> None:
    ahead, behind = look(vehicle, "", GREY + 6), look(vehicle, "rear", GREY + 6)
    north_of_the_patch_m = [fix.fix.position[1] - fix.patch.frame.centre_north_m for fix in (ahead, behind)]
    assert north_of_the_patch_m[0] == pytest.approx(-north_of_the_patch_m[1], rel=0.05)
    assert north_of_the_patch_m[0] > 0.5


def test_a_second_camera_takes_its_pictures_through_its_own_lens(make_vehicle: MakeVehicle) -> None:
    localizer = make_vehicle()
    lens = Intrinsics(640, 360, 320.0, 320.0, 319.5, 179.5)
    added = localizer.cameras.add(OtherCamera("rear", REAR.mounting, lens))
    assert added.pictures.is_calibrated
    assert localizer.camera.is_assumed
    facts = localizer.facts()
    assert facts["camera_rear_calibration"].endswith("640 x 360")
    assert facts["camera_calibration"].startswith("none")


def test_all_cameras_lean_with_the_vehicle(make_vehicle: MakeVehicle) -> None:
    localizer = make_vehicle(levels_by_attitude=True)
    rear = localizer.cameras.add(REAR)
    settings = rear.settings(localizer.settings)
    assert settings.mounting == REAR.mounting
    assert settings.levels_by_attitude
    with pytest.raises(FrameRejected, match="no orientation on imu"):
        rear.pictures.shown(picture(), 1, settings)
    localizer.camera.add_attitude(1, Attitude(0.0, 0.01))
    localizer.camera.add_attitude(2, LEVEL)
    assert rear.pictures.shown(picture(), 1, settings).rgb.any()


def test_pictures_of_all_cameras_come_in_one_order(vehicle: StraightDrive) -> None:
    look(vehicle, "")
    look(vehicle, "rear")  # the same stamp is no duplicate: it is another camera's
    assert refused(lambda: look(vehicle, "rear")).reason is RejectReason.DUPLICATE
    vehicle.drive(0.2)
    look(vehicle, "rear")
    late = refused(lambda: look(vehicle, "", behind_ns=100_000_000))
    assert late.reason is RejectReason.ORDER
    assert "0.100 s behind another camera's" in late.detail


def test_a_second_camera_is_news_at_the_same_stamp_and_a_second_look_of_one_is_not(vehicle: StraightDrive) -> None:
    def certainty() -> float:
        track = vehicle.localizer.newest_track()
        assert track is not None
        return 1.0 / track.position_std_m**2

    before = certainty()
    look(vehicle, "")
    one = certainty()
    look(vehicle, "rear")
    both = certainty()
    assert both - one == pytest.approx(one - before, rel=0.5)
    vehicle.drive(0.02, speed_mps=0.0)
    look(vehicle, "")
    assert certainty() - both < 0.05 * (one - before)


def test_a_camera_that_stops_is_named_and_the_other_carries_the_track(vehicle: StraightDrive) -> None:
    look(vehicle, "")
    assert "no image of the camera 'rear' yet" in vehicle.localizer.status.reason
    look(vehicle, "rear")
    assert vehicle.localizer.status.reason == ""
    assert vehicle.localizer.facts()["camera_rear"] == "pictures come"
    for _ in range(10):
        vehicle.drive(0.2)
        look(vehicle, "rear")
    status = vehicle.localizer.status
    assert status.state is TrackState.TRACKING
    assert status.reason == "no image of the first camera for 2.0 s"
    assert status.fault == "camera"
    assert vehicle.localizer.facts()["camera"] == status.reason


def test_a_covered_camera_is_named_and_does_not_take_the_others_fix(vehicle: StraightDrive) -> None:
    look(vehicle, "")
    covered = refused(lambda: vehicle.localizer.localize(BLACK, vehicle.t_ns, camera="rear"))
    assert covered.reason is RejectReason.IMAGE
    assert covered.detail.startswith("camera 'rear': ")
    assert vehicle.localizer.status.state is TrackState.TRACKING


def test_a_single_camera_is_spoken_of_as_before(make_vehicle: MakeVehicle) -> None:
    drive = StraightDrive(make_vehicle())
    drive.drive(0.1)
    drive.start()
    drive.drive(0.1)
    drive.look()
    drive.drive(2.0)
    assert "first camera" not in drive.localizer.status.reason
    assert not {"camera", "camera_rear"} & drive.localizer.facts().keys()


def test_names_are_checked(make_vehicle: MakeVehicle) -> None:
    localizer = make_vehicle()
    localizer.cameras.add(REAR)
    with pytest.raises(InputError, match="two cameras called 'rear'"):
        localizer.cameras.add(REAR)
    with pytest.raises(InputError, match="no camera called 'left': there is rear"):
        localizer.localize(picture(), 1, camera="left")
    with pytest.raises(InputError, match="cannot be called '2nd'"):
        OtherCamera("2nd", REAR.mounting)


def test_a_recording_may_hold_several_cameras(vehicle: StraightDrive) -> None:
    answers = list(
        replay(vehicle.localizer, [CameraFrame(vehicle.t_ns, b"none"), CameraFrame(vehicle.t_ns, b"none", "rear")])
    )
    assert all(isinstance(answer, InputRejected) for answer in answers)
    newest = {camera.name: camera.newest_ns for camera in vehicle.localizer.cameras}
    assert newest == {"": vehicle.t_ns, "rear": vehicle.t_ns}
