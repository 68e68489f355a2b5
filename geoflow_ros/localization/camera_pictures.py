"""A camera's pictures as its model is shown them: checked, and through the model's lens where the camera's is known.

The table that warps a picture is made once for a lens, a mounting and a size. Where the vehicle's leaning is told for
every picture, it is rounded to `LEAN_STEP_RAD` first, and the tables of the leanings met last are kept: a new one costs
some milliseconds (docs/vehicle.md), never more than one for a picture.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from geoflow_ros.arrays import BoolArray, UInt8Array
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.errors import ImageError, InputError
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.geo.camera import LEVEL, Attitude, CameraWarp, Intrinsics, Mounting
from geoflow_ros.inference.covered_ground import covered_ground_share
from geoflow_ros.inference.inputs import ASPECT_TOLERANCE
from geoflow_ros.localization.attitudes import FARTHEST_S, AttitudeBuffer
from geoflow_ros.localization.picture_check import PictureWatch
from geoflow_ros.localization.rejection import FrameRejected, RejectReason, frame_rejected_for
from geoflow_ros.localization.values import VehicleSettings
from geoflow_ros.tracking import OdometryPose

LEAN_STEP_RAD = math.radians(0.05)
"""The vehicle's leaning is rounded to this: half a step is 0.1 m at 20 m, less than what a fix is good for."""

LEAST_COVERED = {True: 0.5, False: 0.6}
"""The share of the ground before the model's camera that a camera must show, by whether the model can leave out the
rest. The bird's-eye method can; with less than half, few fixes are trusted (docs/accuracy.md). GeoFlow's network looks
at the whole image, and below 0.6 its errors grow and its covariance does not."""

_KEPT_TABLES = 16


@dataclass(frozen=True, eq=False)
class ShownPicture:
    """What a model is shown.

    Attributes:
        rgb: (H, W, 3) uint8.
        covered: (H, W) which of its pixels show anything; None where all do.
    """

    rgb: UInt8Array
    covered: BoolArray | None = None


@dataclass(frozen=True, eq=False)
class _Table:
    warp: CameraWarp
    ground_share: float


class CameraPictures:
    """The pictures of one camera. `calibrate` and `add_attitude` may be called from another thread.

    Args:
        manifest: of the model that they are shown to.
        attitudes: how the vehicle leans, where another camera of it keeps that.
    """

    def __init__(self, manifest: Manifest, attitudes: AttitudeBuffer | None = None) -> None:
        self._manifest = manifest
        self._watch = PictureWatch()
        self._last: OdometryPose | None = None  # where the last picture that was looked at was taken
        self._attitudes = AttitudeBuffer() if attitudes is None else attitudes
        self._lens: tuple[Intrinsics | None, str] = (None, "")  # and why it cannot be used; replaced as a whole
        self._tables: OrderedDict[object, _Table] = OrderedDict()
        self._ground_share = 1.0

    @property
    def is_calibrated(self) -> bool:
        """Whether the camera's lens is known."""
        return self._lens[0] is not None

    @property
    def is_assumed(self) -> bool:
        """Whether the lens is taken for the model's, since none is told."""
        return self._lens == (None, "")

    def calibrate(self, intrinsics: Intrinsics | None, problem: str = "") -> None:
        """Takes the lens of the pictures from now on.

        Args:
            intrinsics: of the lens; None takes it for the model's.
            problem: why there is none although there should be: pictures are refused with it. Empty where all is well.
        """
        self._lens = intrinsics, problem

    def beside(self) -> CameraPictures:
        """Returns the pictures of another camera on the same vehicle, which leans as this one's does."""
        return CameraPictures(self._manifest, self._attitudes)

    def add_attitude(self, stamp_ns: int, attitude: Attitude) -> None:
        """Takes how base_link leans; it counts where the settings level pictures by it."""
        self._attitudes.add(stamp_ns, attitude)

    def forget_place(self) -> None:
        """Forgets where the last picture was taken: the odometry began anew."""
        self._last = None

    def check(self, rgb: UInt8Array, here: OdometryPose) -> None:
        """Refuses a picture that shows nothing, or the same as before although the wheels have turned.

        Args:
            rgb: (h, w, 3) as the camera took it.
            here: where.

        Raises:
            FrameRejected: see `PictureWatch.check`.
        """
        last, self._last = self._last or here, here
        moved_m = math.hypot(here.x_m - last.x_m, here.y_m - last.y_m)
        with frame_rejected_for(RejectReason.IMAGE, ImageError):
            self._watch.check(rgb, self._manifest, moved_m)

    def shown(self, rgb: UInt8Array, stamp_ns: int, settings: VehicleSettings) -> ShownPicture:
        """Returns a picture (h, w, 3) as the model is shown it.

        Args:
            rgb: as the camera took it.
            stamp_ns: when.
            settings: how the camera is mounted, and whether the vehicle's leaning counts.

        Raises:
            FrameRejected: how the vehicle leans is not known, the calibration cannot be used for the picture, or the
                camera shows too little of the ground.
        """
        vehicle = self._attitude_at(stamp_ns) if settings.levels_by_attitude else LEVEL
        with frame_rejected_for(RejectReason.CALIBRATION, InputError):
            return self.warped(rgb, settings.mounting, vehicle)

    def warped(self, rgb: UInt8Array, mounting: Mounting, vehicle: Attitude = LEVEL) -> ShownPicture:
        """Returns a picture (h, w, 3) through the model's lens, level.

        Args:
            rgb: as the camera took it.
            mounting: of the camera.
            vehicle: how it leans.

        Raises:
            InputError: the calibration cannot be used for it, or the camera shows too little of the ground.
        """
        intrinsics, problem = self._lens
        if problem:
            raise InputError(problem)
        virtual, vehicle = self._manifest.virtual_camera, vehicle.rounded(LEAN_STEP_RAD)
        if intrinsics is None:
            stands_as_the_model = mounting.lean == vehicle == LEVEL and mounting.height_m is None
            if stands_as_the_model or virtual is None or not self._has_its_shape(rgb):
                return ShownPicture(rgb)  # another shape is refused by the method
            intrinsics = _lens_of(virtual)
        if virtual is None:
            raise InputError(
                f"the model '{self._manifest.name}' does not say what lens it was made for, or takes panoramas: a "
                "calibration is of no use to it"
            )
        table = self._table(intrinsics.for_image(rgb.shape[1], rgb.shape[0]), mounting, vehicle, virtual)
        self._ground_share = table.ground_share
        self._refuse_too_little(table.ground_share, mounting)
        return ShownPicture(table.warp(rgb), None if table.warp.covered.all() else table.warp.covered)

    @property
    def facts(self) -> Mapping[str, str]:
        """What is known of the lens, for diagnostics."""
        intrinsics, problem = self._lens
        if problem:
            return {"camera_calibration": problem}
        if intrinsics is None:
            return {"camera_calibration": "none: the lens is taken for the model's"}
        return {
            "camera_calibration": f"{intrinsics.model}, {intrinsics.width_px} x {intrinsics.height_px}",
            "camera_ground_share": f"{self._ground_share:.2f}",
        }

    def _attitude_at(self, stamp_ns: int) -> Attitude:
        attitude = self._attitudes.at(stamp_ns)
        if attitude is None:
            raise FrameRejected(
                RejectReason.ATTITUDE,
                f"no orientation on imu within {FARTHEST_S:g} s of the image's stamp: check topic, clock and that the "
                "imu has one, or set camera.level_by to mounting",
            )
        return attitude

    def _has_its_shape(self, rgb: UInt8Array) -> bool:
        ratio = rgb.shape[1] / rgb.shape[0]
        return bool(abs(ratio / self._manifest.camera.aspect_ratio - 1.0) <= ASPECT_TOLERANCE)

    def _table(self, intrinsics: Intrinsics, mounting: Mounting, vehicle: Attitude, virtual: VirtualCamera) -> _Table:
        key = intrinsics, mounting, vehicle
        table = self._tables.get(key)
        if table is None:
            height_m = virtual.height_m if mounting.height_m is None else mounting.height_m
            warp = CameraWarp(intrinsics, mounting.optical_of_level(vehicle), virtual, height_m)
            table = self._tables[key] = _Table(warp, covered_ground_share(warp.covered, self._manifest))
            if len(self._tables) > _KEPT_TABLES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        return table

    def _refuse_too_little(self, share: float, mounting: Mounting) -> None:
        least = LEAST_COVERED[self._manifest.birds_eye is not None]
        if share < least:
            lean = mounting.lean
            raise InputError(
                f"the camera shows {100.0 * share:.0f} % of the ground that the model '{self._manifest.name}' looks "
                f"at, and {100.0 * least:.0f} % are needed: take a wider lens, or check its calibration and mounting "
                f"(pitch {math.degrees(lean.pitch_rad):.1f}°, roll {math.degrees(lean.roll_rad):.1f}°)"
            )


def _lens_of(virtual: VirtualCamera) -> Intrinsics:
    """The model's own lens, before its own pixels."""
    middle = (virtual.width_px - 1) / 2.0
    return Intrinsics(
        virtual.width_px, virtual.height_px, virtual.focal_px, virtual.focal_px, middle, virtual.horizon_row_px
    )
