"""The demo's pictures, from what a drive left: its bag, its map and the world itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.backends import BackendOptions
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag import Topics, messages
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.images import decode_image
from geoflow_ros.inference import Fix, SearchSettings, open_localizer
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND, stamp_ns
from geoflow_ros.tiles import SatelliteMap, SatellitePatch, open_tile_source
from geoflow_ros.tracking.trajectory import DriveRecord
from geoflow_ros.visualization.drive import MapPicture, error_picture, trajectory_picture
from geoflow_ros.visualization.fix import FixScene, fix_picture
from geoflow_ros.world import Area, Camera, Drive, World, orthophoto
from geoflow_ros.world.drive_map import drive_region

_MARGIN_M = 40.0
_RESOLUTION_M = 0.25

# Where the picture of one frame starts to search: metres (forward, right) from the truth to the prior.
_PRIOR_M = (-11.0, 8.0)
_HYPOTHESES = 48
# For people: the camera's view this wide, and the map as fine as the world is drawn.
_VIEW_WIDTH_PX = 2048
_MAP_RESOLUTION_M = 0.125


@dataclass(frozen=True)
class RecordedDrive:
    """A drive that is over.

    Attributes:
        area: where it was.
        drive: the truth.
        bundle: the model that localized it.
        tiles: the map's file.
        bag: the recording's folder.
        record: the poses in the bag.
    """

    area: Area
    drive: Drive
    bundle: Bundle
    tiles: Path
    bag: Path
    record: DriveRecord


def draw_pictures(recorded: RecordedDrive, out: Path) -> tuple[Path, ...]:
    """Draws the drive on its map, its errors over time, and one frame's fix; returns the files.

    Raises:
        InputError: a picture cannot be written, or the bag's images cannot be read.
    """
    drive = recorded.drive
    region = drive_region(drive, _MARGIN_M)
    background = MapPicture(orthophoto(drive.world, region, _RESOLUTION_M), region)
    place = "the town of the training" if recorded.area is Area.SAME else "a city never seen in training"
    title = f"{drive.duration_s:.0f} s through {place} (seed {drive.seed})"
    trajectory, error, frame = out / "trajectory.png", out / "error.png", out / "frame.png"
    trajectory_picture(recorded.record, background, trajectory, title)
    error_picture(recorded.record, error)
    fix, scene = _localized_frame(recorded)
    fix_picture(fix, scene, frame)
    return trajectory, error, frame


def image_at(bag: Path, topic: str, stamp: int) -> UInt8Array:
    """Reads the recorded compressed image with a stamp (nanoseconds) as RGB uint8 (H, W, 3).

    Raises:
        InputError: the bag has none, or it cannot be decoded.
    """
    for _, _, message in messages(bag, [topic]):
        if stamp_ns(message.header.stamp) == stamp:
            decoded = decode_image(bytes(message.data))
            if decoded is None:
                raise InputError(f"the image at {stamp} ns in {bag} cannot be decoded")
            return decoded
    raise InputError(f"{bag} has no image with stamp {stamp} ns on {topic}")


def _localized_frame(recorded: RecordedDrive) -> tuple[Fix, FixScene]:
    """The frame in the middle of the drive, localized again from a prior that is far off."""
    record, drive, bundle = recorded.record, recorded.drive, recorded.bundle
    if len(record.image_stamps_ns) == 0:
        raise InputError(f"the bag {recorded.bag} holds no camera frame")
    stamp = int(record.image_stamps_ns[len(record.image_stamps_ns) // 2])
    ground = image_at(recorded.bag, Topics().image, stamp)
    positions, yaws = record.truth.at(np.array([stamp]))
    yaw_rad = float(yaws[0])
    axes = forward_right_axes(yaw_rad)
    camera = positions[0] + drive.lever_arm_m * axes[0]
    prior = camera + np.array(_PRIOR_M) @ axes
    frame = bundle.manifest.patch_frame(float(prior[0]), float(prior[1]), yaw_rad)
    source = open_tile_source(recorded.tiles)
    try:
        patch = SatelliteMap(source, drive.world.datum).patch(frame)
    finally:
        source.close()
    localizer = open_localizer(bundle, BackendOptions(ONNXRUNTIME), search=SearchSettings(hypotheses=_HYPOTHESES))
    fix = localizer.localize(ground, patch, stamp)
    view = _fine_view(drive, (stamp - int(record.truth.stamps_ns[0])) / NANOSECONDS_PER_SECOND, ground)
    return fix, FixScene(ground, view, patch, _fine_patch(drive.world, patch), camera)


def _fine_view(drive: Drive, t_s: float, ground: UInt8Array) -> UInt8Array:
    """The camera's view at a time of the drive, with more pixels than the localizer's image has."""
    height, width = ground.shape[:2]
    camera = Camera.perspective(_VIEW_WIDTH_PX, round(_VIEW_WIDTH_PX * height / width))
    return np.asarray(drive.world.view(camera, *drive.camera_at(t_s)).rgb[0], np.uint8)


def _fine_patch(world: World, patch: SatellitePatch) -> SatellitePatch:
    """The ground of a patch, drawn from the world as finely as that goes."""
    coarse = patch.frame
    frame = replace(coarse, size_px=round(coarse.extent_m / _MAP_RESOLUTION_M), ground_resolution_m=_MAP_RESOLUTION_M)
    reach_m = coarse.extent_m / np.sqrt(2.0) + 1.0
    west, south = coarse.centre_east_m - reach_m, coarse.centre_north_m - reach_m
    east, north = coarse.centre_east_m + reach_m, coarse.centre_north_m + reach_m
    photo = orthophoto(world, (west, south, east, north), _MAP_RESOLUTION_M)
    matrix = _photo_pixels(frame, west, north)
    size = (frame.size_px, frame.size_px)
    pixels = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return SatellitePatch(np.asarray(pixels, np.uint8), frame)


def _photo_pixels(frame: PatchFrame, west_m: float, north_m: float) -> Float64Array:
    """The (2, 3) affine map from a frame's pixels to those of a north-up photo of the same resolution."""

    def photo_pixel(x: float, y: float) -> Float64Array:
        east, north = frame.to_enu(np.array([x, y]))
        return np.array([east - west_m, north_m - north]) / frame.ground_resolution_m - 0.5

    origin = photo_pixel(0.0, 0.0)
    return np.stack([photo_pixel(1.0, 0.0) - origin, photo_pixel(0.0, 1.0) - origin, origin], axis=1)
