"""Temperature, scale and floor that turn a posterior's covariance into that of the errors which were observed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.bundle.calibrated_range import scales_within
from geoflow_ros.bundle.constraints import CountOrZero, NonEmptyText, NumberFromZero, PositiveNumber
from geoflow_ros.errors import InputError


@dataclass(frozen=True)
class PoseCalibration:
    """Temperature of the scores, then scale and floor per axis, for a covariance that means what it says.

    The covariance is that of the posterior whose scores are all divided by the temperature; the pose, its modes and
    their masses are those of the scores themselves. calibrated = S own S + diag(floor^2) + others, S = diag(scales):
    the answer's own hill is scaled, and other places count in full. A scale below 1 fades to 1 where the hill is wider
    than on any pair that it was fitted on.

    Attributes:
        temperature: of the scores that the covariance is taken from, positive.
        forward_scale, right_scale, yaw_scale: factors on the standard deviations, positive.
        forward_floor_m, right_floor_m: standard deviation in metres that is there however sure the posterior is.
        yaw_floor_rad: likewise of the yaw.
        pairs: number of held-out pairs that it was fitted on; 0 says that it was never fitted.
        data: what these pairs were.
        forward_most_m, right_most_m, yaw_most_rad: the hills' standard deviations on these pairs, nearly the largest
            (99 %); None where that is not known.
    """

    temperature: PositiveNumber
    forward_scale: PositiveNumber
    right_scale: PositiveNumber
    yaw_scale: PositiveNumber
    forward_floor_m: NumberFromZero
    right_floor_m: NumberFromZero
    yaw_floor_rad: NumberFromZero
    pairs: CountOrZero
    data: NonEmptyText
    forward_most_m: PositiveNumber | None = None
    right_most_m: PositiveNumber | None = None
    yaw_most_rad: PositiveNumber | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "forward_scale", "right_scale", "yaw_scale"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0.0):
                raise InputError(f"calibration: {name} must be a positive number, got {value}")
        for name in ("forward_floor_m", "right_floor_m", "yaw_floor_rad"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0.0):
                raise InputError(f"calibration: {name} must be a number that is not negative, got {value}")
        if self.pairs < 0:
            raise InputError(f"calibration: pairs must not be negative, got {self.pairs}")

    @classmethod
    def unfitted(cls) -> PoseCalibration:
        """The posterior's own second moments, with the extent of a cell as a floor."""
        return cls(1.0, 1.0, 1.0, 1.0, 0.25, 0.25, 0.007, 0, "not fitted")

    def apply(self, own: Float64Array) -> Float64Array:
        """Calibrated covariance (..., 3, 3) of a hill's own (..., 3, 3), both of (forward, right, yaw) in m and rad."""
        most = (self.forward_most_m, self.right_most_m, self.yaw_most_rad)
        scale = scales_within(own, (self.forward_scale, self.right_scale, self.yaw_scale), most)
        floor = np.array([self.forward_floor_m, self.right_floor_m, self.yaw_floor_rad])
        return np.asarray(own * (scale[..., :, None] * scale[..., None, :]) + np.diag(floor**2))


@dataclass(frozen=True)
class PoseCalibrations:
    """Calibrations by what is known of the camera: a posterior over cameras too is another one.

    Attributes:
        camera_known: where the camera stands as the model assumes.
        camera_unknown: where several ways are tried in which it may stand.
    """

    camera_known: PoseCalibration = field(default_factory=PoseCalibration.unfitted)
    camera_unknown: PoseCalibration = field(default_factory=PoseCalibration.unfitted)
