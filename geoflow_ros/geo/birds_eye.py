"""The ground seen from above through a camera: which pixel shows which cell of a grid that lies before the vehicle.

The world point of every cell is projected into the image (section 3.1, eq. 1 of "Learning Dense Flow Field for
Highly-accurate Cross-view Camera Localization", NeurIPS 2023), and the image, or features of it, is sampled there.
Cameras are virtual: level, without distortion, above flat ground. A real camera's images are warped to one first.

Pixel coordinates are (column, row), integers being the centres of pixels; metres are (forward, right) of the point on
the ground below the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoflow_ros.arrays import Float32Array, Float64Array
from geoflow_ros.errors import GeometryError

CAMERA_HEIGHT_M, HORIZON = 1.65, 0.4
"""How a car's camera stands, in the worlds and where nothing else is said: above the ground, and the row of the horizon
as a share of the image's height."""

_MIN_FORWARD_M = 1e-6  # what is not farther ahead has no pixel in a perspective image


class GroundCamera(Protocol):
    """A level camera above flat ground."""

    @property
    def width_px(self) -> int:
        """Width of the image."""
        ...

    @property
    def height_px(self) -> int:
        """Height of the image."""
        ...

    @property
    def lowest_row_px(self) -> float:
        """The lowest row that shows the ground and not the vehicle itself."""
        ...

    def ground_to_pixel(self, forward_right_m: ArrayLike) -> Float64Array:
        """Projects (..., 2) points on the ground to (..., 2) pixels, NaN where a point has none."""
        ...


@dataclass(frozen=True)
class VirtualCamera:
    """A level pinhole camera with square pixels that looks straight ahead; its middle column is forward.

    Attributes:
        width_px: of the image.
        height_px: of the image.
        focal_px: focal length.
        horizon_row_px: row of the horizon, which a level camera's optical axis meets; it may lie outside the image.
        height_m: of the optical centre above the ground.
        bonnet_row_px: rows below this one show the vehicle's bonnet; None if all show the world.
        roll_rad: leftover roll about the optical axis, small, positive to the right (clockwise as the driver sees it).

    Raises:
        GeometryError: a size, focal length or height that is not positive, or a value that is not finite.
    """

    width_px: int
    height_px: int
    focal_px: float
    horizon_row_px: float
    height_m: float
    bonnet_row_px: float | None = None
    roll_rad: float = 0.0

    def __post_init__(self) -> None:
        _check_camera(self.width_px, self.height_px, self.height_m)
        if not (math.isfinite(self.focal_px) and self.focal_px > 0.0):
            raise GeometryError(f"a virtual camera's focal length must be positive pixels, not {self.focal_px}")
        values = (self.horizon_row_px, 0.0 if self.bonnet_row_px is None else self.bonnet_row_px, self.roll_rad)
        if not all(math.isfinite(value) for value in values):
            raise GeometryError("the rows of a virtual camera's horizon and bonnet, and its roll, must be finite")

    @property
    def lowest_row_px(self) -> float:
        """The lowest row that shows the ground and not the vehicle itself."""
        last = self.height_px - 1.0
        return last if self.bonnet_row_px is None else min(last, self.bonnet_row_px)

    def below(self, row_px: int) -> VirtualCamera:
        """Returns the camera of the same images without their `row_px` upper rows, such as the sky."""
        bonnet = None if self.bonnet_row_px is None else self.bonnet_row_px - row_px
        return replace(
            self,
            height_px=self.height_px - row_px,
            horizon_row_px=self.horizon_row_px - row_px,
            bonnet_row_px=bonnet,
        )

    def ground_to_pixel(self, forward_right_m: ArrayLike) -> Float64Array:
        """Projects (..., 2) points on the ground to (..., 2) pixels, NaN for what is not ahead."""
        points = np.asarray(forward_right_m, float)
        forward = np.where(points[..., 0] > _MIN_FORWARD_M, points[..., 0], np.nan)
        right, down = self.focal_px * points[..., 1] / forward, self.focal_px * self.height_m / forward
        cosine, sine = math.cos(self.roll_rad), math.sin(self.roll_rad)
        column = (self.width_px - 1) / 2.0 + right * cosine + down * sine
        row = self.horizon_row_px + down * cosine - right * sine
        return np.stack((column, row), axis=-1)


@dataclass(frozen=True)
class VirtualPanorama:
    """A level equirectangular panorama; straight ahead is the middle column, the horizon the middle row.

    Attributes:
        width_px: of the image, which goes once around.
        height_px: of the image.
        vertical_fov_rad: angle between the image's upper and lower edge.
        height_m: of the optical centre above the ground.
        bonnet_row_px: rows below this one show the vehicle; None if all show the world.

    Raises:
        GeometryError: a size, angle or height that is not positive, or a value that is not finite.
    """

    width_px: int
    height_px: int
    vertical_fov_rad: float
    height_m: float
    bonnet_row_px: float | None = None

    def __post_init__(self) -> None:
        _check_camera(self.width_px, self.height_px, self.height_m)
        if not 0.0 < self.vertical_fov_rad <= math.pi:
            raise GeometryError(f"a panorama's vertical field of view lies in (0, pi] rad, not {self.vertical_fov_rad}")
        if self.bonnet_row_px is not None and not math.isfinite(self.bonnet_row_px):
            raise GeometryError("the row of a panorama's bonnet must be finite")

    @property
    def lowest_row_px(self) -> float:
        """The lowest row that shows the ground and not the vehicle itself."""
        last = self.height_px - 1.0
        return last if self.bonnet_row_px is None else min(last, self.bonnet_row_px)

    def ground_to_pixel(self, forward_right_m: ArrayLike) -> Float64Array:
        """Projects (..., 2) points on the ground to (..., 2) pixels; columns lie in [-0.5, width_px - 0.5].

        What lies straight behind is on the seam, half a pixel beyond the last pixels' centres.
        """
        points = np.asarray(forward_right_m, float)
        azimuth = np.arctan2(points[..., 1], points[..., 0])  # positive to the right
        depression = np.arctan2(self.height_m, np.hypot(points[..., 0], points[..., 1]))
        column = (azimuth / (2.0 * math.pi) + 0.5) * self.width_px - 0.5
        row = (0.5 + depression / self.vertical_fov_rad) * self.height_px - 0.5
        return np.stack((column, row), axis=-1)


@dataclass(frozen=True, eq=False)
class BirdsEyeSampling:
    """Where an image shows the cells of a bird's-eye grid.

    Coordinates are those of bilinear grid sampling that counts pixels by their edges, as
    `torch.nn.functional.grid_sample` with align_corners=False and ONNX's GridSample with align_corners 0: -1 is the
    left edge of the first pixel and 1 the right edge of the last one, so that the centre of column c lies at
    (2 c + 1) / width - 1. They hold for features of the image at any stride whose cells cover whole pixels, without
    change. Sample with the border's values beyond the edges: half a pixel of a panorama's seam lies there.

    Attributes:
        coordinates: (F, R, 2) float32 (x, y), x along the image's columns and y along its rows; 2 beyond both edges
            where the camera does not see the cell.
        is_visible: (F, R) bool: the camera sees the cell. Others must take no part.
    """

    coordinates: Float32Array
    is_visible: NDArray[np.bool_]


@dataclass(frozen=True)
class BirdsEyeGrid:
    """Square cells on the ground before (or around) the vehicle: axis 0 goes forward, axis 1 to the right.

    Cell (i, j) has its centre (first_forward_cell + i + 0.5) cells ahead and (j + 0.5 - right_cells / 2) cells to the
    right: the vehicle's axis is the border between two columns, and the camera stands on the corner of four cells, as
    a patch's centre does on the corner of four pixels.

    Attributes:
        cell_m: side of a cell.
        first_forward_cell: cells between the camera and the first row; negative where the grid begins behind it.
        forward_cells: F, rows.
        right_cells: R, columns; even.
        range_m: cells whose centres are farther from the camera take no part; None for no such limit.

    Raises:
        GeometryError: sizes that are not positive or an odd number of columns.
    """

    cell_m: float
    first_forward_cell: int
    forward_cells: int
    right_cells: int
    range_m: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cell_m) and self.cell_m > 0.0):
            raise GeometryError(f"a bird's-eye cell must have a positive size, not {self.cell_m} m")
        if self.forward_cells < 1 or self.right_cells < 2 or self.right_cells % 2:
            raise GeometryError(
                "a bird's-eye grid needs at least one row and an even number of columns, not "
                f"{self.forward_cells} x {self.right_cells}"
            )
        if self.range_m is not None and not self.range_m > 0.0:
            raise GeometryError(f"the range of a bird's-eye grid must be positive, not {self.range_m} m")

    def refined(self, factor: int) -> BirdsEyeGrid:
        """Returns the grid of the same area with each cell divided into factor x factor."""
        return replace(
            self,
            cell_m=self.cell_m / factor,
            first_forward_cell=self.first_forward_cell * factor,
            forward_cells=self.forward_cells * factor,
            right_cells=self.right_cells * factor,
        )

    def coarsened(self, factor: int) -> BirdsEyeGrid:
        """Returns the grid of the same area with factor x factor cells joined.

        Raises:
            GeometryError: the grid's sides are no multiples of the factor.
        """
        if self.first_forward_cell % factor or self.forward_cells % factor or self.right_cells % (2 * factor):
            raise GeometryError(f"the cells of {self} cannot be joined by {factor} x {factor}")
        return replace(
            self,
            cell_m=self.cell_m * factor,
            first_forward_cell=self.first_forward_cell // factor,
            forward_cells=self.forward_cells // factor,
            right_cells=self.right_cells // factor,
        )

    def centres_m(self) -> Float64Array:
        """Returns the (F, R, 2) centres of the cells, (forward, right) of the camera in metres."""
        forward = (np.arange(self.forward_cells) + self.first_forward_cell + 0.5) * self.cell_m
        right = (np.arange(self.right_cells) + 0.5 - self.right_cells / 2) * self.cell_m
        return np.stack(np.meshgrid(forward, right, indexing="ij"), axis=-1)

    def to_cell(self, forward_right_m: ArrayLike) -> Float64Array:
        """Converts (..., 2) metres to (..., 2) cell coordinates, integers being the centres of cells."""
        origin = np.array([self.first_forward_cell + 0.5, 0.5 - self.right_cells / 2])
        return np.asarray(np.asarray(forward_right_m, float) / self.cell_m - origin)

    def sampling(self, camera: GroundCamera) -> BirdsEyeSampling:
        """Returns where the camera's image shows the cells' centres, and which cells it sees.

        A cell is visible if its centre's pixel lies between the centres of the image's outermost pixels (a panorama
        has no outermost columns), above the bonnet, and within the range.

        Raises:
            GeometryError: the camera sees no cell at all.
        """
        centres = self.centres_m()
        pixel = camera.ground_to_pixel(centres)
        column, row = pixel[..., 0], pixel[..., 1]
        with np.errstate(invalid="ignore"):
            is_visible = (row >= 0.0) & (row <= camera.lowest_row_px)
            if not isinstance(camera, VirtualPanorama):
                is_visible &= (column >= 0.0) & (column <= camera.width_px - 1.0)
        if self.range_m is not None:
            is_visible &= np.hypot(centres[..., 0], centres[..., 1]) <= self.range_m
        if not is_visible.any():
            raise GeometryError(
                "the camera sees no cell of the bird's-eye grid: look at its horizon, bonnet and height, and at the "
                "grid's range"
            )
        size = np.array([camera.width_px, camera.height_px])
        coordinates = np.where(is_visible[..., None], (2.0 * pixel + 1.0) / size - 1.0, 2.0)
        return BirdsEyeSampling(coordinates.astype(np.float32), is_visible)


def _check_camera(width_px: int, height_px: int, height_m: float) -> None:
    if width_px < 1 or height_px < 1:
        raise GeometryError(f"a virtual camera's image must have pixels, not {width_px} x {height_px}")
    if not (math.isfinite(height_m) and height_m > 0.0):
        raise GeometryError(f"a virtual camera must be above the ground, not at {height_m} m")
