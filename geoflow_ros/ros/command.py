"""The executable `localizer`: its help, its checks, and the node's life from start to signal.

    localizer --ros-args -p tiles.source:=town.mbtiles

Exit codes: 0 ended by a signal or the transition shutdown, or help; 2 something that a person must give or correct (one
line on standard error).
"""

from __future__ import annotations

# Nothing that takes long is imported here: a signal before `main` has taken care of signals ends in a traceback.
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from geoflow_ros.ros.executable import SIGNAL_PERIOD_S, Executable, Run, interfaces_help, parameters_help

if TYPE_CHECKING:
    from geoflow_ros.ros.localizer_node import LocalizerNode

INPUTS = {
    "image": ("sensor_msgs/Image", "camera, where image_transport is raw"),
    "image/compressed": ("sensor_msgs/CompressedImage", "camera, where image_transport is compressed"),
    "camera_info": ("sensor_msgs/CameraInfo", "the camera's lens; beside the image's topic unless remapped"),
    "odom": ("nav_msgs/Odometry", "dead reckoning; needed"),
    "initialpose": ("geometry_msgs/PoseWithCovarianceStamped", "start pose (RViz: 2D Pose Estimate)"),
    "fix": ("sensor_msgs/NavSatFix", "start position, with the absolute yaw of imu"),
    "satellite/tiles": ("sensor_msgs/CompressedImage", "the map, where tiles.source is topic; frame_id is z/x/y"),
    "imu": ("sensor_msgs/Imu", "absolute yaw (ENU, REP-145); roll and pitch, where camera.level_by is imu"),
}
"""Topics that the node subscribes to: type and purpose."""

OUTPUTS = {
    "~/pose": (
        "geometry_msgs/PoseWithCovarianceStamped",
        "base_link in the map by one image, once in output.spacing_m",
    ),
    "~/track": ("nav_msgs/Odometry", "base_link in the map, fused with odometry and all images so far"),
    "~/status": (
        "diagnostic_msgs/DiagnosticStatus",
        "WAITING, TRACKING, DEGRADED or LOST; which input is at fault",
    ),
    "~/fix": ("sensor_msgs/NavSatFix", "the pose as latitude and longitude"),
    "~/hypotheses": ("geometry_msgs/PoseArray", "the refined hypotheses"),
    "~/debug_image/compressed": ("sensor_msgs/CompressedImage", "satellite patch, hypotheses and ellipse"),
    "/diagnostics": ("diagnostic_msgs/DiagnosticArray", "state, rates, latencies, and why a frame gave no pose"),
}
"""Topics that the node publishes: type and content."""

SERVICES = {
    "~/enable": ("std_srvs/SetBool", "false: images are ignored until it is enabled again"),
    "~/relocalize": ("std_srvs/Trigger", "search again around the tracked pose, widely if relocalize.radius_m says so"),
}
"""Services of the node: type and effect."""

TRANSFORMS = {
    "/tf_static": ("tf2_msgs/TFMessage", "in: base_link -> the image's frame, where the camera is (camera.extrinsics)"),
    "map -> odom": ("tf2_msgs/TFMessage", "out, where frames.broadcast_tf is set"),
}
"""Transforms that the node looks at and sends: type and purpose."""

_INTRODUCTION = """\
usage: localizer [--help] [--ros-args [-p NAME:=VALUE ...] [--params-file FILE] [-r TOPIC:=OTHER ...]]

The ROS 2 lifecycle node geoflow_localizer: it localizes a vehicle on a satellite map from a forward camera and
odometry, and publishes poses with their covariance. It ends with Ctrl-C or SIGTERM.

Examples:
  localizer --ros-args -p tiles.source:=town.mbtiles -r image:=/camera/image_raw -r odom:=/odometry
  localizer --ros-args --params-file geoflow.yaml
  ros2 launch geoflow_ros geoflow.launch.py tiles:=town.mbtiles image:=/camera/image_raw odom:=/odometry
"""

_NO_TILES = (
    "no satellite map: give it with --ros-args -p tiles.source:=FILE.mbtiles (or http(s)://HOST/{z}/{x}/{y}.png, or in "
    "a file with --params-file); see localizer --help"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the executable `localizer` and returns its exit code.

    Args:
        arguments: the command line without the program's name; that of the process where None.
    """
    return _LOCALIZER.main(arguments)


def help_text() -> str:
    """Returns what `localizer --help` prints: examples, topics, services and every parameter."""
    from geoflow_ros.ros.parameter_table import SPECS

    return "\n".join(
        [
            _INTRODUCTION,
            *interfaces_help("Topics in:", INPUTS),
            *interfaces_help("Topics out:", OUTPUTS),
            *interfaces_help("Services:", SERVICES),
            *interfaces_help("TF:", TRANSFORMS),
            *parameters_help(SPECS),
            "",
        ]
    )


def _load() -> Run:
    from geoflow_ros.ros.localizer_node import LocalizerNode

    def run(ended: threading.Event) -> int:
        return _run(LocalizerNode, ended)

    return run


def _run(make_node: Callable[[], LocalizerNode], ended: threading.Event) -> int:
    """Makes the node, starts it and serves it until `ended`."""
    from rclpy.executors import SingleThreadedExecutor

    node: LocalizerNode | None = None
    executor = SingleThreadedExecutor()
    try:
        node = make_node()
        if node.get_parameter("autostart").value:
            if not node.get_parameter("tiles.source").value:
                return _LOCALIZER.complain(_NO_TILES)
            node.start()
            if node.problem and node.get_parameter("exit_on_error").value:
                return _LOCALIZER.complain(f"{node.problem} (exit_on_error:=false waits for it)")
        executor.add_node(node)
        while not ended.is_set() and not node.is_finalized:
            executor.spin_once(timeout_sec=SIGNAL_PERIOD_S)
    finally:
        executor.shutdown()
        if node is not None:
            node.destroy_node()
    return 0


_LOCALIZER = Executable("localizer", help_text, _load)

if __name__ == "__main__":
    sys.exit(main())
