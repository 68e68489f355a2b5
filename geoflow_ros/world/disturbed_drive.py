"""A drive under conditions: what stays as it is for the whole drive, and what changes on the way.

One vehicle on one day: mounting, lens, dirt, weather and map are drawn once. The suspension sways about the mounting,
the road rises and falls, other vehicles come and go, and every picture has its own noise.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.world.aerial import Seam
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.cells import CELL_M
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.disturbances import PatchDisturbance, ViewDisturbance, draw_patch, draw_view, standing
from geoflow_ros.world.disturbed import disturbed_patch, rendered_view
from geoflow_ros.world.drive import Drive, States
from geoflow_ros.world.photometric import CAMERA, MAP, apply_change, draw_change
from geoflow_ros.world.raster import CityRaster
from geoflow_ros.world.world import World

_STREAM, _SCENE_STREAM = 75, 76  # of random numbers; the drive and its sensors have others

# How much of the standard deviation of pitch and roll is the suspension's; the rest is how the camera is mounted. Of a
# road's 1 degree: 0.5 that moves and 0.87 that stays, as `inference.camera_calibration.EXTRINSICS` has it.
_MOVING = 0.5
# After which time or way what sways, and how the road runs, is still alike by 1 / e.
_SUSPENSION_S, _ROAD_M, _GRADE_CHANGE_M = 1.0, 60.0, 15.0
_SCENE_S = 4.0  # so long other vehicles, and shadows of what stands outside the picture, stay where they are
_M_PER_DM = np.float32(0.1)
_SEAM_EVERY_M = 100.0  # conditions give the share of patches of this side that a seam runs through


class DisturbedDrive(Drive):
    """A drive whose camera and map are under conditions; one that nothing disturbs is `Drive` to the bit.

    Args:
        world: where; its appearance is to be of the same conditions (see `World.of`).
        seed: another seed takes another way, with other sensor errors and disturbances.
        duration_s: length of the drive.
        camera: what :meth:`frame` sees with, as it is assumed to stand.
        lever_arm_m: the camera's distance in front of base_link.
        conditions: how hard.
        photometric: whether colours, tones and sharpness of camera and map are changed strongly, apart.

    Raises:
        WorldError: as `Drive`.
    """

    def __init__(
        self,
        world: World,
        seed: int,
        duration_s: float,
        camera: Camera | None = None,
        lever_arm_m: float = 1.2,
        conditions: Conditions = EASY,
        photometric: bool = False,
    ) -> None:
        super().__init__(world, seed, duration_s, camera, lever_arm_m)
        self.conditions = conditions
        rng = np.random.default_rng([seed, _STREAM])
        self._of_the_day = draw_view(conditions, rng)
        lens = conditions.lens
        self._shutter_s = float(rng.uniform(*(lens.night_exposure_s if self._of_the_day.is_night else lens.exposure_s)))
        self._mounting = rng.normal(0, 1, 2)
        self._swaying = _swaying(self.states, rng)
        self._map = _draw_map(conditions, rng, self.states)
        self._map_pattern = int(rng.integers(2**62))
        of_camera, of_map = draw_change(CAMERA, rng), draw_change(MAP, rng)
        self._camera_change = of_camera if photometric else None
        self._map_change = of_map if photometric else None

    def disturbance_at(self, t_s: float) -> ViewDisturbance:
        """Returns what the camera image of a time is disturbed by."""
        suspension_pitch, suspension_roll, gradient, change, crossfall = (
            float(np.interp(t_s, self.states.t_s, values)) for values in self._swaying
        )
        fixed = math.sqrt(1 - _MOVING**2)
        pitch, roll = (
            fixed * float(mounted) + _MOVING * moving
            for mounted, moving in zip(self._mounting, (suspension_pitch, suspension_roll), strict=True)
        )
        camera = self.conditions.camera
        sway = np.array([pitch, roll, gradient, change])
        day, scene = self._of_the_day, np.random.default_rng([self.seed, _SCENE_STREAM, int(t_s // _SCENE_S)])
        traffic, has_traffic = self.conditions.traffic, scene.random() < self.conditions.traffic.share
        speed_mps, yaw_rate_rps = (
            float(np.interp(t_s, self.states.t_s, values))
            for values in (self.states.speed_mps, self.states.yaw_rate_rps)
        )
        return replace(
            day,
            # a normal number's rank is uniform, as the crossfall's share is
            camera=standing(camera, day.camera, sway, 2 * NormalDist().cdf(crossfall) - 1),
            traffic=(float(scene.uniform(*traffic.cover)), traffic.cover[1]) if has_traffic else (0.0, 0.0),
            motion_m=speed_mps * self._shutter_s,
            turn_rad=-yaw_rate_rps * self._shutter_s,
            pattern=day.pattern + round(1e3 * t_s),
            vehicle_pattern=int(scene.integers(2**62)),
            dirt_pattern=day.pattern,
        )

    def frame(self, t_s: float) -> UInt8Array:
        """See `Drive.frame`."""
        if self.conditions.disturb:
            place = self.camera_at(t_s)
            image = rendered_view(self.world.window(*place[:2]), self.camera, place, self.disturbance_at(t_s))
        else:
            image = super().frame(t_s)
        if self._camera_change is None:
            return image
        scene = self._camera_change.pattern + int(t_s // _SCENE_S)
        return apply_change(image, replace(self._camera_change, pattern=scene))

    def photo(self, raster: CityRaster) -> UInt8Array:
        """Returns what the map of the drive shows of a baked window, (side, side, 3) uint8, north up.

        Beyond a seam it is displaced by what conditions say, as mosaics of photos are: the truth is not.
        """
        rgb = raster.orthophoto
        if self.conditions.disturb:
            height_m = np.asarray(raster.height_dm * _M_PER_DM, np.float32)
            rgb = disturbed_patch(rgb, raster.map_label, height_m, _around(self._map, raster), CELL_M, 0)[0]
        if self._map_change is None:
            return rgb
        # Light that is uneven over some hundred metres would end where the next window begins.
        return apply_change(rgb, replace(self._map_change, shade=0.0, pattern=self._map_pattern))


def _swaying(states: States, rng: np.random.Generator) -> tuple[Float64Array, ...]:
    """Draws pitch and roll of the suspension, gradient, its change, and crossfall at the states' times, (n,) each.

    They are standard normal at any time, and alike at times or places near each other.
    """
    driven_m = states.driven_m
    return (
        _wandering(states.t_s, _SUSPENSION_S, rng),
        _wandering(states.t_s, _SUSPENSION_S, rng),
        _wandering(driven_m, _ROAD_M, rng),
        _wandering(driven_m, _GRADE_CHANGE_M, rng),
        _wandering(driven_m, _ROAD_M, rng),
    )


def _wandering(along: Float64Array, length: float, rng: np.random.Generator) -> Float64Array:
    """Draws a stationary process of mean 0 and deviation 1 at ascending places (n,): a Gauss-Markov one.

    Args:
        along: places.
        length: distance over which the correlation falls to 1 / e.
        rng: what draws.
    """
    kept = np.exp(-np.diff(along) / length)
    kicks = rng.normal(0, 1, len(along))
    values = np.empty(len(along))
    values[0] = kicks[0]
    for k, share in enumerate(kept, start=1):
        values[k] = share * values[k - 1] + math.sqrt(1 - share**2) * kicks[k]
    return values


def _draw_map(conditions: Conditions, rng: np.random.Generator, states: States) -> PatchDisturbance:
    """Draws the photo that the map of a drive is made of; its seam, if it has one, crosses the drive's region.

    Forward and right of `PatchDisturbance` are east and south here, and the seam's distance is from the map's origin.
    """
    always = replace(conditions.map, seam_share=1.0)
    drawn = draw_patch(always, rng, np.zeros((1, 2)))
    assert drawn.seam is not None
    normal = np.array([math.cos(drawn.seam.normal_rad), math.sin(drawn.seam.normal_rad)])
    along_m = states.east_m * normal[0] - states.north_m * normal[1]
    extent_m = float(along_m.max() - along_m.min())
    has_seam = rng.random() < conditions.map.seam_share * extent_m / _SEAM_EVERY_M
    distance_m = float(rng.uniform(along_m.min(), along_m.max()))
    return replace(drawn, seam=replace(drawn.seam, distance_m=distance_m) if has_seam else None)


def _around(drawn: PatchDisturbance, raster: CityRaster) -> PatchDisturbance:
    """Returns what was drawn for the whole map as a window has it: the seam's distance is from the window's middle."""
    if drawn.seam is None:
        return drawn
    half_m, seam = raster.side_m / 2, drawn.seam
    east_m, south_m = raster.west_m + half_m, half_m - raster.north_m
    middle_m = east_m * math.cos(seam.normal_rad) + south_m * math.sin(seam.normal_rad)
    return replace(drawn, seam=Seam(seam.normal_rad, seam.distance_m - middle_m, seam.shift_m, seam.gain))
