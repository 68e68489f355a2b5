"""Pictures that no position can be read from are refused; poor ones are not."""

import cv2
import numpy as np
import pytest

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bundle import Bundle, Manifest
from geoflow_ros.errors import ImageError
from geoflow_ros.localization.picture_check import PictureWatch, check_picture, picture_contrast
from geoflow_ros.resources import model_path


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Bundle.load(model_path("synthetic")).manifest


@pytest.fixture(scope="module")
def street(manifest: Manifest) -> UInt8Array:
    """A street in few colours, of the model's size: sky, two rows of houses, the road and its middle line."""
    width, height = manifest.ground.width_px, manifest.ground.height_px
    picture = np.full((height, width, 3), (150, 190, 230), np.uint8)
    horizon, middle = height // 2, width // 2
    picture[horizon:] = (95, 110, 80)
    for left, right, colour in ((0, width // 3, (150, 90, 80)), (2 * width // 3, width, (170, 160, 150))):
        picture[height // 5 : horizon + height // 8, left:right] = colour
    road = np.array([[middle, horizon], [width // 5, height], [4 * width // 5, height]], np.int32)
    cv2.fillPoly(picture, [road], (90, 90, 95))
    cv2.line(picture, (middle, horizon), (middle, height), (240, 240, 240), 2)
    return picture


def covered_lens(manifest: Manifest) -> UInt8Array:
    """Black, with the noise of a sensor."""
    shape = (manifest.ground.height_px, manifest.ground.width_px, 3)
    return np.random.default_rng(0).normal(3.0, 2.0, shape).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_is_refused_with_its_contrast(level: int, manifest: Manifest, street: UInt8Array) -> None:
    with pytest.raises(ImageError, match=r"contrast is 0\.00 grey levels"):
        check_picture(np.full_like(street, level), manifest)


def test_a_covered_lens_is_refused_in_spite_of_its_noise(manifest: Manifest) -> None:
    picture = covered_lens(manifest)
    assert picture.std() > 1.0
    with pytest.raises(ImageError, match="shows nothing"):
        check_picture(picture, manifest)


@pytest.mark.parametrize("size", [(4, 1), (60, 15)])
def test_a_tiny_picture_is_refused_with_its_size(size: tuple[int, int], manifest: Manifest, street: UInt8Array) -> None:
    with pytest.raises(ImageError, match=f"{size[0]} x {size[1]} pixels, too few"):
        check_picture(np.asarray(cv2.resize(street, size, interpolation=cv2.INTER_AREA), np.uint8), manifest)


def test_a_dark_a_blurred_and_a_small_picture_pass(manifest: Manifest, street: UInt8Array) -> None:
    small = (manifest.ground.width_px // 4, manifest.ground.height_px // 4)
    for picture in (
        street,
        (street * 0.05).astype(np.uint8),
        cv2.GaussianBlur(street, None, sigmaX=20.0),
        cv2.resize(street, small, interpolation=cv2.INTER_AREA),
    ):
        check_picture(np.asarray(picture, np.uint8), manifest)


def test_contrast_does_not_depend_on_the_size(street: UInt8Array) -> None:
    half = cv2.resize(street, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert picture_contrast(np.asarray(half, np.uint8)) == pytest.approx(picture_contrast(street), rel=0.02)


def test_a_camera_is_frozen_where_the_picture_stays_and_the_vehicle_does_not(
    manifest: Manifest, street: UInt8Array
) -> None:
    watch = PictureWatch()
    watch.check(street, manifest, 5.0)  # the first: whatever was before it
    for _ in range(20):
        watch.check(street, manifest, 0.01)  # it stands, and simulated cameras have no noise
    watch.check(street, manifest, 0.6)
    with pytest.raises(ImageError, match=r"frozen: it shows the same picture although the vehicle has moved 1\.4 m"):
        watch.check(street, manifest, 0.6)
    with pytest.raises(ImageError, match="frozen"):
        watch.check(street, manifest, 0.0)
    other = street.copy()
    other[::8, ::8] ^= 1
    watch.check(other, manifest, 5.0)
    watch.check(street, manifest, 5.0)
