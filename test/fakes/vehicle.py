"""A vehicle without ROS: it drives straight on, tells a vehicle localizer, and takes pictures of one colour."""

from __future__ import annotations

import math

import numpy as np
from fakes.bundle import GREY, GROUND_SHAPE, scenery

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.localization import VehicleFix, VehicleLocalizer
from geoflow_ros.tracking import OdometryPose, StartPose

RATE_HZ = 50
BEGIN_NS = 1_700_000_000_000_000_000


def picture(red: int = GREY, blue: int = 0, number: int = 0) -> UInt8Array:
    """A picture whose colour decides on the model's answer (see `fakes.bundle`)."""
    return scenery(*GROUND_SHAPE, red, blue, number)


class StraightDrive:
    """Drives straight on, along the odometry's +x while that does not drift: the map's direction `yaw_rad`.

    Attributes:
        t_ns: its clock.
        east_m, north_m: where base_link is.
    """

    def __init__(self, localizer: VehicleLocalizer, yaw_rad: float = math.pi / 2) -> None:
        self.localizer, self.yaw_rad = localizer, yaw_rad
        self.t_ns, self.east_m, self.north_m = BEGIN_NS, 0.0, 0.0
        self.x_m, self.y_m, self.odometry_yaw_rad = 0.0, 0.0, 0.0

    def start(self, position_std_m: float = 3.0, yaw_std_deg: float = 2.0) -> None:
        """Puts the track where the vehicle is."""
        covariance = np.diag([position_std_m**2, position_std_m**2, math.radians(yaw_std_deg) ** 2])
        self.localizer.start(StartPose(self.t_ns, self.east_m, self.north_m, self.yaw_rad, covariance))

    def drive(self, seconds: float = 0.2, speed_mps: float = 5.0) -> None:
        """Drives on and says so."""
        for _ in range(round(seconds * RATE_HZ)):
            self.t_ns += 1_000_000_000 // RATE_HZ
            step_m = speed_mps / RATE_HZ
            self.x_m += step_m * math.cos(self.odometry_yaw_rad)
            self.y_m += step_m * math.sin(self.odometry_yaw_rad)
            self.east_m += step_m * math.cos(self.yaw_rad)
            self.north_m += step_m * math.sin(self.yaw_rad)
            self.localizer.add_odometry(self.odometry())

    def stand(self, seconds: float, gyro_drift_deg_per_s: float = 0.0, looks: bool = True) -> None:
        """Stands while the odometry's yaw drifts, and says so ten times a second; takes a picture every ten seconds."""
        for tenth in range(round(seconds * 10)):
            self.t_ns += 100_000_000
            self.odometry_yaw_rad += math.radians(gyro_drift_deg_per_s) / 10
            self.localizer.add_odometry(self.odometry())
            if tenth % 100 == 99:
                if looks:
                    self.look()
                else:
                    self.localizer.newest_track()  # as diagnostics do

    def odometry(self) -> OdometryPose:
        """The newest sample."""
        return OdometryPose(self.t_ns, self.x_m, self.y_m, self.odometry_yaw_rad, 5.0)

    def look(self, red: int = GREY, blue: int = 0) -> VehicleFix:
        """Takes a picture now and localizes it."""
        return self.localizer.localize(picture(red, blue, self.t_ns), self.t_ns)
