"""Whether a bundle answers as the network that it was made from."""

from __future__ import annotations

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.host_frames import refine
from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.protocol import Backend
from geoflow_ros.backends.torch_backend import TorchBackend
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.errors import BundleError
from geoflow_ros.inference.irs import INITIAL_SPREAD, mean_estimate, sample_hypotheses, spread
from geoflow_ros.model import GeoFlow

RELATIVE_TOLERANCE = 1e-3
"""Largest difference of any output, relative to the largest value of that output."""
POSITION_TOLERANCE_M = 0.01
"""Largest difference of an answer after all refinements."""

_FRAMES = 2
_SEED = 0
_BLOCK_PX = 32


def check_parity(model: GeoFlow, bundle: Bundle) -> None:
    """Compares every output of the bundle with the network's, and the answers after all refinements.

    Answers count where the network converges inside the search square; a random network's hypotheses run away.

    Raises:
        BundleError: a difference above `RELATIVE_TOLERANCE` or `POSITION_TOLERANCE_M`.
    """
    manifest = bundle.manifest
    satellite, ground = parity_images(
        manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px, _FRAMES, _SEED
    )
    hypotheses = sample_hypotheses(_FRAMES, manifest.irs.hypotheses, _SEED)
    wanted: Backend = TorchBackend(model)
    found: Backend = OnnxRuntimeBackend(bundle)

    tokens = wanted.satellite_tokens(satellite)
    require_close("satellite_tokens", np.asarray(tokens), found.satellite_tokens(satellite))
    f_vis = wanted.f_vis(ground, tokens)
    found_f_vis = found.f_vis(ground, found.satellite_tokens(satellite))
    require_close("f_vis", f_vis, found_f_vis)
    a = wanted.head(f_vis, hypotheses, manifest.irs.step)
    b = found.head(f_vis, hypotheses, manifest.irs.step)
    for name in ("mu_log_r", "var_log_r", "direction", "kappa", "refined", "orientation"):
        if getattr(a, name) is not None:
            require_close(name, getattr(a, name), getattr(b, name))

    ends = [
        refine(backend, features, hypotheses, manifest.irs.step, manifest.irs.iterations)[-1]
        for backend, features in ((wanted, f_vis), (found, found_f_vis))
    ]
    answers = [mean_estimate(end) for end in ends]
    converged = (np.abs(answers[0]).max(axis=-1) <= 1.0) & (spread(ends[0]) < INITIAL_SPREAD)
    distance_m = np.linalg.norm(answers[1] - answers[0], axis=-1) * manifest.search_radius_m
    if (distance_m[converged] > POSITION_TOLERANCE_M).any():
        raise BundleError(
            f"the exported graphs answer {1e3 * distance_m[converged].max():.1f} mm beside the checkpoint after "
            f"{manifest.irs.iterations} iterations (limit {1e3 * POSITION_TOLERANCE_M:.0f} mm): nothing was written"
        )


def parity_images(size_px: int, height_px: int, width_px: int, count: int, seed: int) -> tuple[UInt8Array, UInt8Array]:
    """Random pictures with coarse colours and fine noise: patches (count, P, P, 3), camera images (count, H, W, 3)."""
    generator = np.random.default_rng(seed)

    def pictures(height: int, width: int) -> UInt8Array:
        result = []
        for _ in range(count):
            coarse = generator.integers(0, 256, (max(1, height // _BLOCK_PX), max(1, width // _BLOCK_PX), 3))
            blocks = cv2.resize(coarse.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            noise = generator.integers(-20, 21, (height, width, 3))
            result.append(np.clip(blocks + noise, 0, 255).astype(np.uint8))
        return np.stack(result)

    return pictures(size_px, size_px), pictures(height_px, width_px)


def require_close(name: str, wanted: Float32Array, found: Float32Array) -> None:
    """Compares one output.

    Raises:
        BundleError: a difference above `RELATIVE_TOLERANCE`.
    """
    difference = relative_difference(wanted, found)
    if not difference <= RELATIVE_TOLERANCE:  # catches NaN too
        raise BundleError(
            f"the exported graphs' {name} differs from the checkpoint's by {difference:.1e} of its largest value "
            f"(limit {RELATIVE_TOLERANCE:.0e}): nothing was written; check that torch has the pinned version"
        )


def relative_difference(wanted: Float32Array, found: Float32Array) -> float:
    """Largest absolute difference over the largest absolute value of what is wanted."""
    return float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1e-12))
