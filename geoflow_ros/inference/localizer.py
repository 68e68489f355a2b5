"""GeoFlow: from one image and one patch to a fix, in the order of the paper."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from geoflow_ros.arrays import BoolArray, Float32Array, UInt8Array
from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.protocol import Backend, FrameOutput, Tokens
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import InputError
from geoflow_ros.inference.assessment import AssessedEstimate, QualityLimits, assess
from geoflow_ros.inference.fix import FixTimings, GeoFlowFix
from geoflow_ros.inference.inputs import KeptPatches, blank_inputs, fit_image, searched_radius_m
from geoflow_ros.inference.irs import mean_estimate, sample_hypotheses
from geoflow_ros.inference.posterior import probe_grid
from geoflow_ros.inference.protocol import SearchSettings
from geoflow_ros.stopwatch import Stopwatch
from geoflow_ros.tiles import SatellitePatch


class GeoFlowLocalizer:
    """Finds the camera on a satellite patch by iterative refinement of hypotheses (section 3 of the paper).

    Use it from one thread at a time for one answer at a time; concurrent calls wait for each other. `prepare` may run
    beside them. See `PatchLocalizer` for what any method offers.

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
        self._bundle, self._manifest = bundle, bundle.manifest
        self._backend = backend if backend is not None else OnnxRuntimeBackend(bundle)
        self._seed = seed
        self._limits = limits if limits is not None else QualityLimits()
        self._probes = probe_grid()
        self._lock = threading.Lock()
        self._patches = KeptPatches(self._manifest, self._backend.satellite_tokens)
        self.settings: IrsSettings
        self.configure(SearchSettings(hypotheses, iterations, step))

    @property
    def manifest(self) -> Manifest:
        """The model's description: sizes, scale, alignment (`manifest.patch_frame` gives the patch to cut)."""
        return self._manifest

    @property
    def backend(self) -> Backend:
        """What runs the model."""
        return self._backend

    @property
    def description(self) -> str:
        """The model and its engine, in a few words."""
        return f"model {self._manifest.name} on {self._backend.name}"

    @property
    def facts(self) -> Mapping[str, str]:
        """Engine and precision, for diagnostics."""
        return {"backend": self._backend.name, "precision": self._backend.precision}

    def configure(self, search: SearchSettings) -> None:
        """Take other search settings from the next frame on.

        Raises:
            InputError: outside the settings' ranges, or more hypotheses than the back end takes.
        """
        default, most = self._manifest.irs, self._backend.max_hypotheses
        settings = IrsSettings(
            default.hypotheses if search.hypotheses is None else search.hypotheses,
            default.iterations if search.iterations is None else search.iterations,
            default.step if search.step is None else search.step,
        )
        if most is not None and settings.hypotheses > most:
            raise InputError(
                f"irs.hypotheses must be at most {most} with {self._backend.name}, got {settings.hypotheses}: take "
                "fewer, or another model.backend"
            )
        self.settings = settings

    @property
    def max_heading_error_rad(self) -> float:
        """0: the patch's yaw is taken as the camera's."""
        return 0.0

    def localize(
        self,
        ground: UInt8Array,
        patch: SatellitePatch,
        stamp_ns: int = 0,
        heading_error_rad: float | None = None,
        position_error_m: float | None = None,
        covered: BoolArray | None = None,
    ) -> GeoFlowFix:
        """Position of the camera that took `ground`, somewhere around the centre of `patch`.

        Args:
            ground: RGB uint8 (h, w, 3) of any size with the aspect ratio of the model's camera.
            patch: RGB uint8 (P, P, 3) in the frame of `manifest.patch_frame`. Its tokens are kept for the next call
                with the same object.
            stamp_ns: of the image.
            heading_error_rad: has no influence.
            position_error_m: how far from the centre hypotheses start; the search radius where None.
            covered: has no influence: the network looks at the whole image.

        Returns:
            The fix. Look at `fix.assessment.trustworthy` before using it.

        Raises:
            ImageError: the image does not fit the model.
            InputError: the patch does not, or the position error is not positive or larger than the search radius.
            BundleError: the network answered with numbers that are not finite.
            BackendError: the back end failed.
        """
        share = searched_radius_m(self._manifest, position_error_m) / self._manifest.search_radius_m
        settings = self.settings  # one look, so that a change from outside takes effect between frames
        with self._lock:
            watch = Stopwatch()
            with watch.stage("resize"):
                image = fit_image(ground, self._manifest)
            with watch.stage("satellite"):
                tokens = self._patches.encoded(patch)
            hypotheses = sample_hypotheses(1, settings.hypotheses, self._seed, stamp_ns) * np.float32(share)
            output = self._encode_and_refine(image, tokens, hypotheses, settings)
            estimate = mean_estimate(output.path[-1])
            (answer,) = self._assess(output, estimate, settings)
            return self._fix(stamp_ns, patch, output, answer, watch)

    def prepare(self, patch: SatellitePatch) -> None:
        """Encode a patch ahead of its first frame; may be called from another thread while `localize` runs.

        The two patches encoded last are kept: the one in use and the next.

        Raises:
            InputError: the patch does not fit the model.
            BackendError: the back end failed.
        """
        self._patches.encoded(patch)

    def beside(self, name: str) -> GeoFlowLocalizer:
        """See `PatchLocalizer.beside`: with patches of its own."""
        s = self.settings
        return GeoFlowLocalizer(
            self._bundle, self._backend, self._seed, s.hypotheses, s.iterations, s.step, self._limits
        )

    def forget(self) -> None:
        """Forget nothing: every image is answered for itself."""

    def warm_up(self) -> None:
        """Answer twice to nothing: the first real frame must not pay for what the back end does once.

        The second time because a back end on a GPU may make its CUDA graph of a frame that has run before.
        """
        for _ in range(2):
            self.localize(*blank_inputs(self._manifest))

    def _encode_and_refine(
        self, image: UInt8Array, tokens: Tokens, hypotheses: Float32Array, settings: IrsSettings
    ) -> FrameOutput:
        """Encode the image once, refine all hypotheses, probe the head: one call, so that a GPU does it in one go."""
        return self._backend.frame(image[None], tokens, hypotheses, self._probes, settings.step, settings.iterations)

    def _assess(self, output: FrameOutput, estimate: np.ndarray, settings: IrsSettings) -> tuple[AssessedEstimate, ...]:
        manifest = self._manifest
        return assess(
            output.probed,
            self._probes,
            output.path[-1],
            estimate,
            manifest.search_radius_m,
            manifest.calibration,
            settings,
            self._limits,
            manifest.evidence,
        )

    def _fix(
        self, stamp_ns: int, patch: SatellitePatch, output: FrameOutput, answer: AssessedEstimate, watch: Stopwatch
    ) -> GeoFlowFix:
        """From units of the search radius and axes of the patch, of the only frame in the batch, to the map."""
        frame, radius_m = patch.frame, self._manifest.search_radius_m
        path_enu = frame.local_to_enu(output.path[:, 0].astype(np.float64) * radius_m)  # (R + 1, N, 2)
        east_m, north_m = frame.local_to_enu(answer.position_m)
        return GeoFlowFix(
            stamp_ns=stamp_ns,
            east_m=float(east_m),
            north_m=float(north_m),
            covariance=frame.rotate_covariance_to_enu(answer.covariance),
            hypotheses=path_enu[-1],
            path=path_enu,
            assessment=answer.assessment,
            timings=_timings(watch, output),
            frame=frame,
            search_radius_m=radius_m,
            posterior_position=frame.local_to_enu(answer.posterior_mean_m),
            raw_covariance=answer.raw_covariance,
            heading_error_rad=answer.heading_error_rad,
        )


def _timings(watch: Stopwatch, output: FrameOutput) -> FixTimings:
    """The stages; covariance is all that is left: probing the head, the posterior and the assessment."""
    total_ms, resize_ms, satellite_ms = watch.total_ms, watch.stages_ms["resize"], watch.stages_ms["satellite"]
    return FixTimings(
        resize_ms=resize_ms,
        satellite_ms=satellite_ms,
        ground_ms=output.ground_ms,
        refine_ms=output.refine_ms,
        covariance_ms=total_ms - resize_ms - satellite_ms - output.ground_ms - output.refine_ms,
        total_ms=total_ms,
    )
