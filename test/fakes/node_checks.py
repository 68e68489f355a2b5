"""What tests of the node do again and again: expect a rejection or a pose, call a service, send a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes.ros_graph import NS, Graph

from geoflow_ros.stamps import stamp_ns

MakeGraph = Callable[..., Graph]
"""Makes a graph of its own: overrides of parameters, whether to start it, tile source."""

# The tests' clock runs as fast as messages do, not as the wall's: its distance from it says nothing about latency.
ANY_LATENCY = {"diagnostics.latency_warn_ms": 1e6, "diagnostics.latency_error_ms": 1e6}


def expect_rejection(graph: Graph, key: str, text: str, provoke: Callable[[], None]) -> None:
    """Something is counted under a key and said in the diagnostics, and no pose is published."""
    before, poses = graph.count(key), set(graph.stamps())
    provoke()
    graph.wait(lambda: graph.count(key) > before, f"{key} to be counted")
    status = graph.diagnosed(text)
    assert status.level > b"\0"
    ages_s = [(stamp - graph.t_ns) / NS for stamp in set(graph.stamps()) - poses]
    assert not ages_s, f"a pose was published from bad input; stamps relative to the vehicle's clock: {ages_s} s"


def expect_pose(graph: Graph) -> None:
    """The next good frame is localized: the node lives on."""
    graph.drive()
    graph.show()
    graph.localized()


def call(graph: Graph, kind: Any, name: str, **fields: Any) -> Any:
    """Calls a service and returns its answer."""
    client = graph.node.create_client(kind, name)
    assert client.wait_for_service(5.0)
    future = client.call_async(kind.Request(**fields))
    graph.wait(future.done, f"the answer of {name}")
    graph.node.destroy_client(client)
    return future.result()


def set_parameter(graph: Graph, name: str, value: Any) -> Any:
    """Asks for a change of a parameter and returns the node's answer."""
    from rclpy.parameter import Parameter

    return graph.localizer.set_parameters([Parameter(name, value=value)])[0]


def send_fix(graph: Graph, east_m: float, north_m: float, t_ns: int | None = None) -> None:
    """Sends a satellite fix, and waits until the node has taken it."""
    from sensor_msgs.msg import NavSatFix, NavSatStatus

    graph.wait(lambda: graph.publishers["gnss"].get_subscription_count(), "fix to be listened to")
    lat, lon = graph.datum.to_latlon(east_m, north_m)
    fix = NavSatFix(latitude=lat, longitude=lon)
    fix.header.stamp = graph.stamp(t_ns)
    fix.status.status = NavSatStatus.STATUS_FIX
    graph.publishers["gnss"].publish(fix)
    graph.wait(
        lambda: (
            graph.waiting_gnss_ns == stamp_ns(fix.header.stamp)
            or graph.tracker.started
            or graph.count("bad_start_poses")
        ),
        "fix to arrive",
    )


def send_heading(graph: Graph, yaw_rad: float, t_ns: int | None = None) -> None:
    """Sends an absolute heading, and waits until the node has taken it."""
    from sensor_msgs.msg import Imu

    from geoflow_ros.ros.messages import quaternion_message

    graph.wait(lambda: graph.publishers["imu"].get_subscription_count(), "imu to be listened to")
    imu = Imu(orientation=quaternion_message(yaw_rad))
    imu.header.stamp = graph.stamp(t_ns)
    before = graph.count("heading")
    graph.publishers["imu"].publish(imu)
    graph.wait(lambda: graph.count("heading") > before, "imu to arrive")


def replace_in_node(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]) -> None:
    """Replaces `open_tile_source` or `open_backend` where the node opens its map and its model."""
    from geoflow_ros.inference import opening as models
    from geoflow_ros.localization import opening as vehicles

    monkeypatch.setattr(models if name == "open_backend" else vehicles, name, function)
