"""Upright parts (trunks, crowns, poles, plates) that face every viewer, made of a plan's street furniture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.world import kinds
from geoflow_ros.world.appearance import Appearance
from geoflow_ros.world.layout import CityLayout

# Columns of the table: position and heights in metres, 1 for an ellipse and 0 for a rectangle, RGB, roughness 0..1.
EAST, NORTH, BOTTOM, TOP, HALF_WIDTH, ELLIPSE = range(6)
RGB = slice(6, 9)
ROUGHNESS, LABEL = 9, 10
PART_COLUMNS = 11

_BEYOND_M = 10.0  # parts so far outside a window are kept too
_METAL = 120.0  # grey level of lamps and posts in neutral light

_BARK, _BARK_ROUGHNESS = (82, 68, 54), 0.3
_TRUNK_M, _TRUNK_PER_CROWN = 0.08, 0.05  # half width: of any tree, and more per metre of the crown's radius
_CROWN_BOTTOM_M, _CROWN_BOTTOM_PER_CROWN = 1.2, 0.35
_CROWN_HEIGHT, _TRUNK_INTO_CROWN = 2.1, 0.5  # in the crown's radii
_CROWN_TONES = 5.99  # a tone of 0..1 picks one of six crowns

_LAMP_HALF_WIDTH_M = 0.09
_LAMP_HEAD_M, _LAMP_HEAD_HALF_WIDTH_M = 0.2, 0.5
_LEAST_LAMP_M = 4.0  # everything else of a lamp head's width stands lower

_POST_HALF_WIDTH_M = 0.05
_PLATE_M, _PLATE_HALF_WIDTH_M = 0.7, 0.35
_ROUND_PLATE_SHARE = 0.6
_PLATES = ((200, 40, 40), (40, 70, 170), (230, 230, 230), (220, 190, 40), (40, 120, 70))
_PLATE_TONES = 4.99  # a tone of 0..1 picks one of five plates

_BOX_ROUGHNESS = 0.1
_BOXES = {  # sort -> half width in metres, RGB
    int(kinds.Sort.BIN): (0.3, np.array([70, 90, 70])),
    int(kinds.Sort.HYDRANT): (0.18, np.array([190, 50, 40])),
    int(kinds.Sort.CABINET): (0.5, np.array([150, 150, 140])),
    int(kinds.Sort.BOLLARD): (0.09, np.array([60, 60, 64])),
}

Row = list[float]


@dataclass(frozen=True)
class Parts:
    """Upright parts of a window.

    Attributes:
        table: (n, PART_COLUMNS) float32.
    """

    table: Float32Array


@dataclass(frozen=True)
class _Light:
    """How a street's light colours furniture."""

    gain: float  # of grey things, over neutral light
    colours: Float32Array  # of every kind

    @property
    def grey(self) -> float:
        return _METAL * self.gain


def make_parts(layout: CityLayout, appearance: Appearance, low: Float64Array, side_m: float) -> Parts:
    """Makes the parts of all furniture in and around a window.

    Args:
        layout: the plan.
        appearance: gives the colours.
        low: (2,) ENU metres, the window's south-west corner.
        side_m: its side.
    """
    f = layout.furniture
    inside = ((f.position >= low - _BEYOND_M) & (f.position <= low + side_m + _BEYOND_M)).all(axis=1)
    colours = appearance.street.colours
    light = _Light(float(colours[kinds.KERB].mean() / kinds.colours()[kinds.KERB].mean()), colours)
    rows: list[Row] = []
    for (e, n), sort, size, tone in zip(
        f.position[inside], f.sort[inside], f.size_m[inside], f.tone[inside], strict=True
    ):
        if sort == kinds.Sort.TREE:
            rows += _tree(e, n, size, tone, light)
        elif sort == kinds.Sort.LAMP:
            rows += _lamp(e, n, size, tone, light)
        elif sort == kinds.Sort.SIGN:
            rows += _sign(e, n, size, tone, light)
        else:
            half_width, colour = _BOXES[int(sort)]
            shade = colour * light.gain * (0.8 + 0.4 * tone)
            rows.append([e, n, 0, size, half_width, 0, *shade, _BOX_ROUGHNESS, kinds.Label.POLE])
    return Parts(np.array(rows, np.float32).reshape(-1, PART_COLUMNS))


def lamps_of(table: Float32Array) -> Float64Array:
    """Returns the (n, 3) east, north and height of the street lamps of a table of parts."""
    heads = (
        (table[:, HALF_WIDTH] == np.float32(_LAMP_HEAD_HALF_WIDTH_M))
        & (table[:, BOTTOM] > _LEAST_LAMP_M)
        & (table[:, ELLIPSE] == 0)
    )
    return np.asarray(table[heads][:, [EAST, NORTH, TOP]], np.float64)


def _tree(east: float, north: float, crown_m: float, tone: float, light: _Light) -> list[Row]:
    bottom = _CROWN_BOTTOM_M + _CROWN_BOTTOM_PER_CROWN * crown_m
    trunk_top, trunk = bottom + _TRUNK_INTO_CROWN * crown_m, _TRUNK_M + _TRUNK_PER_CROWN * crown_m
    bark = [v * light.gain for v in _BARK]
    leaves = light.colours[kinds.CROWNS[int(tone * _CROWN_TONES)]]
    return [
        [east, north, 0, trunk_top, trunk, 0, *bark, _BARK_ROUGHNESS, kinds.Label.TREE],
        [east, north, bottom, bottom + _CROWN_HEIGHT * crown_m, crown_m, 1, *leaves, 1.0, kinds.Label.TREE],
    ]


def _lamp(east: float, north: float, height_m: float, tone: float, light: _Light) -> list[Row]:
    grey = light.grey
    post = (grey * (0.6 + 0.5 * tone), grey * (0.65 + 0.45 * tone), grey * 0.8)  # from green to grey
    head = height_m - _LAMP_HEAD_M
    return [
        [east, north, 0, height_m, _LAMP_HALF_WIDTH_M, 0, *post, 0, kinds.Label.POLE],
        [east, north, head, height_m, _LAMP_HEAD_HALF_WIDTH_M, 0, grey, grey, grey, 0, kinds.Label.POLE],
    ]


def _sign(east: float, north: float, height_m: float, tone: float, light: _Light) -> list[Row]:
    plate = np.array(_PLATES[int(tone * _PLATE_TONES)]) * light.gain
    bottom, grey = height_m - _PLATE_M, light.grey
    is_round = float(tone * 10 % 1 < _ROUND_PLATE_SHARE)
    return [
        [east, north, 0, bottom, _POST_HALF_WIDTH_M, 0, grey, grey, grey, 0, kinds.Label.POLE],
        [east, north, bottom, height_m, _PLATE_HALF_WIDTH_M, is_round, *plate, 0, kinds.Label.POLE],
    ]
