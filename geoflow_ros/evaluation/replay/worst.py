"""The frames of a replay with the largest errors, with their pictures, read again from bag and map."""

from __future__ import annotations

from html import escape

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import GeometryError, ImageError, TileError
from geoflow_ros.evaluation.bag_files import Bag, Topic
from geoflow_ros.evaluation.replay.answers import ReplayAnswers
from geoflow_ros.evaluation.replay.sensors import RecordedFrame
from geoflow_ros.geo import PatchFrame
from geoflow_ros.localization import VehicleLocalizer
from geoflow_ros.stamps import stamp_ns
from geoflow_ros.visualization.svg import dots, ellipse, jpeg_uri

_SHOWN = 6
_APART_NS = 2_000_000_000  # the frames beside a bad one are no news
_PICTURE_PX = 640
_PATCH_PX = 360


def worst_frames(answers: ReplayAnswers, bag: Bag, image: Topic, vehicle: VehicleLocalizer) -> str:
    """Returns them as HTML: those with the largest error, or without truth those with the largest deviation.

    Args:
        answers: of the replay.
        bag: where the pictures are.
        image: the camera's topic.
        vehicle: with the map.
    """
    if not answers.has_fix.any():
        return "<p>No frame gave a pose.</p>"
    errors = np.hypot(*answers.errors()[0].T)
    deviation = np.sqrt(answers.column("var_east_m2") + answers.column("var_north_m2"))
    is_known = bool(np.isfinite(errors).any())
    chosen = _chosen(answers, errors if is_known else deviation)
    pictures = _pictures(bag, image, {int(answers.stamps_ns[k]) for k in chosen})
    figures = []
    for k in chosen:
        at_ns = int(answers.stamps_ns[k])
        seconds = (at_ns - int(answers.stamps_ns[0])) * 1e-9
        off = f"{errors[k]:.1f} m off, " if np.isfinite(errors[k]) else ""
        words = f"{seconds:.1f} s: {off}σ {deviation[k]:.1f} m, {answers.outcomes[k]}, {answers.states[k]}"
        shown = f'<img alt="camera" src="{jpeg_uri(pictures[at_ns])}">' if at_ns in pictures else ""
        figures.append(f"<figure>{shown}{_patch(answers, k, vehicle)}<figcaption>{escape(words)}</figcaption></figure>")
    order = "the largest errors" if is_known else "the largest deviations that the fixes state"
    return (
        f"<p>The frames with {order}; on the patch, ahead is to the right: ellipse and dot are the pose of base_link"
        f'{", the ring the truth" if is_known else ""}.</p><div class="frames">{"".join(figures)}</div>'
    )


def _chosen(answers: ReplayAnswers, rank: np.ndarray) -> list[int]:
    chosen: list[int] = []
    for k in np.argsort(-np.nan_to_num(rank, nan=-1.0), kind="stable").tolist():
        if len(chosen) == _SHOWN or not np.isfinite(rank[k]):
            break
        if all(abs(int(answers.stamps_ns[k]) - int(answers.stamps_ns[other])) > _APART_NS for other in chosen):
            chosen.append(k)
    return chosen


def _pictures(bag: Bag, image: Topic, wanted: set[int]) -> dict[int, UInt8Array]:
    found: dict[int, UInt8Array] = {}
    for _, received_ns, message in bag.messages([image.name]):
        at_ns = stamp_ns(message.header.stamp) or received_ns
        if at_ns not in wanted or at_ns in found:
            continue
        try:
            rgb = RecordedFrame(at_ns, b"", message=message, kind=image.kind).rgb()
        except ImageError:
            continue
        scale = min(1.0, _PICTURE_PX / rgb.shape[1])
        size = round(scale * rgb.shape[1]), max(1, round(scale * rgb.shape[0]))
        found[at_ns] = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        if len(found) == len(wanted):
            break
    return found


def _patch(answers: ReplayAnswers, k: int, vehicle: VehicleLocalizer) -> str:
    """The patch that the frame was looked for on, with what was found."""
    satellite = vehicle.localizer.manifest.satellite
    east, north, yaw = (float(answers.column(f"patch_{name}")[k]) for name in ("east_m", "north_m", "yaw_rad"))
    extent_m = satellite.size_px * satellite.ground_resolution_m
    frame = PatchFrame(east, north, yaw, _PATCH_PX, extent_m / _PATCH_PX)
    try:
        pixels = vehicle.satellite_map.patch(frame).pixels
    except (TileError, GeometryError):
        return ""
    poses, covariances = answers.poses()
    x, y = frame.to_pixel(poses[k, :2]).tolist()
    local = frame.rotate_covariance_to_local(covariances[k])
    marks = [ellipse("fix", (x, y), local, frame.ground_resolution_m), dots("fix", np.array([x]), np.array([y]), 4.0)]
    if answers.has_truth[k]:
        true_x, true_y = frame.to_pixel(answers.truth[k, :2]).tolist()
        marks.append(f'<circle class="line truth" cx="{true_x:.1f}" cy="{true_y:.1f}" r="7"/>')
    return (
        f'<svg viewBox="0 0 {_PATCH_PX} {_PATCH_PX}" role="img"><image href="{jpeg_uri(pixels)}" width="{_PATCH_PX}" '
        f'height="{_PATCH_PX}"/>{"".join(marks)}</svg>'
    )
