"""A real camera's picture, warped, shows the ground where the model's level camera does.

Pictures are rendered by the worlds' own renderer; the real camera reads its own from a wide one by OpenCV's rays.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from fakes.marks import magenta_centre, mark, pose
from fakes.real_camera import fisheye, narrow

from geoflow_ros.errors import InputError
from geoflow_ros.geo import PatchFrame
from geoflow_ros.geo.camera import LEVEL, Attitude, CameraWarp, Intrinsics, Mounting
from geoflow_ros.world import Camera
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.raster import CityRaster, bake
from geoflow_ros.world.real_camera import photograph
from geoflow_ros.world.render import render_views
from geoflow_ros.world.virtual_camera import virtual_camera
from geoflow_ros.world.windows import Windows

EAST, NORTH, YAW = 3.0, -7.0, 0.6
MODEL = virtual_camera(Camera.perspective(512, 128))


FRAME = PatchFrame(EAST, NORTH, YAW, 512, 0.1958)


@cache
def raster() -> CityRaster:
    return bake(CityLayout.generate(5, 200.0), Appearance.sample(5), -96, 96, 192)


def wide(height_m: float) -> Camera:
    """An upright camera that sees more than any other here, at twice the model's resolution."""
    return Camera.pinhole(2400, 1300, 512.0, 512.0, 1199.5, 550.0, height_m)


@cache
def view(east_north: tuple[float, float], camera: str, height_m: float = 1.65) -> np.ndarray:
    """The picture of a mark, by the wide camera or the model's own.

    Marks lie on whole metres, as the cells of the painted street do at all its resolutions.
    """
    windows = Windows.stack([mark(raster(), *east_north)])
    taker = wide(height_m) if camera == "wide" else Camera.perspective(512, 128)
    return np.asarray(render_views(windows, taker, *pose(EAST, NORTH, YAW)).rgb[0])


LENSES = {
    "60 degrees": (narrow(), Mounting()),
    "60 degrees, pitched and rolled": (narrow(), Mounting(lean=Attitude(0.06, 0.09))),
    "100 degrees, looks up": (narrow(fov_deg=100.0), Mounting(lean=Attitude(-0.05, -0.06))),
    "fisheye": (fisheye(), Mounting()),
    "fisheye, pitched": (fisheye(), Mounting(lean=Attitude(-0.1, 0.25))),
    "region and binning": (narrow(1600, 1200).of_region(0, 300, 1600, 800, (2, 2)), Mounting()),
}


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize(("at", "height_m"), [((13.5, 1.5), 1.65), ((9.5, -2.5), 1.1), ((12.5, 4.5), 2.4)])
def test_a_mark_on_the_ground_is_where_the_models_camera_has_it(
    name: str, at: tuple[float, float], height_m: float
) -> None:
    lens, mounting = LENSES[name]
    taken = photograph(view(at, "wide", height_m), wide(height_m), lens, mounting)
    found = magenta_centre(CameraWarp(lens, mounting.optical_of_level(LEVEL), MODEL, height_m)(taken))
    assert found == pytest.approx(magenta_centre(view(at, "model")), abs=0.5)
    forward_right = FRAME.enu_to_local(at)
    assert found == pytest.approx(tuple(MODEL.ground_to_pixel(forward_right)), abs=0.7)  # near halves are larger


def test_the_vehicles_own_pitch_and_roll_are_taken_out() -> None:
    lens, mounting, vehicle = narrow(fov_deg=80.0), Mounting(lean=Attitude(0.0, 0.05)), Attitude(-0.04, 0.03)
    taken = photograph(view((13.5, 1.5), "wide"), wide(1.65), lens, mounting, vehicle)
    levelled = CameraWarp(lens, mounting.optical_of_level(vehicle), MODEL, 1.65)
    ignored = CameraWarp(lens, mounting.optical_of_level(LEVEL), MODEL, 1.65)
    expected = np.array(magenta_centre(view((13.5, 1.5), "model")))
    assert magenta_centre(levelled(taken)) == pytest.approx(tuple(expected), abs=0.5)
    assert np.linalg.norm(magenta_centre(ignored(taken)) - expected) > 5.0


def test_a_camera_that_is_the_models_own_gives_its_picture_back() -> None:
    camera = MODEL
    lens = Intrinsics(512, 128, camera.focal_px, camera.focal_px, 255.5, camera.horizon_row_px)
    warp = CameraWarp(lens, Mounting().optical_of_level(LEVEL), camera, camera.height_m)
    picture = np.random.default_rng(3).integers(0, 256, (128, 512, 3), np.uint8)
    assert warp.covered.all()
    assert np.abs(warp(picture).astype(int) - picture).max() <= 1


def test_what_the_camera_does_not_show_is_counted_and_repeats_what_is_beside_it() -> None:
    focal = 640 / math.tan(math.radians(30.0))
    lens = Intrinsics(1280, 960, focal, focal, 639.5, 479.5)
    warp = CameraWarp(lens, Mounting().optical_of_level(LEVEL), MODEL, 1.65)
    share = math.tan(math.radians(30.0))  # of the model's 45 degrees to either side
    assert warp.covered.mean() == pytest.approx(share, abs=0.01)
    ramp = np.broadcast_to(np.linspace(0, 255, 1280).astype(np.uint8)[None, :, None], (960, 1280, 3))
    shown = warp(np.ascontiguousarray(ramp))
    edges = np.flatnonzero(warp.covered[60])[[0, -1]]
    np.testing.assert_array_equal(shown[60, : edges[0]], shown[60, edges[0]][None].repeat(edges[0], 0))
    np.testing.assert_array_equal(shown[60, -1], shown[60, edges[1]])
    assert shown[60, -1, 0] > 250 > 5 > shown[60, 0, 0]
    assert not warp.covered.flags.writeable


def test_a_camera_that_looks_backwards_covers_nothing() -> None:
    backwards = Mounting().optical_of_level(LEVEL) @ np.diag([-1.0, -1.0, 1.0])
    assert not CameraWarp(narrow(), backwards, MODEL, 1.65).covered.any()


def test_large_pictures_are_averaged_and_do_not_alias() -> None:
    lens = Intrinsics(4096, 1024, 2048.0, 2048.0, 2047.5, 409.1)
    warp = CameraWarp(lens, Mounting().optical_of_level(LEVEL), MODEL, 1.65)
    stripes = np.zeros((1024, 4096, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(warp(stripes).astype(int) - 128).max() <= 2


@pytest.mark.parametrize("height_m", [0.3, 8.0])
def test_a_height_that_cannot_be_made_up_for_is_refused(height_m: float) -> None:
    with pytest.raises(InputError, match="check the camera's height"):
        CameraWarp(narrow(), Mounting().optical_of_level(LEVEL), MODEL, height_m)
