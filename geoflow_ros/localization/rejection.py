"""Why a camera frame, or another input, led to no pose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum

from geoflow_ros.errors import GeoFlowError
from geoflow_ros.tracking import TrackedPose


class RejectReason(Enum):
    """Why a frame or another input was rejected; the value is its name in diagnostics and logs."""

    IMAGE = "bad_images"
    CALIBRATION = "bad_calibrations"
    ATTITUDE = "no_attitude"
    ORDER = "images_out_of_order"
    DUPLICATE = "duplicate_images"
    ODOMETRY = "bad_odometry"
    HEADING = "bad_headings"
    START = "bad_start_poses"
    GNSS = "bad_satellite_fixes"
    PRIOR = "no_prior"
    UNCERTAIN = "prior_too_uncertain"
    MAP = "outside_map"
    TILES = "tile_errors"
    BACKEND = "backend_errors"
    UNTRUSTED = "untrusted_fixes"
    UNINFORMATIVE = "uninformative_fixes"
    OUTLIER = "gate_rejections"
    UNPROVEN = "unproven_fixes"
    STALE = "stale_fixes"


FAULTS: Mapping[RejectReason, str] = {
    RejectReason.IMAGE: "camera",
    RejectReason.CALIBRATION: "camera",
    RejectReason.ATTITUDE: "imu",
    RejectReason.ORDER: "camera",
    RejectReason.DUPLICATE: "camera",
    RejectReason.ODOMETRY: "odometry",
    RejectReason.HEADING: "imu",
    RejectReason.START: "start",
    RejectReason.GNSS: "fix",
    RejectReason.PRIOR: "odometry",
    RejectReason.UNCERTAIN: "start",
    RejectReason.MAP: "map",
    RejectReason.TILES: "map",
    RejectReason.BACKEND: "model",
    RejectReason.UNTRUSTED: "camera or map",
    RejectReason.UNINFORMATIVE: "camera or map",
    RejectReason.OUTLIER: "camera or map",
    RejectReason.UNPROVEN: "camera or map",
    RejectReason.STALE: "model",
}
"""Which input is at fault where something is rejected."""


class InputRejected(Exception):  # noqa: N818 - an outcome that every caller must expect, not a mistake of one
    """An input that is not used; nothing else is affected.

    Attributes:
        reason: which of the known reasons.
        detail: one line that says what to do.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class FrameRejected(InputRejected):
    """Ends the work on one camera frame.

    Attributes:
        track: base_link as odometry and earlier fixes have it at the image's stamp, where that is known: a frame
            without a fix still has a tracked pose.
    """

    def __init__(self, reason: RejectReason, detail: str, track: TrackedPose | None = None) -> None:
        super().__init__(reason, detail)
        self.track = track


@contextmanager
def input_rejected_for(reason: RejectReason, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of some kinds into an `InputRejected` for a reason."""
    try:
        yield
    except errors as error:
        raise InputRejected(reason, detail_of(error)) from error


@contextmanager
def frame_rejected_for(reason: RejectReason, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of some kinds into a `FrameRejected` for a reason; one that is there already passes."""
    try:
        yield
    except FrameRejected:
        raise
    except errors as error:
        raise FrameRejected(reason, detail_of(error)) from error


def detail_of(error: Exception) -> str:
    """An error in one line: our own say what to do, others are named by their type."""
    return str(error) if isinstance(error, GeoFlowError) else f"{type(error).__name__}: {error}"
