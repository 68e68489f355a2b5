"""Upright parts (trunks, crowns, poles, plates) drawn over a picture, facing the viewer, with the right occlusion."""

from __future__ import annotations

from dataclasses import dataclass

from geoflow_ros.world import parts as part
from geoflow_ros.world.arrays import Array, cast, namespace, smallest, take_last, where_true
from geoflow_ros.world.viewpoints import Picture, Viewpoints
from geoflow_ros.world.windows import MIN_PARTS

_PARTS_PER_COLUMN = 4  # nearest that one image column draws
_SIGHT_M = 90.0  # parts farther away are not drawn
_ARMS_LENGTH_M = (0.8, 9.0)  # a part nearer than this, or than its half width in between, is not drawn
_MIN_DISTANCE_M = 0.3
_NOWHERE_M = 1e9  # the distance of what is not seen
_CROWN_EDGE, _ROUGHNESS = 0.3, 0.6  # how far leaves move a crown's edge; of a part's own roughness
_LEAF_LIGHT, _TOP_LIGHT = 0.28, 0.2  # relative brightness: of leaves, and of a crown's top over its middle


@dataclass(frozen=True)
class _Seen:
    """The parts nearest to each camera, and which of them each image column meets.

    Attributes:
        nearest: (B, K) row of each part in its window's table.
        distance: (B, K) metres.
        lateral: (B, W, K) metres from a column's plane of sight to the part's axis.
        front: (B, W, M) index into K, nearest first.
        covers: (B, W, M) whether the column has so many parts.
    """

    nearest: Array
    distance: Array
    lateral: Array
    front: Array
    covers: Array


def draw_parts(views: Viewpoints, picture: Picture) -> None:
    """Draws upright parts over surfaces, in place; what is nearer hides what is farther."""
    table = views.windows.parts[views.window]  # (B, P, PART_COLUMNS)
    seen = _select(views, table)
    for m in range(_PARTS_PER_COLUMN - 1, -1, -1):  # the farthest first
        _draw_layer(views, picture, table, seen, m)


def _select(views: Viewpoints, table: Array) -> _Seen:
    """Finds the parts that each camera and each of its columns sees."""
    xp = namespace(table)
    origin, window = views.windows.origin, views.window
    dx = table[..., part.EAST] - origin[window, 0][:, None] - views.x[:, None]
    dy = origin[window, 1][:, None] - table[..., part.NORTH] - views.y[:, None]
    c, s = xp.cos(views.yaw_rad)[:, None], xp.sin(views.yaw_rad)[:, None]
    forward, right = dx * c - dy * s, dx * s + dy * c
    distance = xp.sqrt(forward**2 + right**2)
    # a part counts if it meets the image's columns, is beyond arm's length and within sight
    bearing, half_width = xp.arctan2(right, forward), table[..., part.HALF_WIDTH]
    widest = xp.abs(views.azimuth[0]) + half_width / xp.clip(distance, _MIN_DISTANCE_M, _NOWHERE_M)
    seen = (xp.abs(bearing) < widest) & (distance > xp.clip(half_width, *_ARMS_LENGTH_M)) & (distance < _SIGHT_M)
    nearest = smallest(xp.where(seen, distance, 0 * distance + _NOWHERE_M), MIN_PARTS)  # (B, K)
    distance, bearing = take_last(distance, nearest), take_last(bearing, nearest)
    seen, half = take_last(cast(seen, "uint8"), nearest) > 0, take_last(half_width, nearest)
    turn = views.azimuth[None, :, None] - bearing[:, None, :]  # (B, W, K)
    lateral = xp.sin(turn) * distance[:, None]
    covers = (xp.abs(lateral) < half[:, None]) & (xp.cos(turn) > 0) & seen[:, None]
    front = smallest(xp.where(covers, distance[:, None] + 0 * lateral, 0 * lateral + _NOWHERE_M), _PARTS_PER_COLUMN)
    return _Seen(nearest, distance, lateral, front, take_last(cast(covers, "uint8"), front) > 0)


def _draw_layer(views: Viewpoints, picture: Picture, table: Array, seen: _Seen, m: int) -> None:
    """Draws the `m`-th nearest part of every column that has so many."""
    xp = namespace(table)
    windows, window = views.windows, views.window
    of, column = where_true(seen.covers[..., m])
    k = seen.front[of, column, m]
    row = table[of, seen.nearest[of, k]]  # (n, PART_COLUMNS)
    d, off = seen.distance[of, k][:, None], seen.lateral[of, column, k][:, None]
    bottom, top, half, ellipse, rough = (
        row[:, i, None] for i in (part.BOTTOM, part.TOP, part.HALF_WIDTH, part.ELLIPSE, part.ROUGHNESS)
    )
    z = views.height_m + views.slope[column] * d  # (n, H)
    u, v = off / half, (2 * z - bottom - top) / (top - bottom)
    ragged = _ragged(xp, off, z, half, rough)
    inside = (xp.abs(v) < 1) & ((ellipse < 0.5) | (u * u + v * v + _CROWN_EDGE * ragged < 1))
    item, pixel = where_true(inside & (d < picture.depth_m[of, column]))
    at = (of[item], column[item], pixel)
    light = (1 + _LEAF_LIGHT * ragged + _TOP_LIGHT * rough * v)[item, pixel]
    fade = xp.exp(-d / windows.haze_m[window][of][:, None])[item]
    picture.colour[at] = row[item, part.RGB] * light[:, None] * fade + windows.sky[window][of[item], 0] * (1 - fade)
    picture.depth_m[at] = d[item, 0]
    picture.label[at] = cast(row[item, part.LABEL], "uint8")


def _ragged(xp: Array, off: Array, z: Array, half: Array, rough: Array) -> Array:
    """Returns a cheap noise of two scales (waves of 1 to 3 m and of 0.5 to 1 m) that belongs to the part: leaves."""
    coarse = xp.sin(off * 5.3 + z * 3.1 + half * 40) * xp.sin(z * 4.7 - off * 2.1 + half * 17)
    fine = xp.sin(off * 9.1 - z * 7.3 + half * 31) * xp.sin(z * 11.9 + off * 3.7)
    return rough * _ROUGHNESS * (coarse + fine)
