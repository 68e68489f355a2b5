"""The confidence ellipse of a covariance in the map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.errors import InputError


@dataclass(frozen=True)
class Ellipse:
    """Attributes:
    semi_major_m, semi_minor_m: half axes in metres.
    bearing_deg: of the major axis, clockwise from north, in [0, 180).
    confidence: probability that the position lies inside, for a Gaussian.
    """

    semi_major_m: float
    semi_minor_m: float
    bearing_deg: float
    confidence: float


def confidence_ellipse(covariance: NDArray[np.float64], confidence: float = 0.95) -> Ellipse:
    """The ellipse of (2, 2) covariance of (east, north) in m^2 that holds the position with this probability.

    Raises:
        InputError: the confidence is not between 0 and 1, or the covariance is not positive definite.
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    values, vectors = np.linalg.eigh(covariance)
    if not values[0] > 0.0:  # catches NaN too
        raise InputError("the covariance is not positive definite")
    # chi-square quantile for two degrees of freedom in closed form
    scale = math.sqrt(-2.0 * math.log(1.0 - confidence))
    east, north = vectors[:, 1]
    bearing_deg = math.degrees(math.atan2(east, north)) % 180.0
    return Ellipse(scale * math.sqrt(values[1]), scale * math.sqrt(values[0]), bearing_deg, confidence)
