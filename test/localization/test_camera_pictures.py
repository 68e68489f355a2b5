"""A camera's pictures as the model is shown them: through which lens, with which mask, and which are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes.birds_eye_bundle import write_placeholder_bundle

from geoflow_ros.bundle import BirdsEyeGeometry, Bundle, Manifest
from geoflow_ros.errors import InputError
from geoflow_ros.geo.camera import LEVEL, Attitude, Intrinsics, Mounting
from geoflow_ros.inference.birds_eye_projection import project_ground
from geoflow_ros.inference.covered_ground import covered_ground_share, without_sky
from geoflow_ros.localization import FrameRejected, RejectReason, VehicleSettings
from geoflow_ros.localization.attitudes import AttitudeBuffer
from geoflow_ros.localization.camera_pictures import CameraPictures
from geoflow_ros.resources import model_path

NS = 1_000_000_000


@pytest.fixture(scope="module")
def birds_eye(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Bundle.load(write_placeholder_bundle(tmp_path_factory.mktemp("bundle") / "a", BirdsEyeGeometry())).manifest


@pytest.fixture(scope="module")
def geoflow() -> Manifest:
    return Bundle.load(model_path("synthetic")).manifest


def pinhole(fov_deg: float, width: int = 640, height: int = 360) -> Intrinsics:
    focal = width / 2 / math.tan(math.radians(fov_deg / 2))
    return Intrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def scene(width: int = 640, height: int = 360) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (height, width, 3), np.uint8)


def test_without_a_calibration_a_picture_is_shown_as_it_is(birds_eye: Manifest) -> None:
    camera, picture = CameraPictures(birds_eye), scene(512, 128)
    shown = camera.warped(picture, Mounting(forward_m=1.0, yaw_rad=0.3))
    assert shown.rgb is picture
    assert shown.covered is None
    assert camera.is_assumed


def test_a_mounting_counts_without_a_calibration_too_with_the_models_lens(birds_eye: Manifest) -> None:
    camera, picture = CameraPictures(birds_eye), scene(512, 128)
    up = camera.warped(picture, Mounting(lean=Attitude(0.0, -0.05)))
    rows = 256.0 * math.tan(0.05)  # a camera that looks up has the horizon lower
    assert up.covered is not None
    assert not up.covered[-round(rows) + 1 :].any()
    assert up.covered[: -round(rows) - 3, 256].all()  # to the sides it is a little more


def test_a_wide_lens_covers_everything_and_needs_no_mask(birds_eye: Manifest, geoflow: Manifest) -> None:
    for manifest in (birds_eye, geoflow):
        camera = CameraPictures(manifest)
        camera.calibrate(pinhole(100.0))
        shown = camera.warped(scene(), Mounting())
        assert shown.covered is None
        assert shown.rgb.shape == (128, 512, 3)
        assert camera.facts["camera_ground_share"] == "1.00"


@pytest.mark.parametrize(("fov_deg", "birds_eyes", "geoflows"), [(70.0, True, True), (55.0, True, False)])
def test_a_narrow_lens_is_masked_or_refused_by_what_the_model_can_leave_out(
    birds_eye: Manifest, geoflow: Manifest, fov_deg: float, birds_eyes: bool, geoflows: bool
) -> None:
    for manifest, will_do in ((birds_eye, birds_eyes), (geoflow, geoflows)):
        camera = CameraPictures(manifest)
        camera.calibrate(pinhole(fov_deg))
        if will_do:
            covered = camera.warped(scene(), Mounting()).covered
            assert covered is not None
            assert covered[60].mean() == pytest.approx(math.tan(math.radians(fov_deg / 2)), abs=0.01)
        else:
            with pytest.raises(InputError, match="% of the ground that the model .* 60 % are needed: take a wider"):
                camera.warped(scene(), Mounting())


def test_cells_that_are_not_shown_take_no_part(birds_eye: Manifest) -> None:
    camera = CameraPictures(birds_eye)
    camera.calibrate(pinhole(60.0))
    covered = camera.warped(scene(), Mounting()).covered
    assert covered is not None
    geometry = birds_eye.geometry
    whole = project_ground(geometry, (geometry.camera,))
    seen = whole.within(without_sky(covered, birds_eye)).is_visible[0, 0] > 0
    forward, right = np.moveaxis(geometry.grid.centres_m(), -1, 0)
    tangent = np.abs(right) / forward
    allowed = whole.is_visible[0, 0] > 0
    beside = math.tan(math.radians(30.0))
    assert seen[allowed & (tangent < beside - 0.01)].all()
    assert not seen[tangent > beside + 0.01].any()
    assert covered_ground_share(covered, birds_eye) == pytest.approx(seen.sum() / allowed.sum())


def test_the_table_is_made_once_for_a_leaning_and_few_are_kept(birds_eye: Manifest) -> None:
    camera = CameraPictures(birds_eye)
    camera.calibrate(pinhole(100.0))
    step = math.radians(0.05)
    for k in range(40):
        camera.warped(scene(), Mounting(), Attitude(0.0, k * step))
        camera.warped(scene(), Mounting(), Attitude(0.3 * step, (k + 0.2) * step))
    assert len(camera._tables) == 16
    leanings = [key[2].pitch_rad / step for key in camera._tables]  # type: ignore[index]
    assert leanings == pytest.approx(list(range(24, 40)))


def test_a_lens_that_cannot_be_used_refuses_every_picture(birds_eye: Manifest) -> None:
    camera = CameraPictures(birds_eye)
    camera.calibrate(None, "the calibration is of another camera")
    with pytest.raises(FrameRejected, match="of another camera") as refused:
        camera.shown(scene(), 1, VehicleSettings())
    assert refused.value.reason is RejectReason.CALIBRATION
    assert not camera.is_assumed


def test_pictures_are_level_by_the_attitude_at_their_stamp(birds_eye: Manifest) -> None:
    camera = CameraPictures(birds_eye)
    camera.calibrate(pinhole(100.0))
    settings = VehicleSettings(levels_by_attitude=True)
    with pytest.raises(FrameRejected, match="no orientation on imu") as refused:
        camera.shown(scene(), NS, settings)
    assert refused.value.reason is RejectReason.ATTITUDE
    camera.add_attitude(NS - NS // 100, Attitude(0.0, 0.02))
    camera.add_attitude(NS + NS // 100, Attitude(0.0, 0.04))
    found = camera.shown(scene(), NS, settings).rgb
    np.testing.assert_array_equal(found, camera.warped(scene(), Mounting(), Attitude(0.0, 0.03)).rgb)
    assert (found != camera.warped(scene(), Mounting(), LEVEL).rgb).any()


def test_attitudes_are_interpolated_near_stamps_and_forgotten_when_the_clock_jumps_back() -> None:
    buffer = AttitudeBuffer()
    assert buffer.at(0) is None
    buffer.add(10 * NS, Attitude(0.1, 0.0))
    buffer.add(10 * NS + NS // 20, Attitude(0.3, 0.2))
    between = buffer.at(10 * NS + NS // 40)
    assert between is not None
    assert (between.roll_rad, between.pitch_rad) == pytest.approx((0.2, 0.1))
    assert buffer.at(10 * NS + NS // 10) == Attitude(0.3, 0.2)
    assert buffer.at(10 * NS - NS // 5) is None
    assert buffer.at(11 * NS) is None
    buffer.add(5 * NS, Attitude(0.0, 0.0))
    assert buffer.at(10 * NS) is None
    assert buffer.at(5 * NS) == LEVEL
