"""A camera that does not stand as assumed: its image is an exact resampling of an upright one.

Rotation about the optical centre, another focal length, leftover distortion and a tilted plane of ground all only
change where a pixel looks. A wider upright picture is rendered from the camera's true height, and every pixel of the
disturbed camera is read from it. What that leaves out: nothing for points on the ground plane and for what stands
straight up from it. Floors and window lines of a facade follow the road's gradient, as if it were built along it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.errors import InputError
from geoflow_ros.world.camera import Camera

_RIM_PX = 2  # around what is read of the upright picture, for the interpolation
_LEAST_DEPTH = 0.2  # cosine between a ray and the upright picture's axis; what looks farther aside has no place on it


@dataclass(frozen=True)
class CameraPose:
    """What differs from the camera that the localizer assumes.

    The order is: distortion and focal length, roll about the optical axis, pitch, then the plane of ground.

    Attributes:
        pitch_rad: of the optical axis against the horizontal, positive upwards.
        roll_rad: about the optical axis, positive to the right (clockwise as the driver sees it).
        height_scale: true height over the assumed one.
        focal_scale: true focal length over the assumed one.
        radial: coefficient of leftover distortion (see `CameraConditions`).
        gradient: rise of the ground ahead over run.
        crossfall: rise of the ground to the right over run.
    """

    pitch_rad: float = 0.0
    roll_rad: float = 0.0
    height_scale: float = 1.0
    focal_scale: float = 1.0
    radial: float = 0.0
    gradient: float = 0.0
    crossfall: float = 0.0

    @property
    def ground_pitch_rad(self) -> float:
        """Pitch of the optical axis against the ground ahead."""
        return self.pitch_rad - float(np.arctan(self.gradient))

    @property
    def ground_roll_rad(self) -> float:
        """Roll about the optical axis against the ground ahead."""
        return self.roll_rad + float(np.arctan(self.crossfall))


@dataclass(frozen=True, eq=False)
class Rays:
    """Where each pixel looks in the upright frame, the ground made level: tangents from straight ahead.

    Attributes:
        right: (H, W) float32.
        down: (H, W) float32.
    """

    right: Float32Array
    down: Float32Array

    @property
    def azimuth_rad(self) -> Float32Array:
        """Horizontal directions from straight ahead, (H, W), positive to the right."""
        return np.arctan(self.right)

    @property
    def slope(self) -> Float32Array:
        """Tangents of the elevations above the level ground's horizon, (H, W)."""
        return np.asarray(-self.down / np.sqrt(1 + self.right**2), np.float32)


def focal_px(camera: Camera) -> float:
    """Returns the focal length of a perspective camera with square pixels, in pixels."""
    across = np.tan(camera.azimuth_rad[[0, -1]].astype(float))
    return float((camera.width - 1) / (across[1] - across[0]))


def _first_pixel(camera: Camera) -> tuple[float, float]:
    """Returns where the upper left pixel of an upright camera looks: tangents to the right and down."""
    across = float(np.tan(float(camera.azimuth_rad[0])))
    return across, -float(camera.slope[0, 0]) * float(np.hypot(1, across))


def rays_of(camera: Camera, pose: CameraPose) -> Rays:
    """Returns where the pixels of a perspective camera look that is assumed to stand upright, and stands as in `pose`.

    Raises:
        InputError: it is turned so far that it looks across the upright picture's edge at infinity.
    """
    x = np.tan(camera.azimuth_rad)[None] / np.float32(pose.focal_scale)  # (1, W)
    y = (-camera.slope[:, :1] * np.sqrt(1 + np.tan(camera.azimuth_rad[:1]) ** 2)) / np.float32(pose.focal_scale)
    bent = 1 + np.float32(pose.radial) * (x**2 + y**2)
    x, y = x * bent, y * bent
    cos, sin = np.float32(np.cos(pose.roll_rad)), np.float32(np.sin(pose.roll_rad))
    x, y = x * cos - y * sin, x * sin + y * cos
    cos, sin = np.float32(np.cos(pose.pitch_rad)), np.float32(np.sin(pose.pitch_rad))
    y, ahead = y * cos - sin, y * sin + cos
    if ahead.min() < _LEAST_DEPTH:
        raise InputError("the camera is turned too far from the horizontal to be resampled from an upright picture")
    right, down = x / ahead, y / ahead
    return Rays(right, down + np.float32(pose.gradient) + np.float32(pose.crossfall) * right)


def upright_camera(camera: Camera, rays: Sequence[Rays], height_scale: float) -> Camera:
    """Returns the smallest upright camera of the same focal length that sees all that `rays` see.

    Its pixels lie on the assumed camera's, so that what is not disturbed is not resampled either.

    Args:
        camera: the assumed one.
        rays: of one or more disturbed cameras.
        height_scale: true height over the assumed one.
    """
    f = focal_px(camera)
    left, right = (f * edge for edge in (min(r.right.min() for r in rays), max(r.right.max() for r in rays)))
    top, bottom = (f * edge for edge in (min(r.down.min() for r in rays), max(r.down.max() for r in rays)))
    x, y = (-f * edge for edge in _first_pixel(camera))
    cx, cy = x + np.ceil(-left - x) + _RIM_PX, y + np.ceil(-top - y) + _RIM_PX
    width, height = int(np.ceil(cx + right)) + _RIM_PX, int(np.ceil(cy + bottom)) + _RIM_PX
    return Camera.pinhole(width, height, f, f, float(cx), float(cy), camera.height_m * height_scale)


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One picture with what is known of each pixel.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 horizontal distance, infinite for sky.
        label: (H, W) uint8, `kinds.Label`.
        azimuth_rad: (H, W) float32, horizontal direction of the pixel from straight ahead, positive to the right.
        slope: (H, W) float32, tangent of its elevation above the horizon of level ground.
        height_m: of the optical centre above the ground.
    """

    rgb: UInt8Array
    depth_m: Float32Array
    label: UInt8Array
    azimuth_rad: Float32Array
    slope: Float32Array
    height_m: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.label.shape[0], self.label.shape[1]

    @property
    def up_m(self) -> Float32Array:
        """Heights above the ground of what is seen, (H, W); infinite in the sky."""
        return np.asarray(self.height_m + self.slope * self.depth_m, np.float32)


def resample(upright: Camera, rays: Rays, rgb: UInt8Array, depth_m: Float32Array, label: UInt8Array) -> CameraImage:
    """Reads the image of a disturbed camera from an upright picture.

    Args:
        upright: of the picture.
        rays: where the disturbed camera's pixels look.
        rgb: (h, w, 3) uint8 of the upright picture.
        depth_m: (h, w) float32.
        label: (h, w) uint8.
    """
    f = np.float32(focal_px(upright))
    across, down = (np.float32(edge) for edge in _first_pixel(upright))
    column, row = (rays.right - across) * f, (rays.down - down) * f
    nearest = (cv2.INTER_NEAREST, cv2.BORDER_REPLICATE)
    return CameraImage(
        rgb=np.asarray(cv2.remap(rgb, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8),
        depth_m=np.asarray(cv2.remap(depth_m, column, row, nearest[0], borderMode=nearest[1]), np.float32),
        label=np.asarray(cv2.remap(label, column, row, nearest[0], borderMode=nearest[1]), np.uint8),
        azimuth_rad=rays.azimuth_rad,
        slope=rays.slope,
        height_m=upright.height_m,
    )
