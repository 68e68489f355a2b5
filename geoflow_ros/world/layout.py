"""The plan of a procedural city: roads, lots, buildings and street furniture as vectors, from one seed.

A layout holds what the map and the street share. What differs between them (cars, light, season, sensor) is an
`geoflow_ros.world.appearance`; pixels appear only when a window of the plan is baked (`geoflow_ros.world.raster`), so
that the cost of a world follows the area that is looked at.

Frame: ENU metres about the centre of the layout (x east, y north).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import WorldError
from geoflow_ros.world.draft import Draft
from geoflow_ros.world.lots import Occupancy, lay_back_yards, lay_lots
from geoflow_ros.world.plan import Buildings, CarSlots, Furniture, Polygons, Road
from geoflow_ros.world.roads import lay_road, road_graph
from geoflow_ros.world.street import lay_junction, lay_street

MARGIN_M = 130.0  # the plan goes on beyond its nominal side, so that a patch at the edge is not empty
_MIN_SIDE_M = 200.0

# Streams of random numbers: each part of each road has its own, so that a change of one leaves the others as they are.
_GRAPH, _ROAD, _LOTS, _BACK_YARDS, _STREET, _JUNCTION = 11, 12, 13, 14, 15, 16


@dataclass(frozen=True)
class CityLayout:
    """A square plan about (0, 0), a function of its seed alone.

    Attributes:
        seed: which city.
        side_m: side of the square.
        nodes: (n, 2) the junctions.
        roads: between them.
        driveways: what crosses the pavement.
        surface: patches, markings, covers: in drawing order.
        buildings: houses, sheds and what stands on roofs.
        furniture: trees, poles, boxes.
        slots: places for cars.
    """

    seed: int
    side_m: float
    nodes: Float64Array
    roads: tuple[Road, ...]
    driveways: Polygons
    surface: Polygons
    buildings: Buildings
    furniture: Furniture
    slots: CarSlots

    @property
    def half_m(self) -> float:
        """Half the side: the plan's nominal reach from its centre along each axis."""
        return self.side_m / 2

    @classmethod
    def generate(cls, seed: int, side_m: float) -> CityLayout:
        """Lays out the city of `seed`.

        Args:
            seed: any non-negative integer; each gives another city.
            side_m: side of the square in metres, at least 200.

        Raises:
            WorldError: if the side is too small to hold a block.
        """
        if not side_m >= _MIN_SIDE_M:
            raise WorldError(f"a city needs a side of at least {_MIN_SIDE_M:.0f} m, got {side_m}")
        reach = side_m / 2 + MARGIN_M

        def stream(part: int, *number: int) -> np.random.Generator:
            return np.random.default_rng([seed, part, *number])

        nodes, edges = road_graph(stream(_GRAPH), reach)
        roads = tuple(lay_road(stream(_ROAD, k), nodes, a, b) for k, (a, b) in enumerate(edges))
        occupancy = Occupancy(side_m + 2 * MARGIN_M)
        for road in roads:
            occupancy.take_road(road)
        draft = Draft()
        for k, road in enumerate(roads):
            lay_lots(stream(_LOTS, k), road, occupancy, draft)
        lay_back_yards(stream(_BACK_YARDS), reach, occupancy, draft)
        for k, road in enumerate(roads):
            lay_street(stream(_STREET, k), road, draft)
        for k, node in enumerate(nodes):
            lay_junction(stream(_JUNCTION, k), node, draft)
        return cls(
            seed=seed,
            side_m=side_m,
            nodes=nodes,
            roads=roads,
            driveways=draft.driveways.polygons(),
            surface=draft.surface.polygons(),
            buildings=draft.buildings(),
            furniture=draft.furniture(),
            slots=draft.slots(),
        )
