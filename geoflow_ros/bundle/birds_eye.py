"""The camera, the ground and the search that a bird's-eye network was made for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from geoflow_ros.bundle.constraints import Count, CountOrZero, FiniteNumber, PositiveNumber
from geoflow_ros.bundle.pose_calibration import PoseCalibrations
from geoflow_ros.errors import GeometryError, InputError
from geoflow_ros.geo.birds_eye import CAMERA_HEIGHT_M, BirdsEyeGrid, GroundCamera, VirtualCamera, VirtualPanorama

COARSE = 2  # fine cells per coarse cell
FINE_STRIDE = 2  # pixels of the encoders' input per fine cell, after the stem has halved larger images
LOWEST_STRIDE = 16  # of the encoders' last stage: image sides are multiples of it
WINDOW_CELLS = 4  # fine cells from the centre to the end of a window that the fine level looks at
WINDOW_TURNS = 6  # headings of such a window
PERSPECTIVE, PANORAMA = "perspective", "panorama"
MODE, ZERO = "mode", "zero"
"""Where dense flow starts: at the posterior's mode, or at the patch's centre, as in the paper."""


@dataclass(frozen=True)
class BirdsEyeGeometry:
    """What a bird's-eye network looks at; the defaults are those of half size.

    Attributes:
        stem_halvings: how often images are halved by strided convolutions before the encoders: 0 for half size.
        satellite_size_px: side of the patch.
        ground_height_px: of the camera's image.
        ground_width_px: likewise.
        ground_resolution_m: metres per pixel of the patch.
        search_radius_m: the prior is wrong by up to this on both axes.
        alignment: "forward-x" (the patch's columns run forward); there is no other yet.
        camera_model: "perspective" or "panorama".
        focal_px: of a perspective camera.
        horizon_row_px: of a perspective camera; a panorama's is in the middle.
        vertical_fov_deg: of a panorama.
        camera_height_m: above the ground.
        lowest_row_px: rows below this one show the vehicle and not the world.
        sky_rows_px: upper rows that the network does not look at.
        first_forward_cell: fine cells between the camera and the first one that is looked at.
        forward_cells: fine cells ahead.
        right_cells: fine cells across.
        range_m: fine cells farther from the camera take no part.
        max_turn_deg: largest error of the heading that is searched by default.
        coarse_turn_deg: step of the headings of the coarse level.
        fine_turn_deg: step of the headings of the fine level.
    """

    stem_halvings: int = 0
    satellite_size_px: int = 256
    ground_height_px: int = 128
    ground_width_px: int = 512
    ground_resolution_m: float = 0.3916
    search_radius_m: float = 20.0
    alignment: str = "forward-x"
    camera_model: str = PERSPECTIVE
    focal_px: float = 256.0
    horizon_row_px: float = 50.7
    vertical_fov_deg: float = 90.0
    camera_height_m: float = CAMERA_HEIGHT_M
    lowest_row_px: float = 127.0
    sky_rows_px: int = 32
    first_forward_cell: int = 4
    forward_cells: int = 48
    right_cells: int = 64
    range_m: float = 48.0
    max_turn_deg: float = 10.0
    coarse_turn_deg: float = 2.5
    fine_turn_deg: float = 1.25

    def __post_init__(self) -> None:
        if not 0 <= self.stem_halvings <= 2:
            raise InputError(f"stem_halvings is {self.stem_halvings}; it must be 0, 1 or 2")
        multiple = LOWEST_STRIDE << self.stem_halvings
        rows = self.ground_height_px - self.sky_rows_px
        for name, size in (("satellite_size_px", self.satellite_size_px), ("ground_width_px", self.ground_width_px),
                           ("ground_height_px - sky_rows_px", rows)):  # fmt: skip
            if size < multiple or size % multiple:
                raise InputError(f"{name} is {size}; it must be a positive multiple of {multiple}")
        if self.sky_rows_px < 0 or not self.ground_resolution_m > 0.0 or not self.search_radius_m > 0.0:
            raise InputError("sky_rows_px must not be negative; ground_resolution_m and search_radius_m are positive")
        if self.alignment != "forward-x":
            raise InputError(f"alignment is {self.alignment!r}; a bird's-eye network takes 'forward-x'")
        if self.camera_model not in (PERSPECTIVE, PANORAMA):
            raise InputError(f"camera_model is {self.camera_model!r}; it must be 'perspective' or 'panorama'")
        if not 0.0 < self.fine_turn_deg <= self.coarse_turn_deg <= self.max_turn_deg <= 180.0:
            raise InputError("turns must be 0 < fine_turn_deg <= coarse_turn_deg <= max_turn_deg <= 180")
        try:
            _ = self.camera, self.grid.coarsened(2 * COARSE)
        except GeometryError as error:
            raise InputError(str(error)) from error

    @property
    def camera(self) -> GroundCamera:
        """The camera whose images the network takes, sky included."""
        size = self.ground_width_px, self.ground_height_px
        if self.camera_model == PANORAMA:
            fov = math.radians(self.vertical_fov_deg)
            return VirtualPanorama(*size, fov, self.camera_height_m, self.lowest_row_px)
        return VirtualCamera(*size, self.focal_px, self.horizon_row_px, self.camera_height_m, self.lowest_row_px)

    @property
    def cell_m(self) -> float:
        """Side of a fine cell."""
        return self.ground_resolution_m * (FINE_STRIDE << self.stem_halvings)

    @property
    def satellite_cells(self) -> int:
        """Fine cells along the patch's side."""
        return self.satellite_size_px // (FINE_STRIDE << self.stem_halvings)

    @property
    def grid(self) -> BirdsEyeGrid:
        """The fine cells that the camera's image is laid on."""
        return BirdsEyeGrid(self.cell_m, self.first_forward_cell, self.forward_cells, self.right_cells, self.range_m)

    @property
    def reach_cells(self) -> int:
        """Fine cells from the patch's centre to the end of the search, on every side: whole coarse cells."""
        return COARSE * math.ceil(self.search_radius_m / (COARSE * self.cell_m))


@dataclass(frozen=True)
class BirdsEyeModel:
    """What a manifest says of a bird's-eye network beside the inputs of every model.

    Attributes:
        stem_halvings, focal_px, horizon_row_px, vertical_fov_deg, camera_height_m, lowest_row_px, sky_rows_px,
        first_forward_cell, forward_cells, right_cells, range_m, max_turn_deg, coarse_turn_deg, fine_turn_deg: see
            `BirdsEyeGeometry`.
        fine_channels: features of a fine cell.
        coarse_channels: features of a coarse cell.
        feature_channels: of the camera image's features.
        none: the score, per fine cell of the volume, of the camera being nowhere in it.
        outside: what the fine level adds to a coarse score on average where it did not look.
        calibration: of the covariance, by what is known of the camera.
        flow_start: "mode" or "zero" where the bundle has dense flow, else "".
    """

    stem_halvings: CountOrZero
    focal_px: PositiveNumber
    horizon_row_px: FiniteNumber
    vertical_fov_deg: PositiveNumber
    camera_height_m: PositiveNumber
    lowest_row_px: FiniteNumber
    sky_rows_px: CountOrZero
    first_forward_cell: CountOrZero
    forward_cells: Count
    right_cells: Count
    range_m: PositiveNumber
    max_turn_deg: PositiveNumber
    coarse_turn_deg: PositiveNumber
    fine_turn_deg: PositiveNumber
    fine_channels: Count
    coarse_channels: Count
    feature_channels: Count
    none: FiniteNumber
    outside: FiniteNumber
    calibration: PoseCalibrations
    flow_start: str = ""

    @classmethod
    def of(cls, geometry: BirdsEyeGeometry, **others: Any) -> BirdsEyeModel:
        """Returns that of a geometry; `others` are what a geometry does not say."""
        shared = {entry.name for entry in fields(cls)} & {entry.name for entry in fields(BirdsEyeGeometry)}
        return cls(**{name: getattr(geometry, name) for name in shared}, **others)

    def geometry(self, **inputs: Any) -> BirdsEyeGeometry:
        """Returns the whole geometry; `inputs` are what every model's manifest says.

        Raises:
            InputError: values that do not go together.
        """
        own = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return BirdsEyeGeometry(
            **inputs, **{entry.name: own[entry.name] for entry in fields(BirdsEyeGeometry) if entry.name in own}
        )
