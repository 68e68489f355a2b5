"""A back end of reduced precision that runs on every machine."""

from __future__ import annotations

import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends import OnnxRuntimeBackend

_BFLOAT16_BITS = np.uint32(0xFFFF0000)  # of a float32: sign, exponent and seven bits of the mantissa


class RoundedBackend(OnnxRuntimeBackend):
    """Runs as onnxruntime does, with features cut to bfloat16: real instructions for it are not needed."""

    @property
    def name(self) -> str:
        return "rounded bf16"

    @property
    def precision(self) -> str:
        return "bf16"

    def f_vis(self, ground: UInt8Array, tokens: Float32Array) -> Float32Array:
        exact = np.ascontiguousarray(super().f_vis(ground, tokens), np.float32)
        return (exact.view(np.uint32) & _BFLOAT16_BITS).view(np.float32)
