"""Camera views and map patches of baked city windows, in batches, with numpy or torch alike.

A view is made by marching one ray per image column over the height raster with geometric depth steps. The running
maximum of the elevation angle along the ray is ascending, so that one binary search per pixel finds what it sees:
ground, a wall, or sky. Upright furniture is drawn over it as parts that face the viewer, with the right occlusion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoflow_ros.world.arrays import Array, arange, cast, from_numpy, namespace, running_max, search, where_true
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.cells import CELL_M, LEVELS
from geoflow_ros.world.facades import facade_colours
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.upright import draw_parts
from geoflow_ros.world.viewpoints import Picture, Viewpoints
from geoflow_ros.world.windows import Windows

# The march: 288 steps from the bonnet to what haze hides, each 1.7 % farther than the last.
_NEAR_M, _FAR_M, _STEPS = 1.2, 140.0, 288
_WALL_M = 0.25  # a rise between two steps that is a wall and not a kerb
_BISECTIONS = 3  # of a step that meets a wall: to an eighth of it
_SLOPES = (1e-4, 1e4)  # least and largest slope below the horizon that a distance is computed from

_SKY_SLOPE = 1.8  # the sky has its colour overhead from a slope of 1 / 1.8 (29 degrees) on
_TAPS = 2  # samples along a pixel's extent on the ground, which is long and narrow: they keep markings sharp across
_LEVEL_BIAS = 0.3  # pyramid levels: how much smoother than the pixel's size asks for


@dataclass(frozen=True)
class View:
    """What cameras see.

    Attributes:
        rgb: (B, H, W, 3) uint8.
        depth_m: (B, H, W) float32 horizontal distance to what the pixel sees; infinite for sky.
        label: (B, H, W) uint8, `geoflow_ros.world.kinds.Label`.
    """

    rgb: Array
    depth_m: Array
    label: Array


@dataclass(frozen=True)
class _March:
    """One ray per image column over the height raster.

    Attributes:
        dx: (B, W) the rays' direction, east.
        dy: (B, W) the same, south.
        distance: (S,) metres of each step.
        height_m: (B, W, S) of the surface there.
        hit: (B, W, H) the first step that covers the pixel, S for sky.
    """

    dx: Array
    dy: Array
    distance: Array
    height_m: Array
    hit: Array


@dataclass(frozen=True)
class _Pixels:
    """The n pixels that see a surface.

    Attributes:
        seen: index of each into (B, W, H).
        reach: (n,) metres to what it sees.
        wall: (k,) which of them see a wall, index into n.
    """

    seen: tuple[Array, Array, Array]
    reach: Array
    wall: Array


def render_views(
    windows: Windows, camera: Camera, window: Array, east_m: Array, north_m: Array, yaw_rad: Array
) -> View:
    """Renders what `camera` sees at each pose.

    Args:
        windows: baked windows (numpy or torch; the result is of the same sort).
        camera: the camera, the same for the whole batch.
        window: (B,) int64 index of the window that each pose lies in.
        east_m: (B,) ENU position of the camera.
        north_m: (B,) likewise.
        yaw_rad: (B,) heading of the optical axis, counter-clockwise from east.
    """
    xp = namespace(windows.origin)
    views = Viewpoints.place(windows, camera, window, east_m, north_m, yaw_rad)
    march = _march(views)
    picture = _draw_sky(views, march)
    pixels = _surface_pixels(views, march)
    _draw_surfaces(views, march, pixels, picture)
    draw_parts(views, picture)
    columns_first = (cast(xp.clip(picture.colour, 0, 255), "uint8"), picture.depth_m, picture.label)
    if xp is np:
        return View(*(np.ascontiguousarray(a.swapaxes(1, 2)) for a in columns_first))
    return View(*(a.transpose(1, 2).contiguous() for a in columns_first))


def _march(views: Viewpoints) -> _March:
    """Marches one ray per column, and finds by binary search the step that each pixel sees."""
    xp = namespace(views.x)
    distance = from_numpy(np.geomspace(_NEAR_M, _FAR_M, _STEPS).astype(np.float32), views.windows.origin)
    bearing = views.yaw_rad[:, None] - views.azimuth
    dx, dy = xp.cos(bearing), -xp.sin(bearing)
    x = views.x[:, None, None] + dx[..., None] * distance
    y = views.y[:, None, None] + dy[..., None] * distance
    profile = views.windows.height_m(views.window[:, None, None], x, y)
    elevation = (profile - views.height_m) / distance
    hit = search(running_max(elevation), views.slope[None] + 0 * elevation[..., :1])
    return _March(dx, dy, distance, profile, hit)


def _draw_sky(views: Viewpoints, march: _March) -> Picture:
    """Begins a picture with the sky everywhere."""
    xp = namespace(views.x)
    upward = xp.clip(views.slope[None, ..., None] * _SKY_SLOPE, 0.0, 1.0)
    sky = views.windows.sky[views.window]
    colour = sky[:, None, None, 0] * (1 - upward) + sky[:, None, None, 1] * upward
    return Picture(colour, 0 * colour[..., 0] + float("inf"), cast(0 * march.hit + int(Label.SKY), "uint8"))


def _surface_pixels(views: Viewpoints, march: _March) -> _Pixels:
    """Lists the pixels that see a surface, with the distance: exact on level ground, by bisection at walls."""
    xp = namespace(views.x)
    seen = where_true(march.hit < _STEPS)
    of, column, pixel = seen
    step = xp.clip(march.hit[seen], 1, _STEPS - 1)
    near, far = march.distance[step - 1], march.distance[step]
    h_near, h_far = march.height_m[of, column, step - 1], march.height_m[of, column, step]
    slope = views.slope[column, pixel]
    reach = xp.minimum(xp.maximum((views.height_m - h_far) / xp.clip(-slope, *_SLOPES), near), far)
    wall = where_true(h_far - h_near > _WALL_M)[0]
    middle_height = (h_near[wall] + h_far[wall]) * 0.5
    reach[wall] = _wall_distance(views, march, of[wall], column[wall], near[wall], far[wall], middle_height)
    return _Pixels((of, column, pixel), reach, wall)


def _wall_distance(
    views: Viewpoints, march: _March, of: Array, column: Array, near: Array, far: Array, height_m: Array
) -> Array:
    """Bisects the steps (n,) in which the surface rises above `height_m`.

    Args:
        views: the cameras.
        march: their rays.
        of: (n,) camera of each step.
        column: (n,) image column.
        near: (n,) metres, where the surface is lower.
        far: (n,) metres, where it is higher.
        height_m: (n,) between the two.

    Returns:
        (n,) metres, just beyond the edge.
    """
    xp = namespace(near)
    x, y, window = views.x[of], views.y[of], views.window[of]
    dx, dy = march.dx[of, column], march.dy[of, column]
    for _ in range(_BISECTIONS):
        middle = (near + far) * 0.5
        beyond = views.windows.height_m(window, x + dx * middle, y + dy * middle) > height_m
        near, far = xp.where(beyond, near, middle), xp.where(beyond, middle, far)
    return far


def _draw_surfaces(views: Viewpoints, march: _March, pixels: _Pixels, picture: Picture) -> None:
    """Draws ground and walls, in place."""
    xp = namespace(views.x)
    windows, reach = views.windows, pixels.reach
    of, column, pixel = pixels.seen
    window, dx, dy = views.window[of], march.dx[of, column], march.dy[of, column]
    x, y = views.x[of] + dx * reach, views.y[of] + dy * reach
    colour = _ground_colours(views, pixels, window, x, y, dx, dy)
    index = windows.cell_index(window, x, y)
    material = cast(windows.material[index[pixels.wall]], "int64")
    walled, material = pixels.wall[material > 0], material[material > 0]
    z = views.height_m + views.slope[column, pixel][walled] * reach[walled]
    colour[walled] = facade_colours(windows.walls[window[walled], material], material, x[walled], y[walled], z)
    fade = xp.exp(-reach / windows.haze_m[window])[:, None]
    picture.colour[pixels.seen] = colour * fade + windows.sky[views.window][of, 0] * (1 - fade)
    picture.depth_m[pixels.seen] = reach
    picture.label[pixels.seen] = windows.street_label[index]


def _ground_colours(
    views: Viewpoints, pixels: _Pixels, window: Array, x: Array, y: Array, dx: Array, dy: Array
) -> Array:
    """Returns the (n, 3) colours of the street's surface at (x, y), averaged along each pixel's extent."""
    xp = namespace(x)
    across = pixels.reach / views.focal[pixels.seen[1]]
    extent = pixels.reach * across / views.height_m
    cells = xp.clip(xp.maximum(extent * (1 / _TAPS), across) * (1 / CELL_M), 1.0, 1e4)
    level = xp.clip(cast(xp.log2(cells) + _LEVEL_BIAS, "int64"), 0, LEVELS - 1)
    half = 0.5 / _TAPS
    ex, ey = dx * extent * half, dy * extent * half
    street = views.windows.street_pyramid
    return 0.5 * (
        views.windows.colours(street, window, x + ex, y + ey, level)
        + views.windows.colours(street, window, x - ex, y - ey, level)
    )


def render_patches(
    windows: Windows,
    size_px: int,
    ground_resolution_m: float,
    window: Array,
    east_m: Array,
    north_m: Array,
    yaw_rad: Array,
) -> tuple[Array, Array]:
    """Renders satellite patches, forward along image +x.

    Args:
        windows: baked windows (numpy or torch; the result is of the same sort).
        size_px: side P of a patch.
        ground_resolution_m: metres per pixel.
        window: (B,) int64 index of the window that each patch lies in.
        east_m: (B,) ENU position of the patches' centres.
        north_m: (B,) likewise.
        yaw_rad: (B,) direction of forward, counter-clockwise from east.

    Returns:
        rgb (B, P, P, 3) uint8 and label (B, P, P) uint8.
    """
    xp = namespace(windows.origin)
    x, y = _patch_points(windows, size_px, ground_resolution_m, window, east_m, north_m, yaw_rad)
    of_pixel = window[:, None, None]
    level = int(np.log2(max(1.0, ground_resolution_m / CELL_M)))  # the finer neighbour: detail before smoothness
    levels = cast(0 * x, "int64") + min(level, LEVELS - 1)
    which = (of_pixel + 0 * levels).reshape(-1)
    flat = windows.colours(windows.map_pyramid, which, x.reshape(-1), y.reshape(-1), levels.reshape(-1))
    label = windows.map_label[windows.cell_index(of_pixel, x, y)]
    return cast(xp.clip(flat.reshape(*x.shape, 3) + 0.5, 0, 255), "uint8"), label


def patch_heights(
    windows: Windows,
    size_px: int,
    ground_resolution_m: float,
    window: Array,
    east_m: Array,
    north_m: Array,
    yaw_rad: Array,
) -> Array:
    """Returns the heights above the ground of what stands where the pixels of patches are, (B, P, P) float32 metres.

    The arguments are those of `render_patches`. Trees and other upright parts are not in it.
    """
    x, y = _patch_points(windows, size_px, ground_resolution_m, window, east_m, north_m, yaw_rad)
    return windows.height_m(window[:, None, None], x, y)


def _patch_points(
    windows: Windows,
    size_px: int,
    ground_resolution_m: float,
    window: Array,
    east_m: Array,
    north_m: Array,
    yaw_rad: Array,
) -> tuple[Array, Array]:
    """Returns where the pixels of patches are, (B, P, P) metres east and south of their windows' upper left corners."""
    xp = namespace(windows.origin)
    step = (cast(arange(size_px, windows.origin), "float32") - (size_px - 1) / 2) * ground_resolution_m
    c, s = xp.cos(yaw_rad)[:, None, None], xp.sin(yaw_rad)[:, None, None]
    forward, right = step[None, None, :], step[None, :, None]
    x = (east_m - windows.origin[window, 0])[:, None, None] + forward * c + right * s
    y = (windows.origin[window, 1] - north_m)[:, None, None] - forward * s + right * c
    return x, y
