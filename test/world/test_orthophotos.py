"""Worlds of real orthophotos: collections, splits by city, and windows whose geometry is exact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fakes.orthophotos import (
    ATTRIBUTION,
    HOUSE_PX,
    M_PER_PX,
    MARK_PX,
    ROAD_ROW_PX,
    ROAD_WIDTH_PX,
    SHIFT_PX,
    SIDE_PX,
    TREES_PX,
    YEARS,
    collection,
    entry,
    paint,
)

from geoflow_ros.errors import InputError, WorldError
from geoflow_ros.geo import GeoBounds, tile_at
from geoflow_ros.images import write_image
from geoflow_ros.tiles import MBTilesWriter, TileFormat, encode_tile
from geoflow_ros.world import Area, Camera, HeadingError, PairSampler, Split
from geoflow_ros.world.conditions import EASY, ROAD
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.orthophoto_cues import find_cues
from geoflow_ros.world.orthophoto_squares import Collection, Square, open_collection
from geoflow_ros.world.orthophoto_windows import Orthophotos, OrthophotoWindow, orthophoto_window, shift_between
from geoflow_ros.world.render import render_patches, render_views
from geoflow_ros.world.windows import Windows

CITIES = ("aston", "chico")
ONLY = np.zeros(1, np.int64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collection(tmp_path_factory.mktemp("orthophotos"))


@pytest.fixture(scope="module")
def towns(folder: Path) -> Collection:
    return open_collection(str(folder))


@pytest.fixture(scope="module")
def window(towns: Collection) -> OrthophotoWindow:
    return orthophoto_window(towns.places, 5, other_year_share=0.0)


def enu(pixel: tuple[float, float]) -> tuple[float, float]:
    """Metres east and north of the square's middle."""
    return (pixel[0] - (SIDE_PX - 1) / 2) * M_PER_PX, ((SIDE_PX - 1) / 2 - pixel[1]) * M_PER_PX


def floats(*values: float) -> tuple[npt.NDArray[np.float32], ...]:
    return tuple(np.array([value], np.float32) for value in values)


def reddest(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(x, y) of the middle of what is red."""
    red = picture[..., 0].astype(float) - picture[..., 1:].max(axis=-1)
    rows, columns = np.nonzero(red > 0.6 * red.max())
    return np.array([columns.mean(), rows.mean()])


def test_a_collection_knows_its_cities_places_and_years(towns: Collection) -> None:
    assert towns.cities == CITIES
    assert len(towns.places) == 8
    assert [photo.year for photo in towns.places[0].photos] == list(YEARS)
    assert towns.attribution == ATTRIBUTION
    assert towns.skipped == ()


def test_splits_are_made_by_city(towns: Collection) -> None:
    assert {place.city for place in towns.places_of(Split.TRAINING)} == {"aston"}
    tested, validated = (towns.places_of(split) for split in (Split.TEST, Split.VALIDATION))
    assert {place.city for place in (*tested, *validated)} == {"chico"}
    assert not set(tested) & set(validated)
    assert towns.places_of(Split.TRAINING, ("aston",)) == (*validated, *tested)
    with pytest.raises(InputError, match="aston, chico"):
        towns.places_of(Split.TEST, ("nowhere",))


def test_squares_that_cannot_be_used_are_skipped_with_a_line_each(tmp_path: Path) -> None:
    good = entry("aston", 0, 2018)
    squares = [
        good,
        {"file": "x.png"},
        {**good, "file": "missing.png"},
        {**good, "m_per_px": 3.0},
        {**good, "crown_m": [1.0]},
        {**good, "trees": "many"},
        17,
    ]
    write_image(tmp_path / good["file"], paint())
    (tmp_path / "index.json").write_text(json.dumps({"squares": squares}))
    towns = open_collection(str(tmp_path))
    assert len(towns.places) == 1
    assert len(towns.skipped) == len(squares) - 1
    for number, (line, what) in enumerate(
        zip(towns.skipped, ("city", "missing.png", "m_per_px", "crown_m", "many", "int"), strict=True), 1
    ):
        assert f"square {number}" in line
        assert what in line
        assert "\n" not in line


@pytest.mark.parametrize("index", ["{", "{}", '{"squares": 3}', '{"squares": []}', '{"squares": [{"file": "x.png"}]}'])
def test_a_collection_without_a_square_that_can_be_used_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(InputError, match=r"index\.json|holds no orthophoto"):
        open_collection(str(tmp_path))


def test_what_is_no_collection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no index\.json"):
        open_collection(str(tmp_path))
    with pytest.raises(InputError, match="GeoTIFF"):
        open_collection(str(tmp_path / "town.tif"))


def test_a_road_is_found_with_its_direction_and_a_lawn_is_none() -> None:
    cues = find_cues(Square("painted", paint(), M_PER_PX))
    rows, columns = np.nonzero(cues.roads.is_road)
    assert len(rows) > 0.5 * SIDE_PX * ROAD_WIDTH_PX
    assert np.abs(rows - ROAD_ROW_PX).max() <= ROAD_WIDTH_PX / 2 + 1
    headings = cues.roads.heading_rad[rows, columns]
    assert np.abs(np.sin(headings)).mean() < np.sin(np.radians(2))
    assert np.abs(np.sin(headings)).max() < np.sin(np.radians(12))  # near the corners of the photo
    lawn = np.full((SIDE_PX, SIDE_PX, 3), (96, 122, 70), np.uint8)
    assert not find_cues(Square("lawn", lawn, M_PER_PX)).roads.is_road.any()


def test_trees_and_roofs_are_found_where_nobody_marked_them() -> None:
    cues = find_cues(Square("painted", paint(), M_PER_PX))
    for tree in TREES_PX:
        assert np.linalg.norm(cues.trees_px - tree, axis=1).min() < 4
    middles = [building.outline_px.mean(axis=0) for building in cues.buildings]
    assert min(np.linalg.norm(middles - np.mean(HOUSE_PX, axis=0), axis=1)) < 4


def test_annotation_is_taken_where_there_is_one(towns: Collection) -> None:
    cues = find_cues(towns.places[0].photos[0].read())
    assert cues.trees_px.tolist() == TREES_PX
    assert cues.buildings[0].outline_px.tolist() == HOUSE_PX


def test_cameras_stand_on_the_road_and_look_along_it_on_the_right_side(window: OrthophotoWindow) -> None:
    places = window.places(np.random.default_rng(0), 200)
    _, middle = enu((0, ROAD_ROW_PX - 0.5))
    assert np.abs(places.north_m - middle).max() < ROAD_WIDTH_PX / 2 * M_PER_PX
    assert np.abs(places.east_m).max() < 61
    assert np.degrees(np.abs(np.sin(places.yaw_rad))).max() < 15
    eastbound = np.cos(places.yaw_rad) > 0
    outer = np.abs(places.north_m - middle) > 2.5
    assert (eastbound == (places.north_m < middle))[outer].mean() > 0.95
    assert 0.2 < eastbound.mean() < 0.8


@pytest.mark.parametrize(("distance", "lateral", "yaw_deg"), [(9.0, 1.0, 0.0), (14.0, -2.0, 90.0), (8.0, 0.5, 200.0)])
def test_a_mark_on_the_photo_is_where_camera_and_patch_see_it(
    window: OrthophotoWindow, distance: float, lateral: float, yaw_deg: float
) -> None:
    camera, yaw = Camera.perspective(512, 128), np.radians(yaw_deg)
    east, north = enu(MARK_PX)
    forward, right = (np.cos(yaw), np.sin(yaw)), (np.sin(yaw), -np.cos(yaw))
    at = [m - distance * f - lateral * r for m, f, r in zip((east, north), forward, right, strict=True)]
    windows = Windows.stack([window.raster])
    view = render_views(windows, camera, ONLY, *floats(*at, yaw)).rgb[0]
    assert reddest(view) == pytest.approx(camera.project(distance, lateral, 0.0), abs=4)
    patch = render_patches(windows, 256, 0.3916, ONLY, *floats(*at, yaw))[0][0]
    assert reddest(patch) == pytest.approx(127.5 + np.array([distance, lateral]) / 0.3916, abs=1)


def test_beyond_the_photo_the_world_is_its_mirror_image(window: OrthophotoWindow) -> None:
    east, north = enu(MARK_PX)
    mirrored = SIDE_PX * M_PER_PX - east
    windows = Windows.stack([window.raster])
    patch = render_patches(windows, 128, 0.3916, ONLY, *floats(mirrored, north, 0.0))[0][0]
    assert reddest(patch) == pytest.approx([63.5, 63.5], abs=1)
    trees = window.raster.parts.table[window.raster.parts.table[:, 5] == 1][:, :2]
    x, y = enu((TREES_PX[0][0], TREES_PX[0][1]))
    for copy in ((x, y), (-SIDE_PX * M_PER_PX - x, y), (x, SIDE_PX * M_PER_PX - y)):
        assert np.linalg.norm(trees - copy, axis=1).min() < 0.01


def test_trees_and_houses_are_raised(window: OrthophotoWindow) -> None:
    assert 25 < window.raster.height_dm.max() < 100
    middle, camera = enu((115.0, 70.0)), Camera.perspective(512, 128)
    windows = Windows.stack([window.raster])
    view = render_views(windows, camera, ONLY, *floats(middle[0], middle[1] - 30, np.pi / 2))
    assert view.label[0][45, 256] == Label.BUILDING
    tree = enu((TREES_PX[0][0], TREES_PX[0][1]))
    view = render_views(windows, camera, ONLY, *floats(tree[0], tree[1] - 12, np.pi / 2))
    assert Label.TREE in view.label[0][:, 256]


def test_the_shift_between_two_years_is_measured(towns: Collection) -> None:
    shift, sure = shift_between(paint(YEARS[1]), paint(YEARS[0]))
    assert shift == pytest.approx([-v for v in SHIFT_PX], abs=0.2)
    assert sure > 0.3
    noise = np.random.default_rng(0).integers(0, 255, paint().shape).astype(np.uint8)
    assert shift_between(noise, paint())[1] < 0.3 * sure


def test_the_map_of_another_year_lies_on_the_street(towns: Collection) -> None:
    both = orthophoto_window(towns.places, 5, other_year_share=1.0)
    assert both.has_other_year
    windows = Windows.stack([both.raster])
    east, north = enu(MARK_PX)
    patch = render_patches(windows, 128, 0.3916, ONLY, *floats(east, north, 0.0))[0][0]
    if np.abs(reddest(patch) - 63.5).max() >= 1:  # the street is then the later year's: all is displaced
        east, north = enu((MARK_PX[0] + SHIFT_PX[0], MARK_PX[1] + SHIFT_PX[1]))
        patch = render_patches(windows, 128, 0.3916, ONLY, *floats(east, north, 0.0))[0][0]
    assert reddest(patch) == pytest.approx([63.5, 63.5], abs=1)
    view = render_views(windows, Camera.perspective(512, 128), ONLY, *floats(east - 9, north, 0.0)).rgb[0]
    assert reddest(view) == pytest.approx(Camera.perspective(512, 128).project(9, 0, 0), abs=4)


def test_a_window_is_a_function_of_its_seed(towns: Collection) -> None:
    one, again, other = (orthophoto_window(towns.places, seed).raster for seed in (8, 8, 9))
    assert np.array_equal(one.street_pyramid, again.street_pyramid)
    assert np.array_equal(one.parts.table, again.parts.table)
    assert not np.array_equal(one.street_pyramid, other.street_pyramid)


def test_without_a_road_there_is_no_window(tmp_path: Path) -> None:
    square = entry("aston", 0, 2018)
    write_image(tmp_path / square["file"], np.full((SIDE_PX, SIDE_PX, 3), (90, 120, 70), np.uint8))
    (tmp_path / "index.json").write_text(json.dumps({"squares": [square]}))
    with pytest.raises(WorldError, match="no road"):
        orthophoto_window(open_collection(str(tmp_path)).places, 1)


def test_damaged_pictures_are_passed_over(tmp_path: Path) -> None:
    folder = collection(tmp_path, ("aston",), 2)
    for damaged in (folder / "images").glob("aston_0_*"):
        damaged.write_bytes(b"no picture")
    places = open_collection(str(folder)).places
    assert {orthophoto_window(places, seed).raster.side for seed in range(3)} == {3072}


def test_a_tile_source_is_cut_into_squares_and_its_east_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "town.mbtiles"
    tile = encode_tile(np.full((256, 256, 3), 90, np.uint8), TileFormat.PNG)
    with MBTilesWriter(path, "town", TileFormat.PNG, GeoBounds(4.0, 52.0, 4.03, 52.01)) as writer:
        for corner in ((52.0, 4.0), (52.01, 4.03)):
            writer.add(18, *tile_at(*corner, 18), tile)
    towns = open_collection(str(path))
    assert towns.cities == ("east", "west")
    training, test = (len(towns.places_of(split)) for split in (Split.TRAINING, Split.TEST))
    assert training > 3 * test
    assert len(towns.places) == 7 * 14  # 1.1 km by 2.1 km
    with pytest.raises(WorldError, match="no road"):  # hardly a tile is there
        orthophoto_window(towns.places_of(Split.TRAINING), 0)


@pytest.mark.parametrize("conditions", [EASY, ROAD], ids=["easy", "road"])
def test_pairs_of_orthophotos_are_functions_of_their_numbers(folder: Path, conditions: object) -> None:
    assert conditions in (EASY, ROAD)

    def pairs() -> PairSampler:
        hard = EASY if conditions is EASY else ROAD
        photos = Orthophotos(str(folder))
        return PairSampler(
            Area.CROSS, 3, 128, (64, 256), 0.7832, 10.0, HeadingError(), conditions=hard, orthophotos=photos
        )

    pair, again = pairs().pair(7), pairs().pair(7)
    assert np.array_equal(pair.ground, again.ground)
    assert np.array_equal(pair.satellite, again.satellite)
    assert np.abs(pair.offset_m).max() <= 10.0
