"""Time in the node: a steady clock for what it does by itself, and ROS's time for what stamps are compared with.

Nothing here depends on the wall's clock, which may be set while the node runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

NO_CLOCK = "use_sim_time is set, no /clock: start what publishes it (ros2 bag play --clock), or unset use_sim_time"


class Clocks:
    """The clocks of a node.

    Args:
        node: whose timers and ROS time.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)

    def timer(self, period_s: float, callback: Callable[[], object]) -> Timer:
        """Returns a timer that goes on whatever ROS's time does: /clock may stand still, or not be there."""
        return self._node.create_timer(period_s, callback, clock=self._steady)

    @staticmethod
    def steady_ns() -> int:
        """Nanoseconds of a clock that only goes forward; its origin means nothing."""
        return time.monotonic_ns()

    def ros_ns(self) -> int | None:
        """ROS's time, nanoseconds; None while it is to be simulated and no /clock has come."""
        now_ns = int(self._node.get_clock().now().nanoseconds)
        return now_ns or None

    @property
    def problem(self) -> str:
        """What is wrong with ROS's time; empty where nothing is."""
        return NO_CLOCK if self.ros_ns() is None else ""
