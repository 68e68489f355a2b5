"""What the node says of its inputs and its clock, and start poses of before the node."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, expect_pose, expect_rejection, send_heading
from fakes.ros_graph import NS, Graph


@pytest.fixture(scope="module")
def waiting(bundle: Any, tiles: str) -> Any:
    """A node without a track."""
    graph = Graph(bundle, tiles, {"diagnostics.latency_warn_ms": 1e6, "diagnostics.latency_error_ms": 1e6})
    graph.drive(0.3)
    yield graph
    graph.close()


def navsat(graph: Graph, **changes: Any) -> Any:
    """A good satellite fix of the vehicle's place, with fields changed."""
    from sensor_msgs.msg import NavSatFix

    lat, lon = graph.datum.to_latlon(graph.east_m, graph.north_m)
    message = NavSatFix(latitude=lat, longitude=lon, position_covariance_type=NavSatFix.COVARIANCE_TYPE_KNOWN)
    message.header.stamp = changes.pop("stamp", graph.stamp())
    message.status.status = changes.pop("status", 0)
    message.position_covariance = np.diag([4.0, 4.0, 9.0]).ravel()
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (lambda g: navsat(g, status=-1), "fix: the receiver has no satellite fix (status -1)"),
        (lambda g: navsat(g, status=-2), "status -2"),
        (lambda g: navsat(g, latitude=91.0), "no latitude and longitude"),
        (lambda g: navsat(g, latitude=math.nan), "not finite"),
        (lambda g: navsat(g, stamp=g.stamp(0)), "fix without a stamp"),
    ],
)
def test_a_satellite_fix_that_is_none_is_said_by_its_name(
    waiting: Graph, message: Callable[[Graph], Any], text: str
) -> None:
    waiting.drive(0.1)
    publish = waiting.publishers["gnss"].publish
    expect_rejection(waiting, "bad_satellite_fixes", text, lambda: publish(message(waiting)))


def test_the_state_names_the_receiver_that_has_no_fix(waiting: Graph) -> None:
    waiting.drive(0.1)
    waiting.publishers["gnss"].publish(navsat(waiting, status=-1))

    def said() -> bool:
        status = waiting.received["status"][-1]
        return status.message == "WAITING: no start pose yet: fix: the receiver has no satellite fix (status -1)"

    waiting.wait(said, "the state to name the receiver")
    waiting.wait(lambda: waiting.last_values().get("track_fault") == "fix", "the input at fault")


def test_an_imu_without_an_orientation_is_said_by_its_name(own: MakeGraph) -> None:
    from sensor_msgs.msg import Imu

    graph = own()
    graph.drive(0.3)
    imu = Imu(orientation_covariance=[-1.0] + [0.0] * 8)
    imu.orientation.w = 1.0
    imu.header.stamp = graph.stamp()
    graph.publishers["imu"].publish(imu)
    graph.publishers["gnss"].publish(navsat(graph))
    graph.wait(lambda: graph.waiting_gnss_ns is not None, "fix to arrive")
    assert "imu says that it has no orientation" in graph.diagnosed("no orientation").message
    assert graph.count("bad_headings") == 0
    graph.drive(0.1)
    send_heading(graph, 0.0)
    graph.wait(lambda: graph.tracker.started, "the start")


@pytest.mark.parametrize("changes", [{"position_covariance": [math.nan] * 9}, {"position_covariance_type": 0}])
def test_a_fix_of_unknown_covariance_starts_the_track_ten_metres_wide(own: MakeGraph, changes: dict[str, Any]) -> None:
    graph = own()
    graph.drive(0.3)
    send_heading(graph, 0.0)
    graph.publishers["gnss"].publish(navsat(graph, **changes))
    graph.wait(lambda: graph.tracker.started, "the start")
    graph.drive(0.1)
    assert graph.tracker.predict(graph.t_ns).position_std_m == pytest.approx(10.0, abs=0.1)
    expect_pose(graph)


# ---- start poses of before the node ----------------------------------------------------------------------------------


def publisher_of_start_poses(graph: Graph, latched: bool) -> Any:
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from rclpy.qos import DurabilityPolicy, QoSProfile

    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return graph.node.create_publisher(
        PoseWithCovarianceStamped, "initialpose", QoSProfile(depth=1, durability=durability)
    )


def start_pose(graph: Graph) -> Any:
    from geoflow_ros.ros.messages import pose_with_covariance

    return pose_with_covariance(graph.stamp(), "map", np.zeros(2), 0.0, np.eye(3) * 0.1)


def test_a_start_pose_that_was_kept_from_before_the_node_starts_the_track(own: MakeGraph) -> None:
    graph = own(start=False)
    publisher_of_start_poses(graph, latched=True).publish(start_pose(graph))
    graph.localizer.start()
    graph.wait(graph.connected, "the node to listen")
    graph.wait(lambda: graph.tracker.counts.starts, "the start pose")
    expect_pose(graph)


def test_a_start_pose_counts_once_by_whichever_way_it_comes(own: MakeGraph) -> None:
    graph = own()
    graph.drive(0.1)
    latched, volatile = (publisher_of_start_poses(graph, latched=latched) for latched in (True, False))
    graph.wait(lambda: latched.get_subscription_count() == 2, "both subscriptions to find the latched publisher")
    graph.wait(lambda: volatile.get_subscription_count() == 1, "one to find the volatile publisher")
    message = start_pose(graph)
    for published, publisher in enumerate([latched, volatile, latched, volatile, volatile], start=1):
        message.pose.pose.position.x = float(published)
        publisher.publish(message)
        graph.wait(lambda published=published: graph.tracker.counts.starts == published, "the start pose")
    graph.drive(0.1)
    assert graph.tracker.counts.starts == 5


def test_start_poses_that_are_published_best_effort_are_named(own: MakeGraph) -> None:
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    graph = own()
    unreliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    expect_rejection(
        graph,
        "bad_start_poses",
        "published best effort",
        lambda: graph.node.create_publisher(PoseWithCovarianceStamped, "initialpose", unreliable),
    )


# ---- the clock -------------------------------------------------------------------------------------------------------


def test_without_clock_the_node_says_so_and_goes_on(own: MakeGraph) -> None:
    graph = own({"use_sim_time": True})
    status = graph.diagnosed("use_sim_time is set, no /clock")
    assert status.level == b"\1"
    waiting = "WAITING: use_sim_time is set, no /clock"
    graph.wait(
        lambda: any(said.message.startswith(waiting) for said in graph.received["status"][-1:]), "the state to say so"
    )
    graph.drive(0.1)
    graph.start_at(0.0, 0.0)
    expect_pose(graph)
    graph.says_state("TRACKING")
    assert "latency_ms_p95" not in graph.last_values()


def test_without_clock_the_start_is_tried_again(own: MakeGraph, tmp_path: Any) -> None:
    from fakes.ros_graph import write_map

    late = tmp_path / "late.mbtiles"
    graph = own({"use_sim_time": True, "autostart": True}, start=False, source=str(late))
    graph.diagnosed("late.mbtiles")
    write_map(late)
    graph.wait(lambda: graph.loaded, "the map to be opened")


def test_with_a_clock_nothing_is_said_of_it(own: MakeGraph) -> None:
    from rosgraph_msgs.msg import Clock

    graph = own({"use_sim_time": True})
    publisher = graph.node.create_publisher(Clock, "/clock", 10)
    graph.diagnosed("use_sim_time is set, no /clock")

    def is_told() -> bool:
        publisher.publish(Clock(clock=graph.stamp()))
        return graph.last_values().get("clock") == "ok"

    graph.wait(is_told, "the clock to be taken")
    graph.t_ns += NS
    graph.drive(0.1)
    assert graph.last_values()["odometry_stamps"] == "in order"
