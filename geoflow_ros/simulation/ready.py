"""Waits until a lifecycle node is active, tells it, and ends: how the demo, which knows no ROS, learns it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.utilities import remove_ros_args

from geoflow_ros.errors import GeoFlowError, InputError
from geoflow_ros.simulation.events import EventKind, tell

_ANSWER_S = 1.0  # how long an answer may take before it is asked for again
_PERIOD_S = 0.1


def wait_until_active(node_name: str, timeout_s: float) -> None:
    """Asks for a node's lifecycle state until it is active.

    Raises:
        InputError: it was not active in time.
    """
    deadline = time.monotonic() + timeout_s
    node = rclpy.create_node("geoflow_ready")
    try:
        client = node.create_client(GetState, f"{node_name}/get_state")
        state = "not there"
        while time.monotonic() < deadline:
            if client.wait_for_service(_PERIOD_S):
                answer = client.call_async(GetState.Request())
                rclpy.spin_until_future_complete(node, answer, timeout_sec=_ANSWER_S)
                if answer.done():
                    current = answer.result().current_state
                    if current.id == State.PRIMARY_STATE_ACTIVE:
                        return
                    state = current.label
            time.sleep(_PERIOD_S)
        raise InputError(f"{node_name} was not active after {timeout_s:g} s but {state}: look at its log")
    finally:
        node.destroy_node()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns 2 after one line on standard error where the node was not active in time."""
    parser = argparse.ArgumentParser(prog="ready", description=__doc__, allow_abbrev=False)
    parser.add_argument("node", help="full name of a lifecycle node, such as /geoflow_localizer")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="S", help="how long to wait")
    given = list(sys.argv if arguments is None else ["ready", *arguments])
    options = parser.parse_args(remove_ros_args(given)[1:])
    rclpy.init(args=given)
    try:
        wait_until_active(options.node, options.timeout)
    except GeoFlowError as error:
        print(f"ready: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        return 0
    finally:
        rclpy.try_shutdown()
    tell(EventKind.READY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
