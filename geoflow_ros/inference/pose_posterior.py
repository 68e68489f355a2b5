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

_MODE_CELLS = 4  # what is nearer to a mode's peak than this belongs to it
_MODE_TURNS = 6.0
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

    def through(self, window: int, cameras: int) -> SearchWindows:
        """Returns one of the windows again, through each of so many other cameras."""
        centre, turns = (np.repeat(part[window][None], cameras, axis=0) for part in (self.centre_cells, self.turn_rad))
        return SearchWindows(centre, turns, np.arange(cameras))


@dataclass(frozen=True, eq=False)
class PoseScores:
    """What the network says about one pair of images.

    Attributes:
        coarse: (C, K, n, n) scores over camera hypothesis, turn, forward and right, n = 2 coarse_reach + 1.
        turn_rad: (K,) turns of the coarse level.
        log_prior: (P,) logarithms of the camera hypotheses' weights; P > C where the last ones were made for the fine
            level alone.
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

    @property
    def best_window(self) -> int:
        """The number of the window with the highest score of a pose, weights of the cameras included."""
        return int((self.fine.max(axis=(1, 2, 3)) + self.log_prior[self.windows.camera]).argmax())

    def joined(self, log_prior: Float64Array, windows: SearchWindows, fine: Float64Array) -> PoseScores:
        """Returns these and the windows of (R,) other cameras, which the coarse level did not look through."""
        known = self.windows
        return replace(
            self,
            log_prior=np.concatenate([self.log_prior, log_prior]),
            windows=SearchWindows(
                np.concatenate([known.centre_cells, windows.centre_cells]),
                np.concatenate([known.turn_rad, windows.turn_rad]),
                np.concatenate([known.camera, windows.camera + len(self.log_prior)]),
            ),
            fine=np.concatenate([self.fine, fine]),
        )


@dataclass(frozen=True, eq=False)
class PoseMode:
    """One place where the camera may be.

    Attributes:
        pose: (3,) forward and right in metres, turn in radians: the mean of what belongs to this mode.
        covariance: (3, 3) of the same, about its pose.
        mass: its probability.
    """

    pose: Float64Array
    covariance: Float64Array
    mass: float


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """The answer.

    Attributes:
        modes: by their highest probability of a cell, at least one. A place that fits one way in which the camera may
            stand well comes before one that fits many a little.
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
        """The pose (3,) of the first mode."""
        return self.modes[0].pose


@dataclass(frozen=True, eq=False)
class PosePosterior:
    """A probability for every pose of a list, and for none of them.

    Attributes:
        pose: (N, 3) forward and right in metres, turn in radians; first what the fine level has scored, for each camera
            hypothesis by itself, then the coarse cells, for all of them together.
        probability: (N,), with `none_probability` they sum to 1.
        fine_count: how many poses the fine level has scored.
        none_probability: of the camera being nowhere in the volume.
        camera_probability: (P,) of the camera hypotheses, given that the camera is in the volume.
        scores: what it was made of.
        search: the volume.
    """

    pose: Float64Array
    probability: Float64Array
    fine_count: int
    none_probability: float
    camera_probability: Float64Array
    scores: PoseScores
    search: PoseSearch

    @classmethod
    def of(cls, scores: PoseScores, search: PoseSearch, temperature: float = 1.0) -> PosePosterior:
        """Joins both levels.

        Args:
            scores: of both.
            search: the volume.
            temperature: that all scores are divided by; what the priors say stays.

        Raises:
            InputError: a score that is not finite.
        """
        if not (np.isfinite(scores.coarse).all() and np.isfinite(scores.fine).all()):
            raise InputError("the matching scores are not finite: the images or the network cannot be used")
        windows, log_prior = scores.windows, scores.log_prior
        subcells = COARSE**2 * search.coarse_turn_step_rad / search.turn_step_rad
        coarse = (scores.coarse + scores.outside) / temperature + math.log(subcells)
        coarse += log_prior[: len(coarse), None, None, None]
        for camera, centre, turns in zip(windows.camera, windows.centre_cells, windows.turn_rad, strict=True):
            if camera < len(coarse):
                coarse[_coarse_block(int(camera), centre, turns.mean(), scores.turn_rad, search)] = -np.inf
        fine_pose, fine_camera, fine_score = _window_poses(scores, search)
        fine = fine_score / temperature + log_prior[fine_camera]
        none = scores.none / temperature + math.log(search.fine_cell_count())
        highest = max(fine.max(), coarse.max(), none)
        fine, coarse, none = np.exp(fine - highest), np.exp(coarse - highest), math.exp(none - highest)
        of_camera = np.bincount(fine_camera, fine, len(log_prior))
        of_camera[: len(coarse)] += coarse.sum(axis=(1, 2, 3))
        present = float(of_camera.sum())
        return cls(
            pose=np.concatenate([fine_pose, _coarse_poses(scores.turn_rad, search)]),
            probability=np.concatenate([fine, coarse.sum(axis=0).ravel()]) / (present + none),
            fine_count=len(fine),
            none_probability=none / (present + none),
            camera_probability=of_camera / present if present > 0.0 else np.exp(log_prior) / np.exp(log_prior).sum(),
            scores=scores,
            search=search,
        )

    @property
    def is_fine(self) -> NDArray[np.bool_]:
        """Which of the (N,) poses the fine level has scored."""
        return np.arange(len(self.pose)) < self.fine_count

    @property
    def given_present(self) -> Float64Array:
        """The (N,) probabilities given that the camera is in the volume; alike where that has none."""
        present = self.probability.sum()
        return self.probability / present if present > 0.0 else np.full_like(self.probability, 1 / len(self.pose))

    def softened(self, temperature: float) -> PosePosterior:
        """Returns the posterior whose scores are all divided by a temperature."""
        return self if temperature == 1.0 else PosePosterior.of(self.scores, self.search, temperature)

    def covariances_about(self, pose: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Returns the (3, 3) second moments about a mode's pose (3,), given that the camera is in the volume.

        They are those of the cells' centres, since a mode's mean is finer than its cells.

        Returns:
            What the mode's own cells add to the whole, and what all other places add.
        """
        difference, given = self.pose - pose, self.given_present
        difference[:, 2] = wrap(difference[:, 2])
        near = self._is_near(pose, _MODE_CELLS, _MODE_TURNS)
        own, others = ((difference * np.where(part, given, 0.0)[:, None]).T @ difference for part in (near, ~near))
        return own, others

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
            share = np.where(belongs, fine, 0.0)
            around = peak + np.concatenate([self.pose[:, :2] - peak[:2], wrap(self.pose[:, 2:] - peak[2])], axis=1)
            pose = share @ around / share.sum() if share.sum() > 0.0 else peak
            modes.append(PoseMode(pose, self._moments(pose, np.where(belongs, left, 0.0)), mass))
            left[belongs] = 0.0
        return modes

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
    steps = (np.arange(search.window_turns) - (search.window_turns - 1) / 2.0) * search.turn_step_rad
    centres, window_turns, cameras = [], [], []
    for _ in range(search.windows):
        p, k, i, j = np.unravel_index(np.argmax(left), left.shape)
        centre = np.array([COARSE * (i - search.coarse_reach), COARSE * (j - search.coarse_reach)], np.int64)
        centres.append(centre)
        window_turns.append(turns[k] + steps)
        cameras.append(p)
        left[_coarse_block(int(p), centre, turns[k], turns, search)] = -np.inf
    return SearchWindows(np.array(centres), np.array(window_turns), np.array(cameras, np.int64))


def wrap(angle: Float64Array) -> Float64Array:
    """Maps angles in radians to [-pi, pi)."""
    # `%` takes seven times as long
    return np.asarray(angle - (2.0 * math.pi) * np.floor((angle + math.pi) / (2.0 * math.pi)))


def _coarse_block(
    camera: int, centre_cells: Int64Array, turn_rad: float, turns_rad: Float64Array, search: PoseSearch
) -> tuple[int, NDArray[np.bool_], slice, slice]:
    """Returns which of the (P, K, n, n) coarse cells lie in a window of a camera hypothesis."""
    taken = np.abs(wrap(turns_rad - turn_rad)) < search.window_span_rad - _TOLERANCE
    extent = search.window_cells // COARSE
    middle = (int(cells) // COARSE + search.coarse_reach for cells in centre_cells)
    forward, right = (slice(max(0, at - extent), at + extent + 1) for at in middle)
    return camera, taken, forward, right


def _coarse_poses(turns_rad: Float64Array, search: PoseSearch) -> Float64Array:
    """Returns the (K n n, 3) poses of the coarse cells."""
    place = np.arange(-search.coarse_reach, search.coarse_reach + 1) * (COARSE * search.cell_m)
    turn, forward, right = np.meshgrid(turns_rad, place, place, indexing="ij")
    return np.stack([forward.ravel(), right.ravel(), turn.ravel()], axis=1)


def _window_poses(scores: PoseScores, search: PoseSearch) -> tuple[Float64Array, Int64Array, Float64Array]:
    """Returns poses (N, 3), camera hypotheses and scores (N,) of the windows' cells: each once, and in the volume."""
    step = np.arange(-search.window_cells, search.window_cells + 1)
    limit = search.reach_cells * search.cell_m * (1.0 + _TOLERANCE)
    poses, cameras, logits = [], [], []
    windows = scores.windows
    for number, (centre, turns) in enumerate(zip(windows.centre_cells, windows.turn_rad, strict=True)):
        turn, forward, right = np.meshgrid(turns, centre[0] + step, centre[1] + step, indexing="ij")
        pose = np.stack([forward.ravel() * search.cell_m, right.ravel() * search.cell_m, turn.ravel()], axis=1)
        is_new = ~_covered(pose, windows, number, search) & (np.abs(pose[:, :2]) <= limit).all(axis=1)
        poses.append(pose[is_new])
        cameras.append(np.full(np.count_nonzero(is_new), windows.camera[number]))
        logits.append(scores.fine[number].ravel()[is_new])
    return np.concatenate(poses), np.concatenate(cameras), np.concatenate(logits)


def _covered(pose: Float64Array, windows: SearchWindows, number: int, search: PoseSearch) -> NDArray[np.bool_]:
    """Tells which of (N, 3) poses of a window's camera hypothesis lie in one of the windows before it."""
    covered = np.zeros(len(pose), bool)
    reach = (search.window_cells + _TOLERANCE) * search.cell_m
    for earlier in np.flatnonzero(windows.camera[:number] == windows.camera[number]):
        centre, turns = windows.centre_cells[earlier], windows.turn_rad[earlier]
        inside = (np.abs(pose[:, :2] - centre * search.cell_m) <= reach).all(axis=1)
        covered |= inside & (np.abs(wrap(pose[:, 2] - turns.mean())) < search.window_span_rad - _TOLERANCE)
    return covered
