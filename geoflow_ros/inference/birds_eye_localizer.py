"""The bird's-eye method: the camera's image laid on the ground, matched with the patch at every pose of a volume."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import BoolArray, Float32Array, Float64Array, UInt8Array
from geoflow_ros.backends.protocol import GraphRunner
from geoflow_ros.bundle.birds_eye import COARSE, ZERO
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.bundle.methods import (
    COARSE_MATCHER,
    COARSE_MATCHER_WIDE,
    FINE_MATCHER,
    FINE_MATCHER_WIDE,
    GROUND_ENCODER,
    GROUND_PROJECTION,
    SATELLITE_ENCODER,
)
from geoflow_ros.bundle.pose_calibration import PoseCalibration
from geoflow_ros.errors import BundleError, GeometryError, InputError
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference.assessment import require_finite
from geoflow_ros.inference.birds_eye_assessment import PoseLimits
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix, GroundView, flow_fix, pose_fix
from geoflow_ros.inference.birds_eye_projection import NARROW_TURN_RAD, GroundProjection, project_ground
from geoflow_ros.inference.camera_calibration import CameraCalibration
from geoflow_ros.inference.camera_refinement import NARROW, WIDE, summit
from geoflow_ros.inference.covered_ground import without_sky
from geoflow_ros.inference.fix import Fix
from geoflow_ros.inference.flow_refinement import FlowPose, flow_pose
from geoflow_ros.inference.inputs import KeptPatches, blank_inputs, fit_image, searched_radius_m
from geoflow_ros.inference.pose_posterior import PosePosterior, PoseScores, SearchWindows, choose_windows
from geoflow_ros.inference.pose_search import CameraHypotheses, PoseSearch, search_of
from geoflow_ros.inference.protocol import SearchSettings
from geoflow_ros.inference.seen_ground import SeenGround
from geoflow_ros.stopwatch import Stopwatch
from geoflow_ros.tiles import SatellitePatch

_WIDE_TURNS_RAD = (math.radians(45.0), math.pi)
"""Heading errors that are searched where the bundle's own range will not do: few, as each has shapes of its own."""

_WIDE_STEP = 2.0  # a wide search's coarse headings are so many times as far apart: a window still reaches the next
_WIDE_HEADINGS = 18  # that are scored at once
_WINDOWS = 3  # places that the fine level looks at where the camera is known
_WINDOWS_OF_CAMERAS = 6  # and where it is not: hypotheses of the camera compete for the same places


@dataclass(frozen=True, eq=False)
class _Frame:
    """What the networks say of one image on one patch.

    Attributes:
        satellite: encoded.
        features: of the image.
        seen: the image through the belief's hypotheses.
        search: the volume.
        covered: which pixels of the image without its sky show anything; all where None.
    """

    satellite: Mapping[str, Float32Array]
    features: Mapping[str, Float32Array]
    seen: SeenGround
    search: PoseSearch
    covered: BoolArray | None


class BirdsEyeLocalizer:
    """Finds the camera's pose on a satellite patch by matching the ground as both see it.

    Use it from one thread at a time for one answer at a time; concurrent calls wait for each other. `prepare` may run
    beside them. See `PatchLocalizer` for what any method offers.

    Args:
        bundle: verified bundle of this method.
        runner: what runs its graphs.
        search: how far headings are searched, and what is known of the camera; what the bundle says where None.
        limits: beyond which a fix is marked as not trustworthy.

    Raises:
        BundleError: the bundle is of another method, or its camera sees nothing of the ground.
        InputError: a search that the bundle cannot do.
    """

    def __init__(
        self,
        bundle: Bundle,
        runner: GraphRunner,
        search: SearchSettings | None = None,
        limits: PoseLimits | None = None,
    ) -> None:
        self._bundle, self._manifest, self._runner = bundle, bundle.manifest, runner
        self._geometry = bundle.manifest.geometry
        assert bundle.manifest.birds_eye is not None  # or it had no geometry
        self._model = bundle.manifest.birds_eye
        self._limits = limits or PoseLimits()
        self._lock = threading.Lock()
        self._patches = KeptPatches(self._manifest, self._encode_patch)
        self._given = search = search or SearchSettings()
        # flow from zero has no posterior that cameras could compete in
        camera = None if self._model.flow_start == ZERO else search.camera
        self._calibration = CameraCalibration(self._geometry.camera, camera, search.camera_file)
        self._belief = self._calibration.belief
        self._projection = self._project(self._belief.hypotheses)
        self._largest_turn_rad = math.pi
        self.configure(search)

    @property
    def manifest(self) -> Manifest:
        """The model's description; `manifest.patch_frame` gives the patch to cut."""
        return self._manifest

    @property
    def description(self) -> str:
        """The model and its engine, in a few words."""
        return f"model {self._manifest.name} on {self._runner.name}"

    @property
    def facts(self) -> Mapping[str, str]:
        """Engine, precision, and what is known of the camera, for diagnostics."""
        engine = {"backend": self._runner.name, "precision": self._runner.precision}
        return {**engine, **self._calibration.facts}

    @property
    def max_heading_error_rad(self) -> float:
        """The largest error of a patch's yaw at which the camera is found."""
        return self._largest_turn_rad

    def configure(self, search: SearchSettings) -> None:
        """Take another range of headings from the next frame on; what is known of the camera stays.

        Raises:
            InputError: a heading range that is not positive, or that the bundle has no graphs for.
        """
        has_wide = {COARSE_MATCHER_WIDE, FINE_MATCHER_WIDE} <= set(self._manifest.tensors)
        allowed_rad = math.pi if has_wide else NARROW_TURN_RAD
        wanted_rad = allowed_rad if search.max_heading_error_rad is None else search.max_heading_error_rad
        if not 0.0 < wanted_rad <= allowed_rad:
            raise InputError(
                f"headings are to be searched up to ±{math.degrees(wanted_rad):g}°, but the model "
                f"'{self._manifest.name}' can search more than 0 and up to ±{math.degrees(allowed_rad):g}°"
            )
        self._largest_turn_rad = wanted_rad

    def localize(
        self,
        ground: UInt8Array,
        patch: SatellitePatch,
        stamp_ns: int = 0,
        heading_error_rad: float | None = None,
        position_error_m: float | None = None,
        covered: BoolArray | None = None,
    ) -> Fix:
        """Pose of the camera that took `ground`, somewhere around the centre of `patch`.

        Args:
            ground: RGB uint8 (h, w, 3) of any size with the aspect ratio of the model's camera.
            patch: RGB uint8 (P, P, 3) in the frame of `manifest.patch_frame`. What is encoded of it is kept for the
                next call with the same object.
            stamp_ns: of the image.
            heading_error_rad: by how much the patch's yaw may be wrong, three standard deviations or a bound; smaller
                errors are then more probable than larger ones. Where None, it may be wrong by what the model was
                trained for, by any as probably. Wider searches cost more.
            position_error_m: how far the camera may be from the patch's centre, forward and to the right; the model's
                search radius where None.
            covered: (H, W) bool at the model's size, which pixels of the image show anything; all where None. Ground
                that is not shown takes no part.

        Returns:
            The fix, a `BirdsEyeFix` unless the bundle's flow starts from zero. Look at `fix.assessment.trustworthy`
            before using it.

        Raises:
            ImageError: the image does not fit the model.
            InputError: the patch does not, heading or position are less certain than what is searched, or the position
                error is not positive.
            BundleError: the network answered with numbers that are not finite.
            BackendError: the back end failed.
        """
        with self._lock:
            watch = Stopwatch()
            with watch.stage("resize"):
                image, covered = fit_image(ground, self._manifest), without_sky(covered, self._manifest)
            with watch.stage("satellite"):
                satellite = self._patches.encoded(patch)
            with watch.stage("ground"):
                features = self._runner.run(GROUND_ENCODER, {"ground": image[None]})
                self._follow_camera()
                at = self._projection.within(covered)
            search = self._search(heading_error_rad, position_error_m)
            if self._model.flow_start == ZERO:
                return self._flow_from_zero(satellite, features, at, patch.frame, search, stamp_ns, watch)
            with watch.stage("match"):
                seen = self._lay_down(features, self._belief.hypotheses, at)
                frame = _Frame(satellite, features, seen, search, covered)
                scores = self._match(frame)
                if self._belief.is_wide:
                    scores, seen = self._close_in(frame, scores)
            posterior = PosePosterior.of(scores, search)
            view = self._view(image, frame.seen, seen, posterior)
            fix = self._answer(frame, view, posterior, patch, stamp_ns, watch)
            if fix.assessment.trustworthy:
                self._calibration.learn(seen.cameras, posterior.camera_probability[-len(seen.cameras) :])
            return fix

    def prepare(self, patch: SatellitePatch) -> None:
        """Encode a patch ahead of its first frame; may be called from another thread while `localize` runs.

        The two patches encoded last are kept: the one in use and the next.

        Raises:
            InputError: the patch does not fit the model.
            BackendError: the back end failed.
        """
        self._patches.encoded(patch)

    def beside(self, name: str) -> BirdsEyeLocalizer:
        """See `PatchLocalizer.beside`: what is learned of the camera goes into a file with its name."""
        search = replace(self._given, max_heading_error_rad=self._largest_turn_rad)
        if search.camera_file is not None:
            search = replace(search, camera_file=search.camera_file.with_stem(f"{search.camera_file.stem}_{name}"))
        return BirdsEyeLocalizer(self._bundle, self._runner, search, self._limits)

    def forget(self) -> None:
        """Forget what earlier images told of the camera: the next one is another vehicle's."""
        with self._lock:
            self._calibration.forget()

    def warm_up(self) -> None:
        """Answer to nothing: the first real frame must not pay for what the back end does once."""
        for _ in range(2):
            self.localize(*blank_inputs(self._manifest))

    def _follow_camera(self) -> None:
        """Look through the camera as it is known by now."""
        belief = self._calibration.belief
        if belief is not self._belief:
            self._projection = self._project(belief.hypotheses)
            self._belief = belief

    def _search(self, heading_error_rad: float | None, position_error_m: float | None) -> PoseSearch:
        """The smallest volume that has the heading and the position in it."""
        search = search_of(self._geometry).within(searched_radius_m(self._manifest, position_error_m))
        search = replace(search, heading_error_rad=heading_error_rad)
        own_rad = min(search.max_turn_rad, self._largest_turn_rad)
        windows = _WINDOWS if len(self._belief.hypotheses) == 1 else _WINDOWS_OF_CAMERAS
        if heading_error_rad is None or heading_error_rad <= own_rad:
            return replace(search, max_turn_rad=own_rad, windows=windows)
        if not heading_error_rad <= self._largest_turn_rad:
            raise InputError(
                f"the heading is known to ±{math.degrees(heading_error_rad):.0f}° only, and headings are searched up "
                f"to ±{math.degrees(self._largest_turn_rad):g}°: give a better heading, or search more of them"
            )
        turn_rad = min(next(turn for turn in _WIDE_TURNS_RAD if turn >= heading_error_rad), self._largest_turn_rad)
        step_rad = search.coarse_turn_step_rad * (_WIDE_STEP if turn_rad > NARROW_TURN_RAD else 1.0)
        return replace(search, max_turn_rad=turn_rad, coarse_turn_step_rad=step_rad, windows=_WINDOWS_OF_CAMERAS)

    def _encode_patch(self, satellite: UInt8Array) -> Mapping[str, Float32Array]:
        return self._runner.run(SATELLITE_ENCODER, {"satellite": satellite})

    def _project(self, cameras: CameraHypotheses) -> GroundProjection:
        """Where the image shows the ground, for each way in which the camera may stand.

        Raises:
            BundleError: in one of them it sees nothing of it.
        """
        try:
            projection = project_ground(self._geometry, cameras.cameras(self._geometry.camera))
        except GeometryError as error:
            raise BundleError(f"the model '{self._manifest.name}' cannot be used: {error}") from error
        if not projection.is_visible.any(axis=(1, 2, 3)).all():
            raise BundleError(
                f"the camera of the model '{self._manifest.name}' sees no ground that the network looks at: look at "
                "its horizon, bonnet and height"
            )
        return projection

    @property
    def _pose_calibration(self) -> PoseCalibration:
        calibrations = self._model.calibration
        return calibrations.camera_known if self._calibration.is_known else calibrations.camera_unknown

    def _answer(
        self,
        frame: _Frame,
        view: GroundView,
        posterior: PosePosterior,
        patch: SatellitePatch,
        stamp_ns: int,
        watch: Stopwatch,
    ) -> BirdsEyeFix:
        flow = self._flow_from_mode(frame, view, posterior) if self._model.flow_start else None
        return pose_fix(
            posterior,
            view,
            patch,
            self._pose_calibration,
            self._limits,
            self._manifest.evidence,
            stamp_ns=stamp_ns,
            watch=watch,
            flow=flow,
        )

    def _flow_from_mode(self, frame: _Frame, view: GroundView, posterior: PosePosterior) -> FlowPose | None:
        at = project_ground(self._geometry, (view.camera,)).within(frame.covered)
        start = posterior.estimate().pose
        return flow_pose(self._runner, frame.satellite, frame.features, at, start, frame.search.reach_m)

    def _flow_from_zero(
        self,
        satellite: Mapping[str, Float32Array],
        features: Mapping[str, Float32Array],
        at: GroundProjection,
        frame: PatchFrame,
        search: PoseSearch,
        stamp_ns: int,
        watch: Stopwatch,
    ) -> Fix:
        """The paper's answer: no posterior, and the camera as the model assumes it."""
        with watch.stage("match"):
            flow = flow_pose(self._runner, satellite, features, at, np.zeros(3), search.reach_m)
        return flow_fix(flow, frame, search, self._pose_calibration, stamp_ns=stamp_ns, watch=watch)

    def _lay_down(
        self, features: Mapping[str, Float32Array], cameras: CameraHypotheses, at: GroundProjection
    ) -> SeenGround:
        feed = {**features, "cells": at.cells, "colours": at.colours, "is_visible": at.is_visible}
        laid = self._runner.run(GROUND_PROJECTION, feed)
        cells = {name: laid[name] for name in ("ground_fine", "ground_coarse")}
        return SeenGround(cameras, cells, laid["fine_confidence"])

    def _match(self, frame: _Frame) -> PoseScores:
        """Scores the whole volume, then windows in it.

        Raises:
            BundleError: scores that are not finite.
        """
        search, cameras = frame.search, frame.seen.cameras
        turns = search.coarse_turns()
        ground = frame.seen.cells["ground_coarse"]
        if _is_wide(search):  # templates of many headings are large: a part of them at a time
            parts = np.array_split(turns, math.ceil(len(turns) / _WIDE_HEADINGS))
            coarse = np.concatenate(
                [
                    np.concatenate([self._coarse_scores(frame, camera, part) for part in parts], axis=1)
                    for camera in np.split(ground, len(cameras))
                ]
            )
        else:
            coarse = self._coarse_scores(frame, ground, turns)
        windows = choose_windows(coarse, turns, search, cameras.log_prior)
        fine = self._fine_scores(frame, frame.seen, windows)
        none, outside = self._model.none, self._model.outside
        return PoseScores(coarse.astype(np.float64), turns, cameras.log_prior, windows, fine, none, outside)

    def _coarse_scores(self, frame: _Frame, ground_coarse: Float32Array, turns: Float64Array) -> Float32Array:
        """Scores the whole volume for some cameras.

        Raises:
            BundleError: scores that are not finite.
        """
        feed: Mapping[str, NDArray[Any]] = {
            "satellite_coarse": frame.satellite["satellite_coarse"],
            "ground_coarse": ground_coarse,
            "turn": turns.astype(np.float32),
        }
        graph = COARSE_MATCHER_WIDE if _is_wide(frame.search) else COARSE_MATCHER
        scores = self._runner.run(graph, feed)["coarse_scores"]
        require_finite(scores)
        beyond = self._geometry.reach_cells // COARSE - frame.search.coarse_reach
        inside = slice(beyond, scores.shape[-1] - beyond)
        weights = frame.search.turn_score(turns).astype(np.float32)
        return np.asarray(scores[..., inside, inside] + weights[:, None, None])

    def _close_in(self, frame: _Frame, scores: PoseScores) -> tuple[PoseScores, SeenGround]:
        """Looks into the best window through cameras nearer to the one that explains it best.

        Returns:
            The scores with those, and the image through them.
        """
        best, belief = scores.best_window, self._belief
        about = belief.around(frame.seen.cameras.points[scores.windows.camera[best]], WIDE)
        others = about.part(slice(1, None))  # the window was found through the first
        around = self._fine_scores(frame, self._seen_again(frame, others), scores.windows.through(best, len(others)))
        closer = belief.around(summit(belief, about, np.concatenate([scores.fine[best][None], around])), NARROW)
        seen, windows = self._seen_through(frame, closer), scores.windows.through(best, len(closer))
        return scores.joined(closer.log_prior, windows, self._fine_scores(frame, seen, windows)), seen

    def _seen_through(self, frame: _Frame, cameras: CameraHypotheses) -> SeenGround:
        return self._lay_down(frame.features, cameras, self._project(cameras).within(frame.covered))

    def _seen_again(self, frame: _Frame, cameras: CameraHypotheses) -> SeenGround:
        """The image through cameras of which some are the belief's own: only others cost a projection."""
        seen = frame.seen
        number = seen.cameras.numbers_of(cameras)
        if (number < 0).any():
            more = self._seen_through(frame, cameras.part(number < 0))
            number[number < 0] = len(seen.cameras) + np.arange(len(more.cameras))
            seen = seen.joined(more)
        return seen.part(number)

    def _fine_scores(self, frame: _Frame, seen: SeenGround, windows: SearchWindows) -> Float64Array:
        """Scores windows.

        Raises:
            BundleError: scores that are not finite.
        """
        places: dict[str, NDArray[Any]] = {
            "camera": windows.camera,
            "centre_cells": windows.centre_cells.astype(np.float32),
            "turn": windows.turn_rad.astype(np.float32),
        }
        feed = {**frame.satellite, **seen.cells, **places}
        fine = self._runner.run(FINE_MATCHER_WIDE if _is_wide(frame.search) else FINE_MATCHER, feed)["fine_scores"]
        require_finite(fine)
        return np.asarray(fine + frame.search.turn_score(windows.turn_rad)[..., None, None])

    def _view(self, image: UInt8Array, first: SeenGround, closer: SeenGround, posterior: PosePosterior) -> GroundView:
        """The most probable camera of those that the image was first seen through, and of the closer ones."""
        best = int(posterior.camera_probability.argmax())
        seen, number = (first, best) if best < len(first.cameras) else (closer, best - len(first.cameras))
        camera = seen.cameras.cameras(self._geometry.camera)[number]
        return GroundView(image, camera, self._geometry.grid, seen.confidence[number, 0])


def _is_wide(search: PoseSearch) -> bool:
    """Tells whether templates turn beyond their own grid."""
    return search.max_turn_rad > NARROW_TURN_RAD
