"""Tiles that come one by one: what is here, what may yet come, and what is wrong with what came."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.errors import TileMissingError, TileSourceUnavailableError
from geoflow_ros.tiles import CacheSettings, ReceivedTiles, TileFormat, encode_tile
from geoflow_ros.tiles.received import _OVERHEAD_BYTES

MIB = 2**20


def tile(number: int, fmt: TileFormat = TileFormat.PNG) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
    return encode_tile(pixels, fmt)


def test_a_tile_is_read_as_it_came() -> None:
    tiles = ReceivedTiles(MIB)
    for number, fmt in enumerate(TileFormat):
        assert tiles.take(f"17/{number}/5", tile(number, fmt))
    assert [tiles.read(17, number, 5) for number in range(4)] == [tile(n, fmt) for n, fmt in enumerate(TileFormat)]


def test_a_tile_may_yet_come_but_one_that_was_sent_empty_is_missing() -> None:
    tiles = ReceivedTiles(MIB)
    with pytest.raises(TileSourceUnavailableError, match="17/1/2 has not come on 'satellite/tiles': is tile_publisher"):
        tiles.read(17, 1, 2)
    assert tiles.take("17/1/2", b"")
    with pytest.raises(TileMissingError, match="17/1/2: the map of the sender"):
        tiles.read(17, 1, 2)
    assert tiles.take("17/1/2", tile(1))  # a map that got it since
    assert tiles.read(17, 1, 2) == tile(1)


def test_the_zooms_are_those_of_what_came() -> None:
    tiles = ReceivedTiles(MIB)
    assert (tiles.min_zoom, tiles.max_zoom) == (0, 30)
    for zoom in (19, 17, 18):
        tiles.take(f"{zoom}/1/2", tile(1))
    assert (tiles.min_zoom, tiles.max_zoom) == (17, 19)


@pytest.mark.parametrize(
    ("address", "data", "problem"),
    [
        ("camera", tile(1), "the frame_id 'camera' instead of z/x/y"),
        ("", tile(1), "the frame_id '' instead of z/x/y"),
        ("17/1/-2", tile(1), "instead of z/x/y"),
        ("17/1/2.png", tile(1), "instead of z/x/y"),
        ("17/١/2/", tile(1), "instead of z/x/y"),
        ("1/2/0", tile(1), "there is no tile 1/2/0"),
        ("31/0/0", tile(1), "there is no tile 31/0/0"),
        ("17/1/2", tile(1)[:-20], "tile 17/1/2 of 'satellite/tiles' is a png image that is cut short"),
        ("17/1/2", b"<html>", "tile 17/1/2 of 'satellite/tiles' is not a PNG"),
    ],
)
def test_what_cannot_be_used_is_named_once_counted_and_harms_nothing(
    address: str, data: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    tiles = ReceivedTiles(MIB)
    tiles.take("17/3/3", tile(3))
    with caplog.at_level(logging.WARNING, "geoflow_ros"):
        assert [tiles.take(address, data) for _ in range(3)] == [False] * 3
    assert [problem in record.getMessage() for record in caplog.records] == [True]
    assert problem in tiles.facts["topic_tiles_problem"]
    assert (tiles.facts["topic_tiles"], tiles.facts["topic_tiles_refused"]) == ("1", "3")
    assert tiles.read(17, 3, 3) == tile(3)
    assert (tiles.min_zoom, tiles.max_zoom) == (17, 17)


def test_memory_is_bounded_and_what_was_read_last_stays() -> None:
    one = len(tile(0)) + _OVERHEAD_BYTES
    tiles = ReceivedTiles(4 * one)
    for number in range(4):
        tiles.take(f"17/{number}/0", tile(0))
    tiles.read(17, 0, 0)
    for number in range(4, 7):
        tiles.take(f"17/{number}/0", tile(0))
    assert tiles.facts["topic_tiles_in_memory"] == "4"
    assert tiles.read(17, 0, 0) == tile(0)
    with pytest.raises(TileSourceUnavailableError):
        tiles.read(17, 1, 0)


def test_the_disk_keeps_what_came_for_the_next_drive_and_what_memory_gave_up(tmp_path: Path) -> None:
    cache = CacheSettings(tmp_path / "cache")
    before = ReceivedTiles(1, cache)  # no room in memory for more than one
    for number in range(3):
        before.take(f"18/{number}/0", tile(number))
    before.take("18/3/0", b"")
    assert [before.read(18, number, 0) for number in range(3)] == [tile(number) for number in range(3)]
    before.close()
    after = ReceivedTiles(MIB, cache)
    assert (after.min_zoom, after.max_zoom) == (18, 18)
    assert [after.read(18, number, 0) for number in range(3)] == [tile(number) for number in range(3)]
    with pytest.raises(TileMissingError):
        after.read(18, 3, 0)
    with pytest.raises(TileSourceUnavailableError):
        after.read(18, 4, 0)
    after.close()
    with pytest.raises(TileSourceUnavailableError):  # closed while a frame was at work
        after.read(18, 0, 0)
