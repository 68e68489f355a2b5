"""What the node says of the worth of its pose, and what it publishes with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, call, expect_rejection, set_parameter
from fakes.ros_graph import Graph

OWN_PATCHES = {"tiles.recentre_distance_m": 0.0}  # the model's answer, the patch's centre, is where the vehicle is


@pytest.fixture
def tracked(own: MakeGraph) -> Graph:
    """A node of its own with a track and one fix, and the default spacing of poses."""
    graph = own({**OWN_PATCHES, "output.spacing_m": 10.0})
    graph.says_state("WAITING")
    graph.drive()
    graph.start_at(0.0, 0.0, math.pi / 2)
    graph.drive()
    graph.show()
    graph.localized()
    return graph


def values(status: Any) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def go_black(graph: Graph, images: int) -> None:
    """Drives on with a covered lens, an image every 2 m."""
    for _ in range(images):
        graph.drive(0.4, speed_mps=5.0)
        before = graph.count("bad_images")
        graph.show(graph.image(rgb=np.zeros((64, 256, 3), np.uint8)))
        graph.wait(lambda before=before: graph.count("bad_images") > before, "the image to be refused")


def go_on(graph: Graph, images: int) -> None:
    """Drives on with good images, one every 2 m."""
    for _ in range(images):
        graph.drive(0.4, speed_mps=5.0)
        graph.show()
        graph.localized("track")


def test_the_state_and_the_input_at_fault_are_said(tracked: Graph) -> None:
    assert values(tracked.says_state("TRACKING"))["track_fault"] == "none"
    go_black(tracked, 5)
    assert tracked.says_state("DEGRADED").level == b"\1"
    go_black(tracked, 5)
    lost = tracked.says_state("LOST")
    assert lost.level == b"\2"
    assert values(lost)["track_fault"] == "camera"
    assert "shows nothing" in lost.message
    assert "LOST" in tracked.diagnosed("LOST").message


def test_nothing_is_published_of_a_lost_track_until_fixes_agree_again(tracked: Graph) -> None:
    go_black(tracked, 10)
    tracked.says_state("LOST")
    lost_at_ns = tracked.t_ns
    tracked.drive(0.4, speed_mps=5.0)
    expect_rejection(tracked, "unproven_fixes", "lost track", tracked.show)
    assert tracked.localized("track").pose.covariance[0] > 0.0
    go_on(tracked, 8)
    tracked.says_state("TRACKING")
    poses = [stamp for stamp in tracked.stamps() if stamp > lost_at_ns]
    assert len(poses) == len([stamp for stamp in tracked.stamps("fix") if stamp > lost_at_ns])
    assert min(poses) >= lost_at_ns + 5 * 400_000_000


def test_poses_come_once_in_so_many_metres_and_hypotheses_for_every_fix(tracked: Graph) -> None:
    go_on(tracked, 12)  # 24 m: where rounding makes 9.99 m of 10, the next fix is 12 m away, twice
    tracked.wait(lambda: tracked.count("fixes") == 13, "every fix to be counted")
    tracked.wait(lambda: len(tracked.received["hypotheses"]) == 13, "hypotheses of every fix")
    tracked.wait(lambda: len(tracked.stamps()) == 3, "three poses")
    tracked.wait(lambda: tracked.count("poses") == 3, "the poses to be counted")
    assert set_parameter(tracked, "output.spacing_m", 0.0).successful
    go_on(tracked, 2)
    tracked.localized()
    tracked.wait(lambda: tracked.count("poses") == 5, "the poses to be counted")


def test_a_node_that_is_paused_waits(tracked: Graph) -> None:
    from std_srvs.srv import SetBool

    call(tracked, SetBool, "/geoflow_localizer/enable", data=False)
    assert "disabled" in tracked.says_state("WAITING").message
    call(tracked, SetBool, "/geoflow_localizer/enable", data=True)
    tracked.says_state("TRACKING")
