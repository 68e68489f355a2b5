"""How a camera is mounted on its vehicle, and how the vehicle stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo.attitude import rotation_of_rpy, rpy_of_rotation

OPTICAL_OF_BODY: Float64Array = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""Turns a camera's body axes (x forward, y left, z up) into its optical ones (x right, y down, z forward; REP-103)."""

MOST_TILT_RAD = math.radians(60.0)
"""A camera that is pitched or rolled farther shows too little of the ground ahead."""


@dataclass(frozen=True)
class Attitude:
    """How the vehicle (or a camera) leans; see `geo.attitude` for the signs.

    Attributes:
        roll_rad: positive: the right side is lower.
        pitch_rad: positive: the nose is lower.
    """

    roll_rad: float = 0.0
    pitch_rad: float = 0.0

    def rounded(self, step_rad: float) -> Attitude:
        """Returns the nearest one on a grid of steps."""
        return Attitude(round(self.roll_rad / step_rad) * step_rad, round(self.pitch_rad / step_rad) * step_rad)


LEVEL = Attitude()
"""A vehicle that stands level."""


@dataclass(frozen=True)
class Mounting:
    """Where a camera is on its vehicle and how it is turned; its body axes are forward, left and up, as base_link's.

    Attributes:
        forward_m, left_m: of base_link.
        yaw_rad: of the camera from the vehicle's forward, to the left.
        lean: roll and pitch of the camera against the vehicle.
        height_m: above the ground; None where it is not known, and taken for the model's.

    Raises:
        InputError: values that are not finite, a camera under the ground, or one that looks up or down steeply.
    """

    forward_m: float = 0.0
    left_m: float = 0.0
    yaw_rad: float = 0.0
    lean: Attitude = LEVEL
    height_m: float | None = None

    def __post_init__(self) -> None:
        height_m = 1.0 if self.height_m is None else self.height_m
        values = (self.forward_m, self.left_m, self.yaw_rad, self.lean.roll_rad, self.lean.pitch_rad, height_m)
        if not all(math.isfinite(value) for value in values):
            raise InputError("where the camera is mounted must be stated by finite numbers")
        if height_m <= 0.0:
            raise InputError(f"the camera is {height_m:g} m above the ground: state its height above it")
        if max(abs(self.lean.roll_rad), abs(self.lean.pitch_rad)) > MOST_TILT_RAD:
            raise InputError(
                f"the camera is mounted with roll {math.degrees(self.lean.roll_rad):.0f}° and pitch "
                f"{math.degrees(self.lean.pitch_rad):.0f}°, and {math.degrees(MOST_TILT_RAD):.0f}° is the most: angles "
                "are of its body axes (x forward, y left, z up), not of the optical frame"
            )

    @classmethod
    def of_optical_frame(
        cls, rotation: Float64Array, translation_m: Float64Array, height_m: float | None = None
    ) -> Mounting:
        """Makes one of the pose of the optical frame in base_link, as TF has it.

        Args:
            rotation: (3, 3) from optical axes to base_link's.
            translation_m: (3,).
            height_m: above the ground, where that is another than the translation's.

        Raises:
            InputError: see the class.
        """
        roll_rad, pitch_rad, yaw_rad = rpy_of_rotation(rotation @ OPTICAL_OF_BODY)
        x_m, y_m, z_m = (float(value) for value in translation_m)
        return cls(x_m, y_m, yaw_rad, Attitude(roll_rad, pitch_rad), z_m if height_m is None else height_m)

    def optical_of_level(self, vehicle: Attitude) -> Float64Array:
        """Returns the (3, 3) rotation of level axes into the camera's optical ones.

        The level axes are forward, left and up, of a camera that is turned by the mounting's yaw from the vehicle's
        heading and not leaned at all.

        Args:
            vehicle: how it leans.
        """
        heading_of_body = rotation_of_rpy(vehicle.roll_rad, vehicle.pitch_rad, 0.0) @ rotation_of_rpy(
            self.lean.roll_rad, self.lean.pitch_rad, self.yaw_rad
        )
        level_of_body = rotation_of_rpy(0.0, 0.0, -self.yaw_rad) @ heading_of_body
        return np.asarray(OPTICAL_OF_BODY @ level_of_body.T)
