"""Pictures of a drive, of one fix and of a training run (matplotlib, no display needed)."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, Int64Array, UInt8Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo import chi_square_quantile
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.tracking.trajectory import DriveRecord, Trajectory
from geoflow_ros.visualization.plots import pyplot, save_figure

# Told apart also by readers who do not see red against green (Okabe and Ito 2008).
TRUTH, ODOMETRY, FIX, TRACK = "#ffffff", "#e69f00", "#56b4e9", "#d55e00"
_CLOSE_UP_M = 60.0
ELLIPSE_LEVEL = 0.95


@dataclass(frozen=True)
class MapPicture:
    """An orthophoto, north up. `region` is (east0, north0, east1, north1) in map metres."""

    pixels: UInt8Array
    region: tuple[float, float, float, float]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """As matplotlib wants it: left, right, bottom, top."""
        east0, north0, east1, north1 = self.region
        return east0, east1, north0, north1


def trajectory_picture(record: DriveRecord, background: MapPicture, path: Path, title: str = "") -> None:
    """Truth, odometry alone, fixes with their 95 % ellipses and the tracked pose over the orthophoto, as PNG.

    The whole drive on the left, its sharpest turn from near on the right.
    """
    plt = pyplot()
    east0, north0, east1, north1 = background.region
    aspect = min(max((north1 - north0) / (east1 - east0), 0.5), 2.0)
    figure, (whole, near) = plt.subplots(1, 2, figsize=(8.0 / aspect + 8.6, 8.4), width_ratios=(1.0 / aspect, 1.0))
    _draw_drive(whole, record, background, ellipses_every=max(1, len(record.fixes) // 60))
    whole.set(xlim=(east0, east1), ylim=(north0, north1))
    centre = _sharpest_turn(record.truth)
    _draw_drive(near, record, background, ellipses_every=3)
    near.set(
        xlim=(centre[0] - _CLOSE_UP_M / 2, centre[0] + _CLOSE_UP_M / 2),
        ylim=(centre[1] - _CLOSE_UP_M / 2, centre[1] + _CLOSE_UP_M / 2),
        title=f"the sharpest turn, {_CLOSE_UP_M:.0f} m wide",
    )
    frame = plt.Rectangle(centre - _CLOSE_UP_M / 2, _CLOSE_UP_M, _CLOSE_UP_M, fill=False)
    frame.set(edgecolor="white", linestyle=":", linewidth=1.2)
    whole.add_patch(frame)
    whole.set_title(title)
    start = record.truth.positions_m[0]
    whole.plot(*start, "o", color=TRUTH, mec="black", ms=9, zorder=8)
    whole.annotate("start", start, xytext=(8, 8), textcoords="offset points", color=TRUTH, zorder=8)
    _dark_legend(whole, loc="best")
    save_figure(figure, path)


def _draw_drive(axes: Any, record: DriveRecord, background: MapPicture, ellipses_every: int) -> None:
    first, last = int(record.truth.stamps_ns[0]), int(record.truth.stamps_ns[-1])
    fixes, track = record.fixes.within(first, last), record.track.within(first, last)
    axes.imshow(background.pixels, extent=background.extent, interpolation="antialiased")
    axes.add_collection(_ellipses(fixes, ellipses_every))
    axes.plot(*record.dead_reckoning().positions_m.T, color=ODOMETRY, lw=2.2, ls="--", label="odometry alone", zorder=4)
    axes.plot(*record.truth.positions_m.T, color=TRUTH, lw=3.6, label="truth", zorder=5)
    axes.plot(*track.positions_m.T, color=TRACK, lw=1.6, label="tracked pose", zorder=6)
    axes.plot(*fixes.positions_m.T, ".", color=FIX, ms=4, label="fixes, 95 % ellipses", zorder=7)
    axes.set(xlabel="east, m", ylabel="north, m")
    axes.set_aspect("equal")


def _sharpest_turn(truth: Trajectory, window_s: float = 5.0) -> Float64Array:
    """(2,) where the heading changes most within a few seconds."""
    seconds = _seconds(truth.stamps_ns, int(truth.stamps_ns[0]))
    yaw = np.unwrap(truth.yaws_rad)
    later = np.interp(seconds + window_s, seconds, yaw)
    turn = int(np.argmax(np.abs(later - yaw)))
    middle = int(np.searchsorted(seconds, seconds[turn] + window_s / 2))
    return truth.positions_m[min(middle, len(truth) - 1)]


def _dark_legend(axes: Any, loc: str) -> None:
    """A legend for light lines on a photograph."""
    legend = axes.legend(loc=loc, framealpha=0.75, facecolor="#404040", edgecolor="none", fontsize=9)
    for text in legend.get_texts():
        text.set_color("white")


def error_picture(record: DriveRecord, path: Path) -> None:
    """Forward and sideways error of the fixes with their own 95 % bounds, and the distance of all from the truth."""
    plt = pyplot()
    first, last = int(record.truth.stamps_ns[0]), int(record.truth.stamps_ns[-1])
    fixes, track = record.fixes.within(first, last), record.track.within(first, last)
    odometry = record.dead_reckoning()
    figure, axes = plt.subplots(3, 1, figsize=(10.0, 8.4), sharex=True, height_ratios=(1, 1, 1.2))
    seconds = _seconds(fixes.stamps_ns, first)
    for row, (name, error, sigma) in enumerate(_axis_errors(fixes, record.truth)):
        # 95 % of one axis alone: ±1.96 sigma.
        axes[row].fill_between(seconds, -1.96 * sigma, 1.96 * sigma, color=FIX, alpha=0.3, lw=0, label="95 % bound")
        axes[row].plot(seconds, error, color="black", lw=0.9, marker=".", ms=3, label=f"error of the fix, {name}")
        axes[row].axhline(0.0, color="grey", lw=0.6)
        axes[row].set_ylabel(f"{name}, m")
        axes[row].legend(loc="upper right", ncols=2, fontsize=8)
        # All of the bound, unless a moment without certainty would flatten everything else.
        limit = 1.2 * max(2.5, float(np.percentile(np.abs(error), 99)), float(np.percentile(1.96 * sigma, 90)))
        axes[row].set_ylim(-limit, limit)
    series = (("odometry alone", odometry, ODOMETRY), ("fixes", fixes, FIX), ("tracked pose", track, TRACK))
    for name, trajectory, colour in series:
        distance = np.linalg.norm(trajectory.positions_m - record.truth.at(trajectory.stamps_ns)[0], axis=1)
        seconds = _seconds(trajectory.stamps_ns, first)
        axes[2].plot(seconds, np.maximum(distance, 1e-2), color=colour, lw=1.5, label=name)
    axes[2].set(xlabel="time, s", ylabel="distance from truth, m", yscale="log", ylim=(0.05, None))
    axes[2].grid(alpha=0.3, which="both")
    axes[2].legend(loc="best", ncols=3, fontsize=8)
    axes[2].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[0].set_title("Error over time, and what the covariance said")
    save_figure(figure, path)


def flow_picture(fix: Any, patch: Any, ground: UInt8Array, truth_enu: Float64Array | None, path: Path) -> None:
    """One frame: the camera image, and the patch with its hypotheses flowing to the answer, as PNG.

    Args:
        fix: `inference.Fix`; its path (R + 1, N, 2) is drawn hypothesis by hypothesis.
        patch: the `tiles.SatellitePatch` that it was found on.
        ground: (H, W, 3) RGB uint8.
        truth_enu: (2,) the camera's true position in the map, metres; None where it is not known.
        path: the PNG to write.
    """
    plt = pyplot()
    figure = plt.figure(figsize=(9.0, 10.6))
    rows = figure.add_gridspec(2, 1, height_ratios=(ground.shape[0] / ground.shape[1], 1.0), hspace=0.08)
    camera = figure.add_subplot(rows[0])
    camera.imshow(ground)
    camera.set_title("what the camera sees", fontsize=10)
    camera.axis("off")
    axes = figure.add_subplot(rows[1])
    axes.imshow(patch.pixels)
    flow = fix.frame.to_pixel(fix.path)  # (R + 1, N, 2)
    axes.plot(flow[:, :, 0], flow[:, :, 1], color="#f0e442", lw=0.9, alpha=0.9, zorder=3)
    axes.plot(flow[0, :, 0], flow[0, :, 1], "o", mfc="none", mec="#f0e442", ms=4, label="hypotheses", zorder=3)
    axes.plot(flow[-1, :, 0], flow[-1, :, 1], ".", color=FIX, ms=6, label="after the last iteration", zorder=4)
    answer = np.array([fix.east_m, fix.north_m])
    outline = fix.frame.to_pixel(_outline(answer, np.asarray(fix.covariance)))
    axes.plot(outline[:, 0], outline[:, 1], color=FIX, lw=2.0, label="95 % ellipse", zorder=5)
    axes.plot(*fix.frame.to_pixel(answer), "x", color=TRACK, ms=11, mew=3, label="answer", zorder=7)
    if truth_enu is not None:
        axes.plot(*fix.frame.to_pixel(truth_enu), "+", color=TRUTH, ms=15, mew=2.5, label="truth", zorder=6)
    radius_px = fix.search_radius_m / fix.frame.ground_resolution_m
    centre = (fix.frame.size_px - 1) / 2
    square = plt.Rectangle((centre - radius_px, centre - radius_px), 2 * radius_px, 2 * radius_px, fill=False)
    square.set(edgecolor="white", linestyle=":", linewidth=1.3)
    axes.add_patch(square)
    axes.set(xlim=(-0.5, fix.frame.size_px - 0.5), ylim=(fix.frame.size_px - 0.5, -0.5))
    axes.set_title("the satellite patch: the vehicle's forward is to the right, dotted the search square", fontsize=10)
    axes.axis("off")
    _dark_legend(axes, loc="lower left")
    save_figure(figure, path)


def learning_curves(runs: Mapping[str, Path], path: Path) -> None:
    """The curves of training runs from their `metrics.jsonl`, over the pairs seen, as PNG.

    Left the training loss; right every validation error in metres, and the error on the training pairs (dotted), whose
    distance from the validation is what more worlds could still give.

    Args:
        runs: the label of each run and its folder (or the file itself).
        path: the PNG to write.

    Raises:
        InputError: a run without a readable `metrics.jsonl`.
    """
    plt = pyplot()
    curves = {label: read_metrics(source) for label, source in runs.items()}
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.0, 4.6))
    for label, entries in curves.items():
        pairs, loss = _series(entries, "loss")
        left.plot(pairs, _smooth(loss), lw=1.2, label=label)
        pairs, error = _series(entries, "train_error_m")
        right.plot(pairs, _smooth(error), ":", color="grey", lw=1.2, label=f"{label}: training pairs, mean")
        for key in validation_keys(entries):
            right.plot(*_series(entries, key), marker=".", lw=1.3, label=f"{label}: {key}")
    left.set(xlabel="training pairs", ylabel="training loss (running mean)")
    right.set(xlabel="training pairs", ylabel="error, m", yscale="log")
    right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for panel in (left, right):
        panel.grid(alpha=0.3, which="both")
        panel.legend(fontsize=7)
    save_figure(figure, path)


def validation_keys(entries: list[dict[str, Any]]) -> list[str]:
    """The keys of a run's mean validation errors in metres, of every protocol and axis that it was validated on."""
    keys = {key for entry in entries for key in entry}
    return sorted(key for key in keys if key.endswith("mean_error_m"))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The entries of a training run's `metrics.jsonl`, one dictionary a line.

    A last line that was cut off (the run was killed while it wrote) is left out.

    Raises:
        InputError: no such file, or nothing in it that can be read.
    """
    source = run / "metrics.jsonl" if run.is_dir() else run
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"no learning curve at {source}: {error.strerror or error}") from None
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines):
                break
            raise InputError(f"line {number} of {source} is not JSON: the file is damaged") from None
        if isinstance(entry, dict):
            entries.append(entry)
    if not entries:
        raise InputError(f"{source} holds no entries yet")
    return entries


def _series(entries: list[dict[str, Any]], key: str) -> tuple[Float64Array, Float64Array]:
    """Pairs seen and values of a key, (n,) each; a validation entry has the pairs of the training entry before it."""
    pairs, points = 0.0, []
    for entry in entries:
        pairs = float(entry.get("pairs", pairs))
        if isinstance(entry.get(key), (int, float)):
            points.append((pairs, float(entry[key])))
    values = np.array(points, dtype=np.float64).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def _smooth(values: Float64Array, window: int = 15) -> Float64Array:
    """Mean of the last `window` values, fewer at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def _axis_errors(estimate: Trajectory, truth: Trajectory) -> list[tuple[str, Float64Array, Float64Array]]:
    """(name, error (n,), sigma (n,)) along the true forward and right."""
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


def _ellipses(fixes: Trajectory, every: int) -> Any:
    from matplotlib.collections import LineCollection

    outlines = [
        _outline(position, covariance)
        for position, covariance in zip(fixes.positions_m[::every], fixes.covariances[::every], strict=True)
    ]
    return LineCollection(outlines, colors=FIX, linewidths=0.9, alpha=0.85, zorder=3)


def _outline(centre: Float64Array, covariance: Float64Array, points: int = 60) -> Float64Array:
    """(points, 2) on the edge of the 95 % ellipse."""
    angles = np.linspace(0.0, 2.0 * math.pi, points)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    radius = math.sqrt(chi_square_quantile(ELLIPSE_LEVEL, 2))
    return np.asarray(centre + radius * circle @ np.linalg.cholesky(covariance).T)


def _seconds(stamps_ns: Int64Array, first_ns: int) -> Float64Array:
    return np.asarray((stamps_ns - first_ns) * 1e-9)
