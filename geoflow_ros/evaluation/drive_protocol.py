"""Which drives are driven, and what they are disturbed by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from geoflow_ros.errors import InputError
from geoflow_ros.world import Area, Camera, Split, World
from geoflow_ros.world.conditions import EASY, Conditions
from geoflow_ros.world.disturbed_drive import DisturbedDrive
from geoflow_ros.world.drive_sensors import IMAGE_RATE_HZ

RIGHT, WRONG_MAP, BLACK_CAMERA = "right", "wrong_map", "black_camera"
OTHER_CAMERA, OTHER_STYLE = "other_camera", "other_style"
BLACK_FROM_S = 30.0

DISTURBED = MappingProxyType(
    {
        RIGHT: "its own map and camera",
        WRONG_MAP: "the map of another city",
        BLACK_CAMERA: f"black pictures from second {BLACK_FROM_S:.0f} on, of shorter drives from their middle on",
        OTHER_CAMERA: "the pictures of another drive",
        OTHER_STYLE: "its own map, drawn in another style",
    }
)
"""What a drive may be disturbed by, and what that is."""


@dataclass(frozen=True)
class DriveProtocol:
    """Which drives are driven.

    Attributes:
        area: the town of the training, or a city of its own for each.
        drives: how many: those of the seeds from `seed` on. Those of the test split are the demo's with these seeds.
        seconds: length of each.
        seed: of the first.
        conditions: how hard.
        photometric: whether the colours, tones and sharpness of camera and map are changed strongly, apart.
        rate_hz: camera frames a second.
        disturbed: names of `DISTURBED`.
        split: whose worlds.

    Raises:
        InputError: no drive, no time, no frames, or an unknown disturbance.
    """

    area: Area = Area.CROSS
    drives: int = 20
    seconds: float = 300.0
    seed: int = 0
    conditions: Conditions = EASY
    photometric: bool = False
    rate_hz: float = IMAGE_RATE_HZ
    disturbed: tuple[str, ...] = (RIGHT,)
    split: Split = Split.TEST

    def __post_init__(self) -> None:
        if self.drives < 1 or not 0 < self.seconds < math.inf or not 0 < self.rate_hz < math.inf:
            raise InputError(
                "drives are at least one, of more than 0 seconds, with more than 0 camera frames a second; got "
                f"{self.drives} of {self.seconds:g} s with {self.rate_hz:g} a second"
            )
        unknown = [name for name in self.disturbed if name not in DISTURBED]
        if unknown or not self.disturbed:
            raise InputError(f"drives are disturbed by {', '.join(DISTURBED)}, not {', '.join(unknown) or 'nothing'}")

    @property
    def title(self) -> str:
        """What is driven, in a line."""
        changed = ", strong photometric change" if self.photometric else ""
        last = self.seed + self.drives - 1
        which = f"{self.drives} drives" if self.drives > 1 else "1 drive"
        seeds = f"seeds {self.seed} to {last}" if self.drives > 1 else f"seed {last}"
        return (
            f"{which} of {self.seconds:g} s, {self.area.value}-area, {self.split.name.lower()} split, {seeds}, "
            f"conditions {self.conditions.name}{changed}, {self.rate_hz:g} frames a second"
        )

    def drive(self, number: int, camera: Camera) -> DisturbedDrive:
        """Makes a drive.

        Args:
            number: from 0 on; that after the last is the one whose pictures the last is disturbed with.
            camera: of the vehicle.

        Raises:
            WorldError: the world holds no drive of that length.
        """
        seed = self.seed + number
        world = World.of(self.area, seed, conditions=self.conditions, split=self.split)
        own = seed if self.split is Split.TEST else self.split.seed(seed, 0)
        return DisturbedDrive(
            world, own, self.seconds, camera, conditions=self.conditions, photometric=self.photometric
        )

    def other_city(self, number: int, side_m: float) -> World:
        """Makes a city that a drive is not in, as large as wanted: with `Area.CROSS`, that of the next drive."""
        return World.of(Area.CROSS, self.seed + number + 1, conditions=self.conditions, split=self.split, side_m=side_m)
