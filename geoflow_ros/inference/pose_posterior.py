"""From matching scores to a posterior over poses: (forward, right, turn) on the patch, coarse then fine, or nowhere.

Scores are the logarithms of how well a pose explains the images, on two levels. The coarse level scores the whole
search volume. The fine level scores windows around the coarse modes; what lies outside keeps its coarse score. Where
the camera's own pose is not known exactly, each way in which it may stand has scores of its own. One softmax over all
of them and over "none of these" gives probabilities that sum to 1.

Forward and right are of the camera from the patch's centre. A turn is the yaw of the patch less that of the camera:
the heading's error in the convention of training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.bundle.birds_eye import COARSE
from geoflow_ros.errors import InputError
from geoflow_ros.inference.pose_search import PoseSearch

_PEAK_CELLS = 2  # a mode's position is the mean within so many fine cells of its peak
_PEAK_TURNS = 1.5  # and within so many fine turns
_MODE_CELLS = 4  # what is nearer to a mode's peak than this belongs to it
_MODE_TURNS = 4.5
_LEAST_MODE = 1e-3  # modes with less of the probability are left out
_TOLERANCE = 1e-6  # cells and turns are compared with this tolerance


@dataclass(frozen=True, eq=False)
class SearchWindows:
    """Where the fine level looks.

    Attributes:
        centre_cells: (M, 2) int64, fine cells (forward, right) from the patch's centre.
        turn_rad: (M, T) headings of each window.
        camera: (M,) int64, the camera hypothesis that each window is of.
    """

    centre_cells: Int64Array
    turn_rad: Float64Array
    camera: Int64Array


@dataclass(frozen=True, eq=False)
class PoseScores:
    """What the network says about one pair of images.

    Attributes:
        coarse: (P, K, n, n) scores over camera hypothesis, turn, forward and right, n = 2 coarse_reach + 1.
        turn_rad: (K,) turns of the coarse level.
        log_prior: (P,) of the camera hypotheses, logarithms of probabilities that sum to 1.
        windows: where the fine level looked.
        fine: (M, T, m, m) scores of both levels together, m = 2 window_cells + 1.
        none: the score, per cell of the volume, of the camera being nowhere in it.
        outside: what the fine level adds to the coarse score on average where it did not look.
    """

    coarse: Float64Array
    turn_rad: Float64Array
    log_prior: Float64Array
    windows: SearchWindows
    fine: Float64Array
    none: float
    outside: float


@dataclass(frozen=True, eq=False)
class PoseMode:
    """One place where the camera may be.

    Attributes:
        pose: (3,) forward and right in metres, turn in radians: finer than the cells.
        covariance: (3, 3) of what belongs to this mode, about its pose.
        mass: its probability.
    """

    pose: Float64Array
    covariance: Float64Array
    mass: float


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """The answer.

    Attributes:
        modes: by mass, the largest first; at least one.
        covariance: (3, 3) second moments of the whole posterior about the first mode's pose, given that the camera is
            in the volume; of (forward, right) in metres and turn in radians.
        none_probability: of the camera being nowhere in the volume.
        camera_probability: (P,) of the camera hypotheses, given that the camera is in the volume.
        entropy: of the posterior over poses, nats, relative to a uniform one over the volume (about 0 at most).
    """

    modes: tuple[PoseMode, ...]
    covariance: Float64Array
    none_probability: float
    camera_probability: Float64Array
    entropy: float

    @property
    def pose(self) -> Float64Array:
        """The pose (3,) of the largest mode."""
        return self.modes[0].pose


@dataclass(frozen=True, eq=False)
class PosePosterior:
    """A probability for every pose of a list, and for none of them.

    Attributes:
        pose: (N, 3) forward and right in metres, turn in radians.
        camera: (N,) the camera hypothesis that each is of.
        probability: (N,), with `none_probability` they sum to 1.
        log_prior: (N + 1,) logarithms of what they and none (the last) would be without images, but for a constant: how
            many fine cells each is of, times its camera's prior.
        is_fine: (N,) which poses the fine level has scored.
        none_probability: of the camera being nowhere in the volume.
        cameras: P, how many camera hypotheses there are.
        search: the volume.
    """

    pose: Float64Array
    camera: Int64Array
    probability: Float64Array
    log_prior: Float64Array
    is_fine: NDArray[np.bool_]
    none_probability: float
    cameras: int
    search: PoseSearch

    @classmethod
    def of(cls, scores: PoseScores, search: PoseSearch) -> PosePosterior:
        """Joins both levels.

        Raises:
            InputError: a score that is not finite.
        """
        if not (np.isfinite(scores.coarse).all() and np.isfinite(scores.fine).all()):
            raise InputError("the matching scores are not finite: the images or the network cannot be used")
        coarse_pose, coarse_camera = _coarse_poses(scores, search)
        outside = ~_covered(coarse_pose, coarse_camera, scores.windows, len(scores.windows.camera), search)
        subcells = COARSE**2 * search.coarse_turn_step_rad / search.turn_step_rad
        fine_pose, fine_camera, fine_score = _window_poses(scores, search)
        camera = np.concatenate([fine_camera, coarse_camera[outside]])
        is_fine = np.arange(len(camera)) < len(fine_score)
        score = np.concatenate([fine_score, scores.coarse.ravel()[outside] + scores.outside, [scores.none]])
        log_prior = np.append(
            np.where(is_fine, 0.0, math.log(subcells)) + scores.log_prior[camera], math.log(search.fine_cell_count())
        )
        probability = _normalised(score + log_prior)
        return cls(
            pose=np.concatenate([fine_pose, coarse_pose[outside]]),
            camera=camera,
            probability=probability[:-1],
            log_prior=log_prior,
            is_fine=is_fine,
            none_probability=float(probability[-1]),
            cameras=len(scores.log_prior),
            search=search,
        )

    @property
    def given_present(self) -> Float64Array:
        """The (N,) probabilities given that the camera is in the volume; alike where that has none."""
        present = self.probability.sum()
        return self.probability / present if present > 0.0 else np.full_like(self.probability, 1 / len(self.pose))

    @property
    def camera_probability(self) -> Float64Array:
        """The (P,) probabilities of the camera hypotheses, given that the camera is in the volume."""
        return np.bincount(self.camera, self.given_present, self.cameras).astype(float)

    def softened(self, temperature: float) -> PosePosterior:
        """Returns the posterior whose scores are all divided by a temperature; what the priors say stays."""
        if temperature == 1.0:
            return self
        with np.errstate(divide="ignore"):  # what has no probability has none at any temperature
            score = np.log(np.append(self.probability, self.none_probability)) - self.log_prior
        probability = _normalised(score / temperature + self.log_prior)
        return replace(self, probability=probability[:-1], none_probability=float(probability[-1]))

    def covariance_about(self, pose: Float64Array) -> Float64Array:
        """Returns the (3, 3) second moments about a pose (3,), given that the camera is in the volume."""
        return self._moments(pose, self.probability)

    def estimate(self, max_modes: int = 3) -> PoseEstimate:
        """Returns the modes, the moments and how certain they are."""
        given = self.given_present
        modes = self._modes(given, max_modes)
        positive = given[given > 0.0]
        cells = np.where(self.is_fine, 1.0, COARSE**2 * self.search.coarse_turn_step_rad / self.search.turn_step_rad)
        uniform = cells[given > 0.0] / self.search.fine_cell_count()
        return PoseEstimate(
            modes=tuple(modes),
            covariance=self._moments(modes[0].pose, given),
            none_probability=self.none_probability,
            camera_probability=self.camera_probability,
            entropy=float(-(positive * np.log(positive / uniform)).sum()),
        )

    def _modes(self, given: Float64Array, max_modes: int) -> list[PoseMode]:
        """Takes the highest fine cell, all that is near it, and so on; masses are shares of the whole posterior."""
        left = given.copy()
        modes: list[PoseMode] = []
        while len(modes) < max_modes:
            fine = np.where(self.is_fine, left, 0.0)
            if modes and not fine.max() > 0.0:
                break
            peak = self.pose[fine.argmax()]
            # with what the coarse level alone has seen there, such as other ways in which the camera may stand
            belongs = self._is_near(peak, _MODE_CELLS, _MODE_TURNS) & (left > 0.0)
            mass = float(left[belongs].sum())
            if modes and mass < _LEAST_MODE:
                break
            core = np.where(self._is_near(peak, _PEAK_CELLS, _PEAK_TURNS), fine, 0.0)
            around = peak + np.concatenate([self.pose[:, :2] - peak[:2], wrap(self.pose[:, 2:] - peak[2])], axis=1)
            pose = core @ around / core.sum() if core.sum() > 0.0 else peak
            modes.append(PoseMode(pose, self._moments(pose, np.where(belongs, left, 0.0)), mass))
            left[belongs] = 0.0
        return sorted(modes, key=lambda mode: -mode.mass)

    def _is_near(self, pose: Float64Array, cells: float, turns: float) -> NDArray[np.bool_]:
        near = np.abs(self.pose[:, :2] - pose[:2]).max(axis=1) <= (cells + _TOLERANCE) * self.search.cell_m
        turned = np.abs(wrap(self.pose[:, 2] - pose[2])) <= (turns + _TOLERANCE) * self.search.turn_step_rad
        return np.asarray(near & turned)

    def _moments(self, about: Float64Array, weight: Float64Array) -> Float64Array:
        """Returns the (3, 3) second moments about a pose, the cells' own extent included."""
        total = weight.sum()
        if not total > 0.0:
            weight, total = np.full_like(weight, 1.0), float(len(weight))
        difference = self.pose - about
        difference[:, 2] = wrap(difference[:, 2])
        moments = (difference * weight[:, None]).T @ difference / total
        fine = float(weight[self.is_fine].sum() / total)
        cell = self.search.cell_m**2 * (fine + COARSE**2 * (1.0 - fine))
        turn = self.search.turn_step_rad**2 * fine + self.search.coarse_turn_step_rad**2 * (1.0 - fine)
        return np.asarray(moments + np.diag([cell, cell, turn]) / 12.0)


def choose_windows(
    coarse: ArrayLike, turn_rad: ArrayLike, search: PoseSearch, log_prior: ArrayLike = 0.0
) -> SearchWindows:
    """Chooses the places of the highest coarse scores, none inside another's window.

    Args:
        coarse: (P, K, n, n) scores over camera hypothesis, turn, forward and right.
        turn_rad: (K,).
        search: how many windows, and of which size.
        log_prior: (P,) of the camera hypotheses.
    """
    left = np.array(coarse, float)
    left += np.broadcast_to(np.asarray(log_prior, float), len(left))[:, None, None, None]
    turns = np.asarray(turn_rad, float)
    reach, extent = search.coarse_reach, search.window_cells // COARSE
    steps = (np.arange(search.window_turns) - (search.window_turns - 1) / 2.0) * search.turn_step_rad
    centres, window_turns, cameras = [], [], []
    for _ in range(search.windows):
        p, k, i, j = np.unravel_index(np.argmax(left), left.shape)
        centres.append((COARSE * (i - reach), COARSE * (j - reach)))
        window_turns.append(turns[k] + steps)
        cameras.append(p)
        taken = np.abs(wrap(turns - turns[k])) < search.window_span_rad - _TOLERANCE
        low = max(0, i - extent), max(0, j - extent)
        left[p, taken, low[0] : i + extent + 1, low[1] : j + extent + 1] = -np.inf
    return SearchWindows(np.array(centres, np.int64), np.array(window_turns), np.array(cameras, np.int64))


def wrap(angle: Float64Array) -> Float64Array:
    """Maps angles in radians to [-pi, pi)."""
    return np.asarray((angle + math.pi) % (2.0 * math.pi) - math.pi)


def _normalised(logit: Float64Array) -> Float64Array:
    """Returns probabilities of logits (N,)."""
    weight = np.exp(logit - logit.max())
    return np.asarray(weight / weight.sum())


def _coarse_poses(scores: PoseScores, search: PoseSearch) -> tuple[Float64Array, Int64Array]:
    """Returns the (P K n n, 3) poses of the coarse cells and the camera hypothesis of each."""
    place = np.arange(-search.coarse_reach, search.coarse_reach + 1) * (COARSE * search.cell_m)
    turn, forward, right = np.meshgrid(scores.turn_rad, place, place, indexing="ij")
    pose = np.stack([forward.ravel(), right.ravel(), turn.ravel()], axis=1)
    cameras = len(scores.coarse)
    return np.tile(pose, (cameras, 1)), np.repeat(np.arange(cameras), len(pose))


def _window_poses(scores: PoseScores, search: PoseSearch) -> tuple[Float64Array, Int64Array, Float64Array]:
    """Returns poses (N, 3), camera hypotheses and scores (N,) of the windows' cells: each once, and in the volume."""
    step = np.arange(-search.window_cells, search.window_cells + 1)
    limit = search.reach_cells * search.cell_m * (1.0 + _TOLERANCE)
    poses, cameras, logits = [], [], []
    windows = scores.windows
    for number, (centre, turns) in enumerate(zip(windows.centre_cells, windows.turn_rad, strict=True)):
        turn, forward, right = np.meshgrid(turns, centre[0] + step, centre[1] + step, indexing="ij")
        pose = np.stack([forward.ravel() * search.cell_m, right.ravel() * search.cell_m, turn.ravel()], axis=1)
        camera = np.full(len(pose), windows.camera[number])
        is_new = ~_covered(pose, camera, windows, number, search) & (np.abs(pose[:, :2]) <= limit).all(axis=1)
        poses.append(pose[is_new])
        cameras.append(camera[is_new])
        logits.append(scores.fine[number].ravel()[is_new])
    return np.concatenate(poses), np.concatenate(cameras), np.concatenate(logits)


def _covered(
    pose: Float64Array, camera: Int64Array, windows: SearchWindows, count: int, search: PoseSearch
) -> NDArray[np.bool_]:
    """Tells which of (N, 3) poses of (N,) camera hypotheses lie in one of the first `count` windows."""
    covered = np.zeros(len(pose), bool)
    reach = (search.window_cells + _TOLERANCE) * search.cell_m
    for number in range(count):
        centre, turns = windows.centre_cells[number], windows.turn_rad[number]
        inside = (np.abs(pose[:, :2] - centre * search.cell_m) <= reach).all(axis=1)
        inside &= camera == windows.camera[number]
        covered |= inside & (np.abs(wrap(pose[:, 2] - turns.mean())) < search.window_span_rad - _TOLERANCE)
    return covered
