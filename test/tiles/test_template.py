"""Tile addresses in the notations of the common tools."""

from __future__ import annotations

import pytest

from geoflow_ros.errors import InputError, TileMissingError
from geoflow_ros.tiles.template import TileTemplate, quadkey


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("http://h/{z}/{x}/{y}.png", "http://h/3/5/1.png"),
        ("http://h/{z}/{x}/{-y}.png", "http://h/3/5/6.png"),
        ("http://h/{Z}/{X}/{Y}.png", "http://h/3/5/1.png"),
        ("http://h/%7Bz%7D/%7bx%7d/%7By%7D.png", "http://h/3/5/1.png"),
        ("http://h/tile/{level}/{row}/{col}", "http://h/tile/3/1/5"),
        ("http://h/{zoom}/{x}/{y}{r}.png", "http://h/3/5/1.png"),
        ("http://h/a{q}.jpeg?g=1", "http://h/a103.jpeg?g=1"),
        ("http://h/a{quadkey}.jpeg", "http://h/a103.jpeg"),
        ("https://{s}.h/{z}/{x}/{y}.png", "https://a.h/3/5/1.png"),
        ("https://{switch:A,B}.h/{z}/{x}/{y}.png", "https://A.h/3/5/1.png"),
        ("https://{a-d}.h/{z}/{x}/{y}.png", "https://c.h/3/5/1.png"),
        ("https://t{1-4}.h/{z}/{x}/{y}.png", "https://t3.h/3/5/1.png"),
        (
            "http://h/w?TILEMATRIX={TileMatrix}&TILEROW={TileRow}&TILECOL={TileCol}",
            "http://h/w?TILEMATRIX=3&TILEROW=1&TILECOL=5",
        ),
        (
            "http://h/w?BBOX={bbox-epsg-3857}",
            "http://h/w?BBOX=5009377.085697,10018754.171395,10018754.171395,15028131.257092",
        ),
        ("/maps/{z}_{x}_{y}.png", "/maps/3_5_1.png"),
    ],
)
def test_templates_of_the_common_tools_are_filled(text: str, filled: str) -> None:
    assert TileTemplate(text).fill(3, 5, 1) == filled


def test_several_hosts_take_turns_over_a_patch_and_a_tile_is_always_at_one() -> None:
    template = TileTemplate("https://{s}.h/{z}/{x}/{y}.png")
    hosts = {template.fill(17, x, y)[8] for x in range(3) for y in range(3)}
    assert hosts == {"a", "b", "c"}
    assert template.fill(17, 1, 1) == template.fill(17, 1, 1)


def test_the_quadkey_is_that_of_bings_documentation() -> None:
    assert quadkey(3, 3, 5) == "213"


def test_zooms_may_have_names() -> None:
    template = TileTemplate("http://h/{TileMatrix}/{TileRow}/{TileCol}", {3: "EPSG:3857:3"})
    assert template.fill(3, 5, 1) == "http://h/EPSG:3857:3/1/5"
    with pytest.raises(TileMissingError, match="no zoom 4"):
        template.fill(4, 0, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://h/${z}/${x}/${y}.png", r"has \$\{…\}, which is JavaScript's or the shell's .*write \{z\}"),
        ("http://h/{z}/{x}.png", r"needs \{z\}, \{x\} and \{y\}"),
        ("http://h/{z}/{x}/{y}/{-y}.png", r"needs \{z\}, \{x\} and \{y\}"),
        ("http://h/{z}/{x}/{y}.png?k={key}", r"unknown \{key\}"),
        ("http://u:hush@h/{z}/{x}.png?key=hush", "needs"),
    ],
)
def test_templates_that_no_tile_could_fill_are_refused_without_their_secrets(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        TileTemplate(text)
    assert "hush" not in str(caught.value)
