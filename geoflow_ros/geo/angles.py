"""Angles: the yaw of the map and the heading of the compass.

Yaw (REP-103) is in radians, counter-clockwise from east. A heading is in degrees, clockwise from north.
Both are relative to the map's axes; true north deviates from the map's north by about `d / R · tan(latitude)`
at d metres east or west of the datum (0.1° at 10 km and 49°).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from geoflow_ros.arrays import Float64Array

AngleT = TypeVar("AngleT", float, Float64Array)


def wrap_to_pi(angle_rad: AngleT) -> AngleT:
    """Wraps an angle into [-π, π), element by element."""
    return (angle_rad + np.pi) % (2.0 * np.pi) - np.pi


def yaw_from_heading_deg(heading_deg: AngleT) -> AngleT:
    """Converts a compass heading in degrees to a yaw in radians, counter-clockwise from east, within [-π, π)."""
    return wrap_to_pi(np.pi / 2.0 - heading_deg * (np.pi / 180.0))


def heading_from_yaw(yaw_rad: AngleT) -> AngleT:
    """Converts a yaw in radians to a compass heading in degrees, clockwise from north, within [0, 360)."""
    # The second modulo maps 360.0, to which a tiny negative angle rounds, back to 0.
    return (90.0 - yaw_rad * (180.0 / np.pi)) % 360.0 % 360.0
