"""Heads and back ends whose answers a test knows."""

from __future__ import annotations

import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends import Backend, HeadOutput
from geoflow_ros.backends.host_frames import HostFrames
from geoflow_ros.backends.protocol import Tokens
from geoflow_ros.bundle import Bundle
from geoflow_ros.tiles import SatellitePatch


class ExactHead:
    """A head that knows the truth, and says with which spread; f_vis (B, 2) is the true q itself."""

    def __init__(self, sigma_log_r: float = 0.1, kappa: float = 50.0) -> None:
        self.sigma_log_r, self.kappa = sigma_log_r, kappa

    def head(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        offset = f_vis[:, None, :] - hypotheses
        r = np.maximum(np.linalg.norm(offset, axis=-1), 1e-9)
        ones = np.ones_like(r)
        return HeadOutput(
            mu_log_r=np.log(r),
            var_log_r=ones * self.sigma_log_r**2,
            direction=offset / r[..., None],
            kappa=ones * self.kappa,
            refined=hypotheses + step * offset,
            orientation=None,
        )


class RecordingBackend(HostFrames):
    """The real back end, and how often the encoders were called."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.satellite_calls, self.ground_calls = backend, 0, 0
        self.name, self.precision = backend.name, backend.precision

    def satellite_tokens(self, satellite: UInt8Array) -> Tokens:
        self.satellite_calls += 1
        return self.backend.satellite_tokens(satellite)

    def f_vis(self, ground: UInt8Array, tokens: Tokens) -> Float32Array:
        self.ground_calls += 1
        return self.backend.f_vis(ground, tokens)

    def head(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        return self.backend.head(f_vis, hypotheses, step)


def picture(shape: tuple[int, ...], seed: int = 0) -> UInt8Array:
    """Noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def ground_image(seed: int = 0) -> UInt8Array:
    """Noise in the size of the small bundle's camera."""
    return picture((64, 256, 3), seed)


def patch_at(
    bundle: Bundle, east_m: float = 0.0, north_m: float = 0.0, yaw_rad: float = 0.0, seed: int = 1
) -> SatellitePatch:
    """Noise in the frame of a bundle's patch."""
    frame = bundle.manifest.patch_frame(east_m, north_m, yaw_rad)
    return SatellitePatch(picture((frame.size_px, frame.size_px, 3), seed), frame)
