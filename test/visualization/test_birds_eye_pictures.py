"""Pictures of a bird's-eye fix: heat, laid image and cells lie where the geometry says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the scenes are a torch network's (the extra [train])")

from fakes.birds_eye_scenes import SceneRunner, scene_bundle, scene_matcher  # noqa: E402
from fakes.heads import patch_at  # noqa: E402

from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix  # noqa: E402
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer  # noqa: E402
from geoflow_ros.tiles import SatellitePatch  # noqa: E402
from geoflow_ros.visualization import draw_fix  # noqa: E402
from geoflow_ros.visualization.birds_eye import draw_posterior, lay_on_patch, place_probability  # noqa: E402

OFFSET_M, TURN_DEG = (6.3, -9.4), 3.1
SIZE_PX = 512


@pytest.fixture(scope="module")
def localized(tmp_path_factory: pytest.TempPathFactory) -> tuple[BirdsEyeFix, SatellitePatch]:
    model = scene_matcher()
    bundle = scene_bundle(tmp_path_factory.mktemp("scene"), model)
    image = np.full((128, 512, 3), 40, np.uint8)
    image[:, 400:] = (0, 255, 0)  # the right of the view is green
    patch = patch_at(bundle, 100.0, 50.0, 0.5)
    grey = SatellitePatch(np.full_like(patch.pixels, 90), patch.frame)
    fix = BirdsEyeLocalizer(bundle, SceneRunner(model, OFFSET_M, TURN_DEG)).localize(image, grey)
    return fix, grey


def pixel_of(fix: BirdsEyeFix, local_m: tuple[float, float]) -> tuple[int, int]:
    """Row and column in the enlarged patch of (forward, right) of the patch's centre."""
    x, y = (fix.frame.to_pixel(fix.frame.local_to_enu(local_m)) + 0.5) * SIZE_PX / fix.frame.size_px - 0.5
    return round(float(y)), round(float(x))


def test_the_heat_is_where_the_camera_probably_is(localized: tuple[BirdsEyeFix, SatellitePatch]) -> None:
    fix, _ = localized
    heat = place_probability(fix.posterior)
    assert heat.sum() == pytest.approx(1.0 - fix.posterior.none_probability, abs=0.02)
    at = np.array(np.unravel_index(heat.argmax(), heat.shape)) - fix.posterior.search.reach_cells
    assert at * fix.posterior.search.cell_m == pytest.approx(OFFSET_M, abs=0.8)
    picture = draw_posterior(np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8), fix)
    row, column = pixel_of(fix, OFFSET_M)
    assert picture[row - 4 : row + 5, column - 4 : column + 5].max() == picture.max() > 120
    assert picture[pixel_of(fix, (-OFFSET_M[0], -OFFSET_M[1]))].max() < 60


def test_the_camera_image_is_laid_where_the_camera_looks(localized: tuple[BirdsEyeFix, SatellitePatch]) -> None:
    fix, patch = localized
    laid = lay_on_patch(np.full((SIZE_PX, SIZE_PX, 3), 90, np.uint8), fix)
    turn = math.radians(TURN_DEG)

    def before_camera(forward: float, right: float) -> np.ndarray:
        """The pixel at a place that the camera sees; its heading is to the right of the patch's by the turn."""
        ahead = OFFSET_M[0] + forward * math.cos(turn) - right * math.sin(turn)
        aside = OFFSET_M[1] + forward * math.sin(turn) + right * math.cos(turn)
        return laid[pixel_of(fix, (ahead, aside))]

    assert before_camera(12.0, 9.0)[1] > 180  # its right is green
    assert before_camera(12.0, -9.0)[1] < 80
    assert before_camera(-5.0, 0.0).tolist() == [90, 90, 90]  # behind it
    assert laid.shape == (SIZE_PX, SIZE_PX, 3)


def test_the_whole_picture_has_the_image_above_and_says_the_masses(
    localized: tuple[BirdsEyeFix, SatellitePatch], tmp_path: Path
) -> None:
    fix, patch = localized
    picture = draw_fix(patch, fix, size_px=SIZE_PX)
    assert picture.shape == (SIZE_PX + SIZE_PX // 4, SIZE_PX, 3)
    assert picture.dtype == np.uint8
    dots = picture[: SIZE_PX // 4]
    assert len(np.unique(dots.reshape(-1, 3), axis=0)) > 20  # two colours in the image; the rest are dots of cells
