"""Which poses a bird's-eye localizer looks at: the headings and places, and the ways in which the camera may stand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.bundle.birds_eye import COARSE, WINDOW_CELLS, WINDOW_TURNS, BirdsEyeGeometry
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import GroundCamera, VirtualCamera

_TOLERANCE = 1e-6  # turns are compared with this tolerance
_SAME = 1e-9  # radians, log metres: hypotheses that are nearer to each other are the same
_TURN_SIGMA = 0.75
"""Headings are weighted by a normal distribution of so many times the error that they may have. That is usually stated
as three standard deviations; 2.25 of them hold a fifth of what the heading says: enough to refuse what no compass is
wrong by, and little enough for a track to fuse the answer's yaw beside that heading."""


@dataclass(frozen=True)
class PoseSearch:
    """The search volume and how the fine level looks into it.

    Attributes:
        cell_m: side of a fine cell.
        reach_cells: fine cells from the patch's centre to the volume's end, on every side; a multiple of `COARSE`.
        turn_step_rad: between the headings of the fine level.
        coarse_turn_step_rad: between those of the coarse level.
        max_turn_rad: largest turn.
        windows: places that the fine level looks at.
        window_cells: fine cells from a window's centre to its end; a multiple of `COARSE`.
        window_turns: headings of a window, T; even, so that they lie between those of the coarse level.
        heading_error_rad: by how much the heading may be wrong, where that is told: turns are weighted by it.
    """

    cell_m: float
    reach_cells: int
    turn_step_rad: float
    coarse_turn_step_rad: float
    max_turn_rad: float
    windows: int = 3
    window_cells: int = WINDOW_CELLS
    window_turns: int = WINDOW_TURNS
    heading_error_rad: float | None = None

    def __post_init__(self) -> None:
        if self.reach_cells < COARSE or self.reach_cells % COARSE or self.window_cells % COARSE:
            raise InputError(f"a search reaches a multiple of {COARSE} cells, and so do its windows")
        if self.windows < 1 or self.window_cells < COARSE or self.window_turns < 2 or self.window_turns % 2:
            raise InputError(
                "a search has at least one window, of a coarse cell at least to every side and an even number of turns"
            )

    @property
    def coarse_reach(self) -> int:
        """Coarse cells from the patch's centre to the volume's end."""
        return self.reach_cells // COARSE

    @property
    def reach_m(self) -> float:
        """Metres from the patch's centre to the volume's end."""
        return self.reach_cells * self.cell_m

    @property
    def half_widths(self) -> Float64Array:
        """(3,) of the volume: forward and right in metres, turn in radians."""
        return np.array([self.reach_m, self.reach_m, min(self.max_turn_rad, math.pi)])

    @property
    def window_span_rad(self) -> float:
        """The turn from a window's centre to its end."""
        return self.window_turns * self.turn_step_rad / 2.0

    def within(self, radius_m: float) -> PoseSearch:
        """Returns the part of the volume whose coarse cells reach so far from the patch's centre at least."""
        cells = COARSE * max(1, math.ceil(radius_m / (COARSE * self.cell_m) - _TOLERANCE))
        return replace(self, reach_cells=min(self.reach_cells, cells))

    def coarse_turns(self) -> Float64Array:
        """Returns the (K,) headings of the coarse level, K cells of a turn that fill the range (or all around).

        None is 0, and no window's heading is: features that are turned are interpolated and lose contrast by it, and
        one heading of which that is not true would be preferred.
        """
        if self.max_turn_rad >= math.pi:
            count = 2 * round(math.pi / self.coarse_turn_step_rad)
            step = 2.0 * math.pi / count
        else:
            count = 2 * math.ceil(self.max_turn_rad / self.coarse_turn_step_rad - _TOLERANCE)
            step = self.coarse_turn_step_rad
        return np.asarray((np.arange(count) - (count - 1) / 2.0) * step)

    def turn_score(self, turn_rad: Float64Array) -> Float64Array:
        """Returns what the heading's error adds to the score of turns of any shape; its mean weight is about 1."""
        if self.heading_error_rad is None or self.heading_error_rad >= math.pi:
            return np.zeros_like(turn_rad)
        sigma_rad = max(_TURN_SIGMA * self.heading_error_rad, self.turn_step_rad)
        turns = self.coarse_turns()
        mean = np.exp(-((turns / sigma_rad) ** 2) / 2.0).mean()
        return np.asarray(-((turn_rad / sigma_rad) ** 2) / 2.0 - math.log(mean))

    def turn_share(self, turn_rad: float) -> float:
        """Returns how far a turn goes in the error that the heading may have, or in the range where none is told."""
        told_rad = self.max_turn_rad if self.heading_error_rad is None else self.heading_error_rad
        return abs(turn_rad) / max(told_rad, self.turn_step_rad)

    def fine_cell_count(self) -> float:
        """Returns how many fine cells the whole volume would have."""
        turns = len(self.coarse_turns()) * self.coarse_turn_step_rad / self.turn_step_rad
        return turns * (2 * self.reach_cells + 1) ** 2


def search_of(geometry: BirdsEyeGeometry, max_turn_rad: float | None = None) -> PoseSearch:
    """Returns the volume that a network was made to search.

    Args:
        geometry: of the network.
        max_turn_rad: largest error of the heading; the network's own where None.
    """
    return PoseSearch(
        cell_m=geometry.cell_m,
        reach_cells=geometry.reach_cells,
        turn_step_rad=math.radians(geometry.fine_turn_deg),
        coarse_turn_step_rad=math.radians(geometry.coarse_turn_deg),
        max_turn_rad=math.radians(geometry.max_turn_deg) if max_turn_rad is None else max_turn_rad,
    )


@dataclass(frozen=True, eq=False)
class CameraHypotheses:
    """P ways in which the camera may stand above the ground ahead, with what is known of them before matching.

    Attributes:
        pitch_rad: (P,) of the optical axis against the ground ahead, less the assumed one; positive looks up.
        height_scale: (P,) height above the ground over the assumed one.
        log_prior: (P,) logarithms of weights; of those that were there before matching they sum to 1.
        roll_rad: (P,) or (1,) for all, about the optical axis, positive to the right.
    """

    pitch_rad: Float64Array
    height_scale: Float64Array
    log_prior: Float64Array
    roll_rad: Float64Array = field(default_factory=lambda: np.zeros(1))

    @classmethod
    def as_assumed(cls) -> CameraHypotheses:
        """Returns the only hypothesis where the camera's pose is known."""
        return cls(np.zeros(1), np.ones(1), np.zeros(1))

    @classmethod
    def grid(
        cls,
        pitch_rad: Float64Array,
        height_scale: Float64Array,
        pitch: tuple[float, float],
        height: tuple[float, float],
    ) -> CameraHypotheses:
        """Returns all combinations of pitches (n,) and heights (m,), weighted by normal priors (mean, sigma)."""
        pitches, heights = (v.ravel() for v in np.meshgrid(pitch_rad, height_scale, indexing="ij"))
        log_prior = -(((pitches - pitch[0]) / pitch[1]) ** 2 + ((heights - height[0]) / height[1]) ** 2) / 2.0
        return cls(pitches, heights, _normalized(log_prior))

    @classmethod
    def around(
        cls, mean: Float64Array, sigma: Float64Array, reach: Float64Array, has_corners: bool = False
    ) -> CameraHypotheses:
        """Returns a cross of hypotheses about a normal belief: its mean, and others along one axis each.

        Args:
            mean: (3,) of pitch and roll in radians and of the height's logarithm.
            sigma: (3,) their standard deviations.
            reach: (3, n) where the others lie on each axis to either side, in standard deviations; 0 for none.
            has_corners: also the four of which pitch and roll are both at their first reach.
        """
        axes, steps = np.nonzero(reach)
        offsets = np.zeros((1 + 2 * len(axes), 3))
        offsets[1::2][np.arange(len(axes)), axes] = -reach[axes, steps]
        offsets[2::2][np.arange(len(axes)), axes] = reach[axes, steps]
        if has_corners:
            corners = [(pitch * reach[0, 0], roll * reach[1, 0], 0.0) for pitch in (-1, 1) for roll in (-1, 1)]
            offsets = np.concatenate([offsets, corners])
        return cls.at(mean + offsets * sigma, _normalized(-(offsets**2).sum(axis=1) / 2.0))

    @classmethod
    def at(cls, points: Float64Array, log_prior: Float64Array) -> CameraHypotheses:
        """Returns hypotheses from (P, 3) pitches, rolls and logarithms of heights over the assumed one."""
        return cls(points[:, 0], np.exp(points[:, 2]), log_prior, points[:, 1])

    @property
    def points(self) -> Float64Array:
        """(P, 3) pitches and rolls in radians, and logarithms of heights over the assumed one."""
        return np.stack([self.pitch_rad, np.broadcast_to(self.roll_rad, len(self)), np.log(self.height_scale)], axis=1)

    def joined(self, others: CameraHypotheses) -> CameraHypotheses:
        """Returns these and then others."""
        log_prior = np.concatenate([self.log_prior, others.log_prior])
        return CameraHypotheses.at(np.concatenate([self.points, others.points]), log_prior)

    def part(self, number: Int64Array | NDArray[np.bool_] | slice) -> CameraHypotheses:
        """Returns those with these numbers."""
        return CameraHypotheses.at(self.points[number], self.log_prior[number])

    def numbers_of(self, others: CameraHypotheses) -> Int64Array:
        """Returns which of these each of (R,) others is, (R,); -1 for one that is not among them."""
        is_same = np.abs(others.points[:, None] - self.points).max(axis=2) < _SAME
        return np.where(is_same.any(axis=1), is_same.argmax(axis=1), -1)

    def __len__(self) -> int:
        """Returns P."""
        return len(self.pitch_rad)

    def cameras(self, assumed: GroundCamera) -> tuple[GroundCamera, ...]:
        """Returns the P cameras.

        Raises:
            InputError: the pitch or roll of a panorama: its horizon is no straight row then.
        """
        if isinstance(assumed, VirtualCamera):
            roll_rad = np.broadcast_to(self.roll_rad, len(self))
            return tuple(
                replace(
                    assumed,
                    horizon_row_px=assumed.horizon_row_px + assumed.focal_px * math.tan(pitch),
                    height_m=assumed.height_m * scale,
                    roll_rad=float(roll),
                )
                for pitch, scale, roll in zip(self.pitch_rad, self.height_scale, roll_rad, strict=True)
            )
        if np.any(self.pitch_rad != 0.0) or np.any(self.height_scale != 1.0) or np.any(self.roll_rad != 0.0):
            raise InputError("the pose of a panorama camera is taken as it is: give its pitch and height exactly")
        return (assumed,) * len(self)


def _normalized(log_weight: Float64Array) -> Float64Array:
    """Returns logarithms of probabilities that sum to 1."""
    highest = log_weight.max()
    return np.asarray(log_weight - highest - np.log(np.exp(log_weight - highest).sum()))
