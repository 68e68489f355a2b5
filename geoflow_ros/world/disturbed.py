"""Camera images and satellite patches as they are under conditions: what is drawn, applied in the order of nature.

Camera: the road's water, where the camera stands, vehicles, the night, motion, dirt, exposure, noise. Patch: the lean,
the seam, the sensor's blur, the development.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.world import aerial, lens, traffic, weather
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.conditions import MapConditions
from geoflow_ros.world.disturbances import PatchDisturbance, ViewDisturbance
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.optics import CameraImage, Rays, focal_px, rays_of, resample, upright_camera
from geoflow_ros.world.parts import lamps_of
from geoflow_ros.world.raster import CityRaster
from geoflow_ros.world.render import render_views
from geoflow_ros.world.weather import UprightPicture
from geoflow_ros.world.windows import Windows

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
    of_vehicles, of_dirt = (
        rng if pattern is None else np.random.default_rng(pattern) for pattern in (d.vehicle_pattern, d.dirt_pattern)
    )
    rgb = weather.wet(picture, d.wet) if d.wet > 0 else picture.rgb
    image = resample(picture.camera, rays, rgb, picture.depth_m, picture.label)
    shining = np.zeros(image.size, np.bool_)
    if d.traffic[1] > 0:
        vehicles = traffic.sample_vehicles(of_vehicles, image, *d.traffic)
        image, shining = traffic.draw_vehicles(image, vehicles, _street_light(image))
    if d.is_night:
        image = weather.night(image, weather.lamps_near(lamps, picture), shining)
    focal = focal_px(picture.camera) * d.camera.focal_scale
    rgb = lens.motion_blur(image, d.motion_m, d.turn_rad, focal)
    if d.dirt > 0:
        rgb = lens.dirt(rgb, d.dirt, of_dirt)
    rgb = lens.expose(rgb, d.stops, d.white_balance)
    if d.noise > 0:
        rgb = lens.noise(rgb, d.noise, rng)
    return replace(image, rgb=rgb)


def rendered_view(
    raster: CityRaster, camera: Camera, place: tuple[float, float, float], disturbance: ViewDisturbance
) -> UInt8Array:
    """Renders the image (H, W, 3) of a disturbed camera.

    Args:
        raster: the window around it.
        camera: as it is assumed.
        place: its east, north (metres) and yaw (radians, counter-clockwise from east).
        disturbance: what was drawn.
    """
    rays = rays_of(camera, disturbance.camera)
    upright = upright_camera(camera, [rays], disturbance.camera.height_scale)
    pose = (np.array([value], np.float32) for value in place)
    view = render_views(Windows.stack([raster]), upright, np.zeros(1, np.int64), *pose)
    picture = UprightPicture(upright, view.rgb[0], view.depth_m[0], view.label[0], *place)
    return disturbed_view(picture, rays, disturbance, lamps_of(raster.parts.table)).rgb


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
