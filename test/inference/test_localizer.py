"""From an image and a patch to a fix: trust, determinism, frames, images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import TAUGHT_OFFSET_M
from fakes.heads import RecordingBackend, ground_image, patch_at, picture

from geoflow_ros.backends import Backend, OnnxRuntimeBackend
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import ImageError, InputError, TileMissingError
from geoflow_ros.geo import PatchFrame
from geoflow_ros.inference import GeoFlowLocalizer
from geoflow_ros.tiles import NoGround, SatellitePatch

RADIUS_M = 20.0


@pytest.fixture(scope="module")
def bundle(converging_bundle: Path) -> Bundle:
    return Bundle.load(converging_bundle)


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> Backend:
    return OnnxRuntimeBackend(bundle, threads=1)


def test_a_patch_can_be_encoded_ahead_of_its_first_frame(bundle: Bundle, backend: Backend) -> None:
    recorder = RecordingBackend(backend)
    localizer = GeoFlowLocalizer(bundle, recorder)
    used, following = patch_at(bundle, seed=1), patch_at(bundle, seed=2)
    before = localizer.localize(ground_image(), used)
    localizer.prepare(following)
    assert recorder.satellite_calls == 2
    again = localizer.localize(ground_image(), used)  # the one in use is still there
    ahead = localizer.localize(ground_image(), following)
    assert recorder.satellite_calls == 2
    np.testing.assert_array_equal(again.path, before.path)
    np.testing.assert_array_equal(
        ahead.path, GeoFlowLocalizer(bundle, backend).localize(ground_image(), following).path
    )


def test_hypotheses_start_where_the_camera_may_be(bundle: Bundle, backend: Backend) -> None:
    patch = patch_at(bundle)
    whole, part = (
        GeoFlowLocalizer(bundle, backend).localize(ground_image(), patch, position_error_m=error_m)
        for error_m in (None, 5.0)
    )
    np.testing.assert_allclose(part.path[0], whole.path[0] * (5.0 / RADIUS_M), atol=1e-5)
    with pytest.raises(InputError, match="searches more than 0 and up to 20 m"):
        GeoFlowLocalizer(bundle, backend).localize(ground_image(), patch, position_error_m=RADIUS_M + 1.0)


def test_a_patch_of_another_size_is_not_encoded(bundle: Bundle, backend: Backend) -> None:
    frame = replace(bundle.manifest.patch_frame(0.0, 0.0, 0.0), size_px=96)
    with pytest.raises(InputError, match="96"):
        GeoFlowLocalizer(bundle, backend).prepare(SatellitePatch(picture((96, 96, 3)), frame))


def test_a_taught_network_finds_its_place_in_the_map(bundle: Bundle, backend: Backend) -> None:
    yaw_rad = 0.7
    fix = GeoFlowLocalizer(bundle, backend).localize(
        ground_image(), patch_at(bundle, 500.0, -300.0, yaw_rad), stamp_ns=42
    )
    forward, right = TAUGHT_OFFSET_M
    expected = [
        500.0 + forward * np.cos(yaw_rad) + right * np.sin(yaw_rad),
        -300.0 + forward * np.sin(yaw_rad) - right * np.cos(yaw_rad),
    ]
    assert fix.assessment.trustworthy, fix.assessment.reason
    np.testing.assert_allclose(fix.position, expected, atol=1.5)
    np.testing.assert_allclose(fix.posterior_position, expected, atol=2.0)
    assert (fix.stamp_ns, fix.frame.yaw_rad, fix.search_radius_m) == (42, yaw_rad, RADIUS_M)
    assert fix.yaw_rad is None  # this method measures the position alone
    assert fix.path.shape == (6, 10, 2)
    np.testing.assert_array_equal(fix.path[-1], fix.hypotheses)
    np.testing.assert_allclose(fix.hypotheses.mean(axis=0), fix.position, atol=1e-3)
    assert fix.assessment.spread_m < 3.0
    assert fix.heading_error_rad is not None
    stages = fix.timings
    parts = stages.resize_ms + stages.satellite_ms + stages.ground_ms + stages.refine_ms + stages.covariance_ms
    assert parts == pytest.approx(stages.total_ms, rel=1e-6)


@pytest.mark.parametrize("yaw_rad", [0.4, -2.1, np.pi / 2.0])
def test_turning_and_moving_the_patch_turns_and_moves_the_fix(bundle: Bundle, backend: Backend, yaw_rad: float) -> None:
    localizer = GeoFlowLocalizer(bundle, backend, seed=3)
    still = localizer.localize(ground_image(), patch_at(bundle))
    moved = localizer.localize(ground_image(), patch_at(bundle, 1000.0, 2000.0, yaw_rad))
    turn = np.array([[np.cos(yaw_rad), -np.sin(yaw_rad)], [np.sin(yaw_rad), np.cos(yaw_rad)]])
    np.testing.assert_allclose(moved.position - (1000.0, 2000.0), turn @ still.position, atol=1e-6)
    np.testing.assert_allclose(moved.covariance, turn @ still.covariance @ turn.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moved.path - (1000.0, 2000.0), still.path @ turn.T, atol=1e-6)
    np.testing.assert_array_equal(moved.raw_covariance, still.raw_covariance)


def test_the_published_covariance_is_symmetric_and_positive_definite(bundle: Bundle, backend: Backend) -> None:
    localizer = GeoFlowLocalizer(bundle, backend)
    for seed in range(5):
        covariance = localizer.localize(ground_image(seed), patch_at(bundle, yaw_rad=seed, seed=seed)).covariance
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
        assert np.linalg.eigvalsh(covariance)[0] > 0.0


def test_satellite_tokens_are_kept_while_the_patch_is_the_same_object(bundle: Bundle, backend: Backend) -> None:
    recorder = RecordingBackend(backend)
    localizer = GeoFlowLocalizer(bundle, recorder)
    patch = patch_at(bundle)
    first = localizer.localize(ground_image(0), patch)
    second = localizer.localize(ground_image(1), patch)
    assert (recorder.satellite_calls, recorder.ground_calls) == (1, 2)
    assert first.timings.satellite_ms > second.timings.satellite_ms
    localizer.localize(ground_image(0), patch_at(bundle))  # equal pixels, another object
    assert recorder.satellite_calls == 2


def test_a_fix_does_not_depend_on_the_frames_before_it(bundle: Bundle, backend: Backend) -> None:
    patch = patch_at(bundle)
    fresh = GeoFlowLocalizer(bundle, backend, seed=9).localize(ground_image(5), patch, stamp_ns=100)
    used = GeoFlowLocalizer(bundle, backend, seed=9)
    used.localize(ground_image(4), patch_at(bundle, seed=7), stamp_ns=50)
    again = used.localize(ground_image(5), patch, stamp_ns=100)
    np.testing.assert_array_equal(again.path, fresh.path)
    np.testing.assert_array_equal(again.covariance, fresh.covariance)
    other_seed = GeoFlowLocalizer(bundle, backend, seed=10).localize(ground_image(5), patch, stamp_ns=100)
    assert not np.array_equal(other_seed.path, fresh.path)


@pytest.mark.parametrize(("hypotheses", "iterations"), [(1, 1), (1, 5), (10, 3), (1000, 5)])
def test_hypotheses_and_iterations_are_chosen_at_run_time(
    bundle: Bundle, backend: Backend, hypotheses: int, iterations: int
) -> None:
    localizer = GeoFlowLocalizer(bundle, backend, hypotheses=hypotheses, iterations=iterations)
    fix = localizer.localize(ground_image(), patch_at(bundle))
    assert fix.path.shape == (iterations + 1, hypotheses, 2)


def test_settings_may_be_changed_between_frames(bundle: Bundle, backend: Backend) -> None:
    localizer = GeoFlowLocalizer(bundle, backend)
    localizer.settings = replace(localizer.settings, hypotheses=25, iterations=2)
    assert localizer.localize(ground_image(), patch_at(bundle)).path.shape == (3, 25, 2)


def test_images_of_any_size_with_the_models_aspect_ratio_are_taken(bundle: Bundle, backend: Backend) -> None:
    localizer = GeoFlowLocalizer(bundle, backend)
    patch = patch_at(bundle)
    small = cv2.GaussianBlur(ground_image(2), (0, 0), 3.0)
    native = localizer.localize(small, patch)
    large = localizer.localize(cv2.resize(small, (1024, 256), interpolation=cv2.INTER_CUBIC), patch)
    np.testing.assert_allclose(large.position, native.position, atol=0.5)
    localizer.localize(np.ascontiguousarray(small[:32, :128]), patch)  # smaller than the model's


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((64, 256), np.uint8), "RGB"),
        (np.zeros((64, 256, 4), np.uint8), "RGB"),
        (np.zeros((64, 256, 3), np.float32), "uint8"),
        (np.full((64, 256, 3), np.nan), "uint8"),
        (np.zeros((0, 256, 3), np.uint8), "empty"),
        (np.zeros((64, 0, 3), np.uint8), "empty"),
        (np.zeros((64, 200, 3), np.uint8), "crop"),
        (np.zeros((256, 64, 3), np.uint8), "crop"),
        (None, "RGB"),
    ],
)
def test_an_image_that_does_not_fit_is_refused_in_one_line_and_the_localizer_lives_on(
    bundle: Bundle, backend: Backend, image: Any, reason: str
) -> None:
    localizer = GeoFlowLocalizer(bundle, backend)
    with pytest.raises(ImageError, match=reason) as caught:
        localizer.localize(image, patch_at(bundle))
    assert "\n" not in str(caught.value)
    assert localizer.localize(ground_image(), patch_at(bundle)).assessment.trustworthy


def test_a_patch_that_the_model_was_not_trained_on_is_refused(bundle: Bundle, backend: Backend) -> None:
    localizer = GeoFlowLocalizer(bundle, backend)
    small = PatchFrame(0.0, 0.0, 0.0, 64, 0.7832)
    with pytest.raises(InputError, match="patch"):
        localizer.localize(ground_image(), SatellitePatch(picture((64, 64, 3)), small))
    coarse = PatchFrame(0.0, 0.0, 0.0, 128, 1.0)
    with pytest.raises(InputError, match="m per pixel"):
        localizer.localize(ground_image(), SatellitePatch(picture((128, 128, 3)), coarse))


def test_a_patch_that_shows_too_little_ground_never_reaches_the_network(bundle: Bundle, backend: Backend) -> None:
    recorder = RecordingBackend(backend)
    localizer = GeoFlowLocalizer(bundle, recorder)
    whole = patch_at(bundle)
    marks = np.zeros(whole.pixels.shape[:2], np.uint8)
    marks[: len(marks) // 4] = NoGround.BLACK
    localizer.localize(ground_image(), replace(whole, no_ground=marks.copy()))
    assert recorder.satellite_calls == 1
    marks[len(marks) // 4 : 5 * len(marks) // 8] = NoGround.TRANSPARENT
    little = replace(whole, no_ground=marks)
    for ask in (lambda: localizer.localize(ground_image(), little), lambda: localizer.prepare(little)):
        with pytest.raises(
            TileMissingError, match=r"only 38 % .* shows ground \(transparent 38 %, black 25 %\), and 70 %"
        ):
            ask()
    assert recorder.satellite_calls == 1


def test_a_north_up_model_gets_patches_that_are_not_turned(bundle: Bundle, backend: Backend) -> None:
    north_up = Bundle(bundle.path, replace(bundle.manifest, alignment="north-up"))
    assert north_up.manifest.patch_frame(1.0, 2.0, 0.9).yaw_rad == 0.0
    assert bundle.manifest.patch_frame(1.0, 2.0, 0.9).yaw_rad == 0.9
    with pytest.raises(InputError, match="north-up"):
        GeoFlowLocalizer(north_up, backend).localize(ground_image(), patch_at(bundle, yaw_rad=0.9))


def test_a_negative_seed_is_refused(bundle: Bundle, backend: Backend) -> None:
    with pytest.raises(InputError, match="seed"):
        GeoFlowLocalizer(bundle, backend, seed=-1)
