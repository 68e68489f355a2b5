"""Kinds of scene are facts of the plan, the pixels and what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from geoflow_ros.evaluation.answers import Answers
from geoflow_ros.evaluation.tables import scenes_table
from geoflow_ros.world.conditions import ROAD
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.pairs import Area, HeadingError, PairSampler
from geoflow_ros.world.places import CityWindow, city_window
from geoflow_ros.world.scenes import Scene, built_share, junctions
from geoflow_ros.world.splits import Split

SEED = 4


@pytest.fixture(scope="module")
def window() -> CityWindow:
    return city_window(SEED, SEED)


def test_the_middle_of_a_junction_is_an_intersection_and_no_straight_road(window: CityWindow) -> None:
    points = junctions(window.layout)
    inside = points[np.abs(points - window.centre).max(axis=1) < window.raster.side_m / 2 - 31.0]
    assert len(inside) > 0
    for point in inside:
        scenes = window.scenes(*point)
        assert Scene.INTERSECTION in scenes
        assert Scene.STRAIGHT not in scenes


def test_a_road_is_straight_where_no_junction_is_near(window: CityWindow) -> None:
    places = window.places(np.random.default_rng(0), 64)
    for east_m, north_m in zip(places.east_m, places.north_m, strict=True):
        nearest_m = np.hypot(*(junctions(window.layout) - [east_m, north_m]).T).min()
        scenes = window.scenes(east_m, north_m)
        assert (Scene.STRAIGHT in scenes) == (nearest_m > 30.0)
        assert (Scene.INTERSECTION in scenes) == (nearest_m < 15.0)


def test_dense_is_where_buildings_are(window: CityWindow) -> None:
    places = window.places(np.random.default_rng(1), 64)
    shares = {}
    for east_m, north_m in zip(places.east_m, places.north_m, strict=True):
        shares[built_share(window.raster, east_m, north_m)] = window.scenes(east_m, north_m)
    assert Scene.DENSE in shares[max(shares)]
    assert Scene.OPEN in shares[min(shares)]
    assert not any({Scene.DENSE, Scene.OPEN} <= scenes for scenes in shares.values())
    rows, columns = np.nonzero(window.raster.street_label == Label.BUILDING)
    assert len(rows)
    assert len(columns)
    assert 0.0 < max(shares) < 1.0


def test_night_and_old_maps_are_those_that_were_drawn() -> None:
    sampler = PairSampler(
        Area.CROSS, 2, 64, (32, 64), 101.0 / 64, 20.0, HeadingError(), Split.VALIDATION, conditions=ROAD
    )
    pairs = {index: sampler.pair(index) for index in [*range(24), *range(32, 36), *range(64, 68), *range(96, 100)]}
    for index, pair in pairs.items():
        assert (Scene.OLD_MAP in pair.scenes) == sampler.window(index // 32).raster.appearance.is_map_old
    assert {Scene.OLD_MAP in pair.scenes for pair in pairs.values()} == {True, False}
    by_night = [pair.ground.mean() for pair in pairs.values() if Scene.NIGHT in pair.scenes]
    by_day = [pair.ground.mean() for pair in pairs.values() if Scene.NIGHT not in pair.scenes]
    assert by_night
    assert np.mean(by_night) < np.mean(by_day)


def test_figures_of_a_scene_are_those_of_its_pairs() -> None:
    answers = Answers(
        errors_m=[np.array([3.0, 4.0]), np.array([0.0, 1.0]), np.array([1.0, 0.0])],
        covariances=[np.eye(2)] * 3,
        trusted=[False, True, True],
        scenes=[frozenset({Scene.NIGHT}), frozenset({Scene.NIGHT, Scene.DENSE}), frozenset()],
    )
    found = answers.figures_of_scenes()
    assert list(found) == ["dense buildings", "night"]
    assert found["night"]["mean_error_m"] == pytest.approx(3.0)
    assert found["night"]["availability"] == 0.5
    assert found["night"]["anees"] == pytest.approx(6.5)
    assert found["night"]["published_mean_error_m"] == 1.0
    assert found["dense buildings"]["frames"] == 1
    text = scenes_table("model", found)
    assert "dense buildings" in text
    assert "night" in text
    assert "old map" not in text
