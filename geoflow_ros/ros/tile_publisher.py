"""The executable `tile_publisher`: satellite tiles around the vehicle as messages, so that a bag holds its map.

    tile_publisher --ros-args -p tiles.source:=town.mbtiles

What it publishes, a localizer reads with `tiles.source: topic`, from a bag too.
"""

from __future__ import annotations

# Nothing that takes long is imported here, see `executable`.
import sys
import threading
from collections.abc import Sequence

from geoflow_ros.ros.executable import SIGNAL_PERIOD_S, Executable, Run, interfaces_help, parameters_help

INPUTS = {
    "fix": ("sensor_msgs/NavSatFix", "where the vehicle is, by a satellite receiver"),
    "geoflow_localizer/fix": ("sensor_msgs/NavSatFix", "where it is, by the localizer"),
    "initialpose": ("geometry_msgs/PoseWithCovarianceStamped", "where it starts; needs datum.*"),
    "odom": ("nav_msgs/Odometry", "how it moves in between"),
}
"""Topics that the node subscribes to: type and purpose."""

OUTPUTS = {
    "satellite/tiles": ("sensor_msgs/CompressedImage", "a tile as it is served; frame_id is z/x/y; empty: a hole"),
}
"""Topics that the node publishes: type and content."""

_INTRODUCTION = """\
usage: tile_publisher [--help] [--ros-args [-p NAME:=VALUE ...] [--params-file FILE] [-r TOPIC:=OTHER ...]]

Publishes the satellite tiles around the vehicle, each once until it leaves, for localizers with tiles.source:=topic
and for bags that hold their map. Whoever subscribes later gets them too (transient local). It ends with Ctrl-C.

Examples:
  tile_publisher --ros-args -p tiles.source:=town.mbtiles
  tile_publisher --ros-args -p tiles.source:='https://HOST/{z}/{x}/{y}.jpg' -p tiles.cache_folder:=~/tiles
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the executable `tile_publisher` and returns its exit code.

    Args:
        arguments: the command line without the program's name; that of the process where None.
    """
    return Executable("tile_publisher", help_text, _load).main(arguments)


def help_text() -> str:
    """Returns what `tile_publisher --help` prints."""
    from geoflow_ros.ros.parameter_table import PUBLISHER_SPECS

    return "\n".join(
        [
            _INTRODUCTION,
            *interfaces_help("Topics in:", INPUTS),
            *interfaces_help("Topics out:", OUTPUTS),
            *parameters_help(PUBLISHER_SPECS),
            "",
        ]
    )


def _load() -> Run:
    from rclpy.executors import SingleThreadedExecutor

    from geoflow_ros.ros.tile_publisher_node import TilePublisherNode

    def run(ended: threading.Event) -> int:
        executor = SingleThreadedExecutor()
        node: TilePublisherNode | None = None
        try:
            node = TilePublisherNode()
            executor.add_node(node)
            while not ended.is_set():
                executor.spin_once(timeout_sec=SIGNAL_PERIOD_S)
        finally:
            executor.shutdown()
            if node is not None:
                node.destroy_node()
        return 0

    return run


if __name__ == "__main__":
    sys.exit(main())
