"""Planar Gaussians: their moments, chi-square quantiles and confidence ellipses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError


@dataclass(frozen=True)
class Gaussian2D:
    """The mean and covariance of a position.

    Attributes:
        mean: (..., 2), forward and right.
        covariance: (..., 2, 2), same axes, unit of the mean squared.
    """

    mean: Float64Array
    covariance: Float64Array


@dataclass(frozen=True)
class Ellipse:
    """The region that holds a Gaussian position with a given probability.

    Attributes:
        semi_major_m, semi_minor_m: half axes in metres.
        bearing_deg: of the major axis, clockwise from north, in [0, 180).
        confidence: probability that the position lies inside.
    """

    semi_major_m: float
    semi_minor_m: float
    bearing_deg: float
    confidence: float


def chi_square_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Returns the value that a chi-square variable of one, two or three degrees of freedom stays under.

    Args:
        probability: of staying under it.
        degrees_of_freedom: how many squared normal variables are summed.

    Raises:
        InputError: the probability is not between 0 and 1, or other degrees of freedom.
    """
    if not 0.0 < probability < 1.0:
        raise InputError(f"a probability lies between 0 and 1, not {probability}")
    if degrees_of_freedom == 1:
        return NormalDist().inv_cdf((1.0 + probability) / 2.0) ** 2
    if degrees_of_freedom == 2:
        return -2.0 * math.log(1.0 - probability)
    if degrees_of_freedom == 3:
        return _chi_square_quantile_3(probability)
    raise InputError(f"chi-square quantiles are of 1, 2 or 3 degrees of freedom, not {degrees_of_freedom}")


def _chi_square_quantile_3(probability: float) -> float:
    """Inverts erf(sqrt(x / 2)) - sqrt(2 x / pi) exp(-x / 2), the distribution function, by bisection."""
    low, high = 0.0, 1.0
    while _chi_square_probability_3(high) < probability:
        low, high = high, 2.0 * high
    for _ in range(64):  # halves the interval to the last bit
        middle = (low + high) / 2.0
        if _chi_square_probability_3(middle) < probability:
            low = middle
        else:
            high = middle
    return high


def _chi_square_probability_3(value: float) -> float:
    return math.erf(math.sqrt(value / 2.0)) - math.sqrt(2.0 * value / math.pi) * math.exp(-value / 2.0)


def confidence_ellipse(covariance: Float64Array, confidence: float = 0.95) -> Ellipse:
    """Returns the ellipse of a (2, 2) covariance of (east, north) in m^2 that holds the position with this probability.

    Raises:
        InputError: the confidence is not between 0 and 1, or the covariance is not positive definite.
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    values, vectors = np.linalg.eigh(covariance)
    if not values[0] > 0.0:  # catches NaN too
        raise InputError("the covariance is not positive definite")
    scale = math.sqrt(chi_square_quantile(confidence, 2))
    east, north = vectors[:, 1]
    bearing_deg = math.degrees(math.atan2(east, north)) % 180.0
    return Ellipse(scale * math.sqrt(values[1]), scale * math.sqrt(values[0]), bearing_deg, confidence)
