"""Folders of tiles, and the specifications by which a user names a source."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.tiles import GREY

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError, TileSourceUnavailableError
from geoflow_ros.geo import tile_at
from geoflow_ros.tiles import open_tile_source
from geoflow_ros.tiles.template import TileTemplate


def test_a_folder_of_tiles_is_a_source(tmp_path: Path) -> None:
    x, y = tile_at(49.0, 8.4, 19)
    for zoom in (18, 19):
        (tmp_path / "my tiles" / str(zoom) / str(x)).mkdir(parents=True)
    (tmp_path / "my tiles" / "19" / str(x) / f"{y}.png").write_bytes(GREY)
    (tmp_path / "my tiles" / "19" / str(x) / f"{y + 1}.png").write_bytes(GREY[:-9])
    quoted = str(tmp_path / "my tiles").replace(" ", "%20")
    for spec in (f"file://{quoted}/{{z}}/{{x}}/{{y}}.png", f"{tmp_path}/my tiles/{{z}}/{{x}}/{{y}}.png"):
        source = open_tile_source(spec)
        assert (source.min_zoom, source.max_zoom, source.name) == (19, 19, "my tiles")
        assert source.read(19, x, y) == GREY
        with pytest.raises(TileMissingError, match="no tile file"):
            source.read(19, x, y + 2)
        with pytest.raises(TileCorruptError, match="cut short"):
            source.read(19, x, y + 1)
    (tmp_path / "my tiles").rename(tmp_path / "gone")
    with pytest.raises(TileSourceUnavailableError, match="is not there"):
        source.read(19, x, y)


def test_a_folder_may_count_its_rows_from_the_south(tmp_path: Path) -> None:
    (tmp_path / "3" / "1").mkdir(parents=True)
    (tmp_path / "3" / "1" / "5.png").write_bytes(GREY)
    assert open_tile_source(f"{tmp_path}/{{z}}/{{x}}/{{-y}}.png").read(3, 1, 2) == GREY


def test_folders_that_hold_no_tiles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TileSourceUnavailableError, match="absent' is not there"):
        open_tile_source(f"file://{tmp_path}/absent/{{z}}/{{x}}/{{y}}.png")
    with pytest.raises(TileSourceUnavailableError, match="holds no files like"):
        open_tile_source(f"{tmp_path}/{{z}}/{{x}}/{{y}}.png")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "is no tile source; give"),
        ("map.docx", "is no tile source; give"),
        ("ftp://host/{z}/{x}/{y}.png", "not 'ftp'"),
        ("http://{z}/{x}/{y}.png", "not an http or https URL"),
        ("http://host/{z}/{x}.png", "needs {z}, {x} and {y}"),
        ("http://host/{z}/{x}/{y}/{-y}.png", "needs {z}, {x} and {y}"),
        ("http://host/{z}/{x}/{y}.png?k={key}", "unknown {key}"),
        ("https:///{z}/{x}/{y}.png", "not an http or https URL"),
        ("http://host:port/{z}/{x}/{y}.png", "not a valid URL"),
        ("file://tiles/{z}/{x}/{y}.png", "three slashes"),
        ("/tiles/{quadkey}.png", "of files has {quadkey}; use {z}"),
    ],
)
def test_specifications_that_name_no_source_are_refused_with_the_reason(spec: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_tile_source(spec)


@pytest.mark.parametrize("layout", ["{z}_{x}_{y}.png", "z{z}/{x}/{y}.png", "{x}/{z}/{y}.png", "{zoom}/{col}/{row}.png"])
def test_the_placeholders_may_stand_anywhere(tmp_path: Path, layout: str) -> None:
    x, y = tile_at(49.0, 8.4, 19)
    for column in (x, x + 1):
        path = tmp_path / TileTemplate(layout).fill(19, column, y)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(GREY)
    (tmp_path / "readme.txt").write_text("of the provider")
    source = open_tile_source(f"file://{tmp_path}/{layout}")
    assert (source.min_zoom, source.max_zoom) == (19, 19)
    assert source.bounds.contains(49.0, 8.4)
    assert source.bounds.width_deg == pytest.approx(2 * 360 / 2**19)
    assert source.read(19, x, y) == GREY
