"""What the bird's-eye method matched: the camera's image on the patch, where it may be from, and cells in both."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.bundle.birds_eye import COARSE
from geoflow_ros.geo.patch import PatchFrame
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix
from geoflow_ros.inference.pose_posterior import PosePosterior

_SHOWN_CELLS = 60  # matches drawn: so many can be told apart
_APART_CELLS = 3  # and they lie at least so many cells apart
_LAID_OPACITY = 0.75
_HEAT_OPACITY = 0.8
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_DOT_PX = 5.0
_LINE_PX = 1024.0  # width of the picture at which dots have that radius


def lay_on_patch(picture: UInt8Array, fix: BirdsEyeFix) -> UInt8Array:
    """Lays the camera's image flat on an enlarged patch, where the fix says that it was taken.

    Args:
        picture: RGB uint8 (h, h, 3) of the fix's patch at any size.
        fix: whose camera saw it.

    Returns:
        A new picture of the same size.
    """
    size = len(picture)
    scale = size / fix.frame.size_px
    columns, rows = np.meshgrid(np.arange(size), np.arange(size))
    pixel = (np.stack([columns, rows], axis=-1) + 0.5) / scale - 0.5
    view = fix.view
    ground = _camera_frame(fix).enu_to_local(fix.frame.to_enu(pixel))
    at = view.camera.ground_to_pixel(ground)
    shown = np.hypot(ground[..., 0], ground[..., 1]) <= (view.grid.range_m or np.inf)
    with np.errstate(invalid="ignore"):
        shown &= (at[..., 1] >= 0.0) & (at[..., 1] <= view.camera.lowest_row_px)
        shown &= (at[..., 0] >= 0.0) & (at[..., 0] <= view.camera.width_px - 1.0)
    at = np.where(shown[..., None], at, -1.0).astype(np.float32)
    laid = cv2.remap(view.image, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    share = _LAID_OPACITY * shown[..., None]
    return np.asarray(np.round(picture * (1.0 - share) + laid * share), np.uint8)


def draw_posterior(picture: UInt8Array, fix: BirdsEyeFix) -> UInt8Array:
    """Draws over an enlarged patch how probable each place is: clear where it is not, from red to white where it is."""
    size = len(picture)
    heat = place_probability(fix.posterior)
    cell_px = fix.posterior.search.cell_m / fix.frame.ground_resolution_m * size / fix.frame.size_px
    # the middle cell's centre is the patch's; columns of a patch go forward, its rows to the right
    middle, centre_px = (len(heat) - 1) / 2.0, (size - 1) / 2.0
    matrix = np.array([[cell_px, 0.0, centre_px - middle * cell_px], [0.0, cell_px, centre_px - middle * cell_px]])
    strength = np.sqrt(heat.T / max(float(heat.max()), np.finfo(float).tiny)).astype(np.float32)
    strength = np.asarray(cv2.warpAffine(strength, matrix, (size, size)))
    colours = cv2.applyColorMap(np.round(255.0 * strength).astype(np.uint8), cv2.COLORMAP_HOT)[..., ::-1]
    share = _HEAT_OPACITY * strength[..., None]
    return np.asarray(np.round(picture * (1.0 - share) + colours * share), np.uint8)


def place_probability(posterior: PosePosterior) -> Float64Array:
    """Returns the (2 reach + 1, 2 reach + 1) probabilities of the volume's fine cells, axes forward and right.

    They are summed over headings and camera hypotheses; what the coarse level alone has seen is shared between the fine
    cells around.
    """
    search = posterior.search
    side = 2 * search.reach_cells + 1
    cells = np.rint(posterior.pose[:, :2] / search.cell_m).astype(np.int64) + search.reach_cells

    def summed(of: np.ndarray) -> Float64Array:
        flat = np.ravel_multi_index((cells[of, 0], cells[of, 1]), (side, side))
        return np.bincount(flat, posterior.probability[of], side * side).reshape(side, side).astype(float)

    coarse = summed(~posterior.is_fine)
    kernel = np.array([0.5, 1.0, 0.5]) / COARSE
    spread = cv2.sepFilter2D(coarse, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(summed(posterior.is_fine) + spread, float)


def draw_cells(picture: UInt8Array, fix: BirdsEyeFix) -> UInt8Array:
    """Marks the most trusted cells of the ground on an enlarged patch and, in the same colours, in the camera's image.

    Returns:
        The camera's image above the patch: RGB uint8 (h + w', w, 3).
    """
    size = len(picture)
    view = fix.view
    height = round(size * view.camera.height_px / view.camera.width_px)
    strip = np.ascontiguousarray(cv2.resize(view.image, (size, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    patch = np.ascontiguousarray(picture)
    cells = _trusted_cells(fix)
    ground = view.grid.centres_m()[cells[:, 0], cells[:, 1]]
    seen = (view.camera.ground_to_pixel(ground) + 0.5) * (size / view.camera.width_px) - 0.5
    on_patch = fix.frame.to_pixel(_camera_frame(fix).local_to_enu(ground))
    on_patch = (on_patch + 0.5) * (size / fix.frame.size_px) - 0.5
    radius = max(1.0, _DOT_PX * size / _LINE_PX)
    for (_, right), in_image, in_patch in zip(cells, seen, on_patch, strict=True):
        colour = tuple(round(255 * value) for value in colorsys.hsv_to_rgb(right / view.grid.right_cells, 1.0, 1.0))
        for image, point in ((strip, in_image), (patch, in_patch)):
            _dot(image, point, radius + 1.5, (20, 20, 20))
            _dot(image, point, radius, colour)
    return np.concatenate([strip, patch])


def _camera_frame(fix: BirdsEyeFix) -> PatchFrame:
    """The frame whose forward and right are those of the camera."""
    assert fix.yaw_rad is not None
    return PatchFrame(fix.east_m, fix.north_m, fix.yaw_rad, 1, fix.frame.ground_resolution_m)


def _trusted_cells(fix: BirdsEyeFix) -> np.ndarray:
    """The (n, 2) cells that the network trusts most, none close to another; none that it does not trust."""
    left = np.array(fix.view.confidence, float)
    found: list[tuple[int, int]] = []
    while len(found) < _SHOWN_CELLS and left.max() > 0.0:
        row, column = (int(at) for at in np.unravel_index(int(left.argmax()), left.shape))
        found.append((row, column))
        around = (slice(max(0, at - _APART_CELLS + 1), at + _APART_CELLS) for at in (row, column))
        left[tuple(around)] = 0.0
    return np.array(found, np.int64).reshape(-1, 2)


def _dot(image: UInt8Array, point: Float64Array, radius: float, colour: tuple[int, ...]) -> None:
    if np.isfinite(point).all():
        centre = tuple(int(value) for value in np.round(point * 2**_SHIFT))
        cv2.circle(image, centre, round(radius * 2**_SHIFT), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
