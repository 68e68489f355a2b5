"""Tile address templates such as `https://host/{z}/{x}/{y}.png`, in the notations of all the common tools."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from geoflow_ros.errors import InputError, TileMissingError
from geoflow_ros.geo.mercator import EQUATOR_M
from geoflow_ros.tiles.secrets import public

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_ENCODED = re.compile(r"%7B(.*?)%7D", re.IGNORECASE)
_RANGE = re.compile(r"([a-z])-([a-z])|(\d)-(\d)")
_HALF_WORLD_M = EQUATOR_M / 2.0  # of EPSG:3857
_ALIASES = {
    "zoom": "z",
    "level": "z",
    "tilematrix": "z",
    "col": "x",
    "tilecol": "x",
    "row": "y",
    "tilerow": "y",
    "q": "quadkey",
    "bbox-epsg-3857": "bbox",
    "s": "switch:a,b,c",
    "ratio": "r",
}
_PLACES = {"z", "x", "y", "-y", "quadkey", "bbox"}
_ENOUGH = ({"z", "x", "y"}, {"z", "x", "-y"}, {"quadkey"}, {"bbox"})
_NEEDED = "needs {z}, {x} and {y} (or {-y}, or {quadkey} or {bbox} instead of all of them), like …/{z}/{x}/{y}.png"


@dataclass(frozen=True)
class TileTemplate:
    """An address with placeholders, in any case and also percent-encoded.

    {z} {x} {y}, with the names of WMTS and others ({zoom}, {level}, {TileMatrix}, {TileCol}, {TileRow}, {col}, {row});
    {-y} where rows count from the south (TMS); {quadkey} or {q}; {bbox} (EPSG:3857 metres: WMS); {s}, {switch:a,b,c},
    {a-c} and {1-4} for several hosts; {r} is left out.

    Attributes:
        text: the address.
        levels: names of the zooms, where they are other than numbers.

    Raises:
        InputError: a placeholder is missing or unknown.
    """

    text: str
    levels: Mapping[int, str] | None = None

    def __post_init__(self) -> None:
        shown = public(self.text)
        if "${" in self.text:
            raise InputError(
                f"tile template '{shown}' has ${{…}}, which is JavaScript's or the shell's and was not filled in: "
                "write {z}, {x} and {y}"
            )
        object.__setattr__(self, "text", _ENCODED.sub(lambda match: "{" + match[1] + "}", self.text))
        found = {placeholder_meaning(name) for name in _PLACEHOLDER.findall(self.text)}
        places = found & _PLACES
        unknown = sorted(name for name in found - _PLACES if name != "r" and not _switched(name))
        if unknown:
            names = ", ".join(f"{{{name}}}" for name in unknown)
            raise InputError(
                f"tile template '{shown}' has unknown {names}; use {{z}}, {{x}} and {{y}} (or {{-y}} or {{quadkey}})"
            )
        if places not in _ENOUGH:
            raise InputError(f"tile template '{shown}' {_NEEDED}")

    @property
    def is_high_density(self) -> bool:
        """Whether the address says that tiles have twice the usual pixels."""
        return "@2x" in self.text

    def fill(self, zoom: int, x: int, y: int) -> str:
        """Returns the address of tile (zoom, x, y), y counted from the north.

        Raises:
            TileMissingError: a zoom that has no name.
        """
        if self.levels is not None and zoom not in self.levels:
            raise TileMissingError(f"'{public(self.text)}' has no zoom {zoom}")
        side = 2.0 * _HALF_WORLD_M / 2**zoom
        west, south = x * side - _HALF_WORLD_M, _HALF_WORLD_M - (y + 1) * side
        values = {
            "z": zoom if self.levels is None else self.levels[zoom],
            "x": x,
            "y": y,
            "-y": 2**zoom - 1 - y,
            "quadkey": quadkey(zoom, x, y),
            "bbox": ",".join(
                f"{edge:.9g}" if edge == 0.0 else f"{edge:.6f}" for edge in (west, south, west + side, south + side)
            ),
            "r": "",
        }

        def value(match: re.Match[str]) -> str:
            meaning = placeholder_meaning(match[1])
            choices = _switched(meaning)
            return choices[(x + y) % len(choices)] if choices else str(values[meaning])

        return _PLACEHOLDER.sub(value, self.text)


def quadkey(zoom: int, x: int, y: int) -> str:
    """The name of a tile in Bing's numbering: a digit for each zoom, of the quarter that the tile is in."""
    return "".join(str((x >> bit & 1) + 2 * (y >> bit & 1)) for bit in range(zoom - 1, -1, -1))


def placeholder_meaning(name: str) -> str:
    """What a placeholder stands for, by any of its names: z, x, y, -y, quadkey, bbox, r or switch:…."""
    lower = name.strip().lower()
    return _ALIASES.get(lower, name.strip() if lower.startswith("switch:") else lower)


def _switched(meaning: str) -> list[str]:
    """The choices of a placeholder for several hosts; none for any other."""
    if meaning.startswith("switch:"):
        return [choice for choice in meaning[len("switch:") :].split(",") if choice]
    match = _RANGE.fullmatch(meaning)
    if match is None:
        return []
    first, last = (match[1], match[2]) if match[1] else (match[3], match[4])
    return [chr(code) for code in range(ord(first), ord(last) + 1)]
