"""What a lens does to a ray: the camera models of ROS's calibration (sensor_msgs/CameraInfo, REP-104).

The optical frame is REP-103's: x right, y down, z forward. Pixels are (column, row), integers being their centres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError

PLUMB_BOB, RATIONAL_POLYNOMIAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
_LENGTHS = {PLUMB_BOB: (4, 5), RATIONAL_POLYNOMIAL: (8, 12), EQUIDISTANT: (4,)}
_OTHER_NAMES = {"": PLUMB_BOB, "none": PLUMB_BOB, "fisheye": EQUIDISTANT, "kannala_brandt": EQUIDISTANT}

_SAME_SHAPE = 0.01  # relative difference of width / height of images that are the calibrated ones, resized
_WIDEST_TANGENT = math.tan(math.radians(88.0))  # a pinhole lens is followed up to here
_WIDEST_RAD = math.radians(150.0)  # and a fisheye up to here: nothing looks farther back
_LEAST_DEPTH = 1e-9  # of a ray's z, for rays of about unit length: what is not ahead has no pixel
_SAMPLES = 2000  # at which a lens is held for monotonic


@dataclass(frozen=True)
class Intrinsics:
    """The calibration of a camera's images, distortion included.

    Attributes:
        width_px, height_px: of the images that the other values are of.
        fx, fy: focal lengths, pixels.
        cx, cy: the principal point, pixels.
        model: `PLUMB_BOB`, `RATIONAL_POLYNOMIAL` or `EQUIDISTANT` (a fisheye).
        coefficients: of the distortion in OpenCV's order; empty where there is none.
        rectification: nine numbers, row by row, of the rotation from the optical frame to that of the images: where a
            stereo pair was rectified. Empty where there is none.

    Raises:
        InputError: values that no camera has, or a model that is not known; in one line that says what to do.
    """

    width_px: int
    height_px: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = PLUMB_BOB
    coefficients: tuple[float, ...] = ()
    rectification: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width_px < 2 or self.height_px < 2:
            raise InputError(f"the calibration is of {self.width_px} x {self.height_px} images: calibrate the camera")
        values = (self.fx, self.fy, self.cx, self.cy, *self.coefficients, *self.rectification)
        if not all(math.isfinite(value) for value in values) or min(self.fx, self.fy) <= 0.0:
            raise InputError(
                f"the calibration has focal lengths {self.fx:g}, {self.fy:g} px or values that are not finite: "
                "calibrate the camera"
            )
        lengths = _LENGTHS.get(self.model)
        if lengths is None:
            raise InputError(
                f"the calibration's distortion model '{self.model}' is not one of {', '.join(_LENGTHS)}: calibrate the "
                "camera with one of these, or rectify its images"
            )
        if self.coefficients and len(self.coefficients) not in lengths:
            raise InputError(
                f"the calibration's model '{self.model}' has {' or '.join(map(str, lengths))} coefficients, not "
                f"{len(self.coefficients)}"
            )
        if len(self.rectification) not in (0, 9):
            raise InputError(f"the calibration's rectification has 9 numbers, not {len(self.rectification)}")

    @classmethod
    def of_calibration(
        cls,
        size: tuple[int, int],
        model: str,
        camera_matrix: Sequence[float],
        coefficients: Sequence[float],
    ) -> Intrinsics:
        """Makes one of what a calibration lists.

        Args:
            size: (width, height) of the full images.
            model: of the distortion, as ROS or OpenCV call it.
            camera_matrix: nine numbers of K, row by row.
            coefficients: of the distortion, D; more or fewer than the model's are made up or dropped where they are 0.

        Raises:
            InputError: see the class.
        """
        if len(camera_matrix) != 9:
            raise InputError(f"the calibration's camera matrix has 9 numbers, not {len(camera_matrix)}")
        if camera_matrix[1]:
            raise InputError("the calibration's camera matrix has a skew, which no camera with square rows has")
        name = model.strip().lower()
        name = _OTHER_NAMES.get(name, name)
        own = _own_coefficients(name, [float(value) for value in coefficients])
        fx, fy, cx, cy = (float(camera_matrix[k]) for k in (0, 4, 2, 5))
        return cls(int(size[0]), int(size[1]), fx, fy, cx, cy, name, own)

    @classmethod
    def of_rectified(
        cls, size: tuple[int, int], projection_matrix: Sequence[float], rectification: Sequence[float]
    ) -> Intrinsics:
        """Makes one of what a calibration says of rectified images.

        Args:
            size: (width, height) of the full images.
            projection_matrix: twelve numbers of P, row by row.
            rectification: nine numbers of R.

        Raises:
            InputError: see the class.
        """
        if len(projection_matrix) != 12:
            raise InputError(f"the calibration's projection matrix has 12 numbers, not {len(projection_matrix)}")
        fx, fy, cx, cy = (float(projection_matrix[k]) for k in (0, 5, 2, 6))
        turned = tuple(float(value) for value in rectification)
        is_turned = any(turned) and not np.allclose(turned, np.eye(3).ravel(), atol=1e-9)
        return cls(int(size[0]), int(size[1]), fx, fy, cx, cy, rectification=turned if is_turned else ())

    def of_region(
        self, left_px: int, top_px: int, width_px: int, height_px: int, binning: tuple[int, int] = (1, 1)
    ) -> Intrinsics:
        """Returns the calibration of a region of the images, with so many columns and rows of pixels made one.

        Args:
            left_px: the region's first column, in pixels of the full image.
            top_px: its first row.
            width_px: its width in the same; 0 stands for all that is left.
            height_px: likewise.
            binning: columns and rows that are made one.

        Raises:
            InputError: the region is not in the image.
        """
        width_px, height_px = width_px or self.width_px - left_px, height_px or self.height_px - top_px
        is_negative = min(left_px, top_px) < 0
        if is_negative or left_px + width_px > self.width_px or top_px + height_px > self.height_px:
            raise InputError(
                f"the calibration's region ({width_px} x {height_px} at {left_px}, {top_px}) is not within its "
                f"{self.width_px} x {self.height_px} image: check the camera driver"
            )
        part = replace(self, width_px=width_px, height_px=height_px, cx=self.cx - left_px, cy=self.cy - top_px)
        return part._scaled(width_px // binning[0], height_px // binning[1], 1.0 / binning[0], 1.0 / binning[1])

    def for_image(self, width_px: int, height_px: int) -> Intrinsics:
        """Returns the calibration of images of a size: the calibrated ones, or the same ones resized.

        Raises:
            InputError: they have another shape.
        """
        if (width_px, height_px) == (self.width_px, self.height_px):
            return self
        across, down = width_px / self.width_px, height_px / self.height_px
        if abs(across / down - 1.0) > _SAME_SHAPE:
            raise InputError(
                f"the camera image is {width_px} x {height_px}, but its calibration is for {self.width_px} x "
                f"{self.height_px}: give the calibration of these images (a crop has a region of interest in "
                "camera_info)"
            )
        return self._scaled(width_px, height_px, across, down)

    def _scaled(self, width_px: int, height_px: int, across: float, down: float) -> Intrinsics:
        """The same lens before larger or smaller pixels; those of the corner keep their outer edges."""
        return replace(
            self,
            width_px=width_px,
            height_px=height_px,
            fx=self.fx * across,
            fy=self.fy * down,
            cx=(self.cx + 0.5) * across - 0.5,
            cy=(self.cy + 0.5) * down - 0.5,
        )

    def project(self, rays: Float64Array) -> Float64Array:
        """Returns the pixels (..., 2) of rays (..., 3) in the optical frame, of any length; NaN where there is none.

        A polynomial that was fitted to the image folds back beyond it: rays beyond its largest radius have no pixel.
        """
        if self.rectification:
            rays = rays @ np.reshape(self.rectification, (3, 3)).T
        shape = rays.shape[:-1]
        flat = rays.reshape(-1, 3)
        points = self._fisheye(flat) if self.model == EQUIDISTANT else self._pinhole(flat)
        return np.asarray(points.reshape(*shape, 2))

    def _fisheye(self, rays: Float64Array) -> Float64Array:
        across = np.hypot(rays[:, 0], rays[:, 1])
        angle = np.arctan2(across, rays[:, 2])
        seen = angle <= self._widest
        # On the axis the image's radius over the ray's is that of the limit.
        radius = np.divide(self._radius(angle), across, out=1.0 / np.abs(rays[:, 2]).clip(1e-12), where=across > 1e-12)
        radius = np.where(seen, radius, np.nan)
        return np.stack([self.fx * radius * rays[:, 0] + self.cx, self.fy * radius * rays[:, 1] + self.cy], axis=-1)

    def _pinhole(self, rays: Float64Array) -> Float64Array:
        ahead = np.where(rays[:, 2] > _LEAST_DEPTH, rays[:, 2], np.nan)
        x, y = rays[:, 0] / ahead, rays[:, 1] / ahead
        square = x * x + y * y
        square = np.where(square <= self._widest**2, square, np.nan)
        k = self._twelve
        # OpenCV's formula: radial, tangential (k[2:4]), thin prism (k[8:12]).
        radial = (1.0 + square * (k[0] + square * (k[1] + square * k[4]))) / (
            1.0 + square * (k[5] + square * (k[6] + square * k[7]))
        )
        bent_x = x * radial + 2.0 * k[2] * x * y + k[3] * (square + 2.0 * x * x) + square * (k[8] + square * k[9])
        bent_y = y * radial + k[2] * (square + 2.0 * y * y) + 2.0 * k[3] * x * y + square * (k[10] + square * k[11])
        return np.stack([self.fx * bent_x + self.cx, self.fy * bent_y + self.cy], axis=-1)

    @cached_property
    def _twelve(self) -> Float64Array:
        return np.array([*self.coefficients, *[0.0] * 12])[:12]

    def _radius(self, off_axis: Float64Array) -> Float64Array:
        """Radius in the image, in focal lengths, of rays off the axis: angles of a fisheye, tangents of others."""
        k, square = self._twelve, off_axis**2
        if self.model == EQUIDISTANT:
            return np.asarray(off_axis * (1.0 + square * (k[0] + square * (k[1] + square * (k[2] + square * k[3])))))
        above = 1.0 + square * (k[0] + square * (k[1] + square * k[4]))
        below = 1.0 + square * (k[5] + square * (k[6] + square * k[7]))
        return np.asarray(np.where(below > 0.0, off_axis * above / np.where(below > 0.0, below, 1.0), -np.inf))

    @cached_property
    def _widest(self) -> float:
        """The largest angle (of a fisheye) or tangent up to which radii in the image grow."""
        off_axis = np.linspace(0.0, _WIDEST_RAD, _SAMPLES) if self.model == EQUIDISTANT else _tangents()
        falls = np.flatnonzero(np.diff(self._radius(off_axis)) <= 0.0)
        return float(off_axis[falls[0]] if falls.size else off_axis[-1])


def _tangents() -> Float64Array:
    return np.tan(np.linspace(0.0, math.atan(_WIDEST_TANGENT), _SAMPLES))


def _own_coefficients(model: str, given: list[float]) -> tuple[float, ...]:
    """The coefficients as the model counts them; empty where there is no distortion. Zeros are added or cut."""
    if not any(given):
        return ()
    while given and given[-1] == 0.0:
        given = given[:-1]
    longer = [length for length in _LENGTHS.get(model, ()) if length >= len(given)]
    return (*given, *[0.0] * (longer[0] - len(given))) if longer else tuple(given)
