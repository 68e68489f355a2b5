"""Why a camera frame, or another input, led to no pose."""

from __future__ import annotations

from enum import Enum

from geoflow_ros.tracking import TrackedPose


class RejectReason(Enum):
    """Why a frame or another input was rejected; the value is its name in diagnostics and logs."""

    IMAGE = "bad_images"
    ORDER = "images_out_of_order"
    ODOMETRY = "bad_odometry"
    HEADING = "bad_headings"
    START = "bad_start_poses"
    PRIOR = "no_prior"
    UNCERTAIN = "prior_too_uncertain"
    MAP = "outside_map"
    TILES = "tile_errors"
    BACKEND = "backend_errors"
    UNTRUSTED = "untrusted_fixes"
    UNINFORMATIVE = "uninformative_fixes"
    OUTLIER = "gate_rejections"
    STALE = "stale_fixes"


class FrameRejected(Exception):  # noqa: N818 - an outcome that every caller must expect, not a mistake of one
    """Ends the work on one frame.

    Attributes:
        reason: which of the known reasons.
        detail: one line that says what to do.
        track: base_link as odometry and earlier fixes have it at the image's stamp, where that is known: a frame
            without a fix still has a tracked pose.
    """

    def __init__(self, reason: RejectReason, detail: str, track: TrackedPose | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.track = track
