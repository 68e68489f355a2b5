"""A rectangle in latitude and longitude."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geoflow_ros.errors import GeometryError


@dataclass(frozen=True)
class GeoBounds:
    """A rectangle on the WGS84 ellipsoid, edges included, in degrees, that does not cross the antimeridian.

    Raises:
        GeometryError: an edge is not finite, out of range, or on the wrong side of its opposite.
    """

    west_deg: float
    south_deg: float
    east_deg: float
    north_deg: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(edge) for edge in self.as_tuple()):
            raise GeometryError(f"bounds must be finite degrees, not {self.as_tuple()}")
        if not -180.0 <= self.west_deg <= self.east_deg <= 180.0:
            raise GeometryError(f"bounds need -180 <= west <= east <= 180, not {self.west_deg} and {self.east_deg}")
        if not -90.0 <= self.south_deg <= self.north_deg <= 90.0:
            raise GeometryError(f"bounds need -90 <= south <= north <= 90, not {self.south_deg} and {self.north_deg}")

    @property
    def centre(self) -> tuple[float, float]:
        """The (latitude, longitude) of the middle, degrees."""
        return (self.south_deg + self.north_deg) / 2.0, (self.west_deg + self.east_deg) / 2.0

    def contains(self, lat_deg: float, lon_deg: float) -> bool:
        """Tells whether the point lies inside or on the edge."""
        return self.south_deg <= lat_deg <= self.north_deg and self.west_deg <= lon_deg <= self.east_deg

    def as_tuple(self) -> tuple[float, float, float, float]:
        """Returns (west, south, east, north) in degrees: the order of MBTiles, TileJSON and GeoJSON."""
        return self.west_deg, self.south_deg, self.east_deg, self.north_deg
