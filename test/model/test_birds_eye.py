"""The bird's-eye network: templates, correlation, and that the pose it finds is the pose there was."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra")

from fakes.ground_cells import TINY_BIRDS_EYE, scene, tiny_matcher  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from geoflow_ros.errors import GeometryError, InputError  # noqa: E402
from geoflow_ros.geo import BirdsEyeGrid, VirtualCamera  # noqa: E402
from geoflow_ros.inference.pose_search import CameraHypotheses  # noqa: E402
from geoflow_ros.model import BirdsEyeConfig, BirdsEyeMatcher, GeoFlowConfig  # noqa: E402
from geoflow_ros.model.birds_eye_config import PAPER_ENCODERS  # noqa: E402
from geoflow_ros.model.birds_eye_encoders import projection  # noqa: E402
from geoflow_ros.model.birds_eye_matching import (  # noqa: E402
    correlate,
    correlate_by_fft,
    search_area,
    turned,
    turned_templates,
    window_areas,
)


@pytest.fixture(scope="module")
def matcher() -> BirdsEyeMatcher:
    """The small network's geometry; features of unit size give scores that are neither flat nor sharper than cells."""
    model = tiny_matcher(BirdsEyeConfig(width=4))
    with torch.no_grad():
        model.log_scale -= 2.0
    return model.eval()


def test_spare_channels_for_engines_change_no_answer(matcher: BirdsEyeMatcher) -> None:
    encoder = matcher.ground
    aligned = encoder.aligned()
    assert encoder.refine.wide[0].in_channels == 3 * 4 + 2
    assert aligned.refine.wide[0].in_channels == aligned.refine.wide[0].weight.shape[1] == 16
    images = torch.randn((1, 3, 128, 512), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for found, wanted in zip(aligned(images), encoder(images), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cells", [(10, 8), (12, 6), (7, 8)])
def test_correlation_by_matrix_product_is_convolution_and_so_is_that_by_spectra(cells: tuple[int, int]) -> None:
    grid = BirdsEyeGrid(1.0, 0, *cells)
    generator = torch.Generator().manual_seed(1)
    area = torch.randn((2, 3, 30, 28), generator=generator)
    features, turns = (
        torch.randn((2, 3, *cells), generator=generator),
        torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.2, 1.0]]),
    )
    templates = turned(features, turns, grid, grid)
    wanted = torch.stack([F.conv2d(area[i : i + 1], templates[i])[0] for i in range(2)])
    found = correlate(area, turned_templates(features, turns, grid, grid))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(correlate_by_fft(area, templates), wanted, atol=1e-4, rtol=0)


def test_a_template_is_turned_to_the_right_by_the_heading_error() -> None:
    grid = BirdsEyeGrid(1.0, 0, 20, 20)
    cells = torch.zeros((1, 1, 20, 20))
    cells[0, 0, 12, 10] = 1.0  # 12.5 m ahead, 0.5 m to the right
    turn = torch.tensor([[math.radians(30.0), 0.0]])
    result = turned(cells, turn, grid, grid)[0, :, 0].numpy()
    centre = (grid.centres_m() * result[0][..., None]).sum((0, 1)) / result[0].sum()
    cosine, sine = math.cos(turn[0, 0].item()), math.sin(turn[0, 0].item())
    assert centre == pytest.approx((12.5 * cosine - 0.5 * sine, 12.5 * sine + 0.5 * cosine), abs=0.25)
    assert result[1] == pytest.approx(cells[0, 0].numpy(), abs=1e-5)


def test_a_window_is_a_part_of_the_search_area_and_zero_beyond_the_patch() -> None:
    grid = BirdsEyeGrid(1.0, 2, 6, 8)
    satellite = torch.randn((1, 2, 24, 24), generator=torch.Generator().manual_seed(0))
    area = search_area(satellite, grid, 9)
    assert area.shape == (1, 2, 6 + 18, 8 + 18)
    windows = window_areas(satellite, grid, torch.tensor([[[3.0, -5.0], [7.0, 1.0]]]), 2)
    for number, (forward, right) in enumerate(((3, -5), (7, 1))):
        part = area[:, :, 9 + forward - 2 : 9 + forward + 2 + 6, 9 + right - 2 : 9 + right + 2 + 8]
        torch.testing.assert_close(windows[:, number], part, atol=1e-4, rtol=0)
    assert (area[:, :, -1] == 0).all()  # 2 + 6 + 9 cells ahead of the centre: beyond the patch's 12


def test_windows_have_the_scores_of_the_whole_volume() -> None:
    model = tiny_matcher().eval()
    satellite, ground = scene(model, (3.0, -2.0), 4.0)
    turn = torch.tensor([[-0.1, 0.02]])
    with torch.no_grad():
        coarse, volume, _ = model.volume_scores(satellite, ground, turn, turn)
        first = torch.zeros((1, 1), dtype=torch.int64)
        window = model.fine_scores(satellite, ground, first, torch.tensor([[[2.0, -4.0]]]), turn[:, None])
        torch.testing.assert_close(coarse, model.coarse_scores(satellite, ground, turn), atol=1e-4, rtol=0)
    middle = volume.shape[-1] // 2
    part = volume[:, :, middle + 2 - 4 : middle + 2 + 5, middle - 4 - 4 : middle - 4 + 5]
    torch.testing.assert_close(window[:, 0], part, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("forward", "right", "turn_deg"), [(6.3, -9.4, 3.1), (-12.5, 4.0, -7.5), (0.0, 15.7, 0.6)])
def test_the_pose_of_a_camera_is_found(matcher: BirdsEyeMatcher, forward: float, right: float, turn_deg: float) -> None:
    satellite, ground = scene(matcher, (forward, right), turn_deg)
    answer = matcher.posteriors(satellite, ground, matcher.config.search)[0].estimate()
    assert answer.pose[:2] == pytest.approx((forward, right), abs=0.2)
    assert math.degrees(answer.pose[2]) == pytest.approx(turn_deg, abs=0.5)
    assert answer.modes[0].mass > 0.5


@pytest.mark.parametrize("turn_deg", [-170.0, 95.0])
def test_a_heading_that_is_not_known_at_all_is_found(matcher: BirdsEyeMatcher, turn_deg: float) -> None:
    satellite, ground = scene(matcher, (6.3, -9.4), turn_deg)
    search = replace(matcher.config.search, max_turn_rad=math.pi, coarse_turn_step_rad=math.radians(5.0))
    answer = matcher.posteriors(satellite, ground, search)[0].estimate()
    assert answer.pose[:2] == pytest.approx((6.3, -9.4), abs=0.2)
    assert math.degrees(answer.pose[2]) == pytest.approx(turn_deg, abs=0.5)


def test_what_the_camera_does_not_see_and_other_cameras_change_nothing_or_the_cells() -> None:
    model = tiny_matcher().eval()
    images = torch.randn((2, 3, 32, 128), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        nominal = model.ground(images)
        hidden = ~torch.from_numpy(model.config.grid.sampling(model.config.camera).is_visible)
        assert hidden.any()
        assert (nominal.fine[:, :, hidden] == 0).all()
        assert (nominal.fine_confidence[:, 0, hidden] == 0).all()
        same = model.ground(images, projection(model.config, model.config.camera, model.config.camera))
        torch.testing.assert_close(same.fine, nominal.fine)
        camera = model.config.camera
        assert isinstance(camera, VirtualCamera)
        lower = model.ground(images, projection(model.config, replace(camera, height_m=1.2)))
    assert (lower.fine - nominal.fine).abs().max() > 1e-3
    with pytest.raises(GeometryError, match="sees no cell"):
        projection(model.config, replace(camera, horizon_row_px=60.0))


def test_full_size_has_the_same_cells_half_as_wide_pixels_and_the_paper_has_its_channels() -> None:
    full = BirdsEyeConfig(
        stem_halvings=1,
        satellite_size_px=512,
        ground_height_px=256,
        ground_width_px=1024,
        ground_resolution_m=0.1958,
        focal_px=512.0,
        horizon_row_px=101.9,
        lowest_row_px=255.0,
        sky_rows_px=64,
        **PAPER_ENCODERS,
    )
    assert full.cell_m == pytest.approx(BirdsEyeConfig().cell_m)
    assert full.search == BirdsEyeConfig().search
    with torch.device("meta"):
        parameters = sum(p.numel() for p in BirdsEyeMatcher(replace(TINY_BIRDS_EYE, **PAPER_ENCODERS)).parameters())
    assert parameters > 10_000_000
    tiny = replace(TINY_BIRDS_EYE, stem_halvings=1, satellite_size_px=128, ground_resolution_m=0.7832)
    tiny = replace(tiny, ground_height_px=64, ground_width_px=256, focal_px=128.0, horizon_row_px=25.1)
    model = BirdsEyeMatcher(replace(tiny, lowest_row_px=63.0)).eval()
    cells = model.satellite(torch.zeros((1, 3, 128, 128)))
    assert cells.fine.shape == (1, 3, 32, 32)
    assert model.ground(torch.zeros((1, 3, 64, 256))).coarse.shape == (1, 5, 6, 8)


def test_images_that_are_not_numbers_give_no_pose() -> None:
    model = tiny_matcher().eval()
    satellite, ground = torch.zeros((1, 3, 64, 64)), torch.full((1, 3, 32, 128), math.nan)
    with pytest.raises(InputError, match="not finite"):
        model.estimate(satellite, ground)
    assert np.isfinite(model.estimate(satellite, torch.zeros((1, 3, 32, 128)))[0].pose).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width"),
        ({"refine_kernel": 4}, "odd"),
        ({"sky_rows_px": 40}, "multiple of 16"),
        ({"satellite_size_px": 250}, "multiple of 16"),
        ({"alignment": "north-up"}, "forward-x"),
        ({"camera_model": "fisheye"}, "camera_model"),
        ({"camera_height_m": 0.0}, "above the ground"),
        ({"right_cells": 60}, "joined"),
        ({"max_turn_deg": 1.0}, "turns"),
    ],
)
def test_configurations_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BirdsEyeConfig(**settings)  # type: ignore[arg-type]


def test_both_methods_name_their_sizes_alike() -> None:
    shared = ("satellite_size_px", "ground_height_px", "ground_width_px", "ground_resolution_m", "search_radius_m")
    assert all(hasattr(BirdsEyeConfig(), name) and hasattr(GeoFlowConfig(), name) for name in shared)


def test_the_way_in_which_the_camera_stands_is_found_with_the_pose(matcher: BirdsEyeMatcher) -> None:
    satellite, ground = scene(matcher, (6.3, -9.4), 3.1)
    _, other = scene(matcher, (6.3, -9.4), 3.1, seed=9)  # what another camera would see: another place
    both = type(ground)(*(torch.cat(parts) for parts in zip(other, ground, strict=True)))
    cameras = CameraHypotheses(np.array([0.0, 0.01]), np.ones(2), np.log([0.5, 0.5]))
    answer = matcher.posteriors(satellite, both, matcher.config.search, cameras)[0].estimate()
    assert answer.pose[:2] == pytest.approx((6.3, -9.4), abs=0.2)
    assert answer.camera_probability[1] > 0.9


def test_an_image_is_laid_on_the_ground_as_each_camera_would() -> None:
    model = tiny_matcher().eval()
    images = torch.randn((2, 3, 32, 128), generator=torch.Generator().manual_seed(4))
    cameras = CameraHypotheses(np.array([0.0, 0.02]), np.array([1.0, 0.9]), np.log([0.5, 0.5]))
    with torch.no_grad():
        cells = model.seen_by(images, cameras)
        for number, camera in enumerate(cameras.cameras(model.config.camera)):
            alone = model.ground(images, projection(model.config, camera))
            torch.testing.assert_close(cells.fine[number::2], alone.fine)
