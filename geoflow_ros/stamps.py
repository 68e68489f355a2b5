"""Time stamps: whole nanoseconds, as ROS messages carry them."""

from __future__ import annotations

from typing import Any

NANOSECONDS_PER_SECOND = 1_000_000_000


def stamp_ns(stamp: Any) -> int:
    """Returns the nanoseconds of a message stamp with the fields `sec` and `nanosec` (of rclpy or rosbags)."""
    return int(stamp.sec) * NANOSECONDS_PER_SECOND + int(stamp.nanosec)
