"""How the camera stands above the road: what is known before a drive, and what the drive's fixes tell.

The pitch against the ground ahead has a slow part, how the camera is mounted, and a fast one, which the suspension and
the road give it. The slow part and the height are learned: each trusted fix says how well each hypothesis of the camera
explained its image, and Bayes' rule adds that up on a fine grid. The fast part is never learned, only allowed for. What
is left unknown stays in the hypotheses of every frame, and so in the covariance of its pose.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError
from geoflow_ros.files import write_atomically
from geoflow_ros.geo.birds_eye import GroundCamera, VirtualCamera
from geoflow_ros.inference.pose_search import CameraHypotheses

_log = logging.getLogger("geoflow_ros")

_FORMAT = 1
_LARGEST_PITCH_STEP_RAD = math.radians(0.8)  # 0.4 degrees off moves the ground at 10 m by half a cell
_LARGEST_HEIGHT_STEP = 0.08
_LEAST_PITCH_STD_RAD = math.radians(0.15)  # known so well, one hypothesis will do
_LEAST_HEIGHT_STD = 0.015
_STEP_SIGMAS, _REACH_SIGMAS = 1.2, 1.6  # three hypotheses at 0 and ±1.2 sigma have the moments of a normal, roughly
_GRID_SIGMAS = 4.0
_PITCH_CELLS, _HEIGHT_CELLS = 61, 31
_LEAST_LOG_EVIDENCE = -8.0  # one frame rules nothing out for good: it may have been wrong
_NEW_INFORMATION = 0.25  # share of a frame's evidence that the frame before it, of the same scene, did not give
_MEMORY_FRAMES = 2000.0  # so many trusted frames back, evidence has faded to a third: loads change
_REFRESH_FRAMES = 10  # trusted frames after which the hypotheses follow
_SAVE_FRAMES = 50  # and after which they are kept on disk


@dataclass(frozen=True)
class CameraUncertainty:
    """How well the camera's pose above the ground is known before a drive; all 0 for one that is known exactly.

    Attributes:
        pitch_std_rad: of the mounting's pitch.
        height_std: of the height above the ground, as a share of the assumed one.
        suspension_std_rad: of the pitch of the moment about the mounting's.
    """

    pitch_std_rad: float = 0.0
    height_std: float = 0.0
    suspension_std_rad: float = 0.0

    def __post_init__(self) -> None:
        values = self.pitch_std_rad, self.height_std, self.suspension_std_rad
        if not all(math.isfinite(value) and value >= 0.0 for value in values):
            raise InputError("what is not known of the camera is stated by standard deviations from 0 on")
        if self.pitch_std_rad > math.radians(10.0) or self.height_std > 0.3:
            raise InputError("the camera's pitch must be known to 10° and its height to 30 %: measure the mounting")


EXTRINSICS = CameraUncertainty(math.radians(1.0), 0.05, math.radians(0.5))
"""Of a mounting that was measured with a level and a tape: 1°, 5 % of the height, and 0.5° of suspension."""


class CameraCalibration:
    """What is known of the camera, frame by frame. Deterministic; not thread-safe.

    Args:
        assumed: the camera that the model was made for. A panorama is taken as known.
        uncertainty: of its pose before the drive.
        file: where what was learned is kept from drive to drive; nowhere where None. One that cannot be used is named
            in the log, and learning starts afresh.
    """

    def __init__(
        self, assumed: GroundCamera, uncertainty: CameraUncertainty | None = None, file: Path | None = None
    ) -> None:
        known = uncertainty is None or not isinstance(assumed, VirtualCamera)
        self._prior = CameraUncertainty() if known or uncertainty is None else uncertainty
        self._assumed, self._file = assumed, file
        self._pitch = np.linspace(-_GRID_SIGMAS, _GRID_SIGMAS, _PITCH_CELLS) * self._prior.pitch_std_rad
        self._height = 1.0 + np.linspace(-_GRID_SIGMAS, _GRID_SIGMAS, _HEIGHT_CELLS) * self._prior.height_std
        self._log_prior = self._normal(np.array([0.0, 1.0]), self._prior_covariance())
        self._log_belief = self._log_prior
        self.frames = 0
        if file is not None and not known:
            self._load(file)
        self._hypotheses = self._around_belief()

    @property
    def hypotheses(self) -> CameraHypotheses:
        """How the camera may stand in the next frame; the same object until enough was learned to change it."""
        return self._hypotheses

    @property
    def mean(self) -> Float64Array:
        """(2,) the mounting's pitch in radians, less the assumed one, and the height over the assumed one."""
        belief = _probabilities(self._log_belief)
        return np.array([belief.sum(axis=1) @ self._pitch, belief.sum(axis=0) @ self._height])

    @property
    def covariance(self) -> Float64Array:
        """(2, 2) of the same."""
        belief, (pitch, height) = _probabilities(self._log_belief), self.mean
        dp, dh = self._pitch - pitch, self._height - height
        crossed = float(dp @ belief @ dh)
        return np.array([
            [float(belief.sum(axis=1) @ dp**2), crossed],
            [crossed, float(belief.sum(axis=0) @ dh**2)],
        ])  # fmt: skip

    @property
    def facts(self) -> Mapping[str, str]:
        """What is known, for diagnostics."""
        (pitch, height), covariance = self.mean, self.covariance
        pitch_std, height_std = np.sqrt(np.diag(covariance))
        return {
            "camera_pitch_deg": f"{math.degrees(pitch):+.2f} ± {math.degrees(pitch_std):.2f}",
            "camera_height_percent": f"{100.0 * (height - 1.0):+.1f} ± {100.0 * height_std:.1f}",
            "camera_hypotheses": str(len(self._hypotheses)),
            "camera_frames": str(self.frames),
        }

    def learn(self, camera_probability: Float64Array) -> None:
        """Takes what a trusted fix says: (P,) probabilities of `hypotheses`, which it was made with."""
        hypotheses = self._hypotheses
        if len(hypotheses) == 1:
            return
        evidence = self._evidence(hypotheses, np.asarray(camera_probability, float))
        faded = self._log_belief + (self._log_prior - self._log_belief) / _MEMORY_FRAMES
        belief = faded + _NEW_INFORMATION * evidence
        self._log_belief = belief - belief.max()
        self.frames += 1
        if self.frames % _REFRESH_FRAMES == 0:
            self._hypotheses = self._around_belief()
        if self._file is not None and self.frames % _SAVE_FRAMES == 0:
            self._save(self._file)

    def _evidence(self, hypotheses: CameraHypotheses, probability: Float64Array) -> Float64Array:
        """Log-likelihood of mounting pitch and height on the grid: that of the pitch of the moment, suspended."""
        pitches, heights = np.unique(hypotheses.pitch_rad), np.unique(hypotheses.height_scale)
        with np.errstate(divide="ignore"):
            log_likelihood = np.log(probability) - hypotheses.log_prior
        log_likelihood = np.maximum(log_likelihood - log_likelihood.max(), _LEAST_LOG_EVIDENCE)
        table = log_likelihood.reshape(len(pitches), len(heights))
        # as between its neighbours between hypotheses, as at the last of them beyond
        table = np.stack([np.interp(self._height, heights, row) for row in table])
        steps = np.linspace(-3.0, 3.0, 13)
        moments = self._pitch[:, None] + steps * self._prior.suspension_std_rad
        weight = _probabilities(-0.5 * steps**2)
        likelihood = np.stack(
            [np.exp(np.interp(moments, pitches, column)) @ weight for column in table.T], axis=1
        )  # (pitch, height)
        return np.asarray(np.log(likelihood))

    def _around_belief(self) -> CameraHypotheses:
        """A grid over what is not known of the pitch of the moment and the height; one of each that is known."""
        if self._prior == CameraUncertainty():
            return CameraHypotheses.as_assumed()
        (pitch, height), covariance = self.mean, self.covariance
        pitch_std = math.sqrt(covariance[0, 0] + self._prior.suspension_std_rad**2)
        height_std = math.sqrt(covariance[1, 1])
        pitches = _spread(pitch, pitch_std, _LEAST_PITCH_STD_RAD, _LARGEST_PITCH_STEP_RAD)
        heights = _spread(height, height_std, _LEAST_HEIGHT_STD, _LARGEST_HEIGHT_STEP)
        stds = max(pitch_std, _LEAST_PITCH_STD_RAD), max(height_std, _LEAST_HEIGHT_STD)
        return CameraHypotheses.grid(pitches, heights, (pitch, stds[0]), (height, stds[1]))

    def _prior_covariance(self) -> Float64Array:
        return np.diag([self._prior.pitch_std_rad**2, self._prior.height_std**2])

    def _normal(self, mean: Float64Array, covariance: Float64Array) -> Float64Array:
        """Logarithms of a normal distribution on the grid, but for a constant; axes that are known take no part."""
        pitch, height = np.meshgrid(self._pitch - mean[0], self._height - mean[1], indexing="ij")
        difference = np.stack([pitch, height], axis=-1)
        information = np.linalg.pinv(covariance)
        return np.asarray(-0.5 * np.einsum("...i,ij,...j->...", difference, information, difference))

    # ---- from drive to drive -----------------------------------------------------------------------------------------

    def _save(self, file: Path) -> None:
        content = {
            "format": _FORMAT,
            "assumed": self._assumed_values(),
            "frames": self.frames,
            "pitch_rad_and_height": self.mean.tolist(),
            "covariance": self.covariance.tolist(),
        }
        try:
            write_atomically(file, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
        except OSError as error:
            _log.warning("the camera's calibration cannot be kept in %s (%s)", file, error.strerror or error)

    def _load(self, file: Path) -> None:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return  # the first drive
        except (OSError, ValueError) as error:
            _log.warning("the camera's calibration in %s cannot be read (%s): it starts afresh", file, error)
            return
        problem = self._take(content)
        if problem:
            _log.warning("the camera's calibration in %s is not used (%s): it starts afresh", file, problem)

    def _take(self, content: Any) -> str:
        """Takes over what a file holds; returns why it cannot, empty where it can."""
        try:
            if content["format"] != _FORMAT:
                return f"its format is {content['format']}, not {_FORMAT}"
            if content["assumed"] != self._assumed_values():
                return "it is of another camera or model"
            mean, covariance = np.array(content["pitch_rad_and_height"], float), np.array(content["covariance"], float)
            frames = int(content["frames"])
        except (KeyError, TypeError, ValueError) as error:
            return f"it is damaged: {error!r}"
        if mean.shape != (2,) or covariance.shape != (2, 2) or not np.isfinite([*mean, *covariance.ravel()]).all():
            return "its numbers are not those of a camera"
        ends = [(self._pitch[0], self._pitch[-1]), (self._height[0], self._height[-1])]
        if any(not low <= value <= high for value, (low, high) in zip(mean, ends, strict=True)):
            return "it lies far outside of what is stated for the camera"
        if np.linalg.eigvalsh((covariance + covariance.T) / 2.0)[0] < 0.0:
            return "its covariance is none"
        # no surer than the grid can say
        cells = [self._pitch[1] - self._pitch[0], self._height[1] - self._height[0]]
        self._log_belief = self._normal(mean, covariance + np.diag(np.square(cells)) / 12.0)
        self.frames = frames
        return ""

    def _assumed_values(self) -> dict[str, float]:
        camera = self._assumed
        assert isinstance(camera, VirtualCamera)  # a panorama is taken as known and keeps nothing
        names = ("width_px", "height_px", "focal_px", "horizon_row_px", "height_m")
        return {name: float(getattr(camera, name)) for name in names}


def _spread(mean: float, std: float, least_std: float, largest_step: float) -> Float64Array:
    """Values around a mean, evenly apart; it alone where it is known."""
    if std < least_std:
        return np.array([mean])
    step = min(_STEP_SIGMAS * std, largest_step)
    count = max(1, round(_REACH_SIGMAS * std / step))
    return np.asarray(mean + np.arange(-count, count + 1) * step)


def _probabilities(log_weight: Float64Array) -> Float64Array:
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum())
