"""What the surface of a city is made of: one byte a cell, with its colour, roughness and semantic class.

The same cell has one kind in the map and in the street; two appearances give it two colours.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array


class Label(IntEnum):
    """Semantic classes of ground and things: supervision that only a synthetic world gives."""

    OTHER = 0
    ROAD = 1
    PAVEMENT = 2
    PAINT = 3
    REPAIR = 4
    COVER = 5
    GREEN = 6
    DRIVEWAY = 7
    BUILDING = 8
    TREE = 9
    CAR = 10
    POLE = 11
    SKY = 12


LABELS = len(Label)


class Sort(IntEnum):
    """Sorts of upright street furniture."""

    TREE = 0
    LAMP = 1
    SIGN = 2
    BIN = 3
    HYDRANT = 4
    CABINET = 5
    BOLLARD = 6


FACADE_STYLES = 15  # looks of walls; a row of the facade table is a look at one of FACADE_TURNS orientations
FACADE_TURNS = 12  # steps of a quarter turn: walls repeat every 90 degrees
MATERIAL_CAR = 190  # + colour of the car
MATERIAL_GREEN = 210  # hedges
MATERIAL_WALL = 211  # garden walls
MATERIALS = 256

# kind → (red, green, blue), roughness (amplitude of the noise), label
_TABLE: dict[int, tuple[tuple[int, int, int], int, Label]] = {}


def _add(first: int, colours: list[tuple[int, int, int]], roughness: int, label: Label) -> tuple[int, ...]:
    for i, colour in enumerate(colours):
        _TABLE[first + i] = (colour, roughness, label)
    return tuple(range(first, first + len(colours)))


GRASS = _add(0, [(86, 104, 58), (98, 112, 66), (110, 108, 72), (120, 112, 92)], 26, Label.GREEN)
SOIL = _add(4, [(84, 70, 56)], 20, Label.GREEN)[0]
ASPHALT = _add(8, [(92, 92, 94), (106, 106, 106), (120, 118, 114), (80, 82, 86)], 12, Label.ROAD)
PAVING = _add(16, [(150, 146, 138), (132, 130, 126), (164, 152, 138), (144, 128, 116)], 14, Label.PAVEMENT)
REPAIRS = _add(24, [(58, 58, 62), (70, 70, 72), (132, 130, 126), (48, 50, 54), (112, 106, 100)], 9, Label.REPAIR)
SLABS = _add(32, [(176, 170, 160), (112, 108, 104), (150, 118, 100), (92, 92, 92)], 12, Label.REPAIR)
COVERS = _add(40, [(44, 42, 42), (64, 58, 54), (148, 146, 142)], 6, Label.COVER)
GRATE = _add(44, [(36, 36, 38)], 4, Label.COVER)[0]
PAINT = _add(48, [(228, 228, 224), (206, 204, 198), (216, 186, 92)], 12, Label.PAINT)
COLOURED = _add(56, [(150, 84, 74), (110, 128, 92), (84, 100, 132), (170, 160, 148)], 12, Label.REPAIR)
DRIVEWAYS = _add(
    64, [(162, 156, 148), (140, 96, 82), (100, 98, 98), (178, 164, 140), (120, 110, 104)], 14, Label.DRIVEWAY
)
HEDGES = _add(72, [(58, 82, 44), (70, 90, 50), (140, 120, 104)], 20, Label.GREEN)
ROOFS_PITCHED = _add(
    80, [(140, 84, 66), (122, 74, 62), (96, 92, 94), (78, 76, 80), (150, 104, 84), (110, 100, 90)], 12, Label.BUILDING
)
ROOFS_FLAT = _add(
    96,
    [(150, 150, 150), (174, 172, 168), (120, 120, 122), (98, 100, 104), (190, 186, 180), (134, 128, 118)],
    9,
    Label.BUILDING,
)
ROOF_PLANT = _add(104, [(196, 196, 198)], 12, Label.BUILDING)[0]
CROWNS = _add(
    112,
    [
        (54, 82, 40),
        (70, 94, 46),
        (86, 100, 50),
        (100, 96, 50),
        (62, 76, 50),
        (128, 100, 52),
        (104, 86, 62),
        (78, 90, 62),
    ],
    30,
    Label.TREE,
)
CARS = _add(
    128,
    [
        (232, 232, 232),
        (30, 30, 34),
        (120, 124, 128),
        (170, 174, 178),
        (140, 34, 32),
        (36, 60, 120),
        (70, 74, 80),
        (190, 186, 170),
        (50, 84, 64),
        (200, 160, 60),
    ],
    5,
    Label.CAR,
)

KERB = _add(144, [(178, 176, 172)], 8, Label.PAVEMENT)[0]

KINDS = 160


def colours() -> Float32Array:
    """Returns (KINDS, 3) RGB of every kind in neutral light."""
    table = np.zeros((KINDS, 3), np.float32)
    for kind, (colour, _, _) in _TABLE.items():
        table[kind] = colour
    return table


def roughness() -> Float32Array:
    """Returns the (KINDS,) amplitude of the texture noise in grey levels."""
    table = np.zeros(KINDS, np.float32)
    for kind, (_, amplitude, _) in _TABLE.items():
        table[kind] = amplitude
    return table


def labels() -> UInt8Array:
    """Returns the (KINDS,) semantic label of every kind."""
    table = np.zeros(KINDS, np.uint8)
    for kind, (_, _, label) in _TABLE.items():
        table[kind] = label
    return table


def hedge_height_m(kind: int) -> float:
    """Returns the height of a hedge or garden wall of that kind."""
    return {HEDGES[0]: 1.2, HEDGES[1]: 0.9, HEDGES[2]: 0.8}[kind]
