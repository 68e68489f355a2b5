"""What a real aerial photo does to a patch: high things move, the ground stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from geoflow_ros.world.aerial import Lean, Seam, blur, develop, is_beyond, join, lean_of, standing_m
from geoflow_ros.world.conditions import EASY, HARD
from geoflow_ros.world.disturbances import PatchDisturbance, draw_patch
from geoflow_ros.world.disturbed import disturbed_patch, margin_px
from geoflow_ros.world.kinds import Label

SIZE, RESOLUTION_M = 128, 0.4
ROOF, GROUND = (200, 40, 40), (90, 110, 90)
HEIGHT_M = 8.0

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


@pytest.fixture
def town() -> tuple[UInt8, UInt8, Float32]:
    """A patch with one house of 20 x 20 pixels: colours, classes, heights."""
    rgb = np.full((SIZE, SIZE, 3), GROUND, np.uint8)
    label, height = np.full((SIZE, SIZE), Label.GREEN, np.uint8), np.zeros((SIZE, SIZE), np.float32)
    rgb[50:70, 40:60], label[50:70, 40:60], height[50:70, 40:60] = ROOF, Label.BUILDING, HEIGHT_M
    return rgb, label, height


def lean(label: UInt8, height: Float32, tangent: tuple[float, float]) -> Lean:
    return lean_of(standing_m(label, height, RESOLUTION_M), label == Label.BUILDING, tangent, RESOLUTION_M)


def middle_of(weight: npt.NDArray[np.float64]) -> tuple[float, float]:
    rows, columns = np.indices(weight.shape)
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


@pytest.mark.parametrize("angle_deg", [5.0, 10.0, 25.0])
@pytest.mark.parametrize("towards_deg", [0.0, 90.0, -135.0])
def test_lean_moves_a_roof_by_height_times_the_tangent(
    town: tuple[UInt8, UInt8, Float32], angle_deg: float, towards_deg: float
) -> None:
    rgb, label, height = town
    tangent = np.tan(np.radians(angle_deg)) * np.array(
        [np.cos(np.radians(towards_deg)), np.sin(np.radians(towards_deg))]
    )
    leant = lean(label, height, (float(tangent[0]), float(tangent[1])))
    leaning = leant.apply(rgb).astype(float)
    roof = np.clip((leaning[..., 0] - leaning[..., 1] + 20) / 180, 0, 1) * ~leant.wall  # how much of a pixel is roof
    expected = np.array([49.5, 59.5]) + HEIGHT_M * tangent / RESOLUTION_M
    assert middle_of(roof) == pytest.approx(tuple(expected), abs=0.5)
    assert roof.sum() == pytest.approx(400, abs=40)


def test_a_leaning_house_shows_a_wall_where_its_foot_was_and_hides_the_ground_behind_it(
    town: tuple[UInt8, UInt8, Float32],
) -> None:
    rgb, label, height = town
    leant = lean(label, height, (float(np.tan(np.radians(25.0))), 0.0))
    shift = HEIGHT_M * np.tan(np.radians(25.0)) / RESOLUTION_M  # 9.3 px
    rows, columns = np.nonzero(leant.wall)
    assert columns.min() == pytest.approx(40, abs=1)
    assert columns.max() == pytest.approx(40 + shift, abs=1.5)
    assert (rows.min(), rows.max()) == (50, 69)
    assert (leant.apply_to_labels(label)[60, 62:68] == Label.BUILDING).all()


def test_lean_leaves_the_ground_where_it_is(town: tuple[UInt8, UInt8, Float32]) -> None:
    rgb, label, height = town
    rng = np.random.default_rng(0)
    rgb = np.where((label == Label.GREEN)[..., None], rng.integers(0, 256, rgb.shape), rgb).astype(np.uint8)
    leaning = lean(label, height, (0.2, 0.1)).apply(rgb)
    reach = int(np.ceil(HEIGHT_M * 0.2 / RESOLUTION_M)) + 1
    far = np.ones((SIZE, SIZE), bool)
    far[50 : 70 + reach, 40 : 60 + reach] = False
    assert np.array_equal(leaning[far], rgb[far])


def test_a_crown_is_a_dome_and_a_car_is_flat() -> None:
    label = np.full((SIZE, SIZE), Label.ROAD, np.uint8)
    rows, columns = np.indices(label.shape)
    label[np.hypot(rows - 64, columns - 64) < 10] = Label.TREE  # 4 m of radius
    label[10:20, 10:20] = Label.CAR
    height = np.full(label.shape, 1.5, np.float32)
    standing = standing_m(label, height, RESOLUTION_M)
    assert standing[64, 64] == pytest.approx(1.6 + 2 * 4.0, abs=0.8)
    assert standing[64, 56] < standing[64, 64] / 2
    assert (standing[label != Label.TREE] == 0).all()


def test_a_seam_displaces_and_colours_the_far_side_only() -> None:
    rng = np.random.default_rng(1)
    patch = rng.integers(40, 200, (SIZE, SIZE, 3)).astype(np.uint8)
    seam = Seam(normal_rad=0.0, distance_m=8.0, shift_m=(0.8, -0.4), gain=(1.0, 1.0, 1.2))
    joined = join(patch, seam, RESOLUTION_M)
    border = round((SIZE - 1) / 2 + 8.0 / RESOLUTION_M)
    assert np.array_equal(joined[:, : border - 1], patch[:, : border - 1])
    assert np.array_equal(joined[10:-10, border + 5 : -5, :2], patch[11:-9, border + 3 : -7, :2])  # (2, -1) pixels
    blue = joined[10:-10, border + 5 : -5, 2] / patch[11:-9, border + 3 : -7, 2]
    assert blue.mean() == pytest.approx(1.2, abs=0.03)


@pytest.mark.parametrize("seed", range(20))
def test_no_camera_stands_beyond_the_seam(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cameras = rng.uniform(-20, 20, (3, 2))
    seam = draw_patch(HARD.map, rng, cameras).seam
    if seam is not None:
        pixels = np.round((SIZE - 1) / 2 + cameras / RESOLUTION_M).astype(int)
        assert not is_beyond(seam, SIZE, RESOLUTION_M)[pixels[:, 1], pixels[:, 0]].any()


def test_blur_is_as_wide_as_on_the_ground() -> None:
    point = np.zeros((SIZE, SIZE, 3), np.uint8)
    point[64, 64] = 255
    spread = blur(point, 0.6, RESOLUTION_M)[..., 0].astype(float)
    sigma = np.sqrt((spread * (np.arange(SIZE) - 64.0) ** 2).sum() / spread.sum())
    assert sigma * RESOLUTION_M == pytest.approx(0.6, rel=0.15)


def test_haze_takes_contrast_and_an_even_development_changes_nothing() -> None:
    patch = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    assert np.abs(develop(patch, (1.0, 1.0, 1.0), 1.0, 0.0).astype(int) - patch).max() <= 1
    assert develop(patch, (1.0, 1.0, 1.0), 1.0, 0.3).std() == pytest.approx(0.7 * patch.std(), rel=0.02)


def test_a_patch_that_nothing_disturbs_is_the_middle_of_the_larger_one(town: tuple[UInt8, UInt8, Float32]) -> None:
    rgb, label, height = town
    nothing = PatchDisturbance((0.0, 0.0), None, 0.0, (1.0, 1.0, 1.0), 1.0, 0.0)
    patch, classes = disturbed_patch(rgb, label, height, nothing, RESOLUTION_M, 10)
    assert np.abs(patch.astype(int) - rgb[10:-10, 10:-10]).max() <= 1
    assert np.array_equal(classes, label[10:-10, 10:-10])


def test_the_margin_holds_what_may_lean_into_the_patch() -> None:
    assert margin_px(EASY.map, RESOLUTION_M) == 0
    assert margin_px(HARD.map, RESOLUTION_M) * RESOLUTION_M >= 25.0 * np.tan(np.radians(25.0)) + 1.0


def test_a_leaning_tree_has_no_walls() -> None:
    label = np.full((SIZE, SIZE), Label.GREEN, np.uint8)
    rows, columns = np.indices(label.shape)
    label[np.hypot(rows - 64, columns - 64) < 10] = Label.TREE
    leant = lean(label, np.zeros((SIZE, SIZE), np.float32), (0.3, 0.0))
    assert not leant.wall.any()
    moved = leant.apply_to_labels(label) == Label.TREE
    assert columns[moved].max() > columns[label == Label.TREE].max() + 1
