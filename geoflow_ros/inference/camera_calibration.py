"""How the camera stands above the road: what is known before a drive, and what the drive's fixes tell.

Pitch and roll against the ground ahead have a slow part, how the camera is mounted, and a fast one, which suspension
and road give them; the height is slow. The slow part is followed over the drive (a Kalman filter of three independent
states); the fast one is never learned, only allowed for. What is still unknown stays in the hypotheses of every frame,
and so in the covariance of its pose.
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
from numpy.typing import ArrayLike

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError
from geoflow_ros.files import write_atomically
from geoflow_ros.geo.birds_eye import GroundCamera, VirtualCamera
from geoflow_ros.inference.pose_search import CameraHypotheses

_log = logging.getLogger("geoflow_ros")

_FORMAT = 1
_AXES = ("pitch", "roll", "height")  # radians, radians, natural logarithm
_LARGEST_STEP = np.array([math.radians(1.1), math.radians(1.1), 0.08])
"""Between hypotheses, so that a camera between them is still matched well enough to be closed in on."""
_FAR = np.array([math.radians(0.7), math.radians(0.7), 0.07])
"""Between hypotheses: where they are farther apart, a camera between them must be closed in on."""
_KNOWN = np.array([math.radians(0.15), math.radians(0.15), 0.015])  # surer than this, one hypothesis will do
_STEP_SIGMAS, _REACH_SIGMAS = 1.2, 1.6  # three hypotheses at 0 and +-1.2 sigma have the moments of a normal, roughly
_NEW_INFORMATION = 0.25  # share of a frame's information that the frame before it, of the same scene, did not give
_MEMORY_FRAMES = 2000.0  # so many trusted frames back, information has faded to a third: loads change
_GATE_SIGMAS = 3.0  # what lies farther off has its noise enlarged: one frame rules nothing out for good
_LEAST_PROBABILITY = 1e-9
_LEAST_NEWS = 0.02  # information of an image that counts, over what was believed before
_SAME = 1e-12  # radians, log metres: hypotheses nearer on an axis have the same value
_REFRESH_FRAMES = 10  # trusted frames after which the hypotheses follow: each change of them costs a projection
_SAVE_FRAMES = 50  # and after which what is known is kept on disk


@dataclass(frozen=True)
class CameraUncertainty:
    """How well the camera's pose above the ground is known before a drive; all 0 for one that is known exactly.

    Attributes:
        pitch_std_rad: of the mounting's pitch.
        roll_std_rad: of its roll.
        height_std: of the height above the ground, as a share of the assumed one.
        suspension_std_rad: of pitch and roll of the moment about the mounting's.
    """

    pitch_std_rad: float = 0.0
    roll_std_rad: float = 0.0
    height_std: float = 0.0
    suspension_std_rad: float = 0.0

    def __post_init__(self) -> None:
        values = self.pitch_std_rad, self.roll_std_rad, self.height_std, self.suspension_std_rad
        if not all(math.isfinite(value) and value >= 0.0 for value in values):
            raise InputError("what is not known of the camera is stated by standard deviations from 0 on")
        if max(self.pitch_std_rad, self.roll_std_rad) > math.radians(10.0) or self.height_std > 0.3:
            raise InputError("the camera's pitch and roll must be known to 10° and its height to 30 %: measure them")

    @property
    def slow(self) -> Float64Array:
        """(3,) standard deviations of the mounting's pitch, roll and log height."""
        return np.array([self.pitch_std_rad, self.roll_std_rad, self.height_std])

    @property
    def fast(self) -> Float64Array:
        """(3,) standard deviations of the moment about them."""
        return np.array([self.suspension_std_rad, self.suspension_std_rad, 0.0])


EXTRINSICS = CameraUncertainty(math.radians(1.0), math.radians(0.8), 0.05, math.radians(0.5))
"""Of a mounting that was measured with a level and a tape: 1°, 5 % of the height, and 0.5° of suspension."""


@dataclass(frozen=True, eq=False)
class CameraBelief:
    """What is believed of the camera's pose of the moment, and the hypotheses made of that.

    Attributes:
        hypotheses: a cross about the mean; with corners where it is wide.
        mean, variance: (3,) of pitch, roll and log height.
        step: (3,) between hypotheses; 0 on an axis that has one only.
    """

    hypotheses: CameraHypotheses
    mean: Float64Array
    variance: Float64Array
    step: Float64Array

    @property
    def is_wide(self) -> bool:
        """Whether the camera may stand far from every hypothesis."""
        return _are_far(self.step)

    def around(self, point: Float64Array, share: float) -> CameraHypotheses:
        """Returns a cross about another point (3,): it, then two on each axis that has several, before and behind it.

        Weights are those that the belief has there, on the scale of `hypotheses`: a cross that closes in on what the
        images say stands for no smaller part of what is possible than one hypothesis did.

        Args:
            point: pitch, roll and log height.
            share: of the step to the belief's own hypotheses.
        """
        axes = np.flatnonzero(self.step)
        points = np.tile(point, (1 + 2 * len(axes), 1))
        points[1::2][np.arange(len(axes)), axes] -= share * self.step[axes]
        points[2::2][np.arange(len(axes)), axes] += share * self.step[axes]
        distance = np.divide((points - self.mean) ** 2, self.variance, out=np.zeros_like(points), where=self.step > 0.0)
        return CameraHypotheses.at(points, self.hypotheses.log_prior[0] - distance.sum(axis=1) / 2.0)


class CameraCalibration:
    """What is known of the camera, frame by frame. Deterministic; not thread-safe.

    Args:
        assumed: the camera that the model was made for. A panorama is taken as known.
        uncertainty: of its pose before the drive; None for one that is known exactly.
        file: where what was learned is kept from drive to drive; nowhere where None. One that cannot be used is named
            in the log, and learning starts afresh.
    """

    def __init__(
        self, assumed: GroundCamera, uncertainty: CameraUncertainty | None = None, file: Path | None = None
    ) -> None:
        self.is_known = (
            uncertainty is None or uncertainty == CameraUncertainty() or not isinstance(assumed, VirtualCamera)
        )
        self._prior = CameraUncertainty() if self.is_known or uncertainty is None else uncertainty
        self._assumed, self._file = assumed, file
        self._mean, self._variance = np.zeros(3), self._prior.slow**2
        self.frames = 0
        self._belief = self._first_belief = self._of_the_moment()
        if file is not None and not self.is_known:
            self._load(file)
            self._belief = self._of_the_moment()

    @property
    def belief(self) -> CameraBelief:
        """How the camera may stand in the next frame; the same object until enough was learned to change it."""
        return self._belief

    @property
    def hypotheses(self) -> CameraHypotheses:
        """The hypotheses of the same."""
        return self._belief.hypotheses

    @property
    def mean(self) -> Float64Array:
        """(3,) the mounting's pitch and roll in radians, less the assumed ones, and log height over the assumed one."""
        return self._mean.copy()

    @property
    def sigma(self) -> Float64Array:
        """(3,) standard deviations of the same."""
        return np.sqrt(self._variance)

    @property
    def facts(self) -> Mapping[str, str]:
        """What is known, for diagnostics."""
        (pitch, roll, height), sigma = self._mean, self.sigma
        return {
            "camera_pitch_deg": f"{math.degrees(pitch):+.2f} ± {math.degrees(sigma[0]):.2f}",
            "camera_roll_deg": f"{math.degrees(roll):+.2f} ± {math.degrees(sigma[1]):.2f}",
            "camera_height_percent": f"{100.0 * math.expm1(height):+.1f} ± {100.0 * sigma[2]:.1f}",
            "camera_hypotheses": str(len(self.hypotheses)),
            "camera_frames": str(self.frames),
        }

    def forget(self) -> None:
        """Goes back to what was known before the first drive; a file is left as it is."""
        self._mean, self._variance, self.frames = np.zeros(3), self._prior.slow**2, 0
        self._belief = self._first_belief

    def learn(self, cross: CameraHypotheses, probability: ArrayLike) -> None:
        """Takes what a trusted fix says.

        Args:
            cross: hypotheses that it was made with: one, and others on one axis each from there.
            probability: (P,) of these, on any scale.
        """
        if self.is_known:
            return
        share = np.maximum(probability, _LEAST_PROBABILITY)
        self._variance = self._variance + (self._prior.slow**2 - self._variance) / _MEMORY_FRAMES
        for axis in np.flatnonzero(self._belief.step):
            self._learn_axis(int(axis), cross.points, share)
        self.frames += 1
        if self.frames % _REFRESH_FRAMES == 0:
            self._belief = self._of_the_moment()
        if self._file is not None and self.frames % _SAVE_FRAMES == 0:
            self._save(self._file)

    def _learn_axis(self, axis: int, points: Float64Array, probability: Float64Array) -> None:
        """Takes what the hypotheses on one axis of a cross (P, 3) say of that axis."""
        belief, mean, variance = self._belief, self._mean[axis], self._variance[axis]
        on_axis = np.abs(np.delete(points - points[0], axis, axis=1)).max(axis=1) < _SAME
        share = probability * on_axis / (probability @ on_axis)
        found = share @ points[:, axis]
        spread = share @ (points[:, axis] - found) ** 2 + (belief.step[axis] / 2.0) ** 2 / 3.0
        believed = 1.0 / belief.variance[axis]
        news = 1.0 / spread - believed  # what the image says without what was believed before
        if variance == 0.0 or news < _LEAST_NEWS * believed:
            return
        measured = belief.mean[axis] + (found - belief.mean[axis]) / (spread * news)
        noise = (1.0 / news + self._prior.fast[axis] ** 2) / _NEW_INFORMATION
        noise *= max(1.0, (measured - mean) ** 2 / (variance + noise) / _GATE_SIGMAS**2)
        gain = variance / (variance + noise)
        self._mean[axis] = mean + gain * (measured - mean)
        self._variance[axis] = (1.0 - gain) * variance

    def _of_the_moment(self) -> CameraBelief:
        """The mounting, with what suspension and road may add to it."""
        mean, variance = self._mean, self._variance + self._prior.fast**2
        sigma = np.sqrt(variance)
        step = np.where(sigma > _KNOWN, np.minimum(_STEP_SIGMAS * sigma, _LARGEST_STEP), 0.0)
        is_open = step > 0.0
        relative = np.divide(step, sigma, out=np.zeros(3), where=is_open)
        counts = np.round(np.divide(_REACH_SIGMAS, relative, out=np.zeros(3), where=is_open))
        numbers = np.arange(1, int(counts.max()) + 1)  # none where all is known
        reach = np.where(numbers <= counts[:, None], numbers * relative[:, None], 0.0)
        has_corners = _are_far(step) and bool((step[:2] > 0.0).all())
        hypotheses = CameraHypotheses.around(mean.copy(), sigma, reach, has_corners)
        return CameraBelief(hypotheses, mean.copy(), variance, step)

    # ---- from drive to drive -----------------------------------------------------------------------------------------

    def _save(self, file: Path) -> None:
        content = {
            "format": _FORMAT,
            "assumed": self._assumed_values(),
            "frames": self.frames,
            "mean": dict(zip(_AXES, self._mean.tolist(), strict=True)),
            "sigma": dict(zip(_AXES, self.sigma.tolist(), strict=True)),
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
            mean, sigma = (np.array([content[key][axis] for axis in _AXES], float) for key in ("mean", "sigma"))
            frames = int(content["frames"])
        except (KeyError, TypeError, ValueError) as error:
            return f"it is damaged: {error!r}"
        if not np.isfinite([*mean, *sigma]).all() or (sigma < 0.0).any():
            return "its numbers are not those of a camera"
        if (np.abs(mean) > 4.0 * self._prior.slow).any():
            return "it lies far outside of what is stated for the camera"
        self._mean, self._variance = mean, np.minimum(sigma, self._prior.slow) ** 2
        self.frames = frames
        return ""

    def _assumed_values(self) -> dict[str, float]:
        camera = self._assumed
        assert isinstance(camera, VirtualCamera)  # a panorama is taken as known and keeps nothing
        names = ("width_px", "height_px", "focal_px", "horizon_row_px", "height_m")
        return {name: float(getattr(camera, name)) for name in names}


def _are_far(step: Float64Array) -> bool:
    """Tells whether hypotheses (3,) apart leave cameras between them that are far from all."""
    return bool((step > _FAR).any())
