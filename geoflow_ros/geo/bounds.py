"""A rectangle in latitude and longitude."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geoflow_ros.errors import GeometryError


@dataclass(frozen=True)
class GeoBounds:
    """A rectangle on the WGS84 ellipsoid, edges included, in degrees.

    West of more than east crosses the antimeridian (RFC 7946, section 5.2), as long as it is the shorter way round.

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
        is_on_earth = abs(self.west_deg) <= 180.0 and abs(self.east_deg) <= 180.0
        if not is_on_earth or (self.west_deg > self.east_deg and self.width_deg >= 180.0):
            raise GeometryError(
                f"bounds need -180 <= west <= east <= 180, or to cross the antimeridian, not {self.west_deg} and "
                f"{self.east_deg}"
            )
        if not -90.0 <= self.south_deg <= self.north_deg <= 90.0:
            raise GeometryError(f"bounds need -90 <= south <= north <= 90, not {self.south_deg} and {self.north_deg}")

    @property
    def width_deg(self) -> float:
        """Degrees of longitude from west to east."""
        width = self.east_deg - self.west_deg
        return width if width >= 0.0 else width + 360.0

    @property
    def centre(self) -> tuple[float, float]:
        """The (latitude, longitude) of the middle, degrees."""
        middle = self.west_deg + self.width_deg / 2.0
        return (self.south_deg + self.north_deg) / 2.0, middle if middle <= 180.0 else middle - 360.0

    def contains(self, lat_deg: float, lon_deg: float) -> bool:
        """Tells whether the point lies inside or on the edge."""
        if self.west_deg <= self.east_deg:
            is_between = self.west_deg <= lon_deg <= self.east_deg
        else:
            is_between = lon_deg >= self.west_deg or lon_deg <= self.east_deg
        return is_between and self.south_deg <= lat_deg <= self.north_deg

    def united(self, other: GeoBounds) -> GeoBounds:
        """Returns the smallest bounds around both, the shorter way round the Earth."""
        south, north = min(self.south_deg, other.south_deg), max(self.north_deg, other.north_deg)
        ways = []
        for first, second in ((self, other), (other, self)):
            offset = (second.west_deg - first.west_deg) % 360.0
            ways.append((max(first.width_deg, offset + second.width_deg), first.west_deg))
        width, west = min(ways)
        if width < 180.0:
            east = west + width
            return GeoBounds(west, south, east if east <= 180.0 else east - 360.0, north)
        if any(bounds.west_deg > bounds.east_deg for bounds in (self, other)):
            return GeoBounds(-180.0, south, 180.0, north)
        return GeoBounds(min(self.west_deg, other.west_deg), south, max(self.east_deg, other.east_deg), north)

    def as_tuple(self) -> tuple[float, float, float, float]:
        """Returns (west, south, east, north) in degrees: the order of MBTiles, TileJSON and GeoJSON."""
        return self.west_deg, self.south_deg, self.east_deg, self.north_deg
