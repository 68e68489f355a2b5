"""Photometric changes: what each of them does, that they repeat, and that no pixel moves."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from geoflow_ros.world import Area, HeadingError, PairSampler
from geoflow_ros.world.photometric import (
    CAMERA,
    MAP,
    PhotometricChange,
    PhotometricRanges,
    apply_change,
    changed,
    colour_matrix,
    draw_change,
)

SAME = PhotometricChange()
Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def picture() -> Picture:
    """A smooth colour picture with some edges, (128, 512, 3)."""
    coarse = np.random.default_rng(3).integers(30, 226, (8, 32, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (512, 128), interpolation=cv2.INTER_LINEAR), np.uint8)


def deviation(picture: Picture) -> float:
    """Standard deviation of what is finer than some pixels."""
    fine = picture.astype(float) - cv2.GaussianBlur(picture, (0, 0), 2.0)
    return float(fine.std())


def test_the_default_change_is_none(picture: Picture) -> None:
    assert np.array_equal(apply_change(picture, SAME), picture)


def test_without_saturation_all_is_grey_and_grey_stays_grey(picture: Picture) -> None:
    grey = apply_change(picture, replace(SAME, saturation=0.0))
    assert np.ptp(grey.astype(int), axis=-1).max() <= 1
    coloured = replace(SAME, saturation=1.7, hue_rad=0.4, crosstalk=(0.1, -0.1, 0.05, 0.0, -0.08, 0.1))
    assert colour_matrix(coloured) @ np.ones(3) == pytest.approx(np.ones(3))
    assert not np.array_equal(apply_change(picture, coloured), picture)


def test_a_third_of_a_turn_exchanges_the_hues() -> None:
    red = np.full((2, 2, 3), (200, 50, 50), np.uint8)
    turned = apply_change(red, replace(SAME, hue_rad=2 * np.pi / 3))
    assert turned[0, 0].tolist() == [50, 200, 50]


def test_gains_gamma_and_contrast_follow_their_curves() -> None:
    grey = np.full((2, 2, 3), 64, np.uint8)
    assert apply_change(grey, replace(SAME, gains=(2.0, 1.0, 0.5)))[0, 0].tolist() == [128, 64, 32]
    assert apply_change(grey, replace(SAME, gamma=0.5))[0, 0, 0] == round(255 * (64 / 255) ** 0.5)
    assert apply_change(grey, replace(SAME, contrast=0.6))[0, 0, 0] < 64
    assert apply_change(grey, replace(SAME, contrast=-0.4))[0, 0, 0] > 64


def test_blur_takes_detail_and_sharpening_and_noise_give_it(picture: Picture) -> None:
    before = deviation(picture)
    assert deviation(apply_change(picture, replace(SAME, blur_px=3.0))) < 0.8 * before
    assert deviation(apply_change(picture, replace(SAME, sharpening=1.5))) > 1.2 * before
    grey = np.full_like(picture, 110)
    assert apply_change(grey, replace(SAME, noise=8.0)).std() == pytest.approx(8.0, rel=0.2)
    assert apply_change(grey, replace(SAME, texture=0.1)).std() == pytest.approx(11.0, rel=0.2)


def test_compression_loses_more_at_a_lower_quality_and_keeps_the_colours(picture: Picture) -> None:
    loss = [
        np.abs(apply_change(picture, replace(SAME, jpeg_quality=quality)).astype(int) - picture).mean()
        for quality in (95, 20)
    ]
    assert 0 < loss[0] < 3.0
    assert loss[1] > 2 * loss[0]


def test_vignette_darkens_the_edges_and_stray_light_lifts_the_top() -> None:
    grey = np.full((128, 512, 3), 120, np.uint8)
    vignette = apply_change(grey, replace(SAME, vignette=0.5))
    assert vignette[64, 256, 0] == pytest.approx(120, abs=1)
    assert vignette[0, 0, 0] == pytest.approx(60, abs=2)
    veiled = apply_change(grey, replace(SAME, veil=0.4))
    assert veiled[0].mean() > 150
    assert np.array_equal(veiled[64:], grey[64:])


@pytest.mark.parametrize("ranges", [CAMERA, MAP], ids=["camera", "map"])
def test_no_pixel_moves(picture: Picture, ranges: PhotometricRanges) -> None:
    """The strongest edges lie where they lay, on the mean over many draws."""
    shifts = []
    for seed in range(24):
        other = changed(picture, ranges, np.random.default_rng(seed))
        one, two = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (picture, other))
        shifts.append(cv2.phaseCorrelate(one, two)[0])
    assert np.abs(np.median(shifts, axis=0)).max() < 0.1


def test_pictures_differ_as_strongly_as_cameras_do(picture: Picture) -> None:
    """Draws change brightness by tens of grey levels, and some pictures lose their colours."""
    results = [changed(picture, CAMERA, np.random.default_rng(seed)) for seed in range(60)]
    assert np.std([r.mean() for r in results]) > 15
    spreads = [float(np.ptp(r.astype(int), axis=-1).mean()) for r in results]
    assert min(spreads) < 0.2 * np.median(spreads)


def test_a_change_is_a_function_of_its_draw_and_of_any_size() -> None:
    small = np.random.default_rng(0).integers(0, 256, (7, 1500, 3)).astype(np.uint8)
    change = draw_change(CAMERA, np.random.default_rng(5))
    assert np.array_equal(apply_change(small, change), apply_change(small, change))
    assert apply_change(small, change).shape == small.shape


def test_a_share_of_the_pictures_is_changed(picture: Picture) -> None:
    rng = np.random.default_rng(1)
    kept = [np.array_equal(changed(picture, MAP, rng, 0.3), picture) for _ in range(200)]
    assert np.mean(kept) == pytest.approx(0.7, abs=0.1)


def test_the_sampler_changes_both_pictures_and_nothing_else() -> None:
    plain, strong = (
        PairSampler(Area.CROSS, 3, 64, (32, 128), 1.5664, 20.0, HeadingError(), photometric_share=share).pair(2)
        for share in (0.0, 1.0)
    )
    assert np.array_equal(plain.offset_m, strong.offset_m)
    assert plain.yaw_rad == strong.yaw_rad
    assert not np.array_equal(plain.ground, strong.ground)
    assert not np.array_equal(plain.satellite, strong.satellite)
