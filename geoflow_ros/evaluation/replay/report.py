"""The report of a replay: one HTML file without a network, for a desk or a telephone, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import GeometryError, TileError
from geoflow_ros.evaluation.bag_files import Bag, Topic
from geoflow_ros.evaluation.replay.answers import ReplayAnswers
from geoflow_ros.evaluation.replay.page import PAGE
from geoflow_ros.evaluation.replay.worst import worst_frames
from geoflow_ros.evaluation.tables import metres, share
from geoflow_ros.geo import PatchFrame, chi_square_quantile, ground_resolution
from geoflow_ros.localization import VehicleLocalizer
from geoflow_ros.tiles import SatelliteMap
from geoflow_ros.tracking import TrackState
from geoflow_ros.tracking.trajectory import Trajectory
from geoflow_ros.visualization.svg import Band, Line, chart, dots, jpeg_uri, legend_of, polyline

_MARGIN_M = 40.0
_MAP_PX = 1400
_MOST_ENLARGED = 4.0
_LEVELS = np.linspace(0.05, 0.95, 19)
_ONE_AXIS_95 = chi_square_quantile(0.95, 1) ** 0.5


def write_report(
    path: Path,
    metrics: Mapping[str, Any],
    answers: ReplayAnswers,
    truth: Trajectory | None,
    bag: Bag,
    image: Topic,
    vehicle: VehicleLocalizer,
) -> None:
    """Writes the report.

    Args:
        path: the file.
        metrics: see `metrics.json`.
        answers: of the replay.
        truth: None where it is not known.
        bag: open still: the pictures of the worst frames are read from it.
        image: the camera's topic.
        vehicle: whose map the drive is drawn on.
    """
    sections = [
        _summary(metrics),
        _section("Map", _map(answers, truth, vehicle.satellite_map)),
        _section("Error over time", _errors(answers)),
        _section("Reliability", _reliability(answers)),
        _section("States", _states(answers)),
        _section("Worst frames", worst_frames(answers, bag, image, vehicle)),
        _section("What was rejected, and why", _rejected(metrics)),
        _section("What was used", _lines([*metrics["told"], *metrics["notes"]])),
    ]
    title = f"Replay of {Path(metrics['bag']).name}"
    page = PAGE.replace("{{title}}", escape(title)).replace("{{sections}}", "\n".join(sections))
    path.write_text(page, encoding="utf-8")


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _summary(metrics: Mapping[str, Any]) -> str:
    track = metrics.get("track", {})
    figures = {
        "frames": f"{metrics['frames']}",
        "with a pose": f"{share(metrics['fixes'] / metrics['frames'])} %" if metrics["frames"] else "-",
        "availability": f"{share(metrics['availability'])} %",
        "median error of the fixes": f"{metres(metrics.get('median_error_m'))} m",
        "RMSE of the track": f"{metres(track.get('rmse_m'))} m",
        "ANEES of the fixes (1 is honest)": f"{metrics['anees']:.2f}" if "anees" in metrics else "-",
        "ANEES of the track": f"{track['anees']:.2f}" if track else "-",
    }
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in figures.items())
    what = f"model {metrics['model']}, {metrics['duration_s']:.0f} s"
    return f'<p class="sub">{escape(what)}</p><div class="cards">{cards}</div>'


def _map(answers: ReplayAnswers, truth: Trajectory | None, satellite_map: SatelliteMap) -> str:
    fixes, track = answers.poses()[0], answers.poses(of_track=True)[0]
    known = [poses[~np.isnan(poses[:, 0]), :2] for poses in (fixes, track)]
    points = np.concatenate([*known, *([] if truth is None else [truth.positions_m])])
    if not len(points):
        return "<p>There is nothing to draw: no pose, no track and no truth.</p>"
    west, south = points.min(axis=0) - _MARGIN_M
    side = float(np.ptp(points, axis=0).max()) + 2.0 * _MARGIN_M
    width, height = (np.ptp(points, axis=0) + 2.0 * _MARGIN_M).tolist()
    north = float(south) + height

    def line(style: str, positions: Float64Array) -> str:
        return polyline(style, positions[:, 0] - west, north - positions[:, 1])

    drawn = [_photo(satellite_map, points, side, float(west), north)]
    drawn.append(dots("fix", fixes[:, 0] - west, north - fixes[:, 1], 2.5))
    legend = [("track", "track"), ("fixes", "fix")]
    if truth is not None:
        drawn.append(line("truth", truth.positions_m))
        legend.insert(0, ("truth", "truth"))
    drawn.append(line("track", track))
    box = f"0 0 {width:.2f} {height:.2f}"
    return (
        f'<svg class="map" id="map" viewBox="{box}" role="img">{"".join(drawn)}</svg>'
        f'<p class="legend"><button data-zoom="0.6">+</button><button data-zoom="1.667">-</button>'
        f'<button data-zoom="0">all</button><span>{width:.0f} x {height:.0f} m, north is up; wheel or two fingers '
        f"zoom</span></p>{legend_of(legend)}"
    )


def _photo(satellite_map: SatelliteMap, points: Float64Array, side: float, west: float, north: float) -> str:
    centre = (points.min(axis=0) + points.max(axis=0)) / 2.0
    source = satellite_map.source
    finest_m = ground_resolution(satellite_map.datum.lat_deg, source.max_zoom, source.tile_size) / _MOST_ENLARGED
    size = max(1, min(_MAP_PX, round(side / finest_m)))
    try:
        patch = satellite_map.patch(PatchFrame(float(centre[0]), float(centre[1]), 0.0, size, side / size))
    except (TileError, GeometryError):  # the drive reaches beyond the map
        return ""
    x, y = float(centre[0]) - side / 2.0 - west, north - float(centre[1]) - side / 2.0
    return (
        f'<image href="{jpeg_uri(patch.pixels, 75)}" x="{x:.2f}" y="{y:.2f}" width="{side:.2f}" height="{side:.2f}"/>'
    )


def _errors(answers: ReplayAnswers) -> str:
    if not (answers.has_truth & (answers.has_fix | answers.has_track)).any():
        return "<p>The truth is not known, so neither are the errors.</p>"
    seconds = (answers.stamps_ns - answers.stamps_ns[0]) * 1e-9
    charts = []
    for axis, name in enumerate(("forward", "right")):
        parts: list[Line | Band] = []
        reach = 1.0
        for of_track, style, what in ((False, "fix", "fixes"), (True, "track", "track")):
            errors, covariances = answers.errors(of_track)
            bound = _ONE_AXIS_95 * np.sqrt(covariances[:, axis, axis])
            known = np.isfinite(errors[:, axis])
            if not known.any():
                continue
            reach = max(reach, float(np.percentile(np.abs(errors[known, axis]), 99)))
            reach = max(reach, float(np.percentile(bound[known], 90)))
            parts.append(Band(f"95 % bound of the {what}", style, seconds, np.where(known, bound, np.nan)))
            parts.append(Line(what, style, seconds, errors[:, axis], is_dots=not of_track))
        parts.sort(key=lambda part: isinstance(part, Line))
        reach *= 1.2
        x_range = (0.0, max(float(seconds[-1]), 1.0))
        charts.append(chart(parts, ("time, s", f"{name}, m"), x_range, (-reach, reach)))
    return "".join(charts)


def _reliability(answers: ReplayAnswers) -> str:
    parts: list[Line | Band] = [Line("honest", "honest", np.array([0.0, 1.0]), np.array([0.0, 1.0]))]
    for of_track, style, what in ((False, "fix", "fixes"), (True, "track", "track")):
        errors, covariances = answers.errors(of_track)
        known = np.isfinite(errors[:, 0])
        if not known.any():
            continue
        e = errors[known]
        nees = np.einsum("ni,nij,nj->n", e, np.linalg.inv(covariances[known]), e)
        observed = np.array([np.mean(nees <= chi_square_quantile(float(level), 2)) for level in _LEVELS])
        parts.append(Line(what, style, _LEVELS, observed))
    if len(parts) == 1:
        return "<p>The truth is not known, so neither is how often the bounds hold.</p>"
    labels = ("share that the ellipse should hold", "share that it holds")
    return chart(parts, labels, (0.0, 1.0), (0.0, 1.0), height=360) + (
        "<p>Below the diagonal the covariances are too small; above it they are cautious.</p>"
    )


def _states(answers: ReplayAnswers) -> str:
    total = len(answers)
    if not total:
        return "<p>There was no frame.</p>"
    bars, begin = [], 0
    for k in range(1, total + 1):
        if k == total or answers.states[k] != answers.states[begin]:
            bars.append(
                f'<rect class="state {answers.states[begin]}" x="{720.0 * begin / total:.2f}" y="0" '
                f'width="{720.0 * (k - begin) / total:.2f}" height="26"/>'
            )
            begin = k
    counts = {state.value: answers.states.count(state.value) for state in TrackState}
    legend = legend_of([(f"{name} {share(n / total)} %", f"state {name}") for name, n in counts.items()])
    return f'<svg viewBox="0 0 720 26" role="img">{"".join(bars)}</svg>{legend}'


def _rejected(metrics: Mapping[str, Any]) -> str:
    examples = metrics["examples"]
    rows = [
        (name, str(count), f"{share(count / metrics['frames'])} %", examples.get(name, ""))
        for name, count in metrics["outcomes"].items()
    ]
    rows += [(f"{name} (input)", str(n), "", examples.get(name, "")) for name, n in metrics["inputs_rejected"].items()]
    rows += [("left out", str(count), "", what) for what, count in metrics["left_out"].items()]
    return _table(("what became of it", "number", "share", "for example"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _lines(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
