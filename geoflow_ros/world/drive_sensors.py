"""What a localizer is told on a drive: a start pose some metres off, odometry, headings, and camera frames."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.images import encode_jpeg
from geoflow_ros.localization import CameraFrame, DriveEvent
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import Heading, OdometryPose, StartPose
from geoflow_ros.world.drive import RATE_HZ, Drive

IMAGE_RATE_HZ = 5.0
JPEG_QUALITY = 90
HEADING_STD_RAD = math.radians(1.0)
START_STD_M, START_STD_RAD = 4.0, math.radians(2.0)

_START_STREAM = 74  # of random numbers; the drive has others
_START_DISTANCE_M = (3.0, 7.0)  # how far the start pose is off, at least and at most
_SENSOR, _IMAGE = 0, 1  # at the same stamp, sensors come before the image


@dataclass(frozen=True)
class StartError:
    """The error of the pose that the localizer is told to start from.

    Attributes:
        east_m, north_m: of the position, metres.
        yaw_rad: of the heading, counter-clockwise.
    """

    east_m: float
    north_m: float
    yaw_rad: float

    @classmethod
    def drawn(cls, seed: int) -> StartError:
        """Draws the error of a seed: several metres in any direction."""
        rng = np.random.default_rng([seed, _START_STREAM])
        distance_m, direction = rng.uniform(*_START_DISTANCE_M), rng.uniform(-np.pi, np.pi)
        return cls(
            distance_m * math.cos(direction), distance_m * math.sin(direction), float(rng.normal(0.0, START_STD_RAD))
        )


def start_pose(drive: Drive, stamp_ns: int) -> StartPose:
    """Returns the pose that the localizer is told to start from.

    Args:
        drive: whose start it is.
        stamp_ns: of the drive's beginning.
    """
    east_m, north_m, yaw_rad = drive.state_at(0.0)
    error = StartError.drawn(drive.seed)
    covariance = np.diag([START_STD_M**2, START_STD_M**2, START_STD_RAD**2])
    return StartPose(stamp_ns, east_m + error.east_m, north_m + error.north_m, yaw_rad + error.yaw_rad, covariance)


def image_times_s(duration_s: float, rate_hz: float) -> Float64Array:
    """Returns when the camera takes its pictures, (n,) seconds from the beginning of a drive.

    They are times of states, so that there is an odometry of the moment; that are `RATE_HZ` a second at most.
    """
    wanted = np.arange(0.0, duration_s, 1.0 / rate_hz)
    return np.asarray(np.unique(np.round(wanted * RATE_HZ)) / RATE_HZ)


def drive_events(
    drive: Drive, first_ns: int, rate_hz: float = IMAGE_RATE_HZ, jpeg_quality: int = JPEG_QUALITY
) -> Iterator[DriveEvent]:
    """Gives all that a vehicle localizer is told, in the order of its stamps; frames are rendered as they are needed.

    Args:
        drive: what is driven.
        first_ns: stamp of its beginning.
        rate_hz: of the camera.
        jpeg_quality: of its pictures.
    """
    yield start_pose(drive, first_ns)
    sensors = ((event.stamp_ns, _SENSOR, event) for event in _sensors(drive, first_ns))
    images = ((event.stamp_ns, _IMAGE, event) for event in _frames(drive, first_ns, rate_hz, jpeg_quality))
    for _, _, event in heapq.merge(sensors, images, key=lambda entry: entry[:2]):
        yield event


def stamp_at(t_s: float, first_ns: int) -> int:
    """Returns the stamp of a time of the drive, nanoseconds."""
    return first_ns + round(float(t_s) * NANOSECONDS_PER_SECOND)


def _sensors(drive: Drive, first_ns: int) -> Iterator[OdometryPose | Heading]:
    odometry, headings = drive.odometry(), drive.headings()
    poses = np.stack([odometry.x_m, odometry.y_m, odometry.yaw_rad, odometry.speed_mps], axis=1).tolist()
    for t_s, pose, heading in zip(odometry.t_s.tolist(), poses, headings.tolist(), strict=True):
        stamp_ns = stamp_at(t_s, first_ns)
        yield OdometryPose(stamp_ns, *pose)
        yield Heading(stamp_ns, heading, HEADING_STD_RAD)


def _frames(drive: Drive, first_ns: int, rate_hz: float, jpeg_quality: int) -> Iterator[CameraFrame]:
    for t_s in image_times_s(drive.duration_s, rate_hz).tolist():
        yield CameraFrame(stamp_at(t_s, first_ns), encode_jpeg(drive.frame(t_s), jpeg_quality))
