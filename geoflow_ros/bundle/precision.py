"""Whether a reduced precision was measured to be good enough: what a manifest keeps of such a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from geoflow_ros.bundle.constraints import Count, NonEmptyText, NumberFromZero, PositiveNumber

FLOAT32, BFLOAT16, FLOAT16 = "fp32", "bf16", "fp16"

LARGEST_CHANGE: Mapping[str, float] = MappingProxyType({BFLOAT16: 0.02, FLOAT16: 0.01})
"""By how much the mean error may rise, as a fraction."""

FEWEST_PAIRS = 500


@dataclass(frozen=True)
class PrecisionCheck:
    """The same image pairs through float32 and through a reduced precision.

    Attributes:
        precision: "bf16" or "fp16".
        backend: what ran it.
        data: which pairs, in words.
        pairs: how many.
        mean_error_m: with the reduced precision.
        reference_mean_error_m: with float32.
        largest_difference_m, median_difference_m: between the two answers.
    """

    precision: NonEmptyText
    backend: NonEmptyText
    data: NonEmptyText
    pairs: Count
    mean_error_m: PositiveNumber
    reference_mean_error_m: PositiveNumber
    largest_difference_m: NumberFromZero
    median_difference_m: NumberFromZero

    @property
    def change(self) -> float:
        """The change of the mean error, as a fraction; positive is worse."""
        return self.mean_error_m / self.reference_mean_error_m - 1.0

    @property
    def passes(self) -> bool:
        """Whether there were enough pairs and the error rose by less than the precision's limit."""
        return self.pairs >= FEWEST_PAIRS and self.change < LARGEST_CHANGE[self.precision]

    def describe(self) -> str:
        """The figures in one line."""
        limit = 100.0 * LARGEST_CHANGE[self.precision]
        return (
            f"{self.precision} by {self.backend}: mean error {self.mean_error_m:.3f} m, float32 "
            f"{self.reference_mean_error_m:.3f} m ({100.0 * self.change:+.2f} %, limit +{limit:g} %) on {self.pairs} "
            f"pairs ({self.data}); answers differ by {self.median_difference_m:.3f} m in the median, "
            f"{self.largest_difference_m:.2f} m at most"
        )
