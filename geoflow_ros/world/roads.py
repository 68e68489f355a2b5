"""The road network of a city: a grid of blocks, turned, warped and thinned, and the roads along its edges."""

from __future__ import annotations

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array
from geoflow_ros.world.plan import PARKING_LANE_M, Road

_BLOCK_M = (80.0, 115.0)  # distance between neighbouring junctions, before they are moved
_JITTER = 0.2  # of that distance, by which a junction is moved at most along each axis
_WARP_M = 16.0  # amplitude of the warp: no two streets are parallel for long
_WARP_WAVE_M = (260.0, 500.0)  # its wavelengths
_REMOVED_SHARE = 0.16  # of the edges: blocks of two or three
_MIN_DEGREE = 3  # roads that a junction keeps
_POINT_SPACING_M = 1.0  # between the points of a road
_MIN_POINTS = 8
_BULGE_M, _WIGGLE_M = 5.0, 2.5  # standard deviations of a road's two bends away from its chord
_MAJOR_SHARE, _PARKING_SHARE = 0.2, 0.6  # of the roads: two lanes a direction; else parked cars along the kerb
_LANE_M = (3.0, 3.4)  # width of a lane
_VERGE_M = (0.0, 0.5)  # between the outer lane and the kerb where nobody parks
_PAVEMENT_M = (1.6, 3.2)

Edge = tuple[int, int]


def road_graph(rng: np.random.Generator, reach_m: float) -> tuple[Float64Array, list[Edge]]:
    """Returns the junctions (n, 2) and the edges between them that meet the square within `reach_m` of the centre."""
    spacing = rng.uniform(*_BLOCK_M)
    n = int(np.ceil(1.5 * reach_m / spacing)) + 1  # half a diagonal, as the grid is turned
    grid = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij"), axis=-1).reshape(-1, 2)
    points = _junctions(rng, grid, spacing)
    edges = _thinned(rng, _grid_edges(grid), len(points))
    near = np.abs(points).max(axis=1) < reach_m
    return points, [(a, b) for a, b in sorted(edges) if near[a] or near[b]]


def _junctions(rng: np.random.Generator, grid: Int64Array, spacing_m: float) -> Float64Array:
    """Moves, turns and warps the crossings of a grid."""
    points = grid * spacing_m + rng.uniform(-_JITTER, _JITTER, grid.shape) * spacing_m
    turn = rng.uniform(0, 2 * np.pi)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    shortest, longest = _WARP_WAVE_M
    wave = rng.uniform(2 * np.pi / longest, 2 * np.pi / shortest, (2, 2))
    phase = rng.uniform(0, 2 * np.pi, 2)
    warped: Float64Array = points + _WARP_M * np.sin(points @ wave + phase)
    return warped


def _grid_edges(grid: Int64Array) -> list[Edge]:
    """Returns the pairs of neighbours in a grid, as indices into it."""
    index = {(int(i), int(j)): k for k, (i, j) in enumerate(grid)}
    return [
        (k, index[neighbour])
        for (i, j), k in index.items()
        for neighbour in ((i + 1, j), (i, j + 1))
        if neighbour in index
    ]


def _thinned(rng: np.random.Generator, edges: list[Edge], junctions: int) -> list[Edge]:
    """Leaves out some edges, in random order, so that every junction keeps `_MIN_DEGREE` roads."""
    degree = np.zeros(junctions, int)
    for a, b in edges:
        degree[a] += 1
        degree[b] += 1
    kept = []
    for e in rng.permutation(len(edges)):
        a, b = edges[e]
        if rng.random() < _REMOVED_SHARE and degree[a] > _MIN_DEGREE and degree[b] > _MIN_DEGREE:
            degree[a] -= 1
            degree[b] -= 1
            continue
        kept.append((a, b))
    return kept


def lay_road(rng: np.random.Generator, nodes: Float64Array, start: int, end: int) -> Road:
    """Lays a bent road between two junctions, and decides its lanes, its parked cars and its pavement."""
    p, q = nodes[start], nodes[end]
    chord = q - p
    length = float(np.linalg.norm(chord))
    normal = np.array([-chord[1], chord[0]]) / length
    n = max(_MIN_POINTS, int(round(length / _POINT_SPACING_M)))
    s = np.linspace(0, 1, n + 1)
    bulge = rng.normal(0, _BULGE_M) * np.sin(np.pi * s) + rng.normal(0, _WIGGLE_M) * np.sin(2 * np.pi * s)
    points = p + s[:, None] * chord + bulge[:, None] * normal
    major = rng.random() < _MAJOR_SHARE
    parking = bool(rng.random() < _PARKING_SHARE) and not major
    lanes = 2 if major else 1
    half = lanes * rng.uniform(*_LANE_M) + (PARKING_LANE_M if parking else rng.uniform(*_VERGE_M))
    return Road(start, end, points, float(half), lanes, parking, float(rng.uniform(*_PAVEMENT_M)))
