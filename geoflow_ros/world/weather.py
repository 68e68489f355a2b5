"""Wet roads and nights, on pictures whose depth and classes are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.optics import CameraImage

# Wet ground: water on asphalt darkens it and mirrors what is above the horizon.
_GROUND = (Label.OTHER, Label.ROAD, Label.PAVEMENT, Label.PAINT, Label.REPAIR, Label.COVER, Label.DRIVEWAY)
_WET_LIGHT = 0.62  # of wet asphalt over dry; measured albedos fall from about 0.12 to 0.07
_NORMAL_REFLECTANCE = 0.02  # of water at normal incidence, refractive index 1.33 (Schlick's approximation)
_ROUGHNESS_PX = (0.012, 0.06)  # of the mirror, as shares of the image's height: across and along
_PUDDLE_KNOTS, _PUDDLE_KNOT_M = 64, 1.5  # puddles and dry tracks vary over metres; the pattern repeats after 96 m
_OVERCAST, _OVERCAST_SHARE = 186.0, 0.65  # grey level of a rain cloud, and how much of the sky's colour it takes

# Nights: light at a surface over the light of the day, after the exposure that a camera chooses for the road.
_SKY_GLOW = np.array([0.075, 0.072, 0.080], np.float32)
_NIGHT_SKY = np.array([26.0, 22.0, 24.0], np.float32)  # grey levels
_LAMP_COLOUR = np.array([1.0, 0.84, 0.60], np.float32)  # of about 3000 K, under a daylight white balance
_LAMP_LIGHT = 0.75  # on the ground right below a lamp of `_LAMP_HEIGHT_M`
_LAMP_HEIGHT_M, _LAMP_REACH_M, _MOST_LAMPS = 6.5, 60.0, 10
_MOST_LIGHT = 1.6  # of `_LAMP_LIGHT`: close to a lamp the picture is white anyhow
_LAMP_HEAD_M = 4.5  # poles show their lit heads above this
_GLOW_PX, _GLOW = 0.05, 0.9  # of what dazzles: radius as a share of the image's height, strength
_LIGHT_GRID = 4  # pixels between those for which the lamps' light is computed

# Headlights: low beam (ECE R112): a cone downwards of a cut-off that falls by 1 %, brightest some 15 m ahead.
_HEADLIGHT = np.array([1.0, 0.97, 0.90], np.float32)
_BEAM_LIGHT, _STRAY_LIGHT = 1.5, 0.07
_HEADLIGHT_UP_M, _CUT_OFF, _CUT_OFF_SOFT_M = 0.65, 0.01, 0.15
_BEAM_NEAR_M, _BEAM_FAR_M, _BEAM_HALF_RAD = 4.0, 15.0, 0.42


@dataclass(frozen=True, eq=False)
class UprightPicture:
    """An upright camera's picture with the place it was taken from.

    Attributes:
        camera: the upright camera.
        rgb: (h, w, 3) uint8.
        depth_m: (h, w) float32 horizontal distance, infinite for sky.
        label: (h, w) uint8.
        east_m: of the camera.
        north_m: likewise.
        yaw_rad: counter-clockwise from east.
    """

    camera: Camera
    rgb: UInt8Array
    depth_m: Float32Array
    label: UInt8Array
    east_m: float
    north_m: float
    yaw_rad: float


def wet(picture: UprightPicture, amount: float) -> UInt8Array:
    """Returns the picture (h, w, 3) with a wet road: darker, and a rough mirror of what is above it.

    The mirror image of a pixel is the pixel as far above the horizon: exact for what is far away, and near things are
    mirrored a little too high.

    Args:
        picture: the dry one.
        amount: of water, 0 (dry) to 1.
    """
    camera = picture.camera
    h, w = picture.label.shape
    horizon = _horizon_row(camera)
    rgb = picture.rgb.astype(np.float32)
    sky = picture.label == Label.SKY
    rgb[sky] += (_OVERCAST - rgb[sky]) * np.float32(_OVERCAST_SHARE * amount)
    first = max(0, int(np.ceil(horizon)))
    upper = rgb[: first + 1]
    across, along = (max(0.5, share * h) for share in _ROUGHNESS_PX)
    rough = cv2.GaussianBlur(upper, (0, 0), sigmaX=across, sigmaY=along)
    rows = np.clip(2 * horizon - np.arange(first, h), 0, first).astype(np.float32)
    column, row = np.meshgrid(np.arange(w, dtype=np.float32), rows)
    mirrored = np.asarray(cv2.remap(rough, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
    down = np.maximum(-camera.slope[first:], 1e-3)
    grazing = down / np.sqrt(1 + down**2)  # sine of the angle between ray and road
    reflectance = _NORMAL_REFLECTANCE + (1 - _NORMAL_REFLECTANCE) * (1 - grazing) ** 5
    is_ground = np.isin(picture.label[first:], _GROUND)
    water = np.where(is_ground, amount * _puddles(picture, first), 0).astype(np.float32)[..., None]
    lower = rgb[first:] * (1 - water * (1 - _WET_LIGHT))
    rgb[first:] = lower + water * reflectance[..., None].astype(np.float32) * (mirrored - lower)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def _horizon_row(camera: Camera) -> float:
    """Returns the row in which an upright camera sees the horizon."""
    return float(np.interp(0.0, -camera.slope[:, 0], np.arange(camera.height)))


def _puddles(picture: UprightPicture, first: int) -> Float32Array:
    """Returns how wet the ground is from row `first` on, 0.4 to 1: the same at the same place."""
    depth = np.where(np.isfinite(picture.depth_m[first:]), picture.depth_m[first:], 0)
    bearing = np.float32(picture.yaw_rad) - picture.camera.azimuth_rad[None]
    east = np.float32(picture.east_m) + depth * np.cos(bearing)
    north = np.float32(picture.north_m) + depth * np.sin(bearing)
    column, row = (np.mod(v / _PUDDLE_KNOT_M, _PUDDLE_KNOTS).astype(np.float32) for v in (east, north))
    return np.asarray(cv2.remap(_puddle_tile(), column, row, cv2.INTER_LINEAR), np.float32)


@cache
def _puddle_tile() -> Float32Array:
    """Returns the pattern, with its first row and column repeated at the end so that it has no seam."""
    knots = np.random.default_rng(43).uniform(0.4, 1.0, (_PUDDLE_KNOTS, _PUDDLE_KNOTS)).astype(np.float32)
    return np.asarray(np.pad(knots, (0, 1), mode="wrap"), np.float32)


def low_beam(distance_m: Float32Array, azimuth_rad: Float32Array, up_m: Float32Array) -> Float32Array:
    """Returns the light of a vehicle's own low beam over daylight, any shape.

    Args:
        distance_m: to what is lit, horizontally.
        azimuth_rad: from straight ahead.
        up_m: above the ground.
    """
    cut_off = _HEADLIGHT_UP_M - _CUT_OFF * distance_m
    below = 1 / (1 + np.exp(np.clip((up_m - cut_off) / _CUT_OFF_SOFT_M, -30, 30)))
    cone = np.exp(-((azimuth_rad / _BEAM_HALF_RAD) ** 2))
    reach = np.minimum(distance_m / _BEAM_FAR_M, 1) * (_BEAM_FAR_M / np.maximum(distance_m, _BEAM_FAR_M)) ** 2
    near = 1 / (1 + np.exp(-(distance_m - _BEAM_NEAR_M)))
    light = _BEAM_LIGHT * cone * np.sqrt(reach) * near * (_STRAY_LIGHT + (1 - _STRAY_LIGHT) * below)
    return np.asarray(light, np.float32)


def lamp_light(
    distance_m: Float32Array, azimuth_rad: Float32Array, up_m: Float32Array, lamps: Float64Array
) -> Float32Array:
    """Returns the light of street lamps over daylight: by the inverse square of the distance, downwards only.

    Args:
        distance_m: to what is lit, horizontally, any shape.
        azimuth_rad: from straight ahead, positive to the right.
        up_m: above the ground.
        lamps: (n, 3) forward, right and height of the lamps from the ground below the camera, metres.
    """
    forward, right = distance_m * np.cos(azimuth_rad), distance_m * np.sin(azimuth_rad)
    total = np.zeros(distance_m.shape, np.float32)
    for ahead, aside, high in lamps.astype(np.float32):
        drop = np.maximum(high - up_m, 0)
        square = (forward - ahead) ** 2 + (right - aside) ** 2 + drop**2
        # irradiance of a level surface: cosine over square of the distance, 1 / h^2 right below
        total += drop * _LAMP_HEIGHT_M**2 / np.maximum(square, 1.0) ** 1.5
    return np.asarray(_LAMP_LIGHT * np.minimum(total, _MOST_LIGHT), np.float32)


def lamps_near(lamps: Float64Array, picture: UprightPicture) -> Float64Array:
    """Returns the lamps that light what a camera sees, (n, 3) forward, right and height from the ground below it.

    Args:
        lamps: (m, 3) east, north and height.
        picture: where the camera stands.
    """
    east, north = lamps[:, 0] - picture.east_m, lamps[:, 1] - picture.north_m
    c, s = np.cos(picture.yaw_rad), np.sin(picture.yaw_rad)
    local = np.stack([east * c + north * s, east * s - north * c, lamps[:, 2]], axis=1)
    distance = np.hypot(local[:, 0], local[:, 1])
    in_front = (local[:, 0] > -_LAMP_REACH_M / 4) & (distance < _LAMP_REACH_M)
    order = np.argsort(np.where(in_front, distance, np.inf), kind="stable")[: min(_MOST_LAMPS, int(in_front.sum()))]
    return np.asarray(local[order], np.float64)


def night(image: CameraImage, lamps: Float64Array, shining: npt.NDArray[np.bool_]) -> CameraImage:
    """Returns the image by night: the glow of the sky, street lamps, the vehicle's own low beam, and what dazzles.

    Args:
        image: by day.
        lamps: (n, 3) forward, right and height of street lamps from the ground below the camera.
        shining: (H, W) what shines by itself, such as lamps of other vehicles.
    """
    coarse = slice(_LIGHT_GRID // 2, None, _LIGHT_GRID)
    sky = ~np.isfinite(image.depth_m)
    distance = np.where(sky, 1e3, image.depth_m).astype(np.float32)
    up = np.where(sky, 1e3, image.up_m).astype(np.float32)
    street = lamp_light(distance[coarse, coarse], image.azimuth_rad[coarse, coarse], up[coarse, coarse], lamps)
    street = np.asarray(cv2.resize(street, image.size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    beam = low_beam(distance, image.azimuth_rad, up)
    light = _SKY_GLOW + street[..., None] * _LAMP_COLOUR + beam[..., None] * _HEADLIGHT
    rgb = image.rgb.astype(np.float32) * light
    rgb[sky] = _NIGHT_SKY
    heads = (image.label == Label.POLE) & (up > _LAMP_HEAD_M) & ~sky
    rgb[heads] = 255 * _LAMP_COLOUR
    rgb[shining] = np.maximum(rgb[shining], image.rgb[shining] * 1.4)
    bright = np.where((heads | shining)[..., None], rgb, 0)
    glow = cv2.GaussianBlur(bright, (0, 0), _GLOW_PX * image.size[0])
    return replace(image, rgb=np.clip(rgb + _GLOW * glow, 0, 255).astype(np.uint8))
