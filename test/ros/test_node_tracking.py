"""Which frames and fixes the node takes, and where its track begins."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, call, expect_pose, expect_rejection, send_fix, send_heading
from fakes.ros_graph import GREY, NS, Graph


def test_an_uncertain_prior_is_not_searched_around(graph: Graph) -> None:
    graph.start_at(0.0, 0.0, std_m=60.0)
    graph.drive()
    expect_rejection(graph, "prior_too_uncertain", "give an initialpose", graph.show)
    graph.start_at(0.0, 0.0)
    expect_pose(graph)


def test_an_uncertain_heading_is_not_searched_along(graph: Graph) -> None:
    def start(yaw_std_deg: float) -> None:
        message = PoseWithCovarianceStamped()
        message.header.stamp, message.header.frame_id = graph.stamp(), "map"
        message.pose.pose.orientation.w = 1.0
        message.pose.covariance[35] = math.radians(yaw_std_deg) ** 2
        before = graph.tracker.counts.starts
        graph.publishers["initialpose"].publish(message)
        graph.wait(lambda: graph.tracker.counts.starts > before, "initialpose to arrive")

    from geometry_msgs.msg import PoseWithCovarianceStamped

    start(25.0)
    graph.drive()
    expect_rejection(graph, "prior_too_uncertain", "limit 20°, see prior.max_yaw_std_deg", graph.show)
    start(15.0)  # what RViz's tool says
    expect_pose(graph)


def test_an_answer_that_contradicts_the_track_is_gated(graph: Graph) -> None:
    for _ in range(3):
        graph.drive(1.0, speed_mps=5.0)
        graph.show()
        graph.localized()
    graph.drive()
    red = GREY + 68  # 16 m ahead
    expect_rejection(
        graph, "gate_rejections", "contradicts the track", lambda: graph.show(graph.image(rgb=graph.picture(red=red)))
    )
    assert graph.localized("track").pose.pose.position.y == pytest.approx(graph.north_m, abs=1.0)
    expect_pose(graph)


def test_when_rejected_fixes_are_consistent_over_some_distance_the_track_follows_them(graph: Graph) -> None:
    for _ in range(3):
        graph.drive(1.0, speed_mps=5.0)
        graph.show()
        graph.localized()
    moves = graph.tracker.counts.relocalizations
    for _ in range(12):
        graph.drive(0.5, speed_mps=5.0)
        graph.show(graph.image(rgb=graph.picture(red=GREY + 68)))
        graph.localized("track")
        if graph.tracker.counts.relocalizations > moves:
            break
    assert graph.tracker.counts.relocalizations == moves + 1
    assert graph.localized("track").pose.pose.position.y > graph.north_m + 8.0


def test_an_answer_that_knows_nothing_is_not_published(graph: Graph) -> None:
    graph.drive()
    blurred = graph.image(rgb=graph.picture(blue=50))
    expect_rejection(graph, "uninformative_fixes", "says nothing", lambda: graph.show(blurred))
    expect_pose(graph)


def test_an_answer_outside_the_search_area_is_not_published(graph: Graph) -> None:
    graph.drive()
    expect_rejection(
        graph, "untrusted_fixes", "outside the search", lambda: graph.show(graph.image(rgb=graph.picture(red=255)))
    )
    expect_pose(graph)


def test_relocalize_widens_the_track(graph: Graph) -> None:
    from std_srvs.srv import Trigger

    assert graph.localized("track").pose.covariance[0] < 60
    for _ in range(4):  # a person who sees no effect calls it again
        answer = call(graph, Trigger, "/geoflow_localizer/relocalize")
        assert answer.success
        assert "8 m" in answer.message
    graph.drive(0.1)
    assert graph.tracker.predict(graph.t_ns).covariance[0, 0] == pytest.approx(64.0, abs=1.0)
    expect_pose(graph)


def test_an_old_satellite_fix_does_not_start_the_track(own: MakeGraph) -> None:
    graph = own()
    send_fix(graph, 20.0, -10.0)
    graph.t_ns += 90 * NS
    graph.drive()
    send_heading(graph, 1.0)
    assert "90.5 s apart" in graph.diagnosed("fix and imu are").message
    assert not graph.tracker.started
    send_fix(graph, 30.0, -10.0)
    graph.wait(lambda: graph.tracker.started, "the start")
    expect_pose(graph)


def test_a_satellite_fix_from_before_odometry_began_again_does_not_start_the_track(own: MakeGraph) -> None:
    graph = own()
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    graph.show()
    graph.localized()
    send_fix(graph, 20.0, -10.0)
    graph.wait(lambda: graph.waiting_gnss_ns is not None, "fix to arrive")
    graph.odometry_xy[0] += 1000.0
    graph.drive(0.1)
    send_heading(graph, 1.0)
    graph.drive(0.1)
    assert not graph.tracker.started


def test_a_satellite_fix_of_the_last_pass_of_a_bag_does_not_block_the_next(own: MakeGraph) -> None:
    graph = own()
    send_fix(graph, 20.0, -10.0, graph.t_ns + 60 * NS)
    send_heading(graph, 1.0, graph.t_ns + 60 * NS)
    graph.wait(lambda: graph.tracker.started, "a start that waits for odometry")
    graph.drive()
    assert not graph.tracker.started
    send_heading(graph, 1.0)
    send_fix(graph, 20.0, -10.0)
    graph.wait(lambda: graph.tracker.started, "the start")
    expect_pose(graph)


def test_a_satellite_fix_and_an_absolute_heading_start_the_track(own: MakeGraph) -> None:
    graph = own()
    graph.drive()
    send_fix(graph, 20.0, -10.0)
    send_heading(graph, 1.0)
    graph.wait(lambda: graph.tracker.started, "the start")
    graph.drive()
    graph.show()
    pose = graph.localized().pose.pose
    assert (pose.position.x, pose.position.y) == pytest.approx((20.0, -10.0), abs=2.0)
    assert 2 * math.atan2(pose.orientation.z, pose.orientation.w) == pytest.approx(1.0, abs=0.05)
