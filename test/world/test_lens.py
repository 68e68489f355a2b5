"""Between the windscreen and the image: motion, dirt, exposure, noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from geoflow_ros.world import Camera
from geoflow_ros.world.lens import dirt, expose, motion_blur, motion_flow, noise
from geoflow_ros.world.optics import CameraImage

CAMERA = Camera.perspective(512, 128)
FOCAL = 256.0


def road(rgb: npt.NDArray[np.uint8] | None = None) -> CameraImage:
    depth = np.where(CAMERA.slope < 0, CAMERA.height_m / np.maximum(-CAMERA.slope, 1e-4), np.inf).astype(np.float32)
    azimuth = np.repeat(CAMERA.azimuth_rad[None], 128, axis=0)
    grey = np.full((128, 512, 3), 110, np.uint8)
    label = np.zeros((128, 512), np.uint8)
    return CameraImage(grey if rgb is None else rgb, depth, label, azimuth, CAMERA.slope, CAMERA.height_m)


@pytest.mark.parametrize(("forward", "right"), [(8.0, 0.0), (10.0, 5.0), (15.0, -9.0)])
def test_a_point_of_the_road_moves_as_its_projection_does(forward: float, right: float) -> None:
    way = 0.05
    before, after = (CAMERA.project(forward - part * way, right, 0.0) for part in (-0.5, 0.5))
    column, row = (round(v) for v in CAMERA.project(forward, right, 0.0))
    flow = [f[row, column] for f in motion_flow(road(), way, 0.0, FOCAL)]
    assert flow == pytest.approx([after[0] - before[0], after[1] - before[1]], rel=0.05, abs=0.03)


def test_the_sky_stands_still_unless_the_vehicle_turns() -> None:
    straight = motion_flow(road(), 0.3, 0.0, FOCAL)
    assert abs(straight[0][10]).max() == 0
    turning = motion_flow(road(), 0.0, 0.01, FOCAL)
    assert turning[0][10, 256] == pytest.approx(-FOCAL * 0.01, rel=0.01)


def test_motion_blurs_the_road_before_the_bonnet_and_not_the_far_one() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (128, 512, 3)).astype(np.uint8)
    image = motion_blur(road(sharp), 0.3, 0.0, FOCAL).astype(float)
    assert image[120:, 200:300].std() < 0.75 * sharp[120:, 200:300].std()
    assert np.array_equal(image[:40], sharp[:40])


def test_a_vehicle_that_stands_has_no_motion_blur() -> None:
    image = road()
    assert motion_blur(image, 0.0, 0.0, FOCAL) is image.rgb


@pytest.mark.parametrize("cover", [0.03, 0.2])
def test_dirt_covers_about_the_part_that_is_asked_for(cover: float) -> None:
    rng = np.random.default_rng(4)
    sharp = rng.integers(0, 256, (128, 512, 3)).astype(np.uint8)
    shares = [
        (np.abs(dirt(sharp, cover, np.random.default_rng(seed)).astype(int) - sharp).max(axis=-1) > 30).mean()
        for seed in range(8)
    ]
    assert 0.3 * cover < np.mean(shares) < 2.5 * cover


def test_a_stop_more_is_twice_the_light_and_none_is_the_same_picture() -> None:
    grey = np.full((4, 4, 3), 80, np.uint8)
    assert expose(grey, 1.0, (1.0, 1.0, 1.0))[0, 0, 0] == pytest.approx(80 * 2 ** (1 / 2.2), abs=1)
    assert np.array_equal(expose(grey, 0.0, (1.0, 1.0, 1.0)), grey)
    warm = expose(grey, 0.0, (1.2, 1.0, 0.8))[0, 0].astype(int)
    assert warm[0] > warm[1] > warm[2]


def test_noise_has_the_deviation_asked_for_and_less_in_the_dark() -> None:
    def deviation(level: int) -> float:
        flat = np.full((128, 512, 3), level, np.uint8)
        return float(noise(flat, 6.0, np.random.default_rng(level)).astype(float).std())

    assert deviation(110) == pytest.approx(6.0, rel=0.15)
    assert deviation(40) < 0.85 * deviation(110)


def test_noise_has_no_bias() -> None:
    flat = np.full((128, 512, 3), 100, np.uint8)
    assert noise(flat, 5.0, np.random.default_rng(0)).mean() == pytest.approx(100, abs=0.1)
