"""Where things are on Earth: datum and ENU map frame, web-mercator pixels, angles, patch and bird's-eye geometry.

Everything is WGS84. The map frame is ENU (REP-103 and REP-105): metres on the tangent plane at a `Datum`, yaw in
radians counter-clockwise from east. Compass headings exist only at the edges of the package.
"""

from geoflow_ros.geo.angles import heading_from_yaw, wrap_to_pi, yaw_from_heading_deg
from geoflow_ros.geo.birds_eye import BirdsEyeGrid, BirdsEyeSampling, GroundCamera, VirtualCamera, VirtualPanorama
from geoflow_ros.geo.bounds import GeoBounds
from geoflow_ros.geo.datum import MAX_RANGE_M, Datum
from geoflow_ros.geo.gaussian import Ellipse, Gaussian2D, chi_square_quantile, confidence_ellipse
from geoflow_ros.geo.mercator import (
    MAX_LATITUDE_DEG,
    MAX_ZOOM,
    ground_resolution,
    latlon_to_pixel,
    pixel_to_latlon,
    tile_at,
    tile_bounds,
)
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.geo.quaternion import yaw_of_quaternion

__all__ = [
    "MAX_LATITUDE_DEG",
    "MAX_RANGE_M",
    "MAX_ZOOM",
    "BirdsEyeGrid",
    "BirdsEyeSampling",
    "Datum",
    "Ellipse",
    "Gaussian2D",
    "GeoBounds",
    "GroundCamera",
    "PatchFrame",
    "VirtualCamera",
    "VirtualPanorama",
    "chi_square_quantile",
    "confidence_ellipse",
    "ground_resolution",
    "heading_from_yaw",
    "latlon_to_pixel",
    "pixel_to_latlon",
    "tile_at",
    "tile_bounds",
    "wrap_to_pi",
    "yaw_of_quaternion",
    "yaw_from_heading_deg",
]
