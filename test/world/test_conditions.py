"""Conditions: what is drawn, that pairs repeat, and that no disturbance moves the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geoflow_ros.errors import InputError
from geoflow_ros.world import Area, Conditions, HeadingError, PairSampler
from geoflow_ros.world.appearance import LOW_SUN_RAD, Appearance
from geoflow_ros.world.conditions import EASY, HARD, NAMES, ROAD, LightConditions, MapConditions, conditions_named
from geoflow_ros.world.disturbances import draw_patch, draw_view

DRAWS = 400


def sampler(conditions: Conditions) -> PairSampler:
    return PairSampler(Area.CROSS, 3, 128, (64, 256), 0.7832, 20.0, HeadingError(), conditions=conditions)


@pytest.fixture(scope="module")
def samplers() -> dict[str, PairSampler]:
    return {name: sampler(conditions_named(name)) for name in NAMES}


def test_conditions_have_their_names() -> None:
    assert NAMES == ("easy", "road", "hard")
    assert [conditions_named(name).disturb for name in NAMES] == [False, True, True]
    with pytest.raises(InputError, match="easy, road, hard"):
        conditions_named("rainy")


def test_the_command_line_offers_all_of_them() -> None:
    from geoflow_ros.cli.options import CONDITIONS

    assert CONDITIONS == NAMES


def test_places_offsets_and_headings_are_the_same_under_all_conditions(samplers: dict[str, PairSampler]) -> None:
    for i in (0, 5):
        easy, road, hard = (samplers[name].pair(i) for name in NAMES)
        for other in (road, hard):
            assert other.offset_m == pytest.approx(easy.offset_m)
            assert (other.heading_error_rad, other.yaw_rad) == (easy.heading_error_rad, easy.yaw_rad)
            assert other.ground.shape == easy.ground.shape
            assert other.satellite.shape == easy.satellite.shape
            assert not np.array_equal(other.ground, easy.ground)
            assert not np.array_equal(other.satellite, easy.satellite)


def test_a_disturbed_pair_is_a_function_of_its_number(samplers: dict[str, PairSampler]) -> None:
    samplers["hard"].pair(1)
    after, alone = samplers["hard"].pair(2), sampler(HARD).pair(2)
    assert np.array_equal(after.ground, alone.ground)
    assert np.array_equal(after.satellite, alone.satellite)


def test_easy_draws_nothing_that_disturbs() -> None:
    view = draw_view(EASY, np.random.default_rng(0))
    assert (view.camera.pitch_rad, view.camera.roll_rad, view.camera.gradient) == (0.0, 0.0, 0.0)
    assert (view.camera.height_scale, view.camera.focal_scale, view.camera.radial) == (1.0, 1.0, 0.0)
    assert (view.wet, view.is_night, view.traffic, view.dirt, view.noise, view.stops) == (0, False, (0, 0), 0, 0, 0)
    patch = draw_patch(EASY.map, np.random.default_rng(0), np.zeros((1, 2)))
    assert (patch.lean, patch.seam, patch.blur_m, patch.gain, patch.haze) == ((0.0, 0.0), None, 0.0, (1, 1, 1), 0.0)


@pytest.mark.parametrize("conditions", [ROAD, HARD], ids=["road", "hard"])
def test_the_drawn_numbers_stay_in_their_bounds_and_use_them(conditions: Conditions) -> None:
    c = conditions.camera
    views = [draw_view(conditions, np.random.default_rng(seed)) for seed in range(DRAWS)]
    height, focal, gradient = (
        np.array([getattr(v.camera, name) for v in views]) for name in ("height_scale", "focal_scale", "gradient")
    )
    assert c.height * 0.9 < np.abs(height - 1).max() <= c.height
    assert c.focal * 0.9 < np.abs(focal - 1).max() <= c.focal
    assert np.abs(gradient).max() <= c.gradient_max
    assert np.mean([v.is_night for v in views]) == pytest.approx(conditions.light.night_share, abs=0.07)
    assert np.mean([v.wet > 0 for v in views]) == pytest.approx(conditions.light.wet_share, abs=0.07)
    assert max(v.traffic[1] for v in views) == conditions.traffic.cover[1]


@pytest.mark.parametrize("conditions", [ROAD, HARD], ids=["road", "hard"])
def test_the_ground_ahead_is_tilted_by_suspension_and_change_of_grade_alone(conditions: Conditions) -> None:
    """The road's own gradient tilts the vehicle with it."""
    c = conditions.camera
    poses = [draw_view(conditions, np.random.default_rng(seed)).camera for seed in range(DRAWS)]
    ahead = np.degrees([p.pitch_rad - np.arctan(p.gradient) for p in poses])
    aside = np.degrees([p.roll_rad + np.arctan(p.crossfall) for p in poses])
    assert ahead.std() == pytest.approx(np.hypot(c.pitch_sigma_deg, np.degrees(c.grade_change_sigma)), rel=0.1)
    assert aside.std() == pytest.approx(c.roll_sigma_deg, rel=0.1)


def test_the_lean_stays_within_its_angles() -> None:
    for conditions in (ROAD.map, HARD.map):
        rng = np.random.default_rng(1)
        tangents = [np.hypot(*draw_patch(conditions, rng, np.zeros((1, 2))).lean) for _ in range(DRAWS)]
        low, high = np.degrees(np.arctan([min(tangents), max(tangents)]))
        assert conditions.lean_deg[0] <= low + 1e-9
        assert high <= conditions.lean_deg[1] + 1e-9


def test_the_sun_is_low_in_one_picture_and_not_in_the_other() -> None:
    sunny = Conditions("sunny", light=LightConditions(low_sun_share=1.0))
    appearances = [Appearance.under(seed, sunny) for seed in range(40)]
    low = [(a.map.sun_elevation_rad < LOW_SUN_RAD, a.street.sun_elevation_rad < LOW_SUN_RAD) for a in appearances]
    assert all(in_map != in_street for in_map, in_street in low)
    assert 8 < sum(in_map for in_map, _ in low) < 32


def test_another_year_changes_the_map_and_not_the_street() -> None:
    old = Conditions("old", map=MapConditions(another_year_share=1.0))
    usual, under = Appearance.sample(4), Appearance.under(4, old)
    assert not np.array_equal(usual.map.colours, under.map.colours)
    assert np.array_equal(usual.street.colours, under.street.colours)


def test_easy_is_the_appearance_of_the_seed() -> None:
    usual, under = Appearance.sample(4), Appearance.under(4, EASY)
    assert np.array_equal(usual.map.colours, under.map.colours)
    assert usual.map.sun_azimuth_rad == under.map.sun_azimuth_rad
    assert usual.street.car_seed == under.street.car_seed


def test_a_name_alone_disturbs_nothing() -> None:
    assert not Conditions("mine").disturb
    assert replace(EASY, light=LightConditions(wet_share=0.1)).disturb
