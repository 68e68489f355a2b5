"""How hard the pairs are: what is disturbed in the camera image and on the satellite patch, and how much.

`EASY` disturbs nothing: the ground is flat, the camera exact, the photo taken straight from above. `ROAD` is what an
ordinary day does to a vehicle whose camera was calibrated some months ago, over a map of another year. `HARD` is the
tail of it: the bad day that a system must survive or notice. No disturbance moves the truth: position and heading of
the camera on the patch stay what they were.

The numbers below are this module's; what no source is named for is an engineer's estimate, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from geoflow_ros.errors import InputError

Range = tuple[float, float]  # a number is drawn evenly between the two


@dataclass(frozen=True)
class CameraConditions:
    """How the camera and the road under it differ from what the localizer assumes.

    Attributes:
        pitch_sigma_deg: standard deviation of the suspension's pitch, cut off at `MAX_SIGMAS`.
        roll_sigma_deg: likewise of its roll.
        height: largest relative error of the camera's height.
        focal: largest relative error of the focal length.
        radial: largest leftover radial distortion: a pixel at r focal lengths from the centre looks in the direction
            of r (1 + radial r^2).
        gradient_sigma: standard deviation of the road's gradient, rise over run.
        gradient_max: it is cut off here.
        crossfall_max: largest fall across the road, rise over run, to either side.
        grade_change_sigma: standard deviation of the gradient ahead less the one under the wheels. A vehicle stands on
            the road, so only this tilts the ground ahead against the camera; the gradient itself makes what is upright
            lean.
    """

    pitch_sigma_deg: float = 0.0
    roll_sigma_deg: float = 0.0
    height: float = 0.0
    focal: float = 0.0
    radial: float = 0.0
    gradient_sigma: float = 0.0
    gradient_max: float = 0.0
    crossfall_max: float = 0.0
    grade_change_sigma: float = 0.0


@dataclass(frozen=True)
class LightConditions:
    """Light and weather; the shares are of the pairs, but for `low_sun_share`, which is of the baked windows.

    Attributes:
        exposure_sigma: standard deviation of the exposure, in stops (factors of two).
        white_balance_sigma: standard deviation of the log gains of red and blue.
        low_sun_share: part with a sun so low that shadows reach across the street, in the photo or on the drive.
        wet_share: part with a wet road that mirrors.
        night_share: part by night, with street lamps and headlights.
    """

    exposure_sigma: float = 0.0
    white_balance_sigma: float = 0.0
    low_sun_share: float = 0.0
    wet_share: float = 0.0
    night_share: float = 0.0


@dataclass(frozen=True)
class LensConditions:
    """What lens and sensor do.

    Attributes:
        dirt_share: part of the pairs with dirt or drops on the lens or the windscreen before it.
        dirt_cover: part of the image that they cover, by and large.
        exposure_s: how long the shutter is open by day.
        night_exposure_s: likewise by night.
        speed_mps: of the vehicle.
        yaw_rate_dps: standard deviation of its turning, degrees a second.
        noise: standard deviation of a mid-grey pixel by day, grey levels.
        night_noise: likewise by night.
    """

    dirt_share: float = 0.0
    dirt_cover: Range = (0.0, 0.0)
    exposure_s: Range = (0.0, 0.0)
    night_exposure_s: Range = (0.0, 0.0)
    speed_mps: Range = (0.0, 0.0)
    yaw_rate_dps: float = 0.0
    noise: Range = (0.0, 0.0)
    night_noise: Range = (0.0, 0.0)


@dataclass(frozen=True)
class TrafficConditions:
    """Vehicles that hide the road.

    Attributes:
        share: part of the pairs with traffic in front of the camera.
        cover: part of the image's lower half that it may hide; never more than the second number.
    """

    share: float = 0.0
    cover: Range = (0.0, 0.0)


@dataclass(frozen=True)
class MapConditions:
    """What makes a satellite patch worse than an exact photo of the day.

    Attributes:
        lean_deg: angle off the vertical from which the patch was photographed: roofs move by height times its tangent.
        seam_share: part of the patches across which two photos meet.
        seam_shift_m: largest shift between the two, on either axis. The photo under the camera stays where it is.
        seam_gain_sigma: standard deviation of the log gain between the two; of each colour's own, `HUE_SHARE` of it.
        blur_m: radius (sigma) on the ground of what the photo cannot resolve.
        another_year_share: part of the baked windows whose map shows another year: other surfaces, paint and season.
        colour_sigma: standard deviation of the log gain; of each colour's own, `HUE_SHARE` of it.
        gamma_sigma: standard deviation of the log of the tone curve's exponent.
        haze: largest share of a patch's contrast that haze takes.
    """

    lean_deg: Range = (0.0, 0.0)
    seam_share: float = 0.0
    seam_shift_m: float = 0.0
    seam_gain_sigma: float = 0.0
    blur_m: Range = (0.0, 0.0)
    another_year_share: float = 0.0
    colour_sigma: float = 0.0
    gamma_sigma: float = 0.0
    haze: float = 0.0


@dataclass(frozen=True)
class Conditions:
    """All that is disturbed, under a name."""

    name: str
    camera: CameraConditions = CameraConditions()
    light: LightConditions = LightConditions()
    lens: LensConditions = LensConditions()
    traffic: TrafficConditions = TrafficConditions()
    map: MapConditions = MapConditions()

    @property
    def disturb(self) -> bool:
        """Whether anything is disturbed at all."""
        return self != Conditions(self.name)


HUE_SHARE = 0.35  # photos differ more in brightness than in hue
MAX_SIGMAS = 3.0  # where the camera's normal errors are cut off: springs have an end

EASY = Conditions("easy")

ROAD = Conditions(
    "road",
    CameraConditions(
        pitch_sigma_deg=1.0,  # braking and load move a passenger car's body by 1 to 2 degrees
        roll_sigma_deg=1.0,  # about 3 degrees at 0.5 g; ordinary corners are at 0.2 to 0.3 g
        height=0.10,  # 16 cm: load, tyres, and a tape measure that began at the wrong place
        focal=0.03,  # focus, temperature, and a calibration of another camera of the series
        radial=0.01,  # 2.6 px of 512 at the edge of a field of view of 90 degrees
        gradient_sigma=0.02,  # most town streets
        gradient_max=0.06,  # what German guidelines (RASt 06) ask collector roads to stay below is of this order
        crossfall_max=0.025,  # the usual crossfall for drainage (RASt 06)
        grade_change_sigma=0.007,  # a vertical curve of K = 10 m per per cent (AASHTO, 40 to 50 km/h) over 7 m
    ),
    LightConditions(
        exposure_sigma=0.4,  # estimate: automatic exposure follows the sky as much as the road
        white_balance_sigma=0.05,  # 300 K of colour temperature about daylight change red and blue by this order
        low_sun_share=0.2,  # estimate: the hour after sunrise and before sunset
        wet_share=0.2,  # 120 wet days a year, of which the road is wet half the time
        night_share=0.1,  # estimate: traffic by night is a tenth
    ),
    LensConditions(
        dirt_share=0.2,  # estimate
        dirt_cover=(0.01, 0.06),
        exposure_s=(0.001, 0.008),  # an automatic shutter by day
        night_exposure_s=(0.010, 0.020),  # longer is blurred by any vehicle; 50 Hz video ends at 20 ms
        speed_mps=(0.0, 15.0),
        yaw_rate_dps=8.0,  # a corner of 20 m radius at 10 km/h is 8 degrees a second
        noise=(1.0, 3.5),  # 8-bit levels, from a good sensor at base gain to a small one at dusk
        night_noise=(5.0, 10.0),  # 12 to 18 dB more gain
    ),
    TrafficConditions(share=0.5, cover=(0.03, 0.25)),  # estimate: every other picture has a vehicle within 30 m
    MapConditions(
        lean_deg=(0.0, 10.0),  # within half a field of view of an aerial camera with 60 % overlap
        seam_share=0.15,  # estimate: mosaics change the photo every some hundred metres
        seam_shift_m=0.4,  # a pixel
        seam_gain_sigma=0.10,
        blur_m=(0.0, 0.35),  # up to a photo of a zoom level less
        another_year_share=0.5,
        colour_sigma=0.10,
        gamma_sigma=0.15,
        haze=0.15,
    ),
)

HARD = Conditions(
    "hard",
    CameraConditions(
        pitch_sigma_deg=2.0,  # an emergency brake, a trailer, a cobbled hill
        roll_sigma_deg=1.5,
        height=0.15,
        focal=0.05,
        radial=0.03,
        gradient_sigma=0.04,
        gradient_max=0.06,
        crossfall_max=0.04,  # superelevation in a town's curve
        grade_change_sigma=0.015,  # the kerb of a bridge, a ramp
    ),
    LightConditions(
        exposure_sigma=0.8,  # out of a tunnel, into the sun
        white_balance_sigma=0.10,
        low_sun_share=0.7,
        wet_share=0.45,
        night_share=0.35,
    ),
    LensConditions(
        dirt_share=0.6,
        dirt_cover=(0.04, 0.20),
        exposure_s=(0.004, 0.016),
        night_exposure_s=(0.015, 0.033),  # a frame of a 30 Hz video
        speed_mps=(3.0, 20.0),
        yaw_rate_dps=12.0,
        noise=(2.0, 7.0),
        night_noise=(8.0, 16.0),
    ),
    TrafficConditions(share=0.9, cover=(0.15, 0.60)),
    MapConditions(
        lean_deg=(8.0, 25.0),  # satellites are tasked up to 25 to 30 degrees off nadir
        seam_share=0.5,
        seam_shift_m=1.0,
        seam_gain_sigma=0.20,
        blur_m=(0.2, 0.8),
        another_year_share=1.0,
        colour_sigma=0.15,
        gamma_sigma=0.25,
        haze=0.35,
    ),
)

_ALL = {conditions.name: conditions for conditions in (EASY, ROAD, HARD)}
NAMES = tuple(_ALL)


def conditions_named(name: str) -> Conditions:
    """Returns the conditions of a name.

    Raises:
        InputError: there are none of that name.
    """
    if name not in _ALL:
        raise InputError(f"conditions are {', '.join(_ALL)}, not {name!r}")
    return _ALL[name]
