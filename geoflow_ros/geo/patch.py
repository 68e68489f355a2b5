"""The frame of a satellite patch: a square of ground seen from above, turned so that the vehicle faces right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import GeometryError
from geoflow_ros.geo.axes import forward_right_axes


@dataclass(frozen=True)
class PatchFrame:
    """Where a satellite patch lies in the map.

    Image +x (columns) is the vehicle's forward, +y (rows) is its **right**; the patch's centre is the pixel coordinate
    ((size_px-1)/2, (size_px-1)/2), integers being the centres of pixels. With yaw 0 the picture is north-up.

    *Local* coordinates are (forward, right) of the centre, in metres. Because right is not left, the change
    from local to ENU is a reflection, and its own inverse.

    Attributes:
        centre_east_m: centre in the map, metres.
        centre_north_m: centre in the map, metres.
        yaw_rad: direction of forward in the map, counter-clockwise from east.
        size_px: pixels along one side.
        ground_resolution_m: metres of ground in one pixel.

    Raises:
        GeometryError: a value that is not finite, or a size or ground resolution that is not positive.
    """

    centre_east_m: float
    centre_north_m: float
    yaw_rad: float
    size_px: int
    ground_resolution_m: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.centre_east_m, self.centre_north_m, self.yaw_rad)):
            raise GeometryError("patch centre and yaw must be finite")
        if self.size_px < 1:
            raise GeometryError(f"patch size must be at least 1 px, not {self.size_px}")
        if not (math.isfinite(self.ground_resolution_m) and self.ground_resolution_m > 0.0):
            raise GeometryError(f"patch ground resolution must be positive metres, not {self.ground_resolution_m}")

    @property
    def extent_m(self) -> float:
        """The length of one side on the ground, metres."""
        return self.size_px * self.ground_resolution_m

    @property
    def axes(self) -> Float64Array:
        """The (2, 2) orthonormal matrix whose columns are forward and right in ENU; symmetric, its own inverse."""
        return forward_right_axes(self.yaw_rad)

    def local_to_enu(self, forward_right_m: ArrayLike) -> Float64Array:
        """Converts (..., 2) local (forward, right) to (..., 2) map coordinates (east, north), all in metres."""
        return np.asarray(forward_right_m, float) @ self.axes + (self.centre_east_m, self.centre_north_m)

    def enu_to_local(self, enu_m: ArrayLike) -> Float64Array:
        """Converts (..., 2) map coordinates (east, north) to (..., 2) local (forward, right), all in metres."""
        return np.asarray((np.asarray(enu_m, float) - (self.centre_east_m, self.centre_north_m)) @ self.axes)

    def to_pixel(self, enu_m: ArrayLike) -> Float64Array:
        """Converts (..., 2) map coordinates (east, north) in metres to (..., 2) pixel coordinates (x, y)."""
        return self.enu_to_local(enu_m) / self.ground_resolution_m + (self.size_px - 1) / 2.0

    def to_enu(self, pixel: ArrayLike) -> Float64Array:
        """Converts (..., 2) pixel coordinates (x, y) to (..., 2) map coordinates (east, north) in metres."""
        return self.local_to_enu((np.asarray(pixel, float) - (self.size_px - 1) / 2.0) * self.ground_resolution_m)

    def rotate_covariance_to_enu(self, covariance: ArrayLike) -> Float64Array:
        """Rotates a (..., 2, 2) covariance over (forward, right) to one over (east, north); same unit."""
        return np.asarray(self.axes @ np.asarray(covariance, float) @ self.axes.T)

    def rotate_covariance_to_local(self, covariance: ArrayLike) -> Float64Array:
        """Rotates a (..., 2, 2) covariance over (east, north) to one over (forward, right); same unit."""
        return np.asarray(self.axes.T @ np.asarray(covariance, float) @ self.axes)
