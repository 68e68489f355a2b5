"""Bad input: each is counted under its key, said in the diagnostics, gives no pose, and is followed by a good frame."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, expect_pose, expect_rejection
from fakes.ros_graph import NS, Graph, damage_map, write_map

BAD_IMAGES: list[tuple[str, Callable[[Graph], Any], str]] = [
    ("empty", lambda g: g.image(height=0, width=0, data=b""), "empty"),
    ("without its bytes", lambda g: g.image(data=b""), "cut short"),
    ("of an unknown encoding", lambda g: g.image(encoding="32FC1"), "32FC1"),
    ("with less bytes than it says", lambda g: g.image(encoding="rgba8", step=0), "cut short"),
    ("of another aspect", lambda g: g.image(rgb=g.picture(256, 256)), "crop the image"),
]


@pytest.mark.parametrize(
    ("message", "text"), [(m, t) for _, m, t in BAD_IMAGES], ids=[name for name, _, _ in BAD_IMAGES]
)
def test_an_image_that_is_none_is_refused(graph: Graph, message: Callable[[Graph], Any], text: str) -> None:
    graph.drive()
    expect_rejection(graph, "bad_images", text, lambda: graph.show(message(graph)))
    expect_pose(graph)


def test_an_image_that_is_not_newer_than_the_last_is_refused(graph: Graph) -> None:
    before = graph.count("duplicate_images")
    graph.show()
    graph.wait(lambda: graph.count("duplicate_images") > before, "the image that came twice to be counted")
    early = graph.image()
    early.header.stamp = graph.stamp(graph.t_ns - NS)
    expect_rejection(graph, "images_out_of_order", "behind the last", lambda: graph.show(early))
    expect_pose(graph)


def test_an_image_of_another_clock_is_refused_and_does_not_block_those_of_the_right_one(graph: Graph) -> None:
    graph.drive()
    future = graph.image()
    future.header.stamp = graph.stamp(graph.t_ns + 3600 * NS)
    expect_rejection(graph, "no_prior", "newer than the newest odometry", lambda: graph.show(future))
    unstamped = graph.image()
    unstamped.header.stamp = graph.stamp(0)
    expect_rejection(graph, "images_out_of_order", "no stamp", lambda: graph.show(unstamped))
    expect_pose(graph)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x": math.nan}, "not finite"),
        ({"qw": 0.0}, "zero quaternion"),
        ({"qz": math.nan}, "not finite"),
        ({"qw": 3.0}, "length 3"),
    ],
)
def test_odometry_that_is_no_pose_is_refused(graph: Graph, changes: dict[str, float], text: str) -> None:
    graph.t_ns += NS // 50
    expect_rejection(graph, "bad_odometry", text, lambda: graph.publishers["odom"].publish(graph.odometry(**changes)))
    expect_pose(graph)


def test_when_odometrys_clock_jumps_back_the_node_waits_for_a_new_start_pose(graph: Graph) -> None:
    graph.t_ns -= 20 * NS
    graph.odometry_xy[0] += 5.0  # as a bag that begins again
    expect_rejection(graph, "bad_odometry", "jumped back", lambda: graph.publishers["odom"].publish(graph.odometry()))
    graph.drive()
    expect_rejection(graph, "no_prior", "no start pose since the odometry broke off (odometry's clock", graph.show)
    graph.start_at(5.0, 5.0)
    expect_pose(graph)


def test_an_initialpose_before_the_odometry_of_a_looped_bag_starts_its_next_pass(graph: Graph) -> None:
    graph.t_ns -= 20 * NS + NS // 200  # off the first pass's stamps, by which this file knows its answers
    graph.start_at(5.0, 5.0)
    graph.t_ns += NS // 10
    expect_rejection(graph, "bad_odometry", "jumped back", lambda: graph.publishers["odom"].publish(graph.odometry()))
    expect_pose(graph)


def test_a_start_pose_on_another_clock_is_named_and_does_not_block_a_right_one(graph: Graph) -> None:
    graph.t_ns += 3600 * NS
    graph.start_at(5.0, 5.0)
    graph.t_ns -= 3600 * NS
    graph.drive()
    expect_rejection(graph, "no_prior", "check use_sim_time", graph.show)
    graph.start_at(5.0, 5.0)
    expect_pose(graph)


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"frame_id": "odom"}, "frame 'odom'"), ({"std_m": math.nan}, "not finite"), ({"east_m": math.inf}, "not finite")],
)
def test_a_start_pose_that_is_none_is_refused_and_the_track_goes_on(
    graph: Graph, changes: dict[str, Any], text: str
) -> None:
    given = {"east_m": 0.0, "north_m": 0.0, "stamp": graph.stamp(), **changes}
    expect_rejection(graph, "bad_start_poses", text, lambda: graph.start_at(**given))
    expect_pose(graph)


def test_outside_the_map_there_is_no_pose(graph: Graph) -> None:
    graph.start_at(5000.0, 0.0)
    graph.drive()
    expect_rejection(graph, "outside_map", "outside the map", graph.show)
    graph.start_at(200_000.0, 0.0)
    graph.drive()
    expect_rejection(graph, "outside_map", "from the datum", graph.show)
    graph.start_at(0.0, 0.0)
    expect_pose(graph)


def test_a_back_end_that_fails_is_a_diagnostic(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("out of device memory")

    graph.drive()
    with monkeypatch.context() as patched:
        patched.setattr(graph.method.backend, "f_vis", fail)
        expect_rejection(graph, "backend_errors", "out of device memory", graph.show)
    expect_pose(graph)


@pytest.mark.parametrize("statement", ["UPDATE tiles SET tile_data = substr(tile_data, 1, 900)", "DELETE FROM tiles"])
def test_where_a_tile_is_damaged_or_missing_there_is_no_pose_and_the_rest_of_the_map_works(
    own: MakeGraph, tmp_path: Path, statement: str
) -> None:
    path = write_map(tmp_path / "half.mbtiles")
    damage_map(path, statement)
    graph = own(source=str(path))
    graph.drive()
    graph.start_at(250.0, 0.0)
    graph.drive()
    expect_rejection(graph, "tile_errors", "tile", graph.show)
    graph.start_at(-200.0, 0.0)
    expect_pose(graph)


def test_when_the_tile_server_goes_away_there_is_no_pose_until_it_is_back(own: MakeGraph, tiles: str) -> None:
    from geoflow_ros.tiles import TileServer, open_tile_source

    with TileServer(open_tile_source(tiles)) as server:
        graph, port = own(source=server.url), int(server.url.split(":")[2].split("/")[0])
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    expect_rejection(graph, "tile_errors", "", graph.show)
    with TileServer(open_tile_source(tiles), port=port):
        deadline = time.monotonic() + 20
        while not graph.received["pose"] and time.monotonic() < deadline:
            graph.drive(0.2)
            graph.show()
            time.sleep(0.2)
    assert graph.received["pose"]
