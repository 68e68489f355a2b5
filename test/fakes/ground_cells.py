"""A tiny bird's-eye network, and features of a place as a camera with a known pose would see them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F

from geoflow_ros.geo import BirdsEyeGrid, PatchFrame
from geoflow_ros.model import BirdsEyeConfig, BirdsEyeMatcher
from geoflow_ros.model.birds_eye_encoders import GroundCells, SatelliteCells

TINY_BIRDS_EYE = BirdsEyeConfig(
    width=4,
    fine_channels=3,
    coarse_channels=5,
    satellite_size_px=64,
    ground_height_px=32,
    ground_width_px=128,
    ground_resolution_m=1.5664,
    focal_px=64.0,
    horizon_row_px=12.3,
    lowest_row_px=31.0,
    sky_rows_px=0,
    first_forward_cell=0,
    forward_cells=12,
    right_cells=16,
)


def tiny_matcher(config: BirdsEyeConfig = TINY_BIRDS_EYE, seed: int = 2) -> BirdsEyeMatcher:
    torch.manual_seed(seed)
    return BirdsEyeMatcher(config)


def place(cells: int, channels: int, seed: int) -> torch.Tensor:
    """Smooth random features of a patch's cells, (1, channels, cells, cells), axes forward and right."""
    noise = torch.randn((1, channels, cells, cells), generator=torch.Generator().manual_seed(seed))
    for _ in range(2):
        noise = F.avg_pool2d(F.pad(noise, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    return noise / noise.std()


def seen_from(
    satellite: torch.Tensor, grid: BirdsEyeGrid, offset_m: tuple[float, float], turn_rad: float
) -> torch.Tensor:
    """What lies under the grid's cells: the patch's features where the geometry of patches says, (1, C, F, R)."""
    size = satellite.shape[-1]
    patch = PatchFrame(0.0, 0.0, 0.7, size, grid.cell_m)
    camera_at = patch.local_to_enu(offset_m)
    vehicle = PatchFrame(float(camera_at[0]), float(camera_at[1]), patch.yaw_rad - turn_rad, 1, grid.cell_m)
    pixel = patch.to_pixel(vehicle.local_to_enu(grid.centres_m()))  # (F, R, 2): forward, right
    where = (2.0 * pixel[..., ::-1] + 1.0) / size - 1.0  # axis 3 of the features goes right: it is x
    points = torch.from_numpy(np.ascontiguousarray(where, np.float32))[None]
    return F.grid_sample(satellite, points, padding_mode="zeros", align_corners=False)


def scene(
    model: BirdsEyeMatcher, offset_m: tuple[float, float], turn_deg: float, seed: int = 5
) -> tuple[SatelliteCells, GroundCells]:
    """The features of one patch, and those of a camera on it at a known pose."""
    config = model.config
    fine = place(config.satellite_cells, config.fine_channels, seed)
    coarse = place(config.satellite_cells // 2, config.coarse_channels, seed + 1)
    turn = math.radians(turn_deg)
    visible = model.ground.nominal.is_visible
    confidence = [visible, F.avg_pool2d(visible, 2)]
    seen = [
        seen_from(features, grid, offset_m, turn) * trusted
        for features, grid, trusted in zip(
            (fine, coarse), (config.grid, config.grid.coarsened(2)), confidence, strict=True
        )
    ]
    context = torch.zeros((1, 4 * config.width, *confidence[1].shape[2:]))
    return SatelliteCells(fine, coarse), GroundCells(*seen, *confidence, context)
