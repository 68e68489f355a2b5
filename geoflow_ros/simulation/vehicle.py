"""A simulated vehicle on real topics: camera, odometry, absolute heading, a start pose some metres off, and the truth.

All frames are rendered before the vehicle sets off: a camera costs a vehicle's computer no rendering either.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image, Imu

from geoflow_ros.errors import GeoFlowError, InputError
from geoflow_ros.ros.images import compressed_from_rgb, image_from_rgb
from geoflow_ros.ros.messages import full_covariance, pose_with_covariance, quaternion_message, time_from_ns
from geoflow_ros.simulation.events import EventKind, tell
from geoflow_ros.simulation.faults import CLOCK_AHEAD_S, HEADING_OFF_RAD, PRIOR_OFF_M, Fault, Injection, injection_of
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.world import Area, Camera, Drive, World
from geoflow_ros.world.drive_sensors import (
    HEADING_STD_RAD,
    IMAGE_RATE_HZ,
    JPEG_QUALITY,
    START_STD_M,
    START_STD_RAD,
    image_times_s,
    start_pose,
)

_CAMERA = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
_STREAM = QoSProfile(depth=100, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)

_TELL_PERIOD_S = 1.0
_POLL_S = 0.05
_SIDEWAYS_VARIANCE = 1e-3  # m²/s²: a car moves along its wheels
_TRUTH_VARIANCE = 1e-6  # of the true twist, m²/s² and rad²/s²: none would say that nothing is known of it
_SAME_TIME_S = 1e-6
_LAST_MESSAGES_S = 0.5  # for them to be sent before their publishers go


class SimulatedVehicle(Node):
    """Publishes one drive in real time.

    Topics: image/compressed or image, odom, imu, initialpose (once), /ground_truth/odom.

    Args:
        drive: where the vehicle goes and what it senses.
        image_rate_hz: frames a second.
        compressed: JPEG frames on image/compressed, else raw ones on image.
        jpeg_quality: 1 to 100.
        faults: what goes wrong on the way.
    """

    def __init__(
        self,
        drive: Drive,
        image_rate_hz: float,
        compressed: bool,
        jpeg_quality: int,
        faults: Sequence[Injection] = (),
    ) -> None:
        super().__init__("simulated_vehicle")
        self._drive = drive
        self._faults = tuple(faults)
        self._image_times_s = image_times_s(drive.duration_s, image_rate_hz)
        self._compressed = compressed
        self._jpeg_quality = jpeg_quality
        if compressed:
            self._image_output = self.create_publisher(CompressedImage, "image/compressed", _CAMERA)
        else:
            self._image_output = self.create_publisher(Image, "image", _CAMERA)
        self._odometry_output = self.create_publisher(Odometry, "odom", _STREAM)
        self._imu_output = self.create_publisher(Imu, "imu", _STREAM)
        self._start_output = self.create_publisher(PoseWithCovarianceStamped, "initialpose", _STREAM)
        self._truth_output = self.create_publisher(Odometry, "/ground_truth/odom", _STREAM)

    def render(self) -> list[Image | CompressedImage]:
        """Renders all frames of the drive, still without stamps. Tells how far it is once a second."""
        frames: list[Image | CompressedImage] = []
        told_s = -math.inf
        stamp = time_from_ns(0)
        for index, t_s in enumerate(self._image_times_s):
            if time.monotonic() - told_s > _TELL_PERIOD_S:
                tell(EventKind.RENDERED, index, len(self._image_times_s))
                told_s = time.monotonic()
            if frames and self._has(Fault.FROZEN, float(t_s)):
                frames.append(copy.copy(frames[-1]))
                continue
            rgb = self._drive.frame(float(t_s))
            if self._has(Fault.BLACK, float(t_s)):
                rgb = np.zeros_like(rgb)
            if self._compressed:
                frames.append(compressed_from_rgb(rgb, stamp, "camera", self._jpeg_quality))
            else:
                frames.append(image_from_rgb(rgb, stamp, "camera"))
        tell(EventKind.RENDERED, len(frames), len(frames))
        return frames

    def wait_for_localizer(self, node_name: str, timeout_s: float) -> bool:
        """Waits until a node listens to camera, odometry and start pose; returns False if it does not in time."""
        return self._wait_for(node_name, (self._image_output, self._odometry_output, self._start_output), timeout_s)

    def wait_for_recorder(self, node_name: str, timeout_s: float) -> bool:
        """Waits until a node listens to all that is published; returns False if it does not in time."""
        sensors = (self._image_output, self._odometry_output, self._imu_output)
        return self._wait_for(node_name, (*sensors, self._start_output, self._truth_output), timeout_s)

    def _wait_for(self, node_name: str, outputs: Sequence[Any], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not all(self._hears(node_name, output) for output in outputs):
            if time.monotonic() > deadline or not rclpy.ok(context=self.context):
                return False
            time.sleep(_POLL_S)
        return True

    def _hears(self, node_name: str, output: Any) -> bool:
        # A listener to what was latched does not hear this publisher, which latches nothing.
        listeners = [
            listener
            for listener in self.get_subscriptions_info_by_topic(output.topic_name)
            if listener.qos_profile.durability is not DurabilityPolicy.TRANSIENT_LOCAL
        ]
        # Known to the graph is not yet connected: the count is of those that are.
        connected = output.get_subscription_count() >= len(listeners)
        return connected and any(listener.node_name == node_name for listener in listeners)

    def drive(self, frames: Sequence[Image | CompressedImage]) -> None:
        """Publishes everything at its time, in real time, until the end of the drive or until told to end."""
        start_ns = self.get_clock().now().nanoseconds
        start_steady = time.monotonic()
        told_s = 0.0
        self._tell_start(start_ns)
        for t_s, publish in self._events(frames):
            delay_s = start_steady + t_s - time.monotonic()
            if delay_s > 0:
                time.sleep(delay_s)
            if not rclpy.ok(context=self.context):
                return
            ahead_s = CLOCK_AHEAD_S if self._has(Fault.CLOCK, t_s) else 0.0
            publish(start_ns + round((t_s + ahead_s) * NANOSECONDS_PER_SECOND))
            if t_s - told_s >= _TELL_PERIOD_S:
                tell(EventKind.DRIVEN, t_s, self._drive.duration_s)
                told_s = t_s

    def _events(self, frames: Sequence[Image | CompressedImage]) -> Iterator[tuple[float, _Event]]:
        """Yields when to publish what, in order; sensors before the image of the same time."""
        odometry, headings, states = self._drive.odometry(), self._drive.headings(), self._drive.states
        speed_variances, yaw_rate_variance = odometry.twist_variances
        image, starts = 0, self._later_starts()
        for k, t_s in enumerate(states.t_s):
            while image < len(frames) and self._image_times_s[image] < t_s - _SAME_TIME_S:
                yield float(self._image_times_s[image]), _ImageEvent(self._image_output, frames[image])
                image += 1
            odom = _odometry(
                "odom",
                odometry.x_m[k],
                odometry.y_m[k],
                odometry.yaw_rad[k],
                odometry.speed_mps[k],
                odometry.yaw_rate_rps[k],
                (speed_variances[k], yaw_rate_variance),
            )
            truth = _odometry(
                "map",
                states.east_m[k],
                states.north_m[k],
                states.yaw_rad[k],
                states.speed_mps[k],
                states.yaw_rate_rps[k],
                (_TRUTH_VARIANCE,) * 2,
            )
            off_rad = HEADING_OFF_RAD if self._has(Fault.HEADING, float(t_s)) else 0.0
            imu = _imu(float(headings[k]) + off_rad, float(odometry.yaw_rate_rps[k]))
            outputs = [(self._imu_output, imu), (self._truth_output, truth)]
            if not self._has(Fault.ODOMETRY, float(t_s)):
                outputs.insert(0, (self._odometry_output, odom))
            while starts and starts[0][0] <= t_s:
                outputs.append((self._start_output, starts.pop(0)[1]))
            yield float(t_s), _SensorEvent(tuple(outputs))
        for rest in range(image, len(frames)):
            yield float(self._image_times_s[rest]), _ImageEvent(self._image_output, frames[rest])

    def _has(self, fault: Fault, t_s: float) -> bool:
        return any(injection.fault is fault and injection.holds(t_s) for injection in self._faults)

    def _later_starts(self) -> list[tuple[float, PoseWithCovarianceStamped]]:
        """Start poses on the way, with their times: a wrong one, and what puts it right where the fault ends."""
        starts = []
        for injection in self._faults:
            if injection.fault is Fault.PRIOR:
                for t_s, off_m in ((injection.start_s, PRIOR_OFF_M), (injection.end_s, 0.0)):
                    east_m, north_m, yaw_rad = self._drive.state_at(t_s)
                    position = np.array([east_m + off_m, north_m])
                    covariance = np.diag([START_STD_M**2, START_STD_M**2, START_STD_RAD**2])
                    stamp = time_from_ns(0)  # of its sending
                    starts.append((t_s, pose_with_covariance(stamp, "map", position, yaw_rad, covariance)))
        return starts

    def _tell_start(self, start_ns: int) -> None:
        start = start_pose(self._drive, start_ns)
        position = np.array([start.east_m, start.north_m])
        self._start_output.publish(
            pose_with_covariance(time_from_ns(start.stamp_ns), "map", position, start.yaw_rad, start.covariance)
        )


@dataclass(frozen=True)
class _ImageEvent:
    output: Any
    message: Image | CompressedImage

    def __call__(self, stamp_ns: int) -> None:
        self.message.header.stamp = time_from_ns(stamp_ns)
        self.output.publish(self.message)


@dataclass(frozen=True)
class _SensorEvent:
    outputs: tuple[tuple[Any, Odometry | Imu | PoseWithCovarianceStamped], ...]

    def __call__(self, stamp_ns: int) -> None:
        for output, message in self.outputs:
            message.header.stamp = time_from_ns(stamp_ns)
            output.publish(message)


_Event = _ImageEvent | _SensorEvent


def _odometry(
    frame: str,
    x_m: float,
    y_m: float,
    yaw_rad: float,
    speed_mps: float,
    yaw_rate_rps: float,
    twist_variances: tuple[float, float],
) -> Odometry:
    message = Odometry()
    message.header.frame_id, message.child_frame_id = frame, "base_link"
    message.pose.pose.position.x, message.pose.pose.position.y = float(x_m), float(y_m)
    message.pose.pose.orientation = quaternion_message(float(yaw_rad))
    message.twist.twist.linear.x, message.twist.twist.angular.z = float(speed_mps), float(yaw_rate_rps)
    message.pose.covariance = full_covariance(np.diag([0.01, 0.01, 1e-4])).ravel()
    speed, yaw_rate = twist_variances
    message.twist.covariance = full_covariance(np.diag([speed, _SIDEWAYS_VARIANCE, yaw_rate])).ravel()
    return message


def _imu(yaw_rad: float, yaw_rate_rps: float) -> Imu:
    message = Imu()
    message.header.frame_id = "base_link"
    message.orientation = quaternion_message(yaw_rad)
    message.orientation_covariance = np.diag([1e-4, 1e-4, HEADING_STD_RAD**2]).ravel()
    message.angular_velocity.z = yaw_rate_rps
    message.linear_acceleration_covariance[0] = -1.0  # REP-145: there is no accelerometer
    return message


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulated_vehicle", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--area",
        choices=[area.value for area in Area],
        default=Area.SAME.value,
        help="town that training saw, or a new city",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drive, its light and its sensors' errors")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the drive")
    parser.add_argument("--image-rate", type=float, default=IMAGE_RATE_HZ, metavar="HZ", help="camera frames a second")
    parser.add_argument("--image-transport", choices=("compressed", "raw"), default="compressed")
    parser.add_argument("--jpeg-quality", type=int, default=JPEG_QUALITY, metavar="1..100")
    parser.add_argument("--width", type=int, default=1024, help="of the camera image, pixels")
    parser.add_argument("--height", type=int, default=256, help="of the camera image, pixels")
    parser.add_argument("--fov", type=float, default=90.0, metavar="DEG", help="horizontal field of view")
    parser.add_argument(
        "--panorama", action="store_true", help="an equirectangular camera instead of a perspective one"
    )
    parser.add_argument(
        "--listener", default="geoflow_localizer", metavar="NODE", help="the localizer to wait for before setting off"
    )
    parser.add_argument("--recorder", metavar="NODE", help="wait for this node too, until it listens to every topic")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME:START:END", help="what goes wrong on the way"
    )
    parser.add_argument("--wait", type=float, default=60.0, metavar="S", help="how long to wait for either")
    return parser


def run(options: argparse.Namespace) -> None:
    """Renders, waits for the listeners, drives.

    Raises:
        GeoFlowError: options that make no drive, or nobody listens.
    """
    if not (options.seconds > 0 and options.image_rate > 0 and 1 <= options.jpeg_quality <= 100):
        raise InputError("seconds and image rate must be above zero, and the JPEG quality 1 to 100")
    if options.panorama:
        camera = Camera.panorama(options.width, options.height)
    else:
        camera = Camera.perspective(options.width, options.height, options.fov)
    world = World.of(Area(options.area), options.seed)
    vehicle = SimulatedVehicle(
        Drive(world, options.seed, options.seconds, camera),
        options.image_rate,
        options.image_transport == "compressed",
        options.jpeg_quality,
        [injection_of(text) for text in options.fault],
    )
    try:
        frames = vehicle.render()
        if not vehicle.wait_for_localizer(options.listener, options.wait):
            raise InputError(
                f"{options.listener} did not listen to camera, odom and initialpose within {options.wait:g} s: "
                "start it, and look at its log and diagnostics"
            )
        if options.recorder is not None and not vehicle.wait_for_recorder(options.recorder, options.wait):
            raise InputError(
                f"{options.recorder} did not listen to all of the vehicle's topics within {options.wait:g} s: "
                "start it with all of them"
            )
        vehicle.drive(frames)
        # Let the last messages out: destroying a publisher drops what it has not sent yet.
        time.sleep(_LAST_MESSAGES_S)
    finally:
        vehicle.destroy_node()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns 2 after one line on standard error where the input was bad."""
    given = list(sys.argv if arguments is None else ["simulated_vehicle", *arguments])
    rclpy.init(args=given)
    try:
        run(_parser().parse_args(remove_ros_args(given)[1:]))
    except GeoFlowError as error:
        print(f"simulated_vehicle: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
