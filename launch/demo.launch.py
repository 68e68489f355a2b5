"""A simulated vehicle in a procedural city, and the localizer that follows it; look at it in RViz or Foxglove.

    ros2 launch geoflow_ros demo.launch.py area:=same seed:=1 seconds:=60

`geoflow demo` runs the same drive without launch, records it and measures the result.
"""

import sys
from pathlib import Path

from launch.actions import DeclareLaunchArgument, EmitEvent, ExecuteProcess, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from geoflow_ros.resources import config_file
from geoflow_ros.world import Area, Drive, World
from geoflow_ros.world.drive_map import write_drive_map
from launch import LaunchContext, LaunchDescription


def vehicle_and_localizer(context: LaunchContext) -> list[object]:
    """Draw the map around the drive, then start both."""
    value = {
        name: LaunchConfiguration(name).perform(context) for name in ("area", "seed", "seconds", "model", "folder")
    }
    seed, seconds = int(value["seed"]), float(value["seconds"])
    world = World.of(Area(value["area"]), seed)
    drive = Drive(world, seed, seconds)
    folder = Path(value["folder"]).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    tiles = write_drive_map(drive, folder / f"{value['area']}-{seed}.mbtiles")
    vehicle = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "geoflow_ros.simulation.vehicle"),
            *("--area", value["area"], "--seed", str(seed), "--seconds", str(seconds)),
        ],
        name="simulated_vehicle",
        output="screen",
    )
    parameters = {
        "tiles.source": str(tiles),
        "model.path": value["model"],
        "image_transport": "compressed",
        "datum.latitude_deg": world.datum.lat_deg,
        "datum.longitude_deg": world.datum.lon_deg,
        "camera.lever_arm.x_m": drive.lever_arm_m,
    }
    localizer = Node(
        package="geoflow_ros",
        executable="localizer",
        name="geoflow_localizer",
        parameters=[str(config_file("geoflow.yaml")), parameters],
        output="screen",
    )
    end = OnProcessExit(target_action=vehicle, on_exit=[EmitEvent(event=Shutdown(reason="the drive is over"))])
    return [localizer, vehicle, RegisterEventHandler(end)]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("area", default_value="same", description="same (the town of the training) or cross"),
            DeclareLaunchArgument("seed", default_value="1", description="which drive"),
            DeclareLaunchArgument("seconds", default_value="60", description="length of the drive"),
            DeclareLaunchArgument("model", default_value="birds_eye", description="bundle: folder or name"),
            DeclareLaunchArgument("folder", default_value="~/.ros/geoflow_demo", description="where the map is kept"),
            OpaqueFunction(function=vehicle_and_localizer),
        ]
    )
