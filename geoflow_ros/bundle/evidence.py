"""How probable it is that a fix is near the truth, from what speaks for and against it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from geoflow_ros.bundle.constraints import Count, FiniteNumber, NonEmptyText, Share
from geoflow_ros.bundle.methods import BIRDS_EYE, GEOFLOW

NEAR_M = 5.0
"""An answer is near the truth within so many metres."""

SIGNS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        GEOFLOW: ("log_spread", "log_sigma_forward", "log_sigma_right", "log_kappa", "misfit", "log_apart"),
        BIRDS_EYE: ("entropy", "log_rest", "logit_none", "log_sigma", "highest_score", "turn"),
    }
)
"""What each method's evidence weighs; `inference` says what each is."""


@dataclass(frozen=True)
class Evidence:
    """A logistic regression over the signs of a fix, fitted on right questions and on wrong ones.

    Attributes:
        weights: of each sign of the method.
        bias: added to their sum.
        least_probability: of an error under `NEAR_M`; a fix with less is not to be trusted.
        pairs: answers that it was fitted on.
        data: what these were.
    """

    weights: Mapping[str, FiniteNumber]
    bias: FiniteNumber
    least_probability: Share
    pairs: Count
    data: NonEmptyText

    def probability(self, signs: Mapping[str, float]) -> float:
        """The probability of an error under `NEAR_M`; `signs` are all of the method's, finite."""
        score = self.bias + sum(weight * signs[name] for name, weight in self.weights.items())
        return 1.0 / (1.0 + math.exp(-min(max(score, -50.0), 50.0)))

    def doubt(self, probability: float, known: str) -> str:
        """Why a fix with this probability is not to be trusted; empty where it is.

        Args:
            probability: of an error under `NEAR_M`.
            known: what else speaks against it, which says more.
        """
        if probability >= self.least_probability:
            return ""
        return known or (
            f"an error under {NEAR_M:g} m is {100.0 * probability:.0f} % probable, and "
            f"{100.0 * self.least_probability:.0f} % is the least"
        )
