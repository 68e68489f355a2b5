"""Priors that are wrong: where a satellite patch lies whose camera is not in its middle, and is turned by some error.

Training, validation and evaluation all draw their pairs with what is here. A patch is cut around the prior and aligned
with the prior's heading; the truth is the camera's (forward, right) in the patch, its offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.world.places import Poses


class HeadingErrors(Protocol):
    """What draws the errors of patches' headings."""

    def sample(self, rng: np.random.Generator, n: int) -> Float64Array:
        """Draws (n,) radians."""
        ...


@dataclass(frozen=True)
class HeadingError:
    """Error of a patch's heading: normal, or uniform if that is set.

    Attributes:
        sigma_deg: standard deviation of the normal distribution.
        uniform_deg: bound of the uniform one, on both sides; None for the normal one.
    """

    sigma_deg: float = 2.0
    uniform_deg: float | None = None

    def sample(self, rng: np.random.Generator, n: int) -> Float64Array:
        """Draws (n,) radians."""
        if self.uniform_deg is not None:
            return np.radians(rng.uniform(-self.uniform_deg, self.uniform_deg, n))
        return np.radians(rng.normal(0, self.sigma_deg, n))

    @property
    def stated_rad(self) -> float:
        """How wrong whoever measures it says it may be: a uniform error's bound, a normal one's three sigmas."""
        return float(np.radians(3.0 * self.sigma_deg if self.uniform_deg is None else self.uniform_deg))


@dataclass(frozen=True)
class MixedHeadingError:
    """A mixture of two distributions of heading errors.

    Attributes:
        usual: most errors.
        wide: the others.
        wide_share: of these.
    """

    usual: HeadingError
    wide: HeadingError
    wide_share: float

    def sample(self, rng: np.random.Generator, n: int) -> Float64Array:
        """Draws (n,) radians."""
        is_wide = rng.random(n) < self.wide_share
        wide = self.wide.sample(rng, n)
        return np.where(is_wide, wide, self.usual.sample(rng, n))


def sample_offsets(rng: np.random.Generator, search_radius_m: float, n: int) -> Float64Array:
    """Draws (n, 2) offsets (forward, right) in metres, uniform in the square of the search radius."""
    return rng.uniform(-search_radius_m, search_radius_m, (n, 2))


def patches_around(cameras: Poses, offset_m: Float64Array, heading_error_rad: Float64Array) -> Poses:
    """Places patches such that the cameras stand at given offsets in them.

    Args:
        cameras: n true poses.
        offset_m: (n, 2) forward and right of each camera from its patch's centre, in the patch's frame.
        heading_error_rad: (n,) what the patch is turned by, counter-clockwise from the camera's yaw.

    Returns:
        The n patches' centres and directions of forward.
    """
    yaw = cameras.yaw_rad + heading_error_rad
    axes = forward_right_axes(yaw)  # (n, 2, 2)
    forward, right = offset_m[:, 0], offset_m[:, 1]
    east = cameras.east_m - (forward * axes[:, 0, 0] + right * axes[:, 1, 0])
    north = cameras.north_m - (forward * axes[:, 0, 1] + right * axes[:, 1, 1])
    return Poses(east, north, yaw)


def offsets_in(patches: Poses, cameras: Poses) -> Float64Array:
    """Returns the (n, 2) metres forward and right of each camera from its patch's centre, in the patch's frame."""
    axes = forward_right_axes(patches.yaw_rad)
    east, north = cameras.east_m - patches.east_m, cameras.north_m - patches.north_m
    return np.stack([east * axes[:, k, 0] + north * axes[:, k, 1] for k in range(2)], axis=1)
