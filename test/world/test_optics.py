"""A camera that does not stand as assumed: every disturbance moves the picture by its own formula."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.marks import magenta_centre, mark, pose

from geoflow_ros.errors import InputError
from geoflow_ros.world import Camera
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.optics import CameraImage, CameraPose, focal_px, rays_of, resample, upright_camera
from geoflow_ros.world.raster import CityRaster, bake
from geoflow_ros.world.render import render_views
from geoflow_ros.world.virtual_camera import as_it_stands, virtual_camera
from geoflow_ros.world.windows import Windows

CAMERA = Camera.perspective(512, 128)
FOCAL, CX, CY = 256.0, 255.5, 0.4 * 128 - 0.5
EAST, NORTH, YAW = 3.0, -7.0, 0.6


@pytest.fixture(scope="module")
def raster() -> CityRaster:
    return bake(CityLayout.generate(5, 200.0), Appearance.sample(5), -192, 192, 384)


def seen(raster: CityRaster, camera_pose: CameraPose) -> CameraImage:
    """The image of a disturbed camera, rendered."""
    rays = rays_of(CAMERA, camera_pose)
    upright = upright_camera(CAMERA, [rays], camera_pose.height_scale)
    view = render_views(Windows.stack([raster]), upright, *pose(EAST, NORTH, YAW))
    return resample(upright, rays, view.rgb[0], view.depth_m[0], view.label[0])


def pixel_of(forward: float, right: float, p: CameraPose) -> tuple[float, float]:
    """Where a point of the ground is seen: the way forward, from the world to the pixel."""
    up = p.gradient * forward + p.crossfall * right
    point = np.array([right, p.height_scale * CAMERA.height_m - up, forward])
    cos, sin = np.cos(p.pitch_rad), np.sin(p.pitch_rad)
    point = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]) @ point  # the optical axis turned upwards
    cos, sin = np.cos(p.roll_rad), np.sin(p.roll_rad)
    x, y, z = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) @ point
    wanted = np.array([x / z, y / z])
    bent = wanted.copy()
    for _ in range(50):
        bent = wanted / (1 + p.radial * (bent @ bent))
    return float(CX + FOCAL * p.focal_scale * bent[0]), float(CY + FOCAL * p.focal_scale * bent[1])


def test_the_focal_length_is_read_from_the_camera() -> None:
    assert focal_px(CAMERA) == pytest.approx(FOCAL, rel=1e-5)


def test_a_camera_that_stands_as_assumed_sees_what_it_always_saw(raster: CityRaster) -> None:
    exact = render_views(Windows.stack([raster]), CAMERA, *pose(EAST, NORTH, YAW))
    image = seen(raster, CameraPose())
    assert np.abs(image.rgb.astype(int) - exact.rgb[0]).mean() < 1.0
    assert (image.label == exact.label[0]).mean() > 0.98
    assert image.azimuth_rad[5] == pytest.approx(CAMERA.azimuth_rad, abs=1e-5)
    assert image.slope == pytest.approx(CAMERA.slope, abs=1e-5)


@pytest.mark.parametrize("pitch_deg", [-3.0, -1.0, 2.0])
def test_pitch_moves_the_horizon_by_focal_length_times_its_tangent(pitch_deg: float) -> None:
    down = rays_of(CAMERA, CameraPose(pitch_rad=np.radians(pitch_deg))).down[:, 256]
    horizon = float(np.interp(0.0, down, np.arange(128)))
    assert horizon - CY == pytest.approx(FOCAL * np.tan(np.radians(pitch_deg)), abs=0.05)


def test_roll_to_the_right_makes_the_horizon_fall_to_the_left() -> None:
    down = rays_of(CAMERA, CameraPose(roll_rad=np.radians(2.0))).down
    rows = [float(np.interp(0.0, down[:, column], np.arange(128))) for column in (56, 455)]
    assert rows[0] - rows[1] == pytest.approx(399 * np.tan(np.radians(2.0)), abs=0.1)


def test_a_longer_focal_length_magnifies_about_the_centre() -> None:
    plain, longer = (rays_of(CAMERA, CameraPose(focal_scale=scale)) for scale in (1.0, 1.03))
    assert longer.right == pytest.approx(plain.right / 1.03, abs=1e-6)
    assert longer.down == pytest.approx(plain.down / 1.03, abs=1e-6)


def test_a_gradient_moves_the_vanishing_point_and_leaves_azimuths() -> None:
    plain, rising = (rays_of(CAMERA, CameraPose(gradient=gradient)) for gradient in (0.0, 0.06))
    assert rising.right == pytest.approx(plain.right, abs=1e-6)
    assert rising.down - plain.down == pytest.approx(np.full((128, 512), 0.06), abs=1e-6)


def test_a_vehicle_that_stands_on_the_slope_sees_its_plane_as_a_level_one(raster: CityRaster) -> None:
    """Gradient and crossfall cancel against the attitude that they give to the vehicle, to second order."""
    on_slope = CameraPose(pitch_rad=np.arctan(0.06), roll_rad=-np.arctan(0.025), gradient=0.06, crossfall=0.025)
    for forward, right in ((6.0, 0.0), (10.0, 3.0), (18.0, -5.0)):
        assert pixel_of(forward, right, on_slope) == pytest.approx(pixel_of(forward, right, CameraPose()), abs=2.0)


ALL_AT_ONCE = CameraPose(
    pitch_rad=np.radians(2.0),
    roll_rad=np.radians(-1.5),
    height_scale=1.1,
    focal_scale=0.97,
    radial=0.02,
    gradient=0.05,
    crossfall=-0.02,
)


@pytest.mark.parametrize(
    "camera_pose",
    [
        CameraPose(pitch_rad=np.radians(-2.0)),
        CameraPose(roll_rad=np.radians(2.0)),
        CameraPose(height_scale=0.9),
        CameraPose(radial=-0.03),
        CameraPose(gradient=0.06),
        CameraPose(crossfall=0.025),
        ALL_AT_ONCE,
    ],
    ids=["pitch", "roll", "height", "distortion", "gradient", "crossfall", "all"],
)
@pytest.mark.parametrize(("forward", "right"), [(9.0, 2.0), (13.0, -6.0)])
def test_a_mark_on_the_ground_is_seen_where_the_disturbed_camera_projects_it(
    raster: CityRaster, camera_pose: CameraPose, forward: float, right: float
) -> None:
    at = (
        EAST + forward * np.cos(YAW) + right * np.sin(YAW),
        NORTH + forward * np.sin(YAW) - right * np.cos(YAW),
    )
    image = seen(mark(raster, *at), camera_pose)
    column, row = magenta_centre(image.rgb)
    expected = pixel_of(forward, right, camera_pose)
    assert (column, row) == pytest.approx(expected, abs=2.0)
    # and depth and azimuth there lead to the mark's place on the map: the truth is what it was
    pixel = (round(expected[1]), round(expected[0]))
    distance, azimuth = float(image.depth_m[pixel]), float(image.azimuth_rad[pixel])
    assert distance * np.cos(azimuth) == pytest.approx(forward, abs=0.35)
    assert distance * np.sin(azimuth) == pytest.approx(right, abs=0.2)


@pytest.mark.parametrize("roll_deg", [0.0, 1.5, -2.0])
def test_the_ground_is_seen_as_by_the_camera_as_it_stands(roll_deg: float) -> None:
    camera_pose = CameraPose(
        pitch_rad=np.radians(1.7),
        roll_rad=np.radians(roll_deg),
        height_scale=1.08,
        focal_scale=0.97,
        gradient=0.02,
        crossfall=0.01,
    )
    stands = as_it_stands(virtual_camera(CAMERA), camera_pose)
    for forward, right in ((7.0, -2.0), (9.0, 3.0), (25.0, 10.0)):
        assert stands.ground_to_pixel((forward, right)) == pytest.approx(pixel_of(forward, right, camera_pose), abs=2.0)


def test_the_upright_camera_sees_all_that_the_disturbed_one_sees() -> None:
    rays = rays_of(CAMERA, ALL_AT_ONCE)
    upright = upright_camera(CAMERA, [rays], 1.1)
    assert upright.azimuth_rad[0] < rays.azimuth_rad.min()
    assert upright.azimuth_rad[-1] > rays.azimuth_rad.max()
    assert upright.slope.max() > rays.slope.max()
    assert upright.slope.min() < rays.slope.min()
    assert upright.width * upright.height < 1.4 * 512 * 128  # and not much more
    assert upright.height_m == pytest.approx(1.1 * CAMERA.height_m)


def test_a_camera_that_looks_at_its_own_feet_is_refused() -> None:
    with pytest.raises(InputError, match="too far"):
        rays_of(CAMERA, CameraPose(pitch_rad=np.radians(85.0)))
