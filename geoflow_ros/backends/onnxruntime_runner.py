"""The graphs of any bundle on onnxruntime, each run by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from geoflow_ros.backends.onnxruntime_session import installed_providers, open_session, run_session
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.precision import FLOAT32


class OnnxRuntimeRunner:
    """Runs a bundle's graphs with onnxruntime; any thread may run any graph.

    Args:
        bundle: verified bundle.
        providers: execution providers by preference; the CPU where None.
        threads: of each graph; None leaves the choice to onnxruntime (one per physical core).

    Raises:
        InputError: a provider that is not installed or does not start.
        BundleError: a graph that onnxruntime cannot load, or whose tensors differ from the manifest's.
    """

    def __init__(self, bundle: Bundle, providers: Sequence[str] | None = None, threads: int | None = None) -> None:
        wanted = installed_providers(providers)
        graphs = bundle.manifest.graphs
        self._sessions = {graph: open_session(bundle, graph, wanted, threads) for graph in graphs}
        self._outputs = {graph: [tensor.name for tensor in bundle.manifest.tensors[graph].outputs] for graph in graphs}
        provider = self._sessions[graphs[0]].get_providers()[0]
        self._name = f"onnxruntime {ort.__version__} {provider} {self.precision}"

    @property
    def name(self) -> str:
        """Engine, version, provider and precision."""
        return self._name

    @property
    def precision(self) -> str:
        """That of the graphs."""
        return FLOAT32

    def run(self, graph: str, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `GraphRunner.run`."""
        return dict(zip(self._outputs[graph], run_session(self._sessions[graph], feed), strict=True))
