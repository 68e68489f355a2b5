"""Where an image shows the cells of a bird's-eye network's grid, for each way in which the camera may stand.

The image is the network's: without the rows of the sky that it does not look at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import Float32Array
from geoflow_ros.bundle.birds_eye import BirdsEyeGeometry
from geoflow_ros.geo.birds_eye import BirdsEyeGrid, GroundCamera

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


def project_ground(geometry: BirdsEyeGeometry, cameras: Sequence[GroundCamera]) -> GroundProjection:
    """Returns the sampling of a network's grid through one camera or several.

    Raises:
        GeometryError: a camera that sees no cell.
    """
    cells = [_sampled(geometry, geometry.grid, camera) for camera in cameras]
    colours = [_sampled(geometry, geometry.grid.refined(2), camera)[0] for camera in cameras]
    stays = _stays_on_grid(geometry)
    visible = np.stack([seen & stays for _, seen in cells])[:, None]
    return GroundProjection(np.stack([grid for grid, _ in cells]), np.stack(colours), visible.astype(np.float32))


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
