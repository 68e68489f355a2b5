"""RViz and Foxglove show topics that there are, under the types that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
from fakes.ros_graph import Graph

CONFIG = Path(__file__).resolve().parents[2] / "config"
TYPE_OF_DISPLAY = {
    "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "Odometry": "nav_msgs/msg/Odometry",
    "PoseArray": "geometry_msgs/msg/PoseArray",
    "Image": "sensor_msgs/msg/CompressedImage",
}
OF_THE_FILTER = {"/odometry/global": "nav_msgs/msg/Odometry"}  # of geoflow_ekf.launch.py


def topics_of(graph: Graph) -> dict[str, str]:
    return {name: types[0] for name, types in graph.node.get_topic_names_and_types()} | OF_THE_FILTER


def test_rviz_shows_the_localizers_topics(shared: Graph) -> None:
    manager = yaml.safe_load((CONFIG / "geoflow.rviz").read_text(encoding="utf-8"))["Visualization Manager"]
    topics = topics_of(shared)
    shown = {d["Topic"]["Value"]: d["Class"].split("/")[1] for d in manager["Displays"] if "Topic" in d}
    assert len(shown) == 5
    assert all(topics[topic] == TYPE_OF_DISPLAY[display] for topic, display in shown.items())
    (start,) = [tool for tool in manager["Tools"] if tool["Class"].endswith("SetInitialPose")]
    assert start["Topic"]["Value"] in topics
    assert manager["Global Options"]["Fixed Frame"] == "map"


def test_foxgloves_layout_shows_the_localizers_topics(shared: Graph) -> None:
    layout = json.loads((CONFIG / "foxglove_layout.json").read_text(encoding="utf-8"))
    topics = topics_of(shared)
    named = {text.split(".")[0] for text in strings(layout["configById"]) if re.match(r"/[a-z_]+", text)}
    assert len(named) >= 8
    assert named <= topics.keys()
    # Every panel of the layout is configured, and nothing else is.
    assert {text for text in strings(layout["layout"]) if "!" in text} == layout["configById"].keys()


def strings(content: Any) -> list[str]:
    """Returns every string in a JSON value, keys among them."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, dict):
        return [text for key, value in content.items() for text in [key, *strings(value)]]
    return [text for value in content for text in strings(value)] if isinstance(content, list) else []
