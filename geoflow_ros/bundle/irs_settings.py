"""How many hypotheses are refined how often: chosen at run time, with defaults in every bundle."""

from __future__ import annotations

from dataclasses import dataclass

from geoflow_ros.bundle.constraints import Count, PositiveNumber
from geoflow_ros.errors import InputError


@dataclass(frozen=True)
class IrsSettings:
    """Chosen at run time; more hypotheses and iterations cost only head calls.

    Attributes:
        hypotheses: N, how many are sampled.
        iterations: R, how often each is moved.
        step: fraction of the predicted displacement per iteration, in (0, 1].
    """

    hypotheses: Count = 10
    iterations: Count = 5
    step: PositiveNumber = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.hypotheses <= 100_000:
            raise InputError(f"hypotheses must be 1 to 100000, got {self.hypotheses}")
        if not 1 <= self.iterations <= 1_000:
            raise InputError(f"iterations must be 1 to 1000, got {self.iterations}")
        if not 0.0 < self.step <= 1.0:
            raise InputError(f"step must be above 0 and at most 1, got {self.step}")

    @property
    def remaining_fraction(self) -> float:
        """The part of a hypothesis's distance that is left when every prediction is exact: (1 - step)^R."""
        return (1.0 - self.step) ** self.iterations
