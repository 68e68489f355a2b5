"""The executable `tile_publisher`, and a localizer that has its map from it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.node_checks import ANY_LATENCY, MakeGraph
from fakes.ros_graph import DATUM, ZOOM, Graph

from geoflow_ros.geo import tile_at
from geoflow_ros.ros.parameter_table import PUBLISHER_SPECS
from geoflow_ros.ros.tile_publisher import INPUTS, OUTPUTS, main
from geoflow_ros.tiles import open_tile_source

PATIENCE_S = 60.0
MakePublisher = Callable[..., Any]


@pytest.fixture
def publish(bundle: Path, tiles: str) -> Iterator[MakePublisher]:
    """Makes a tile publisher in a graph's domain, with an executor of its own."""
    ends: list[Callable[[], None]] = []

    def make(graph: Graph, **overrides: Any) -> Any:
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter

        from geoflow_ros.ros.tile_publisher_node import TilePublisherNode

        values = {"tiles.source": tiles, "model.path": str(bundle), "tiles.rate_hz": 500.0, **overrides}
        node = TilePublisherNode(
            context=graph.context, parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
        )
        executor = SingleThreadedExecutor(context=graph.context)
        executor.add_node(node)
        ended = threading.Event()

        def spin() -> None:
            while not ended.is_set():
                executor.spin_once(timeout_sec=0.05)

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()

        def end() -> None:
            ended.set()
            thread.join()
            executor.shutdown()
            node.destroy_node()

        ends.append(end)
        return node

    yield make
    for end in ends:
        end()


def listen(graph: Graph) -> list[Any]:
    """The tiles that somebody gets who comes now."""
    from sensor_msgs.msg import CompressedImage

    from geoflow_ros.ros.qos import TILES

    got: list[Any] = []
    graph.node.create_subscription(CompressedImage, "satellite/tiles", got.append, TILES)
    return got


def send_gnss(graph: Graph, east_m: float = 0.0, north_m: float = 0.0, status: int = 0) -> None:
    from sensor_msgs.msg import NavSatFix

    graph.wait(lambda: graph.publishers["gnss"].get_subscription_count(), "fix to be listened to")
    lat, lon = DATUM.to_latlon(east_m, north_m)
    fix = NavSatFix(latitude=lat, longitude=lon)
    fix.header.stamp = graph.stamp()
    fix.status.status = status
    graph.publishers["gnss"].publish(fix)


def settled(got: list[Any]) -> list[str]:
    """The addresses, once no more come."""
    deadline = time.monotonic() + PATIENCE_S
    count = -1
    while time.monotonic() < deadline and (not got or len(got) != count):
        count = len(got)
        time.sleep(1.0)
    return [message.header.frame_id for message in got]


def test_the_tiles_around_come_once_as_they_are_and_also_to_who_comes_later(
    own: MakeGraph, publish: MakePublisher, tiles: str
) -> None:
    graph = own(start=False)
    first = listen(graph)
    publish(graph, **{"tiles.radius_m": 100.0})
    send_gnss(graph)
    graph.wait(lambda: first, "a tile")
    addresses = settled(first)
    assert addresses[0] == "/".join(map(str, (ZOOM, *tile_at(DATUM.lat_deg, DATUM.lon_deg, ZOOM))))
    assert len(set(addresses)) == len(addresses)
    send_gnss(graph, 3.0)
    send_gnss(graph, 0.0)
    assert settled(first) == addresses
    later = listen(graph)
    graph.wait(lambda: len(later) == len(addresses), "the tiles for a latecomer")
    source = open_tile_source(tiles)
    for message in later:
        assert bytes(message.data) == source.read(*map(int, message.header.frame_id.split("/")))
        assert message.format == "png"
    source.close()


def test_it_follows_the_odometry_from_the_start_pose_on(own: MakeGraph, publish: MakePublisher) -> None:
    graph = own(start=False)
    got = listen(graph)
    publish(
        graph,
        **{"tiles.radius_m": 20.0, "datum.latitude_deg": DATUM.lat_deg, "datum.longitude_deg": DATUM.lon_deg},
    )
    for name in ("initialpose", "odom"):
        graph.wait(lambda name=name: graph.publishers[name].get_subscription_count(), f"{name} to be listened to")
    send_odometry(graph, 0.0)
    send_start(graph, math.pi / 2)
    graph.wait(lambda: got, "a tile")
    before = set(settled(got))
    send_odometry(graph, 280.0)  # forward in the odometry, which is north in the map
    there = (ZOOM, *tile_at(*DATUM.to_latlon(0.0, 280.0), ZOOM))
    graph.wait(lambda: "/".join(map(str, there)) in {m.header.frame_id for m in got}, "the tile 280 m north")
    assert "/".join(map(str, there)) not in before


def send_odometry(graph: Graph, x_m: float) -> None:
    graph.odometry_xy[0] = x_m
    graph.publishers["odom"].publish(graph.odometry())


def send_start(graph: Graph, yaw_rad: float) -> None:
    from geometry_msgs.msg import PoseWithCovarianceStamped

    from geoflow_ros.ros.messages import quaternion_message

    message = PoseWithCovarianceStamped()
    message.header.frame_id = "map"
    message.header.stamp = graph.stamp()
    message.pose.pose.orientation = quaternion_message(yaw_rad)
    graph.publishers["initialpose"].publish(message)


def test_a_localizer_with_the_topic_answers_as_one_with_the_file(
    own: MakeGraph, publish: MakePublisher, tiles: str
) -> None:
    def answer(graph: Graph) -> tuple[Any, ...]:
        graph.t_ns = 1_700_000_000_000_000_000
        graph.drive(0.2)
        graph.start_at(0.0, 0.0, math.pi / 2)
        graph.drive(0.2)
        graph.show(graph.image(rgb=graph.picture()))
        pose = graph.localized()
        position = pose.pose.pose.position
        return (position.x, position.y, *pose.pose.covariance)

    from_file = answer(own(ANY_LATENCY))
    graph = own(ANY_LATENCY, source="topic")
    publish(graph)
    send_gnss(graph)
    graph.wait(lambda: int(facts(graph)["topic_tiles"]) >= 7, "tiles to arrive")
    assert answer(graph) == from_file


def facts(graph: Graph) -> dict[str, str]:
    """What the localizer's diagnostics say of the topic."""
    return {item.key: item.value for item in graph.diagnosed("", "topic_tiles").values}


def test_bad_tiles_are_named_in_the_diagnostics(own: MakeGraph) -> None:
    from sensor_msgs.msg import CompressedImage

    from geoflow_ros.ros.qos import TILES

    graph = own(source="topic")
    publisher = graph.node.create_publisher(CompressedImage, "satellite/tiles", TILES)
    graph.wait(lambda: publisher.get_subscription_count(), "the tiles to be listened to")
    message = CompressedImage(format="png", data=b"\x89PNG no picture")
    message.header.frame_id = "map"
    publisher.publish(message)
    graph.wait(lambda: facts(graph)["topic_tiles_refused"] == "1", "the tile to be refused")
    assert "frame_id 'map' instead of z/x/y" in facts(graph)["topic_tiles_problem"]


def test_help_names_every_parameter_and_topic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*PUBLISHER_SPECS, *INPUTS, *OUTPUTS))


def test_without_a_source_or_with_a_bad_one_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--ros-args", "-p", "tiles.source:=''"]) == 2
    assert "tile_publisher: parameter tiles.source is empty" in capsys.readouterr().err
    assert main(["--ros-args", "-p", "tiles.source:=/nowhere/town.mbtiles"]) == 2
    assert "town.mbtiles" in capsys.readouterr().err.splitlines()[0]
    assert main(["town.mbtiles"]) == 2
    assert "tile_publisher --help" in capsys.readouterr().err
