"""The poses of a drive as arrays: one trajectory, and what was recorded of one drive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo.axes import rotation_matrix


@dataclass(frozen=True)
class Trajectory:
    """Poses in the order of their stamps, in one frame.

    Attributes:
        stamps_ns: (n,) of the message header.
        received_ns: (n,) when the recorder got the message.
        positions_m: (n, 2) x and y.
        yaws_rad: (n,) counter-clockwise from x.
        covariances: (n, 2, 2) of the positions, m², same frame.
    """

    stamps_ns: Int64Array
    received_ns: Int64Array
    positions_m: Float64Array
    yaws_rad: Float64Array
    covariances: Float64Array

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def at(self, stamps_ns: Int64Array) -> tuple[Float64Array, Float64Array]:
        """Interpolates the poses.

        Args:
            stamps_ns: (m,) within the trajectory's own.

        Returns:
            Positions (m, 2) and unwrapped yaws (m,).
        """
        seconds = (self.stamps_ns - self.stamps_ns[0]) * 1e-9
        wanted = (stamps_ns - self.stamps_ns[0]) * 1e-9
        positions = np.stack([np.interp(wanted, seconds, self.positions_m[:, axis]) for axis in range(2)], axis=-1)
        return positions, np.interp(wanted, seconds, np.unwrap(self.yaws_rad))

    def within(self, first_ns: int, last_ns: int) -> Trajectory:
        """Returns the part with first_ns ≤ stamp ≤ last_ns."""
        keep = (self.stamps_ns >= first_ns) & (self.stamps_ns <= last_ns)
        return Trajectory(
            self.stamps_ns[keep],
            self.received_ns[keep],
            self.positions_m[keep],
            self.yaws_rad[keep],
            self.covariances[keep],
        )


@dataclass(frozen=True)
class DriveRecord:
    """The poses that were recorded of one drive.

    Attributes:
        truth: base_link in the map frame (ENU metres).
        odometry: base_link in the odometry's own frame.
        fixes: the poses that the localizer published, in the map frame.
        track: the localizer's fused poses, in the map frame.
        image_stamps_ns: (k,) of the camera frames, ascending.
        answers_ns: (m, 2) of the frames that gave a fix, published or not: stamp, ascending, and reception.
    """

    truth: Trajectory
    odometry: Trajectory
    fixes: Trajectory
    track: Trajectory
    image_stamps_ns: Int64Array
    answers_ns: Int64Array

    def dead_reckoning(self) -> Trajectory:
        """Returns the odometry, moved and turned once so that its first pose is the true one.

        Raises:
            InputError: odometry and truth do not overlap in time.
        """
        odometry = self.odometry.within(int(self.truth.stamps_ns[0]), int(self.truth.stamps_ns[-1]))
        if len(odometry) == 0:
            raise InputError("the bag's odometry and ground truth do not overlap in time")
        position, yaw = self.truth.at(odometry.stamps_ns[:1])
        turn = rotation_matrix(float(yaw[0] - odometry.yaws_rad[0]))
        return Trajectory(
            odometry.stamps_ns,
            odometry.received_ns,
            (odometry.positions_m - odometry.positions_m[0]) @ turn.T + position[0],
            odometry.yaws_rad + float(yaw[0] - odometry.yaws_rad[0]),
            turn @ odometry.covariances @ turn.T,
        )
