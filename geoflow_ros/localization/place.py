"""About where a vehicle is, for what needs no more than that: the last place that was said, and the odometry since."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geoflow_ros.geo import Datum
from geoflow_ros.tracking import OdometryPose, StartPose


@dataclass(frozen=True)
class _Anchor:
    """A place in the map, and where odometry was then.

    Attributes:
        turn_rad: from the odometry's axes to the map's; None where no heading came with the place.
    """

    datum: Datum
    east_m: float
    north_m: float
    odometry: OdometryPose | None
    turn_rad: float | None


class RoughPlace:
    """Follows a vehicle from the last satellite fix or start pose by its odometry.

    A fix has no heading: it counts alone until the next one, unless a start pose said how the odometry's axes lie.

    Args:
        datum: of the map in which start poses are; None where none are taken.
    """

    def __init__(self, datum: Datum | None = None) -> None:
        self._datum = datum
        self._odometry: OdometryPose | None = None
        self._anchor: _Anchor | None = None

    def add_odometry(self, pose: OdometryPose) -> None:
        """Takes one sample of the odometry."""
        self._odometry = pose

    def add_fix(self, lat_deg: float, lon_deg: float) -> None:
        """Takes a place on Earth, of a satellite receiver or of the localizer."""
        turn_rad = None if self._anchor is None else self._anchor.turn_rad
        self._anchor = _Anchor(Datum(lat_deg, lon_deg), 0.0, 0.0, self._odometry, turn_rad)

    def add_start(self, start: StartPose) -> bool:
        """Takes a pose in the map; False where its datum is not known."""
        if self._datum is None:
            return False
        odometry = self._odometry
        turn_rad = None if odometry is None else start.yaw_rad - odometry.yaw_rad
        self._anchor = _Anchor(self._datum, start.east_m, start.north_m, odometry, turn_rad)
        return True

    def latlon(self) -> tuple[float, float] | None:
        """Latitude and longitude, degrees; None before the first place.

        Raises:
            GeometryError: the odometry has led out of the map frame.
        """
        anchor, now = self._anchor, self._odometry
        if anchor is None:
            return None
        east_m, north_m = anchor.east_m, anchor.north_m
        if now is not None and anchor.odometry is not None and anchor.turn_rad is not None:
            dx, dy = now.x_m - anchor.odometry.x_m, now.y_m - anchor.odometry.y_m
            cos, sin = math.cos(anchor.turn_rad), math.sin(anchor.turn_rad)
            east_m, north_m = east_m + cos * dx - sin * dy, north_m + sin * dx + cos * dy
        lat, lon = anchor.datum.to_latlon(east_m, north_m)
        return float(lat), float(lon)
