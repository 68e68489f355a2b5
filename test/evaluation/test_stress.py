"""The stress sets: what is asked, what counts as said, and the whole command on a small model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fakes.heads import picture

from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.stress import (
    RIGHT,
    Question,
    StressAnswers,
    StressReport,
    WrongHeadingError,
    _at_other_places,
    _camera_at,
    _frozen,
    _of_next_world,
    measure_stress,
)
from geoflow_ros.evaluation.stress_pictures import IMAGES, placeholder_tiles, rotated_map
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.world.conditions import EASY
from geoflow_ros.world.pairs import Pair

PAIRS = 9
CENTRE_STD_M = 20.0 * math.sqrt(2.0 / 3.0)


def pair_at(east_m: float, north_m: float, yaw_rad: float = 0.0, shade: int = 0) -> Pair:
    image = np.full((4, 8, 3), shade, np.uint8)
    camera = VirtualCamera(8, 4, 4.0, 1.5, 1.65, 3.0)
    return Pair(image, image, np.array([3.0, -2.0]), 0.0, yaw_rad, camera, np.array([east_m, north_m]))


WORLDS = [pair_at(40.0 * i, 0.0, 0.3 * i, i) for i in range(8)] + [
    pair_at(0.0, 50.0 * i, 0.0, 10 + i) for i in range(3)
]


def answers(*said: tuple[float, float, bool]) -> StressAnswers:
    """Of errors ahead, standard deviations on each axis, and whether they are published."""
    return StressAnswers(
        asked=len(said),
        errors_m=[np.array([error, 0.0]) for error, _, _ in said],
        covariances=[np.eye(2) * std**2 for _, std, _ in said],
        qualities=[1.0] * len(said),
        published=[is_published for _, _, is_published in said],
    )


@pytest.mark.parametrize("name", IMAGES)
def test_a_changed_image_is_another_one_of_the_same_size_and_the_same_each_time(name: str) -> None:
    image = picture((64, 128, 3))
    before = image.copy()
    first, again = (IMAGES[name](image, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, before)
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.abs(first.astype(int) - image).mean() > 1.0


def test_maps_are_turned_by_quarters_and_placeholders_are_of_one_colour_with_words() -> None:
    patch = picture((200, 200, 3))
    turned = rotated_map(patch, np.random.default_rng(0))
    assert any((turned == np.rot90(patch, k)).all() for k in (1, 2, 3))
    empty = placeholder_tiles(patch, np.random.default_rng(0))
    assert empty.shape == patch.shape
    values, counts = np.unique(empty[..., 0], return_counts=True)
    assert counts.max() > 0.9 * empty[..., 0].size
    assert len(values) > 1


def test_the_true_place_on_another_patch_is_where_the_camera_is() -> None:
    for question, pair in zip(_at_other_places(WORLDS), WORLDS, strict=True):
        other = question.pair
        assert other is not pair
        assert math.dist(_camera_at(pair), other.centre_m) >= 30.0
        cosine, sine = math.cos(other.yaw_rad), math.sin(other.yaw_rad)
        forward, right = question.offset_m
        there = other.centre_m + forward * np.array([cosine, sine]) + right * np.array([sine, -cosine])
        np.testing.assert_allclose(there, _camera_at(pair), atol=1e-9)
        np.testing.assert_array_equal(question.image, pair.ground)
        np.testing.assert_array_equal(question.patch, other.satellite)


def test_a_frozen_camera_shows_where_it_was_and_another_city_is_of_another_world() -> None:
    for question, pair in zip(_frozen(WORLDS), WORLDS, strict=True):
        assert question.pair is pair
        assert question.before is not None
        assert question.before.pair is not pair
        np.testing.assert_array_equal(question.image, question.before.image)
    shades = [int(_of_next_world(WORLDS, i)[0, 0, 0]) for i in range(len(WORLDS))]
    assert shades == [10] * 8 + [0] * 3


def test_headings_are_wrong_to_both_sides_and_by_enough() -> None:
    drawn = np.degrees(WrongHeadingError(low_deg=15.0, high_deg=180.0).sample(np.random.default_rng(0), 500))
    assert (np.abs(drawn) >= 15.0).all()
    assert (np.abs(drawn) <= 180.0).all()
    assert 0.4 < np.mean(drawn > 0) < 0.6


def test_what_is_published_and_beyond_its_ellipse_is_counted() -> None:
    found = answers((1.0, 1.0, True), (8.0, 1.0, True), (8.0, 1.0, False), (8.0, 30.0, True)).figures(CENTRE_STD_M)
    assert (found["asked"], found["answered"]) == (4, 4)
    assert found["published"] == 0.75
    assert found["beyond_999"] == pytest.approx(1 / 3)
    assert found["mean_error_m"] == pytest.approx(6.25)
    assert found["published_mean_error_m"] == pytest.approx(17 / 3)
    assert found["harmless"] == 0.5  # one is not published, one says no more than the patch's centre does
    nothing = StressAnswers(asked=3).figures(CENTRE_STD_M)
    assert (nothing["published"], nothing["harmless"]) == (0.0, 1.0)
    assert nothing["mean_error_m"] is nothing["anees"] is nothing["beyond_999"] is None


@pytest.fixture(scope="module")
def report(small_bundle: Bundle) -> StressReport:
    return measure_stress(small_bundle.path, PAIRS, 3, conditions=EASY)


def test_every_set_is_asked_and_what_shows_nothing_is_not_answered(report: StressReport, tmp_path: Path) -> None:
    names = {
        *("right", "black", "white", "frozen", "noise", "blurred", "dirt", "upside_down", "mirrored", "fov_60"),
        *("fov_120", "other_place", "other_city", "map_rotated", "placeholder_tiles", "wrong_heading", "other_style"),
    }
    assert set(report.sets) == set(report.examples) == names
    for name in ("black", "white", "frozen"):
        assert (report.sets[name]["answered"], report.sets[name]["published"]) == (0, 0.0), name
    answered = [f for name, f in report.sets.items() if name not in ("black", "white", "frozen")]
    assert all(f["answered"] == f["asked"] == PAIRS for f in answered)
    assert report.sets["other_place"]["mean_error_m"] > 10.0
    content = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert {"mean_error_m", "anees", "coverage_95", "published", "beyond_999"} <= set(content["sets"][RIGHT])
    assert content["auroc_5m"] is None or 0.0 <= content["auroc_5m"] <= 1.0
    assert "other place" not in report.text()
    assert all(name in report.text() for name in names)


def test_the_sets_can_be_looked_at(report: StressReport, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an extra")
    from geoflow_ros.visualization.stress import stress_picture

    pictures = {name: (question.image, question.patch) for name, question in report.examples.items()}
    stress_picture(report.title, report.sets, pictures, tmp_path / "stress.png")
    assert (tmp_path / "stress.png").stat().st_size > 10_000


def test_pairs_of_one_world_alone_are_refused(small_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="more than 8 pairs"):
        measure_stress(small_bundle.path, 8, 0)


def test_a_question_knows_its_patch(report: StressReport) -> None:
    turned = report.examples["map_rotated"]
    assert isinstance(turned, Question)
    assert (np.sort(turned.patch, axis=None) == np.sort(turned.pair.satellite, axis=None)).all()
    assert not np.array_equal(turned.patch, turned.pair.satellite)
