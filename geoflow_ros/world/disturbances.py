"""What is drawn for one camera image and for one satellite patch under given conditions: plain values of one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.world.aerial import Seam
from geoflow_ros.world.conditions import (
    HUE_SHARE,
    MAX_SIGMAS,
    CameraConditions,
    Conditions,
    LensConditions,
    MapConditions,
    Range,
)
from geoflow_ros.world.optics import CameraPose

RGBGain = tuple[float, float, float]

_WET_AMOUNT = (0.5, 1.0)  # from damp to a film of water
_SEAM_BEYOND_M = (1.5, 30.0)  # how far behind the outermost camera of a patch a seam begins
_NIGHT_STOPS = 0.3  # by night, the exposure differs less: it is at its end


@dataclass(frozen=True)
class ViewDisturbance:
    """All that is drawn for one camera image.

    Attributes:
        camera: how it stands, and the road.
        wet: water on the road, 0 to 1.
        is_night: whether it is night.
        traffic: part of the lower half that vehicles may hide: what is aimed at, and what is never exceeded.
        motion_m: driven during the exposure.
        turn_rad: turned to the right during the exposure.
        dirt: part of the image behind dirt.
        stops: error of the exposure.
        white_balance: gains of red, green and blue.
        noise: standard deviation of a mid-grey pixel, grey levels.
        pattern: seed of what is random in the picture: spots, vehicles, noise.
        vehicle_pattern: seed of the vehicles, where they stay from picture to picture; None: of the pattern.
        dirt_pattern: likewise of the spots.
    """

    camera: CameraPose
    wet: float
    is_night: bool
    traffic: Range
    motion_m: float
    turn_rad: float
    dirt: float
    stops: float
    white_balance: RGBGain
    noise: float
    pattern: int
    vehicle_pattern: int | None = None
    dirt_pattern: int | None = None


@dataclass(frozen=True)
class PatchDisturbance:
    """All that is drawn for one satellite patch.

    Attributes:
        lean: (forward, right) displacement over height.
        seam: where another photo begins, or None.
        blur_m: radius of a point on the ground.
        gain: of red, green and blue.
        gamma: exponent of the tone curve.
        haze: share of the contrast that is lost.
    """

    lean: tuple[float, float]
    seam: Seam | None
    blur_m: float
    gain: RGBGain
    gamma: float
    haze: float


def draw_view(conditions: Conditions, rng: np.random.Generator, height_scale: float | None = None) -> ViewDisturbance:
    """Draws the disturbance of a camera image.

    Args:
        conditions: how hard.
        rng: what draws; always the same numbers of it.
        height_scale: the camera's true height over the assumed one, where another has drawn it.
    """
    light, lens = conditions.light, conditions.lens
    camera = _draw_camera(conditions.camera, rng, height_scale)
    wet, night, dirty, traffic = rng.random(4) < (light.wet_share, light.night_share, lens.dirt_share,
                                                  conditions.traffic.share)  # fmt: skip
    amount, stops = rng.uniform(*_WET_AMOUNT), float(rng.normal(0, 1) * light.exposure_sigma)
    red, blue = (float(v) for v in np.exp(rng.normal(0, 1, 2) * light.white_balance_sigma))
    cover = rng.uniform(*conditions.traffic.cover)
    motion_m, turn_rad, noise = _draw_exposure(lens, rng, bool(night))
    dirt = rng.uniform(*lens.dirt_cover)
    return ViewDisturbance(
        camera=camera,
        wet=float(amount) if wet else 0.0,
        is_night=bool(night),
        traffic=(float(cover), conditions.traffic.cover[1]) if traffic else (0.0, 0.0),
        motion_m=motion_m,
        turn_rad=turn_rad,
        dirt=float(dirt) if dirty else 0.0,
        stops=stops * (_NIGHT_STOPS if night else 1.0),
        white_balance=(red, 1.0, blue),
        noise=noise,
        pattern=int(rng.integers(2**62)),
    )


def draw_height_scale(conditions: CameraConditions, rng: np.random.Generator) -> float:
    """Draws the camera's true height over the assumed one."""
    return 1 + float(rng.uniform(-1, 1)) * conditions.height


def _draw_camera(c: CameraConditions, rng: np.random.Generator, height_scale: float | None) -> CameraPose:
    sway = rng.normal(0, 1, 4)
    crossfall = float(rng.uniform(-1, 1))
    own_height = draw_height_scale(c, rng)
    focal, radial = (float(v) for v in rng.uniform(-1, 1, 2))
    built = CameraPose(
        height_scale=own_height if height_scale is None else height_scale,
        focal_scale=1 + focal * c.focal,
        radial=radial * c.radial,
    )
    return standing(c, built, sway, crossfall)


def standing(c: CameraConditions, built: CameraPose, sway: Float64Array, crossfall: float) -> CameraPose:
    """Returns how a camera stands at one moment.

    Args:
        c: how much it and the road differ.
        built: its height, focal length and distortion.
        sway: (4,) standard deviations of pitch, roll, gradient ahead, and change of gradient; cut off at `MAX_SIGMAS`.
        crossfall: -1 to 1 of the largest.
    """
    pitch, roll, gradient, change = (float(v) for v in np.clip(sway, -MAX_SIGMAS, MAX_SIGMAS))
    gradient = float(np.clip(gradient * c.gradient_sigma, -c.gradient_max, c.gradient_max))
    crossfall *= c.crossfall_max
    under = gradient - change * c.grade_change_sigma  # of the road under the wheels
    return replace(
        built,
        # the vehicle stands on the road: it follows its slopes, and sways about them
        pitch_rad=float(np.radians(pitch * c.pitch_sigma_deg) + np.arctan(under)),
        roll_rad=float(np.radians(roll * c.roll_sigma_deg) - np.arctan(crossfall)),
        gradient=gradient,
        crossfall=crossfall,
    )


def _draw_exposure(lens: LensConditions, rng: np.random.Generator, night: bool) -> tuple[float, float, float]:
    """Draws the way driven and the angle turned while the shutter is open, and the noise."""
    shutter_s = float(rng.uniform(*(lens.night_exposure_s if night else lens.exposure_s)))
    speed = float(rng.uniform(*lens.speed_mps))
    turning = float(np.radians(rng.normal(0, 1) * lens.yaw_rate_dps))
    noise = float(rng.uniform(*(lens.night_noise if night else lens.noise)))
    return speed * shutter_s, turning * shutter_s, noise


def draw_patch(conditions: MapConditions, rng: np.random.Generator, cameras_m: Float64Array) -> PatchDisturbance:
    """Draws the disturbance of a satellite patch.

    Args:
        conditions: how hard.
        rng: what draws; always the same numbers of it.
        cameras_m: (n, 2) forward and right of the cameras on the patch: a seam lies beyond all of them, so that their
            place on the photo stays true.
    """
    off, towards = np.radians(rng.uniform(*conditions.lean_deg)), rng.uniform(-np.pi, np.pi)
    lean = (float(np.tan(off) * np.cos(towards)), float(np.tan(off) * np.sin(towards)))
    has_seam, normal = rng.random() < conditions.seam_share, float(rng.uniform(-np.pi, np.pi))
    beyond = float((cameras_m @ [np.cos(normal), np.sin(normal)]).max() + rng.uniform(*_SEAM_BEYOND_M))
    shift = rng.uniform(-1, 1, 2) * conditions.seam_shift_m
    step = _draw_gain(rng, conditions.seam_gain_sigma)
    blur_m = float(rng.uniform(*conditions.blur_m))
    gain = _draw_gain(rng, conditions.colour_sigma)
    gamma = float(np.exp(rng.normal(0, 1) * conditions.gamma_sigma))
    haze = float(rng.uniform(0, conditions.haze))
    seam = Seam(normal, beyond, (float(shift[0]), float(shift[1])), step)
    return PatchDisturbance(lean, seam if has_seam else None, blur_m, gain, gamma, haze)


def _draw_gain(rng: np.random.Generator, sigma: float) -> RGBGain:
    """Draws gains of red, green and blue: one of all, and a smaller one of each."""
    of_all, *own = rng.normal(0, sigma, 4)
    red, green, blue = (float(np.exp(of_all + HUE_SHARE * v)) for v in own)
    return red, green, blue
