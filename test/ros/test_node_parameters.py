"""Parameters and services of the running node."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from fakes.node_checks import MakeGraph, call, expect_pose, set_parameter
from fakes.ros_graph import Graph


def test_disabled_the_node_ignores_images_until_it_is_enabled_again(graph: Graph) -> None:
    from std_srvs.srv import SetBool

    assert call(graph, SetBool, "/geoflow_localizer/enable", data=False).success
    graph.drive()
    poses = len(graph.received["pose"])
    graph.show()
    assert graph.diagnosed("disabled").level > b"\0"
    assert len(graph.received["pose"]) == poses
    assert call(graph, SetBool, "/geoflow_localizer/enable", data=True).success
    expect_pose(graph)


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
    localizer = graph.method
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
    from geoflow_ros.ros.parameter_table import SPECS

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
    own: MakeGraph, overrides: dict[str, Any], reason: str
) -> None:
    from geoflow_ros.errors import InputError

    with pytest.raises(InputError, match=reason):
        own(overrides, start=False)
