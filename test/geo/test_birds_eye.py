"""Cells on the ground and the pixels that show them, by hand and against a dense search through the image."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoflow_ros.errors import GeometryError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.geo.birds_eye import BirdsEyeGrid, VirtualCamera, VirtualPanorama

CAMERA = VirtualCamera(512, 128, focal_px=256.0, horizon_row_px=50.7, height_m=1.65)
GRID = BirdsEyeGrid(cell_m=0.5, first_forward_cell=4, forward_cells=40, right_cells=48)


def bilinear(image: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Samples (H, W) as grid sampling does: edges at -1 and 1, the border's values beyond."""
    height, width = image.shape
    coordinates = coordinates.astype(float)
    column = np.clip(((coordinates[..., 0] + 1.0) * width - 1.0) / 2.0, 0, width - 1)
    row = np.clip(((coordinates[..., 1] + 1.0) * height - 1.0) / 2.0, 0, height - 1)
    c, r = np.minimum(column.astype(int), width - 2), np.minimum(row.astype(int), height - 2)
    a, b = column - c, row - r
    upper = image[r, c] * (1 - a) + image[r, c + 1] * a
    lower = image[r + 1, c] * (1 - a) + image[r + 1, c + 1] * a
    return np.asarray(upper * (1 - b) + lower * b)


def test_a_point_is_projected_as_by_hand() -> None:
    # 256 px * 2 m / 8 m to the right of column 255.5, 256 px * 1.65 m / 8 m below the horizon
    assert CAMERA.ground_to_pixel((8.0, 2.0)) == pytest.approx((255.5 + 64.0, 50.7 + 52.8))
    assert np.isnan(CAMERA.ground_to_pixel((-1.0, 0.0))).all()
    panorama = VirtualPanorama(1024, 256, math.radians(90.0), 2.0)
    # 2 m below at 2 m: 45 degrees, which is the image's lower edge; to the right is three quarters of the width
    assert panorama.ground_to_pixel((0.0, 2.0)) == pytest.approx((767.5, 255.5))
    assert panorama.ground_to_pixel((2.0, 0.0))[0] == pytest.approx(511.5)


def test_cells_are_counted_from_the_corner_where_the_camera_stands() -> None:
    centres = GRID.centres_m()
    assert centres.shape == (40, 48, 2)
    assert centres[0, 24] == pytest.approx((2.25, 0.25))
    assert centres[3, 0] == pytest.approx((3.75, -11.75))
    assert GRID.to_cell(centres[7, 31]) == pytest.approx((7.0, 31.0))
    coarse = GRID.coarsened(2)
    assert coarse.refined(2) == GRID
    assert coarse.centres_m()[2, 5] == pytest.approx(centres[4:6, 10:12].mean((0, 1)))


def test_sampling_a_picture_of_the_columns_gives_the_projected_columns() -> None:
    sampling = GRID.sampling(CAMERA)
    seen = sampling.is_visible
    pixel = CAMERA.ground_to_pixel(GRID.centres_m())[seen]
    columns, rows = np.meshgrid(np.arange(512.0), np.arange(128.0))
    assert bilinear(columns, sampling.coordinates[seen]) == pytest.approx(pixel[:, 0], abs=1e-3)
    assert bilinear(rows, sampling.coordinates[seen]) == pytest.approx(pixel[:, 1], abs=1e-3)


def test_sampling_follows_the_convention_that_torch_has() -> None:
    torch = pytest.importorskip("torch")
    sampling = GRID.sampling(CAMERA)
    image = np.random.default_rng(3).random((128, 512))
    picked = torch.nn.functional.grid_sample(
        torch.tensor(image)[None, None],
        torch.tensor(sampling.coordinates, dtype=torch.float64)[None],
        padding_mode="border",
        align_corners=False,
    )[0, 0].numpy()
    seen = sampling.is_visible
    assert picked[seen] == pytest.approx(bilinear(image, sampling.coordinates)[seen], abs=1e-9)


def test_coordinates_hold_for_features_at_any_stride() -> None:
    seen = GRID.sampling(CAMERA).is_visible
    coordinates = GRID.sampling(CAMERA).coordinates[seen]
    columns = np.meshgrid(np.arange(512.0), np.arange(128.0))[0]
    pooled = columns.reshape(32, 4, 128, 4).mean((1, 3))  # cells of 4 x 4 pixels that know their mean column
    wanted = np.clip(
        CAMERA.ground_to_pixel(GRID.centres_m())[seen][:, 0], 1.5, 509.5
    )  # no cell's centre is farther out
    assert bilinear(pooled, coordinates) == pytest.approx(wanted, abs=1e-3)


def test_what_the_camera_cannot_see_takes_no_part() -> None:
    wide = BirdsEyeGrid(1.0, 0, 30, 40, range_m=20.0)
    bonnet = VirtualCamera(512, 128, 256.0, 50.7, 1.65, bonnet_row_px=100.0)
    seen = wide.sampling(bonnet).is_visible
    forward, right = np.moveaxis(wide.centres_m(), -1, 0)
    expected = (
        (np.abs(right) * 256.0 <= 255.5 * forward)  # the field of view
        & (256.0 * 1.65 / forward + 50.7 <= 100.0)  # nearer than the bonnet's edge
        & (np.hypot(forward, right) <= 20.0)
    )
    assert (seen == expected).all()
    assert 0 < seen.sum() < seen.size
    assert (wide.sampling(bonnet).coordinates[~seen] == 2.0).all()


def test_a_panorama_sees_all_around_but_not_below_its_lower_edge() -> None:
    around = BirdsEyeGrid(1.0, -16, 32, 32)
    panorama = VirtualPanorama(512, 128, math.radians(90.0), 1.65)
    seen = around.sampling(panorama).is_visible
    distance = np.hypot(*np.moveaxis(around.centres_m(), -1, 0))
    lowest = (0.5 + np.arctan2(1.65, distance) / math.radians(90.0)) * 128 - 0.5
    assert (seen == (lowest <= 127.0)).all()
    assert seen[::-1].sum() == seen.sum()  # as many behind as ahead


def test_the_sky_may_be_cut_off() -> None:
    camera = VirtualCamera(512, 128, 256.0, 50.7, 1.65, bonnet_row_px=120.0)
    cut = camera.below(32)
    assert (cut.height_px, cut.lowest_row_px) == (96, 88.0)
    assert cut.ground_to_pixel((9.0, -3.0)) == pytest.approx(camera.ground_to_pixel((9.0, -3.0)) - (0, 32))
    assert (GRID.sampling(cut).is_visible == GRID.sampling(camera).is_visible).all()


@pytest.mark.parametrize("lat", [0.0, 49.0, -37.0, 70.0])
@pytest.mark.parametrize("heading_deg", [0.0, 37.0, 90.0, 200.0, -61.0])
@pytest.mark.parametrize("height_m", [1.2, 1.65, 2.8])
def test_a_place_on_earth_has_one_cell_and_one_patch_pixel(lat: float, heading_deg: float, height_m: float) -> None:
    datum = Datum(lat, 8.4)
    yaw, cell_m = math.radians(heading_deg), 4 * 0.1958
    frame = PatchFrame(40.0, -25.0, yaw, 512, 0.1958)  # a patch with the camera in its middle
    grid = BirdsEyeGrid(cell_m, 4, 48, 64)
    mark = np.array([13.4, -5.2])
    latitude, longitude = datum.to_latlon(*frame.local_to_enu(mark))
    enu = np.array(datum.to_enu(latitude, longitude))
    cell = grid.to_cell(frame.enu_to_local(enu))
    # a patch's pixels and the grid's cells are one lattice: 4 pixels a cell, both counted from the camera's corner
    column, row = frame.to_pixel(enu)
    assert cell == pytest.approx(((column + 0.5 - 256) / 4 - 4 - 0.5, (row + 0.5 - 256) / 4 + 32 - 0.5), abs=1e-6)
    # and the pixel that shows the mark is where the cell's coordinates, read between the cells, point to
    camera = VirtualCamera(512, 128, 256.0, 50.7, height_m)
    sampling = grid.sampling(camera)
    i, j = np.floor(cell).astype(int)
    corners = grid.centres_m()[i : i + 2, j : j + 2]
    assert sampling.is_visible[i : i + 2, j : j + 2].all()
    assert (corners.min((0, 1)) <= mark).all()
    assert (mark <= corners.max((0, 1))).all()
    pixels = ((sampling.coordinates[i : i + 2, j : j + 2] + 1.0) * (512, 128) - 1.0) / 2.0
    seen_at = camera.ground_to_pixel(mark)
    assert (pixels.min((0, 1)) - 1e-3 <= seen_at).all()
    assert (seen_at <= pixels.max((0, 1)) + 1e-3).all()


@pytest.mark.parametrize(
    "camera",
    [
        VirtualCamera(512, 128, 256.0, 200.0, 1.65),  # it looks at the sky
        VirtualCamera(512, 128, 256.0, 50.7, 1.65, bonnet_row_px=51.0),  # the bonnet hides the road
        VirtualCamera(512, 128, 256.0, 50.7, 60.0),  # it is too high to see anything so near
    ],
)
def test_a_grid_that_is_wholly_masked_is_refused(camera: VirtualCamera) -> None:
    with pytest.raises(GeometryError, match="sees no cell"):
        GRID.sampling(camera)


def test_impossible_cameras_and_grids_are_refused() -> None:
    for bad in (
        {"width_px": 0},
        {"focal_px": 0.0},
        {"focal_px": math.nan},
        {"height_m": -1.0},
        {"horizon_row_px": math.inf},
        {"bonnet_row_px": math.nan},
    ):
        values = {"width_px": 512, "height_px": 128, "focal_px": 256.0, "horizon_row_px": 50.0, "height_m": 1.65}
        with pytest.raises(GeometryError):
            VirtualCamera(**{**values, **bad})  # type: ignore[arg-type]
    with pytest.raises(GeometryError, match="vertical field of view"):
        VirtualPanorama(512, 128, 4.0, 1.65)
    for grid in ((0.0, 0, 4, 4), (1.0, 0, 0, 4), (1.0, 0, 4, 3)):
        with pytest.raises(GeometryError):
            BirdsEyeGrid(*grid)
    with pytest.raises(GeometryError, match="range"):
        BirdsEyeGrid(1.0, 0, 4, 4, range_m=0.0)
    with pytest.raises(GeometryError, match="joined"):
        BirdsEyeGrid(1.0, 1, 4, 4).coarsened(2)
