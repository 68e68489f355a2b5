"""What tells how far along a street one is: repairs, covers, markings, crossings, trees, poles and signs.

Each function draws one sort of thing along a road; their order is the drawing order. Lengths are metres along the road,
widths metres across it.
"""

from __future__ import annotations

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.world import kinds
from geoflow_ros.world.draft import Draft, FlatDraft
from geoflow_ros.world.plan import Road

_SIDES = (1.0, -1.0)  # left and right of the road

# The surface. A spacing is the mean distance between neighbours.
_REPAIR_SPACING_M, _REPAIR_EDGE_M = 9.0, 1.0
_TRENCH_ALONG_SHARE = 0.5  # of the repairs: a trench along the road; the others run across
_TRENCH_ALONG_M = ((1.5, 8.0), (0.6, 2.5))  # length, width
_TRENCH_ACROSS_LENGTH_M, _TRENCH_ACROSS_MIN_WIDTH_M = (0.5, 1.4), 1.5
_TRENCH_TURN_RAD = 0.05  # standard deviation
_RESURFACED_SHARE = 0.3  # of the roads: a stretch has a new surface
_RESURFACED_START, _RESURFACED_LENGTH = (0.1, 0.6), (0.15, 0.35)  # of the road's length
_COVER_SPACING_M, _COVER_EDGE_M, _COVER_M = 7.0, 0.4, 0.75
_GRATE_FIRST_M, _GRATE_SPACING_M, _GRATE_INSET_M, _GRATE_M = (4.0, 20.0), (16.0, 30.0), 0.25, (0.6, 0.4)
_SLAB_SPACING_M, _SLAB_LENGTH_M, _SLAB_WIDTH = 8.0, (0.8, 6.0), (0.4, 0.95)  # width as a share of the pavement's

# Markings, about as European streets have them.
_STROKE_M = 0.15  # width of a dash
_CENTRE_LINE_M = (1.55, 0.18)  # one piece of the solid line; pieces follow every 1.5 m and overlap
_CENTRE_LINE_STEP_M, _CENTRE_LINE_END_M = 1.5, 8.0
_LANE_DASH_M, _LANE_PERIOD_M, _LANE_END_M = 2.4, 6.0, 9.0
_CENTRE_DASHES_SHARE = 0.75  # of the roads with one lane a direction
_CENTRE_DASHES_M = [[6.0, 3.0], [9.0, 3.0], [12.0, 4.5]]  # period and dash
_BAY_M, _BAY_END_M = 6.0, 9.0  # length of a parking place; none nearer to the road's end
_BAY_INSET_M, _BAY_LINE_INSET_M, _BAY_LINE_M, _BAY_LINE_SHARE = 1.0, 1.05, (0.12, 2.0), 0.8
_EDGE_LINE_SHARE, _EDGE_LINE_INSET_M, _EDGE_LINE_M = 0.5, 0.35, (2.1, 0.12)
_EDGE_LINE_STEP_M, _EDGE_LINE_END_M = 2.0, 7.0
_SYMBOL_SPACING_M, _SYMBOL_END_M = 35.0, 14.0
_SYMBOL_GRID, _SYMBOL_FILLED = (4, 5), 0.55  # strokes of a symbol along and across, and the share that is painted
_SYMBOL_PITCH_M, _SYMBOL_STROKE_M = (0.65, 0.36), (0.65, 0.34)
_ZEBRA_SHARE, _ZEBRA_END_M, _ZEBRA_STRIPE_M, _ZEBRA_LENGTH_M = 0.7, 9.0, [0.5, 0.6], 3.2
_STRIPES_EDGE_M = (0.5, 0.3)  # between the kerbs and the first and last stripe
_STOP_LINE_SHARE, _STOP_LINE_END_M, _STOP_LINE_M, _STOP_LINE_GAP_M = 0.8, 12.0, 0.4, 0.3
_ARROW_SHARE, _ARROW_BEFORE_STOP_M = 0.7, 6.0
_MID_CROSSING_SHARE, _MID_CROSSING_ROAD_M = 0.25, 60.0  # only roads longer than that
_MID_CROSSING_STRIPE_M, _MID_CROSSING_LENGTH_M = 0.5, 3.5
_HUMP_FIRST_M, _HUMP_SPACING_M, _HUMP_SHARE, _HUMP_LENGTH_M = (8.0, 60.0), (50.0, 90.0), 0.5, (1.5, 4.0)

# Upright things, seen from the road's centre.
_KERB_STRIP_M = 0.5  # from the kerb to where trees and poles stand
_AVENUE_SHARE, _AVENUE_CROWN_M, _AVENUE_SPACING_M = 0.7, (1.6, 3.2), (7.0, 18.0)
_AVENUE_FIRST_M, _AVENUE_END_M, _AVENUE_COUNTED_SPACING_M = 4.0, 10.0, 9.0  # the last decides how many are tried
_TREE_INSET_M, _TREE_GROWTH, _TREE_TONE_SIGMA = (0.2, 0.5), (0.7, 1.2), 0.1
_TREE_PIT_INSET_M, _TREE_PIT_M = 0.35, (1.3, 1.1)
_LAMP_FIRST_M, _LAMP_SPACING_M, _LAMP_JITTER_M, _LAMP_HEIGHT_M = (3.0, 25.0), (24.0, 36.0), 1.5, (5.5, 8.0)
_SIGN_SPACING_M, _SIGN_END_M, _SIGN_INSET_M, _SIGN_HEIGHT_M = 16.0, 4.0, (-0.1, 0.3), (2.2, 3.0)
_BOX_SPACING_M, _BOX_END_M, _BOX_INSET_M, _BOX_HEIGHT_M = 22.0, 6.0, 0.4, (0.7, 1.3)
_BOXES = (kinds.Sort.BIN, kinds.Sort.HYDRANT, kinds.Sort.CABINET)
_BOLLARDS_SHARE, _BOLLARDS_START_M, _BOLLARDS_LENGTH_M = 0.3, (10.0, 25.0), 12.0  # start: from either end
_BOLLARD_SPACING_M, _BOLLARD_END_M, _BOLLARD_INSET_M, _BOLLARD_HEIGHT_M = (1.5, 2.5), 8.0, 0.3, 0.9
_TRAFFIC_SPACING_M, _TRAFFIC_END_M = 30.0, 12.0  # cars in the lanes

# Junctions: repairs and covers around the middle.
_JUNCTION_REACH_M = 4.0
_JUNCTION_REPAIRS, _JUNCTION_COVERS = (1, 4), (1, 3)  # least, and one more than the most
_JUNCTION_REPAIR_LENGTH_M, _JUNCTION_REPAIR_WIDTH_M = (0.8, 4.0), (0.8, 2.0)


def lay_street(rng: np.random.Generator, road: Road, draft: Draft) -> None:
    """Lays everything that lies or stands along a road."""
    surface = draft.surface
    _repairs(rng, road, surface)
    _resurfaced_stretch(rng, road, surface)
    _covers(rng, road, surface)
    for side in _SIDES:
        _grates(rng, road, side, surface)
        _pavement_slabs(rng, road, side, surface)
    paint = int(rng.choice(kinds.PAINT))
    _lane_lines(rng, road, paint, surface)
    for side in _SIDES:
        if road.parking:
            _parking_bays(rng, road, side, paint, draft)
        elif rng.random() < _EDGE_LINE_SHARE:
            _edge_line(road, side, paint, surface)
    _symbols(rng, road, paint, surface)
    for at_end in (False, True):
        _zebra(rng, road, at_end, paint, surface)
        _stop_line(rng, road, at_end, paint, surface)
    _mid_crossing(rng, road, paint, surface)
    _speed_humps(rng, road, surface)
    for side in _SIDES:
        _avenue(rng, road, side, draft)
        _lamps(rng, road, side, draft)
        _signs(rng, road, side, draft)
        _boxes(rng, road, side, draft)
        _bollards(rng, road, side, draft)
    _traffic(rng, road, draft)


def lay_junction(rng: np.random.Generator, node: Float64Array, draft: Draft) -> None:
    """Lays repairs and covers on a junction, (2,) ENU metres."""
    reach = _JUNCTION_REACH_M
    for _ in range(rng.integers(*_JUNCTION_REPAIRS)):
        at, yaw = node + rng.uniform(-reach, reach, 2), rng.uniform(0, np.pi)
        length, width = rng.uniform(*_JUNCTION_REPAIR_LENGTH_M), rng.uniform(*_JUNCTION_REPAIR_WIDTH_M)
        draft.surface.quad(at, yaw, length, width, int(rng.choice(kinds.REPAIRS)))
    for _ in range(rng.integers(*_JUNCTION_COVERS)):
        at, yaw = node + rng.uniform(-reach, reach, 2), rng.uniform(0, np.pi)
        draft.surface.quad(at, yaw, _COVER_M, _COVER_M, int(rng.choice(kinds.COVERS)))


def _random_places(rng: np.random.Generator, length_m: float, spacing_m: float, spare: int = 2) -> Float64Array:
    """Returns arc lengths of a Poisson process; enough, with `spare` more, that they mostly reach the road's end."""
    return np.cumsum(rng.exponential(spacing_m, int(length_m / spacing_m) + spare))


def _repairs(rng: np.random.Generator, road: Road, surface: FlatDraft) -> None:
    half = road.half_width_m
    for s in _random_places(rng, road.length_m, _REPAIR_SPACING_M):
        if s < road.length_m - 2:
            at, yaw = road.at(s, rng.uniform(-half + _REPAIR_EDGE_M, half - _REPAIR_EDGE_M))
            lengths, widths = (
                _TRENCH_ALONG_M
                if rng.random() < _TRENCH_ALONG_SHARE
                else (_TRENCH_ACROSS_LENGTH_M, (_TRENCH_ACROSS_MIN_WIDTH_M, half))
            )
            length, width = rng.uniform(*lengths), rng.uniform(*widths)
            surface.quad(at, yaw + rng.normal(0, _TRENCH_TURN_RAD), length, width, int(rng.choice(kinds.REPAIRS)))


def _resurfaced_stretch(rng: np.random.Generator, road: Road, surface: FlatDraft) -> None:
    if rng.random() < _RESURFACED_SHARE:
        first = rng.uniform(*_RESURFACED_START) * road.length_m
        last = first + rng.uniform(*_RESURFACED_LENGTH) * road.length_m
        kind = int(rng.choice(kinds.REPAIRS))
        for s in np.arange(first, last, 2.0):  # pieces that follow the road's bend
            at, yaw = road.at(s, 0)
            surface.quad(at, yaw, 2.3, 2 * road.half_width_m - 0.2, kind)


def _covers(rng: np.random.Generator, road: Road, surface: FlatDraft) -> None:
    half = road.half_width_m
    for s in _random_places(rng, road.length_m, _COVER_SPACING_M):
        if s < road.length_m - 3:
            at, yaw = road.at(s, rng.uniform(-half + _COVER_EDGE_M, half - _COVER_EDGE_M))
            surface.quad(at, yaw, _COVER_M, _COVER_M, int(rng.choice(kinds.COVERS)))


def _grates(rng: np.random.Generator, road: Road, side: float, surface: FlatDraft) -> None:
    """Draws the gullies along the kerb."""
    for s in np.arange(rng.uniform(*_GRATE_FIRST_M), road.length_m - 3, rng.uniform(*_GRATE_SPACING_M)):
        at, yaw = road.at(s, side * (road.half_width_m - _GRATE_INSET_M))
        surface.quad(at, yaw, *_GRATE_M, kinds.GRATE)


def _pavement_slabs(rng: np.random.Generator, road: Road, side: float, surface: FlatDraft) -> None:
    """Draws slabs of another colour, covers and repairs of the pavement."""
    for s in _random_places(rng, road.length_m, _SLAB_SPACING_M):
        if s < road.length_m - 3:
            at, yaw = road.at(s, side * (road.half_width_m + road.pavement_m / 2))
            length, width = rng.uniform(*_SLAB_LENGTH_M), road.pavement_m * rng.uniform(*_SLAB_WIDTH)
            surface.quad(at, yaw, length, width, int(rng.choice(kinds.SLABS)))


def _lane_lines(rng: np.random.Generator, road: Road, paint: int, surface: FlatDraft) -> None:
    """Draws a solid line between the directions and dashes between lanes; in a narrow road dashes in the middle."""
    length = road.length_m
    if road.lanes_per_direction > 1:
        for s in np.arange(_CENTRE_LINE_END_M, length - _CENTRE_LINE_END_M, _CENTRE_LINE_STEP_M):
            at, yaw = road.at(s, 0.0)
            surface.quad(at, yaw, *_CENTRE_LINE_M, paint)
        for left in (-road.carriageway_m / 2, road.carriageway_m / 2):
            first = _LANE_END_M + rng.uniform(0, 4)
            for s in np.arange(first, length - _LANE_END_M, _LANE_PERIOD_M):
                at, yaw = road.at(s, left)
                surface.quad(at, yaw, _LANE_DASH_M, _STROKE_M, paint)
    elif rng.random() < _CENTRE_DASHES_SHARE:
        period, dash = rng.choice(_CENTRE_DASHES_M)
        first = _CENTRE_LINE_END_M + rng.uniform(0, period)
        for s in np.arange(first, length - _CENTRE_LINE_END_M, period):
            at, yaw = road.at(s, 0.0)
            surface.quad(at, yaw, dash, _STROKE_M, paint)


def _parking_bays(rng: np.random.Generator, road: Road, side: float, paint: int, draft: Draft) -> None:
    for s in np.arange(_BAY_END_M, road.length_m - _BAY_END_M, _BAY_M):
        at, yaw = road.at(s, side * (road.half_width_m - _BAY_INSET_M))
        draft.park(at, yaw + _against(side), on_road=False)
        if rng.random() < _BAY_LINE_SHARE:
            line, yaw = road.at(s - _BAY_M / 2, side * (road.half_width_m - _BAY_LINE_INSET_M))
            draft.surface.quad(line, yaw, *_BAY_LINE_M, paint)


def _edge_line(road: Road, side: float, paint: int, surface: FlatDraft) -> None:
    for s in np.arange(_EDGE_LINE_END_M, road.length_m - _EDGE_LINE_END_M, _EDGE_LINE_STEP_M):
        at, yaw = road.at(s, side * (road.half_width_m - _EDGE_LINE_INSET_M))
        surface.quad(at, yaw, *_EDGE_LINE_M, paint)


def _symbols(rng: np.random.Generator, road: Road, paint: int, surface: FlatDraft) -> None:
    """Draws words and symbols on the lanes."""
    for s in _random_places(rng, road.length_m, _SYMBOL_SPACING_M, spare=1):
        if _SYMBOL_END_M < s < road.length_m - _SYMBOL_END_M:
            side = rng.choice(_SIDES)
            at, yaw = road.at(s, side * road.carriageway_m / 2)
            _symbol(rng, at, yaw + _against(side), paint, surface)


def _symbol(rng: np.random.Generator, at: Float64Array, yaw: float, paint: int, surface: FlatDraft) -> None:
    """Draws a block of painted letters: unlike any other along the street."""
    c, s = np.cos(yaw), np.sin(yaw)
    (rows, columns), (pitch_x, pitch_y) = _SYMBOL_GRID, _SYMBOL_PITCH_M
    pattern = rng.random(_SYMBOL_GRID) < _SYMBOL_FILLED
    for i, j in np.argwhere(pattern):
        x, y = (i - (rows - 1) / 2) * pitch_x, (j - (columns - 1) / 2) * pitch_y
        surface.quad(at + np.array([c * x - s * y, s * x + c * y]), yaw, *_SYMBOL_STROKE_M, paint)


def _zebra(rng: np.random.Generator, road: Road, at_end: bool, paint: int, surface: FlatDraft) -> None:
    """Draws the crossing before the junction at the road's start or end."""
    if rng.random() < _ZEBRA_SHARE:
        stripe = rng.choice(_ZEBRA_STRIPE_M)
        _stripes(road, _from_end(road, _ZEBRA_END_M, at_end), 2 * stripe, stripe, _ZEBRA_LENGTH_M, paint, surface)


def _mid_crossing(rng: np.random.Generator, road: Road, paint: int, surface: FlatDraft) -> None:
    """Draws a crossing between junctions."""
    if rng.random() < _MID_CROSSING_SHARE and road.length_m > _MID_CROSSING_ROAD_M:
        stripe = _MID_CROSSING_STRIPE_M
        _stripes(road, road.length_m * 0.5, 2 * stripe, stripe, _MID_CROSSING_LENGTH_M, paint, surface)


def _stripes(
    road: Road, s_m: float, period_m: float, width_m: float, length_m: float, paint: int, surface: FlatDraft
) -> None:
    """Draws the stripes of a crossing at arc length `s_m`, from kerb to kerb."""
    half = road.half_width_m
    first, last = _STRIPES_EDGE_M
    for left in np.arange(-half + first, half - last, period_m):
        at, yaw = road.at(s_m, left)
        surface.quad(at, yaw, length_m, width_m, paint)


def _stop_line(rng: np.random.Generator, road: Road, at_end: bool, paint: int, surface: FlatDraft) -> None:
    """Draws the line that arriving traffic stops at, often with an arrow before it."""
    side = -1.0 if at_end else 1.0  # the lanes that lead to this junction
    if not rng.random() < _STOP_LINE_SHARE:
        return
    stop = _from_end(road, _STOP_LINE_END_M, at_end)
    at, yaw = road.at(stop, side * road.carriageway_m / 2)
    surface.quad(at, yaw, _STOP_LINE_M, road.carriageway_m - _STOP_LINE_GAP_M, paint)
    if rng.random() < _ARROW_SHARE:
        before = -_ARROW_BEFORE_STOP_M if at_end else _ARROW_BEFORE_STOP_M
        at, yaw = road.at(stop + before, side * road.lane_offset_m(0) * -1.0)
        _arrow(at, yaw + _against(side), paint, surface)


def _arrow(at: Float64Array, yaw: float, paint: int, surface: FlatDraft) -> None:
    """Draws a shaft of 2.8 m and a head of 1.5 m that is 1.1 m wide."""
    c, s = np.cos(yaw), np.sin(yaw)
    forward, left = np.array([c, s]), np.array([-s, c])
    surface.quad(at - 1.0 * forward, yaw, 2.8, 0.22, paint)
    tip, base = at + 1.9 * forward, at + 0.4 * forward
    surface.add(np.stack([tip, base + 0.55 * left, base, base - 0.55 * left]), paint)


def _speed_humps(rng: np.random.Generator, road: Road, surface: FlatDraft) -> None:
    """Draws speed humps and coloured surfaces."""
    for s in np.arange(rng.uniform(*_HUMP_FIRST_M), road.length_m - 8, rng.uniform(*_HUMP_SPACING_M)):
        if rng.random() < _HUMP_SHARE:
            at, yaw = road.at(s, 0)
            length, width = rng.uniform(*_HUMP_LENGTH_M), 2 * road.half_width_m - 0.4
            surface.quad(at, yaw, length, width, int(rng.choice(kinds.COLOURED)))


def _avenue(rng: np.random.Generator, road: Road, side: float, draft: Draft) -> None:
    """Plants trees of one sort and age along the kerb."""
    if not rng.random() < _AVENUE_SHARE:
        return
    kerb = road.half_width_m + _KERB_STRIP_M
    crown, tone = rng.uniform(*_AVENUE_CROWN_M), rng.random()
    count = int(road.length_m / _AVENUE_COUNTED_SPACING_M) + 1
    for s in np.cumsum(rng.uniform(*_AVENUE_SPACING_M, count)) + _AVENUE_FIRST_M:
        if s < road.length_m - _AVENUE_END_M:
            at, _ = road.at(s, side * (kerb + rng.uniform(*_TREE_INSET_M)))
            size = crown * rng.uniform(*_TREE_GROWTH)
            own_tone = float(np.clip(tone + rng.normal(0, _TREE_TONE_SIGMA), 0, 1))
            draft.put(at, kinds.Sort.TREE, size, own_tone)
            pit, yaw = road.at(s, side * (kerb + _TREE_PIT_INSET_M))
            draft.surface.quad(pit, yaw, *_TREE_PIT_M, kinds.SOIL)


def _lamps(rng: np.random.Generator, road: Road, side: float, draft: Draft) -> None:
    kerb = road.half_width_m + _KERB_STRIP_M
    for s in np.arange(rng.uniform(*_LAMP_FIRST_M), road.length_m - 3, rng.uniform(*_LAMP_SPACING_M)):
        at, _ = road.at(s + rng.normal(0, _LAMP_JITTER_M), side * kerb)
        draft.put(at, kinds.Sort.LAMP, rng.uniform(*_LAMP_HEIGHT_M), rng.random())


def _signs(rng: np.random.Generator, road: Road, side: float, draft: Draft) -> None:
    kerb = road.half_width_m + _KERB_STRIP_M
    for s in _random_places(rng, road.length_m, _SIGN_SPACING_M):
        if _SIGN_END_M < s < road.length_m - _SIGN_END_M:
            at, _ = road.at(s, side * (kerb + rng.uniform(*_SIGN_INSET_M)))
            draft.put(at, kinds.Sort.SIGN, rng.uniform(*_SIGN_HEIGHT_M), rng.random())


def _boxes(rng: np.random.Generator, road: Road, side: float, draft: Draft) -> None:
    """Puts bins, hydrants and cabinets along the fences."""
    for s in _random_places(rng, road.length_m, _BOX_SPACING_M):
        if _BOX_END_M < s < road.length_m - _BOX_END_M:
            at, _ = road.at(s, side * (road.half_width_m + road.pavement_m - _BOX_INSET_M))
            draft.put(at, kinds.Sort(rng.choice(_BOXES)), rng.uniform(*_BOX_HEIGHT_M), rng.random())


def _bollards(rng: np.random.Generator, road: Road, side: float, draft: Draft) -> None:
    if rng.random() < _BOLLARDS_SHARE:
        first, last = _BOLLARDS_START_M
        start = rng.uniform(first, max(first + 1, road.length_m - last))
        for s in np.arange(start, start + _BOLLARDS_LENGTH_M, rng.uniform(*_BOLLARD_SPACING_M)):
            if s < road.length_m - _BOLLARD_END_M:
                at, _ = road.at(s, side * (road.half_width_m + _BOLLARD_INSET_M))
                draft.put(at, kinds.Sort.BOLLARD, _BOLLARD_HEIGHT_M, 0.5)


def _traffic(rng: np.random.Generator, road: Road, draft: Draft) -> None:
    """Adds the cars that drove there when the photo was taken."""
    for s in _random_places(rng, road.length_m, _TRAFFIC_SPACING_M, spare=1):
        if _TRAFFIC_END_M < s < road.length_m - _TRAFFIC_END_M:
            side = rng.choice(_SIDES)
            at, yaw = road.at(s, side * road.carriageway_m / 2)
            draft.park(at, yaw, on_road=True)


def _against(side: float) -> float:
    """Returns what is added to a road's yaw on one side of it: traffic on the left comes the other way."""
    return np.pi if side > 0 else 0.0


def _from_end(road: Road, distance_m: float, at_end: bool) -> float:
    """Returns the arc length of a place that far from the road's start or end."""
    return road.length_m - distance_m if at_end else distance_m
