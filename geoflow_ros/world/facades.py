"""What a ray sees of a wall: periodic windows and doors, a ground floor, and for cars a body below windows."""

from __future__ import annotations

from geoflow_ros.world import appearance
from geoflow_ros.world.arrays import Array, cast, namespace
from geoflow_ros.world.kinds import MATERIAL_CAR, MATERIAL_GREEN

_PERIODS_M = (0.5, 99.0)  # least and largest distance between openings
_OPENING_MIDDLE = 0.58  # of the storey's height
_GROUND_FLOOR_M = 2.9
_BLIND_BELOW = -0.3  # a bay of the ground floor with less variety has no opening
_SHOP_ABOVE = 0.4  # one with more has the ground floor's colour up to its top
_PLINTH_M, _CAR_SILL_M = 0.6, 0.3
_CAR_WINDOW_M = (0.85, 1.38)
_VARIETY = 0.1  # relative change of brightness from bay to bay
_BAY_PHASE, _FLOOR_PHASE, _MATERIAL_PHASE = 12.9, 78.2, 3.7  # radians: no two bays in a row have the same variety


def facade_colours(looks: Array, material: Array, x: Array, y: Array, z: Array) -> Array:
    """Colours points of walls.

    Args:
        looks: (n, WALL_COLUMNS) rows of the appearance's wall table.
        material: (n,) int64, their numbers.
        x: (n,) metres east of the window's corner.
        y: (n,) metres south of it.
        z: (n,) metres above the ground.

    Returns:
        (n, 3) float32 RGB.
    """
    xp = namespace(x)
    c, s = xp.cos(looks[:, appearance.TURN]), xp.sin(looks[:, appearance.TURN])
    along = (x * c - y * s) - (x * s + y * c)  # runs along either pair of a house's walls
    bay = along / xp.clip(looks[:, appearance.PERIOD_ALONG], *_PERIODS_M)
    floor = z / xp.clip(looks[:, appearance.PERIOD_UP], *_PERIODS_M)
    in_bay, in_floor = bay - xp.floor(bay), floor - xp.floor(floor)
    variety = xp.sin(
        xp.floor(bay) * _BAY_PHASE + xp.floor(floor) * _FLOOR_PHASE + cast(material, "float32") * _MATERIAL_PHASE
    )
    is_car = (material >= MATERIAL_CAR) & (material < MATERIAL_GREEN)
    opening = (
        (in_bay < looks[:, appearance.SHARE_ALONG])
        & (xp.abs(in_floor - _OPENING_MIDDLE) < 0.5 * looks[:, appearance.SHARE_UP])
        & ((z > _GROUND_FLOOR_M) | (variety > _BLIND_BELOW))
    )
    sill, roof = _CAR_WINDOW_M
    opening = xp.where(is_car, (z > sill) & (z < roof), opening)
    ground_floor = (z < _CAR_SILL_M) | (~is_car & ((z < _PLINTH_M) | ((z < _GROUND_FLOOR_M) & (variety > _SHOP_ABOVE))))
    wall = xp.where(ground_floor[:, None], looks[:, appearance.GROUND_RGB], looks[:, appearance.WALL_RGB])
    colour = xp.where(opening[:, None], looks[:, appearance.OPENING_RGB], wall)
    return colour * (1.0 + _VARIETY * variety * cast(~is_car, "float32"))[:, None]
