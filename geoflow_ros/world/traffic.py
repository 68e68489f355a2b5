"""Vehicles in front of the camera: boxes with a cabin, drawn where they stand, that hide the road behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geoflow_ros.arrays import Float32Array
from geoflow_ros.world import kinds
from geoflow_ros.world.optics import CameraImage

RGB = tuple[float, float, float]
Area = tuple[slice, slice]  # rows and columns of an image

# Common sizes: length, width, height, and the height of the bonnet (0: the body is one box), metres; how frequent.
_SORTS = (
    ((4.3, 1.80, 1.48, 0.95), 0.55),  # a car
    ((4.6, 1.88, 1.70, 1.05), 0.15),  # an SUV
    ((5.4, 2.05, 2.30, 0.0), 0.18),  # a van
    ((8.0, 2.50, 3.30, 0.0), 0.12),  # a lorry or a bus
)
_LANES = ((0.0, 0.45), (-3.3, 0.30), (3.0, 0.25))  # metres to the right of the own lane's middle; how frequent
_LANE_SIGMA_M, _YAW_SIGMA_DEG = 0.3, 2.5
_NEAREST_M, _FARTHEST_M = 4.5, 32.0  # to a vehicle's rear: a queue, and where it hides little any more
_GAP_M = 1.5  # between vehicles of one lane
_THINNED, _THINNED_COVER = 3, 0.01  # pixels' distance when it is measured what is hidden, and what that may be wrong by
_TRIALS = 14  # vehicles that are tried until enough of the road is hidden

_SILL_M, _TYRE_M, _TYRE_LIGHT = 0.15, 0.32, 0.25
_CABIN_FROM, _CABIN_TO = -0.42, 0.22  # of the length, from the middle
_CABIN_WIDTH = 0.86  # of the body's
_GLASS_M = 0.12  # below the roof; above the bonnet
_REAR_LIGHT, _SIDE_LIGHT, _ROOF_LIGHT = 0.75, 0.88, 1.05
_LAMP_BAND_M, _LAMP_WIDTH = (0.7, 0.9), 0.22  # heights; share of the width on either side
_REAR_LAMP, _HEADLAMP, _GLASS = (128.0, 22.0, 20.0), (226.0, 226.0, 220.0), (40.0, 46.0, 54.0)
_SHADOW_RIM_M, _SHADOW_LIGHT = 0.25, 0.5
_FLAT_M = 0.3  # what is lower than this is ground
_PARALLEL = 1e-6  # a ray's component that counts as none
_CLOSE_M = 0.5  # no vehicle is nearer


@dataclass(frozen=True)
class Vehicle:
    """One vehicle on the road.

    Attributes:
        forward_m: its middle, from the camera.
        right_m: likewise.
        yaw_rad: turned to the right of the camera's direction.
        length_m: size.
        width_m: likewise.
        height_m: likewise.
        bonnet_m: height of the body below the cabin; 0: one box.
        rgb: of its paint.
        is_oncoming: it shows its front.
    """

    forward_m: float
    right_m: float
    yaw_rad: float
    length_m: float
    width_m: float
    height_m: float
    bonnet_m: float
    rgb: RGB
    is_oncoming: bool = False


@dataclass(frozen=True)
class _Hit:
    """What rays see of a box; the shape is that of the area (h, w), or (n,) of some of its pixels.

    Attributes:
        distance_m: horizontal distance, infinite for a miss.
        is_top: the ray meets the top.
        is_end: it meets the front or the rear, not a side.
        across: where along the box's width, -1 to 1.
    """

    distance_m: Float32Array
    is_top: npt.NDArray[np.bool_]
    is_end: npt.NDArray[np.bool_]
    across: Float32Array

    def at(self, pixels: npt.NDArray[np.bool_]) -> _Hit:
        """Returns what the rays of some of the pixels see."""
        return _Hit(self.distance_m[pixels], self.is_top[pixels], self.is_end[pixels], self.across[pixels])


def sample_vehicles(rng: np.random.Generator, image: CameraImage, cover: float, most: float) -> list[Vehicle]:
    """Draws vehicles that hide a part of the lower half of an image.

    Args:
        rng: what draws.
        image: of the camera.
        cover: part of the lower half that is to be hidden, roughly.
        most: never more than this.
    """
    every = _thinned(image)
    half = every.size[0] // 2
    vehicles: list[Vehicle] = []
    hidden = np.zeros(every.size, np.bool_)
    for _ in range(_TRIALS):
        vehicle = _vehicle(rng)
        if any(_too_close(vehicle, other) for other in vehicles):
            continue
        more = hidden.copy()
        area = _area(every, vehicle)
        for _, hit in _hits(every, vehicle, area):
            more[area] |= hit.distance_m < every.depth_m[area]
        if more[half:].mean() > most - _THINNED_COVER:
            continue
        vehicles.append(vehicle)
        hidden = more
        if hidden[half:].mean() >= cover:
            break
    return vehicles


def _thinned(image: CameraImage) -> CameraImage:
    """Returns every `_THINNED`-th row and column of an image: enough to tell what a vehicle hides."""
    thin = np.s_[_THINNED // 2 :: _THINNED, _THINNED // 2 :: _THINNED]
    rays = (image.depth_m[thin], image.label[thin], image.azimuth_rad[thin], image.slope[thin])
    return CameraImage(image.rgb[thin], *rays, image.height_m)


def _vehicle(rng: np.random.Generator) -> Vehicle:
    shares = np.array([share for _, share in _SORTS])
    length, width, height, bonnet = _SORTS[int(rng.choice(len(_SORTS), p=shares / shares.sum()))][0]
    lanes = np.array([share for _, share in _LANES])
    right = _LANES[int(rng.choice(len(_LANES), p=lanes / lanes.sum()))][0]
    rear = _NEAREST_M + (_FARTHEST_M - _NEAREST_M) * rng.random() ** 2  # the near ones are those that hide the road
    colour = kinds.colours()[rng.choice(kinds.CARS)] * rng.uniform(0.7, 1.0)
    return Vehicle(
        forward_m=float(rear + length / 2),
        right_m=float(right + rng.normal(0, _LANE_SIGMA_M)),
        yaw_rad=float(np.radians(rng.normal(0, _YAW_SIGMA_DEG))),
        length_m=length,
        width_m=width,
        height_m=height,
        bonnet_m=bonnet,
        rgb=(float(colour[0]), float(colour[1]), float(colour[2])),
        is_oncoming=right < 0,
    )


def _too_close(a: Vehicle, b: Vehicle) -> bool:
    along = abs(a.forward_m - b.forward_m) < (a.length_m + b.length_m) / 2 + _GAP_M
    return along and abs(a.right_m - b.right_m) < (a.width_m + b.width_m) / 2


def draw_vehicles(
    image: CameraImage, vehicles: list[Vehicle], light: float = 1.0
) -> tuple[CameraImage, npt.NDArray[np.bool_]]:
    """Draws vehicles with their shadows.

    Args:
        image: of the camera.
        vehicles: what stands before it.
        light: brightness of their paint.

    Returns:
        The image, and which pixels (H, W) show a lamp of a vehicle.
    """
    rgb, depth, label = image.rgb.copy(), image.depth_m.copy(), image.label.copy()
    lamps = np.zeros(image.size, np.bool_)
    drawn = replace(image, rgb=rgb, depth_m=depth, label=label)
    for vehicle in sorted(vehicles, key=lambda v: -v.forward_m):
        area = _area(image, vehicle)
        _draw_shadow(drawn, vehicle, area)
        for is_cabin, hit in _hits(image, vehicle, area):
            seen = hit.distance_m < depth[area]
            up = image.height_m + image.slope[area][seen] * hit.distance_m[seen]
            colour, is_lamp = _paint(vehicle, is_cabin, hit.at(seen), up, light)
            rgb[area][seen] = np.clip(colour, 0, 255).astype(np.uint8)
            depth[area][seen] = hit.distance_m[seen]
            label[area][seen] = kinds.Label.CAR
            lamps[area][seen] = is_lamp
    return drawn, lamps


def _area(image: CameraImage, vehicle: Vehicle) -> Area:
    """Returns the rows and columns that a vehicle and its shadow may show in."""
    reach = float(np.hypot(vehicle.length_m, vehicle.width_m)) / 2 + _SHADOW_RIM_M
    distance = float(np.hypot(vehicle.forward_m, vehicle.right_m))
    middle = float(np.arctan2(vehicle.right_m, vehicle.forward_m))
    widest = float(np.arcsin(min(1.0, reach / distance)))
    nearest = max(distance - reach, _CLOSE_M)
    lowest, highest = -image.height_m / nearest, max(vehicle.height_m - image.height_m, 0.0) / nearest
    # lines of equal height are about straight, so a row's ends and its middle tell whether it meets the vehicle
    columns = np.flatnonzero((np.abs(image.azimuth_rad - middle) <= widest).any(axis=0))
    edges = image.slope[:, [0, image.size[1] // 2, -1]]
    rows = np.flatnonzero((edges.min(axis=1) <= highest) & (edges.max(axis=1) >= lowest))
    if not (len(columns) and len(rows)):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _hits(image: CameraImage, vehicle: Vehicle, area: Area) -> list[tuple[bool, _Hit]]:
    """Returns what an area of the image sees of a vehicle's boxes: body first, then cabin, each with which it is."""
    half = vehicle.length_m / 2
    body = vehicle.bonnet_m or vehicle.height_m
    hits = [(False, _hit(image, area, vehicle, (-half, half), vehicle.width_m / 2, (_SILL_M, body)))]
    if vehicle.bonnet_m:
        ends = sorted(k * vehicle.length_m * (-1 if vehicle.is_oncoming else 1) for k in (_CABIN_FROM, _CABIN_TO))
        half_width, cabin = _CABIN_WIDTH * vehicle.width_m / 2, (body, vehicle.height_m)
        hits.append((True, _hit(image, area, vehicle, (ends[0], ends[1]), half_width, cabin)))
    return hits


def _hit(
    image: CameraImage,
    area: Area,
    vehicle: Vehicle,
    along_m: tuple[float, float],
    half_width_m: float,
    up_m: tuple[float, float],
) -> _Hit:
    """Meets the rays with one box: `along_m` from the vehicle's middle, `up_m` above the ground."""
    azimuth, slope = image.azimuth_rad[area] - np.float32(vehicle.yaw_rad), image.slope[area]
    c, s = np.cos(vehicle.yaw_rad), np.sin(vehicle.yaw_rad)
    ahead, right = vehicle.forward_m * c + vehicle.right_m * s, vehicle.right_m * c - vehicle.forward_m * s
    along, across = np.cos(azimuth), np.sin(azimuth)
    across = np.where(np.abs(across) < _PARALLEL, np.float32(_PARALLEL), across)
    first, last = (ahead + along_m[0]) / along, (ahead + along_m[1]) / along
    left, far = (right - half_width_m) / across, (right + half_width_m) / across
    enter_end, leave_end = np.minimum(first, last), np.maximum(first, last)
    enter_side, leave_side = np.minimum(left, far), np.maximum(left, far)
    enter, leave = np.maximum(enter_end, enter_side), np.minimum(leave_end, leave_side)
    up = image.height_m + slope * enter
    # where a falling ray comes down to the top
    top = (up_m[1] - image.height_m) / np.minimum(slope, np.float32(-_PARALLEL))
    is_top = (up > up_m[1]) & (slope < 0) & (top < leave)
    is_wall = (up <= up_m[1]) & (up >= up_m[0])
    meets = (enter > 0) & (enter < leave) & (is_top | is_wall)
    distance = np.where(meets, np.where(is_top, top, enter), np.inf).astype(np.float32)
    on_width = (np.where(meets, distance, 0) * across - right) / half_width_m
    return _Hit(distance, is_top & meets, enter_end >= enter_side, on_width.astype(np.float32))


def _paint(
    vehicle: Vehicle, is_cabin: bool, hit: _Hit, up_m: Float32Array, light: float
) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Returns the colours (n, 3) of a box's surface and which of it are lamps (n,)."""
    shade = np.where(hit.is_top, _ROOF_LIGHT, np.where(hit.is_end, _REAR_LIGHT, _SIDE_LIGHT)) * light
    colour = np.array(vehicle.rgb, np.float32) * shade[..., None].astype(np.float32)
    bottom = vehicle.bonnet_m if is_cabin or not vehicle.bonnet_m else 0.0
    is_van = not vehicle.bonnet_m
    sill = (0.55 * vehicle.height_m if is_van else bottom) + _GLASS_M / 2
    has_glass = (is_cabin or (is_van and vehicle.is_oncoming)) & hit.is_end | (is_cabin & ~hit.is_end)
    glass = has_glass & ~hit.is_top & (up_m > sill) & (up_m < vehicle.height_m - _GLASS_M)
    colour[glass] = np.array(_GLASS, np.float32) * light
    if is_cabin:
        return colour, np.zeros(glass.shape, np.bool_)
    colour[~hit.is_top & (up_m < _TYRE_M)] *= _TYRE_LIGHT
    low, high = _LAMP_BAND_M
    lamp = hit.is_end & ~hit.is_top & (up_m > low) & (up_m < high) & (np.abs(hit.across) > 1 - 2 * _LAMP_WIDTH)
    colour[lamp] = np.array(_HEADLAMP if vehicle.is_oncoming else _REAR_LAMP, np.float32) * light
    return colour, lamp


def _draw_shadow(image: CameraImage, vehicle: Vehicle, area: Area) -> None:
    """Darkens the ground under a vehicle, in place."""
    depth, azimuth = image.depth_m[area], image.azimuth_rad[area]
    seen = np.where(np.isfinite(depth), depth, 0)
    up = image.height_m + image.slope[area] * seen
    ground = (seen > 0) & (np.abs(up) < _FLAT_M)
    forward, right = seen * np.cos(azimuth) - vehicle.forward_m, seen * np.sin(azimuth) - vehicle.right_m
    c, s = np.cos(vehicle.yaw_rad), np.sin(vehicle.yaw_rad)
    along, across = np.abs(forward * c + right * s), np.abs(right * c - forward * s)
    under = ground & (along < vehicle.length_m / 2 + _SHADOW_RIM_M) & (across < vehicle.width_m / 2 + _SHADOW_RIM_M)
    image.rgb[area][under] = (image.rgb[area][under] * _SHADOW_LIGHT).astype(np.uint8)
