"""The node's states: configuring and what prevents it, working, and ending without being held up."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, call, replace_in_node
from fakes.ros_graph import DATUM, ZOOM, Graph
from fakes.unresponsive_server import UnresponsiveServer

from geoflow_ros.geo import tile_at
from geoflow_ros.tiles import HttpSettings, MBTilesSource, XyzSource, open_tile_source


def test_the_lifecycle_can_be_walked_and_only_the_active_node_listens_to_the_camera(own: MakeGraph) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    graph = own(start=False)

    def change(transition: int) -> bool:
        request = Transition(id=transition)
        return bool(call(graph, ChangeState, "/geoflow_localizer/change_state", transition=request).success)

    def state() -> str:
        return str(call(graph, GetState, "/geoflow_localizer/get_state").current_state.label)

    listeners = graph.publishers["image"].get_subscription_count
    assert state() == "unconfigured"
    for _ in range(2):
        assert change(Transition.TRANSITION_CONFIGURE)
        assert state() == "inactive"
        graph.wait(lambda: graph.publishers["odom"].get_subscription_count(), "odometry to be listened to")
        assert listeners() == 0
        assert change(Transition.TRANSITION_ACTIVATE)
        assert state() == "active"
        graph.wait(graph.connected, "the camera to be listened to")
        graph.drive()
        graph.start_at(0.0, 0.0)
        graph.drive()
        graph.show()
        graph.localized()
        assert change(Transition.TRANSITION_DEACTIVATE)
        assert state() == "inactive"
        graph.wait(lambda: listeners() == 0, "the camera to be left alone")
        assert change(Transition.TRANSITION_CLEANUP)
        assert state() == "unconfigured"
    assert change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert state() == "finalized"


@pytest.mark.parametrize(
    ("overrides", "source", "reason"),
    [
        ({"model.path": "/nowhere"}, None, "nowhere"),
        ({}, "", "tiles.source is empty"),
        ({}, "/nowhere.mbtiles", "nowhere"),
        ({"tiles.zoom": 3}, None, "zoom"),
        ({"datum.longitude_deg": math.nan}, None, "both datum"),
        ({"datum.latitude_deg": 95.0}, None, "latitude"),
        ({"model.providers": ["NoSuchProvider"]}, None, "NoSuchProvider"),
        ({"model.backend": "openvino", "model.precision": "bf16"}, None, "geoflow evaluate precision"),
    ],
)
def test_a_node_that_cannot_be_configured_says_why_and_lives_on(
    own: MakeGraph, tiles: str, overrides: dict[str, Any], source: str | None, reason: str
) -> None:
    graph = own(overrides, start=False, source=tiles if source is None else source)
    graph.localizer.start()
    status = graph.diagnosed(reason)
    assert status.level == b"\2"
    assert {item.key: item.value for item in status.values}["state"] == "unconfigured"


def test_an_engine_without_a_gpu_is_a_diagnostic(own: MakeGraph) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has NVIDIA's driver")
    graph = own({"model.backend": "tensorrt"}, start=False)
    graph.localizer.start()
    assert graph.diagnosed("no CUDA driver").level == b"\2"


def test_while_tiles_are_missing_no_model_is_loaded(own: MakeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    replace_in_node(monkeypatch, "open_backend", lambda *arguments: opened.append("model"))
    for overrides, source in (({}, ""), ({}, "/nowhere.mbtiles"), ({"datum.longitude_deg": math.nan}, None)):
        graph = own(overrides, start=False, **({} if source is None else {"source": source}))
        graph.localizer.start()
        assert graph.problem
        assert not opened


def test_without_a_model_the_tiles_are_let_go(own: MakeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoflow_ros.errors import TileSourceUnavailableError

    sources: list[Any] = []

    def open_source(spec: str, cache: Any) -> Any:
        sources.append(MBTilesSource(spec))
        return sources[-1]

    def fail(*arguments: object) -> None:
        raise RuntimeError("no such device")

    replace_in_node(monkeypatch, "open_tile_source", open_source)
    replace_in_node(monkeypatch, "open_backend", fail)
    graph = own(start=False)
    graph.localizer.start()
    assert "no such device" in graph.problem
    with pytest.raises(TileSourceUnavailableError, match="closed"):
        sources[0].read(ZOOM, *tile_at(DATUM.lat_deg, DATUM.lon_deg, ZOOM))


def test_a_shutdown_ends_the_attempts_to_start(own: MakeGraph) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn

    graph = own({"autostart": True}, start=False, source="/nowhere.mbtiles")
    graph.diagnosed("nowhere")
    attempts = graph.localizer._autostart
    assert attempts is not None
    assert not attempts.is_canceled()
    assert graph.localizer.trigger_shutdown() == TransitionCallbackReturn.SUCCESS
    assert attempts.is_canceled()
    graph.localizer.start()  # as a timer that was due already would
    assert not graph.loaded


@pytest.fixture
def unresponsive() -> Iterator[UnresponsiveServer]:
    server = UnresponsiveServer()
    yield server
    server.close()


def wait_for_tiles(graph: Graph, server: UnresponsiveServer) -> None:
    """Lets the worker wait for the tiles of a frame."""
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    graph.show()
    graph.wait(lambda: server.requests, "the server to be asked")


def test_a_tile_server_that_does_not_answer_is_waited_for_once_when_deactivated(
    own: MakeGraph, unresponsive: UnresponsiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = HttpSettings(timeout_s=1.0)
    replace_in_node(monkeypatch, "open_tile_source", lambda spec, cache: XyzSource(spec, http=http))
    graph = own(source=unresponsive.url)
    wait_for_tiles(graph, unresponsive)
    graph.localizer.trigger_deactivate()
    assert graph.count("tile_errors") == 1
    assert len(unresponsive.requests) == len(set(unresponsive.requests)), "a tile was asked for again"


@pytest.mark.parametrize("end", ["shutdown", "destroy"])
def test_a_tile_server_that_does_not_answer_does_not_hold_the_end_up(
    own: MakeGraph, unresponsive: UnresponsiveServer, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    # So long that waiting for an answer is told from not waiting, however busy this machine is.
    http = HttpSettings(timeout_s=120.0)
    replace_in_node(monkeypatch, "open_tile_source", lambda spec, cache: XyzSource(spec, http=http))
    graph = own(source=unresponsive.url)
    wait_for_tiles(graph, unresponsive)
    ending = threading.Thread(target=graph.localizer.trigger_shutdown if end == "shutdown" else graph.close)
    ending.start()
    ending.join(60.0)
    assert not ending.is_alive(), "the node waits for an answer"


def test_a_node_that_has_ended_leaves_no_thread(own: MakeGraph) -> None:
    before = {*threading.enumerate()}
    graph = own()
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    graph.show()
    graph.localized()
    graph.close()
    graph.wait(lambda: {*threading.enumerate()} <= before, "its threads to end")


def test_a_silent_server_is_asked_once_for_what_it_has_when_the_node_is_configured(
    own: MakeGraph, unresponsive: UnresponsiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = HttpSettings(timeout_s=1.0)
    replace_in_node(monkeypatch, "open_tile_source", lambda spec, cache: open_tile_source(spec, http, cache))
    graph = own(start=False, source=unresponsive.url.partition("{")[0])
    graph.localizer.start()
    assert "does not answer in time" in graph.problem
    assert len(unresponsive.requests) == 1
