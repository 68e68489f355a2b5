"""What kind of scene a pair is of: an error or a covariance that is right on average may be wrong at every crossing."""

from __future__ import annotations

from collections import Counter
from enum import Enum

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.world.cells import CELL_M
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.raster import CityRaster

_STRAIGHT_M, _INTERSECTION_M = 30.0, 15.0  # from the nearest junction: none in sight of the ground ahead, or in it
_AROUND_M = 30.0  # half the side of the square whose buildings are counted
_DENSE_SHARE, _OPEN_SHARE = 0.20, 0.12  # of it: about a quarter of the places each
_ROADS_OF_A_JUNCTION = 3


class Scene(Enum):
    """Kinds of scene; a pair may be of several, or of none."""

    STRAIGHT = "straight road"
    INTERSECTION = "intersection"
    DENSE = "dense buildings"
    OPEN = "open land"
    NIGHT = "night"
    OLD_MAP = "old map"


def junctions(layout: CityLayout) -> Float64Array:
    """Returns the (n, 2) ENU metres of the nodes at which three roads or more meet."""
    roads = Counter(node for road in layout.roads for node in (road.start, road.end))
    return layout.nodes[[node for node, count in roads.items() if count >= _ROADS_OF_A_JUNCTION]]


def scenes_of(layout: CityLayout, raster: CityRaster, east_m: float, north_m: float) -> frozenset[Scene]:
    """Returns what a place of a city, and its map, are of; night is the camera's alone.

    Args:
        layout: of the city.
        raster: baked from it, with the place in it.
        east_m: of the camera.
        north_m: likewise.
    """
    nearest_m = float(np.hypot(*(junctions(layout) - [east_m, north_m]).T).min(initial=np.inf))
    built = built_share(raster, east_m, north_m)
    holds = {
        Scene.STRAIGHT: nearest_m > _STRAIGHT_M,
        Scene.INTERSECTION: nearest_m < _INTERSECTION_M,
        Scene.DENSE: built > _DENSE_SHARE,
        Scene.OPEN: built < _OPEN_SHARE,
        Scene.OLD_MAP: raster.appearance.is_map_old,
    }
    return frozenset(scene for scene in Scene if holds.get(scene, False))


def built_share(raster: CityRaster, east_m: float, north_m: float) -> float:
    """Returns the share of buildings in the square of 60 m around a place."""
    column, row = int((east_m - raster.west_m) / CELL_M), int((raster.north_m - north_m) / CELL_M)
    reach = int(_AROUND_M / CELL_M)
    rows, columns = (slice(max(middle - reach, 0), middle + reach + 1) for middle in (row, column))
    return float(np.mean(raster.street_label[rows, columns] == Label.BUILDING))
