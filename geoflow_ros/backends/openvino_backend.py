"""A bundle on OpenVINO: the quickest encoders on a CPU, in float32 or, where the CPU has it, bfloat16.

Only the encoders run here. The head is a few products of small matrices, for which onnxruntime needs a fifth of the
time per call, and onnxruntime takes any number of hypotheses without compiling again.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.backends.host_frames import HostFrames
from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeHead
from geoflow_ros.backends.openvino_engine import infer_request, openvino_configuration, openvino_name, reason_of
from geoflow_ros.backends.protocol import HeadOutput
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.methods import GROUND_ENCODER, SATELLITE_ENCODER
from geoflow_ros.bundle.precision import FLOAT32
from geoflow_ros.errors import BackendError

_SILU_LIMIT = 12.0
_SILU_POLYNOMIAL = (1.0, -6.25069643e-2, 1.96298647e-3, -3.98934941e-5)  # ascending; near exp(-x / 16)
_SILU_SQUARINGS = 4
"""x / (1 + p(min(x, 12))^16) differs from x sigmoid(x) by at most 1.1e-4 + 5e-6 |x|, for any x; a minimax fit. bfloat16
rounds a number near 1 by up to 2e-3."""


class OpenVinoBackend(HostFrames):
    """Runs a bundle's encoders with OpenVINO on the CPU and its head with onnxruntime.

    Graphs are compiled for one camera at once, and for more cameras when so many images first come together: fixed
    shapes let OpenVINO choose kernels and lay out its memory when it compiles. Every method may be called from any
    thread; the encoders run side by side, two calls of the same encoder one after the other.

    Args:
        bundle: verified bundle.
        precision: of the encoders, "fp32" or "bf16".
        threads: of each encoder; None leaves the choice to OpenVINO (one per physical core).
        cache_dir: folder for compiled graphs, which shortens the next start; a folder that cannot be written is noted
            in the log and done without. None compiles at each start.

    Raises:
        InputError: OpenVINO is not installed, a precision that it cannot have here, or a thread count below 1.
        BundleError: a graph that OpenVINO cannot load, or whose tensors differ from the manifest's.
    """

    def __init__(
        self,
        bundle: Bundle,
        precision: str = FLOAT32,
        threads: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        config = openvino_configuration(precision, threads, cache_dir)
        self._satellite = _Encoder(bundle, SATELLITE_ENCODER, config, is_reduced=precision != FLOAT32)
        self._ground = _Encoder(bundle, GROUND_ENCODER, config, is_reduced=precision != FLOAT32)
        self._head = OnnxRuntimeHead(bundle)
        self._precision = precision
        self._name = openvino_name(precision)

    @property
    def name(self) -> str:
        """Engine, version, device and precision."""
        return self._name

    @property
    def precision(self) -> str:
        """The precision of the encoders; the head is float32."""
        return self._precision

    def satellite_tokens(self, satellite: UInt8Array) -> Float32Array:
        """Tokens (B, T, d) of satellite patches (B, P, P, 3)."""
        return self._satellite.run(satellite)

    def f_vis(self, ground: UInt8Array, tokens: Float32Array) -> Float32Array:
        """Joint feature (B, d) of camera images (B, H, W, 3) and the tokens (B, T, d) of their patches."""
        return self._ground.run(ground, tokens)

    def head(self, f_vis: Float32Array, hypotheses: Float32Array, step: float) -> HeadOutput:
        """Displacements from hypotheses (B, N, 2), in units of the search radius, for features (B, d)."""
        return self._head.run(f_vis, hypotheses, step)


class _Encoder:
    """One graph of the bundle, compiled once for each batch size that is asked for."""

    def __init__(self, bundle: Bundle, graph: str, config: dict[str, Any], *, is_reduced: bool) -> None:
        self._bundle, self._graph, self._config = bundle, graph, config
        self._is_reduced = is_reduced
        self._lock = threading.Lock()
        self._requests: dict[int, Any] = {1: self._compile(1)}

    def run(self, *inputs: UInt8Array | Float32Array) -> Float32Array:
        """The graph's only output for inputs of one batch size, in memory of its own.

        Raises:
            BackendError: OpenVINO failed.
        """
        arrays = [np.ascontiguousarray(array) for array in inputs]
        batch = len(arrays[0])
        with self._lock:
            if batch not in self._requests:
                self._requests[batch] = self._compile(batch)
            try:
                outputs = self._requests[batch].infer(arrays, share_inputs=True, share_outputs=True)
            except RuntimeError as error:
                raise BackendError(f"OpenVINO failed at the {self._graph}: {reason_of(error)}") from error
            return np.array(outputs[0], np.float32)  # a copy: the next call writes to the same memory

    def _compile(self, batch: int) -> Any:
        """Makes an infer request for this batch size."""

        def prepare(model: Any) -> None:
            model.reshape({tensor.any_name: [batch, *list(tensor.partial_shape)[1:]] for tensor in model.inputs})
            if self._is_reduced:
                replace_silu(model)

        return infer_request(self._bundle, self._graph, self._config, prepare)


def replace_silu(model: Any) -> int:
    """Writes every x * sigmoid(x) on a feature map as products and one division, at bfloat16's accuracy.

    OpenVINO computes SiLU at the end of the convolution before it, through an exponential: a third of the time of an
    EfficientNet-B0 in bfloat16 (6.5 of 20 ms for 256 x 1024 on two cores with AVX-512). As elementary operations it
    becomes one generated loop of its own, which takes 4 ms although it reads and writes the map once more.

    Args:
        model: an `openvino.Model` with fixed shapes; changed in place.

    Returns:
        How many were replaced. A graph that says SiLU in another way is left as it is, and no less right.
    """
    from openvino import opset13 as ops

    def constant(value: float) -> Any:
        return ops.constant(np.float32(value))

    def silu(x: Any) -> Any:
        low = ops.minimum(x, constant(_SILU_LIMIT))
        *rest, power = (constant(value) for value in _SILU_POLYNOMIAL)
        for coefficient in reversed(rest):
            power = ops.add(ops.multiply(power, low), coefficient)
        for _ in range(_SILU_SQUARINGS):
            power = ops.multiply(power, power)
        return ops.divide(x, ops.add(power, constant(1.0)))

    replaced = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Sigmoid":
            continue
        x, gate = node.input_value(0), node.output(0)
        if int(np.prod(node.get_output_shape(0)[2:])) == 1:  # pooled: too small to gain
            continue
        for reader in list(gate.get_target_inputs()):
            product = reader.get_node()
            inputs = [product.input_value(index) for index in range(product.get_input_size())]
            if product.get_type_name() == "Multiply" and x in inputs and gate in inputs:
                new = silu(x).output(0)
                for target in list(product.output(0).get_target_inputs()):
                    target.replace_source_output(new)
                replaced += 1
    model.validate_nodes_and_infer_types()
    return replaced
