"""The method from one image and one patch to a fix, in the order of the paper."""

from __future__ import annotations

import threading
from time import perf_counter

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.protocol import Backend, Tokens
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.manifest import NORTH_UP, Manifest
from geoflow_ros.errors import ImageError, InputError
from geoflow_ros.inference.assessment import BatchEstimate, QualityLimits, assess
from geoflow_ros.inference.fix import Assessment, Fix, FixTimings
from geoflow_ros.inference.irs import mean_estimate, sample_hypotheses
from geoflow_ros.inference.posterior import probe_grid
from geoflow_ros.tiles import SatellitePatch

ASPECT_TOLERANCE = 0.03
"""Relative difference of width / height that resizing may swallow: a row or two of cropping, not another lens."""

_RESOLUTION_TOLERANCE = 1e-3


class GeoFlowLocalizer:
    """Finds the camera on a satellite patch.

    Use it from one thread at a time for one answer at a time; concurrent calls wait for each other. `prepare` may run
    beside them.

    Args:
        bundle: verified model bundle.
        backend: what runs its graphs (see `open_backend`); onnxruntime on the CPU by default.
        seed: of the hypotheses. The same seed, image, patch and stamp give the same fix, whatever came before.
        hypotheses, iterations, step: of the refinement; the manifest's where None. `settings` may be replaced later.
        limits: beyond which a fix is marked as not trustworthy.

    Raises:
        InputError, BundleError: see `OnnxRuntimeBackend` and `IrsSettings`.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend | None = None,
        seed: int = 0,
        hypotheses: int | None = None,
        iterations: int | None = None,
        step: float | None = None,
        limits: QualityLimits | None = None,
    ) -> None:
        if seed < 0:
            raise InputError(f"the seed must not be negative, got {seed}")
        defaults = bundle.manifest.irs
        self.settings = IrsSettings(
            defaults.hypotheses if hypotheses is None else hypotheses,
            defaults.iterations if iterations is None else iterations,
            defaults.step if step is None else step,
        )
        self._manifest = bundle.manifest
        self._backend = backend if backend is not None else OnnxRuntimeBackend(bundle)
        self._seed = seed
        self._limits = limits if limits is not None else QualityLimits()
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._kept: tuple[tuple[SatellitePatch, Tokens], ...] = ()  # replaced as a whole: read without the lock

    @property
    def manifest(self) -> Manifest:
        """Of the model: sizes, scale, alignment (`manifest.patch_frame` gives the patch to cut)."""
        return self._manifest

    @property
    def backend(self) -> Backend:
        """What runs the model."""
        return self._backend

    def localize(self, ground: UInt8Array, patch: SatellitePatch, stamp_ns: int = 0) -> Fix:
        """Position of the camera that took `ground`, somewhere around the centre of `patch`.

        Args:
            ground: RGB uint8 (h, w, 3) of any size with the aspect ratio of the model's camera.
            patch: RGB uint8 (P, P, 3) in the frame of `manifest.patch_frame`. Its tokens are kept for the next call
                with the same object.
            stamp_ns: of the image.

        Returns:
            The fix. Look at `fix.assessment.trustworthy` before using it.

        Raises:
            ImageError: the image does not fit the model.
            InputError: the patch does not.
            BundleError: the network answered with numbers that are not finite.
            BackendError: the back end failed.
        """
        settings = self.settings  # one look, so that a change from outside takes effect between frames
        with self._lock:
            begin = perf_counter()
            image = fit_image(ground, self._manifest)
            resized = perf_counter()
            tokens = self._satellite_tokens(patch)
            satellite_done = perf_counter()
            start = sample_hypotheses(1, settings.hypotheses, self._seed, stamp_ns)
            output = self._backend.frame(image[None], tokens, start, probe_grid(), settings.step, settings.iterations)
            estimate = assess(
                output.probed,
                output.path[-1],
                mean_estimate(output.path[-1]),
                self._manifest.search_radius_m,
                self._manifest.calibration,
                settings,
                self._limits,
            )
            assessed = perf_counter()
        before_ms, total_ms = 1e3 * (satellite_done - begin), 1e3 * (assessed - begin)
        timings = FixTimings(
            resize_ms=1e3 * (resized - begin),
            satellite_ms=1e3 * (satellite_done - resized),
            ground_ms=output.ground_ms,
            refine_ms=output.refine_ms,
            covariance_ms=total_ms - before_ms - output.ground_ms - output.refine_ms,
            total_ms=total_ms,
        )
        path = output.path[:, 0]
        return _fix(stamp_ns, patch, self._manifest.search_radius_m, path, estimate, timings)

    def prepare(self, patch: SatellitePatch) -> None:
        """Encode a patch ahead of its first frame; may be called from another thread while `localize` runs.

        The two patches encoded last are kept: the one in use and the next.

        Raises:
            InputError: the patch does not fit the model.
            BackendError: the back end failed.
        """
        self._satellite_tokens(patch)

    def _satellite_tokens(self, patch: SatellitePatch) -> Tokens:
        """Of a patch that is kept, or computed now."""
        for kept, tokens in self._kept:
            if kept is patch:
                return tokens
        with self._encoding:
            for kept, tokens in self._kept:  # another thread was quicker
                if kept is patch:
                    return tokens
            check_patch(patch, self._manifest)
            tokens = self._backend.satellite_tokens(patch.pixels[None])
            self._kept = (*self._kept[-1:], (patch, tokens))
            return tokens


def fit_image(ground: UInt8Array, manifest: Manifest) -> UInt8Array:
    """The camera image (h, w, 3) at the model's size (H, W, 3).

    Raises:
        ImageError: it is not RGB uint8, is empty, or has another aspect ratio than the model's camera.
    """
    if not isinstance(ground, np.ndarray) or ground.ndim != 3 or ground.shape[2] != 3:
        found = f"shape {ground.shape}" if isinstance(ground, np.ndarray) else type(ground).__name__
        raise ImageError(f"the camera image must be RGB (height, width, 3), got {found}")
    if ground.dtype != np.uint8:
        raise ImageError(f"the camera image must be uint8 (0 to 255), got {ground.dtype}: convert it first")
    height, width = ground.shape[:2]
    if height == 0 or width == 0:
        raise ImageError(f"the camera image is empty ({height} x {width})")
    wanted = manifest.camera.aspect_ratio
    if abs(width / height / wanted - 1.0) > ASPECT_TOLERANCE:
        raise ImageError(
            f"the camera image is {width} x {height} (width / height {width / height:.2f}), but the model "
            f"'{manifest.name}' was made for {wanted:.2f}: crop the image to that ratio"
        )
    size = (manifest.ground.width_px, manifest.ground.height_px)
    if (width, height) == size:
        return np.ascontiguousarray(ground)
    # Area averaging shrinks without aliasing; enlarging with it would only repeat pixels.
    shrinking = width >= size[0] and height >= size[1]
    interpolation = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(ground, size, interpolation=interpolation), np.uint8)


def check_patch(patch: SatellitePatch, manifest: Manifest) -> None:
    """Refuses a patch that is not what the model was trained to see.

    Raises:
        InputError: its size, type, ground resolution or alignment is another.
    """
    size = manifest.satellite.size_px
    if patch.pixels.shape != (size, size, 3) or patch.pixels.dtype != np.uint8:
        raise InputError(
            f"the satellite patch is {patch.pixels.dtype} {patch.pixels.shape}, but the model '{manifest.name}' takes "
            f"uint8 ({size}, {size}, 3): cut it with the frame of manifest.patch_frame"
        )
    wanted_m, found_m = manifest.satellite.ground_resolution_m, patch.frame.ground_resolution_m
    if patch.frame.size_px != size or abs(found_m / wanted_m - 1.0) > _RESOLUTION_TOLERANCE:
        raise InputError(
            f"the satellite patch has {found_m:.4f} m per pixel, but the model '{manifest.name}' takes {wanted_m:.4f}: "
            "cut it with the frame of manifest.patch_frame"
        )
    if manifest.alignment == NORTH_UP and abs(patch.frame.yaw_rad) > 1e-6:
        raise InputError(f"the model '{manifest.name}' takes north-up patches: cut it with manifest.patch_frame")


def _fix(
    stamp_ns: int,
    patch: SatellitePatch,
    search_radius_m: float,
    path: Float32Array,
    estimate: BatchEstimate,
    timings: FixTimings,
) -> Fix:
    """From units of the search radius, of the only frame in the batch, to metres in the map."""
    frame = patch.frame
    path_enu = frame.local_to_enu(path.astype(np.float64) * search_radius_m)  # (R + 1, N, 2)
    answer_m = estimate.answer_m[0]
    east_m, north_m = frame.local_to_enu(answer_m)
    reason = estimate.reasons[0]
    heading_error = estimate.heading_error_rad
    assessment = Assessment(
        trustworthy=not reason,
        reason=reason,
        spread_m=float(estimate.spread_m[0]),
        inside_fraction=float(estimate.inside_fraction[0]),
        centre_distance_m=float(np.hypot(*answer_m)),
        kappa_mean=float(estimate.kappa_mean[0]),
        sigma_log_r_mean=float(estimate.sigma_log_r_mean[0]),
        posterior_misfit=float(estimate.posterior_misfit[0]),
        posterior_distance_m=float(np.hypot(*(estimate.posterior_mean_m[0] - answer_m))),
    )
    return Fix(
        stamp_ns=stamp_ns,
        east_m=float(east_m),
        north_m=float(north_m),
        covariance=frame.rotate_covariance_to_enu(estimate.covariance[0]),
        hypotheses=path_enu[-1],
        path=path_enu,
        yaw_rad=frame.yaw_rad,
        assessment=assessment,
        timings=timings,
        frame=frame,
        search_radius_m=search_radius_m,
        posterior_position=frame.local_to_enu(estimate.posterior_mean_m[0]),
        raw_covariance=estimate.raw_covariance[0],
        heading_error_rad=None if heading_error is None else float(heading_error[0]),
    )
