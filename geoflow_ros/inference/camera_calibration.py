"""How the camera stands above the road: what is known before a drive, what an image tells, and what fixes tell.

Pitch and roll against the ground ahead have a slow part, how the camera is mounted, and a fast one, which suspension
and road give them; the height is slow. The slow part is followed over the drive (a Kalman filter of three independent
states); the fast one is never learned, only allowed for. In every frame what is known so far is joined with what the
network reads from the image, and what is still unknown stays in the frame's hypotheses, and so in its covariance.
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
from geoflow_ros.bundle.birds_eye import ORDINARY_STANCE
from geoflow_ros.errors import InputError
from geoflow_ros.files import write_atomically
from geoflow_ros.geo.birds_eye import GroundCamera, VirtualCamera
from geoflow_ros.inference.pose_search import CameraHypotheses

_log = logging.getLogger("geoflow_ros")

_FORMAT = 1
_AXES = ("pitch", "roll", "height")  # radians, radians, natural logarithm
_LARGEST_STEP = np.array([math.radians(0.8), math.radians(0.8), 0.08])
"""Between hypotheses: 0.4 degrees of pitch move the ground at 10 m by half a cell."""
_KNOWN = np.array([math.radians(0.15), math.radians(0.15), 0.015])  # surer than this, one hypothesis will do
_STEP_SIGMAS, _REACH_SIGMAS = 1.2, 1.6  # three hypotheses at 0 and +-1.2 sigma have the moments of a normal, roughly
_NEW_INFORMATION = 0.25  # share of a frame's information that the frame before it, of the same scene, did not give
_MEMORY_FRAMES = 2000.0  # so many trusted frames back, information has faded to a third: loads change
_GATE_SIGMAS = 3.0  # what lies farther off has its noise enlarged: one frame rules nothing out for good
_LEAST_PROBABILITY = 1e-9
_SAVE_FRAMES = 50  # trusted frames after which what is known is kept on disk


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
class _Frame:
    """What was known of the camera when one frame's hypotheses were made.

    Attributes:
        hypotheses: of the frame.
        mean, variance: (3,) of the moment before the image.
        step: (3,) between hypotheses; 0 on an axis that has one only.
        belief: (3,) mean of the moment with what the image tells.
        belief_variance: (3,) likewise.
    """

    hypotheses: CameraHypotheses
    mean: Float64Array
    variance: Float64Array
    step: Float64Array
    belief: Float64Array
    belief_variance: Float64Array


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
        self._as_assumed = CameraHypotheses.as_assumed()
        self._frame: _Frame | None = None
        self.frames = 0
        if file is not None and not self.is_known:
            self._load(file)

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
            "camera_hypotheses": str(1 if self._frame is None else len(self._frame.hypotheses)),
            "camera_frames": str(self.frames),
        }

    def forget(self) -> None:
        """Goes back to what was known before the first drive; a file is left as it is."""
        self._mean, self._variance = np.zeros(3), self._prior.slow**2
        self._frame, self.frames = None, 0

    def hypotheses(self, stance: ArrayLike | None = None) -> CameraHypotheses:
        """How the camera may stand in this frame; the same object for every frame where it is known.

        Args:
            stance: (2, 3) mean and standard deviation of pitch, roll and log height, as the network reads them from
                the image, trained with `ORDINARY_STANCE`; None where it does not. What is not finite is left aside.
        """
        if self.is_known:
            return self._as_assumed
        mean, variance = self._mean, self._variance + self._prior.fast**2
        precision, weighted = 1.0 / variance, mean / variance
        if stance is not None and np.isfinite(stance).all():
            read_mean, read_sigma = np.asarray(stance, float)
            # the network's answer has the ordinary stance in it, which is not what is known of this camera
            news = np.maximum(read_sigma**-2 - np.square(ORDINARY_STANCE) ** -1, 0.0)
            precision, weighted = precision + news, weighted + np.where(news > 0.0, read_mean / read_sigma**2, 0.0)
        belief, sigma = weighted / precision, precision**-0.5
        step = np.where(sigma > _KNOWN, np.minimum(_STEP_SIGMAS * sigma, _LARGEST_STEP), 0.0)
        counts = np.where(step > 0.0, np.maximum(1, np.round(_REACH_SIGMAS * sigma / np.maximum(step, 1e-9))), 0)
        numbers = np.arange(1, int(max(1, counts.max())) + 1)
        reach = np.where(numbers <= counts[:, None], numbers * (step / sigma)[:, None], 0.0)
        hypotheses = CameraHypotheses.around(belief, sigma, reach)
        self._frame = _Frame(hypotheses, mean, variance, step, belief, sigma**2)
        return hypotheses

    def learn(self, camera_probability: ArrayLike) -> None:
        """Takes what a trusted fix says: (P,) probabilities of the last frame's `hypotheses`."""
        if self.is_known or self._frame is None:
            return
        frame, probability = self._frame, np.asarray(camera_probability, float)
        h = frame.hypotheses
        off = np.stack([h.pitch_rad, h.roll_rad, np.log(h.height_scale)], axis=1) - frame.belief
        # along each axis by itself: of the cross, only the middle and that axis's hypotheses
        on_axis = np.stack([(np.abs(np.delete(off, axis, axis=1)) < 1e-12).all(axis=1) for axis in range(3)], axis=1)
        share = np.maximum(probability, _LEAST_PROBABILITY)[:, None] * on_axis
        share /= share.sum(axis=0)
        found = frame.belief + (share * off).sum(axis=0)
        spread = (share * (frame.belief + off - found) ** 2).sum(axis=0) + np.square(frame.step / 2.0) / 3.0
        # an axis with one hypothesis says what was believed of it
        is_open = frame.step > 0.0
        found, spread = np.where(is_open, found, frame.belief), np.where(is_open, spread, frame.belief_variance)
        information = 1.0 / spread - 1.0 / frame.variance  # without what was known before
        tells = information > 0.02 / frame.variance
        information = np.where(tells, information, 1.0)
        measured = (found / spread - frame.mean / frame.variance) / information
        noise = (1.0 / information + self._prior.fast**2) / _NEW_INFORMATION
        off = np.square(measured - self._mean) / (self._variance + noise)
        noise = noise * np.maximum(1.0, off / _GATE_SIGMAS**2)
        gain = np.where(tells & (self._variance > 0.0), self._variance / (self._variance + noise), 0.0)
        self._mean = self._mean + gain * (measured - self._mean)
        faded = (self._prior.slow**2 - self._variance) / _MEMORY_FRAMES
        self._variance = np.maximum((1.0 - gain) * self._variance + faded, 0.0)
        self.frames += 1
        if self._file is not None and self.frames % _SAVE_FRAMES == 0:
            self._save(self._file)

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
