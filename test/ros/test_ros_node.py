"""The localizer in a real ROS graph: poses for good input; for bad, a diagnostic, no pose, and a node that lives on."""

from __future__ import annotations

import math
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
pytest.importorskip("onnx", reason="needs onnx (the extra [test])")

from fakes.ros_graph import DATUM, GREY, GROUND_SHAPE, NS, ZOOM, Graph, damage_map, write_bundle, write_map

from geoflow_ros.geo import tile_at
from geoflow_ros.tiles import MBTilesSource, XyzSource

LEVER_X_M, LEVER_Y_M = 2.0, 0.5
# The tests' clock runs as fast as messages do, not as the wall's: its distance from it says nothing about latency.
ANY_LATENCY = {"diagnostics.latency_warn_ms": 1e6, "diagnostics.latency_error_ms": 1e6}
LEVER = {"camera.lever_arm.x_m": LEVER_X_M, "camera.lever_arm.y_m": LEVER_Y_M}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_map(tmp_path_factory.mktemp("tiles") / "noise.mbtiles"))


@pytest.fixture(scope="module")
def shared(bundle: Path, tiles: str) -> Iterator[Graph]:
    graph = Graph(bundle, tiles, {**LEVER, **ANY_LATENCY, "tiles.recentre_distance_m": 1.0})
    yield graph
    graph.close()


@pytest.fixture
def graph(shared: Graph) -> Graph:
    """The node with a fresh track at the map's centre, heading north, which has localized one frame."""
    shared.drive(0.2)
    shared.start_at(0.0, 0.0, math.pi / 2)
    shared.drive(0.2)
    shared.show()
    shared.localized()
    return shared


@pytest.fixture
def own(bundle: Path, tiles: str) -> Iterator[Callable[..., Graph]]:
    """Makes nodes with parameters of their own."""
    made: list[Graph] = []

    def make(overrides: dict[str, Any] | None = None, start: bool = True, source: str = tiles) -> Graph:
        made.append(Graph(bundle, source, {**ANY_LATENCY, **(overrides or {})}, start))
        return made[-1]

    yield make
    for graph in made:
        graph.close()


# ---- good input ------------------------------------------------------------------------------------------------------


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
    east, north = graph.localizer._datum.to_enu(fix.latitude, fix.longitude)
    assert (east, north) == pytest.approx((pose.pose.pose.position.x, pose.pose.pose.position.y), abs=1e-3)


def test_a_picture_that_says_further_ahead_moves_the_pose_ahead_and_the_track_with_it(graph: Graph) -> None:
    graph.drive(1.0, speed_mps=10.0)  # far enough for a patch with the track in its centre
    expected = graph.localizer._tracker.predict(graph.t_ns).north_m
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
    kept = graph.localizer._model.patches._kept
    for _ in range(2):
        graph.drive(0.5, speed_mps=0.2)
        graph.show()
        graph.localized()
        assert graph.localizer._model.patches._kept is kept
    graph.drive(1.0, speed_mps=20.0)
    graph.show()
    graph.localized()
    assert graph.localizer._model.patches._kept is not kept


def test_diagnostics_tell_rates_latencies_and_limits(graph: Graph) -> None:
    status = graph.diagnosed("")
    values = {item.key: item.value for item in status.values}
    for key in ("pose_hz", "latency_ms_p95", "ground_ms_p50", "patch_ms_p95", "dropped_frames", "gate_rejections"):
        float(values[key])
    for key in ("tile_errors", "position_std_m", "pose_age_s", "last_silence", "tf_sender", "pose_age_s.error"):
        assert values[key]


def test_another_image_size_of_the_same_aspect_is_as_good(graph: Graph) -> None:
    graph.drive()
    graph.show(graph.image(rgb=graph.picture(2 * GROUND_SHAPE[0], 2 * GROUND_SHAPE[1])))
    graph.localized()


# ---- bad input: each is counted under its key, said, and followed by a good frame ------------------------------------


def expect_silence(graph: Graph, key: str, text: str, provoke: Callable[[], None]) -> None:
    before, poses = graph.count(key), set(graph.stamps())
    provoke()
    graph.wait(lambda: graph.count(key) > before, f"{key} to be counted")
    status = graph.diagnosed(text)
    assert status.level > b"\0"
    ages_s = [(stamp - graph.t_ns) / NS for stamp in set(graph.stamps()) - poses]
    assert not ages_s, f"a pose was published from bad input; stamps relative to the vehicle's clock: {ages_s} s"


def expect_life(graph: Graph) -> None:
    graph.drive()
    graph.show()
    graph.localized()


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
    expect_silence(graph, "bad_images", text, lambda: graph.show(message(graph)))
    expect_life(graph)


def test_an_image_that_is_not_newer_than_the_last_is_refused(graph: Graph) -> None:
    expect_silence(graph, "images_out_of_order", "not newer", graph.show)
    early = graph.image()
    early.header.stamp = graph.stamp(graph.t_ns - NS)
    expect_silence(graph, "images_out_of_order", "behind the last", lambda: graph.show(early))
    expect_life(graph)


def test_an_image_of_another_clock_is_refused_and_does_not_block_those_of_the_right_one(graph: Graph) -> None:
    graph.drive()
    future = graph.image()
    future.header.stamp = graph.stamp(graph.t_ns + 3600 * NS)
    expect_silence(graph, "no_prior", "newer than the newest odometry", lambda: graph.show(future))
    unstamped = graph.image()
    unstamped.header.stamp = graph.stamp(0)
    expect_silence(graph, "images_out_of_order", "no stamp", lambda: graph.show(unstamped))
    expect_life(graph)


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
    expect_silence(graph, "bad_odometry", text, lambda: graph.publishers["odom"].publish(graph.odometry(**changes)))
    expect_life(graph)


def test_when_odometrys_clock_jumps_back_the_node_waits_for_a_new_start_pose(graph: Graph) -> None:
    graph.t_ns -= 20 * NS
    expect_silence(graph, "bad_odometry", "jumped back", lambda: graph.publishers["odom"].publish(graph.odometry()))
    graph.drive()
    expect_silence(graph, "no_prior", "no start pose", graph.show)
    graph.start_at(5.0, 5.0)
    expect_life(graph)


def test_an_initialpose_before_the_odometry_of_a_looped_bag_starts_its_next_pass(graph: Graph) -> None:
    graph.t_ns -= 20 * NS + NS // 200  # off the first pass's stamps, by which this file knows its answers
    graph.start_at(5.0, 5.0)
    graph.t_ns += NS // 10
    expect_silence(graph, "bad_odometry", "jumped back", lambda: graph.publishers["odom"].publish(graph.odometry()))
    expect_life(graph)


def test_a_start_pose_on_another_clock_is_named_and_does_not_block_a_right_one(graph: Graph) -> None:
    graph.t_ns += 3600 * NS
    graph.start_at(5.0, 5.0)
    graph.t_ns -= 3600 * NS
    graph.drive()
    expect_silence(graph, "no_prior", "check use_sim_time", graph.show)
    graph.start_at(5.0, 5.0)
    expect_life(graph)


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"frame_id": "odom"}, "frame 'odom'"), ({"std_m": math.nan}, "not finite"), ({"east_m": math.inf}, "not finite")],
)
def test_a_start_pose_that_is_none_is_refused_and_the_track_goes_on(
    graph: Graph, changes: dict[str, Any], text: str
) -> None:
    given = {"east_m": 0.0, "north_m": 0.0, "stamp": graph.stamp(), **changes}
    expect_silence(graph, "bad_start_poses", text, lambda: graph.start_at(**given))
    expect_life(graph)


def test_outside_the_map_there_is_no_pose(graph: Graph) -> None:
    graph.start_at(5000.0, 0.0)
    graph.drive()
    expect_silence(graph, "outside_map", "outside the map", graph.show)
    graph.start_at(200_000.0, 0.0)
    graph.drive()
    expect_silence(graph, "outside_map", "from the datum", graph.show)
    graph.start_at(0.0, 0.0)
    expect_life(graph)


def test_an_uncertain_prior_is_not_searched_around(graph: Graph) -> None:
    graph.start_at(0.0, 0.0, std_m=60.0)
    graph.drive()
    expect_silence(graph, "prior_too_uncertain", "give an initialpose", graph.show)
    graph.start_at(0.0, 0.0)
    expect_life(graph)


def test_an_uncertain_heading_is_not_searched_along(graph: Graph) -> None:
    def start(yaw_std_deg: float) -> None:
        message = PoseWithCovarianceStamped()
        message.header.stamp, message.header.frame_id = graph.stamp(), "map"
        message.pose.pose.orientation.w = 1.0
        message.pose.covariance[35] = math.radians(yaw_std_deg) ** 2
        before = graph.localizer._tracker.counts.starts
        graph.publishers["initialpose"].publish(message)
        graph.wait(lambda: graph.localizer._tracker.counts.starts > before, "initialpose to arrive")

    from geometry_msgs.msg import PoseWithCovarianceStamped

    start(25.0)
    graph.drive()
    expect_silence(graph, "prior_too_uncertain", "prior.max_yaw_std_deg 20", graph.show)
    start(15.0)  # what RViz's tool says
    expect_life(graph)


def test_an_answer_that_contradicts_the_track_is_gated(graph: Graph) -> None:
    for _ in range(3):
        graph.drive(1.0, speed_mps=5.0)
        graph.show()
        graph.localized()
    graph.drive()
    red = GREY + 68  # 16 m ahead
    expect_silence(
        graph, "gate_rejections", "contradicts the track", lambda: graph.show(graph.image(rgb=graph.picture(red=red)))
    )
    assert graph.localized("track").pose.pose.position.y == pytest.approx(graph.north_m, abs=1.0)
    expect_life(graph)


def test_when_rejected_fixes_agree_over_some_distance_the_track_follows_them(graph: Graph) -> None:
    for _ in range(3):
        graph.drive(1.0, speed_mps=5.0)
        graph.show()
        graph.localized()
    moves = graph.localizer._tracker.counts.relocalizations
    for _ in range(12):
        graph.drive(0.5, speed_mps=5.0)
        graph.show(graph.image(rgb=graph.picture(red=GREY + 68)))
        graph.localized("track")
        if graph.localizer._tracker.counts.relocalizations > moves:
            break
    assert graph.localizer._tracker.counts.relocalizations == moves + 1
    assert graph.localized("track").pose.pose.position.y > graph.north_m + 8.0


def test_an_answer_that_knows_nothing_is_not_published(graph: Graph) -> None:
    graph.drive()
    blurred = graph.image(rgb=graph.picture(blue=50))
    expect_silence(graph, "uninformative_fixes", "says nothing", lambda: graph.show(blurred))
    expect_life(graph)


def test_an_answer_outside_the_search_area_is_not_published(graph: Graph) -> None:
    graph.drive()
    expect_silence(
        graph, "untrusted_fixes", "outside the search", lambda: graph.show(graph.image(rgb=graph.picture(red=255)))
    )
    expect_life(graph)


def test_a_back_end_that_fails_is_a_diagnostic(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("out of device memory")

    graph.drive()
    with monkeypatch.context() as patched:
        patched.setattr(graph.localizer._model.localizer.backend, "f_vis", fail)
        expect_silence(graph, "backend_errors", "out of device memory", graph.show)
    expect_life(graph)


# ---- services, parameters, lifecycle ---------------------------------------------------------------------------------


def call(graph: Graph, kind: Any, name: str, **fields: Any) -> Any:
    client = graph.node.create_client(kind, name)
    assert client.wait_for_service(5.0)
    future = client.call_async(kind.Request(**fields))
    graph.wait(future.done, f"the answer of {name}")
    graph.node.destroy_client(client)
    return future.result()


def test_disabled_the_node_ignores_images_until_it_is_enabled_again(graph: Graph) -> None:
    from std_srvs.srv import SetBool

    assert call(graph, SetBool, "/geoflow_localizer/enable", data=False).success
    graph.drive()
    poses = len(graph.received["pose"])
    graph.show()
    assert graph.diagnosed("disabled").level > b"\0"
    assert len(graph.received["pose"]) == poses
    assert call(graph, SetBool, "/geoflow_localizer/enable", data=True).success
    expect_life(graph)


def test_relocalize_widens_the_track(graph: Graph) -> None:
    from std_srvs.srv import Trigger

    assert graph.localized("track").pose.covariance[0] < 60
    for _ in range(4):  # a person who sees no effect calls it again
        answer = call(graph, Trigger, "/geoflow_localizer/relocalize")
        assert answer.success
        assert "8 m" in answer.message
    graph.drive(0.1)
    assert graph.localizer._tracker.predict(graph.t_ns).covariance[0, 0] == pytest.approx(64.0, abs=1.0)
    expect_life(graph)


def set_parameter(graph: Graph, name: str, value: Any) -> Any:
    from rclpy.parameter import Parameter

    return graph.localizer.set_parameters([Parameter(name, value=value)])[0]


def test_hypotheses_and_gate_change_while_running_and_bad_values_are_refused(graph: Graph) -> None:
    assert set_parameter(graph, "irs.hypotheses", 40).successful
    graph.drive()
    graph.show()
    assert len(graph.localized("hypotheses").poses) == 40
    for name, value in (
        ("irs.hypotheses", -1),
        ("gate.probability", 1.5),
        ("irs.iterations", 10**6),
        ("irs.step", "much"),
    ):
        answer = set_parameter(graph, name, value)
        assert not answer.successful
        assert answer.reason
    read_only = set_parameter(graph, "model.path", "elsewhere")
    assert not read_only.successful
    assert "read-only" in read_only.reason
    assert set_parameter(graph, "irs.hypotheses", 0).successful


def test_more_hypotheses_than_the_back_end_takes_are_refused(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    localizer = graph.localizer._model.localizer
    monkeypatch.setattr(type(localizer.backend), "max_hypotheses", 20)
    before = localizer.settings
    answer = set_parameter(graph, "irs.hypotheses", 21)
    assert not answer.successful
    assert "at most 20 with onnxruntime" in answer.reason
    assert localizer.settings == before
    assert graph.parameter("irs.hypotheses") == 0
    assert set_parameter(graph, "irs.hypotheses", 20).successful
    assert set_parameter(graph, "irs.hypotheses", 0).successful


def test_every_parameter_is_described_and_limited(graph: Graph) -> None:
    from geoflow_ros.ros.parameters import SPECS

    for name, spec in SPECS.items():
        descriptor = graph.localizer.describe_parameter(name)
        assert descriptor.description == spec.description
        assert descriptor.read_only is not spec.dynamic


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"gate.probability": 2.0}, "gate.probability"),
        ({"image_transport": "telepathy"}, "raw, compressed"),
        ({"irs.hypotheses": "ten"}, "irs.hypotheses"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused_at_the_start(
    own: Any, overrides: dict[str, Any], reason: str
) -> None:
    from geoflow_ros.errors import InputError

    with pytest.raises(InputError, match=reason):
        own(overrides, start=False)


def test_the_lifecycle_can_be_walked_and_only_the_active_node_listens_to_the_camera(own: Any) -> None:
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
        graph.wait(graph._connected, "the camera to be listened to")
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
    own: Any, tiles: str, overrides: dict[str, Any], source: str | None, reason: str
) -> None:
    graph = own(overrides, start=False, source=tiles if source is None else source)
    graph.localizer.start()
    status = graph.diagnosed(reason)
    assert status.level == b"\2"
    assert {item.key: item.value for item in status.values}["state"] == "unconfigured"


def test_an_engine_without_a_gpu_is_a_diagnostic(own: Any) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has NVIDIA's driver")
    graph = own({"model.backend": "tensorrt"}, start=False)
    graph.localizer.start()
    assert graph.diagnosed("no CUDA driver").level == b"\2"


def test_where_tf2_is_installed_the_transform_from_map_to_odometry_is_sent(
    own: Any, monkeypatch: pytest.MonkeyPatch
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


def test_while_tiles_are_missing_no_model_is_loaded(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoflow_ros.ros import localizer_node

    opened: list[str] = []
    monkeypatch.setattr(localizer_node, "open_backend", lambda *arguments: opened.append("model"))
    for overrides, source in (({}, ""), ({}, "/nowhere.mbtiles"), ({"datum.longitude_deg": math.nan}, None)):
        graph = own(overrides, start=False, **({} if source is None else {"source": source}))
        graph.localizer.start()
        assert graph.localizer._problem
        assert not opened


def test_without_a_model_the_tiles_are_let_go(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoflow_ros.errors import TileSourceUnavailableError
    from geoflow_ros.ros import localizer_node

    sources: list[Any] = []

    def open_source(spec: str) -> Any:
        sources.append(MBTilesSource(spec))
        return sources[-1]

    def fail(*arguments: object) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(localizer_node, "open_tile_source", open_source)
    monkeypatch.setattr(localizer_node, "open_backend", fail)
    graph = own(start=False)
    graph.localizer.start()
    assert "no such device" in graph.localizer._problem
    with pytest.raises(TileSourceUnavailableError, match="closed"):
        sources[0].read(ZOOM, *tile_at(DATUM.lat_deg, DATUM.lon_deg, ZOOM))


def test_a_shutdown_ends_the_attempts_to_start(own: Any) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn

    graph = own({"autostart": True}, start=False, source="/nowhere.mbtiles")
    graph.diagnosed("nowhere")
    assert not graph.localizer._autostart.is_canceled()
    assert graph.localizer.trigger_shutdown() == TransitionCallbackReturn.SUCCESS
    assert graph.localizer._autostart.is_canceled()
    graph.localizer.start()  # as a timer that was due already would
    assert graph.localizer._model is None


# ---- other ways in ---------------------------------------------------------------------------------------------------


def test_compressed_images_are_localized_and_garbage_is_refused(own: Any) -> None:
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
    expect_silence(graph, "bad_images", "cannot be decoded", lambda: graph.show(garbage))
    graph.drive()
    graph.show(compressed_from_rgb(graph.picture(), graph.stamp(), "camera", 95))
    graph.localized()


def send_fix(graph: Graph, east_m: float, north_m: float, t_ns: int | None = None) -> None:
    from sensor_msgs.msg import NavSatFix, NavSatStatus

    graph.wait(lambda: graph.publishers["gnss"].get_subscription_count(), "fix to be listened to")
    lat, lon = graph.localizer._datum.to_latlon(east_m, north_m)
    fix = NavSatFix(latitude=lat, longitude=lon)
    fix.header.stamp = graph.stamp(t_ns)
    fix.status.status = NavSatStatus.STATUS_FIX
    graph.publishers["gnss"].publish(fix)
    graph.wait(
        lambda: graph.localizer._last_gnss == fix or graph.localizer._tracker.started or graph.count("bad_start_poses"),
        "fix to arrive",
    )


def send_heading(graph: Graph, yaw_rad: float, t_ns: int | None = None) -> None:
    from sensor_msgs.msg import Imu

    from geoflow_ros.ros.messages import quaternion_of_yaw

    graph.wait(lambda: graph.publishers["imu"].get_subscription_count(), "imu to be listened to")
    imu = Imu(orientation=quaternion_of_yaw(yaw_rad))
    imu.header.stamp = graph.stamp(t_ns)
    before = graph.count("heading")
    graph.publishers["imu"].publish(imu)
    graph.wait(lambda: graph.count("heading") > before, "imu to arrive")


def test_an_old_satellite_fix_does_not_start_the_track(own: Any) -> None:
    graph = own()
    send_fix(graph, 20.0, -10.0)
    graph.t_ns += 90 * NS
    graph.drive()
    send_heading(graph, 1.0)
    assert "90.5 s apart" in graph.diagnosed("fix and imu are").message
    assert not graph.localizer._tracker.started
    send_fix(graph, 30.0, -10.0)
    graph.wait(lambda: graph.localizer._tracker.started, "the start")
    expect_life(graph)


def test_a_satellite_fix_from_before_odometry_began_again_does_not_start_the_track(own: Any) -> None:
    graph = own()
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    graph.show()
    graph.localized()
    send_fix(graph, 20.0, -10.0)
    graph.wait(lambda: graph.localizer._last_gnss is not None, "fix to arrive")
    graph.odometry_xy[0] += 1000.0
    graph.drive(0.1)
    send_heading(graph, 1.0)
    graph.drive(0.1)
    assert not graph.localizer._tracker.started


def test_a_satellite_fix_of_the_last_pass_of_a_bag_does_not_block_the_next(own: Any) -> None:
    graph = own()
    send_fix(graph, 20.0, -10.0, graph.t_ns + 60 * NS)
    send_heading(graph, 1.0, graph.t_ns + 60 * NS)
    graph.wait(lambda: graph.localizer._tracker.started, "a start that waits for odometry")
    graph.drive()
    assert not graph.localizer._tracker.started
    send_heading(graph, 1.0)
    send_fix(graph, 20.0, -10.0)
    graph.wait(lambda: graph.localizer._tracker.started, "the start")
    expect_life(graph)


def test_a_satellite_fix_and_an_absolute_heading_start_the_track(own: Any) -> None:
    graph = own()
    graph.drive()
    send_fix(graph, 20.0, -10.0)
    send_heading(graph, 1.0)
    graph.wait(lambda: graph.localizer._tracker.started, "the start")
    graph.drive()
    graph.show()
    pose = graph.localized().pose.pose
    assert (pose.position.x, pose.position.y) == pytest.approx((20.0, -10.0), abs=2.0)
    assert 2 * math.atan2(pose.orientation.z, pose.orientation.w) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("statement", ["UPDATE tiles SET tile_data = substr(tile_data, 1, 900)", "DELETE FROM tiles"])
def test_where_a_tile_is_damaged_or_missing_there_is_no_pose_and_the_rest_of_the_map_works(
    own: Any, tmp_path: Path, statement: str
) -> None:
    path = write_map(tmp_path / "half.mbtiles")
    damage_map(path, statement)
    graph = own(source=str(path))
    graph.drive()
    graph.start_at(250.0, 0.0)
    graph.drive()
    expect_silence(graph, "tile_errors", "tile", graph.show)
    graph.start_at(-200.0, 0.0)
    expect_life(graph)


def test_when_the_tile_server_goes_away_there_is_no_pose_until_it_is_back(own: Any, tiles: str) -> None:
    from geoflow_ros.tiles import TileServer, open_tile_source

    with TileServer(open_tile_source(tiles)) as server:
        graph, port = own(source=server.url), int(server.url.split(":")[2].split("/")[0])
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    expect_silence(graph, "tile_errors", "", graph.show)
    with TileServer(open_tile_source(tiles), port=port):
        deadline = time.monotonic() + 20
        while not graph.received["pose"] and time.monotonic() < deadline:
            graph.drive(0.2)
            graph.show()
            time.sleep(0.2)
    assert graph.received["pose"]


class SilentServer:
    """Accepts every connection and never answers; counts the requests."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/{{z}}/{{x}}/{{y}}.png"
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def requests(self) -> int:
        return len(self._connections)

    def _accept(self) -> None:
        while True:
            try:
                self._connections.append(self._listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread; close alone does not
        self._listener.close()
        self._thread.join()
        for connection in self._connections:
            connection.close()


@pytest.fixture
def silent_server() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.close()


def wait_for_tiles(graph: Graph, server: SilentServer) -> None:
    """Let the worker wait for the tiles of a frame."""
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    graph.show()
    graph.wait(lambda: server.requests, "the server to be asked")


def test_a_tile_server_that_does_not_answer_is_waited_for_once_when_deactivated(
    own: Any, silent_server: SilentServer
) -> None:
    graph = own(source=silent_server.url)
    wait_for_tiles(graph, silent_server)
    begin = time.monotonic()
    graph.localizer.trigger_deactivate()
    # One time-out is 5 s; the attempts for one tile, one after the other, would be 15 s.
    assert time.monotonic() - begin < 12.0
    assert graph.count("tile_errors") == 1


@pytest.mark.parametrize("end", ["shutdown", "destroy"])
def test_a_tile_server_that_does_not_answer_does_not_hold_the_end_up(
    own: Any, silent_server: SilentServer, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    from geoflow_ros.ros import localizer_node

    # So patient that whoever waits for an answer is told from who does not, however busy this machine is.
    monkeypatch.setattr(localizer_node, "open_tile_source", lambda spec: XyzSource(spec, timeout_s=120.0))
    graph = own(source=silent_server.url)
    wait_for_tiles(graph, silent_server)
    begin = time.monotonic()
    if end == "shutdown":
        graph.localizer.trigger_shutdown()
    else:
        graph.close()
    assert time.monotonic() - begin < 60.0


def test_the_newest_frame_wins_while_the_model_is_busy(own: Any) -> None:
    graph = own()
    graph.drive()
    graph.start_at(0.0, 0.0)
    backend = graph.localizer._model.localizer.backend
    quick = backend.f_vis

    def slow(*arguments: Any) -> Any:
        time.sleep(0.4)
        return quick(*arguments)

    backend.f_vis = slow
    for shown in range(5):
        graph.drive(0.1)
        graph.show()
        graph.wait(lambda shown=shown: graph.count("image") > shown, "the image to arrive")
    graph.localized()  # the last one shown
    assert 1 <= len(graph.received["pose"]) <= 3
    assert graph.count("dropped_frames") >= 2


def test_the_debug_image_is_drawn_only_for_those_who_look(own: Any) -> None:
    from sensor_msgs.msg import CompressedImage

    graph = own()
    seen: list[Any] = []
    graph.drive()
    graph.start_at(0.0, 0.0)
    graph.drive()
    output = graph.localizer._debug_output
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
    from geoflow_ros.ros.images import rgb_from_compressed

    assert rgb_from_compressed(seen[0]).shape[2] == 3
