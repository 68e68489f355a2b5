"""Which worlds are for training, for validation, for calibration and for tests.

A city's plan and an appearance are functions of one integer. Each split draws from its own range of integers, and the
ranges do not meet, so no test city was ever trained on, whatever seed a user gives.
"""

from __future__ import annotations

from enum import Enum

from geoflow_ros.errors import InputError

_SPAN = 1 << 40

TOWN_SEED = 2026  # the plan of the fixed town of the same-area protocol; no split's range holds it
TOWN_SIDE_M = 1024.0


class Split(Enum):
    """A disjoint range of seeds for plans and appearances."""

    TRAINING = 1
    VALIDATION = 2
    CALIBRATION = 3
    TEST = 4

    def seed(self, stream: int, k: int) -> int:
        """Returns the `k`-th seed of a stream: another stream (a user's `--seed`) gives other worlds of the same split.

        Raises:
            InputError: if stream or k is negative or too large to keep the ranges apart.
        """
        if not (0 <= stream < 1 << 20 and 0 <= k < 1 << 20):
            raise InputError(f"seeds must be 0..{(1 << 20) - 1}, got stream {stream}, number {k}")
        return self.value * _SPAN + (stream << 20) + k
