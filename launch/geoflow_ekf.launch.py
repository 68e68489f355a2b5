"""The localizer with robot_localization: a pose at 30 Hz that goes on between images and through gaps.

    ros2 launch geoflow_ros geoflow_ekf.launch.py tiles:=town.mbtiles image:=/camera/image_raw odom:=/odometry

The arguments to change, and nothing else: those of geoflow.launch.py, and `local_ekf:=false` where the odometry's own
driver sends odom → base_link. Every transform has one sender:

    map → odom         ekf_map (the localizer's `frames.broadcast_tf` is false here)
    odom → base_link   ekf_local; with local_ekf:=false the odometry's driver

The filters' settings, each with its reason, are in config/ekf.yaml. `~/track` of the localizer is fused already, and as
a rule more accurate than odometry/global: docs/vehicle.md says when to use which.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "config" / "ekf.yaml"

# node -> the topic of its fused pose
FILTERS = {"ekf_map": "odometry/global", "ekf_local": "odometry/local"}


def filters(context: LaunchContext) -> list[Node]:
    """The filters that were asked for."""
    given = {
        name: LaunchConfiguration(name).perform(context) for name in ("odom", "ekf_config", "local_ekf", "use_sim_time")
    }
    names = [name for name in FILTERS if name != "ekf_local" or given["local_ekf"].lower() == "true"]
    of_odometry = [("odom", given["odom"])] if given["odom"] else []
    return [
        Node(
            package="robot_localization",
            executable="ekf_node",
            name=name,
            namespace=LaunchConfiguration("namespace"),
            parameters=[given["ekf_config"], {"use_sim_time": given["use_sim_time"].lower() == "true"}],
            remappings=[("odometry/filtered", FILTERS[name]), *of_odometry],
            output="screen",
        )
        for name in names
    ]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    localizer = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(HERE / "geoflow.launch.py")),
        launch_arguments={"broadcast_tf": "false"}.items(),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("ekf_config", default_value=str(CONFIG), description="parameter file of the filters"),
            DeclareLaunchArgument(
                "local_ekf",
                default_value="true",
                description="true: ekf_local sends odom → base_link; false: the odometry's driver does",
            ),
            localizer,
            OpaqueFunction(function=filters),
        ]
    )
