"""How a city looks: light, season, sensor and cars, once for the map and once for the street.

The map is older than the drive: its cars, its season and its light are others. Everything is a function of one seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geoflow_ros.arrays import Float32Array
from geoflow_ros.world import kinds
from geoflow_ros.world.conditions import Conditions

# Columns of the wall table: colours, then the openings' period along and up in metres, their share of it along and up,
# and the wall's orientation in radians.
WALL_RGB, OPENING_RGB, GROUND_RGB = slice(0, 3), slice(3, 6), slice(6, 9)
PERIOD_ALONG, PERIOD_UP, SHARE_ALONG, SHARE_UP, TURN = range(9, 14)
WALL_COLUMNS = 14

# A sun so low that shadows reach across the street, and light so warm: the hour after sunrise and before sunset.
LOW_SUN_RAD = float(np.radians(20.0))  # below every sun of an ordinary look
_LOW_SUN_DEG, _LOW_SUN_SHADOW = (7.0, 16.0), (0.5, 0.62)
_LOW_SUN_GAIN = np.array([1.06, 0.98, 0.84], np.float32)

_OTHER_YEAR_SPREAD = 1.8  # how much more surfaces differ after years than from one day to another


@dataclass(frozen=True)
class Look:
    """One day and one sensor.

    Attributes:
        colours: (256, 3) RGB of every kind under this light, before noise and shadow.
        sun_azimuth_rad: direction towards the sun, counter-clockwise from east.
        sun_elevation_rad: height of the sun above the horizon.
        shadow: 0 (overcast) to 0.6 (hard shadows): the part of the light that a shadow takes away.
        blur_m: radius of the sensor's point spread on the ground.
        car_seed: decides which slots hold a car and its colour.
        occupancy: part of the parking slots that are taken.
    """

    colours: Float32Array
    sun_azimuth_rad: float
    sun_elevation_rad: float
    shadow: float
    blur_m: float
    car_seed: int
    occupancy: float


@dataclass(frozen=True)
class Appearance:
    """The look of the map, the look of the street and what only the street shows: walls, sky, haze.

    `is_map_old` says that the map shows another year.
    """

    seed: int
    map: Look
    street: Look
    sky: Float32Array  # (2, 3) RGB at the horizon and overhead
    haze_m: float  # distance at which haze takes 63 % of the contrast
    walls: Float32Array  # (MATERIALS, WALL_COLUMNS)
    is_map_old: bool = False

    @classmethod
    def sample(cls, seed: int) -> Appearance:
        """Draws the appearance of `seed`, independently for map and street."""
        rng = np.random.default_rng([seed, 31])
        clear, grey = np.array([[196, 206, 216], [120, 160, 206]], np.float32), np.full((2, 3), 196, np.float32)
        colour = clear if rng.random() < 0.6 else grey
        sky = colour * rng.uniform(0.85, 1.12) + rng.normal(0, 4, 3)
        return cls(
            seed=seed,
            map=_look(rng, spread=1.0),
            street=_look(rng, spread=1.0),
            sky=sky.astype(np.float32),
            haze_m=float(rng.uniform(150, 600)),
            walls=_walls(rng),
        )

    @classmethod
    def under(cls, seed: int, conditions: Conditions) -> Appearance:
        """Draws the appearance of `seed` with what conditions do to it: a map of another year, a low sun.

        The sun is low in the photo or on the drive, never in both, so that shadows are in one picture and not in the
        other. Cars stand where they stand in `sample(seed)`, so that places are the same under all conditions.
        """
        usual = cls.sample(seed)
        rng = np.random.default_rng([seed, 32])
        is_old, has_low_sun, in_map = rng.random(3) < (
            conditions.map.another_year_share, conditions.light.low_sun_share, 0.5
        )  # fmt: skip
        photo = _look(rng, spread=_OTHER_YEAR_SPREAD) if is_old else usual.map
        low = _low_sun(rng, photo if in_map else usual.street)
        usual = replace(usual, map=photo, is_map_old=bool(is_old))
        if not has_low_sun:
            return usual
        return replace(usual, map=low) if in_map else replace(usual, street=low)


def _look(rng: np.random.Generator, spread: float) -> Look:
    colours = kinds.colours()
    green = np.isin(kinds.labels(), (kinds.Label.GREEN, kinds.Label.TREE))
    season = rng.uniform(0, 1)  # 0 lush, 1 dry or bare
    dry = np.array([132, 112, 78], np.float32)
    colours[green] = colours[green] * (1 - 0.6 * season**2) + dry * 0.6 * season**2
    colours += spread * rng.normal(0, 5, colours.shape).astype(np.float32)  # every material ages its own way
    asphalt = np.array(kinds.ASPHALT)
    colours[asphalt] += rng.normal(0, 12)
    wear = rng.uniform(0.55, 1.0)  # paint fades towards the asphalt
    paint = np.array(kinds.PAINT)
    colours[paint] = colours[paint] * wear + colours[asphalt].mean(axis=0) * (1 - wear)
    gain = rng.uniform(0.75, 1.2)
    cast = 1 + rng.normal(0, 0.04, 3)
    gamma = rng.uniform(0.8, 1.25)
    exposed = 255 * (np.clip(colours, 1, 255) / 255 * gain * cast) ** gamma
    table = np.zeros((256, 3), np.float32)
    table[: len(exposed)] = np.clip(exposed, 2, 250)
    overcast = rng.random() < 0.3
    return Look(
        colours=table,
        sun_azimuth_rad=float(rng.uniform(-np.pi, np.pi)),
        sun_elevation_rad=float(np.radians(rng.uniform(25, 65))),
        shadow=0.05 if overcast else float(rng.uniform(0.3, 0.55)),
        blur_m=float(rng.uniform(0.05, 0.28)),
        car_seed=int(rng.integers(2**31)),
        occupancy=float(rng.uniform(0.1, 0.5)),
    )


def _low_sun(rng: np.random.Generator, look: Look) -> Look:
    """Returns a look with the sun just above the horizon."""
    return replace(
        look,
        colours=np.clip(look.colours * _LOW_SUN_GAIN, 0, 250).astype(np.float32),
        sun_elevation_rad=float(np.radians(rng.uniform(*_LOW_SUN_DEG))),
        shadow=float(rng.uniform(*_LOW_SUN_SHADOW)),
    )


def _walls(rng: np.random.Generator) -> Float32Array:
    """Draws how every material that stands looks: the (MATERIALS, WALL_COLUMNS) table."""
    table = np.zeros((kinds.MATERIALS, WALL_COLUMNS), np.float32)
    gain = rng.uniform(0.8, 1.15)
    base = np.array(
        [
            [186, 176, 160],
            [160, 100, 82],
            [206, 204, 200],
            [150, 142, 132],
            [196, 180, 140],
            [128, 92, 76],
            [170, 178, 184],
        ]
    )
    for style in range(kinds.FACADE_STYLES):
        style_rng = np.random.default_rng([style, 77])  # the walls of a style stay; the light on them changes
        wall = base[style % len(base)] + style_rng.normal(0, 12, 3)
        opening = np.array([58, 66, 78]) + style_rng.normal(0, 10, 3)
        ground = wall * style_rng.uniform(0.6, 1.05) + style_rng.normal(0, 10, 3)
        shape = [style_rng.uniform(1.6, 3.6), 3.0, style_rng.uniform(0.3, 0.65), style_rng.uniform(0.4, 0.65)]
        for turn in range(kinds.FACADE_TURNS):
            row = 1 + turn * kinds.FACADE_STYLES + style
            table[row] = [
                *(wall * gain),
                *(opening * gain),
                *(ground * gain),
                *shape,
                (turn + 0.5) * np.pi / 2 / kinds.FACADE_TURNS,
            ]
    cars = kinds.colours()[list(kinds.CARS)]
    for i, colour in enumerate(cars):  # body below, windows above: openings cover the full length from 0.85 m up
        table[kinds.MATERIAL_CAR + i] = [*(colour * gain * 0.9), 40, 46, 54, 24, 24, 26, 4.0, 1.45, 1.0, 0.38, 0.0]
    for row, kind in ((kinds.MATERIAL_GREEN, kinds.HEDGES[0]), (kinds.MATERIAL_WALL, kinds.HEDGES[2])):
        colour = kinds.colours()[kind] * gain
        table[row] = [*colour, *colour, *colour, 5.0, 5.0, 0.0, 0.0, 0.0]
    return np.clip(table, 0, 255)
