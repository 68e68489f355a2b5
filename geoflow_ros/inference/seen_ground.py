"""One image laid on the ground through several cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from geoflow_ros.arrays import Float32Array, Int64Array
from geoflow_ros.inference.pose_search import CameraHypotheses


@dataclass(frozen=True, eq=False)
class SeenGround:
    """One image laid on the ground in C ways.

    Attributes:
        cameras: the ways.
        cells: what the matchers take of it, by name.
        confidence: (C, 1, F, R) of the fine cells.
    """

    cameras: CameraHypotheses
    cells: Mapping[str, Float32Array]
    confidence: Float32Array

    def joined(self, others: SeenGround) -> SeenGround:
        """Returns these and then others."""
        cells = {name: np.concatenate([cells, others.cells[name]]) for name, cells in self.cells.items()}
        confidence = np.concatenate([self.confidence, others.confidence])
        return SeenGround(self.cameras.joined(others.cameras), cells, confidence)

    def part(self, number: Int64Array) -> SeenGround:
        """Returns those with these numbers."""
        cells = {name: cells[number] for name, cells in self.cells.items()}
        return SeenGround(self.cameras.part(number), cells, self.confidence[number])
