"""Fifty times configure, activate, deactivate and cleanup while images flow: nothing is left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, call
from fakes.ros_graph import NS, Graph

from geoflow_ros.memory import resident_bytes

TRIPS = 50
SETTLED = 10  # by then libraries have made the threads and kept the memory that they keep
# Measured: 1 MB over the forty trips after that. What is kept of every trip is told by the objects; this bound is for
# what no object of Python holds, from 0.75 MB a trip on.
MOST_GROWTH_BYTES = 30 * 2**20


def count(kind: str) -> int:
    return len(os.listdir(f"/proc/self/{kind}"))


@contextmanager
def flowing(graph: Graph) -> Iterator[None]:
    """Odometry at 50 Hz and an image after every fifth, whatever state the node is in."""
    ended = threading.Event()

    def flow() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            graph.t_ns += NS // 50
            graph.odometry_xy[0] += 0.1
            graph.publishers["odom"].publish(graph.odometry())
            if number % 5 == 0:
                graph.show()
            time.sleep(0.005)

    thread = threading.Thread(target=flow, name="flow")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts are Linux's")
def test_fifty_round_trips_leave_no_thread_descriptor_or_memory_behind(own: MakeGraph) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    graph = own(start=False)

    def change(transition: int) -> None:
        request: Any = Transition(id=transition)
        assert call(graph, ChangeState, "/geoflow_localizer/change_state", transition=request).success

    kept: list[weakref.ref[Any]] = []
    most_threads, most_descriptors, resident = 0, 0, []
    with flowing(graph):
        for trip in range(TRIPS):
            change(Transition.TRANSITION_CONFIGURE)
            kept.append(weakref.ref(graph.localizer._vehicle))
            change(Transition.TRANSITION_ACTIVATE)
            graph.wait(graph.connected, "the camera to be listened to")
            graph.wait(lambda: graph.odometry_buffer.newest is not None, "odometry")
            fixes = graph.count("fixes")
            graph.start_at(0.0, 0.0, stamp=graph.stamp(0))
            graph.wait(lambda fixes=fixes: graph.count("fixes") > fixes, "a fix")
            change(Transition.TRANSITION_DEACTIVATE)
            change(Transition.TRANSITION_CLEANUP)
            for messages in graph.received.values():
                messages.clear()
            gc.collect()
            resident.append((resident_bytes() or (0, 0))[0])
            if trip < SETTLED:
                most_threads, most_descriptors = max(most_threads, count("task")), max(most_descriptors, count("fd"))
        # The system counts a thread for a moment longer than Python.
        graph.wait(lambda: count("task") <= most_threads, f"no more threads than {most_threads}")
        graph.wait(lambda: count("fd") <= most_descriptors, f"no more descriptors than {most_descriptors}")
    assert [ref() for ref in kept if ref() is not None] == []
    assert resident[-1] - resident[SETTLED - 1] < MOST_GROWTH_BYTES, resident
