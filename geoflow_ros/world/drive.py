"""A drive through a city: true poses, camera frames, and what wheels and compass make of it.

Poses are of base_link, ENU metres and radians counter-clockwise from east (REP-103); the camera looks straight ahead
from ``lever_arm_m`` in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import WorldError
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.layout import CityLayout
from geoflow_ros.world.world import World

RATE_HZ = 50.0  # of states, odometry and headings
_LOOK_M = 8.0  # the first and last metres of a road belong to the junction
_LATERAL_MPS2, _ACCELERATION_MPS2, _TOP_MPS = 2.0, 1.2, 10.5


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
        """(east, north, yaw) at any time of the drive, interpolated."""
        east, north, yaw = (float(np.interp(t_s, self.t_s, a)) for a in (self.east_m, self.north_m, self.yaw_rad))
        return east, north, yaw


@dataclass(frozen=True)
class Odometry:
    """Dead reckoning at times ``t_s``, all (n,), in its own frame that starts at (0, 0, 0)."""

    t_s: Float64Array
    x_m: Float64Array
    y_m: Float64Array
    yaw_rad: Float64Array
    speed_mps: Float64Array
    yaw_rate_rps: Float64Array


class Drive:
    """A vehicle that follows the lanes of a world and turns at junctions.

    Args:
        world: where.
        seed: another seed takes another way, with other sensor errors.
        duration_s: length of the drive.
        camera: what :meth:`frame` sees with.
        lever_arm_m: the camera's distance in front of base_link.

    Raises:
        WorldError: if the duration is not positive.
    """

    def __init__(
        self, world: World, seed: int, duration_s: float, camera: Camera | None = None, lever_arm_m: float = 1.2
    ) -> None:
        if not duration_s > 0:
            raise WorldError(f"a drive needs a positive duration, got {duration_s} s")
        self.world, self.seed, self.duration_s, self.lever_arm_m = world, seed, duration_s, lever_arm_m
        self.camera = camera if camera is not None else Camera.perspective()
        rng = np.random.default_rng([seed, 71])
        path = _path(world.layout, rng, duration_s * _TOP_MPS + 30.0)
        self.states = _states(path, duration_s)

    def state_at(self, t_s: float) -> tuple[float, float, float]:
        """True (east, north, yaw) of base_link."""
        return self.states.at(t_s)

    def camera_at(self, t_s: float) -> tuple[float, float, float]:
        """True (east, north, yaw) of the camera."""
        east, north, yaw = self.states.at(t_s)
        return east + self.lever_arm_m * np.cos(yaw), north + self.lever_arm_m * np.sin(yaw), yaw

    def frame(self, t_s: float) -> UInt8Array:
        """(H, W, 3) uint8 RGB at time ``t_s``."""
        return self.world.view(self.camera, *self.camera_at(t_s)).rgb[0]

    def odometry(self) -> Odometry:
        """Wheel odometry with scale error, gyro bias and noise: drifts by some per cent of the way."""
        s = self.states
        rng = np.random.default_rng([self.seed, 72])
        n, dt = len(s.t_s), 1 / RATE_HZ
        scale = 1 + rng.choice([-1, 1]) * rng.uniform(0.03, 0.05)
        bias = rng.choice([-1, 1]) * np.radians(rng.uniform(0.15, 0.3)) + np.cumsum(
            rng.normal(0, np.radians(0.01) * np.sqrt(dt), n)
        )
        speed = s.speed_mps * scale + rng.normal(0, 0.03, n) * (s.speed_mps > 0.1)
        yaw_rate = s.yaw_rate_rps + bias + rng.normal(0, np.radians(0.1), n)
        yaw = np.concatenate([[0.0], np.cumsum(yaw_rate[:-1] * dt)])
        x = np.concatenate([[0.0], np.cumsum(speed[:-1] * np.cos(yaw[:-1] + yaw_rate[:-1] * dt / 2) * dt)])
        y = np.concatenate([[0.0], np.cumsum(speed[:-1] * np.sin(yaw[:-1] + yaw_rate[:-1] * dt / 2) * dt)])
        return Odometry(s.t_s, x, y, yaw, speed, yaw_rate)

    def headings(self) -> Float64Array:
        """(n,) absolute yaw at the states' times: constant bias, slow wander and white noise, together about 1.6°."""
        rng = np.random.default_rng([self.seed, 73])
        n, dt, memory_s = len(self.states.t_s), 1 / RATE_HZ, 20.0
        wander = np.zeros(n)
        kick = rng.normal(0, np.radians(0.8) * np.sqrt(2 * dt / memory_s), n)
        for i in range(1, n):
            wander[i] = wander[i - 1] * (1 - dt / memory_s) + kick[i]
        return self.states.yaw_rad + np.radians(rng.normal(0, 1.0)) + wander + np.radians(rng.normal(0, 1.0, n))


def _path(layout: CityLayout, rng: np.random.Generator, length_m: float) -> Float64Array:
    """(n, 2) a smooth line along lanes, points 0.5 m apart."""
    edges: dict[int, list[tuple[int, int]]] = {}
    for i, road in enumerate(layout.roads):
        edges.setdefault(road.start, []).append((i, road.end))
        edges.setdefault(road.end, []).append((i, road.start))
    inside = np.abs(layout.nodes).max(axis=1) < layout.half_m - 20
    starts = [k for k in edges if inside[k] and np.abs(layout.nodes[k]).max() < 0.6 * layout.half_m]
    node = int(rng.choice(starts))
    heading: Float64Array | None = None
    last = -1
    pieces: list[Float64Array] = []
    total = 0.0
    visits = np.zeros(len(layout.roads))
    while total < length_m:
        options = (
            [(i, other) for i, other in edges[node] if i != last and inside[other]]
            or [(i, o) for i, o in edges[node] if i != last]
            or edges[node]
        )
        costs = []
        for i, other in options:
            way = layout.nodes[other] - layout.nodes[node]
            turn = 0.0 if heading is None else abs(_angle(heading, way))
            # prefer turns to going straight, never a hairpin, and new streets to old ones
            costs.append(
                2.0 * visits[i] + (0.5 if turn < 0.5 else 0.0) + (9.0 if turn > 2.2 else 0.0) + rng.uniform(0, 0.8)
            )
        last, other = options[int(np.argmin(costs))]
        road = layout.roads[last]
        visits[last] += 1
        backwards = road.start != node
        s = np.arange(_LOOK_M, road.length_m - _LOOK_M, 0.5)
        if backwards:
            s = s[::-1]
        left = -road.lane_offset_m() if backwards else road.lane_offset_m()
        piece = np.array([road.at(float(v), left)[0] for v in s])
        pieces.append(piece)
        total += len(piece) / 2 + 2 * _LOOK_M
        heading = layout.nodes[other] - layout.nodes[node]
        node = other
    return _smooth(_resample(np.concatenate(pieces), 0.5))


def _angle(a: Float64Array, b: Float64Array) -> float:
    return float(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))


def _resample(points: Float64Array, step_m: float) -> Float64Array:
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    wanted = np.arange(0, arc[-1], step_m)
    return np.stack([np.interp(wanted, arc, points[:, k]) for k in range(2)], axis=1)


def _smooth(points: Float64Array) -> Float64Array:
    """Round corners off to what a car can drive: a normal kernel of 3 m."""
    reach = 18
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * 0.5 / 3.0) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(points, ((reach, reach), (0, 0)), mode="edge")
    rounded = np.einsum("nck,k->nc", sliding_window_view(padded, len(kernel), axis=0), kernel)
    return _resample(rounded[reach:-reach], 0.5)


def _states(path: Float64Array, duration_s: float) -> States:
    step = 0.5
    tangent = np.gradient(path, axis=0)
    yaw = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    curvature = np.abs(np.gradient(yaw)) / step
    speed = np.minimum(_TOP_MPS, np.sqrt(_LATERAL_MPS2 / np.maximum(curvature, 1e-3)))
    speed[0] = min(speed[0], 4.0)
    for order in (range(1, len(speed)), range(len(speed) - 2, -1, -1)):  # speed up and brake gently
        for i in order:
            before = i - 1 if order.step > 0 else i + 1
            speed[i] = min(speed[i], np.sqrt(speed[before] ** 2 + 2 * _ACCELERATION_MPS2 * step))
    t_path = np.concatenate([[0.0], np.cumsum(step / (0.5 * (speed[1:] + speed[:-1])))])
    t = np.arange(0, duration_s + 1e-9, 1 / RATE_HZ)
    if t_path[-1] < t[-1]:
        raise WorldError("the drive is longer than its path")
    # positions follow the arc so that speed and position agree
    arc = np.interp(t, t_path, np.arange(len(path)) * step)
    index = np.arange(len(path)) * step
    east, north, heading = (np.interp(arc, index, a) for a in (path[:, 0], path[:, 1], yaw))
    return States(t, east, north, heading, np.gradient(arc, t), np.gradient(heading, t))
