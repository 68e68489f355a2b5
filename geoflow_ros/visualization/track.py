"""A localized drive on its satellite map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError, TileError
from geoflow_ros.geo import PatchFrame, ground_resolution
from geoflow_ros.localization import VehicleFix
from geoflow_ros.tiles import SatelliteMap
from geoflow_ros.visualization.plots import (
    FIX,
    TRACK,
    dark_legend,
    ellipse_outline,
    muted,
    pyplot,
    save_figure,
    scale_bar,
    shadow,
)

_MARGIN_M = 40.0
_BACKGROUND_PX = 1400
_MOST_ENLARGED = 4.0  # times that a tile's pixels are enlarged at most
_MAX_ELLIPSES = 60


def track_picture(fixes: Sequence[VehicleFix], satellite_map: SatelliteMap, path: Path) -> None:
    """Draws the fixes with their 95 % ellipses and the track on the map, north up.

    Args:
        fixes: of one drive, in their order.
        satellite_map: under the drive; where it has no tiles, the background stays white.
        path: the picture to write.

    Raises:
        InputError: no fix, or the picture cannot be written.
    """
    if not fixes:
        raise InputError("there is no fix to draw: look at the rejections")
    plt = pyplot()
    positions = np.array([fix.position_m for fix in fixes])
    track = np.array([(fix.track.east_m, fix.track.north_m) for fix in fixes])
    figure, axes = plt.subplots(figsize=(9.0, 9.0))
    _draw_background(axes, satellite_map, np.concatenate([positions, track]))
    every = max(1, len(fixes) // _MAX_ELLIPSES)
    for fix in fixes[::every]:
        axes.plot(
            *ellipse_outline(fix.position_m, fix.covariance[:2, :2]).T, color=FIX, lw=1.2, path_effects=shadow(2.4)
        )
    axes.scatter(*positions.T, s=16, color=FIX, edgecolors="black", lw=0.4, zorder=4, label="fixes, 95 % ellipses")
    axes.plot(*track.T, color=TRACK, lw=2.4, path_effects=shadow(4.2), zorder=5, label="track")
    axes.scatter(*track[0], s=90, facecolors="none", edgecolors="white", lw=2.2, zorder=6, label="start")
    axes.set_aspect("equal")
    axes.set_xlabel("east in m")
    axes.set_ylabel("north in m")
    dark_legend(axes, loc="best")
    scale_bar(axes)
    save_figure(figure, path)


def _draw_background(axes: Any, satellite_map: SatelliteMap, points: Float64Array) -> None:
    centre = (points.min(axis=0) + points.max(axis=0)) / 2.0
    side_m = float(np.ptp(points, axis=0).max()) + 2.0 * _MARGIN_M
    source, latitude_deg = satellite_map.source, satellite_map.datum.lat_deg
    finest_m = ground_resolution(latitude_deg, source.max_zoom, source.tile_size) / _MOST_ENLARGED
    size_px = max(1, min(_BACKGROUND_PX, round(side_m / finest_m)))
    frame = PatchFrame(float(centre[0]), float(centre[1]), 0.0, size_px, side_m / size_px)
    half = side_m / 2.0
    extent = (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)
    try:
        axes.imshow(muted(satellite_map.patch(frame).pixels), extent=extent)
    except TileError:  # the drive reaches beyond the map
        axes.set_xlim(*extent[:2])
        axes.set_ylim(*extent[2:])
