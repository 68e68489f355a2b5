"""What runs the three graphs of a bundle: one protocol, so that accelerators can take onnxruntime's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class HeadOutput:
    """The head's answer for B frames and N hypotheses each; lengths are in units of the search radius.

    Attributes:
        mu_log_r, var_log_r: (B, N) mean and variance of the logarithm of the distance to the true position.
        direction: (B, N, 2) unit vectors towards it, (forward, right).
        kappa: (B, N) AngMF rate of the direction.
        refined: (B, N, 2) hypotheses moved by step * exp(mu) along the direction.
        orientation: (B, N, 2) cosine and sine of the heading error, or None where the model has no such head.
    """

    mu_log_r: Floats32
    var_log_r: Floats32
    direction: Floats32
    kappa: Floats32
    refined: Floats32
    orientation: Floats32 | None


class Backend(Protocol):
    """Runs the graphs of one bundle. Images are RGB uint8 of the manifest's sizes; the caller has checked them."""

    @property
    def name(self) -> str:
        """For diagnostics: the engine and where it runs."""
        ...

    def satellite_tokens(self, satellite: Bytes) -> Floats32:
        """Tokens (B, T, d) of satellite patches (B, P, P, 3)."""
        ...

    def f_vis(self, ground: Bytes, tokens: Floats32) -> Floats32:
        """Joint feature (B, d) of camera images (B, H, W, 3) and the tokens (B, T, d) of their patches."""
        ...

    def head(self, f_vis: Floats32, hypotheses: Floats32, step: float) -> HeadOutput:
        """Displacements from hypotheses (B, N, 2), in units of the search radius, for features (B, d)."""
        ...
