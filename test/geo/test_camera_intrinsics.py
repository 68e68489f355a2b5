"""Rays and pixels of calibrated lenses, against OpenCV; regions, binning, other sizes; what is no calibration."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fakes.real_camera import fisheye, narrow

from geoflow_ros.errors import InputError
from geoflow_ros.geo.camera import EQUIDISTANT, PLUMB_BOB, RATIONAL_POLYNOMIAL, Intrinsics
from geoflow_ros.world.real_camera import optical_rays

MATRIX = [700.0, 0.0, 640.0, 0.0, 705.0, 355.0, 0.0, 0.0, 1.0]
D = {
    PLUMB_BOB: [-0.25, 0.08, 0.001, -0.0007, -0.01],
    RATIONAL_POLYNOMIAL: [2.1, 0.9, 0.0004, -0.0002, 0.05, 2.4, 1.5, 0.2],
    EQUIDISTANT: [0.02, -0.006, 0.001, -0.0002],
}


def lens(model: str, coefficients: list[float] | None = None) -> Intrinsics:
    return Intrinsics.of_calibration((1280, 720), model, MATRIX, D[model] if coefficients is None else coefficients)


def some_rays(most_tangent: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    tangents = rng.uniform(-most_tangent, most_tangent, (500, 2)) / np.sqrt(2)
    return np.concatenate([tangents, np.ones((500, 1))], 1) * rng.uniform(0.1, 30.0, (500, 1))


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        (PLUMB_BOB, []),
        (PLUMB_BOB, D[PLUMB_BOB]),
        (RATIONAL_POLYNOMIAL, D[RATIONAL_POLYNOMIAL]),
        (RATIONAL_POLYNOMIAL, [*D[RATIONAL_POLYNOMIAL], 0.003, -0.001, 0.002, 0.0005]),
    ],
)
def test_pinhole_lenses_project_as_opencv_does(model: str, coefficients: list[float]) -> None:
    rays = some_rays(0.9)
    given = np.array(coefficients or [0.0] * 4)
    expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.reshape(MATRIX, (3, 3)), given)
    np.testing.assert_allclose(lens(model, coefficients).project(rays), expected[:, 0], atol=1e-6)


def test_a_fisheye_projects_as_opencv_does_ahead_and_goes_on_behind_the_camera() -> None:
    rays = some_rays(5.0)
    expected, _ = cv2.fisheye.projectPoints(
        rays[:, None], np.zeros(3), np.zeros(3), np.reshape(MATRIX, (3, 3)), np.array(D[EQUIDISTANT])
    )
    np.testing.assert_allclose(lens(EQUIDISTANT).project(rays), expected[:, 0], atol=1e-6)
    angle = np.radians(100.0)
    beside = lens(EQUIDISTANT).project(np.array([[np.sin(angle), 0.0, np.cos(angle)], [0.0, 0.0, 1.0]]))
    k = D[EQUIDISTANT]
    radius = angle * (1 + sum(c * angle ** (2 * n + 2) for n, c in enumerate(k)))
    np.testing.assert_allclose(beside, [[640.0 + 700.0 * radius, 355.0], [640.0, 355.0]], atol=1e-9)


@pytest.mark.parametrize("camera", [fisheye(), narrow()])
def test_opencvs_rays_come_back_to_their_pixels(camera: Intrinsics) -> None:
    rays = optical_rays(camera)[::20, ::20]
    rows, columns = np.indices((camera.height_px, camera.width_px))[:, ::20, ::20]
    known = np.isfinite(rays).all(-1)
    assert known.mean() > 0.8
    np.testing.assert_allclose(camera.project(rays)[known], np.stack([columns, rows], -1)[known], atol=0.05)


def test_rays_beyond_a_polynomials_largest_radius_have_no_pixel() -> None:
    camera = lens(PLUMB_BOB, [-0.3, 0.0, 0.0, 0.0, 0.0])  # r (1 - 0.3 r^2) falls from r = 1.05
    tangents = np.array([0.9, 1.0, 1.2, 1.8, 5.0])
    rays = np.stack([tangents, 0 * tangents, np.ones(5)], -1)
    assert np.isfinite(camera.project(rays)).all(-1).tolist() == [True, True, False, False, False]
    assert not np.isfinite(camera.project(np.array([[0.1, 0.0, -1.0], [0.0, 0.0, 0.0]]))).any()


def test_a_region_and_binning_are_those_of_the_image_that_is_sent() -> None:
    camera = lens(PLUMB_BOB)
    part = camera.of_region(200, 100, 800, 400, (2, 4))
    assert (part.width_px, part.height_px) == (400, 100)
    pixel = camera.project(np.array([[0.1, 0.05, 1.0]]))[0]
    expected = ((pixel - (200, 100)) + 0.5) / (2, 4) - 0.5
    np.testing.assert_allclose(part.project(np.array([[0.1, 0.05, 1.0]]))[0], expected, atol=1e-9)
    assert camera.of_region(0, 0, 0, 0) == camera
    with pytest.raises(InputError, match="not within its 1280 x 720"):
        camera.of_region(600, 0, 800, 400)


def test_a_calibration_serves_the_same_images_resized_and_no_others() -> None:
    camera = lens(RATIONAL_POLYNOMIAL)
    half = camera.for_image(640, 360)
    ray = np.array([[0.2, -0.1, 1.0]])
    np.testing.assert_allclose(half.project(ray), (camera.project(ray) + 0.5) / 2 - 0.5, atol=1e-9)
    assert camera.for_image(1280, 720) is camera
    with pytest.raises(InputError, match="1280 x 960, but its calibration is for 1280 x 720.*camera_info"):
        camera.for_image(1280, 960)


def test_rectified_images_have_the_lens_of_p_and_the_rotation_of_r() -> None:
    turned = cv2.Rodrigues(np.array([0.01, 0.05, -0.02]))[0]
    p = [650.0, 0, 640, -70.0, 0, 650, 350, 0, 0, 0, 1, 0]
    camera = Intrinsics.of_rectified((1280, 720), p, turned.ravel().tolist())
    ray = np.array([0.2, -0.1, 1.0])
    x, y, z = turned @ ray
    np.testing.assert_allclose(camera.project(ray), (640 + 650 * x / z, 350 + 650 * y / z), atol=1e-9)
    assert Intrinsics.of_rectified((1280, 720), p, np.eye(3).ravel().tolist()).rectification == ()


@pytest.mark.parametrize(
    ("name", "coefficients", "model"),
    [
        ("", [], PLUMB_BOB),
        ("none", [0.0], PLUMB_BOB),
        ("plumb_bob", [0.1, 0.0, 0.0, 0.0], PLUMB_BOB),
        ("plumb_bob", [-0.1, 0.2, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0], PLUMB_BOB),
        ("rational_polynomial", [0.1, 0.2, 0.0, 0.0, 0.3], RATIONAL_POLYNOMIAL),
        ("rational_polynomial", [0.1] * 8 + [0.0] * 6, RATIONAL_POLYNOMIAL),
        ("fisheye", [0.1, 0.2, 0.0, 0.0], EQUIDISTANT),
        ("Equidistant", [0.0] * 4, EQUIDISTANT),
    ],
)
def test_models_are_known_by_the_names_that_drivers_give_them(name: str, coefficients: list[float], model: str) -> None:
    camera = Intrinsics.of_calibration((1280, 720), name, MATRIX, coefficients)
    assert camera.model == model
    assert np.isfinite(camera.project(np.array([0.1, 0.1, 1.0]))).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"camera_matrix": [0.0] * 9}, "calibrate the camera"),
        ({"camera_matrix": [np.nan, *MATRIX[1:]]}, "not finite"),
        ({"camera_matrix": MATRIX[:8]}, "9 numbers"),
        ({"model": "double_sphere"}, "'double_sphere' is not one of plumb_bob, rational_polynomial, equidistant"),
        ({"coefficients": [0.1] * 6}, "4 or 5 coefficients, not 6"),
        ({"model": "rational_polynomial", "coefficients": [0.1] * 14}, "8 or 12 coefficients, not 14"),
        ({"size": (0, 0)}, "0 x 0"),
    ],
)
def test_what_is_no_calibration_is_refused_with_a_reason(changes: dict[str, object], reason: str) -> None:
    given: dict[str, object] = {
        "size": (1280, 720), "model": "plumb_bob", "camera_matrix": MATRIX, "coefficients": [0.1] * 5
    }  # fmt: skip
    with pytest.raises(InputError, match=reason):
        Intrinsics.of_calibration(**{**given, **changes})  # type: ignore[arg-type]
