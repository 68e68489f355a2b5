"""A recorded drive once more: the bag's sensors, the localizer on the bag's clock, and a viewer.

    ros2 launch geoflow_ros replay.launch.py bag:=drive tiles:=town.mbtiles image:=/camera/image_raw odom:=/odometry

The arguments to change, and nothing else: `bag`, those of geoflow.launch.py, and `viewer` (rviz, foxglove or none; in
Foxglove, import config/foxglove_layout.json). Of the bag, the localizer's inputs are played, and neither what a
localizer said when it was recorded nor, with `bag_tf:=false`, TF. The bag begins when the localizer is ready; with
`viewer:=none` everything ends with it.

map → odom has one sender: the localizer. Where the bag's /tf holds map → odom, say `bag_tf:=false` (then there is no
odom → base_link either) or `broadcast_tf:=false`.
"""

import sys
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

HERE = Path(__file__).resolve().parent
RVIZ = HERE.parent / "config" / "geoflow.rviz"

VIEWERS = ("rviz", "foxglove", "none")
# What is played under its own name, and what may be remapped by geoflow.launch.py's arguments.
ALWAYS, INPUTS = ("/tf_static", "/ground_truth/odom"), ("camera_info", "odom", "imu", "fix", "initialpose")
READY_S = 60  # how long the bag waits for the localizer; a bad configuration should not hide behind it


def player_and_viewer(context: LaunchContext) -> list[object]:
    """The bag, from when the localizer is ready, and what shows it."""
    names = ("bag", "rate", "viewer", "bag_tf", "namespace", "image", *INPUTS)
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    if given["viewer"] not in VIEWERS:
        raise ValueError(f"viewer is one of {', '.join(VIEWERS)}, not {given['viewer']}")
    player = ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", given["bag"], "--clock", "100", "--rate", given["rate"]),
            *("--topics", *played(given)),
        ],
        name="bag",
        output="screen",
    )
    localizer = "/".join(["", *given["namespace"].strip("/").split("/"), "geoflow_localizer"]).replace("//", "/")
    ready = ExecuteProcess(
        cmd=[sys.executable, "-m", "geoflow_ros.simulation.ready", localizer, "--timeout", str(READY_S)],
        name="ready",
        output="log",
    )
    started: list[object] = [RegisterEventHandler(OnProcessExit(target_action=ready, on_exit=[player])), ready]
    if given["viewer"] == "none":
        over = [EmitEvent(event=Shutdown(reason="the bag is over"))]
        return [RegisterEventHandler(OnProcessExit(target_action=player, on_exit=over)), *started]
    return [viewer(given["viewer"]), *started]


def played(given: dict[str, str]) -> list[str]:
    """The bag's topics that the localizer and a viewer need, by their names in the bag."""
    prefix = given["namespace"].strip("/")
    inside = f"/{prefix}" if prefix else ""
    topics = [given[name] or f"{inside}/{name}" for name in INPUTS]
    image = given["image"] or f"{inside}/image"
    tf = ["/tf"] if given["bag_tf"].lower() == "true" else []
    return [image, f"{image}/compressed", *topics, f"{inside}/satellite/tiles", *ALWAYS, *tf]


def viewer(name: str) -> Node:
    """RViz with our displays, or the bridge that Foxglove connects to."""
    if name == "rviz":
        return Node(
            package="rviz2",
            executable="rviz2",
            name="rviz",
            arguments=["-d", str(RVIZ)],
            parameters=[{"use_sim_time": True}],
        )
    return Node(
        package="foxglove_bridge",
        executable="foxglove_bridge",
        name="foxglove_bridge",
        parameters=[{"use_sim_time": True}],
        output="screen",
    )


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    localizer = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(HERE / "geoflow.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="folder or file of the recorded drive"),
            DeclareLaunchArgument("rate", default_value="1.0", description="times real time"),
            DeclareLaunchArgument("viewer", default_value="rviz", description=" or ".join(VIEWERS)),
            DeclareLaunchArgument("bag_tf", default_value="true", description="play the bag's /tf too"),
            localizer,
            OpaqueFunction(function=player_and_viewer),
        ]
    )
