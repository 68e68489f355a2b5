"""Figures without a display: matplotlib where it is installed, one style for all, and a place for what was drawn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.errors import InputError
from geoflow_ros.geo import chi_square_quantile

DPI = 110
POSTER_DPI = 150

# Told apart also by readers who do not see red against green (Okabe and Ito 2008).
TRUTH, ODOMETRY, FIX, TRACK, FLOW = "#ffffff", "#e69f00", "#56b4e9", "#d55e00", "#f0e442"
ELLIPSE_LEVEL = 0.95

_SHADOW = "#101418"
_PANEL = "#20262c"
_ELLIPSE_POINTS = 60
_BAR_LENGTHS_M = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_BAR_SHARE = 0.25  # of the picture's width that a scale bar takes at most
_COLOUR_LEFT, _BRIGHTNESS = 0.7, 0.8  # of a map that lines are drawn on


def pyplot() -> Any:
    """Returns `matplotlib.pyplot`, drawing to files.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'geoflow_ros[plots]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save_figure(figure: Any, path: Path, dpi: int = DPI) -> None:
    """Writes a figure, by the path's suffix, and forgets it. Missing folders are made.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=dpi, bbox_inches="tight", pad_inches=0.15)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): choose another place") from None
    finally:
        pyplot().close(figure)


def panel(figure: Any, box_in: tuple[float, float, float, float], caption: str = "") -> Any:
    """Adds axes without ticks and frame to a figure.

    Args:
        figure: of matplotlib.
        box_in: left, bottom, width and height in inches, from the figure's lower left corner.
        caption: a line above them.

    Returns:
        The axes.
    """
    width_in, height_in = figure.get_size_inches()
    left, bottom, width, height = box_in
    axes = figure.add_axes((left / width_in, bottom / height_in, width / width_in, height / height_in))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(caption, loc="left", fontsize=12, weight="bold")
    return axes


def muted(pixels: UInt8Array) -> UInt8Array:
    """Returns a photograph (H, W, 3) darker and with less colour, so that lines on it stand out."""
    grey = pixels.mean(axis=2, keepdims=True)
    return np.asarray(_BRIGHTNESS * (_COLOUR_LEFT * pixels + (1.0 - _COLOUR_LEFT) * grey), np.uint8)


def shadow(width: float) -> list[Any]:
    """Returns the path effects that put a dark rim of a width in points around a light line or text."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=width, foreground=_SHADOW), Normal()]


def dark_legend(axes: Any, **options: Any) -> Any:
    """Adds a legend for light lines on a photograph; `options` are those of matplotlib's legend."""
    return axes.legend(framealpha=1.0, facecolor=_PANEL, edgecolor="none", labelcolor="white", **options)


def scale_bar(axes: Any) -> None:
    """Draws a scale bar into the lower right corner of axes in metres whose limits are set."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = right - left, top - bottom
    fitting = [length for length in _BAR_LENGTHS_M if length <= _BAR_SHARE * width]
    length_m = fitting[-1] if fitting else _BAR_LENGTHS_M[0]
    end, y = right - 0.04 * width, bottom + 0.04 * height
    axes.plot(
        [end - length_m, end], [y, y], color="white", lw=4, solid_capstyle="butt", path_effects=shadow(7), zorder=20
    )
    axes.text(
        end - length_m / 2,
        y + 0.015 * height,
        f"{length_m} m",
        color="white",
        ha="center",
        va="bottom",
        path_effects=shadow(3),
        zorder=20,
    )


def ellipse_outline(centre: Float64Array, covariance: Float64Array) -> Float64Array:
    """Returns (n, 2) points on the edge of the 95 % ellipse of a position (2,) with a covariance (2, 2)."""
    angles = np.linspace(0.0, 2.0 * math.pi, _ELLIPSE_POINTS)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    radius = math.sqrt(chi_square_quantile(ELLIPSE_LEVEL, 2))
    return np.asarray(centre + radius * circle @ np.linalg.cholesky(covariance).T)
