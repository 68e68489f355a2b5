"""What a map says of itself is a hint; what it holds counts.

Metadata of map files and TileJSON documents are written by many tools and edited by hand: zooms like `17.0`, decimal
commas, bounds with the latitude first, of another map, or beyond 180 degrees, rows counted from the other side.
`settle` holds them against the tiles that are there, and says in one note each what it did not believe.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geoflow_ros.errors import GeometryError
from geoflow_ros.geo import MAX_ZOOM, GeoBounds, tile_bounds

FINEST_ZOOMS = 4
"""So many of the finest zooms that a map holds are asked where it has tiles."""

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_BEYOND_180_DEG = 1e-6  # of rounding, which is no crossing
_LATITUDE_SLACK_DEG = 0.5  # some write 85.06 or 90.1 for the edge of the world
_MUCH_LARGER = 100.0  # times the area of the tiles: what is said then says nothing about them
_CLEARLY = 0.25  # more of the tiles that another reading must cover

Quad = tuple[float, float, float, float]


@dataclass(frozen=True)
class Claims:
    """What a map says of itself; None where it does not, or says nothing that can be read.

    Attributes:
        min_zoom, max_zoom: its zooms.
        bounds: four degrees in the order written, which should be west, south, east, north.
        centre: two degrees, which should be longitude and latitude.
        rows_from_south: whether its rows are numbered from the south, as in TMS.
    """

    min_zoom: int | None = None
    max_zoom: int | None = None
    bounds: Quad | None = None
    centre: tuple[float, float] | None = None
    rows_from_south: bool | None = None

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Claims:
        """Reads metadata of MBTiles or TileJSON: `minzoom`, `maxzoom`, `bounds`, `center`, `scheme`."""
        bounds, centre = numbers(said.get("bounds"), 4), numbers(said.get("center"), 2)
        return cls(
            min_zoom=zoom_of(said.get("minzoom")),
            max_zoom=zoom_of(said.get("maxzoom")),
            bounds=None if bounds is None else (bounds[0], bounds[1], bounds[2], bounds[3]),
            centre=None if centre is None else (centre[0], centre[1]),
            rows_from_south={"tms": True, "xyz": False}.get(str(said.get("scheme", "")).strip().lower()),
        )


@dataclass(frozen=True)
class Holding:
    """Where a map has tiles of one zoom.

    Attributes:
        zoom: the zoom.
        columns: lowest and highest row of each column, numbered as the map does.
    """

    zoom: int
    columns: Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class Extent:
    """What a map is taken to cover.

    Attributes:
        min_zoom, max_zoom: its zooms.
        bounds: where it has tiles.
        rows_from_south: how its rows are numbered.
        notes: one line for each thing that it says and that is not believed.
    """

    min_zoom: int
    max_zoom: int
    bounds: GeoBounds
    rows_from_south: bool
    notes: tuple[str, ...] = field(default=())


def numbers(value: Any, at_least: int) -> list[float] | None:
    """Reads numbers out of a list or a text, with decimal commas too; None where there are fewer than `at_least`."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        found = [str(item) for item in value]
    else:
        found = _NUMBER.findall(str(value)) if value is not None else []
        if len(found) >= 2 * at_least and not any("." in item for item in found[: 2 * at_least]):  # 8,39,48,99,…
            found = [f"{whole}.{part}" for whole, part in zip(found[::2], found[1::2], strict=False)]
    try:
        read = [float(item) for item in found]
    except ValueError:
        return None
    return read if len(read) >= at_least and all(map(math.isfinite, read[:at_least])) else None


def zoom_of(value: Any) -> int | None:
    """Reads a zoom, also one like `17.0` or `17,0`; None where it is none."""
    text = str(value).strip().replace(",", ".")
    try:
        zoom = float(text)
    except ValueError:
        return None
    return int(zoom) if 0.0 <= zoom <= MAX_ZOOM else None


def said_bounds(claims: Claims) -> tuple[GeoBounds | None, str]:
    """Bounds by what a map says alone, where its tiles cannot be asked, and a note on how they were read.

    None where it says nothing that can be bounds.
    """
    if claims.bounds is None:
        return None, ""
    written, turned = _regular(claims.bounds), _regular(_latitude_first(claims.bounds))
    if written is not None and (turned is None or not _turned_by_centre(claims, written, turned)):
        return written, ""
    if turned is not None:
        return turned, f"its bounds {_quad(claims.bounds)} have the latitude first: read as such"
    return None, f"its bounds {_quad(claims.bounds)} are nowhere on Earth: left out"


def settle(claims: Claims, zooms: Iterable[int], holdings: Sequence[Holding], rows_from_south: bool) -> Extent:
    """What a map covers, by what it says and by what it holds.

    Args:
        claims: what it says.
        zooms: that it has tiles of, at least one.
        holdings: where its tiles are, of its finest zooms; at least of the finest.
        rows_from_south: how its rows are numbered by its kind, where it does not say.
    """
    held_zooms = sorted(zooms)
    notes = _zoom_notes(claims, held_zooms)
    usual = rows_from_south if claims.rows_from_south is None else claims.rows_from_south
    finest = max(holdings, key=lambda holding: holding.zoom)
    from_south, turned = _reading(claims, holdings, usual)
    held = _held(holdings, from_south)
    if from_south != usual:
        side, said = ("south", "north") if from_south else ("north", "south")
        notes.append(f"its rows are numbered from the {side}, not from the {said}: read as such")
    bounds = held
    if claims.bounds is not None:
        said_quad = _latitude_first(claims.bounds) if turned else claims.bounds
        said_as = _regular(said_quad)
        if turned:
            notes.append(f"its bounds {_quad(claims.bounds)} have the latitude first: read as such")
        doubt = "nowhere on Earth" if said_as is None else _doubt(said_as, held, finest.zoom)
        if said_as is not None and not doubt:
            bounds = said_as
        elif not turned or doubt:
            notes.append(
                f"its bounds {_quad(claims.bounds)} are {doubt}: taken from the tiles, {_quad(held.as_tuple())}"
            )
    return Extent(held_zooms[0], held_zooms[-1], bounds, from_south, tuple(notes))


def _zoom_notes(claims: Claims, held: Sequence[int]) -> list[str]:
    low, high = claims.min_zoom, claims.max_zoom
    if (low is None or low == held[0]) and (high is None or high == held[-1]):
        return []
    said = f"{'?' if low is None else low} to {'?' if high is None else high}"
    return [f"it says zooms {said} and holds {held[0]} to {held[-1]}: the latter count"]


def _reading(claims: Claims, holdings: Sequence[Holding], usual: bool) -> tuple[bool, bool]:
    """Whether rows are numbered from the south, and whether the bounds have the latitude first: what fits best."""
    best, best_score = (usual, False), -1.0
    for from_south in (usual, not usual):
        held = _held(holdings, from_south)
        for turned in (False, True):
            said = None if claims.bounds is None else _latitude_first(claims.bounds) if turned else claims.bounds
            score = 0.0 if said is None else _covered(held, _regular(said))
            if claims.centre is not None:
                lon, lat = claims.centre[::-1] if turned else claims.centre
                score += 0.5 * held.contains(lat, lon)
            if score > best_score + (_CLEARLY if best_score >= 0.0 else 0.0):
                best, best_score = (from_south, turned), score
    return best


def _doubt(said: GeoBounds, held: GeoBounds, zoom: int) -> str:
    """Why bounds that are said cannot be those of the tiles; empty where they can."""
    if _covered(held, said) == 0.0:
        return "where it has no tiles"
    # A picture ends within a tile: bounds that are up to one narrower than the tiles are those of the picture.
    slack = 360.0 / 2**zoom
    if _area(said) < _area(held) and not _is_within(held, said, slack):
        return "smaller than what it holds"
    if _area(said) > _MUCH_LARGER * _area(held) and not _is_within(said, held, slack):
        return "much larger than what it holds"
    return "" if _is_within(held, said, slack) else "not those of its tiles"


def _held(holdings: Sequence[Holding], from_south: bool) -> GeoBounds:
    """Bounds of the tiles: of the finest zoom, and of coarser ones where those go farther than a tile's rim."""
    finest_first = sorted(holdings, key=lambda holding: -holding.zoom)
    held = _held_of(finest_first[0], from_south)
    for holding in finest_first[1:]:
        coarser = _held_of(holding, from_south)
        if not _is_within(coarser, held, 360.0 / 2**holding.zoom):
            held = held.united(coarser)
    return held


def _held_of(holding: Holding, from_south: bool) -> GeoBounds:
    world = 2**holding.zoom
    columns = sorted(holding.columns)
    west, east = columns[0], columns[-1]
    # Tiles on both sides of the antimeridian: the map begins after the widest gap, where that is half of the world.
    widest, after = max(((b - a, b) for a, b in zip(columns, columns[1:], strict=False)), default=(0, west))
    if widest > world // 2:
        west, east = after, columns[columns.index(after) - 1]
    low = min(row for row, _ in holding.columns.values())
    high = max(row for _, row in holding.columns.values())
    north_row, south_row = (world - 1 - high, world - 1 - low) if from_south else (low, high)
    first, last = tile_bounds(holding.zoom, west, north_row), tile_bounds(holding.zoom, east, south_row)
    return GeoBounds(first.west_deg, last.south_deg, last.east_deg, first.north_deg)


def _latitude_first(quad: Quad) -> Quad:
    return quad[1], quad[0], quad[3], quad[2]


def _regular(quad: Quad) -> GeoBounds | None:
    """Bounds of degrees that may go beyond the antimeridian or stand in the wrong order; None off the Earth."""
    west, south, east, north = quad
    south, north = min(south, north), max(south, north)
    if max(abs(south), abs(north)) > 90.0 + _LATITUDE_SLACK_DEG or max(abs(west), abs(east)) > 540.0:
        return None
    if east < west and west - east <= 180.0:  # no crossing, which would be the shorter way round
        west, east = east, west
    if east - west >= 360.0 - _BEYOND_180_DEG:
        west, east = -180.0, 180.0
    try:
        return GeoBounds(_on_circle(west), max(south, -90.0), _on_circle(east), min(north, 90.0))
    except GeometryError:
        return None


def _on_circle(lon: float) -> float:
    if abs(lon) <= 180.0 + _BEYOND_180_DEG:
        return min(max(lon, -180.0), 180.0)
    return math.remainder(lon, 360.0)


def _turned_by_centre(claims: Claims, written: GeoBounds, turned: GeoBounds) -> bool:
    """Whether the centre, which tools write by other code, fits only the bounds with the latitude first."""
    if claims.centre is None:
        return False
    lon, lat = claims.centre
    return not written.contains(lat, lon) and turned.contains(lat, lon)


def _spans(bounds: GeoBounds) -> list[tuple[float, float]]:
    """Longitudes in one or two pieces."""
    if bounds.west_deg <= bounds.east_deg:
        return [(bounds.west_deg, bounds.east_deg)]
    return [(bounds.west_deg, 180.0), (-180.0, bounds.east_deg)]


def _area(bounds: GeoBounds) -> float:
    return bounds.width_deg * (bounds.north_deg - bounds.south_deg)


def _covered(held: GeoBounds, said: GeoBounds | None) -> float:
    """The share of `held` that lies in `said`."""
    if said is None:
        return 0.0
    width = sum(
        max(0.0, min(b, d) - max(a, c)) for a, b in _spans(held) for c, d in _spans(said)
    )  # in pieces, across the antimeridian
    height = max(0.0, min(held.north_deg, said.north_deg) - max(held.south_deg, said.south_deg))
    return width * height / _area(held)


def _is_within(inner: GeoBounds, outer: GeoBounds, slack_deg: float) -> bool:
    """Whether `inner` lies in `outer`, but for a rim of `slack_deg`."""
    west = (inner.west_deg - outer.west_deg + slack_deg) % 360.0
    fits_across = west + inner.width_deg <= outer.width_deg + 2.0 * slack_deg or outer.width_deg >= 360.0
    return (
        fits_across
        and inner.south_deg >= outer.south_deg - slack_deg
        and inner.north_deg <= outer.north_deg + slack_deg
    )


def _quad(quad: Quad) -> str:
    return ", ".join(f"{edge:.6g}" for edge in quad)
