"""Scale and floor that turn the covariance that the head states into that of the errors which were observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.bundle.calibrated_range import scales_within
from geoflow_ros.bundle.constraints import CountOrZero, NonEmptyText, PositiveNumber
from geoflow_ros.errors import InputError


@dataclass(frozen=True)
class Calibration:
    """Scale and floor, per axis of the patch, from the head's covariance to that of the errors which were observed.

    calibrated = S raw S + diag(floor^2), S = diag(forward_scale, right_scale). A scale below 1 fades to 1 where the
    head is less sure than on any pair that it was fitted on.

    Attributes:
        forward_scale, right_scale: factors on the standard deviation, positive.
        forward_floor_m, right_floor_m: standard deviation in metres that is there however sure the head is, positive.
        pairs: number of held-out pairs that it was fitted on; 0 says that it was never fitted.
        data: what these pairs were.
        forward_most_m, right_most_m: the head's standard deviations on these pairs, nearly the largest (99 %); None
            where that is not known.
    """

    forward_scale: PositiveNumber
    right_scale: PositiveNumber
    forward_floor_m: PositiveNumber
    right_floor_m: PositiveNumber
    pairs: CountOrZero
    data: NonEmptyText
    forward_most_m: PositiveNumber | None = None
    right_most_m: PositiveNumber | None = None

    def __post_init__(self) -> None:
        for name in ("forward_scale", "right_scale", "forward_floor_m", "right_floor_m"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0.0):
                raise InputError(f"calibration: {name} must be a positive number, got {value}")
        if self.pairs < 0:
            raise InputError(f"calibration: pairs must not be negative, got {self.pairs}")

    @classmethod
    def unfitted(cls, ground_resolution_m: float) -> Calibration:
        """The identity, with the standard deviation of rounding to one satellite pixel as the floor."""
        floor_m = ground_resolution_m / np.sqrt(12.0)
        return cls(1.0, 1.0, float(floor_m), float(floor_m), 0, "not fitted")

    def apply(self, raw_covariance: Float64Array) -> Float64Array:
        """Calibrated covariance (..., 2, 2) in m^2 of the raw one (..., 2, 2) in m^2, both (forward, right)."""
        most_m = (self.forward_most_m, self.right_most_m)
        scale = scales_within(raw_covariance, (self.forward_scale, self.right_scale), most_m)
        floor_m = np.array([self.forward_floor_m, self.right_floor_m])
        return raw_covariance * (scale[..., :, None] * scale[..., None, :]) + np.diag(floor_m**2)
