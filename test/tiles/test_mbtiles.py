"""MBTiles files: written, read back, and refused where they are damaged."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from fakes.tiles import GREY, encoded, ground, with_alpha, write_grey_map

from geoflow_ros.errors import InputError, TileError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import GeoBounds, tile_at, tile_bounds
from geoflow_ros.tiles import (
    WEB_MERCATOR_WORLD,
    MBTilesSource,
    MBTilesWriter,
    TileFormat,
    encode_tile,
    open_tile_source,
    tile_source_info,
)


def test_mbtiles_come_back_as_written_with_the_metadata_of_the_specification(tmp_path: Path) -> None:
    path = tmp_path / "a map?#%.mbtiles"  # characters that mean something in a URI
    write_grey_map(path)
    source = open_tile_source(path)
    assert source.read(19, *tile_at(49.0, 8.4, 19)) == GREY
    assert (source.name, source.tile_size, source.min_zoom, source.max_zoom) == ("grey", 256, 18, 19)
    assert source.bounds == GeoBounds(8.39, 48.99, 8.41, 49.01)
    with pytest.raises(TileMissingError, match="tile 19/0/0 .*missing"):
        source.read(19, 0, 0)
    with pytest.raises(TileMissingError, match="no tile 3/8/0"):
        source.read(3, 8, 0)
    info = json.loads(json.dumps(tile_source_info(source)))
    assert info["kind"] == "MBTilesSource"
    assert info["tiles"] == {"18": 49, "19": 49}
    assert info["format"] == "png"
    assert info["ground_resolution_m"] == pytest.approx(0.1959, abs=1e-4)
    assert info["description"] == "all grey"
    assert (info["ground_share"], info["no_ground"]) == (0.0, {"tiles of one colour": 1.0})
    source.close()
    with pytest.raises(TileSourceUnavailableError, match="closed database"):
        source.read(19, *tile_at(49.0, 8.4, 19))
    db = sqlite3.connect(path)
    metadata = dict(db.execute("SELECT name, value FROM metadata"))
    db.close()
    assert set(metadata) >= {"name", "format", "bounds", "center", "minzoom", "maxzoom", "type", "description"}
    assert [float(v) for v in metadata["center"].split(",")] == [8.4, 49.0, 19]


def test_a_description_tells_how_much_of_the_map_shows_ground_by_some_of_its_tiles(tmp_path: Path) -> None:
    path = tmp_path / "holes.mbtiles"
    with MBTilesWriter(path, "holes", "png", GeoBounds(8.39, 48.99, 8.41, 49.01)) as writer:
        for x, y in ((x, y) for x in range(20) for y in range(20)):
            is_hole = np.zeros((256, 256), bool)
            is_hole[:128] = y < 10
            writer.add(19, 274000 + x, 180000 + y, encoded(with_alpha(ground(x, y), is_hole)))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE tiles SET tile_data = substr(tile_data, 1, 900) WHERE tile_column >= 274016")
    source = MBTilesSource(path)
    assert len(source.some_places(19, 100)) == 100
    assert set(source.some_places(19, 1000)) == {(274000 + x, 180000 + y) for x in range(20) for y in range(20)}
    info = tile_source_info(source)
    source.close()
    assert info["ground_share"] == pytest.approx(0.6, abs=0.08)
    assert info["no_ground"] == {"transparent": pytest.approx(0.2, abs=0.06), "damaged": pytest.approx(0.2, abs=0.08)}


def test_mbtiles_rows_count_from_the_south_in_the_file(tmp_path: Path) -> None:
    write_grey_map(tmp_path / "grey.mbtiles")
    db = sqlite3.connect(tmp_path / "grey.mbtiles")
    rows = {row for (row,) in db.execute("SELECT tile_row FROM tiles WHERE zoom_level = 19")}
    db.close()
    assert 2**19 - 1 - tile_at(49.0, 8.4, 19)[1] in rows
    assert max(rows) > 2**18


def test_zooms_and_bounds_that_the_metadata_does_not_state_come_from_the_tiles(tmp_path: Path) -> None:
    path = tmp_path / "grey.mbtiles"
    write_grey_map(path)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM metadata")
    db.close()
    source = MBTilesSource(path)
    assert (source.min_zoom, source.max_zoom, source.name) == (18, 19, "grey")
    # Of the coarser zoom too, whose tiles go farther.
    x, y = tile_at(49.0, 8.4, 18)
    assert source.bounds.north_deg == tile_bounds(18, x - 3, y - 3).north_deg
    assert source.bounds.east_deg == pytest.approx(tile_bounds(18, x + 3, y + 3).east_deg, abs=1e-9)


def test_a_truncated_mbtiles_file_is_refused_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "grey.mbtiles"
    write_grey_map(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TileSourceUnavailableError, match="cut short: .*copy it again"):
        open_tile_source(path)


def test_a_damaged_mbtiles_file_is_an_error_and_not_a_tile(tmp_path: Path) -> None:
    path = tmp_path / "grey.mbtiles"
    write_grey_map(path)
    data = bytearray(path.read_bytes())
    data[3 * 4096 :] = bytes(len(data) - 3 * 4096)
    path.write_bytes(data)

    def read_a_row() -> list[bytes]:
        source = open_tile_source(path)
        x0, y = tile_at(49.0, 8.4, 19)
        return [source.read(19, x, y) for x in range(x0 - 3, x0 + 4)]

    with pytest.raises(TileError):
        read_a_row()


def bad_mbtiles(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.mbtiles"
    if kind == "text":
        path.write_text("this is not a map, but it is longer than the header of an SQLite file" * 9)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind in ("other database", "no tiles", "vector", "not images"):
        db = sqlite3.connect(path)
        if kind == "other database":
            db.execute("CREATE TABLE things (a, b)")
        else:
            db.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
            db.execute("CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data)")
            if kind != "no tiles":
                db.execute("INSERT INTO tiles VALUES (1, 0, 0, ?)", (b"\x1f\x8b00",))
            if kind == "vector":
                db.execute("INSERT INTO metadata VALUES ('format', 'pbf')")
        db.commit()
        db.close()
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("absent", "is not there"),
        ("text", "not an MBTiles file"),
        ("empty", "not an MBTiles file"),
        ("folder", "cannot be read: Is a directory"),
        ("other database", "not an MBTiles file"),
        ("no tiles", "holds no tiles"),
        ("vector", "vector tiles; satellite imagery is needed"),
        ("not images", "holds no images"),
    ],
)
def test_files_that_are_no_map_are_refused_with_the_reason(tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(TileSourceUnavailableError, match=words) as caught:
        open_tile_source(bad_mbtiles(tmp_path, kind))
    assert kind in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_writer_that_fails_leaves_the_earlier_map_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "grey.mbtiles"
    write_grey_map(path)
    before = path.read_bytes()

    def write_until_an_error() -> None:
        with MBTilesWriter(path, "new", "png", WEB_MERCATOR_WORLD) as writer:
            writer.add(1, 0, 0, GREY)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_until_an_error()
    with pytest.raises(InputError, match="needs at least one tile"):
        MBTilesWriter(path, "new", "png", WEB_MERCATOR_WORLD).close()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["grey.mbtiles"]


def test_the_writer_refuses_what_no_reader_could_use(tmp_path: Path) -> None:
    with MBTilesWriter(tmp_path / "m.mbtiles", "m", TileFormat.PNG, WEB_MERCATOR_WORLD) as writer:
        writer.add(1, 0, 0, GREY)
        with pytest.raises(InputError, match="1/0/0 was added before"):
            writer.add(1, 0, 0, GREY)
        with pytest.raises(InputError, match="jpg image in a map of png tiles"):
            writer.add(1, 1, 0, encode_tile(np.zeros((256, 256, 3), np.uint8), TileFormat.JPEG))
        with pytest.raises(InputError, match="not a PNG"):
            writer.add(1, 1, 0, b"mud")
        with pytest.raises(InputError, match="no tile 1/2/0"):
            writer.add(1, 2, 0, GREY)
    with pytest.raises(InputError, match="png, jpg or webp, not 'tiff'"):
        MBTilesWriter(tmp_path / "n.mbtiles", "n", "tiff", WEB_MERCATOR_WORLD)
    with pytest.raises(InputError, match="cannot be written: No such file"):
        MBTilesWriter(tmp_path / "absent" / "n.mbtiles", "n", "png", WEB_MERCATOR_WORLD)
