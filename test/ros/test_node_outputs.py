"""What the node publishes about good input."""

from __future__ import annotations

import math
import sys
import threading
import types
from functools import partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, expect_rejection
from fakes.ros_graph import GREY, GROUND_SHAPE, Graph

from geoflow_ros.ros import command


def test_a_frame_becomes_a_pose_of_base_link_at_the_images_stamp(graph: Graph) -> None:
    graph.drive(0.5, speed_mps=6.0)  # far enough for a patch with the track in its centre
    graph.show()
    pose, track, hypotheses = graph.localized(), graph.localized("track"), graph.localized("hypotheses")
    assert pose.header.frame_id == track.header.frame_id == hypotheses.header.frame_id == "map"
    assert track.child_frame_id == "base_link"
    # The picture says "at the patch's centre", which lies where the track had the camera: the lever arm cancels.
    assert pose.pose.pose.position.x == pytest.approx(graph.east_m, abs=0.6)
    assert pose.pose.pose.position.y == pytest.approx(graph.north_m, abs=0.6)
    assert 2 * math.atan2(pose.pose.pose.orientation.z, pose.pose.pose.orientation.w) == pytest.approx(
        math.pi / 2, abs=0.05
    )
    assert len(hypotheses.poses) == 10
    covariance = np.array(pose.pose.covariance).reshape(6, 6)
    assert np.linalg.eigvalsh(covariance)[0] > 0
    assert np.array_equal(covariance, covariance.T)
    fix = graph.localized("fix")
    east, north = graph.datum.to_enu(fix.latitude, fix.longitude)
    assert (east, north) == pytest.approx((pose.pose.pose.position.x, pose.pose.pose.position.y), abs=1e-3)


def test_the_nodes_topics_and_services_are_those_that_its_help_names(graph: Graph) -> None:
    def found(listed: list[tuple[str, list[str]]]) -> dict[str, str]:
        return {
            name.replace("/geoflow_localizer/", "~/"): kinds[0].replace("/msg/", "/").replace("/srv/", "/")
            for name, kinds in listed
        }

    def described(interfaces: dict[str, tuple[str, str]]) -> dict[str, str]:
        return {
            name if name[0] in "~/" else f"/{name}": kind
            for name, (kind, _) in interfaces.items()
            if name not in ("image/compressed", "satellite/tiles")  # the other transport, the other map
        }

    node = ("geoflow_localizer", "/")
    published = found(graph.node.get_publisher_names_and_types_by_node(*node))
    assert described(command.OUTPUTS).items() <= published.items()
    assert {n for n in published if n.startswith("~")} - {*command.OUTPUTS} == {"~/transition_event"}
    subscribed = found(graph.node.get_subscriber_names_and_types_by_node(*node))
    assert described(command.INPUTS) == {n: k for n, k in subscribed.items() if n not in ("/clock", "/tf_static")}
    served = found(graph.node.get_service_names_and_types_by_node(*node))
    assert described(command.SERVICES).items() <= served.items()


def test_a_picture_that_says_further_ahead_moves_the_pose_ahead_and_the_track_with_it(graph: Graph) -> None:
    graph.drive(1.0, speed_mps=10.0)  # far enough for a patch with the track in its centre
    expected = graph.tracker.predict(graph.t_ns).north_m
    graph.show(graph.image(rgb=graph.picture(red=GREY + 8)))
    ahead = 1.5 * 8 / 127 * 20.0
    assert graph.localized().pose.pose.position.y == pytest.approx(expected + ahead, abs=0.7)
    assert expected + 0.1 < graph.localized("track").pose.pose.position.y < expected + ahead


def test_odometry_between_frames_moves_the_next_pose(graph: Graph) -> None:
    graph.drive(2.0, speed_mps=10.0)
    graph.show()
    assert graph.localized().pose.pose.position.y == pytest.approx(graph.north_m, abs=1.0)


def test_a_patch_is_kept_while_the_vehicle_hardly_moves(graph: Graph) -> None:
    graph.drive(1.0, speed_mps=20.0)  # so far that the frame waits for a patch of its own; none is being made
    graph.show()
    graph.localized()
    kept = graph.patch
    for _ in range(2):
        graph.drive(0.5, speed_mps=0.2)
        graph.show()
        graph.localized()
        assert graph.patch is kept
    graph.drive(1.0, speed_mps=20.0)
    graph.show()
    graph.localized()
    assert graph.patch is not kept


def test_diagnostics_tell_rates_latencies_and_limits(graph: Graph) -> None:
    # a report may have been made between the first pose and its being counted
    status = graph.diagnosed("", key="fix_hz")
    values = {item.key: item.value for item in status.values}
    for key in ("fix_hz", "latency_ms_p95", "ground_ms_p50", "patch_ms_p95", "dropped_frames", "gate_rejections"):
        float(values[key])
    for key in ("tile_errors", "position_std_m", "fix_age_s", "last_silence", "tf_sender", "fix_age_s.error"):
        assert values[key]


def test_another_image_size_of_the_same_aspect_is_as_good(graph: Graph) -> None:
    graph.drive()
    graph.show(graph.image(rgb=graph.picture(2 * GROUND_SHAPE[0], 2 * GROUND_SHAPE[1])))
    graph.localized()


def test_where_tf2_is_installed_the_transform_from_map_to_odometry_is_sent(
    own: MakeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    class Broadcaster:
        def __init__(self, node: Any) -> None:
            self.sendTransform = sent.append

    tf2_ros = types.ModuleType("tf2_ros")
    tf2_ros.TransformBroadcaster = Broadcaster  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tf2_ros", tf2_ros)
    graph = own()
    graph.drive()
    graph.start_at(30.0, -20.0, math.pi / 2)
    graph.drive()
    graph.show()
    graph.localized()
    track = graph.localized("track").pose.pose.position
    before = len(sent)
    graph.wait(lambda: len(sent) > before + 2, "transforms")
    transform = sent[-1]
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "odom")
    turn = 2 * math.atan2(transform.transform.rotation.z, transform.transform.rotation.w)
    x, y = graph.odometry_xy
    east = transform.transform.translation.x + math.cos(turn) * x - math.sin(turn) * y
    north = transform.transform.translation.y + math.sin(turn) * x + math.cos(turn) * y
    assert (east, north) == pytest.approx((track.x, track.y), abs=1e-3)


def test_compressed_images_are_localized_and_garbage_is_refused(own: MakeGraph) -> None:
    from sensor_msgs.msg import CompressedImage

    from geoflow_ros.ros.images import compressed_from_rgb

    graph = own({"image_transport": "compressed"})
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    graph.show(compressed_from_rgb(graph.picture(), graph.stamp(), "camera", 95))
    graph.localized()
    graph.drive()
    garbage = CompressedImage(format="jpeg", data=b"\xff\xd8 no picture")
    garbage.header.stamp = graph.stamp()
    expect_rejection(graph, "bad_images", "cannot be decoded", lambda: graph.show(garbage))
    graph.drive()
    graph.show(compressed_from_rgb(graph.picture(), graph.stamp(), "camera", 95))
    graph.localized()


def test_the_newest_frame_wins_while_the_model_is_busy(own: MakeGraph) -> None:
    graph = own()
    graph.drive()
    graph.start_at(0.0, 0.0)
    backend = graph.method.backend
    quick = backend.f_vis
    busy, go_on = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        busy.set()
        go_on.wait(30.0)
        return quick(*arguments)

    backend.f_vis = slow
    first_ns = graph.t_ns
    graph.show()
    graph.wait(busy.is_set, "the model to begin")
    for arrived in range(2, 6):
        graph.drive(0.1)
        graph.show()
        graph.wait(partial(_has_counted, graph, "image", arrived), "the image to arrive")
    go_on.set()
    graph.localized()  # the last one shown
    assert graph.stamps() == [first_ns, graph.t_ns]
    assert graph.count("dropped_frames") == 3


def test_the_debug_image_is_drawn_only_for_those_who_look(own: MakeGraph) -> None:
    from sensor_msgs.msg import CompressedImage

    graph = own()
    seen: list[Any] = []
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    output = graph.localizer._outputs._debug_image
    assert output.get_subscription_count() == 0
    graph.show()
    graph.localized()
    graph.node.create_subscription(CompressedImage, "/geoflow_localizer/debug_image/compressed", seen.append, 1)
    graph.wait(lambda: output.get_subscription_count() == 1, "the picture's listener")
    graph.wait(lambda: graph.node.count_publishers("/geoflow_localizer/debug_image/compressed"), "the picture's sender")
    for _ in range(5):
        graph.drive(0.2)
        graph.show()
        graph.localized()
    graph.wait(lambda: seen, "a picture")
    from geoflow_ros.localization.compressed_images import rgb_from_compressed

    assert rgb_from_compressed(seen[0]).shape[2] == 3


def _has_counted(graph: Graph, key: str, number: int) -> bool:
    return graph.count(key) >= number
