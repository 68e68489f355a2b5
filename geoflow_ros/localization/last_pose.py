"""The last pose of a drive on disk, and where the vehicle is by it when localization begins again."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from geoflow_ros.errors import InputError
from geoflow_ros.files import write_atomically
from geoflow_ros.geo import Datum
from geoflow_ros.localization.start import carried
from geoflow_ros.localization.values import ResumeSettings
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tracking import OdometryPose, StartPose, TrackedPose, TrackerSettings

_log = logging.getLogger(__name__)
_BEGINS_WITHIN_M = 0.5  # odometry that has just begun stands at its origin
_WRITTEN_EVERY_NS = 2 * NANOSECONDS_PER_SECOND


@dataclass(frozen=True)
class LastPose:
    """Where base_link was, on Earth and in its odometry.

    Attributes:
        stamp_ns: when, on the odometry's clock.
        latitude_deg, longitude_deg: WGS84.
        yaw_rad: counter-clockwise from east.
        covariance: row by row the (3, 3) of (east, north, yaw); m², m·rad, rad².
        odometry_x_m, odometry_y_m, odometry_yaw_rad: base_link in the odometry's frame.
    """

    stamp_ns: int
    latitude_deg: float
    longitude_deg: float
    yaw_rad: float
    covariance: tuple[float, ...]
    odometry_x_m: float
    odometry_y_m: float
    odometry_yaw_rad: float

    @staticmethod
    def of(track: TrackedPose, datum: Datum) -> LastPose:
        """The last pose of a track."""
        lat, lon = datum.to_latlon(track.east_m, track.north_m)
        odometry = track.odometry
        return LastPose(
            track.stamp_ns,
            float(lat),
            float(lon),
            track.yaw_rad,
            tuple(track.covariance.ravel().tolist()),
            odometry.x_m,
            odometry.y_m,
            odometry.yaw_rad,
        )

    @staticmethod
    def read(path: Path) -> LastPose | None:
        """The pose in a file; None where there is no file.

        Raises:
            InputError: the file cannot be read, or holds no pose.
        """
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            pose = LastPose(**{**said, "stamp_ns": int(said["stamp_ns"]), "covariance": tuple(said["covariance"])})
            numbers = [*pose.covariance, pose.latitude_deg, pose.longitude_deg, pose.yaw_rad]
            numbers += [pose.odometry_x_m, pose.odometry_y_m, pose.odometry_yaw_rad]
            if len(pose.covariance) != 9 or not np.isfinite(np.array(numbers, np.float64)).all():
                raise ValueError("numbers are missing or not finite")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"'{path}' holds no last pose ({error}): delete it (start.resume_file)") from error
        return pose

    def write(self, path: Path) -> None:
        """Writes the file, whole or not at all; one that cannot be written is said and forgotten."""
        try:
            write_atomically(path, json.dumps(asdict(self)).encode())
        except OSError as error:
            _log.warning("the last pose cannot be kept in '%s': %s (start.resume_file)", path, error.strerror)

    def start_at(
        self, odometry: OdometryPose, datum: Datum, limits: ResumeSettings, noise: TrackerSettings
    ) -> StartPose:
        """Where the vehicle is by this pose, now that odometry has come.

        Odometry that goes on in its frame carries the pose along. Odometry that stands at its origin has begun anew:
        the vehicle is taken to stand where it stood.

        Args:
            odometry: the first sample.
            datum: of the map.
            limits: how old the pose may be, and how far the odometry may have gone since.
            noise: of the odometry.

        Raises:
            InputError: the pose is too old or too far away, or of another clock; the message says which.
            GeometryError: it is outside the map frame.
        """
        age_s = (odometry.stamp_ns - self.stamp_ns) / NANOSECONDS_PER_SECOND
        if not 0.0 <= age_s <= limits.max_age_s:
            raise InputError(
                f"the last pose is {age_s:.0f} s old (start.resume_max_age_s {limits.max_age_s:g}): not resumed"
            )
        east_m, north_m = datum.to_enu(self.latitude_deg, self.longitude_deg)
        then = OdometryPose(self.stamp_ns, self.odometry_x_m, self.odometry_y_m, self.odometry_yaw_rad)
        if math.hypot(odometry.x_m, odometry.y_m) <= _BEGINS_WITHIN_M:
            then = replace(odometry, stamp_ns=self.stamp_ns)
        distance_m = math.hypot(odometry.x_m - then.x_m, odometry.y_m - then.y_m)
        if distance_m > limits.max_distance_m:
            raise InputError(
                f"since the last pose the odometry went {distance_m:.0f} m (start.resume_max_distance_m "
                f"{limits.max_distance_m:g}), or is another one: not resumed"
            )
        covariance = np.array(self.covariance).reshape(3, 3)
        was = StartPose(self.stamp_ns, float(east_m), float(north_m), self.yaw_rad, covariance)
        return carried(was, then, odometry, noise)


class LastPoseKeeper:
    """Writes the last pose now and then; for one thread."""

    def __init__(self) -> None:
        self._written_ns: int | None = None

    def keep(self, track: TrackedPose, datum: Datum, path: Path, *, now: bool = False) -> None:
        """Writes a track's pose, unless that was done less than two seconds of its clock ago.

        Args:
            track: the pose.
            datum: of its map.
            path: the file.
            now: write it in any case: it is the last one.
        """
        if not now and self._written_ns is not None and 0 <= track.stamp_ns - self._written_ns < _WRITTEN_EVERY_NS:
            return
        self._written_ns = track.stamp_ns
        LastPose.of(track, datum).write(path)
