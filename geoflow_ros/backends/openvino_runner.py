"""The graphs of any bundle on OpenVINO, each run by its name."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.backends.openvino_engine import infer_request, openvino_configuration, openvino_name, reason_of
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.precision import FLOAT32
from geoflow_ros.errors import BackendError


class OpenVinoRunner:
    """Runs a bundle's graphs with OpenVINO on the CPU, in float32.

    Graphs are compiled once, with the axes open that the bundle leaves open. Any thread may run any graph; two calls of
    the same graph run one after the other.

    Args:
        bundle: verified bundle.
        threads: of each graph; None leaves the choice to OpenVINO (one per physical core).
        cache_dir: folder for compiled graphs, see `openvino_configuration`.

    Raises:
        InputError: OpenVINO is not installed, or a thread count below 1.
        BundleError: a graph that OpenVINO cannot load, or whose tensors differ from the manifest's.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, cache_dir: Path | None = None) -> None:
        config = openvino_configuration(FLOAT32, threads, cache_dir)
        self._graphs = {graph: _Graph(bundle, graph, config) for graph in bundle.manifest.graphs}
        self._name = openvino_name(FLOAT32)

    @property
    def name(self) -> str:
        """Engine, version, device and precision."""
        return self._name

    @property
    def precision(self) -> str:
        """That of the graphs."""
        return FLOAT32

    def run(self, graph: str, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `GraphRunner.run`."""
        return self._graphs[graph].run(feed)


class _Graph:
    """One graph of the bundle."""

    def __init__(self, bundle: Bundle, graph: str, config: Mapping[str, Any]) -> None:
        self._request = infer_request(bundle, graph, config)
        self._name = graph
        tensors = bundle.manifest.tensors[graph]
        self._inputs, self._outputs = ([tensor.name for tensor in part] for part in (tensors.inputs, tensors.outputs))
        self._lock = threading.Lock()

    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        arrays = {name: np.ascontiguousarray(feed[name]) for name in self._inputs}
        with self._lock:
            try:
                found = self._request.infer(arrays, share_inputs=True, share_outputs=True)
            except RuntimeError as error:
                raise BackendError(f"OpenVINO failed at the {self._name}: {reason_of(error)}") from error
            return {name: np.array(found[name]) for name in self._outputs}  # copies: the next call writes there
