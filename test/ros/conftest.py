"""One small model and map for the tests of a file, a node that they share, and nodes of a test's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.node_checks import ANY_LATENCY, MakeGraph
from fakes.ros_graph import Graph, write_bundle, write_map

LEVER_ARM = {"camera.lever_arm.x_m": 2.0, "camera.lever_arm.y_m": 0.5}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="needs onnx (the extra [test])")
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_map(tmp_path_factory.mktemp("tiles") / "noise.mbtiles"))


@pytest.fixture(scope="module")
def shared(bundle: Path, tiles: str) -> Iterator[Graph]:
    graph = Graph(bundle, tiles, {**LEVER_ARM, **ANY_LATENCY, "tiles.recentre_distance_m": 1.0})
    yield graph
    graph.close()


@pytest.fixture
def graph(shared: Graph) -> Graph:
    """The node with a fresh track at the map's centre, heading north, which has localized one frame."""
    shared.drive(0.2)
    shared.start_at(0.0, 0.0, math.pi / 2)
    shared.drive(0.2)
    shared.show()
    shared.localized()
    return shared


@pytest.fixture
def own(bundle: Path, tiles: str) -> Iterator[MakeGraph]:
    """Makes nodes with parameters of their own."""
    made: list[Graph] = []

    def make(overrides: dict[str, Any] | None = None, start: bool = True, source: str = tiles) -> Graph:
        made.append(Graph(bundle, source, {**ANY_LATENCY, **(overrides or {})}, start))
        return made[-1]

    yield make
    for graph in made:
        graph.close()
