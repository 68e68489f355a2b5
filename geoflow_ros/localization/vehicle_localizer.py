"""One camera frame's whole way, from the image to the pose of base_link in the map, without ROS.

Time is that of the stamps. The node, the replay of recordings and notebooks all call this class.
"""

from __future__ import annotations

import logging
import math
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import NoReturn

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import ImageError, OdometryError, TileError
from geoflow_ros.inference import Fix, PatchLocalizer
from geoflow_ros.localization.base_pose import base_pose, camera_prior, heading_error, measurement_of
from geoflow_ros.localization.camera_pictures import ShownPicture
from geoflow_ros.localization.frame_checks import check_decision, check_prior
from geoflow_ros.localization.input_stamps import ODOMETRY, InputStamps, StampVerdict
from geoflow_ros.localization.last_pose import LastPoseKeeper
from geoflow_ros.localization.patch_manager import Prior
from geoflow_ros.localization.rejection import (
    FrameRejected,
    InputRejected,
    RejectReason,
    frame_rejected_for,
    input_rejected_for,
)
from geoflow_ros.localization.start import carried
from geoflow_ros.localization.status import track_facts, vehicle_status
from geoflow_ros.localization.thinning import Thinning
from geoflow_ros.localization.track_starts import TrackStarts
from geoflow_ros.localization.values import GnssPosition, VehicleFix, VehicleSettings
from geoflow_ros.localization.vehicle_cameras import FIRST, VehicleCamera, VehicleCameras
from geoflow_ros.localization.wide_search import WideSearcher
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.stopwatch import Stopwatch
from geoflow_ros.tiles import SatelliteMap, SatellitePatch
from geoflow_ros.tracking import (
    FixDecision,
    OdometryBuffer,
    OdometryPose,
    PlanarTransform,
    StartPose,
    TrackedPose,
    Tracker,
    TrackState,
    TrackStatus,
    Verdict,
)

_log = logging.getLogger(__name__)
_TRACK_LAG_NS = 5 * NANOSECONDS_PER_SECOND
"""The track is carried along at this distance behind the newest odometry when no image carries it, so that it never has
to reach back further than the odometry is kept."""


class VehicleLocalizer:
    """Follows a vehicle on a satellite map.

    `localize` is for one thread; everything else may be called from another meanwhile.

    Args:
        localizer: finds the first camera on a patch.
        satellite_map: where patches are cut from; it and its source are closed with the vehicle localizer.
        settings: of this vehicle; may be replaced later.
        patch_executor: where the next patch is made ahead of its first frame; a thread of its own where None.
            With an `InlineExecutor`, the answers do not depend on the machine's speed.

    Attributes:
        camera: takes the first camera's lens, and how the vehicle leans.
        cameras: all of them; others than the first are added to it.
        starts: knows where a track may begin without an initialpose.
        stamps: counts what is odd about the stamps of each input.
    """

    def __init__(
        self,
        localizer: PatchLocalizer,
        satellite_map: SatelliteMap,
        settings: VehicleSettings | None = None,
        patch_executor: Executor | None = None,
    ) -> None:
        self._settings = settings or VehicleSettings()
        self.satellite_map = satellite_map
        self.stamps = InputStamps()
        self.cameras = VehicleCameras(localizer, satellite_map, self._settings, patch_executor, self.stamps)
        self.camera = self.cameras.first.pictures
        self._odometry = OdometryBuffer(max_extrapolation_s=self._settings.max_extrapolation_s)
        self._tracker = Tracker(self._odometry, self._settings.tracker)
        self._thinning = Thinning()
        self._rejected: FrameRejected | None = None  # why the newest image gave no fix
        self.starts = TrackStarts(self._tracker, satellite_map.datum)
        self._last_pose = LastPoseKeeper()
        self._wide = WideSearcher(satellite_map)

    @property
    def localizer(self) -> PatchLocalizer:
        """What finds the first camera on a patch."""
        return self.cameras.first.localizer

    @localizer.setter
    def localizer(self, localizer: PatchLocalizer) -> None:
        self.cameras.first.localizer = localizer

    @property
    def settings(self) -> VehicleSettings:
        """The vehicle's settings; a replacement counts from the next frame on, not for the odometry's extrapolation."""
        return self._settings

    @settings.setter
    def settings(self, settings: VehicleSettings) -> None:
        self._settings = settings
        self._tracker.settings = settings.tracker
        self.cameras.follow(settings)

    def __enter__(self) -> VehicleLocalizer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def interrupt(self) -> None:
        """End all waits for tiles at once: a frame at work fails, and no patch can be cut any more."""
        self.satellite_map.close()
        self.satellite_map.source.close()

    def close(self) -> None:
        """Let go of the map and end the background work. Call it when no frame is at work."""
        self.interrupt()
        self.cameras.close()

    # ---- inputs ------------------------------------------------------------------------------------------------------

    def add_odometry(self, pose: OdometryPose) -> None:
        """Take one sample of the odometry.

        Raises:
            InputRejected: it cannot be used, or it showed that the odometry began again (see `OdometryBuffer.add`).
        """
        verdict = self.stamps.look(ODOMETRY, pose.stamp_ns)
        if verdict is StampVerdict.DUPLICATE:
            return
        if verdict is StampVerdict.ZERO:
            raise InputRejected(RejectReason.ODOMETRY, "odometry without a stamp: its sender must set header.stamp")
        generation, track = self._odometry.generation, self._trusted_track() if self._odometry.breaks_at(pose) else None
        try:
            with input_rejected_for(RejectReason.ODOMETRY, OdometryError):
                self._odometry.add(pose)
        except InputRejected as rejected:
            if self._odometry.generation != generation:
                # Of another clock, or from before an odometry that restarted: neither orders images nor starts a track.
                self.cameras.forget()
                self._thinning.forget()
                start = self.starts.break_off(rejected.detail, track, pose, self._settings.tracker)
                if start is not None:  # only the clock jumped; or it stood still while the vehicle did not
                    self._tracker.reset()
                    self.start(start)
                    self._tracker.doubt(f"{rejected.detail} from the same place, which fixes have to prove")
            raise
        start = self.starts.from_place(pose, self._settings)
        if start is not None:
            self.start(start)

    def add_heading(self, stamp_ns: int, yaw_rad: float, std_rad: float) -> None:
        """Take one absolute heading (yaw of base_link in the map).

        Raises:
            InputRejected: it is not finite, or its standard deviation is not above zero.
        """
        with input_rejected_for(RejectReason.HEADING, OdometryError):
            self._tracker.add_heading(stamp_ns, yaw_rad, std_rad)

    def add_gnss(self, gnss: GnssPosition) -> None:
        """Take a satellite fix, from which a track may start (see `start_from_gnss`)."""
        self.starts.add_gnss(gnss)

    def start(self, start: StartPose) -> StartPose:
        """Begin a track at a pose; a stamp of 0 means now, which is the newest odometry.

        Returns:
            The pose with its stamp.

        Raises:
            InputRejected: it is not finite, or its covariance is not positive definite.
        """
        newest = self._odometry.newest
        if start.stamp_ns == 0 and newest is not None:
            # Whoever types a start pose leaves its stamp empty: the vehicle is there now.
            start = replace(start, stamp_ns=newest.stamp_ns)
        with input_rejected_for(RejectReason.START, OdometryError):
            self._tracker.start(start)
        self._rejected = None
        self._thinning.forget()
        self.starts.begun()
        _log.info(
            "track starts at east %.1f m, north %.1f m, yaw %.0f°",
            start.east_m,
            start.north_m,
            math.degrees(start.yaw_rad),
        )
        return start

    def relocalize(self) -> None:
        """Search again: the tracked pose stays, and counts as known no better than the settings say.

        Where the settings name a radius, the track is lost at once, and the next image is looked for in a square around
        it; the track that begins where it is found counts once fixes prove it.

        Raises:
            InputRejected: there is no track.
        """
        settings = self._settings
        with input_rejected_for(RejectReason.PRIOR, OdometryError):
            self._tracker.inflate_covariance(settings.relocalize_position_std_m, settings.relocalize_yaw_std_rad)
        if settings.relocalize_radius_m > 0.0:
            self._tracker.doubt("a wide search was asked for (relocalize.radius_m)")
            self._wide.ask(settings.relocalize_radius_m)

    def start_from_gnss(self) -> StartPose | None:
        """Start where the newest satellite fix and absolute heading put the vehicle, unless there is a track already.

        A method that searches all headings starts without one where none comes in the first second of fixes.

        Returns:
            The start pose; None where there is a track, or fix or heading are missing.

        Raises:
            InputRejected: fix and heading do not belong together; the fix is forgotten.
        """
        if self._tracker.started:
            return None
        start = self.starts.from_gnss(self.localizer.max_heading_error_rad >= math.pi, self._settings)
        return None if start is None else self.start(start)

    def keep_last_pose(self, *, now: bool = False) -> None:
        """Write a track that is not lost to the file that the settings name, every two seconds at most unless `now`."""
        resume, track = self._settings.resume, self._trusted_track()
        if resume is not None and track is not None:
            self._last_pose.keep(track, self.satellite_map.datum, resume.file, now=now)

    def _trusted_track(self) -> TrackedPose | None:
        return self.newest_track() if self.status.state in (TrackState.TRACKING, TrackState.DEGRADED) else None

    # ---- one frame ---------------------------------------------------------------------------------------------------

    def localize(
        self, rgb: UInt8Array, stamp_ns: int, stopwatch: Stopwatch | None = None, camera: str = FIRST
    ) -> VehicleFix:
        """Where base_link was in the map when a picture was taken.

        Args:
            rgb: RGB uint8 (h, w, 3) of the camera.
            stamp_ns: when it was taken, on the odometry's clock.
            stopwatch: takes the times of the stages; stages that it has already are handed on in the answer.
            camera: name of the camera. Pictures of several come in the order of their stamps.

        Raises:
            FrameRejected: there is no trustworthy pose; it says why, and where the track is.
            InputError: there is no camera of that name.
        """
        taken_by = self.cameras.named(camera)
        try:
            answer = self._localized(taken_by, rgb, stamp_ns, stopwatch or Stopwatch())
        except FrameRejected as rejected:
            if camera:
                rejected.detail = f"camera '{camera}': {rejected.detail}"
            if rejected.reason is not RejectReason.DUPLICATE:
                self.refuse(stamp_ns, rejected, camera)
            raise
        taken_by.newest_ns, self._rejected = stamp_ns, None
        return answer

    def refuse(self, stamp_ns: int, rejected: FrameRejected, camera: str = FIRST) -> None:
        """Take note of an image that is not localized, as one that cannot be decoded: the track goes on without it."""
        taken_by = self.cameras.named(camera)
        taken_by.newest_ns, self._rejected = stamp_ns or taken_by.newest_ns, rejected
        with suppress(OdometryError):
            self._tracker.advance(stamp_ns)
        self._wide.missed(rejected, self.status.state is TrackState.LOST, self._settings)

    def _localized(self, camera: VehicleCamera, rgb: UInt8Array, stamp_ns: int, watch: Stopwatch) -> VehicleFix:
        self.cameras.check_stamp(camera, stamp_ns)
        settings, localizer = camera.settings(self._settings), camera.localizer
        with watch.stage("prior"):
            tracked = self._tracked_at(stamp_ns)
            if not self._wide.radius_m:
                check_prior(tracked, settings, localizer.max_heading_error_rad)
            prior = camera_prior(tracked, settings)
        camera.looked_for_ns = stamp_ns
        camera.pictures.check(rgb, tracked.odometry)
        with watch.stage("warp"):
            shown = camera.pictures.shown(rgb, stamp_ns, settings)
        if self._wide.radius_m:
            self._look_widely(camera, shown, tracked, prior)
        with watch.stage("patch"):
            patch = camera.patch_around(prior, self.satellite_map)
        with (
            frame_rejected_for(RejectReason.BACKEND, Exception),
            frame_rejected_for(RejectReason.IMAGE, ImageError),
            frame_rejected_for(RejectReason.TILES, TileError),
        ):
            error_rad = heading_error(patch, prior, tracked.yaw_std_rad)
            fix = localizer.localize(shown.rgb, patch, stamp_ns, error_rad, None, shown.covered)
        track, decision = self._track_through(fix, camera)
        return self._vehicle_fix(fix, patch, track, decision, watch, settings)

    def _look_widely(self, camera: VehicleCamera, shown: ShownPicture, tracked: TrackedPose, prior: Prior) -> NoReturn:
        """Looks for the vehicle in a wide square; a track that begins where it is found has to be proven."""
        generation = self._odometry.generation
        start, rejected = self._wide.look(camera.localizer, shown, tracked, prior, camera.settings(self._settings))
        newest = self._odometry.newest
        if start is not None and newest is not None and generation == self._odometry.generation:
            # From now on: a long search is over when the odometry of its picture may be forgotten.
            self.start(carried(start, tracked.odometry, newest, self._settings.tracker))
            self._tracker.doubt(rejected.detail)
        raise rejected

    def _tracked_at(self, stamp_ns: int) -> TrackedPose:
        """base_link in the map at the image's stamp, as odometry and earlier fixes tell it."""
        # Odometry newer than the image is on its way in most cases; extrapolating is the second best.
        self._odometry.wait_for(stamp_ns, self._settings.wait_for_odometry_s)
        if self._odometry.newest is not None and not self._tracker.started:
            raise FrameRejected(RejectReason.PRIOR, self.starts.why_none()[0])
        with frame_rejected_for(RejectReason.PRIOR, OdometryError):
            return self._tracker.advance(stamp_ns)

    def _track_through(self, fix: Fix, camera: VehicleCamera) -> tuple[TrackedPose, FixDecision]:
        """The track after a fix that the gate accepts, and what the gate says about it."""
        with frame_rejected_for(RejectReason.PRIOR, OdometryError):
            if not fix.assessment.trustworthy:
                track = self._tracker.predict(fix.stamp_ns)
                raise FrameRejected(RejectReason.UNTRUSTED, fix.assessment.reason, track)
            decision = self._tracker.update(measurement_of(fix, camera.settings(self._settings), camera.name))
            if decision.verdict is Verdict.STALE:
                raise FrameRejected(
                    RejectReason.STALE, "the fix came too late: the track had moved on; the model is too slow"
                )
            track = self._tracker.predict(fix.stamp_ns)
        check_decision(decision, track)
        return track, decision

    def _vehicle_fix(
        self,
        fix: Fix,
        patch: SatellitePatch,
        track: TrackedPose,
        decision: FixDecision,
        watch: Stopwatch,
        settings: VehicleSettings,
    ) -> VehicleFix:
        position, yaw_rad, covariance, lever = base_pose(fix, track, settings)
        lat, lon = self.satellite_map.datum.to_latlon(float(position[0]), float(position[1]))
        relocalized = decision.verdict is Verdict.RELOCALIZED
        if relocalized:
            self._thinning.forget()
        timings = fix.timings
        return VehicleFix(
            stamp_ns=fix.stamp_ns,
            position_m=position,
            yaw_rad=yaw_rad,
            covariance=covariance * decision.inflation,
            latitude_deg=float(lat),
            longitude_deg=float(lon),
            hypotheses_m=fix.hypotheses - lever,
            track=track,
            status=self._tracker.status(fix.stamp_ns),
            relocalized=relocalized,
            is_news=self._thinning.is_news(track.odometry, settings.output_spacing_m),
            fix=fix,
            patch=patch,
            stages_ms={
                **watch.stages_ms,
                "satellite": timings.satellite_ms,
                "ground": timings.ground_ms,
                "refine": timings.refine_ms,
                "covariance": timings.covariance_ms,
            },
        )

    # ---- what is known of it -----------------------------------------------------------------------------------------

    @property
    def description(self) -> str:
        """Model, engine, map and datum, in one line."""
        datum = self.satellite_map.datum
        return (
            f"{self.localizer.description}, tiles {self.satellite_map.source.name}, "
            f"datum {datum.lat_deg:.7f}, {datum.lon_deg:.7f}"
        )

    @property
    def newest_odometry_ns(self) -> int | None:
        """Stamp of the newest odometry; None before the first."""
        newest = self._odometry.newest
        return None if newest is None else newest.stamp_ns

    def newest_track(self) -> TrackedPose | None:
        """base_link at the newest odometry; None without a track.

        Called now and then, it also carries along a track that no image carries.
        """
        newest = self._odometry.newest
        if newest is None:
            return None
        try:
            tracked = self._tracker.predict(newest.stamp_ns)
        except OdometryError:
            return None
        stands_ns = self._tracker.stamp_ns
        if stands_ns is not None and newest.stamp_ns - stands_ns > 2 * _TRACK_LAG_NS:
            with suppress(OdometryError):
                self._tracker.advance(newest.stamp_ns - _TRACK_LAG_NS)
        return tracked

    @property
    def status(self) -> TrackStatus:
        """What the pose is worth at the newest odometry, and which input is at fault."""
        odometry_ns = self.newest_odometry_ns
        status = vehicle_status(self._tracker, self.starts, odometry_ns, self.cameras.newest_ns, self._rejected)
        return self.cameras.named_in(status, odometry_ns)

    def map_to_odom(self) -> PlanarTransform | None:
        """Pose of the odometry frame in the map at the newest odometry (TF's map→odom).

        None without a track, and while it is lost: a transform has no covariance to say so.
        """
        newest = self._odometry.newest
        if newest is None:
            return None
        try:
            if self._tracker.status(newest.stamp_ns).state is TrackState.LOST:
                return None
            return self._tracker.map_to_odom(newest.stamp_ns)
        except OdometryError:
            return None

    def facts(self) -> dict[str, str]:
        """Counts, engine and lens, as keys and values for diagnostics."""
        return {
            **track_facts(self._tracker.counts),
            **self.cameras.facts(self.newest_odometry_ns),
            **self.stamps.facts(),
            "cached_tiles": str(self.satellite_map.cached_tiles),
        }
