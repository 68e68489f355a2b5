"""A recorded drive as pictures: on the map, and its errors over time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array, UInt8Array
from geoflow_ros.geo import chi_square_quantile
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.tracking.trajectory import DriveRecord, Trajectory
from geoflow_ros.visualization.plots import (
    ELLIPSE_LEVEL,
    FIX,
    ODOMETRY,
    POSTER_DPI,
    TRACK,
    TRUTH,
    dark_legend,
    ellipse_outline,
    muted,
    panel,
    pyplot,
    save_figure,
    scale_bar,
    shadow,
)

_CLOSE_UP_M = 44.0
_TURN_WINDOW_S = 5.0
_HEIGHT_IN = 8.8  # of the map; the close-up and the legend stand beside it
_SIDE_IN, _GAP_IN = 5.4, 0.2
_ELLIPSE_SPACING_M = 20.0  # between fixes with an ellipse in the whole picture
_FIX_RIM, _NO_MAP = "#0b2940", "#30363c"
_LEGEND_STYLE = {"fontsize": 15, "borderaxespad": 0.0, "borderpad": 1.0, "labelspacing": 0.9, "mode": "expand"}
_ASPECTS = (0.6, 1.7)  # height by width of the map, at least and at most
_LEAST_DISTANCE_M = 0.05  # where the logarithmic axis begins


@dataclass(frozen=True)
class MapPicture:
    """An orthophoto, north up.

    Attributes:
        pixels: (H, W, 3) RGB uint8.
        region: (east0, north0, east1, north1) of its outer edges in map metres.
    """

    pixels: UInt8Array
    region: tuple[float, float, float, float]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """As matplotlib wants it: left, right, bottom, top."""
        east0, north0, east1, north1 = self.region
        return east0, east1, north0, north1


def trajectory_picture(record: DriveRecord, background: MapPicture, path: Path, title: str = "") -> None:
    """Draws truth, odometry alone, fixes with their 95 % ellipses and the tracked pose over the orthophoto.

    The whole drive is on the left, its sharpest turn from near on the right.

    Args:
        record: the drive.
        background: its map.
        path: the picture to write.
        title: a line above it.
    """
    plt = pyplot()
    east0, north0, east1, north1 = _grown(background.region)
    map_in = _HEIGHT_IN * (east1 - east0) / (north1 - north0)
    figure = plt.figure(figsize=(map_in + _GAP_IN + _SIDE_IN, _HEIGHT_IN))
    left_in, bottom_in = map_in + _GAP_IN, _HEIGHT_IN - _SIDE_IN
    caption = f"the sharpest turn, {_CLOSE_UP_M:.0f} m wide"
    whole = panel(figure, (0.0, 0.0, map_in, _HEIGHT_IN), title)
    near = panel(figure, (left_in, bottom_in, _SIDE_IN, _SIDE_IN), caption)
    words = panel(figure, (left_in, 0.0, _SIDE_IN, bottom_in - _GAP_IN))

    photo = MapPicture(muted(background.pixels), background.region)
    _draw_drive(whole, record, photo, weight=1.0)
    whole.set(xlim=(east0, east1), ylim=(north0, north1))
    centre, half = _sharpest_turn(record.truth), _CLOSE_UP_M / 2
    _draw_drive(near, record, photo, weight=2.0)
    near.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
    frame = plt.Rectangle(centre - half, _CLOSE_UP_M, _CLOSE_UP_M, fill=False, ec="white", ls=":", lw=2.2, zorder=9)
    whole.add_patch(frame)
    _mark_start(whole, record.truth.positions_m[0])
    for axes in (whole, near):
        axes.set_facecolor(_NO_MAP)
        scale_bar(axes)
    dark_legend(words, handles=_legend_handles(plt, record), loc="upper left", **_LEGEND_STYLE)
    save_figure(figure, path, POSTER_DPI)


def _mark_start(axes: Any, start: Float64Array) -> None:
    axes.plot(*start, "o", color=TRUTH, mec="black", mew=1.5, ms=12, zorder=10)
    axes.annotate(
        "start",
        start,
        xytext=(11, 9),
        textcoords="offset points",
        color="white",
        fontsize=14,
        weight="bold",
        path_effects=shadow(3.5),
        zorder=10,
    )


def _grown(region: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The region, widened in one direction where its shape would make no readable picture."""
    east0, north0, east1, north1 = region
    width, height = east1 - east0, north1 - north0
    more_width = max(height / _ASPECTS[1] - width, 0.0) / 2
    more_height = max(width * _ASPECTS[0] - height, 0.0) / 2
    return east0 - more_width, north0 - more_height, east1 + more_width, north1 + more_height


def _draw_drive(axes: Any, record: DriveRecord, photo: MapPicture, weight: float) -> None:
    """Draws the trajectories; lines and markers are `weight` times as large as in the whole picture."""
    from matplotlib.collections import PolyCollection

    fixes, track = _during_the_truth(record)
    axes.imshow(photo.pixels, extent=photo.extent, interpolation="lanczos")
    some = _spaced(fixes, _ELLIPSE_SPACING_M / weight)
    outlines = [ellipse_outline(fixes.positions_m[k], fixes.covariances[k]) for k in some]
    axes.add_collection(PolyCollection(outlines, facecolors=FIX + "38", edgecolors=FIX, lw=1.2 * weight**0.5, zorder=3))
    odometry = record.dead_reckoning().positions_m
    axes.plot(*odometry.T, color=ODOMETRY, lw=2.6 * weight, ls=(0, (4, 1.5)), path_effects=shadow(4 * weight), zorder=4)
    axes.plot(*record.truth.positions_m.T, color=TRUTH, lw=3.6 * weight, path_effects=shadow(5 * weight), zorder=5)
    axes.plot(*track.positions_m.T, color=TRACK, lw=1.5 * weight, zorder=6)
    axes.plot(*fixes.positions_m.T, "o", color=FIX, mec=_FIX_RIM, mew=0.6 * weight, ms=4.4 * weight**0.8, zorder=7)
    axes.set_aspect("equal")


def _spaced(trajectory: Trajectory, spacing_m: float) -> list[int]:
    """Indices of poses that lie at least this far from the one before."""
    chosen: list[int] = []
    for k, position in enumerate(trajectory.positions_m):
        if not chosen or np.linalg.norm(position - trajectory.positions_m[chosen[-1]]) >= spacing_m:
            chosen.append(k)
    return chosen


def _legend_handles(plt: Any, record: DriveRecord) -> list[Any]:
    """The legend's entries, with how far each was from the truth."""
    line = plt.Line2D
    fixes, track = _during_the_truth(record)
    odometry = f"odometry alone\n{_distances(record.dead_reckoning(), record.truth)[-1]:.1f} m off at the end"
    fix = f"fixes, some with their 95 % ellipse\n{_described(fixes, record.truth)}"
    tracked = f"tracked pose\n{_described(track, record.truth)}"
    return [
        line([], [], color=TRUTH, lw=6, label="truth"),
        line([], [], color=ODOMETRY, lw=4, ls=(0, (2.4, 0.9)), label=odometry),
        line([], [], color=FIX, marker="o", mec=_FIX_RIM, ms=10, lw=0, label=fix),
        line([], [], color=TRACK, lw=4, label=tracked),
    ]


def _described(estimate: Trajectory, truth: Trajectory) -> str:
    if len(estimate) == 0:
        return "none"
    distances = _distances(estimate, truth)
    return f"median error {np.median(distances):.1f} m, largest {distances.max():.1f} m"


def _during_the_truth(record: DriveRecord) -> tuple[Trajectory, Trajectory]:
    """Fixes and track of the time of which the truth is known."""
    first, last = int(record.truth.stamps_ns[0]), int(record.truth.stamps_ns[-1])
    return record.fixes.within(first, last), record.track.within(first, last)


def _sharpest_turn(truth: Trajectory) -> Float64Array:
    """(2,) where the heading changes most within a few seconds."""
    seconds = _seconds(truth.stamps_ns, int(truth.stamps_ns[0]))
    yaw = np.unwrap(truth.yaws_rad)
    later = np.interp(seconds + _TURN_WINDOW_S, seconds, yaw)
    turn = int(np.argmax(np.abs(later - yaw)))
    middle = int(np.searchsorted(seconds, seconds[turn] + _TURN_WINDOW_S / 2))
    return np.asarray(truth.positions_m[min(middle, len(truth) - 1)])


def error_picture(record: DriveRecord, path: Path) -> None:
    """Draws the errors of the fixes with their own 95 % bounds, and the distance of all estimates from the truth.

    Args:
        record: the drive.
        path: the picture to write.
    """
    plt = pyplot()
    first = int(record.truth.stamps_ns[0])
    fixes, track = _during_the_truth(record)
    figure, axes = plt.subplots(3, 1, figsize=(11.0, 9.0), sharex=True, height_ratios=(1, 1, 1.3), layout="constrained")
    seconds = _seconds(fixes.stamps_ns, first)
    for row, (name, error, sigma) in zip(axes, _axis_errors(fixes, record.truth), strict=False):
        _draw_axis_error(row, name, seconds, error, sigma)
    series = (("odometry alone", record.dead_reckoning(), ODOMETRY), ("tracked pose", track, TRACK))
    for name, trajectory, colour in series:
        axes[2].plot(
            _seconds(trajectory.stamps_ns, first),
            _distances(trajectory, record.truth),
            color=colour,
            lw=2.2,
            label=name,
        )
    axes[2].plot(seconds, _distances(fixes, record.truth), "o", color=FIX, mec=_FIX_RIM, mew=0.5, ms=5, label="fixes")
    axes[2].set(yscale="log", ylim=(_LEAST_DISTANCE_M, None))
    axes[2].set_xlabel("time, s", fontsize=12)
    axes[2].set_ylabel("distance from truth, m", fontsize=12)
    axes[2].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[2].legend(loc="upper left", ncols=3, fontsize=11)
    for row in axes:
        row.grid(alpha=0.3, which="major")
        row.tick_params(labelsize=11)
        row.spines[["top", "right"]].set_visible(False)
        row.margins(x=0.01)
    axes[0].set_title(
        "Error over time, and the bound that the covariance gives", loc="left", fontsize=14, weight="bold"
    )
    save_figure(figure, path, POSTER_DPI)


def _draw_axis_error(axes: Any, name: str, seconds: Float64Array, error: Float64Array, sigma: Float64Array) -> None:
    """Draws one axis's errors (n,) of the fixes with the 95 % bound of that axis alone, sigma (n,) in metres."""
    bound = chi_square_quantile(ELLIPSE_LEVEL, 1) ** 0.5 * sigma
    axes.fill_between(seconds, -bound, bound, color=FIX, alpha=0.35, lw=0, label="its 95 % bound")
    axes.axhline(0.0, color="grey", lw=0.8)
    axes.plot(seconds, error, color="black", lw=1.0, marker="o", ms=4, label=f"error of the fix, {name}")
    axes.set_ylabel(f"{name}, m", fontsize=12)
    # All of the bound, unless a moment without certainty would flatten everything else.
    limit = 1.25 * max(2.5, float(np.percentile(np.abs(error), 99)), float(np.percentile(bound, 90)))
    axes.set_ylim(-limit, limit)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", ncols=2, fontsize=11)


def _distances(estimate: Trajectory, truth: Trajectory) -> Float64Array:
    """(n,) metres between estimate and truth, not below what a logarithmic axis shows."""
    distance = np.linalg.norm(estimate.positions_m - truth.at(estimate.stamps_ns)[0], axis=1)
    return np.asarray(np.maximum(distance, _LEAST_DISTANCE_M))


def _axis_errors(estimate: Trajectory, truth: Trajectory) -> list[tuple[str, Float64Array, Float64Array]]:
    """(name, error (n,), sigma (n,)) along the true forward and right, metres."""
    positions, yaws = truth.at(estimate.stamps_ns)
    axes = forward_right_axes(yaws)
    difference = estimate.positions_m - positions
    return [
        (
            name,
            np.einsum("ni,ni->n", axis, difference),
            np.sqrt(np.einsum("ni,nij,nj->n", axis, estimate.covariances, axis)),
        )
        for name, axis in (("forward", axes[:, 0]), ("right", axes[:, 1]))
    ]


def _seconds(stamps_ns: Int64Array, first_ns: int) -> Float64Array:
    return np.asarray((stamps_ns - first_ns) * 1e-9)
