"""What an image alone says about the position: a fix without the prior of its search area.

The covariance of a fix holds for a camera that is anywhere within ±radius of the patch centre with equal probability.
On an axis where the image says nothing, a localizer's answer is therefore "the centre, with a standard deviation of
radius / sqrt(3)". The centre is where the tracker put the patch; fusing such an answer as if it were a measurement
would count the tracker's own prediction again. In information form the search prior is taken out:

    information of the image = inv(covariance of the fix) - 3 / radius² · I

and the mean moves away from the centre correspondingly (Gaussian division; the uniform prior by its first two moments).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float64Array

# An axis about which the image adds less than this share of what the search area alone says is treated as unknown:
# dividing by so little would turn the calibration error of the covariance into metres of measurement.
MIN_INFORMATION_GAIN = 0.25


@dataclass(frozen=True)
class AxisMeasurement:
    """One direction along which an image measured the camera's position.

    Attributes:
        direction: (2,) unit vector (east, north).
        position_m: coordinate of the camera along it, metres in the map frame: direction · (east, north).
        variance_m2: variance of that coordinate, m².
    """

    direction: Float64Array
    position_m: float
    variance_m2: float


def likelihood_axes(
    mean_m: Float64Array,
    covariance_m2: Float64Array,
    centre_m: Float64Array,
    search_radius_m: float,
    min_information_gain: float = MIN_INFORMATION_GAIN,
) -> tuple[AxisMeasurement, ...]:
    """Returns the independent measurements that a fix is worth without its search prior.

    Args:
        mean_m: (2,) the fix (east, north), metres.
        covariance_m2: (2, 2) its covariance under a uniform prior over the search area, m².
        centre_m: (2,) centre of that area, which is the patch centre.
        search_radius_m: half the side of that area.
        min_information_gain: an axis counts where the image's information is at least this share of the search prior's.

    Returns:
        None, one or two axes, orthogonal to each other, the more certain first.
    """
    prior_information = 3.0 / search_radius_m**2
    variances, directions = np.linalg.eigh(covariance_m2)
    axes = []
    for variance, direction in zip(variances, directions.T, strict=True):
        information = 1.0 / variance - prior_information
        if information < min_information_gain * prior_information:
            continue
        offset = float(direction @ (mean_m - centre_m)) / (variance * information)
        axes.append(AxisMeasurement(direction, float(direction @ centre_m) + offset, 1.0 / information))
    return tuple(axes)
