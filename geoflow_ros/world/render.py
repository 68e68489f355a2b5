"""Camera views and map patches of baked city windows, in batches, with numpy or torch alike.

A view is made by marching one ray per image column over the height raster with geometric depth steps. The running
maximum of the elevation angle along the ray is ascending, so that one binary search per pixel finds what it sees:
ground, a wall, or sky. Upright furniture is drawn over it as parts that face the viewer, with the right occlusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from geoflow_ros.errors import WorldError
from geoflow_ros.world.arrays import (
    Array,
    arange,
    bilinear,
    cast,
    namespace,
    running_max,
    search,
    smallest,
    take_last,
    where_true,
)
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.kinds import MATERIAL_CAR, MATERIAL_GREEN, Label
from geoflow_ros.world.raster import CELL_M, LEVELS, CityRaster

_NEAR_M, _FAR_M, _STEPS = 1.2, 140.0, 288
_PARTS_IN_VIEW = 56  # nearest upright parts that a view draws
_PARTS_PER_COLUMN = 4  # of these, nearest that one column draws
_WALL_M = 0.25  # a rise between two steps that is a wall and not a kerb
_BISECTIONS = 3


@dataclass(frozen=True)
class Windows:
    """Several baked windows of one size in one set of arrays: what a batch of views reads.

    ``origin`` is (C, 2): west and north; the rest are the fields of :class:`CityRaster` behind one another.
    """

    side: int
    origin: Array
    map_pyramid: Array  # (C, side, 1.5 side, 3) uint8
    street_pyramid: Array
    height_dm: Array  # (C * side²,) uint8
    material: Array
    map_label: Array
    street_label: Array
    parts: Array  # (C, P, 11) float32, padded with parts far away
    walls: Array  # (C, MATERIALS, 14)
    sky: Array  # (C, 2, 3)
    haze_m: Array  # (C,)

    @classmethod
    def stack(cls, rasters: Sequence[CityRaster]) -> Windows:
        """Join windows; all must have the same size.

        Raises:
            WorldError: if the sizes differ.
        """
        sides = {r.side for r in rasters}
        if len(sides) != 1:
            raise WorldError(f"windows of one batch must have one size, got sides of {sorted(sides)} cells")
        most = max(_PARTS_IN_VIEW, *(len(r.parts.table) for r in rasters))
        parts = np.zeros((len(rasters), most, 11), np.float32)
        parts[:, :, :2] = 1e6
        for i, r in enumerate(rasters):
            parts[i, : len(r.parts.table)] = r.parts.table

        def join(name: str) -> Array:
            arrays = [getattr(r, name) for r in rasters]
            flat = [a[None] if name.endswith("pyramid") else a.reshape(-1) for a in arrays]
            return flat[0] if len(flat) == 1 else np.concatenate(flat)

        return cls(
            side=rasters[0].side,
            origin=np.array([[r.west_m, r.north_m] for r in rasters], np.float32),
            map_pyramid=join("map_pyramid"),
            street_pyramid=join("street_pyramid"),
            height_dm=join("height_dm"),
            material=join("material"),
            map_label=join("map_label"),
            street_label=join("street_label"),
            parts=parts,
            walls=np.stack([r.appearance.walls for r in rasters]),
            sky=np.stack([r.appearance.sky for r in rasters]),
            haze_m=np.array([r.appearance.haze_m for r in rasters], np.float32),
        )

    def to_torch(self, device: str) -> Windows:
        """The same windows as torch tensors on ``device``; needs torch to be imported by the caller."""
        import sys

        torch = sys.modules["torch"]
        fields = {k: torch.from_numpy(np.ascontiguousarray(v)).to(device) for k, v in vars(self).items() if k != "side"}
        return replace(self, **fields)


@dataclass(frozen=True)
class View:
    """What cameras see.

    Attributes:
        rgb: (B, H, W, 3) uint8.
        depth_m: (B, H, W) float32 horizontal distance to what the pixel sees; infinite for sky.
        label: (B, H, W) uint8, :class:`geoflow_ros.world.kinds.Label`.
    """

    rgb: Array
    depth_m: Array
    label: Array


def _cell_index(windows: Windows, window: Array, x: Array, y: Array) -> Array:
    """Flat index of the cell at ENU metres relative to the window's upper left corner (x east, y south)."""
    xp = namespace(x)
    last = windows.side - 1
    column = xp.clip(cast(x * (1 / CELL_M), "int64"), 0, last)
    row = xp.clip(cast(y * (1 / CELL_M), "int64"), 0, last)
    return (window * windows.side + row) * windows.side + column


def _sample(pyramid: Array, side: int, window: Array, x: Array, y: Array, level: Array) -> Array:
    """Colours (n, 3) float32 at metres from the upper left corner, in the pyramid level (n,) int64 given."""
    xp = namespace(x)
    size = side >> level
    scale = cast(size, "float32") * (1.0 / (side * CELL_M))
    last = cast(size - 1, "float32")
    column = xp.minimum(xp.clip(x * scale - 0.5, 0.0, 1e9), last) + cast(level > 0, "float32") * side
    # levels 1, 2, 3 ... begin at rows 0, side / 2, 3 side / 4 ...
    row = xp.minimum(xp.clip(y * scale - 0.5, 0.0, 1e9), last) + cast((level > 0) * (side - 2 * size), "float32")
    return bilinear(pyramid, window, column, row)


def render_views(
    windows: Windows, camera: Camera, window: Array, east_m: Array, north_m: Array, yaw_rad: Array
) -> View:
    """Render what ``camera`` sees at each pose.

    Args:
        windows: baked windows (numpy or torch; the result is of the same sort).
        camera: the camera, the same for the whole batch.
        window: (B,) int64 index of the window that each pose lies in.
        east_m, north_m: (B,) ENU position of the camera.
        yaw_rad: (B,) heading of the optical axis, counter-clockwise from east.
    """
    xp = namespace(windows.origin)
    as_like = (lambda a: a) if xp is np else (lambda a: xp.from_numpy(a).to(windows.origin.device))
    azimuth, slope = as_like(camera.azimuth_rad), as_like(np.ascontiguousarray(camera.slope.T))  # (W,), (W, H)
    focal = as_like(camera.focal_px)
    distance = as_like(np.geomspace(_NEAR_M, _FAR_M, _STEPS).astype(np.float32))  # (S,)

    # march: one ray per column over the height raster
    x0, y0 = (
        east_m - windows.origin[window, 0],
        windows.origin[window, 1] - north_m,
    )  # metres from the upper left corner
    bearing = yaw_rad[:, None] - azimuth  # (B, W)
    ray_x, ray_y = xp.cos(bearing), -xp.sin(bearing)
    x, y = x0[:, None, None] + ray_x[..., None] * distance, y0[:, None, None] + ray_y[..., None] * distance
    profile = cast(windows.height_dm[_cell_index(windows, window[:, None, None], x, y)], "float32") * 0.1  # (B, W, S)
    elevation = (profile - camera.height_m) / distance
    hit = search(running_max(elevation), slope[None] + 0 * elevation[..., :1])  # (B, W, H)

    # sky first; then everything that is hit, as one list of pixels
    upward = xp.clip(slope[None, ..., None] * 1.8, 0.0, 1.0)
    sky = windows.sky[window]
    colour = sky[:, None, None, 0] * (1 - upward) + sky[:, None, None, 1] * upward  # (B, W, H, 3)
    depth = 0 * colour[..., 0] + float("inf")
    label = cast(0 * hit + int(Label.SKY), "uint8")
    seen = where_true(hit < _STEPS)
    of, column, pixel = seen
    step = xp.clip(hit[seen], 1, _STEPS - 1)
    tangent = slope[column, pixel]
    near, far = distance[step - 1], distance[step]
    h_near, h_far = profile[of, column, step - 1], profile[of, column, step]
    reach = xp.minimum(
        xp.maximum((camera.height_m - h_far) / xp.clip(-tangent, 1e-4, 1e4), near), far
    )  # exact on level ground
    wall = where_true(h_far - h_near > _WALL_M)[0]
    reach[wall] = _wall_distance(
        windows, window, x0, y0, ray_x, ray_y, of[wall], column[wall], near[wall], far[wall], h_near[wall], h_far[wall]
    )

    which, dx, dy = window[of], ray_x[of, column], ray_y[of, column]
    x, y = x0[of] + dx * reach, y0[of] + dy * reach
    # a pixel's extent on the ground is long and narrow: two samples along it keep markings sharp across
    across = reach / focal[column]
    extent = reach * across / camera.height_m
    level = cast(xp.log2(xp.clip(xp.maximum(extent * 0.5, across) * (1 / CELL_M), 1.0, 1e4)) + 0.3, "int64")
    level = xp.clip(level, 0, LEVELS - 1)
    ex, ey = dx * extent * 0.25, dy * extent * 0.25
    surface = 0.5 * (
        _sample(windows.street_pyramid, windows.side, which, x + ex, y + ey, level)
        + _sample(windows.street_pyramid, windows.side, which, x - ex, y - ey, level)
    )
    index = _cell_index(windows, which, x, y)
    material = cast(windows.material[index[wall]], "int64")
    walled = wall[material > 0]
    z = camera.height_m + tangent[walled] * reach[walled]
    surface[walled] = _facade(
        windows.walls[which[walled], material[material > 0]], material[material > 0], x[walled], y[walled], z
    )
    fade = xp.exp(-reach / windows.haze_m[which])[:, None]
    colour[seen] = surface * fade + sky[of, 0] * (1 - fade)
    depth[seen] = reach
    label[seen] = windows.street_label[index]

    _draw_parts(windows, camera, window, x0, y0, yaw_rad, azimuth, slope, colour, depth, label)
    rgb = cast(xp.clip(colour, 0, 255), "uint8")
    if xp is np:
        return View(*(np.ascontiguousarray(a.swapaxes(1, 2)) for a in (rgb, depth, label)))
    return View(*(a.transpose(1, 2).contiguous() for a in (rgb, depth, label)))


def _wall_distance(
    windows: Windows,
    window: Array,
    x0: Array,
    y0: Array,
    ray_x: Array,
    ray_y: Array,
    of: Array,
    column: Array,
    near: Array,
    far: Array,
    h_near: Array,
    h_far: Array,
) -> Array:
    """Distance to a rise between two steps of the march, by bisection: (n,) metres, just beyond the edge."""
    xp = namespace(near)
    threshold = (h_near + h_far) * 0.5
    x, y, dx, dy, which = x0[of], y0[of], ray_x[of, column], ray_y[of, column], window[of]
    for _ in range(_BISECTIONS):
        middle = (near + far) * 0.5
        index = _cell_index(windows, which, x + dx * middle, y + dy * middle)
        beyond = cast(windows.height_dm[index], "float32") * 0.1 > threshold
        near, far = xp.where(beyond, near, middle), xp.where(beyond, middle, far)
    return far


def _facade(row: Array, material: Array, x: Array, y: Array, z: Array) -> Array:
    """Colours (n, 3) of walls: periodic openings, a ground floor, a little variety from bay to bay.

    ``row`` (n, 14) are the walls' looks; x east, y south of the window's corner, z up, metres.
    """
    xp = namespace(x)
    c, s = xp.cos(row[:, 13]), xp.sin(row[:, 13])
    along = (x * c - y * s) - (x * s + y * c)  # runs along either pair of a house's walls
    bay, floor = along / xp.clip(row[:, 9], 0.5, 99.0), z / xp.clip(row[:, 10], 0.5, 99.0)
    in_bay, in_floor = bay - xp.floor(bay), floor - xp.floor(floor)
    variety = xp.sin(xp.floor(bay) * 12.9 + xp.floor(floor) * 78.2 + cast(material, "float32") * 3.7)
    is_car = (material >= MATERIAL_CAR) & (material < MATERIAL_GREEN)
    window = (in_bay < row[:, 11]) & (xp.abs(in_floor - 0.58) < 0.5 * row[:, 12]) & ((z > 2.9) | (variety > -0.3))
    window = xp.where(is_car, (z > 0.85) & (z < 1.38), window)
    base = (z < 0.3) | (~is_car & ((z < 0.6) | ((z < 2.9) & (variety > 0.4))))
    colour = xp.where(window[:, None], row[:, 3:6], xp.where(base[:, None], row[:, 6:9], row[:, 0:3]))
    return colour * (1.0 + 0.1 * variety * cast(~is_car, "float32"))[:, None]


def _draw_parts(
    windows: Windows,
    camera: Camera,
    window: Array,
    x0: Array,
    y0: Array,
    yaw_rad: Array,
    azimuth: Array,
    slope: Array,
    colour: Array,
    depth: Array,
    label: Array,
) -> None:
    """Draw upright parts over surfaces (B, W, H), in place; what is nearer hides what is farther."""
    xp = namespace(depth)
    parts = windows.parts[window]  # (B, P, 11)
    dx = parts[..., 0] - windows.origin[window, 0][:, None] - x0[:, None]
    dy = windows.origin[window, 1][:, None] - parts[..., 1] - y0[:, None]
    c, s = xp.cos(yaw_rad)[:, None], xp.sin(yaw_rad)[:, None]
    forward, right = dx * c - dy * s, dx * s + dy * c
    distance = xp.sqrt(forward**2 + right**2)
    # a part counts if it meets the image's columns, is beyond arm's length and within sight
    bearing = xp.arctan2(right, forward)
    widest = xp.abs(azimuth[0]) + parts[..., 4] / xp.clip(distance, 0.3, 1e9)
    seen = (xp.abs(bearing) < widest) & (distance > xp.clip(parts[..., 4], 0.8, 9.0)) & (distance < 90.0)
    nearest = smallest(xp.where(seen, distance, 0 * distance + 1e9), _PARTS_IN_VIEW)  # (B, K)
    distance, bearing = take_last(distance, nearest), take_last(bearing, nearest)
    seen, half = take_last(cast(seen, "uint8"), nearest) > 0, take_last(parts[..., 4], nearest)
    turn = azimuth[None, :, None] - bearing[:, None, :]  # (B, W, K)
    lateral = xp.sin(turn) * distance[:, None]
    covers = (xp.abs(lateral) < half[:, None]) & (xp.cos(turn) > 0) & seen[:, None]
    front = smallest(
        xp.where(covers, distance[:, None] + 0 * lateral, 0 * lateral + 1e9), _PARTS_PER_COLUMN
    )  # (B, W, M)
    covers = take_last(cast(covers, "uint8"), front) > 0
    for m in range(_PARTS_PER_COLUMN - 1, -1, -1):
        of, column = where_true(covers[..., m])  # the columns that have an m-th part
        k = front[of, column, m]
        row = parts[of, nearest[of, k]]  # (n, 11)
        d, off = distance[of, k][:, None], lateral[of, column, k][:, None]
        bottom, top, half, ellipse, rough = (row[:, i, None] for i in (2, 3, 4, 5, 9))
        z = camera.height_m + slope[column] * d  # (n, H)
        u, v = off / half, (2 * z - bottom - top) / (top - bottom)
        ragged = xp.sin(off * 5.3 + z * 3.1 + half * 40) * xp.sin(z * 4.7 - off * 2.1 + half * 17)
        ragged = rough * 0.6 * (ragged + xp.sin(off * 9.1 - z * 7.3 + half * 31) * xp.sin(z * 11.9 + off * 3.7))
        inside = (xp.abs(v) < 1) & ((ellipse < 0.5) | (u * u + v * v + 0.3 * ragged < 1)) & (d < depth[of, column])
        item, pixel = where_true(inside)
        at = (of[item], column[item], pixel)
        light = (1 + 0.28 * ragged + 0.2 * rough * v)[item, pixel]
        fade = xp.exp(-d / windows.haze_m[window][of][:, None])[item]
        colour[at] = row[item, 6:9] * light[:, None] * fade + windows.sky[window][of[item], 0] * (1 - fade)
        depth[at] = d[item, 0]
        label[at] = cast(row[item, 10], "uint8")


def render_patches(
    windows: Windows,
    size_px: int,
    ground_resolution_m: float,
    window: Array,
    east_m: Array,
    north_m: Array,
    yaw_rad: Array,
) -> tuple[Array, Array]:
    """Satellite patches, forward along image +x (DESIGN: patch frame).

    Returns:
        rgb (B, P, P, 3) uint8 and label (B, P, P) uint8.
    """
    xp = namespace(windows.origin)
    step = (cast(arange(size_px, windows.origin), "float32") - (size_px - 1) / 2) * ground_resolution_m
    c, s = xp.cos(yaw_rad)[:, None, None], xp.sin(yaw_rad)[:, None, None]
    forward, right = step[None, None, :], step[None, :, None]
    x = (east_m - windows.origin[window, 0])[:, None, None] + forward * c + right * s
    y = (windows.origin[window, 1] - north_m)[:, None, None] - forward * s + right * c
    of_pixel = window[:, None, None]
    level = int(np.log2(max(1.0, ground_resolution_m / CELL_M)))  # the finer neighbour: detail before smoothness
    levels = cast(0 * x, "int64") + min(level, LEVELS - 1)
    which = (of_pixel + 0 * levels).reshape(-1)
    rgb = _sample(windows.map_pyramid, windows.side, which, x.reshape(-1), y.reshape(-1), levels.reshape(-1)).reshape(
        *x.shape, 3
    )
    label = windows.map_label[_cell_index(windows, of_pixel, x, y)]
    return cast(xp.clip(rgb + 0.5, 0, 255), "uint8"), label
