"""Camera images and satellite patches as they are under conditions: what is drawn, applied in the order of nature.

Camera: the road's water, where the camera stands, vehicles, the night, motion, dirt, exposure, noise. Patch: the lean,
the seam, the sensor's blur, the development.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.world import aerial, lens, traffic, weather
from geoflow_ros.world.conditions import MapConditions
from geoflow_ros.world.disturbances import PatchDisturbance, ViewDisturbance
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.optics import CameraImage, Rays, focal_px, resample
from geoflow_ros.world.weather import UprightPicture

_HIGHEST_M = 25.0  # what the renderer's height map can hold
_MID_GREY = 100.0  # vehicles are painted for this brightness of the street


def disturbed_view(
    picture: UprightPicture, rays: Rays, disturbance: ViewDisturbance, lamps: Float64Array
) -> CameraImage:
    """Returns the image of a disturbed camera.

    Args:
        picture: rendered by an upright camera that sees all that `rays` see.
        rays: where the disturbed camera's pixels look.
        disturbance: what was drawn.
        lamps: (n, 3) east, north and height of the street lamps of the window.
    """
    d, rng = disturbance, np.random.default_rng(disturbance.pattern)
    rgb = weather.wet(picture, d.wet) if d.wet > 0 else picture.rgb
    image = resample(picture.camera, rays, rgb, picture.depth_m, picture.label)
    shining = np.zeros(image.size, np.bool_)
    if d.traffic[1] > 0:
        vehicles = traffic.sample_vehicles(rng, image, *d.traffic)
        image, shining = traffic.draw_vehicles(image, vehicles, _street_light(image))
    if d.is_night:
        image = weather.night(image, weather.lamps_near(lamps, picture), shining)
    focal = focal_px(picture.camera) * d.camera.focal_scale
    rgb = lens.motion_blur(image, d.motion_m, d.turn_rad, focal)
    if d.dirt > 0:
        rgb = lens.dirt(rgb, d.dirt, rng)
    rgb = lens.expose(rgb, d.stops, d.white_balance)
    if d.noise > 0:
        rgb = lens.noise(rgb, d.noise, rng)
    return replace(image, rgb=rgb)


def _street_light(image: CameraImage) -> float:
    """Returns how bright the street is, so that a vehicle's paint is lit as the asphalt is."""
    below = image.rgb[image.size[0] // 2 :: 8, ::8]
    return float(np.clip(below.mean() / _MID_GREY, 0.6, 1.15))


def margin_px(conditions: MapConditions, resolution_m: float) -> int:
    """Returns the width of the margin around a patch from which something may lean or be shifted into it, pixels."""
    lean_m = _HIGHEST_M * float(np.tan(np.radians(max(conditions.lean_deg))))
    return int(np.ceil((lean_m + conditions.seam_shift_m) / resolution_m))


def disturbed_patch(
    rgb: UInt8Array,
    label: UInt8Array,
    height_m: Float32Array,
    disturbance: PatchDisturbance,
    resolution_m: float,
    margin: int,
) -> tuple[UInt8Array, UInt8Array]:
    """Returns a patch as a real photo shows it, and the classes of what it shows.

    Args:
        rgb: (Q, Q, 3) uint8, with a margin around the patch.
        label: (Q, Q) uint8.
        height_m: (Q, Q) of the renderer's map.
        disturbance: what was drawn.
        resolution_m: metres per pixel.
        margin: pixels that are taken off on every side (see `margin_px`).
    """
    d = disturbance
    if d.lean != (0.0, 0.0):
        standing = aerial.standing_m(label, height_m, resolution_m)
        lean = aerial.lean_of(standing, label == Label.BUILDING, d.lean, resolution_m)
        rgb, label = lean.apply(rgb), lean.apply_to_labels(label)
    if d.seam is not None:
        rgb = aerial.join(rgb, d.seam, resolution_m)
    rgb = aerial.blur(rgb, d.blur_m, resolution_m)
    inner = slice(margin, len(rgb) - margin)
    rgb = aerial.develop(np.ascontiguousarray(rgb[inner, inner]), d.gain, d.gamma, d.haze)
    return rgb, np.ascontiguousarray(label[inner, inner])
