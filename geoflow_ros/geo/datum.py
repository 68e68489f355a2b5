"""The map's datum: where the ENU map frame touches the Earth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
import pymap3d
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import GeometryError

MAX_RANGE_M = 100_000.0
"""Farthest point from a datum that the map frame takes. There, the plane shortens a radial distance by 1.2e-4."""

_WGS84_AXES_M = (6378137.0, 6356752.31424518)
"""Semi-axes of WGS84 (NIMA TR 8350.2), which is what pymap3d takes where no ellipsoid is named."""


@dataclass(frozen=True)
class Datum:
    """The origin of the map frame: the plane that touches the WGS84 ellipsoid at (lat_deg, lon_deg).

    East and north of a place are those of its point **on the ellipsoid** (height 0), seen along the datum's vertical.
    The two directions are therefore exact inverses of each other; dropping the height of a tangent-plane point instead
    would shift it by d³/2R² (1.2 cm at 10 km).

    Raises:
        GeometryError: latitude or longitude that is not finite or out of range.
    """

    lat_deg: float
    lon_deg: float

    def __post_init__(self) -> None:
        _check_latlon(np.asarray(self.lat_deg, float), np.asarray(self.lon_deg, float), "datum")

    @overload
    def to_enu(self, lat_deg: float, lon_deg: float) -> tuple[float, float]: ...
    @overload
    def to_enu(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> tuple[Float64Array, Float64Array]: ...

    def to_enu(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """Converts places in degrees to map coordinates (east_m, north_m).

        Numbers give numbers; arrays of any one shape give arrays of that shape.

        Raises:
            GeometryError: out of range, not finite, or farther than `MAX_RANGE_M` from the datum.
        """
        lat, lon = np.asarray(lat_deg, float), np.asarray(lon_deg, float)
        _check_latlon(lat, lon, "place")
        east, north, up = pymap3d.geodetic2enu(lat, lon, 0.0, self.lat_deg, self.lon_deg, 0.0)
        # `up` too: the antipode projects onto the datum itself.
        self._check_range(np.sqrt(np.square(east) + np.square(north) + np.square(up)))
        return _like(lat, east), _like(lat, north)

    @overload
    def to_latlon(self, east_m: float, north_m: float) -> tuple[float, float]: ...
    @overload
    def to_latlon(self, east_m: ArrayLike, north_m: ArrayLike) -> tuple[Float64Array, Float64Array]: ...

    def to_latlon(self, east_m: ArrayLike, north_m: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
        """Converts map coordinates in metres to places (lat_deg, lon_deg), longitude within [-180, 180].

        Numbers give numbers; arrays of any one shape give arrays of that shape.

        Raises:
            GeometryError: not finite, or farther than `MAX_RANGE_M` from the datum.
        """
        east, north = np.asarray(east_m, float), np.asarray(north_m, float)
        if not (np.isfinite(east).all() and np.isfinite(north).all()):
            raise GeometryError("map coordinates must be finite metres")
        self._check_range(np.hypot(east, north))
        up = self._surface_height(east, north)
        lat, lon, _ = pymap3d.enu2geodetic(east, north, up, self.lat_deg, self.lon_deg, 0.0)
        return _like(east, lat), _like(east, lon)

    def _surface_height(self, east: Float64Array, north: Float64Array) -> Float64Array:
        """Returns the up coordinate (never positive) where the vertical through (east, north) meets the ellipsoid."""
        squash = np.array([1.0, 1.0, _WGS84_AXES_M[0] / _WGS84_AXES_M[1]])  # ellipsoid → sphere of radius a
        origin = np.array(pymap3d.geodetic2ecef(self.lat_deg, self.lon_deg, 0.0))
        plane = np.stack(pymap3d.enu2uvw(east, north, 0.0, self.lat_deg, self.lon_deg), axis=-1)
        up_axis = np.array(pymap3d.enu2uvw(0.0, 0.0, 1.0, self.lat_deg, self.lon_deg)) * squash
        # |(origin + plane + u·up) squashed|² = a²  is  A u² + 2 B u + C = 0. The datum satisfies it with u = 0, so the
        # origin's own part of C cancels: leave it out, else it costs digits.
        start, offset = origin * squash, plane * squash
        a = up_axis @ up_axis
        b = (start + offset) @ up_axis
        c = 2.0 * offset @ start + np.square(offset).sum(axis=-1)
        return np.asarray(-c / (b + np.sqrt(b * b - a * c)))

    def _check_range(self, distance_m: Float64Array) -> None:
        farthest = float(np.max(distance_m, initial=0.0))
        if farthest > MAX_RANGE_M:
            raise GeometryError(
                f"{farthest / 1000.0:.0f} km from the datum ({self.lat_deg:.6f}, {self.lon_deg:.6f}): the map frame "
                f"holds within {MAX_RANGE_M / 1000.0:.0f} km; set a datum near the vehicle"
            )


def _check_latlon(lat: Float64Array, lon: Float64Array, what: str) -> None:
    # Written so that NaN fails too.
    if not (np.abs(lat) <= 90.0).all():
        raise GeometryError(f"latitude of the {what} must be within [-90, 90] degrees, not {_worst(lat)}")
    if not (np.abs(lon) <= 180.0).all():
        raise GeometryError(f"longitude of the {what} must be within [-180, 180] degrees, not {_worst(lon)}")


def _worst(values: Float64Array) -> float:
    flat = values.reshape(-1)
    return float(flat[np.argmax(np.abs(flat))])  # argmax takes NaN as the largest


def _like(template: Float64Array, values: ArrayLike) -> ArrayLike:
    return float(np.asarray(values)) if template.ndim == 0 else np.asarray(values, float)
