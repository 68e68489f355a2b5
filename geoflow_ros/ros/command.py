"""The executable `localizer`: its help, its checks, and the node's life from start to signal.

    localizer --ros-args -p tiles.source:=town.mbtiles

Exit codes: 0 ended by a signal or the transition shutdown, or help; 2 something that a person must give or correct (one
line on standard error).
"""

from __future__ import annotations

# Nothing that takes long is imported here: a signal before `main` has taken care of signals ends in a traceback.
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from geoflow_ros.errors import InputError

if TYPE_CHECKING:
    from geoflow_ros.ros.localizer_node import LocalizerNode

_NAME = "localizer"
_COLUMNS = 110
# Python sees a signal between two waits for messages: this is the longest wait, seconds.
_SIGNAL_PERIOD_S = 0.1

INPUTS = {
    "image": ("sensor_msgs/Image", "camera, where image_transport is raw"),
    "image/compressed": ("sensor_msgs/CompressedImage", "camera, where image_transport is compressed"),
    "camera_info": ("sensor_msgs/CameraInfo", "the camera's lens; beside the image's topic unless remapped"),
    "odom": ("nav_msgs/Odometry", "dead reckoning; needed"),
    "initialpose": ("geometry_msgs/PoseWithCovarianceStamped", "start pose (RViz: 2D Pose Estimate)"),
    "fix": ("sensor_msgs/NavSatFix", "start position, with the absolute yaw of imu"),
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
    given = list(sys.argv[1:] if arguments is None else arguments)
    plain = plain_arguments(given)
    if {"-h", "--help"} & {*plain}:
        print(help_text(), end="")
        return 0
    if plain:
        return _complain(
            f"unknown argument '{plain[0]}': write --ros-args -p NAME:=VALUE for a parameter; see localizer --help"
        )
    _on_signals(_leave)
    try:
        return _serve(given)
    except InputError as error:
        return _complain(str(error))


def plain_arguments(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments that are not ROS's, which stand between each `--ros-args` and the next `--`."""
    plain, of_ros = [], False
    for argument in arguments:
        if of_ros:
            of_ros = argument != "--"
        elif argument == "--ros-args":
            of_ros = True
        else:
            plain.append(argument)
    return plain


def help_text() -> str:
    """Returns what `localizer --help` prints: examples, topics, services and every parameter."""
    return "\n".join(
        [
            _INTRODUCTION,
            *_interfaces("Topics in:", INPUTS),
            *_interfaces("Topics out:", OUTPUTS),
            *_interfaces("Services:", SERVICES),
            *_interfaces("TF:", TRANSFORMS),
            "Parameters (type, default; [allowed values; dynamic: may change while the node runs]):",
            *_parameters(),
            "",
        ]
    )


def _interfaces(title: str, described: dict[str, tuple[str, str]]) -> list[str]:
    return [title, *(f"  {name:<25} {kind:<40} {what}" for name, (kind, what) in described.items()), ""]


def _parameters() -> list[str]:
    from geoflow_ros.ros.parameter_files import value_text
    from geoflow_ros.ros.parameter_table import SECTIONS, SPECS, section_of

    lines: list[str] = []
    section = None
    for name, spec in SPECS.items():
        if section_of(name) != section:
            section = section_of(name)
            lines += ["", f"  {SECTIONS[section]}:"]
        lines.append(f"    {name} ({spec.type_name}, {value_text(spec)})")
        lines += textwrap.wrap(spec.remark, _COLUMNS, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return lines


class _EndedError(BaseException):
    """Ends the process in order; no `except Exception` on the way takes it for a failure."""


def _serve(arguments: Sequence[str]) -> int:
    """Imports ROS and the node, and runs it until the process is told to end."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from geoflow_ros.ros.localizer_node import LocalizerNode

    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if not ended.is_set():  # a second signal does not disturb the end
            ended.set()
            raise _EndedError

    _on_signals(end)
    try:
        # rclpy's own handlers would take the context away from a frame that is still at work.
        rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy has no common base for arguments that it cannot read
        reason = str(error).removeprefix("failed to initialize rcl: ").partition(", at /")[0]
        raise InputError(f"ROS does not take these arguments: {' '.join(reason.split())}") from error
    try:
        return _run(LocalizerNode, ended)
    except _EndedError:
        return 0
    except Exception:
        if ended.is_set():  # something on the way made another error of it
            return 0
        raise
    finally:
        rclpy.try_shutdown()


def _run(make_node: Callable[[], LocalizerNode], ended: threading.Event) -> int:
    """Makes the node, starts it and serves it until `ended`."""
    from rclpy.executors import SingleThreadedExecutor

    node: LocalizerNode | None = None
    executor = SingleThreadedExecutor()
    try:
        node = make_node()
        if node.get_parameter("autostart").value:
            if not node.get_parameter("tiles.source").value:
                return _complain(_NO_TILES)
            node.start()
            if node.problem and node.get_parameter("exit_on_error").value:
                return _complain(f"{node.problem} (exit_on_error:=false waits for it)")
        executor.add_node(node)
        while not ended.is_set() and not node.is_finalized:
            executor.spin_once(timeout_sec=_SIGNAL_PERIOD_S)
    finally:
        executor.shutdown()
        if node is not None:
            node.destroy_node()
    return 0


def _on_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    """Ends the process at once: while modules are imported there is nothing to put in order.

    An exception could get lost there, in a callback of the import system.
    """
    os._exit(0)


def _complain(reason: str) -> int:
    print(f"{_NAME}: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
