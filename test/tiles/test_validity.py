"""What of a satellite patch shows ground: every kind of imagery that is none is marked, named and filled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fakes.tiles import MemorySource, PlaceSource, encoded, ground, mercator, with_alpha

from geoflow_ros.arrays import BoolArray, UInt8Array
from geoflow_ros.errors import InputError, TileMissingError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.tiles import NoGround, SatelliteMap, SatellitePatch

DATUM, ZOOM = Datum(49.0, 8.4), 19
FRAME = PatchFrame(0.0, 0.0, 0.4, 512, 0.1958)
CENTRE = mercator(np.array(49.0), np.array(8.4), ZOOM)
DARKEST = 30
"""Of the ground of these tests after JPEG; its grey levels are 40 to 220."""


def cut(source: MemorySource, frame: PatchFrame = FRAME) -> SatellitePatch:
    with SatelliteMap(source, DATUM, ZOOM) as satellite_map:
        return satellite_map.patch(frame)


def north_west(x: int, y: int, size: int = 256) -> BoolArray:
    """(size, size) of the pixels of a tile that lie beyond an oblique line through the map's centre."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    return np.asarray(2.0 * (x * 256 + columns - CENTRE[0]) + (y * 256 + rows - CENTRE[1]) < 0.0)


def painted(x: int, y: int, is_hole: BoolArray, level: int) -> UInt8Array:
    tile = ground(x, y)
    tile[is_hole] = level
    return tile


def test_a_map_without_holes_has_no_mask() -> None:
    patch = cut(PlaceSource())
    assert patch.no_ground is None
    assert patch.validity is None
    assert patch.ground_share == 1.0
    assert not patch.shares_without_ground


@pytest.mark.parametrize("fmt", ["png", "webp"])
def test_transparent_specks_are_filled_from_around_them_and_count_as_ground(fmt: str) -> None:
    def speckled(x: int, y: int) -> UInt8Array:
        is_hole = np.zeros((256, 256), np.uint8)
        for row, column in np.random.default_rng([x, y, 1]).integers(0, 250, (40, 2)):
            is_hole[row : row + 2, column : column + 3] = 1
        return with_alpha(ground(x, y), is_hole > 0)

    patch, whole = cut(PlaceSource(speckled, fmt)), cut(PlaceSource(fmt=fmt))
    assert patch.ground_share == 1.0
    assert patch.no_ground is None
    off = np.abs(patch.pixels.astype(int) - whole.pixels).max(axis=-1)
    assert off.max() < 60  # of 40 to 220: black specks are off by 100 on average
    assert off.mean() < 1.0


def test_what_is_transparent_is_marked_where_it_is_and_filled_with_the_mean_of_the_rest() -> None:
    patch = cut(PlaceSource(lambda x, y: with_alpha(ground(x, y), north_west(x, y))))
    assert patch.shares_without_ground == {NoGround.TRANSPARENT: pytest.approx(0.5, abs=0.005)}
    assert patch.ground_share == pytest.approx(0.5, abs=0.005)
    assert patch.validity is not None
    # The same by the exact geometry: patch pixel → latitude, longitude → mercator.
    rows, columns = np.mgrid[:512, :512]
    lats, lons = DATUM.to_latlon(*np.moveaxis(FRAME.to_enu(np.stack([columns, rows], -1)), -1, 0))
    along = (mercator(lats, lons, ZOOM) - CENTRE) @ (2.0, 1.0) / np.sqrt(5.0)
    assert (patch.validity == (along > 0.0))[np.abs(along) > 1.0].all()
    inside = patch.pixels[along < -3.0]
    assert (inside == inside[0]).all()
    np.testing.assert_allclose(inside[0], patch.pixels[along > 3.0].mean(axis=0), atol=6.0)
    assert patch.pixels.min() >= DARKEST  # no black mixes into the edge


@pytest.mark.parametrize(("level", "kind"), [(0, NoGround.BLACK), (255, NoGround.WHITE)])
@pytest.mark.parametrize("fmt", ["jpg", "png", "webp"])
def test_a_black_or_white_border_is_none_of_the_map(level: int, kind: NoGround, fmt: str) -> None:
    patch = cut(PlaceSource(lambda x, y: painted(x, y, north_west(x, y), level), fmt))
    assert patch.shares_without_ground == {kind: pytest.approx(0.5, abs=0.03)}
    assert patch.pixels.min() >= DARKEST
    assert patch.pixels.max() <= 255 - DARKEST


def test_a_border_that_is_a_sliver_in_each_tile_is_seen_in_the_mosaic() -> None:
    row = int(CENTRE[1] // 256)

    def sliver(x: int, y: int) -> UInt8Array:
        is_hole = np.zeros((256, 256), bool)
        if y < row:
            is_hole[:] = True
        elif y == row:
            is_hole[:3] = True  # too little to count, but for the black tiles above
        return painted(x, y, is_hole, 0)

    patch = cut(PlaceSource(sliver))
    assert set(patch.shares_without_ground) == {NoGround.BLACK}
    assert patch.pixels.min() >= DARKEST


@pytest.mark.parametrize("level", [0, 255])
def test_a_roof_or_a_shadow_that_is_pure_is_ground(level: int) -> None:
    def roofs(x: int, y: int) -> UInt8Array:
        is_roof = np.zeros((256, 256), bool)
        is_roof[60:124, 90:154] = is_roof[200:230, 200:230] = True  # 12.5 m and 6 m wide
        return painted(x, y, is_roof, level)

    patch = cut(PlaceSource(roofs))
    assert patch.no_ground is None
    assert (patch.pixels == level).any()


WORDS = np.full((256, 256, 3), 204, np.uint8)
cv2.putText(WORDS, "Map data not", (40, 120), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (120, 120, 120), 1)
cv2.putText(WORDS, "yet available", (42, 150), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (120, 120, 120), 1)
PLACEHOLDERS = {
    "black": (np.zeros((256, 256, 3), np.uint8), NoGround.BLACK),
    "white": (np.full((256, 256, 3), 255, np.uint8), NoGround.WHITE),
    "one colour": (np.full((256, 256, 3), (170, 210, 230), np.uint8), NoGround.ONE_COLOUR),
    "words": (WORDS, NoGround.ONE_COLOUR),
    "a picture": (ground(0, 0), NoGround.REPEATED),
}


@pytest.mark.parametrize("fmt", ["jpg", "png"])
@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_a_placeholder_shows_no_ground(name: str, fmt: str) -> None:
    tile, kind = PLACEHOLDERS[name]
    everywhere = cut(PlaceSource(lambda x, y: tile, fmt))
    assert everywhere.ground_share == 0.0
    assert everywhere.shares_without_ground == {kind: 1.0}
    row = int(CENTRE[1] // 256)
    in_the_north = cut(PlaceSource(lambda x, y: tile if y < row else ground(x, y), fmt))
    assert set(in_the_north.shares_without_ground) == {kind}
    assert 0.1 < in_the_north.ground_share < 0.9


def test_one_placeholder_with_words_is_known_where_it_stands_alone() -> None:
    here = tuple(int(v // 256) for v in CENTRE)
    patch = cut(PlaceSource(lambda x, y: WORDS if (x, y) == here else ground(x, y), "jpg"))
    assert set(patch.shares_without_ground) == {NoGround.ONE_COLOUR}


def test_the_ground_of_a_missing_tile_is_marked_and_a_patch_of_nothing_else_says_which_are_missing() -> None:
    source, (x, y) = PlaceSource(), (int(v // 256) for v in CENTRE)
    source.failing[ZOOM, x, y] = TileMissingError("gone")
    patch = cut(source)
    assert set(patch.shares_without_ground) == {NoGround.MISSING}
    assert 0.1 < patch.ground_share < 0.9
    assert patch.pixels.min() >= DARKEST
    source.failing.update({(ZOOM, x + i, y + j): TileMissingError("gone") for i in range(-2, 3) for j in range(-2, 3)})
    with pytest.raises(TileMissingError, match=r"gone \(and \d+ more of the \d+ tiles needed\)"):
        cut(source)


def test_kinds_are_told_apart_and_the_largest_comes_first() -> None:
    row, column = (int(v // 256) for v in CENTRE[::-1])

    def mixed(x: int, y: int) -> UInt8Array | bytes:
        if y < row:
            return encoded(np.full((256, 256, 3), 255, np.uint8), "jpg")
        is_hole = np.zeros((256, 256), bool)
        is_hole[:, :40] = x == column
        return with_alpha(ground(x, y), is_hole)

    patch = cut(PlaceSource(mixed))
    assert list(patch.shares_without_ground) == [NoGround.WHITE, NoGround.TRANSPARENT]
    assert sum(patch.shares_without_ground.values()) + patch.ground_share == pytest.approx(1.0)


@pytest.mark.parametrize("resolution_m", [0.1, 0.1958, 0.3917, 0.6])
def test_the_share_does_not_depend_on_the_patchs_resolution(resolution_m: float) -> None:
    frame = PatchFrame(0.0, 0.0, 0.4, round(100.0 / resolution_m), resolution_m)
    patch = cut(PlaceSource(lambda x, y: with_alpha(ground(x, y), north_west(x, y))), frame)
    assert patch.ground_share == pytest.approx(0.5, abs=0.01)


def test_marks_that_do_not_fit_the_patch_are_refused() -> None:
    with pytest.raises(InputError, match=r"uint8 of shape \(8, 8\)"):
        SatellitePatch(np.zeros((8, 8, 3), np.uint8), PatchFrame(0, 0, 0, 8, 1.0), np.zeros((8, 9), np.uint8))
