"""Charts as SVG text that takes its colours from the page's style sheet: for reports without a network."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.images import encode_jpeg
from geoflow_ros.visualization.plots import ellipse_outline

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 52, 10, 12, 34
_MOST_POINTS = 3000
_ABOUT_TICKS = 5


@dataclass(frozen=True, eq=False)
class Line:
    """A line or, with `is_dots`, points of a chart.

    Attributes:
        name: what the legend calls it; empty: not in it.
        style: a class of the style sheet.
        x, y: (n,) each; gaps where not finite.
        is_dots: whether points are drawn.
    """

    name: str
    style: str
    x: Float64Array
    y: Float64Array
    is_dots: bool = False


@dataclass(frozen=True, eq=False)
class Band:
    """The area between -bound and bound (n,) over x (n,)."""

    name: str
    style: str
    x: Float64Array
    bound: Float64Array


def chart(
    parts: Sequence[Line | Band],
    labels: tuple[str, str],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    height: int = 240,
) -> str:
    """Returns a chart with axes, grid and legend.

    Args:
        parts: in the order in which they are drawn.
        labels: of the x and the y axis.
        x_range: that is shown.
        y_range: that is shown.
        height: in units of which the width has 720.
    """
    inner_w, inner_h = _WIDTH - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def px(x: Float64Array) -> Float64Array:
        return np.asarray(_LEFT + (x - x_range[0]) / (x_range[1] - x_range[0] or 1.0) * inner_w)

    def py(y: Float64Array) -> Float64Array:
        clipped = np.clip(y, *y_range)
        return np.asarray(_TOP + (y_range[1] - clipped) / (y_range[1] - y_range[0] or 1.0) * inner_h)

    drawn = []
    for value in _ticks(*y_range):
        y = float(py(np.array(value)))
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in _ticks(*x_range):
        x = float(px(np.array(value)))
        drawn.append(f'<text class="tick" x="{x:.1f}" y="{height - 18}" text-anchor="middle">{value:g}</text>')
    for part in parts:
        if isinstance(part, Band):
            drawn.append(_area(part.style, px(part.x), py(part.bound), py(-part.bound)))
        elif part.is_dots:
            drawn.append(dots(part.style, px(part.x), py(part.y), 2.5))
        else:
            drawn.append(polyline(part.style, px(part.x), py(part.y)))
    middle = _TOP + inner_h / 2
    drawn.append(f'<text class="label" x="{_LEFT + inner_w / 2:.0f}" y="{height - 3}" text-anchor="middle">')
    drawn.append(f"{escape(labels[0])}</text>")
    drawn.append(f'<text class="label" transform="translate(12 {middle:.0f}) rotate(-90)" text-anchor="middle">')
    drawn.append(f"{escape(labels[1])}</text>")
    legend = legend_of([(part.name, part.style) for part in parts if part.name])
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(drawn)}</svg>{legend}'


def legend_of(entries: Sequence[tuple[str, str]]) -> str:
    """Returns the names beside their colours."""
    inner = "".join(f'<span><i class="key {style}"></i>{escape(name)}</span>' for name, style in entries)
    return f'<p class="legend">{inner}</p>'


def polyline(style: str, x: Float64Array, y: Float64Array) -> str:
    """Returns a line, interrupted where a coordinate is not finite; of long ones every n-th point."""
    step = max(1, math.ceil(len(x) / _MOST_POINTS))
    commands, is_down = [], False
    for a, b in zip(x[::step].tolist(), y[::step].tolist(), strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            is_down = False
            continue
        commands.append(f"{'L' if is_down else 'M'}{a:.2f} {b:.2f}")
        is_down = True
    return f'<path class="line {style}" d="{"".join(commands)}"/>'


def dots(style: str, x: Float64Array, y: Float64Array, radius: float) -> str:
    """Returns points, as lines of no length with round ends: one element, however many there are."""
    known = np.isfinite(x) & np.isfinite(y)
    step = max(1, math.ceil(int(known.sum()) / _MOST_POINTS))
    points = zip(x[known][::step].tolist(), y[known][::step].tolist(), strict=True)
    commands = "".join(f"M{a:.2f} {b:.2f}h0" for a, b in points)
    return f'<path class="dots {style}" style="stroke-width:{2 * radius:g}px" d="{commands}"/>'


def ellipse(style: str, centre: tuple[float, float], covariance: Float64Array, unit: float = 1.0) -> str:
    """Returns the 95 % ellipse of a covariance (2, 2) whose axes are the drawing's x and y, in units of `unit`."""
    outline = ellipse_outline(np.array(centre), covariance / unit**2)
    return polyline(style, *outline.T)


def jpeg_uri(rgb: UInt8Array, quality: int = 80) -> str:
    """Returns a picture (H, W, 3) as an address that holds its bytes."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(rgb, quality)).decode("ascii")


def _area(style: str, x: Float64Array, upper: Float64Array, lower: Float64Array) -> str:
    known = np.isfinite(x) & np.isfinite(upper)
    step = max(1, math.ceil(int(known.sum()) / _MOST_POINTS))
    x, upper, lower = x[known][::step], upper[known][::step], lower[known][::step]
    points = np.concatenate([np.column_stack([x, upper]), np.column_stack([x, lower])[::-1]])
    text = " ".join(f"{a:.1f},{b:.1f}" for a, b in points.tolist())
    return f'<polygon class="area {style}" points="{text}"/>'


def _ticks(low: float, high: float) -> list[float]:
    span = high - low
    if not span > 0.0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / _ABOUT_TICKS))
    step *= next((factor for factor in (1, 2, 5, 10) if span / (step * factor) <= _ABOUT_TICKS + 1), 10)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]
