"""Where an image shows the cells of a bird's-eye network's grid, for each way in which the camera may stand.

The image is the network's: without the rows of the sky that it does not look at.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import BoolArray, Float32Array
from geoflow_ros.bundle.birds_eye import BirdsEyeGeometry
from geoflow_ros.errors import GeometryError
from geoflow_ros.geo.birds_eye import BirdsEyeGrid, GroundCamera, VirtualCamera

NARROW_TURN_RAD = math.radians(15.0)  # up to here the templates' own grid is canvas enough for turned ones


@dataclass(frozen=True, eq=False)
class GroundProjection:
    """Where the image shows the cells, for each of P cameras.

    Attributes:
        cells: (P, F, R, 2) float32 grid-sampling coordinates of the fine cells in the image without its sky.
        colours: (P, 2 F, 2 R, 2) those of cells half as wide, on which the colours themselves are laid.
        is_visible: (P, 1, F, R) float32, 1 where the camera sees the cell, else 0.
    """

    cells: Float32Array
    colours: Float32Array
    is_visible: Float32Array

    def within(self, covered: BoolArray | None) -> GroundProjection:
        """Returns the projection without the cells whose pixels the image does not show.

        Args:
            covered: (H, W) of the image without its sky; all of it where None.
        """
        if covered is None:
            return self
        height, width = covered.shape
        at = np.rint(((self.cells + 1.0) * (width, height) - 1.0) / 2.0).astype(int)
        shown = covered[at[..., 1].clip(0, height - 1), at[..., 0].clip(0, width - 1)]
        return replace(self, is_visible=self.is_visible * shown[:, None].astype(np.float32))


def project_ground(geometry: BirdsEyeGeometry, cameras: Sequence[GroundCamera]) -> GroundProjection:
    """Returns the sampling of a network's grid through one camera or several.

    Raises:
        GeometryError: a camera that sees no cell.
    """
    fine, half = geometry.grid, geometry.grid.refined(2)
    perspective = [camera for camera in cameras if isinstance(camera, VirtualCamera)]
    if len(perspective) == len(cameras):
        (cells, seen), (colours, _) = (_seen_by_all(geometry, grid, perspective) for grid in (fine, half))
    else:
        both = [_sampled(geometry, fine, camera) for camera in cameras]
        cells, seen = (np.stack(part) for part in zip(*both, strict=True))
        colours = np.stack([_sampled(geometry, half, camera)[0] for camera in cameras])
    if not seen.any(axis=(1, 2)).all():
        raise GeometryError("a camera sees no cell of the bird's-eye grid: look at its horizon, bonnet and height")
    return GroundProjection(cells, colours, (seen & _stays_on_grid(geometry))[:, None].astype(np.float32))


@functools.lru_cache(maxsize=8)
def _rays(grid: BirdsEyeGrid) -> tuple[Float32Array, Float32Array, NDArray[np.bool_]]:
    """Returns right and 1 m over forward of the cells' centres, and which a perspective camera may see, (F, R) each."""
    forward, right = np.moveaxis(grid.centres_m(), -1, 0)
    ahead = forward > 0.0
    near = ahead if grid.range_m is None else ahead & (np.hypot(forward, right) <= grid.range_m)
    inverse = np.divide(1.0, forward, out=np.zeros_like(forward), where=ahead)
    return (right * inverse).astype(np.float32), inverse.astype(np.float32), near


def _seen_by_all(
    geometry: BirdsEyeGeometry, grid: BirdsEyeGrid, cameras: Sequence[VirtualCamera]
) -> tuple[Float32Array, NDArray[np.bool_]]:
    """Does the same as `_sampled` for all cameras at once, (P, F, R, 2) and (P, F, R): each frame has its own."""
    across, near, may_be_seen = _rays(grid)
    columns, row, focal, down, cosine, sine, lowest = np.array(
        [
            (
                (c.width_px - 1) / 2.0, c.horizon_row_px, c.focal_px, c.height_m,
                math.cos(c.roll_rad), math.sin(c.roll_rad), c.lowest_row_px,
            )
            for c in cameras
        ],
        np.float32,
    ).T[:, :, None, None]  # fmt: skip
    right_px, down_px = focal * across, focal * down * near
    column = columns + right_px * cosine + down_px * sine
    y = row + down_px * cosine - right_px * sine
    width, sky, height = geometry.ground_width_px, geometry.sky_rows_px, geometry.ground_height_px
    seen = may_be_seen & (column >= 0.0) & (column <= width - 1.0) & (y >= sky) & (y <= lowest)
    where = np.stack(((2.0 * column + 1.0) / width - 1.0, (2.0 * (y - sky) + 1.0) / (height - sky) - 1.0), axis=-1)
    return np.where(seen[..., None], where, np.float32(2.0)).astype(np.float32), seen


@functools.lru_cache(maxsize=8)
def _stays_on_grid(geometry: BirdsEyeGeometry) -> NDArray[np.bool_]:
    """Tells which cells are still on the grid when it is turned by the largest heading error, (F, R).

    The others, its far corners, take no part: templates would lose them at some headings and not at others.
    """
    grid = geometry.grid
    turn = min(math.radians(geometry.max_turn_deg), NARROW_TURN_RAD)
    forward, right = np.moveaxis(grid.centres_m() / grid.cell_m, -1, 0)
    outward = forward * math.sin(turn) + np.abs(right) * math.cos(turn)
    onward = forward * math.cos(turn) + np.abs(right) * math.sin(turn)
    end = grid.first_forward_cell + grid.forward_cells
    return np.asarray((outward <= grid.right_cells / 2) & (onward <= end))


def _sampled(
    geometry: BirdsEyeGeometry, grid: BirdsEyeGrid, camera: GroundCamera
) -> tuple[Float32Array, NDArray[np.bool_]]:
    """Returns a grid's coordinates in the image without its sky, and which cells are seen in it."""
    sampling = grid.sampling(camera)
    height, sky = geometry.ground_height_px, geometry.sky_rows_px
    y = sampling.coordinates[..., 1].astype(float)
    row = ((y + 1.0) * height - 1.0) / 2.0 - sky
    is_visible = sampling.is_visible & (row >= 0.0)
    coordinates = np.where(
        is_visible[..., None],
        np.stack([sampling.coordinates[..., 0], (2.0 * row + 1.0) / (height - sky) - 1.0], axis=-1),
        2.0,
    )
    return coordinates.astype(np.float32), is_visible
