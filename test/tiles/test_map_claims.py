"""What a map file says of itself is a hint; what it holds counts."""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fakes.tiles import GREY, write_grey_map

from geoflow_ros.errors import InputError, TileSourceUnavailableError
from geoflow_ros.geo import GeoBounds, tile_at
from geoflow_ros.localization.opening import VehicleOptions, open_vehicle_localizer
from geoflow_ros.tiles import MBTilesSource, MBTilesWriter
from geoflow_ros.tiles.claims import Claims, Holding, said_bounds, settle

ZOOM = 17
PLACE = (49.0, 8.4)
TOWN = GeoBounds(8.395, 48.997, 8.405, 49.003)


def town(path: Path, changes: str = "") -> Path:
    """A map of 5 x 5 tiles around PLACE whose metadata or tiles are then changed by SQL."""
    x0, y0 = tile_at(*PLACE, ZOOM)
    with MBTilesWriter(path, "town", "png", TOWN) as writer:
        for x in range(x0 - 2, x0 + 3):
            for y in range(y0 - 2, y0 + 3):
                writer.add(ZOOM, x, y, GREY)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(changes)
    return path


def says(**metadata: str | None) -> str:
    """SQL that changes what a map says; None takes it out."""
    out = []
    for name, value in metadata.items():
        out.append(f"DELETE FROM metadata WHERE name = '{name}';")
        if value is not None:
            out.append(f"INSERT INTO metadata VALUES ('{name}', '{value}');")
    return "".join(out)


NULL_BOUNDS = "UPDATE metadata SET value = NULL WHERE name IN ('bounds', 'minzoom')"
FROM_NORTH = f"UPDATE tiles SET tile_row = {2**ZOOM - 1} - tile_row;"
LATITUDE_FIRST = says(bounds="48.997,8.395,49.003,8.405", center="49.0,8.4,17")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ("", None),
        (says(maxzoom="19"), "says zooms 17 to 19 and holds 17 to 17"),
        (says(minzoom="12", maxzoom="14"), "says zooms 12 to 14 and holds 17 to 17"),
        (says(minzoom="17.0", maxzoom="17,0"), None),
        (says(minzoom=None), None),
        (says(minzoom="low", maxzoom="99"), None),
        (NULL_BOUNDS, None),
        ("DROP TABLE metadata", "no metadata"),
        (says(bounds="8.395,48.997,8.3985,49.003"), "smaller than what it holds"),
        (says(bounds="4.8,52.3,4.9,52.4"), "where it has no tiles"),
        (says(bounds="-180.00000000000003,-85.06,180.00000000000003,85.06"), "much larger than what it holds"),
        (says(bounds="8,395,48,997,8,405,49,003"), None),
        (says(bounds="8,395;48,997;8,405;49,003"), None),
        (says(bounds="[8.395, 48.997, 8.405, 49.003]"), None),
        (says(bounds="8.405,49.003,8.395,48.997"), None),
        (says(bounds="8,49,east"), None),
        (says(bounds="8.395,148.997,8.405,149.003"), "nowhere on Earth"),
        (LATITUDE_FIRST, "latitude first"),
        (FROM_NORTH, "numbered from the north, not from the south"),
        (FROM_NORTH + says(bounds=None), "numbered from the north, not from the south"),  # the centre is left
        (FROM_NORTH + LATITUDE_FIRST, "latitude first"),
        (FROM_NORTH + says(bounds=None, center=None, scheme="xyz"), None),
    ],
)
def test_odd_metadata_do_not_keep_a_map_from_its_tiles(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: str, note: str | None
) -> None:
    with caplog.at_level(logging.WARNING, "geoflow_ros.tiles"):
        source = MBTilesSource(town(tmp_path / "town.mbtiles", changes))
    assert (source.min_zoom, source.max_zoom) == (ZOOM, ZOOM)
    assert source.read(ZOOM, *tile_at(*PLACE, ZOOM)) == GREY
    west, south, east, north = source.bounds.as_tuple()
    assert 8.39 < west < 8.397
    assert 8.403 < east < 8.41
    assert 48.993 < south < 48.998
    assert 49.002 < north < 49.006
    assert source.some_places(ZOOM, 1000)
    assert tile_at(*PLACE, ZOOM) in source.some_places(ZOOM, 1000)
    warnings = [record.getMessage() for record in caplog.records]
    if note is None:
        assert warnings == []
    else:
        assert len(warnings) == 1  # with all notes
        assert note in warnings[0]
    source.close()


def test_rows_that_nothing_tells_the_side_of_are_those_of_the_specification() -> None:
    rows = {68594: (86063, 86067)}
    extent = settle(Claims(), [17], [Holding(17, rows)], rows_from_south=True)
    assert extent.rows_from_south
    assert extent.bounds.south_deg > 0.0
    # On the equator both readings overlap what is said: the usual one stays.
    middle = 2**16
    near = settle(
        Claims(bounds=(8.0, -0.01, 8.01, 0.02)),
        [17],
        [Holding(17, dict.fromkeys(range(68448, 68453), (middle - 4, middle + 7)))],
        rows_from_south=True,
    )
    assert near.rows_from_south


def fiji(*columns: int) -> Holding:
    return Holding(17, dict.fromkeys(columns, (71740, 71744)))


@pytest.mark.parametrize(
    "said",
    [
        None,
        (179.995, -16.81, -179.995, -16.798),
        (179.995, -16.81, 180.005, -16.798),
        (-180.005, -16.81, -179.995, -16.798),
        (-180.0, -16.81, 180.0, -16.798),
    ],
)
def test_a_map_across_the_antimeridian_is_in_one_piece(said: tuple[float, float, float, float] | None) -> None:
    extent = settle(Claims(bounds=said), [17], [fiji(131069, 131070, 131071, 0, 1)], rows_from_south=False)
    assert extent.bounds.west_deg > 179.98
    assert -180.0 <= extent.bounds.east_deg < -179.98
    assert extent.bounds.contains(-16.8, 179.999)
    assert extent.bounds.contains(-16.8, -179.999)
    assert not extent.bounds.contains(-16.8, 0.0)
    assert abs(extent.bounds.centre[1]) > 179.98


def test_bounds_that_no_tile_can_confirm_are_read_by_the_centre() -> None:
    town = GeoBounds(8.3, 48.9, 8.5, 49.1)
    assert said_bounds(Claims(bounds=(8.3, 48.9, 8.5, 49.1))) == (town, "")
    bounds, note = said_bounds(Claims(bounds=(48.9, 8.3, 49.1, 8.5), centre=(8.4, 49.0)))
    assert bounds == town
    assert "latitude first" in note
    assert said_bounds(Claims(bounds=(-16.9, 179.0, -16.7, 179.9)))[0] == GeoBounds(179.0, -16.9, 179.9, -16.7)
    assert "nowhere on Earth" in said_bounds(Claims(bounds=(1.0, 200.0, 2.0, 999.0)))[1]
    assert said_bounds(Claims()) == (None, "")


@pytest.mark.parametrize("columns", [(131069, 131070, 131071, 0, 1), tuple(range(0, 131072, 512))])
def test_a_map_that_spans_180_degrees_or_the_globe_asks_for_the_datum(tmp_path: Path, columns: tuple[int, ...]) -> None:
    path = tmp_path / "wide.mbtiles"
    with MBTilesWriter(path, "wide", "png", GeoBounds(-180.0, -17.0, 180.0, -16.0)) as writer:
        for x in columns:
            writer.add(17, x, 71742, GREY)
    with pytest.raises(InputError, match=r"cover (the whole world|both sides of 180 degrees): set datum.latitude_deg"):
        open_vehicle_localizer(VehicleOptions(tiles=path, datum=(math.nan, math.nan)))


def test_a_bad_first_tile_does_not_refuse_a_map(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage = "UPDATE tiles SET tile_data = x'00' WHERE rowid IN (SELECT rowid FROM tiles LIMIT 3)"
    source = MBTilesSource(town(tmp_path / "town.mbtiles", damage))
    assert source.read(ZOOM, *tile_at(*PLACE, ZOOM)) == GREY
    assert source.tile_size == 256
    assert "3 of its first 4 tiles cannot be decoded" in caplog.text
    assert "3 of its first 4 tiles" in source.notes[0]


def test_a_missing_index_is_said_with_the_line_that_makes_one(tmp_path: Path) -> None:
    path = town(tmp_path / "town.mbtiles", "DROP INDEX tile_index")
    note = MBTilesSource(path).notes[-1]
    statement = note.split(f"sqlite3 '{path}' ")[1].strip("'")
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
    assert MBTilesSource(path).notes == ()


def test_a_view_without_an_index_names_the_table_that_needs_one(tmp_path: Path) -> None:
    path = town(
        tmp_path / "town.mbtiles",
        """
        CREATE TABLE images (tile_id TEXT PRIMARY KEY, tile_data BLOB);
        CREATE TABLE map (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_id TEXT);
        INSERT INTO images SELECT 'grey', tile_data FROM tiles LIMIT 1;
        INSERT INTO map SELECT zoom_level, tile_column, tile_row, 'grey' FROM tiles;
        DROP TABLE tiles;
        CREATE VIEW tiles AS SELECT zoom_level, tile_column, tile_row, tile_data FROM map JOIN images USING (tile_id);
        """,
    )
    source = MBTilesSource(path)
    assert source.read(ZOOM, *tile_at(*PLACE, ZOOM)) == GREY
    assert "ON map (zoom_level, tile_column, tile_row)" in source.notes[0]


def test_tiles_at_no_place_of_the_tiling_are_passed_over(tmp_path: Path) -> None:
    path = town(tmp_path / "town.mbtiles", "INSERT INTO tiles VALUES (17, 999999999, 3, x'00'), (77, 0, 0, x'00')")
    source = MBTilesSource(path)
    assert source.max_zoom == ZOOM
    assert TOWN.contains(*source.bounds.centre)
    lost = town(tmp_path / "lost.mbtiles", "UPDATE tiles SET tile_column = tile_column + 999999999")
    with pytest.raises(TileSourceUnavailableError, match="at no place"):
        MBTilesSource(lost)


_READS_WITHOUT_RIGHTS = """
import json, os, sys
from geoflow_ros.tiles import MBTilesSource
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
source = MBTilesSource(sys.argv[1])
print(json.dumps([source.max_zoom, len(source.some_places(19, 100)), source.notes]))
"""


@pytest.fixture
def medium() -> Iterator[Path]:
    """A folder that every user may enter, also those for whom the rest of this run is closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop its rights to write, as on a read-only medium")
@pytest.mark.parametrize("has_log", [False, True])
def test_a_file_in_wal_mode_opens_where_nothing_can_be_written(medium: Path, has_log: bool) -> None:
    path = medium / "grey.mbtiles"
    write_grey_map(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("INSERT INTO metadata VALUES ('touched', '1')")
        database.commit()
        log = path.with_name("grey.mbtiles-wal").read_bytes()
        whole = path.read_bytes()
    if has_log:  # what a writer that lost power leaves
        path.write_bytes(whole)
        path.with_name("grey.mbtiles-wal").write_bytes(log)
    for file in medium.iterdir():
        file.chmod(0o444)
    answer = subprocess.run(
        [sys.executable, "-c", _READS_WITHOUT_RIGHTS, str(path)], capture_output=True, text=True, check=True
    )
    zoom, count, notes = json.loads(answer.stdout)
    assert (zoom, count) == (19, 49)
    assert bool(notes) == has_log
    if has_log:
        assert "PRAGMA journal_mode = DELETE" in notes[0]
