"""What a rendered view shows of a mark on the ground lies, seen from above, where the satellite patch shows it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fakes.marks import magenta, magenta_centre, mark, pose

from geoflow_ros.errors import InputError
from geoflow_ros.geo import PatchFrame
from geoflow_ros.geo.birds_eye import BirdsEyeGrid, VirtualPanorama
from geoflow_ros.world import Camera
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.raster import CityRaster, bake
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.virtual_camera import virtual_camera
from geoflow_ros.world.windows import Windows

EAST, NORTH = 3.0, -7.0
RESOLUTION_M = 0.1958


@pytest.fixture(scope="module")
def raster() -> CityRaster:
    return bake(CityLayout.generate(5, 200.0), Appearance.sample(5), -96, 96, 192)


def laid_flat(image: np.ndarray, grid: BirdsEyeGrid, camera: Camera | VirtualPanorama) -> np.ndarray:
    """The image on the grid's cells, (F, R, 3); black where the camera does not see them."""
    virtual = camera if isinstance(camera, VirtualPanorama) else virtual_camera(camera)
    sampling = grid.sampling(virtual)
    height, width = image.shape[:2]
    x = ((sampling.coordinates[..., 0] + 1) * width - 1) / 2
    y = ((sampling.coordinates[..., 1] + 1) * height - 1) / 2
    flat = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(sampling.is_visible[..., None], flat, 0)


def centre_m(flat: np.ndarray, grid: BirdsEyeGrid) -> np.ndarray:
    """The mark's centre in metres, (forward, right)."""
    score = magenta(flat)
    assert score.sum() > 0, "the mark is not on the grid"
    return np.asarray((grid.centres_m() * score[..., None]).sum((0, 1)) / score.sum())


@pytest.mark.parametrize("heading_deg", [0.0, 37.0, 90.0, 200.0, -61.0])
@pytest.mark.parametrize(("forward", "right"), [(10.0, 0.0), (12.0, 4.0), (15.0, -7.0)])
@pytest.mark.parametrize("height_m", [1.3, 1.65, 2.6])
def test_a_mark_has_one_cell_seen_from_the_camera_and_in_the_patch(
    raster: CityRaster, heading_deg: float, forward: float, right: float, height_m: float
) -> None:
    yaw = float(np.radians(heading_deg))
    frame = PatchFrame(EAST, NORTH, yaw, 512, RESOLUTION_M)
    at = frame.local_to_enu((forward, right))
    windows = Windows.stack([mark(raster, *at)])
    camera = Camera.perspective(1024, 256, height_m=height_m)
    view = render_views(windows, camera, *pose(EAST, NORTH, yaw)).rgb[0]
    grid = BirdsEyeGrid(0.2, 15, 90, 100)
    seen = centre_m(laid_flat(view, grid, camera), grid)
    # a camera pixel covers forward^2 / (focal * height) metres of ground along the view
    assert seen[0] == pytest.approx(forward, abs=0.12 + forward**2 / (512 * height_m) / 4)
    assert seen[1] == pytest.approx(right, abs=0.12)
    patch, _ = render_patches(windows, 512, RESOLUTION_M, *pose(EAST, NORTH, yaw))
    pixel = magenta_centre(patch[0])
    assert pixel == pytest.approx(tuple(frame.to_pixel(at)), abs=0.5)
    from_above = frame.enu_to_local(frame.to_enu(pixel))
    assert np.abs(grid.to_cell(seen) - grid.to_cell(from_above)).max() < 1.5


@pytest.mark.parametrize("bearing_deg", [-150.0, -75.0, 0.0, 120.0])
def test_a_panorama_sees_marks_all_around_on_their_cells(raster: CityRaster, bearing_deg: float) -> None:
    bearing = np.radians(bearing_deg)
    yaw = float(np.radians(25.0))
    at = PatchFrame(EAST, NORTH, yaw, 512, RESOLUTION_M).local_to_enu((7 * np.cos(bearing), 7 * np.sin(bearing)))
    camera = Camera.panorama(1024, 256)
    view = render_views(Windows.stack([mark(raster, *at)]), camera, *pose(EAST, NORTH, yaw)).rgb[0]
    grid = BirdsEyeGrid(0.2, -60, 120, 120)
    virtual = VirtualPanorama(1024, 256, float(np.radians(90.0)), camera.height_m)
    seen = centre_m(laid_flat(view, grid, virtual), grid)
    assert seen == pytest.approx((7 * np.cos(bearing), 7 * np.sin(bearing)), abs=0.2)


@pytest.mark.parametrize(("fov_deg", "height_m", "horizon"), [(90.0, 1.65, 0.4), (60.0, 1.2, 0.55)])
def test_the_virtual_camera_has_the_rays_of_the_worlds_camera(fov_deg: float, height_m: float, horizon: float) -> None:
    camera = Camera.perspective(512, 128, fov_deg, height_m, horizon)
    virtual = virtual_camera(camera)
    assert virtual.focal_px == pytest.approx(256 / np.tan(np.radians(fov_deg / 2)), rel=1e-5)
    assert virtual.horizon_row_px == pytest.approx(horizon * 128 - 0.5, abs=1e-3)
    assert virtual.height_m == height_m
    for point in ((16.0, 1.0), (20.0, -5.0)):
        assert virtual.ground_to_pixel(point) == pytest.approx(camera.project(*point, 0.0), abs=0.02)


def test_a_panorama_is_no_virtual_camera() -> None:
    with pytest.raises(InputError, match="only a pinhole"):
        virtual_camera(Camera.panorama(512, 128))
    with pytest.raises(InputError, match="only a pinhole"):
        virtual_camera(Camera.pinhole(512, 128, 256.0, 300.0, 255.5, 50.0, 1.65))
