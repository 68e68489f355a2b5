"""A drive through a city: true poses, camera frames, and what wheels and compass make of it.

Poses are of base_link, ENU metres and radians counter-clockwise from east (REP-103); the camera looks straight ahead
from ``lever_arm_m`` in front of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import WorldError
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.plan import Road
from geoflow_ros.world.world import World

RATE_HZ = 50.0  # of states, odometry and headings
_STEP_M = 0.5  # between points of a path
_JUNCTION_M = 8.0  # the first and last metres of a road belong to the junction
_EDGE_M = 20.0  # a node nearer to the edge of the layout than this is outside: its roads lead out
_START_SHARE = 0.6  # a drive starts in this middle part of the layout
_SPARE_PATH_M = 30.0  # so that the path does not end before the drive
_PATH_STREAM = 71  # of random numbers; the sensors' errors have others

# How a vehicle takes corners and accelerates, and its top speed.
_LATERAL_MPS2, _ACCELERATION_MPS2, _TOP_MPS = 2.0, 1.2, 10.5
_START_MPS = 4.0
_CORNER_SIGMA_M, _CORNER_REACH = 3.0, 18  # corners are rounded by a normal kernel, cut off after so many points
_MIN_CURVATURE_PER_M = 1e-3  # straighter than this makes no difference to the speed

# What the wheels and the gyro get wrong: constant for a drive (least and most, of either sign), and white noise.
_SCALE_ERROR, _SPEED_NOISE_MPS, _STANDING_MPS = (0.03, 0.05), 0.03, 0.1
_GYRO_BIAS_RPS, _GYRO_NOISE_RPS = (np.radians(0.15), np.radians(0.3)), np.radians(0.1)
_BIAS_WALK_RPS_PER_SQRT_S = np.radians(0.01)

# What speaks against a road at a junction, without unit.
_STRAIGHT_RAD, _STRAIGHT_COST = 0.5, 0.5
_HAIRPIN_RAD, _HAIRPIN_COST = 2.2, 9.0
_VISIT_COST, _CHANCE_COST = 2.0, 0.8


@dataclass(frozen=True)
class States:
    """Poses at times ``t_s``, all (n,): metres, radians (unwrapped), metres and radians a second."""

    t_s: Float64Array
    east_m: Float64Array
    north_m: Float64Array
    yaw_rad: Float64Array
    speed_mps: Float64Array
    yaw_rate_rps: Float64Array

    def at(self, t_s: float) -> tuple[float, float, float]:
        """Returns (east, north, yaw) at any time of the drive, interpolated."""
        east, north, yaw = (float(np.interp(t_s, self.t_s, a)) for a in (self.east_m, self.north_m, self.yaw_rad))
        return east, north, yaw

    @property
    def driven_m(self) -> Float64Array:
        """(n,) the way from the beginning."""
        return np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(self.east_m), np.diff(self.north_m)))])


@dataclass(frozen=True)
class Odometry:
    """Dead reckoning at times ``t_s``, all (n,), in its own frame that starts at (0, 0, 0)."""

    t_s: Float64Array
    x_m: Float64Array
    y_m: Float64Array
    yaw_rad: Float64Array
    speed_mps: Float64Array
    yaw_rate_rps: Float64Array

    @property
    def twist_variances(self) -> tuple[Float64Array, float]:
        """(n,) of the speed, m²/s², and of the yaw rate, rad²/s²: noise, and what is wrong for the whole drive.

        The scale's error counts with the speed; at rest the wheels are exact but for their resolution, which is never
        nothing.
        """
        speed = _SPEED_NOISE_MPS**2 + _mean_square(*_SCALE_ERROR) * self.speed_mps**2
        return speed, _GYRO_NOISE_RPS**2 + _mean_square(*_GYRO_BIAS_RPS)


class Drive:
    """A vehicle that follows the lanes of a world and turns at junctions.

    Args:
        world: where.
        seed: another seed takes another way, with other sensor errors.
        duration_s: length of the drive.
        camera: what :meth:`frame` sees with.
        lever_arm_m: the camera's distance in front of base_link.

    Raises:
        WorldError: the duration is not positive and finite, or the world holds no drive of that length.
    """

    def __init__(
        self, world: World, seed: int, duration_s: float, camera: Camera | None = None, lever_arm_m: float = 1.2
    ) -> None:
        if not 0 < duration_s < np.inf:
            raise WorldError(f"a drive needs a positive, finite duration, got {duration_s} s")
        self.world, self.seed, self.duration_s, self.lever_arm_m = world, seed, duration_s, lever_arm_m
        self.camera = camera if camera is not None else Camera.perspective()
        self.states = _states_inside(world.layout, seed, duration_s, lever_arm_m)

    def state_at(self, t_s: float) -> tuple[float, float, float]:
        """Returns the true (east, north, yaw) of base_link."""
        return self.states.at(t_s)

    def camera_at(self, t_s: float) -> tuple[float, float, float]:
        """Returns the true (east, north, yaw) of the camera."""
        east, north, yaw = self.states.at(t_s)
        return east + self.lever_arm_m * np.cos(yaw), north + self.lever_arm_m * np.sin(yaw), yaw

    def frame(self, t_s: float) -> UInt8Array:
        """Returns what the camera sees at time ``t_s``, (H, W, 3) uint8 RGB."""
        return np.asarray(self.world.view(self.camera, *self.camera_at(t_s)).rgb[0], np.uint8)

    def odometry(self) -> Odometry:
        """Returns wheel odometry with scale error, gyro bias and noise: drifts by some per cent of the way."""
        s = self.states
        rng = np.random.default_rng([self.seed, 72])
        n, dt = len(s.t_s), 1 / RATE_HZ
        scale = 1 + rng.choice([-1, 1]) * rng.uniform(*_SCALE_ERROR)
        bias = rng.choice([-1, 1]) * rng.uniform(*_GYRO_BIAS_RPS)
        bias = bias + np.cumsum(rng.normal(0, _BIAS_WALK_RPS_PER_SQRT_S * np.sqrt(dt), n))
        speed = s.speed_mps * scale + rng.normal(0, _SPEED_NOISE_MPS, n) * (s.speed_mps > _STANDING_MPS)
        yaw_rate = s.yaw_rate_rps + bias + rng.normal(0, _GYRO_NOISE_RPS, n)
        yaw = np.concatenate([[0.0], np.cumsum(yaw_rate[:-1] * dt)])
        x = np.concatenate([[0.0], np.cumsum(speed[:-1] * np.cos(yaw[:-1] + yaw_rate[:-1] * dt / 2) * dt)])
        y = np.concatenate([[0.0], np.cumsum(speed[:-1] * np.sin(yaw[:-1] + yaw_rate[:-1] * dt / 2) * dt)])
        return Odometry(s.t_s, x, y, yaw, speed, yaw_rate)

    def headings(self) -> Float64Array:
        """Returns absolute yaws (n,) at the states' times.

        They have a constant bias, slow wander and white noise, together about 1.6 degrees.
        """
        rng = np.random.default_rng([self.seed, 73])
        n, dt, memory_s = len(self.states.t_s), 1 / RATE_HZ, 20.0
        wander = np.zeros(n)
        kick = rng.normal(0, np.radians(0.8) * np.sqrt(2 * dt / memory_s), n)
        for i in range(1, n):
            wander[i] = wander[i - 1] * (1 - dt / memory_s) + kick[i]
        biased = self.states.yaw_rad + np.radians(rng.normal(0, 1.0))
        return np.asarray(biased + wander + np.radians(rng.normal(0, 1.0, n)))


def _mean_square(least: float, most: float) -> float:
    """Returns the mean square of a number that lies anywhere between two."""
    return (least**2 + least * most + most**2) / 3.0


def _states_inside(layout: CityLayout, seed: int, duration_s: float, lever_arm_m: float) -> States:
    """The states of the drive of a seed, with the camera inside the layout all the time.

    A vehicle may take any road, and near the layout's edge a road may lead out of it. Where it does so during this
    drive, the vehicle takes another way: on the roads of which it can always go on to a next one inside.

    Raises:
        WorldError: the layout has no way of that kind, or it ends before the drive does.
    """
    for allowed_roads in (_every_road, _inner_roads):
        roads = allowed_roads(layout)
        rng = np.random.default_rng([seed, _PATH_STREAM])
        states = _states(_path(layout, roads, rng, duration_s * _TOP_MPS + _SPARE_PATH_M), duration_s)
        if _camera_is_inside(states, lever_arm_m, layout.half_m):
            return states
    raise WorldError(f"the drive of seed {seed} leaves the world within {duration_s:g} s: choose another seed")


def _camera_is_inside(states: States, lever_arm_m: float, half_m: float) -> bool:
    east = states.east_m + lever_arm_m * np.cos(states.yaw_rad)
    north = states.north_m + lever_arm_m * np.sin(states.yaw_rad)
    return bool(max(np.abs(east).max(), np.abs(north).max()) <= half_m)


def _every_road(layout: CityLayout) -> list[int]:
    return list(range(len(layout.roads)))


def _inner_roads(layout: CityLayout) -> list[int]:
    """Indices of the roads inside the layout, without those that end in a dead end or lead only to one."""
    reach_m = layout.half_m - _EDGE_M
    kept = [k for k, road in enumerate(layout.roads) if np.abs(road.points).max() < reach_m]
    while True:
        ends = [end for k in kept for end in (layout.roads[k].start, layout.roads[k].end)]
        degree = np.bincount(np.array(ends, dtype=np.int64), minlength=len(layout.nodes))
        through = [k for k in kept if degree[layout.roads[k].start] > 1 and degree[layout.roads[k].end] > 1]
        if len(through) == len(kept):
            return kept
        kept = through


def _path(layout: CityLayout, roads: Iterable[int], rng: np.random.Generator, length_m: float) -> Float64Array:
    """A smooth line along lanes, (n, 2) points 0.5 m apart.

    Args:
        layout: where.
        roads: indices of those that may be taken.
        rng: decides where to start and how to turn.
        length_m: at least this long, before its corners are rounded.

    Raises:
        WorldError: no road that may be taken starts near the middle.
    """
    edges: dict[int, list[tuple[int, int]]] = {}
    for k in roads:
        road = layout.roads[k]
        edges.setdefault(road.start, []).append((k, road.end))
        edges.setdefault(road.end, []).append((k, road.start))
    inside = np.abs(layout.nodes).max(axis=1) < layout.half_m - _EDGE_M
    central = np.abs(layout.nodes).max(axis=1) < _START_SHARE * layout.half_m
    starts = [node for node in edges if inside[node] and central[node]]
    if not starts:
        raise WorldError("the world has no roads to drive on near its middle")
    node = int(rng.choice(starts))
    heading: Float64Array | None = None
    last = -1
    pieces: list[Float64Array] = []
    total = 0.0
    visits = np.zeros(len(layout.roads))
    while total < length_m:
        options = (
            [(k, other) for k, other in edges[node] if k != last and inside[other]]
            or [(k, other) for k, other in edges[node] if k != last]
            or edges[node]
        )
        ways = [layout.nodes[other] - layout.nodes[node] for _, other in options]
        costs = [_cost(heading, way, visits[k], rng) for (k, _), way in zip(options, ways, strict=True)]
        choice = int(np.argmin(costs))
        last, other = options[choice]
        visits[last] += 1
        piece = _lane(layout.roads[last], backwards=layout.roads[last].start != node)
        pieces.append(piece)
        total += len(piece) * _STEP_M + 2 * _JUNCTION_M
        heading, node = ways[choice], other
    return _smooth(_resample(np.concatenate(pieces), _STEP_M))


def _cost(heading: Float64Array | None, way: Float64Array, visits: float, rng: np.random.Generator) -> float:
    """What speaks against a road: the vehicle prefers turns, avoids hairpins, and likes new streets best."""
    turn_rad = 0.0 if heading is None else abs(_angle(heading, way))
    straight = _STRAIGHT_COST if turn_rad < _STRAIGHT_RAD else 0.0
    hairpin = _HAIRPIN_COST if turn_rad > _HAIRPIN_RAD else 0.0
    return float(_VISIT_COST * visits + straight + hairpin + rng.uniform(0, _CHANCE_COST))


def _lane(road: Road, backwards: bool) -> Float64Array:
    """The middle of the right-hand lane between the junctions, (n, 2) points 0.5 m apart along the road."""
    s = np.arange(_JUNCTION_M, road.length_m - _JUNCTION_M, _STEP_M)
    if backwards:
        s = s[::-1]
    left_m = -road.lane_offset_m() if backwards else road.lane_offset_m()
    return np.array([road.at(float(v), left_m)[0] for v in s])


def _angle(a: Float64Array, b: Float64Array) -> float:
    """The angle from a to b in radians, both (2,)."""
    return float(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))


def _resample(points: Float64Array, step_m: float) -> Float64Array:
    """Points (m, 2) at equal distances along a line through points (n, 2)."""
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    wanted = np.arange(0, arc[-1], step_m)
    return np.stack([np.interp(wanted, arc, points[:, k]) for k in range(2)], axis=1)


def _smooth(points: Float64Array) -> Float64Array:
    """Rounds corners off to what a car can drive."""
    reach = _CORNER_REACH
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * _STEP_M / _CORNER_SIGMA_M) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(points, ((reach, reach), (0, 0)), mode="edge")
    rounded = np.einsum("nck,k->nc", sliding_window_view(padded, len(kernel), axis=0), kernel)
    return _resample(rounded[reach:-reach], _STEP_M)


def _states(path: Float64Array, duration_s: float) -> States:
    """Drives along a path, as fast as its corners allow.

    Raises:
        WorldError: the path ends before the drive.
    """
    tangent = np.gradient(path, axis=0)
    yaw = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    curvature = np.abs(np.gradient(yaw)) / _STEP_M
    speed = np.minimum(_TOP_MPS, np.sqrt(_LATERAL_MPS2 / np.maximum(curvature, _MIN_CURVATURE_PER_M)))
    speed[0] = min(speed[0], _START_MPS)
    for order in (range(1, len(speed)), range(len(speed) - 2, -1, -1)):  # speed up and brake gently
        for i in order:
            before = i - 1 if order.step > 0 else i + 1
            speed[i] = min(speed[i], np.sqrt(speed[before] ** 2 + 2 * _ACCELERATION_MPS2 * _STEP_M))
    t_path = np.concatenate([[0.0], np.cumsum(_STEP_M / (0.5 * (speed[1:] + speed[:-1])))])
    t = np.arange(0, duration_s + 1e-9, 1 / RATE_HZ)
    if t_path[-1] < t[-1]:
        raise WorldError("the drive is longer than its path")
    # positions follow the arc so that speed and position agree
    arc = np.interp(t, t_path, np.arange(len(path)) * _STEP_M)
    index = np.arange(len(path)) * _STEP_M
    east, north, heading = (np.interp(arc, index, a) for a in (path[:, 0], path[:, 1], yaw))
    return States(t, east, north, heading, np.gradient(arc, t), np.gradient(heading, t))
