"""The localizer on a vehicle.

    ros2 launch geoflow_ros geoflow.launch.py tiles:=town.mbtiles image:=/camera/image_raw odom:=/odometry

The arguments to change, and nothing else: `tiles`, `image`, `odom`, and `image_transport` where the camera sends JPEG.
`config:=FILE` replaces config/geoflow.yaml (config/geoflow_full.yaml has every parameter); the arguments that are
given here take precedence over the file. `publish_tiles:=town.mbtiles tiles:=topic` sends the tiles around the vehicle
as messages, so that a bag holds its map (latitude and longitude must be given then).
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

CONFIG = Path(__file__).resolve().parent.parent / "config" / "geoflow.yaml"

# launch argument -> parameter; an empty argument leaves the parameter to the file
PARAMETERS = {
    "tiles": "tiles.source",
    "model": "model.path",
    "image_transport": "image_transport",
    "latitude": "datum.latitude_deg",
    "longitude": "datum.longitude_deg",
    "broadcast_tf": "frames.broadcast_tf",
}
NUMBERS, FLAGS = ("latitude", "longitude"), ("broadcast_tf",)
TOPICS = ("image", "camera_info", "odom", "imu", "fix", "initialpose")


def value(name: str, given: str) -> str | float | bool:
    """What an argument says, as the parameter's type."""
    if name in FLAGS:
        return given.lower() == "true"
    return float(given) if name in NUMBERS else given


def localizer(context: LaunchContext) -> list[Node]:
    """The node with the arguments that were given."""
    given = {name: LaunchConfiguration(name).perform(context) for name in (*PARAMETERS, *TOPICS)}
    overrides = {parameter: value(name, given[name]) for name, parameter in PARAMETERS.items() if given[name]}
    remappings = [(topic, given[topic]) for topic in TOPICS if given[topic]]
    if given["image"]:
        # image_transport's convention: the JPEG stream of a topic lies below it.
        remappings.append(("image/compressed", f"{given['image']}/compressed"))
    return [
        Node(
            package="geoflow_ros",
            executable="localizer",
            name="geoflow_localizer",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                LaunchConfiguration("config").perform(context),
                {"use_sim_time": LaunchConfiguration("use_sim_time").perform(context).lower() == "true", **overrides},
            ],
            remappings=remappings,
            output="screen",
        )
    ]


def tile_publisher(context: LaunchContext) -> list[Node]:
    """The tile publisher, where it is asked for."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ("publish_tiles", *PARAMETERS, *TOPICS)}
    if not given["publish_tiles"]:
        return []
    origin = {PARAMETERS[name]: float(given[name]) for name in ("latitude", "longitude") if given[name]}
    model = {"model.path": given["model"]} if given["model"] else {}
    return [
        Node(
            package="geoflow_ros",
            executable="tile_publisher",
            name="tile_publisher",
            namespace=LaunchConfiguration("namespace"),
            parameters=[{"tiles.source": given["publish_tiles"], **origin, **model}],
            remappings=[(topic, given[topic]) for topic in ("odom", "fix", "initialpose") if given[topic]],
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("config", default_value=str(CONFIG), description="parameter file"),
            DeclareLaunchArgument("namespace", default_value="", description="of node and topics"),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="time from /clock (bags)"),
            DeclareLaunchArgument("tiles", default_value="", description="FILE.mbtiles, http(s)://…/{z}/{x}/{y}.png …"),
            DeclareLaunchArgument("publish_tiles", default_value="", description="source to send on satellite/tiles"),
            DeclareLaunchArgument("model", default_value="", description="bundle: folder, or name of a shipped one"),
            DeclareLaunchArgument("image_transport", default_value="", description="raw or compressed"),
            DeclareLaunchArgument("latitude", default_value="", description="of the map frame's origin, degrees"),
            DeclareLaunchArgument("longitude", default_value="", description="of the map frame's origin, degrees"),
            DeclareLaunchArgument("broadcast_tf", default_value="", description="true or false: send map → odom"),
            *(DeclareLaunchArgument(topic, default_value="", description=f"topic of {topic}") for topic in TOPICS),
            OpaqueFunction(function=localizer),
            OpaqueFunction(function=tile_publisher),
        ]
    )
